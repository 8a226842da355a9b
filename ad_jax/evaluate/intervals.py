"""Intervals over tasks that share trainings: the training sets are resampled, not the tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

DRAWS = 1000


def over_training_sets(
    groups: Sequence[str], statistic: Callable[[list[int]], float]
) -> tuple[float, float]:
    """95 % bootstrap interval of a statistic of tasks; tasks of one training set go together.

    Args:
      groups: `[tasks]` training set of every task.
      statistic: of a list of task numbers, repeated where a training set is drawn repeatedly.

    Returns:
      its 2.5 and 97.5 % quantiles, NaN with fewer than three training sets or
      a statistic that is nowhere finite.
    """
    if len(set(groups)) < 3:
        return float("nan"), float("nan")
    values = [statistic(rows) for rows in _drawn(tuple(groups))]
    if not np.isfinite(values).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


@functools.lru_cache(maxsize=4)
def _drawn(groups: tuple[str, ...]) -> list[list[int]]:
    """Task numbers of every draw: many statistics are asked of the same tasks."""
    names = sorted(set(groups))
    of_name = [[i for i, group in enumerate(groups) if group == name] for name in names]
    generator = np.random.default_rng(0)
    return [
        [i for d in generator.choice(len(names), len(names)) for i in of_name[d]]
        for _ in range(DRAWS)
    ]
