"""A run as a report sees it, and its settings and members as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.stats import Estimate, Quality, share
from ad_jax.pool import estimates_by_setting
from ad_jax.report.page import Column, Table
from ad_jax.report.page.content import Cell
from ad_jax.runs.run import Run, Traced
from ad_jax.train.setting import Setting, describe


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
    spread = estimates_by_setting(task.run.pool, task.loss, settings)
    return [one._replace(value=by_key[s.key]) for s, one in zip(settings, spread, strict=True)]


def hypers(settings: Sequence[Setting]) -> dict[str, list[float]]:
    """Hyperparameter or choice of training -> its value in every setting, NaN where it has none.

    Only what differs between settings.
    """
    rows = [describe(s) for s in settings]
    names = dict.fromkeys(k for row in rows for k in row if k not in ("pretext", "augmentation"))
    out = {}
    for name in names:
        values = [float(row.get(name, math.nan)) for row in rows]
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
    varied = hypers(settings)
    judged = task.quality is not None
    columns = [
        Column("setting", "pretext/augmentation and strength"),
        Column(f"loss ({task.run.rule})", "mean over trained seeds [95 % interval over seeds]"),
        *(
            [Column("AUROC", "mean over trained seeds [95 % interval over seeds]")]
            if judged
            else []
        ),
        *([Column("AP", "average precision, likewise")] if judged else []),
        Column("trained", "seeds that learned something, of all; stopped: dropped by the search"),
        Column("train loss", "mean over the last tenth of the steps"),
        Column("seconds", "of all its seeds", 1),
        *[Column(name.replace("_", " ")) for name in varied],
    ]
    figures = [
        estimates(task, settings),
        *[[share(x) for x in estimates_by_setting(pool, q, settings)] for q in task.quality or ()],
    ]
    rows: list[list[Cell]] = []
    for i, setting in enumerate(settings):
        every = [pool.members[r] for r in pool.rows(setting)]
        good = [m for m in every if m.status == "ok"]
        loss = [m.train_loss for m in good]
        rows.append(
            [
                setting.label,
                *[column[i] for column in figures],
                "stopped" if setting in task.run.pool.stopped else f"{len(good)}/{len(every)}",
                float(np.mean(loss)) if loss else math.nan,
                float(sum(m.seconds for m in every)),
                *[None if v[i] != v[i] else v[i] for v in varied.values()],
            ]
        )
    rest: list[Cell] = [None] * (len(columns) - 3)
    return Table(
        f"Settings of {task.name}",
        columns,
        rows,
        [[name, None, value, *rest] for name, value in foot] if judged else [],
        "the pick is shaded",
        frozenset(i for i, s in enumerate(settings) if s.key == task.run.pick.key),
        linked,
    )


def in_order(task: Task) -> list[Setting]:
    """Settings from the lowest loss on."""
    by_key = task.run.losses[task.run.rule]
    return sorted(task.run.pool.settings, key=lambda s: by_key[s.key])


def _figures(task: Task) -> Mapping[str, np.ndarray]:
    return {} if task.quality is None else task.quality._asdict()


def members_table(tasks: Sequence[Task]) -> Table:
    """A row per member, for readers: what a reader sorts by."""
    judged = any(t.quality is not None for t in tasks)
    columns = [
        Column("setting"),
        Column("task"),
        Column("seed"),
        Column("status", "ok, untrained (learned nothing), failed, or stopped (by the search)"),
        Column("loss", "by the rule that picked"),
        *([Column("AUROC"), Column("AP")] if judged else []),
        Column("train loss"),
        Column("discrimination", "AUROC of held-out normals against their augmentations"),
        Column("seconds", "", 1),
    ]
    rows: list[list[Cell]] = []
    for task in tasks:
        loss, figures = task.loss, list(_figures(task).values())
        none: list[Cell] = [None, None] if judged and not figures else []
        for i, m in enumerate(task.run.pool.members):
            rows.append(
                [
                    m.setting.label,
                    task.name,
                    m.seed,
                    m.status,
                    float(loss[i]),
                    *[float(v[i]) for v in figures],
                    *none,
                    m.train_loss,
                    m.discrimination,
                    m.seconds,
                ]
            )
    return Table("Members", columns, rows, note="every training and every control member")


def raw_rows(tasks: Sequence[Task]) -> Table:
    """A row per member with all that is known of it: what everything in a report follows from."""
    found: list[dict[str, Any]] = []
    for task in tasks:
        figures = _figures(task)
        for i, m in enumerate(task.run.pool.members):
            found.append(
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
    names = list(dict.fromkeys(k for row in found for k in row))
    return Table("rows", [Column(n) for n in names], [[r.get(n) for n in names] for r in found])
