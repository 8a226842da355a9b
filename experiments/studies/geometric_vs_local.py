"""Which family wins where: local ones on defects, geometric ones on semantic anomalies?

Reads runs of experiments/configs/geometric_vs_local.py and prints:

1. every family on every task: AUROC, mean over its settings and seeds (what a user gets who takes
   the family and any strength of it), and of its best setting in hindsight;
2. the reversal that was published (CutPaste, arXiv 2104.04015: CutPaste over turns on MVTec AD,
   turns over CutPaste on CIFAR-10 classes): the difference of the local and the geometric group's
   mean, over defect tasks and over semantic ones, with 95 % bootstrap intervals over training sets;
3. per task the Spearman correlation over settings of AUROC with true alignment (arXiv 2307.06534:
   `h_d` should be 0 and `h_s` 1, so `h_d + |h_s - 1|` is small), and of the three forms of DSV with
   true alignment: means over tasks with the same intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from ad_jax import augment
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import true_alignment
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.report.figures import charts
from experiments.result import Cell, Panels, Result, Table, to_two_digits
from experiments.study import PARTS, from_runs, shelf
from experiments.tasks import KINDS, Task

WHAT = ("mean of its settings", "best setting, in hindsight")
LOSSES = ("dsv_code", "dsv_uncapped", "dsv_formula")
RUNS = "runs/geometric_vs_local"
WIDER = tuple(
    f"ad-jax select --config experiments/configs/geometric_vs_local.py:{part} "
    f"--record runs/shelf/{part}/record --out {RUNS}/{part}"
    for part in PARTS[:-1]
)


class Settings(NamedTuple):
    """The settings of one task `[settings]`: means over the seeds that learned."""

    task: str
    kind: str
    group: str
    family: np.ndarray
    auroc: np.ndarray
    apart: np.ndarray  # `h_d + |h_s - 1|`, the distance from true alignment
    losses: dict[str, np.ndarray]

    def families(self) -> dict[str, np.ndarray]:
        """AUROC of every family's settings."""
        return {f: self.auroc[self.family == f] for f in dict.fromkeys(self.family.tolist())}


def rows(task: Task) -> list[Settings]:
    pool = task.run.pool
    per_member = member_aurocs(pool, task.anomalous)
    parts = task.whole_pool().parts
    assert parts is not None
    true = true_alignment(parts, task.anomalous)
    apart = true.discordance + np.abs(true.separability - 1.0)
    settings = [s for s in pool.settings if pool.rows(s, trained=True)]
    members = [pool.rows(s, trained=True) for s in settings]
    return [
        Settings(
            *task[:3],
            np.array([s.family for s in settings]),
            np.array([per_member[own].mean() for own in members]),
            np.array([apart[own].mean() for own in members]),
            {n: np.array([task.run.losses[n][s.key] for s in settings]) for n in LOSSES},
        )
    ]


def group_of(family: str) -> str:
    return str(augment.get(family.partition("/")[2]).group)


def of_group(task: Settings, group: str) -> float:
    """AUROC of a group: mean over its families of the mean over their settings."""
    own = [values.mean() for f, values in task.families().items() if group_of(f) == group]
    return float(np.mean(own)) if own else math.nan


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return math.nan
    return float(spearmanr(x[known], y[known]).statistic)


def over(tasks: Sequence[Settings], value: Callable[[Settings], float]) -> Estimate:
    """Mean over tasks and its interval; NaN if no task has a value."""
    values = np.array([value(task) for task in tasks])
    known = np.isfinite(values)
    if not known.any():
        return Estimate(math.nan)
    groups = [t.group for t, fine in zip(tasks, known, strict=True) if fine]
    values = values[known]
    low, high = over_training_sets(groups, lambda which: float(values[which].mean()))
    return Estimate(float(values.mean()), low, high)


def by_task(tasks: Sequence[Settings], families: Sequence[str]) -> Table:
    lines: list[list[Cell]] = []
    for task in tasks:
        own = task.families()
        cells = [
            f"{own[f].mean():.3f} ({own[f].max():.3f})" if f in own else None for f in families
        ]
        best = max((f for f in families if f in own), key=lambda f, own=own: own[f].mean())  # type: ignore[misc]
        lines.append([task.task, *cells, best])
    return Table(["task", *families, "best mean"], lines)


def by_family(kinds: dict[str, list[Settings]], families: Sequence[str]) -> Panels:
    """Kind -> family -> mean and best of its settings, over tasks."""

    def of(family: str, most: Callable[..., Any]) -> Callable[[Settings], float]:
        return lambda task: float(most(task.families().get(family, np.array([math.nan]))))

    most: dict[str, Callable[..., Any]] = dict(zip(WHAT, (np.mean, np.max), strict=True))
    return {
        f"{kind}, {len(some)} tasks": {
            f: {what: over(some, of(f, one)) for what, one in most.items()} for f in families
        }
        for kind, some in kinds.items()
    }


def reversal(kinds: dict[str, list[Settings]], groups: Sequence[str]) -> Table:
    lines: list[list[Cell]] = []
    for kind, some in kinds.items():
        means = [float(np.nanmean([of_group(t, g) for t in some])) for g in groups]
        apart = over(some, lambda t: of_group(t, "local") - of_group(t, "geometric"))
        lines.append([kind, len(some), len({t.group for t in some}), *means, apart])
    return Table(["tasks", "n", "training sets", *groups, "local - geometric"], lines)


def alignment(kinds: dict[str, list[Settings]]) -> Table:
    lines: list[list[Cell]] = []
    for kind, some in kinds.items():
        of_losses = [
            over(some, lambda t, name=name: correlation(t.losses[name], t.apart))  # type: ignore[misc]
            for name in LOSSES
        ]
        lines.append([kind, over(some, lambda t: correlation(-t.apart, t.auroc)), *of_losses])
    header = ["tasks", "alignment, AUROC", *(f"{n}, misalignment" for n in LOSSES)]
    return Table(header, lines, to_two_digits)


def table(tasks: Sequence[Settings]) -> Result:
    families = list(dict.fromkeys(f for task in tasks for f in task.families()))
    every = {kind: [t for t in tasks if t.kind == kind] for kind in KINDS}
    kinds = {kind: some for kind, some in every.items() if some}
    panels = by_family(kinds, families)
    header = ["family", *(f"{p}: {what}" for p in panels for what in WHAT)]
    return Result(
        [
            "AUROC of every family: mean over settings and seeds (best setting, in hindsight)",
            by_task(tasks, families),
            "\nThe same over tasks, with 95 % intervals over training sets",
            Table(
                header,
                [[f, *(e for p in panels.values() for e in p[f].values())] for f in families],
            ),
            "\nGroups of the catalogue: mean AUROC, and the published reversal",
            reversal(kinds, list(dict.fromkeys(map(group_of, families)))),
            "\nSpearman over settings, mean over tasks: true alignment with AUROC, DSV with it",
            alignment(kinds),
        ],
        lambda path: charts.dots(path, "AUROC", panels),
    )


STUDY = from_runs("geometric_vs_local study", rows, table, (RUNS,), (*shelf(*PARTS[:-1]), *WIDER))
