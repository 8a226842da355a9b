"""What are pool, pick and ensemble worth on tables and series, beside what learned nothing?

Reads runs of `experiments/configs/beyond_images.py`: of every set the ensemble with weights from
the target, with all families alike, the default setting (feature noise of .8), the default rule's
pick, the mean, best and worst setting by labels (all seeds together each), and every control (mean
over seeds): AUROC and average precision; of series over points, whose score is the mean over the
windows that cover them, with VUS-PR. Prints means over sets with 95 % intervals over training sets,
mean ranks, how far the ensemble is below the best control, and, by the share of anomalies in the
target (of windows, for series), what every way to choose is worth: the table of `ensemble`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.evaluate.series import Timeline, audit_points, timeline
from ad_jax.report.figures import charts
from ad_jax.runs import run
from ad_jax.selection import weights
from experiments.result import Cell, Panels, Result, Table
from experiments.studies import ensemble
from experiments.study import from_runs
from experiments.tasks import Task, Value, counted, means, modality_of

RUNS = ("runs/rows", "runs/series")
METRICS = ("AUROC", "AP", "VUS-PR")
CHOSEN = ("ensemble", "uniform", "default", "pick")
BY_LABELS = ("mean member", "oracle", "worst")
Figures = dict[str, float]  # metric -> value


class Found(NamedTuple):
    """A set, and what every way to score it is worth."""

    task: str
    kind: str
    group: str
    figures: dict[str, Figures]
    by_share: Sequence[ensemble.Found]


def judged(scores: np.ndarray, anomalous: np.ndarray, line: Timeline | None) -> Figures:
    """What scores `[n]` of the target are worth, of windows point by point."""
    if line is not None:
        return dict(zip(METRICS, audit_points(scores, line), strict=True))
    low, high = scores[None, anomalous == 0], scores[None, anomalous == 1]
    found = (ranks.auroc_rows(low, high)[0], ranks.average_precision_rows(low, high)[0])
    return dict(zip(METRICS, map(float, found), strict=False))


def mean_of(figures: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}


def rows(task: Task) -> list[Found]:
    pool, labels = task.run.pool, task.labels
    assert labels is not None
    line = timeline(run.sample_names(task.folder), labels)
    by_key = weights.surprises(pool)
    each = {key: judged(own, task.anomalous, line) for key, own in by_key.items()}
    raw = pool.own_scores()[0]
    figures = {
        "ensemble": judged(weights.crossed(pool), task.anomalous, line),
        "uniform": judged(weights.mixed(by_key, weights.prior(pool, 0.0)), task.anomalous, line),
        "pick": each[task.run.pick.key],
        "mean member": mean_of(list(each.values())),
        "oracle": max(each.values(), key=lambda one: one["AUROC"]),
        "worst": min(each.values(), key=lambda one: one["AUROC"]),
    }
    if weights.defaults(pool):
        figures["default"] = mean_of([each[key] for key in weights.defaults(pool)])
    for control in pool.controls():
        own = [judged(raw[row], task.anomalous, line) for row in pool.rows(control)]
        figures[control.augmentation] = mean_of(own)
    about = (task.name, modality_of(pool), task.group)
    return [Found(*about, figures, ensemble.rows(task))]


def ranked(found: Sequence[Found], ways: Sequence[str], metric: str) -> np.ndarray:
    """Rank of every way on every set `[sets, ways]`, 1 the best, ties shared."""
    values = np.array([[one.figures[way][metric] for way in ways] for one in found])
    return np.asarray(ranks.rank_rows(-values))


def of_kind(found: Sequence[Found], kind: str) -> list[Table | str]:
    """Tables of a modality's sets."""
    ways = [way for way in found[0].figures if all(way in one.figures for one in found)]
    controls = [way for way in ways if way not in (*CHOSEN, *BY_LABELS)]
    metrics = [name for name in METRICS if name in found[0].figures["ensemble"]]
    blocks: list[Table | str] = []
    for metric in metrics:
        values = [
            Value(o.task, kind, o.group, (way,), o.figures[way][metric])
            for o in found
            for way in ways
        ]
        known = means(values)
        lines: list[list[Cell]] = [
            [way, *(o.figures[way][metric] for o in found), known[way,]] for way in ways
        ]
        header = ["", *(o.task.partition("/")[2] or o.task for o in found), "mean [95 %]"]
        blocks += [f"\n{kind}: {metric} on {counted(values)}", Table(header, lines)]
    compared = [*(way for way in CHOSEN if way in ways), *controls]
    by_metric = {metric: ranked(found, compared, metric).mean(0) for metric in metrics}
    lines = [[way, *(float(by_metric[m][i]) for m in metrics)] for i, way in enumerate(compared)]
    blocks += [f"\n{kind}: mean rank among these {len(compared)}", Table(["", *metrics], lines)]
    below: list[list[Cell]] = []
    for metric in metrics:
        by_control = {c: float(np.mean([o.figures[c][metric] for o in found])) for c in controls}
        best = max(by_control, key=by_control.__getitem__)
        lead = [o.figures["ensemble"][metric] - o.figures[best][metric] for o in found]
        below.append([metric, best, by_control[best], float(np.mean(lead)), float(min(lead))])
    header = ["", "best control by its mean", "mean", "ensemble's lead", "its lowest"]
    return [*blocks, f"\n{kind}: ensemble and the best control", Table(header, below)]


def table(found: Sequence[Found]) -> Result:
    blocks: list[Table | str] = []
    panels: Panels = {}
    for kind in dict.fromkeys(one.kind for one in found):
        some = [one for one in found if one.kind == kind]
        blocks += of_kind(some, kind)
        by_share = [one for task in some for one in task.by_share]
        blocks += ensemble.table(by_share).blocks
        panels[kind] = ensemble.panel(means(ensemble.worth(by_share)))
    across = "anomalies in the target"
    return Result(blocks, lambda path: charts.lines(path, across, "AUROC", panels))


CONFIGS = "experiments/configs/beyond_images.py"
NEEDS = tuple(f"ad-jax select --config {CONFIGS}:{Path(out).name} --out {out}" for out in RUNS)
STUDY = from_runs("study of tables and series", rows, table, RUNS, NEEDS)
