"""Successive halving against the full grid: what dropping settings early costs.

Reads runs of the development parts over the full grid and the same runs with `--search halving`.
Prints, per task and over all of them, the AUROC of both picks, the gain of both (against expected
random and oracle of the full grid) and the member-steps of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.evaluate import Scope, audit_run, gain
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
    """A task: AUROC of the picks of the full grid and of halving, and the member-steps of both."""

    task: str
    group: str
    scope: Scope  # of the full grid
    steps: tuple[int, int]
    full: float
    halved: float


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
        picks = [float(np.mean(one.pick["auroc"])) for one in (full, halved)]
        out.append(Pair(name, group, full.across, steps, *picks))
    if not out:
        raise InputError(f"no run stands in both {whole} and {fewer}")
    return out


def table(pairs: Sequence[Pair]) -> Result:
    scopes = [one.scope for one in pairs]
    steps = {one.group: one.steps for one in pairs}
    spent = np.sum(list(steps.values()), axis=0)
    picks = {"full": [one.full for one in pairs], "halved": [one.halved for one in pairs]}
    lines: list[list[Cell]] = [
        [p.task, p.full, p.halved, p.scope.oracle, p.scope.expected_random, p.steps[1] / p.steps[0]]
        for p in pairs
    ]
    summary: list[list[Cell]] = [
        [name, float(np.mean(values)), gain(scopes, values), int(own)]
        for (name, values), own in zip(picks.items(), spent, strict=True)
    ]
    return Result(
        [
            Table(["task", "full grid", "halving", "oracle", "random", "share of steps"], lines),
            f"\n{len(pairs)} tasks of {len(steps)} training sets",
            Table(["", "mean AUROC of the pick", "gain", "member-steps"], summary),
            f"share of the member-steps: {spent[1] / spent[0]:.2f}",
        ]
    )


STUDY = Study(lambda options: table(rows(options)), runs=RUNS, needs=NEEDS)
