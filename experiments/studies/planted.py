"""Does a rule find the augmentation that made the anomalies?

Reads runs on `planted:` sources (experiments/configs/planted.py makes them). For every rule: how
often the generator's own setting stands in the top quarter of its family and of the whole grid,
and its mean rank. By chance it would a quarter of the time. No evidence on real anomalies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.evaluate import audit_run, truth_of
from ad_jax.runs import run
from ad_jax.selection.search import setting
from ad_jax.train.setting import Setting
from experiments.result import Cell, Result, Table
from experiments.study import Options, Study
from experiments.tasks import folders_below

LABELS = "labels (AUROC)"
SCOPES = ("within", "across")


class Problem(NamedTuple):
    """One planted problem: (rule, scope) -> where the generator's own setting stands."""

    base: str
    generator: str
    auroc: float | None  # of the own setting; None where that learned nothing
    oracle: float
    places: dict[tuple[str, str], tuple[int, int]]


def place(losses: dict[str, float], own: str, others: Sequence[Setting]) -> tuple[int, int]:
    """Rank of the own setting (1 = lowest loss, ties count against it), and of how many."""
    return sum(losses[s.key] <= losses[own] for s in others), len(others)


def read(folder: Path) -> Problem | None:
    """None of a run on another source."""
    truth = truth_of(run.read(folder))
    facts: Mapping[str, Any] = truth.open("planted").facts
    if "generator" not in facts:
        return None
    result, one = audit_run(folder, "planted", truth)
    own = setting("binary", facts["generator"], **facts["hyper"])
    by_auroc = {k: -v for k, v in zip(result.across.settings, result.across.auroc, strict=True)}
    oracle = result.across.oracle
    if own.key not in by_auroc:
        return Problem(folder.name, own.label, None, oracle, {})
    trained = [s for s in one.pool.settings if s.key in by_auroc]
    family = [s for s in trained if s.family == own.family]
    places = {}
    for rule, losses in {**one.losses, LABELS: by_auroc}.items():
        places[rule, "across"] = place(losses, own.key, trained)
        if len(family) > 1:
            places[rule, "within"] = place(losses, own.key, family)
    return Problem(folder.parent.name, own.label, -by_auroc[own.key], oracle, places)


def table(found: Sequence[Problem]) -> Result:
    learned = [one for one in found if one.auroc is not None]
    if not learned:
        raise InputError("no run on a planted source there; see experiments/configs/planted.py")
    lines: list[list[Cell]] = []
    for rule in dict.fromkeys(rule for one in learned for rule, _ in one.places):
        line: list[Cell] = [rule]
        for scope in SCOPES:
            own = [one.places[rule, scope] for one in learned if (rule, scope) in one.places]
            top = [rank <= math.ceil(count / 4) for rank, count in own]
            shares = [rank / count for rank, count in own]
            line += [float(np.mean(top)), float(np.mean(shares))] if own else [None, None]
        lines.append(line)
    lines.sort(key=lambda line: -float(line[3]))  # type: ignore[arg-type]
    header = [name for s in SCOPES for name in (f"{s}: top quarter", "mean rank / n")]
    return Result(
        [
            Table(["base", "generator", "its own AUROC", "oracle"], [one[:4] for one in learned]),
            *(
                f"left out: {one.base}: {one.generator} learned nothing"
                for one in found
                if one.auroc is None
            ),
            f"\n{len(learned)} problems, the generator's own setting in the top quarter",
            Table(["rule", *header], lines),
        ]
    )


def result(options: Options) -> Result:
    found = [read(folder) for folder in folders_below(options.runs)]
    return table([one for one in found if one is not None])


NEEDS = tuple(
    f"ad-jax select --config experiments/configs/planted.py:{base} --out runs/planted/{base}"
    for base in ("digits", "bottle", "tile")
)
STUDY = Study(result, runs=("runs/planted",), needs=NEEDS)
