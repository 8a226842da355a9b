"""A run as a report sees it, and its settings and members as rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.stats import Estimate, Quality, share
from ad_jax.base.values import typical
from ad_jax.pool import estimates_by_setting
from ad_jax.report.page import Column, Table, field, tabulated
from ad_jax.report.page.content import Cell, Field
from ad_jax.runs.run import Run
from ad_jax.runs.tuning import Traced
from ad_jax.train.setting import Setting, describe, of_cell

MEAN = "mean over trained seeds [95 % interval over seeds]"
TRAINED = "seeds that learned something, of all; stopped: dropped by the search"


class Task(NamedTuple):
    """A run.

    Attributes:
      name: of the task.
      folder: of the run.
      run: read back.
      traced: its tuning, None where nothing was tuned.
      quality: None where labels were not opened.
    """

    name: str
    folder: Path
    run: Run
    traced: Traced | None = None
    quality: Quality | None = None

    @property
    def loss(self) -> np.ndarray:
        """Loss of every member `[members]` by the rule that picked; NaN where it is not known."""
        nothing = np.full(len(self.run.pool.members), np.nan)
        return self.run.member_losses.get(self.run.rule, nothing)


def halved(task: Task) -> bool:
    """Whether some members stopped before the last step: a search dropped them."""
    return bool(task.run.pool.stopped)


def families(tasks: Sequence[Task]) -> list[str]:
    """Families of all tasks in the order they come."""
    return list(dict.fromkeys(s.family for t in tasks for s in t.run.pool.settings))


def estimates(task: Task, settings: Sequence[Setting]) -> list[Estimate]:
    """Loss per setting by the rule, with its interval over seeds; infinite: cannot be picked."""
    by_key = task.run.losses[task.run.rule]
    intervals = estimates_by_setting(task.run.pool, task.loss, settings)
    return [x._replace(value=by_key[s.key]) for s, x in zip(settings, intervals, strict=True)]


def hypers(settings: Sequence[Setting]) -> dict[str, list[float]]:
    """Hyperparameter or choice of training -> its value in every setting, NaN where it has none.

    Only what differs between settings.
    """
    rows = [describe(s) for s in settings]
    names = dict.fromkeys(k for row in rows for k in row if k not in ("pretext", "augmentation"))
    out = {}
    for name in names:
        values = [typical(of_cell(str(row.get(name, math.nan)))) for row in rows]
        if len({v for v in values if v == v}) > 1:
            out[name.removeprefix("hyper.")] = values
    return out


def settings_table(task: Task, linked: str, foot: Sequence[tuple[str, float]] = ()) -> Table:
    """A row per setting, the lowest loss first.

    Args:
      task: the run.
      linked: key of the parallel coordinates whose lines are these rows.
      foot: lines to compare with, name and AUROC.
    """
    pool = task.run.pool
    settings = in_order(task)
    members = {s.key: [pool.members[r] for r in pool.rows(s)] for s in settings}
    estimated = [
        (f"loss ({task.run.rule})", estimates(task, settings), MEAN),
        *(
            (title, [share(x) for x in estimates_by_setting(pool, quality, settings)], about)
            for title, quality, about in zip(
                ("AUROC", "AP"), task.quality or (), (MEAN, "average precision, likewise")
            )
        ),
    ]

    def trained(i: int) -> str:
        statuses = [m.status for m in members[settings[i].key]]
        stopped = settings[i] in pool.stopped
        return "stopped" if stopped else f"{statuses.count('ok')}/{len(statuses)}"

    def train_loss(i: int) -> float:
        losses = [m.train_loss for m in members[settings[i].key] if m.status == "ok"]
        return float(np.mean(losses)) if losses else math.nan

    fields: list[Field[int]] = [
        field("setting", lambda i: settings[i].label, "pretext/augmentation and strength"),
        *(field(title, values.__getitem__, about) for title, values, about in estimated),
        field("trained", trained, TRAINED),
        field("train loss", train_loss, "mean over the last tenth of the steps"),
        field(
            "seconds",
            lambda i: float(sum(m.seconds for m in members[settings[i].key])),
            "of all its seeds",
            1,
        ),
        *(
            field(name.replace("_", " "), _unless_nan(values))
            for name, values in hypers(settings).items()
        ),
    ]
    rest: list[Cell] = [None] * (len(fields) - 3)
    table = tabulated(
        f"Settings of {task.name}",
        fields,
        range(len(settings)),
        [[name, None, value, *rest] for name, value in foot] if task.quality else (),
        "the pick is shaded",
    )
    marked = frozenset(i for i, s in enumerate(settings) if s.key == task.run.pick.key)
    return replace(table, marked=marked, linked=linked)


def _unless_nan(values: Sequence[float]) -> Callable[[int], Cell]:
    return lambda i: None if math.isnan(values[i]) else values[i]


def in_order(task: Task) -> list[Setting]:
    """Settings from the lowest loss on."""
    by_key = task.run.losses[task.run.rule]
    return sorted(task.run.pool.settings, key=lambda s: by_key[s.key])


def _figures(task: Task) -> Mapping[str, np.ndarray]:
    return {} if task.quality is None else task.quality._asdict()


def members_table(tasks: Sequence[Task]) -> Table:
    """A row per member, for readers: what a reader sorts by."""
    members = [(task, i) for task in tasks for i in range(len(task.run.pool.members))]
    member = lambda row: row[0].run.pool.members[row[1]]

    def quality(name: str) -> Callable[[tuple[Task, int]], Cell]:
        return lambda row: float(_figures(row[0])[name][row[1]]) if row[0].quality else None

    losses = {task.name: task.loss for task in tasks}
    states = "ok, untrained (learned nothing), failed, or stopped (by the search)"
    told_apart = "AUROC of held-out normals against their augmentations"
    fields: list[Field[tuple[Task, int]]] = [
        field("setting", lambda row: member(row).setting.label),
        field("task", lambda row: row[0].name),
        field("seed", lambda row: member(row).seed),
        field("status", lambda row: member(row).status, states),
        field("loss", lambda row: float(losses[row[0].name][row[1]]), "by the rule that picked"),
        field("AUROC", quality("auroc")),
        field("AP", quality("average_precision")),
        field("train loss", lambda row: member(row).train_loss),
        field("discrimination", lambda row: member(row).discrimination, told_apart),
        field("seconds", lambda row: member(row).seconds, digits=1),
    ]
    if not any(t.quality for t in tasks):
        fields = [f for f in fields if f[0].title not in ("AUROC", "AP")]
    return tabulated("Members", fields, members, note="every training and every control member")


def raw_rows(tasks: Sequence[Task]) -> Table:
    """A row per member with all that is known of it: what everything in a report follows from."""
    rows: list[dict[str, Any]] = []
    for task in tasks:
        figures = _figures(task)
        for i, m in enumerate(task.run.pool.members):
            rows.append(
                {
                    "task": task.name,
                    **describe(m.setting),
                    "seed": m.seed,
                    "status": m.status,
                    **{name: float(values[i]) for name, values in figures.items()},
                    "train_loss": m.train_loss,
                    "discrimination": m.discrimination,
                    "seconds": m.seconds,
                    **{f"loss.{k}": float(v[i]) for k, v in task.run.member_losses.items()},
                }
            )
    names = list(dict.fromkeys(k for row in rows for k in row))
    return Table("rows", [Column(n) for n in names], [[r.get(n) for n in names] for r in rows])
