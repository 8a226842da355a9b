"""Best of k: what trying more settings buys, exactly, for settings drawn without replacement."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ad_jax.evaluate.split_half import BLOCK

DIGITS = 12  # values that agree so far are tied: sums in another order differ beyond


def numbers(count: int) -> list[int]:
    """1, 2, 4, … and `count` itself."""
    return sorted({2**i for i in range(count.bit_length())} | {count})


@functools.lru_cache(maxsize=1)  # asked for block after block
def _at_most(count: int, tried: tuple[int, ...]) -> np.ndarray:
    """C(r, k) / C(count, k) `[k, count + 1]` for r = 0 … count."""
    row = np.ones(count + 1)
    out = np.empty((len(tried), count + 1))
    for k in range(1, max(tried) + 1):
        row = row * np.maximum(np.arange(count + 1) - k + 1, 0) / (count - k + 1)
        if k in tried:
            out[tried.index(k)] = row
    return out


def chances(values: np.ndarray, tried: Sequence[int]) -> np.ndarray:
    """Chance of every setting to be the best of k drawn at random; tied settings share it.

    The best of k of N has at most r settings not above it with chance C(r, k) / C(N, k).

    Args:
      values: `[rows, settings]`, higher is better.
      tried: numbers k in 1..settings.

    Returns:
      `[k, rows, settings]`, sums to one over settings.
    """
    at_most = _at_most(values.shape[1], tuple(tried))
    values = np.round(values, DIGITS)
    rows, count = values.shape
    order = values.argsort(1)
    ordered = np.take_along_axis(values, order, 1)
    new = np.ones((rows, count), bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = np.arange(count)
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.ones((rows, count), bool)
    ends[:, :-1] = new[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, count)[:, ::-1], axis=1)[:, ::-1] + 1
    below, not_above = np.empty_like(order), np.empty_like(order)
    np.put_along_axis(below, order, first, 1)
    np.put_along_axis(not_above, order, last, 1)
    return (at_most[:, not_above] - at_most[:, below]) / (not_above - below)


def expected_best(chosen: np.ndarray, reported: np.ndarray, tried: Sequence[int]) -> np.ndarray:
    """Expected value of the best of k settings.

    Args:
      chosen: `[rows, settings]` values by which the best is chosen.
      reported: `[rows, settings]` values by which it is reported.
      tried: numbers k.

    Returns:
      `[k, rows]`.
    """
    blocks = max(1, -(-len(tried) * chosen.size // BLOCK))  # large pools do not fit in memory
    pieces = [np.array_split(side, blocks) for side in (chosen, reported)]
    return np.concatenate(
        [np.einsum("krs,rs->kr", chances(c, tried), r) for c, r in zip(*pieces, strict=True)], 1
    )


def reseeded(
    values: np.ndarray, usable: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Settings that differ by training noise alone.

    Every setting is put at the mean of all settings, and gets as many residuals as it has seeds,
    drawn with replacement from the deviations of all members from their setting's mean (widened by
    sqrt(seeds / (seeds - 1)), since the mean was fitted); their mean is its noise. Cut to [0, 1].

    Args:
      values: `[settings, seeds]` AUROC.
      usable: `[settings, seeds]`, False where there is none; at least one seed a setting.
      draws: how many pools to draw.
      generator: consumed.

    Returns:
      `[draws, settings]`; NaN if no setting has two seeds.
    """
    count = usable.sum(1)
    mean = np.where(usable, values, 0.0).sum(1) / count
    repeated = usable & (count > 1)[:, None]
    if not repeated.any():
        return np.full((draws, len(values)), np.nan)
    widened = np.sqrt(count / np.maximum(count - 1, 1))[:, None] * (values - mean[:, None])
    drawn = generator.choice(widened[repeated], (draws, *values.shape))
    return np.clip(mean.mean() + np.where(usable, drawn, 0.0).sum(2) / count, 0.0, 1.0)
