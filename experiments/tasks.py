"""Runs read as tasks: what was trained on whose data, their labels opened; gains over tasks."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.stats import Estimate
from ad_jax.data import Labels
from ad_jax.evaluate import open_run
from ad_jax.evaluate.comparison import share_won
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.pool import Pool
from ad_jax.runs import plan, run
from experiments.configs.shelf import SEMANTIC

KINDS = ("defects", "semantic")


class Task(NamedTuple):
    """One run and the labels `[n]` of its target."""

    name: str  # in tables
    kind: str  # of `KINDS`
    group: str  # fingerprint of the training set; tasks that share one are resampled together
    run: run.Run  # as read: its pool has no alignment parts
    anomalous: np.ndarray
    kinds: Sequence[str] = ()
    folder: Path = Path()
    labels: Labels | None = None

    def whole_pool(self) -> Pool:
        """The pool with its alignment parts, which the run's record holds."""
        return plan.whole_pool(self.folder, self.run)


def kind_of(manifest: Mapping[str, Any], semantic: str = SEMANTIC) -> str:
    """The kind of a run's anomalies, by a pattern in the names of semantic tasks."""
    return KINDS[bool(re.search(semantic, run.name_of(manifest)))]


def modality_of(pool: Pool) -> str:
    """Whether a pool is of "rows", "series" or "images", by the controls that stand in it."""
    names = {control.augmentation for control in pool.controls()}
    return (
        "rows" if "isolation_forest" in names else "series" if "difference" in names else "images"
    )


def folders_below(paths: Sequence[Path]) -> Iterator[Path]:
    """Folders of runs, one after the other; stderr says how far it is.

    Raises:
      InputError: no runs.
    """
    if not paths:
        raise InputError("this study reads runs; give their folders with --runs")
    folders = run.below(paths)
    for number, folder in enumerate(folders, 1):
        yield folder
        print(f"{number}/{len(folders)} {folder.name}", file=sys.stderr, flush=True)


def read(paths: Sequence[Path], reason: str, semantic: str = SEMANTIC) -> Iterator[Task]:
    """Every run at or below the paths; opens its labels for a reason, and logs it."""
    for folder in folders_below(paths):
        one, labels = open_run(folder, reason)
        yield Task(
            run.name_of(one.manifest),
            kind_of(one.manifest, semantic),
            one.manifest["train_fingerprint"],
            one,
            np.asarray(labels.anomalous),
            labels.kinds,
            folder,
            labels,
        )


class Won(NamedTuple):
    """What a choice won on a task: AUROC over that of the expected random setting."""

    task: str
    kind: str
    group: str
    choice: tuple[str, ...]  # what chose, such as (rule, column)
    won: float
    possible: float  # of the best setting


def won(
    losses: Mapping[str, float], auroc: Mapping[str, float], keys: Iterable[str]
) -> tuple[float, float]:
    """What a pick among some settings won, and what was possible: AUROC over their mean.

    Ties share the pick; where no loss is finite it is any setting.
    """
    known = list(keys)
    values, loss = (np.array([of[key] for key in known]) for of in (auroc, losses))
    picked = values[loss == loss.min()] if np.isfinite(loss).any() else values
    return float(picked.mean() - values.mean()), float(values.max() - values.mean())


def gains(rows: Iterable[Won]) -> dict[tuple[str, ...], Estimate]:
    """Gain of every choice, won over possible, and its 95 % interval over training sets."""
    by_choice: dict[tuple[str, ...], list[tuple[float, float, str]]] = {}
    for row in rows:
        by_choice.setdefault(row.choice, []).append((row.won, row.possible, row.group))
    return {name: Estimate(*share_won(*zip(*own))) for name, own in by_choice.items()}


class Value(NamedTuple):
    """A figure of a task, and what it is of; NaN where it is not known."""

    task: str
    kind: str
    group: str
    what: tuple[str, ...]
    value: float


def means(rows: Iterable[Value]) -> dict[tuple[str, ...], Estimate]:
    """Mean of every figure over the tasks that know it, and its interval over training sets."""
    known: dict[tuple[str, ...], list[Value]] = {}
    for row in rows:
        if np.isfinite(row.value):
            known.setdefault(row.what, []).append(row)
    out = {}
    for what, own in known.items():
        values = np.array([row.value for row in own])
        groups = [row.group for row in own]
        interval = over_training_sets(groups, lambda some, v=values: float(v[some].mean()))  # type: ignore[misc]
        out[what] = Estimate(float(values.mean()), *interval)
    return out


def counted(rows: Iterable[Any]) -> str:
    """How many tasks and training sets rows are of."""
    pairs = {(row.group, row.name if isinstance(row, Task) else row.task) for row in rows}
    return f"{len(pairs)} tasks of {len({group for group, _ in pairs})} training sets"
