"""Which family wins where: local ones on defects, geometric ones on semantic anomalies?

    for part in textures bottle cookie tile fashion; do
      ad-jax select --config experiments/configs/geometric_vs_local.py:$part \\
        --record runs/shelf/$part/record --out runs/geometric_vs_local/$part
    done
    python experiments/studies/geometric_vs_local.py runs/geometric_vs_local

Reads runs, opens their labels, logs it, and prints:

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

import argparse
import math
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from ad_jax import augment
from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import open_run, true_alignment
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.report.figures import charts
from ad_jax.report.page.content import shown
from ad_jax.report.table import render
from ad_jax.runs import plan, run

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SEMANTIC = SHELF["SEMANTIC"]
WHAT = ("mean of its settings", "best setting, in hindsight")
LOSSES = ("dsv_code", "dsv_uncapped", "dsv_formula")


class Task(NamedTuple):
    """One run, its labels opened."""

    name: str
    semantic: bool
    group: str  # training-set fingerprint
    family: list[str]  # per setting
    auroc: np.ndarray  # [settings] mean over seeds that learned
    apart: np.ndarray  # [settings] distance from true alignment
    losses: dict[str, np.ndarray]  # [settings]


def read(folder: Path) -> Task:
    one, labels = open_run(folder, "geometric_vs_local study")
    anomalous = np.asarray(labels.anomalous)
    per_member = member_aurocs(one.pool, anomalous)
    apart = misalignment(folder, one, anomalous)
    settings = [s for s in one.pool.settings if one.pool.rows(s, trained=True)]
    rows = [one.pool.rows(s, trained=True) for s in settings]
    by_rule = {name: one.losses[name] for name in LOSSES}
    name = run.name_of(one.manifest)
    return Task(
        name,
        bool(re.search(SEMANTIC, name)),
        one.manifest["train_fingerprint"],
        [s.family for s in settings],
        np.array([per_member[r].mean() for r in rows]),
        np.array([apart[r].mean() for r in rows]),
        {k: np.array([v[s.key] for s in settings]) for k, v in by_rule.items()},
    )


def misalignment(folder: Path, one: run.Run, anomalous: np.ndarray) -> np.ndarray:
    """`h_d + |h_s - 1|` of every member `[members]`; NaN of controls."""
    parts = plan.whole_pool(folder, one).parts
    assert parts is not None
    true = true_alignment(parts, anomalous)
    return true.discordance + np.abs(true.separability - 1.0)


def group_of(family: str) -> str:
    return str(augment.get(family.partition("/")[2]).group)


def of_group(task: Task, group: str) -> float:
    """AUROC of a group: mean over its families of the mean over their settings."""
    families = [f for f in dict.fromkeys(task.family) if group_of(f) == group]
    own = np.array(task.family)
    return float(np.mean([task.auroc[own == f].mean() for f in families])) if families else np.nan


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 3 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return float("nan")
    return float(spearmanr(x[known], y[known]).statistic)


def over(tasks: list[Task], value: Callable[[Task], float]) -> Estimate:
    """Mean over tasks and its interval; NaN if no task has a value."""
    values = np.array([value(task) for task in tasks])
    known = np.isfinite(values)
    if not known.any():
        return Estimate(math.nan)
    groups = [t.group for t, fine in zip(tasks, known, strict=True) if fine]
    values = values[known]
    low, high = over_training_sets(groups, lambda which: float(values[which].mean()))
    return Estimate(float(values.mean()), low, high)


def of_family(family: str, best: bool) -> Callable[[Task], float]:
    """AUROC of a family: mean over its settings, or its best one; NaN where it is not tried."""

    def value(task: Task) -> float:
        own = task.auroc[np.array(task.family) == family]
        return float(own.max() if best else own.mean()) if len(own) else math.nan

    return value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of AUROC by family")
    options = parser.parse_args()
    folders = run.below(options.runs)
    tasks = [read(folder) for folder in folders]
    families = list(dict.fromkeys(f for task in tasks for f in task.family))
    rows: list[list[object]] = []
    for task in tasks:
        own = np.array(task.family)
        means = {f: task.auroc[own == f] for f in families if (own == f).any()}
        best = max(means, key=lambda f, means=means: means[f].mean())  # type: ignore[misc]
        cells = [
            f"{means[f].mean():.3f} ({means[f].max():.3f})" if f in means else "-" for f in families
        ]
        rows.append([task.name, *cells, best])
    print("AUROC of every family: mean over settings and seeds (best setting, in hindsight)")
    print(render(["task", *families, "best mean"], rows))
    kinds = {"defects": [t for t in tasks if not t.semantic]}
    kinds["semantic"] = [t for t in tasks if t.semantic]
    panels = {
        f"{kind}, {len(some)} tasks": {
            f: {
                what: over(some, of_family(f, best))
                for what, best in zip(WHAT, (False, True), strict=True)
            }
            for f in families
        }
        for kind, some in kinds.items()
        if some
    }
    print("\nThe same over tasks, with 95 % intervals over training sets")
    rows = [[f, *(shown(e) for p in panels.values() for e in p[f].values())] for f in families]
    print(render(["family", *(f"{p}: {what}" for p in panels for what in WHAT)], rows))
    groups = list(dict.fromkeys(map(group_of, families)))
    rows = []
    for kind, some in kinds.items():
        if some:
            own_means = [float(np.nanmean([of_group(t, g) for t in some])) for g in groups]
            reversal = over(some, lambda t: of_group(t, "local") - of_group(t, "geometric"))
            about = [kind, len(some), len({t.group for t in some})]
            rows.append([*about, *own_means, shown(reversal)])
    print("\nGroups of the catalogue: mean AUROC, and the published reversal")
    print(render(["tasks", "n", "training sets", *groups, "local - geometric"], rows))
    rows = []
    for kind, some in kinds.items():
        if some:
            cells = [over(some, lambda t: correlation(-t.apart, t.auroc))]
            cells += [
                over(some, lambda t, name=name: correlation(t.losses[name], t.apart))  # type: ignore[misc]
                for name in LOSSES
            ]
            rows.append([kind, *(shown(cell, 2) for cell in cells)])
    print("\nSpearman over settings, mean over tasks: true alignment with AUROC, DSV with it")
    print(render(["tasks", "alignment, AUROC", *(f"{n}, misalignment" for n in LOSSES)], rows))
    if options.picture:
        charts.dots(options.picture, "AUROC", panels)


if __name__ == "__main__":
    in_one_line(main)
