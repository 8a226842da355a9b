"""Intervals over tasks that share trainings: the training sets are resampled, not the tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ad_jax.report.seeds import over_seeds

__all__ = ["DRAWS", "over_seeds", "over_training_sets"]

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
