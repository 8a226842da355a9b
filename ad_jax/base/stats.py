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
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if len(known) < 3:
        return float("nan"), float("nan")
    half = float(stdtrit(len(known) - 1, 0.975)) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean() - half), float(known.mean() + half)


def mean(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean of what is finite, and its interval over seeds; NaN if nothing is."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return Estimate(float(known.mean()) if len(known) else float("nan"), *over_seeds(known))


def spread(values: Sequence[float] | np.ndarray) -> Estimate:
    """Mean, and one standard deviation to either side of it; NaN around a single value."""
    own = np.asarray(values, float)
    center = float(own.mean())
    deviation = float(own.std(ddof=1)) if len(own) > 1 else float("nan")
    return Estimate(center, center - deviation, center + deviation)


def plus_minus(one: Estimate, digits: int = 3) -> str:
    """A figure and its deviation as text.

    >>> plus_minus(spread([0.5, 0.7])), plus_minus(spread([0.5]))
    ('0.600 ± 0.141', '0.500')
    """
    deviation = one.high - one.value
    about = "" if np.isnan(deviation) else f" ± {deviation:.{digits}f}"
    return f"{one.value:.{digits}f}{about}"


def share(one: Estimate) -> Estimate:
    """The interval of a figure in [0, 1] such as AUROC, cut to that; NaN stays."""
    return one._replace(low=float(np.clip(one.low, 0, 1)), high=float(np.clip(one.high, 0, 1)))
