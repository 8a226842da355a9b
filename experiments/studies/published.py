"""DSV's published table (arXiv 2307.06534) and CutPaste's (arXiv 2104.04015), and ours beside them.

Reads runs of experiments/configs/published.py. Per augmentation: the mean over the grid of areas,
and the AUROC of every rule's pick among the areas (ours: mean over seeds, standard deviation of the
seeds of the pick; theirs: mean over 21 categories of MVTec AD and MPDD at 256 px, no seed spread
published, so that columns compare in pattern, not in height). Then CutPaste's own figures for
bottle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.stats import Estimate, plus_minus, spread
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.report.figures import charts
from ad_jax.selection import rules
from experiments.result import Cell, Panels, Result, Table
from experiments.study import from_runs
from experiments.tasks import Task

THEIRS = {  # augmentation -> rule -> AUROC, mean over 21 tasks
    "cutout": (0.739, 0.776, 0.741, 0.735, 0.739, 0.749, 0.727, 0.757, 0.813),
    "cutavg": (0.739, 0.817, 0.721, 0.692, 0.745, 0.751, 0.744, 0.742, 0.806),
    "cutdiff": (0.743, 0.711, 0.739, 0.730, 0.744, 0.747, 0.741, 0.777, 0.811),
    "cutpaste": (0.788, 0.841, 0.694, 0.756, 0.818, 0.862, 0.830, 0.850, 0.884),
}
MEAN = "mean of grid"
COLUMNS = {  # of the published table -> our rule
    MEAN: "",
    "random": "random",
    "mean distance": "base",
    "MMD": "mmd",
    "STD": "std",
    "MC": "model_centrality",
    "SELECT": "select",
    "HITS": "hits",
    "DSV": "dsv_code",
}
SHOWN = (MEAN, "random", "HITS", "DSV", "ours", "oracle")
BOTTLE = {"quarter_turns": 0.950, "cutout": 0.887, "cutpaste": 0.992}  # CutPaste, image AUROC


class Areas(NamedTuple):
    """One augmentation on one task: how many areas learned, and AUROC of a column's pick."""

    task: str
    augmentation: str
    areas: int
    picks: dict[str, Estimate]


def rows(task: Task) -> list[Areas]:
    pool, out = task.run.pool, []
    per_member = member_aurocs(pool, task.anomalous)
    for name in THEIRS:
        settings = [
            s for s in pool.settings if s.augmentation == name and pool.rows(s, trained=True)
        ]
        if not settings:
            continue
        seeds = [per_member[pool.rows(s, trained=True)] for s in settings]
        means = np.array([own.mean() for own in seeds])
        picks = {MEAN: Estimate(float(means.mean()))}
        for column, rule in [*list(COLUMNS.items())[1:], ("ours", rules.DEFAULT)]:
            loss = np.array([task.run.losses[rule][s.key] for s in settings])
            picks[column] = spread(seeds[int(loss.argmin())])
        picks["oracle"] = spread(seeds[int(means.argmax())])
        out.append(Areas(task.name, name, len(settings), picks))
    return out


def table(found: Sequence[Areas]) -> Result:
    theirs = {
        name: {c: Estimate(v) for c, v in zip(COLUMNS, values, strict=True) if c in SHOWN}
        for name, values in THEIRS.items()
    }
    panels: Panels = {"published, 21 tasks": theirs}
    blocks: list[Table | str] = []
    for task in dict.fromkeys(one.task for one in found):
        lines: list[list[Cell]] = []
        for one in found:
            if one.task == task:
                lines.append([f"{one.augmentation}, {one.areas} areas", *one.picks.values()])
                lines.append(["  published", *THEIRS[one.augmentation], "", ""])
                drawn = {c: e for c, e in one.picks.items() if c in SHOWN}
                panels.setdefault(task, {})[one.augmentation] = drawn
        blocks += [
            f"{task}: AUROC of the picked area ± standard deviation over its seeds",
            Table(["", *COLUMNS, rules.DEFAULT, "oracle"], lines, plus_minus),
            f"CutPaste's paper on bottle at 256 px, ResNet-18: {BOTTLE}\n",
        ]
    return Result(blocks, lambda path: charts.dots(path, "AUROC of the picked area", panels))


SELECT = "ad-jax select --config experiments/configs/published.py:mvtec_bottle"
STUDY = from_runs(
    "published study", rows, table, ("runs/published",), (f"{SELECT} --out runs/published/bottle",)
)
