"""Figures with their intervals; means over training seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


class Estimate(NamedTuple):
    """A figure and its interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


class Quality(NamedTuple):
    """What labels say of every member: AUROC and average precision `[members]`."""

    auroc: np.ndarray
    average_precision: np.ndarray


def over_seeds(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """95 % t interval of the mean over training seeds; NaN with fewer than three finite values."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if len(finite) < 3:
        return float("nan"), float("nan")
    half = float(stdtrit(len(finite) - 1, 0.975)) * finite.std(ddof=1) / np.sqrt(len(finite))
    return float(finite.mean() - half), float(finite.mean() + half)


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean of what is finite, and its interval over seeds; NaN if nothing is."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return Estimate(float(finite.mean()) if len(finite) else float("nan"), *over_seeds(finite))


def over_draws(values: np.ndarray) -> Estimate:
    """Mean over draws or splits `[draws]`, and their 2.5 and 97.5 % quantiles; NaN without any.

    The quantiles say what varies between draws; they are no confidence interval.
    """
    if not values.size:
        return Estimate(math.nan)
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def mean_where(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is usable; NaN where nothing is."""
    count = usable.sum(-1)
    total = np.where(usable, values, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def spread(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean, and one standard deviation to either side of it; NaN around a single value."""
    numbers = np.asarray(values, float)
    center = float(numbers.mean())
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else float("nan")
    return Estimate(center, center - deviation, center + deviation)


def plus_minus(estimate: Estimate, digits: int = 3) -> str:
    """A figure and its deviation as text.

    >>> plus_minus(spread([0.5, 0.7])), plus_minus(spread([0.5]))
    ('0.600 ± 0.141', '0.500')
    """
    deviation = estimate.high - estimate.value
    about = "" if np.isnan(deviation) else f" ± {deviation:.{digits}f}"
    return f"{estimate.value:.{digits}f}{about}"


def share(estimate: Estimate) -> Estimate:
    """The interval of a figure in [0, 1] such as AUROC, cut to that; NaN stays."""
    low, high = (float(np.clip(bound, 0, 1)) for bound in (estimate.low, estimate.high))
    return estimate._replace(low=low, high=high)
