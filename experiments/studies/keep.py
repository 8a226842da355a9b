"""What does an ensemble lose when few of its settings are kept (`ad-jax select --keep`)?

Reads runs of frozen features. Settings are kept as `--keep` keeps them (`selection.weights.keep`:
by scores alone); labels are opened for the AUROC of the mean surprise. Prints it by the number of
settings kept, beside the pick's, and the difference to all. What it costs to score with them is in
`experiments/benchmarks/ensemble.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ad_jax.selection.weights import finished, keep, mixed, surprises, weights
from experiments.result import Cell, Result, Table
from experiments.studies.ensemble import FROZEN_SHELF
from experiments.study import from_runs
from experiments.tasks import Task, Value, counted, means
from experiments.trainings import auroc_of, pick

COUNTS = (1, 2, 3, 5, 8)
ALL = "all"


class Kept(NamedTuple):
    """A task, how many settings its ensemble has, and AUROC by what was kept of them."""

    task: str
    kind: str
    group: str
    settings: int
    auroc: dict[str, float]


def rows(task: Task) -> list[Kept]:
    pool = task.run.pool
    own, whole = surprises(pool), weights(pool)
    ways = {"pick": {pick(pool, finished(pool)).key: 1.0}}
    ways |= {f"{count} kept": keep(pool, whole, count) for count in COUNTS}
    ways[ALL] = whole
    auroc = {way: auroc_of(mixed(own, some), task.anomalous) for way, some in ways.items()}
    return [Kept(task.name, task.kind, task.group, len(whole), auroc)]


def table(found: Sequence[Kept]) -> Result:
    ways = list(found[0].auroc)
    values = [
        Value(*one[:3], (what, way), auroc - less)
        for one in found
        for what, less in (("mean", 0.0), ("less that of all", one.auroc[ALL]))
        for way, auroc in one.auroc.items()
    ]
    known = means(values)
    lines: list[list[Cell]] = [
        [one.task, one.settings, *(one.auroc[way] for way in ways)] for one in found
    ]
    lines += [
        [what, None, *(known[what, way] for way in ways)] for what in ("mean", "less that of all")
    ]
    worst = [min(one.auroc[way] - one.auroc[ALL] for one in found) for way in ways]
    lines.append(["the worst of these", None, *worst])
    return Result(
        [
            f"AUROC by the number of settings kept; means over {counted(found)}, with 95 % "
            "intervals over these",
            Table(["task", "settings", *ways], lines),
        ]
    )


STUDY = from_runs(
    "keep study",
    rows,
    table,
    (FROZEN_SHELF,),
    (f"ad-jax select --config experiments/configs/frozen.py --out {FROZEN_SHELF}",),
)
