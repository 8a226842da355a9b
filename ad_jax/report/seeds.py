"""Means over training seeds and their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from ad_jax.pool import Pool, Setting
from ad_jax.report.page import Estimate


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


def by_setting(pool: Pool, per_member: np.ndarray, settings: Sequence[Setting]) -> list[Estimate]:
    """Mean of a figure of every member `[members]` over the trained seeds of each setting."""
    return [mean(per_member[pool.rows(s, trained=True)]) for s in settings]
