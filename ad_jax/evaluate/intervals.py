"""Intervals over tasks that share trainings: the training sets are resampled, not the tasks."""

from __future__ import annotations

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
    names = sorted(set(groups))
    if len(names) < 3:
        return float("nan"), float("nan")
    generator = np.random.default_rng(0)
    values = []
    for _ in range(DRAWS):
        drawn = generator.choice(len(names), len(names))
        values.append(statistic([i for d in drawn for i, g in enumerate(groups) if g == names[d]]))
    if not np.isfinite(values).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """95 % t interval of the mean over training seeds; NaN with fewer than three finite values."""
    from scipy.special import stdtrit

    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if len(known) < 3:
        return float("nan"), float("nan")
    half = float(stdtrit(len(known) - 1, 0.975)) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)
