"""Successive halving against the full grid: what dropping settings early costs.

Reads runs over the full grid and the same runs with `--search halving`: of the development parts
or, with `--runs`, others, such as those of frozen features (`experiments/configs/frozen.py`).
Prints, per task and over all of them, the AUROC of both picks and of both ensembles (each sample by
weights that it did not move), the gain of both picks (against expected random and oracle of the
full grid) and the member-steps of both. The ensemble of a halved pool has the settings that were
left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.evaluate import Audit, Scope, audit_run, gain
from experiments.configs.development import PARTS
from experiments.result import Cell, Result, Table
from experiments.study import Options, Study

RUNS = ("runs/development", "runs/halving")
SELECT = "ad-jax select --config experiments/configs/development.py"
NEEDS = (
    *(f"{SELECT}:{part} --out {RUNS[0]}/{part}" for part in PARTS),
    *(f"{SELECT}:{part} --search halving --out {RUNS[1]}/{part}" for part in PARTS),
)


class Pair(NamedTuple):
    """A task by the full grid and by halving.

    Attributes:
      task: its name.
      group: fingerprint of its normals.
      scope: settings of the full grid.
      steps: member-steps of both.
      picks: AUROC of both picks; ensembles: of both ensembles.
    """

    task: str
    group: str
    scope: Scope
    steps: tuple[int, int]
    picks: tuple[float, float]
    ensembles: tuple[float, float]


def _picked(audit: Audit) -> float:
    return float(np.mean(audit.pick["auroc"]))


def _pooled(audit: Audit) -> float:
    """NaN of a pool without held-out normals."""
    return audit.ensembles.get("weighted mean surprise", {}).get("auroc", math.nan)


def rows(options: Options) -> list[Pair]:
    if len(options.runs) != 2:
        raise InputError("--runs takes two folders here: of full grids, of the same runs halved")
    out = []
    whole, fewer = options.runs
    for path in sorted(whole.glob("**/manifest.json")):
        other = fewer / path.relative_to(whole)
        if not other.is_file():
            continue
        (full, run), (halved, twin) = (audit_run(one.parent, "halving") for one in (path, other))
        manifest, cost = run.manifest, twin.manifest["cost"]
        if manifest["fingerprint"] != twin.manifest["fingerprint"]:
            raise InputError(f"{path.parent} and {other.parent} hold runs on different data")
        steps = manifest["cost"]["total"] * manifest["config"]["steps"], cost["member_steps"]
        name, group = str(path.parent.relative_to(whole)), manifest["train_fingerprint"]
        picks, pooled = (_picked(full), _picked(halved)), (_pooled(full), _pooled(halved))
        out.append(Pair(name, group, full.across, steps, picks, pooled))
    if not out:
        raise InputError(f"no run stands in both {whole} and {fewer}")
    return out


def table(pairs: Sequence[Pair]) -> Result:
    scopes = [one.scope for one in pairs]
    steps = {one.group: one.steps for one in pairs}
    spent = np.sum(list(steps.values()), axis=0)
    lines: list[list[Cell]] = []
    for p in pairs:
        scope = p.scope.oracle, p.scope.expected_random
        lines.append([p.task, *p.picks, *p.ensembles, *scope, p.steps[1] / p.steps[0]])
    summary: list[list[Cell]] = []
    for i, name in enumerate(("full", "halved")):
        picks = [one.picks[i] for one in pairs]
        pooled = float(np.mean([one.ensembles[i] for one in pairs]))
        summary.append([name, float(np.mean(picks)), gain(scopes, picks), pooled, int(spent[i])])
    columns = ["task", "pick", "halved pick", "ensemble", "halved ensemble", "oracle", "random"]
    return Result(
        [
            Table([*columns, "share of steps"], lines),
            f"\n{len(pairs)} tasks of {len(steps)} training sets",
            Table(
                ["", "mean AUROC of the pick", "gain", "of the ensemble", "member-steps"], summary
            ),
            f"share of the member-steps: {spent[1] / spent[0]:.2f}",
        ]
    )


STUDY = Study(lambda options: table(rows(options)), runs=RUNS, needs=NEEDS)
