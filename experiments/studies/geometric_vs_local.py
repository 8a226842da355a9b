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
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from ad_jax import augment
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import true_alignment
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.report.figures import charts
from experiments.result import Cell, Panels, Result, Table, to_two_digits
from experiments.study import PARTS, from_runs, shelf
from experiments.tasks import KINDS, Task, Value, means

MEAN, BEST = WHAT = ("mean of its settings", "best setting, in hindsight")
GROUP, REVERSAL = "group", "local - geometric"
ALIGNMENT = "alignment"
LOSSES = ("dsv_code", "dsv_uncapped", "dsv_formula")
UNKNOWN = Estimate(math.nan)
RUNS = "runs/geometric_vs_local"
WIDER = tuple(
    f"ad-jax select --config experiments/configs/geometric_vs_local.py:{part} "
    f"--record runs/shelf/{part}/record --out {RUNS}/{part}"
    for part in PARTS[:-1]
)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return math.nan
    return float(spearmanr(x[known], y[known]).statistic)


def rows(task: Task) -> list[Value]:
    """AUROC by (family, `WHAT`) and (group, `GROUP`), correlations by (of what, `ALIGNMENT`).

    A group's is the mean over its families of the mean over their settings.
    """
    pool = task.run.pool
    parts = task.whole_pool().target.alignment["parts"]
    assert parts is not None
    true = true_alignment(parts, task.anomalous)
    per_member = member_aurocs(pool, task.anomalous)
    settings = [s for s in pool.settings if pool.rows(s, trained=True)]
    auroc, apart = (  # means over the seeds that learned
        np.array([values[pool.rows(s, trained=True)].mean() for s in settings])
        for values in (per_member, true.discordance + np.abs(true.separability - 1.0))
    )
    found: dict[tuple[str, str], float] = {}
    groups: dict[str, list[float]] = {}
    for family in dict.fromkeys(s.family for s in settings):
        own = auroc[[s.family == family for s in settings]]
        found |= {(family, MEAN): float(own.mean()), (family, BEST): float(own.max())}
        group = str(augment.get(family.partition("/")[2]).group)
        groups.setdefault(group, []).append(found[family, MEAN])
    found |= {(group, GROUP): float(np.mean(own)) for group, own in groups.items()}
    if {"local", "geometric"} <= set(groups):
        found[REVERSAL, GROUP] = found["local", GROUP] - found["geometric", GROUP]
    found["AUROC", ALIGNMENT] = correlation(-apart, auroc)
    for name in LOSSES:
        loss = np.array([task.run.losses[name][s.key] for s in settings])
        found[name, ALIGNMENT] = correlation(loss, apart)
    return [Value(*task[:3], what, value) for what, value in found.items()]


def by_task(found: Sequence[Value], families: Sequence[str]) -> Table:
    lines: list[list[Cell]] = []
    for task in dict.fromkeys(row.task for row in found):
        own = {row.what: row.value for row in found if row.task == task}
        mean = {f: own[f, MEAN] for f in families if (f, MEAN) in own}
        cells = {f: f"{mean[f]:.3f} ({own[f, BEST]:.3f})" for f in mean}
        lines.append([task, *map(cells.get, families), max(mean, key=mean.__getitem__)])
    return Table(["task", *families, "best mean"], lines)


def table(found: Sequence[Value]) -> Result:
    families = list(dict.fromkeys(row.what[0] for row in found if row.what[1] == MEAN))
    groups = list(dict.fromkeys(row.what[0] for row in found if row.what[1] == GROUP))
    groups = [group for group in groups if group != REVERSAL]
    panels: Panels = {}
    reversal: list[list[Cell]] = []
    alignment: list[list[Cell]] = []
    for kind in KINDS:
        some = [row for row in found if row.kind == kind]
        if not some:
            continue
        over = means(some)
        tasks, sets = ({getattr(row, by) for row in some} for by in ("task", "group"))
        panels[f"{kind}, {len(tasks)} tasks"] = {
            f: {what: over.get((f, what), UNKNOWN) for what in WHAT} for f in families
        }
        of_groups = [over.get((group, GROUP), UNKNOWN).value for group in groups]
        apart = over.get((REVERSAL, GROUP), UNKNOWN)
        reversal.append([kind, len(tasks), len(sets), *of_groups, apart])
        alignment.append([kind, *(over.get((n, ALIGNMENT), UNKNOWN) for n in ("AUROC", *LOSSES))])
    over_tasks = Table(
        ["family", *(f"{panel}: {what}" for panel in panels for what in WHAT)],
        [[f, *(own[f][what] for own in panels.values() for what in WHAT)] for f in families],
    )
    columns = ["tasks", "alignment, AUROC", *(f"{n}, misalignment" for n in LOSSES)]
    return Result(
        [
            "AUROC of every family: mean over settings and seeds (best setting, in hindsight)",
            by_task(found, families),
            "\nThe same over tasks, with 95 % intervals over training sets",
            over_tasks,
            "\nGroups of the catalogue: mean AUROC, and the published reversal",
            Table(["tasks", "n", "training sets", *groups, REVERSAL], reversal),
            "\nSpearman over settings, mean over tasks: true alignment with AUROC, DSV with it",
            Table(columns, alignment, to_two_digits),
        ],
        lambda path: charts.dots(path, "AUROC", panels),
    )


STUDY = from_runs("geometric_vs_local study", rows, table, (RUNS,), (*shelf(*PARTS[:-1]), *WIDER))
