"""Comparisons of two samples of scores by rank; none needs labels to be defined.

What stands first runs in compiled programs, on one sample `[n]`; what ends in `_rows` runs on the
host for all members of a pool, in numpy.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


def _counts_at_least(sample: Array, at: Array) -> jax.Array:
    """How many of `sample [n]` are >= each of `at [m]`."""
    return sample.shape[0] - jnp.searchsorted(jnp.sort(sample), at, side="left")


def auroc(low: Array, high: Array) -> jax.Array:
    """P(high > low) + P(high = low) / 2 for samples `low [n]` and `high [m]`; ties count half."""
    ordered = jnp.sort(low)
    below = jnp.searchsorted(ordered, high, side="left")
    not_above = jnp.searchsorted(ordered, high, side="right")
    return ((below + not_above) / 2.0 / low.shape[0]).mean()


def average_precision(low: Array, high: Array) -> jax.Array:
    """Average precision with `high [m]` as the positives; tied scores share their threshold."""
    true = _counts_at_least(high, high)
    false = _counts_at_least(low, high)
    return (true / (true + false)).mean()


def average_ranks(x: Array) -> jax.Array:
    """Ranks 1..n of `x [n]`, ties get their mean rank."""
    ordered = jnp.sort(x)
    below = jnp.searchsorted(ordered, x, side="left")
    not_above = jnp.searchsorted(ordered, x, side="right")
    return (below + not_above + 1) / 2.0


def spearman(x: Array, y: Array) -> jax.Array:
    """Rank correlation of `x [n]` and `y [n]`; NaN if either is constant."""
    x, y = (ranks - ranks.mean() for ranks in map(average_ranks, (x, y)))
    # Sums and no product of matrices (`jnp.corrcoef`), which loses digits on accelerators.
    return jnp.clip((x * y).sum() / jnp.sqrt((x * x).sum() * (y * y).sum()), -1.0, 1.0)


def p_values(held_out: Array, scores: Array) -> jax.Array:
    """Split-conformal p-values of `scores [n]`: (1 + held-out at least as high) / (m + 1)."""
    return (1 + _counts_at_least(held_out, scores)) / (held_out.shape[0] + 1)


def tail_share(held_out: Array, scores: Array, level: float = 0.95) -> jax.Array:
    """Share of `scores [n]` above the `level` quantile of the held-out normals' scores."""
    return (scores > jnp.quantile(held_out, level)).mean()


def surprise(held_out: Array, scores: Array) -> jax.Array:
    """-log p-value with the ties removed: comparable over detectors, so that it can be averaged.

    Between held-out normals the log p-value is interpolated; above all of them it goes on
    linearly (an exponential tail whose scale is the mean excess of the top quarter), since a plain
    p-value would make every sample beyond the last held-out normal equal.

    Args:
      held_out: `[m]` scores of held-out normals, m >= 1.
      scores: `[n]`.

    Returns:
      `[n]`, strictly increasing in the score above the lowest held-out normal.
    """
    ordered = jnp.sort(held_out)
    count = ordered.shape[0]
    level = -jnp.log((count - jnp.arange(count)) / (count + 1.0))
    scale = tail_scale(ordered)
    inside = jnp.interp(scores, ordered, level)
    above = jnp.maximum(scores - ordered[-1], 0.0) / scale
    below = jnp.maximum(ordered[0] - scores, 0.0) / scale  # keeps an order there, too
    return inside + above - below


def tail_scale(scores: Array) -> Any:
    """Scale of an exponential tail of `scores [m]`: the mean excess of their top quarter.

    At least a twentieth of their standard deviation; of a single one 1. In numpy for arrays of
    numpy, else in JAX.
    """
    numpy = np if isinstance(scores, np.ndarray) else jnp
    if len(scores) == 1:  # no spread to tell a scale by
        return 1.0
    quarter = numpy.quantile(scores, 0.75)
    top = scores >= quarter
    excess = numpy.where(top, scores - quarter, 0.0).sum() / top.sum()
    return numpy.maximum(numpy.maximum(excess, 0.05 * scores.std()), 1e-12)


# ---- whole pools: one row per member, on the host, in the precision of the scores ----


def rank_rows(x: np.ndarray) -> np.ndarray:
    """`average_ranks` of every row of `[members, n]`, float32 (halves are exact up to 2^23)."""
    x = np.asarray(x)
    count = x.shape[1]
    plain = np.arange(1, count + 1, dtype=np.float32)
    out = np.empty(x.shape, np.float32)
    for i, row in enumerate(x):
        order = np.argsort(row)
        ordered = row[order]
        new = ordered[1:] != ordered[:-1]
        if new.all():
            out[i, order] = plain
            continue
        first = np.flatnonzero(np.concatenate([[True], new]))
        sizes = np.diff(np.append(first, count))
        out[i, order] = np.repeat((first + (sizes + 1) / 2.0).astype(np.float32), sizes)
    return out


def rank_among_rows(among: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rank of every value of `x [rows, n]` among those of the same row of `among [rows, m]`.

    Float64. A value that is one of them has its average rank; one between two of them lies halfway
    between theirs. No value of `x` moves another's rank.
    """
    out = np.empty(np.shape(x))
    for i, (row, asked) in enumerate(zip(np.sort(among, axis=1), x, strict=True)):
        below, not_above = (np.searchsorted(row, asked, side) for side in ("left", "right"))
        out[i] = (below + not_above + 1) / 2.0
    return out


def spearman_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`spearman` of every row of `x` and `y`, `[rows, n]` each, float64; NaN where one is constant.

    Bit-equal for any number of rows.
    """
    from scipy.stats import rankdata  # here: loading it takes a third of the library's import

    x, y = (rankdata(values, axis=1) for values in (x, y))
    x, y = (values - values.mean(1, keepdims=True) for values in (x, y))
    lengths = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.divide((x * y).sum(1), lengths, out=np.full(len(x), np.nan), where=lengths > 0)


def p_values_rows(held_out: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`p_values` of every row of `scores [rows, n]` among `held_out [rows, m]`, float64."""
    at_least = [
        len(normals) - np.searchsorted(np.sort(normals), row, side="left")
        for normals, row in zip(held_out, scores, strict=True)
    ]
    return (1 + np.stack(at_least)) / (np.shape(held_out)[1] + 1)


def surprise_rows(held_out: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """`surprise` of every row of `scores [rows, n]` among `held_out [rows, m]`, float64."""
    count = np.shape(held_out)[1]
    level = -np.log((count - np.arange(count)) / (count + 1.0))
    out = np.empty(np.shape(scores))
    for i, (normals, row) in enumerate(zip(np.sort(held_out, axis=1), scores, strict=True)):
        scale = tail_scale(normals)
        out[i] = np.interp(row, normals, level)
        out[i] += np.maximum(row - normals[-1], 0.0) / scale
        out[i] -= np.maximum(normals[0] - row, 0.0) / scale
    return out


def auroc_rows(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`auroc` of every row `[members]` of `low [members, n]` and `high [members, m]`, float64.

    Each row is sorted once, and the other looked up in it in order; once more where they tie.
    """
    low, high = np.asarray(low), np.asarray(high)
    out = np.empty(len(low))
    for i, (below, above) in enumerate(zip(low, high, strict=True)):
        ordered, asked = np.sort(below), np.sort(above)
        first = np.searchsorted(ordered, asked, "left")
        counted = 2 * first.sum(dtype=np.int64)
        tied = ordered[np.minimum(first, len(ordered) - 1)] == asked
        if tied.any():
            counted += (np.searchsorted(ordered, asked[tied], "right") - first[tied]).sum()
        out[i] = counted / (2.0 * len(ordered) * len(asked))
    return out


def average_precision_rows(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`average_precision` of every row `[members]` of `low [members, n]`, `high [members, m]`."""
    low, high = np.asarray(low), np.asarray(high)
    out = np.empty(len(low))
    for i, (below, above) in enumerate(zip(low, high, strict=True)):
        asked = np.sort(above)
        true = len(asked) - np.searchsorted(asked, asked, "left")
        false = len(below) - np.searchsorted(np.sort(below), asked, "left")
        out[i] = (true / (true + false)).mean()
    return out


def tail_share_rows(held_out: np.ndarray, scores: np.ndarray, level: float = 0.95) -> np.ndarray:
    """`tail_share` of every row `[members]` of `[members, m]` and `[members, n]`, float64."""
    bound = np.quantile(np.asarray(held_out), level, axis=1, keepdims=True)
    return (np.asarray(scores) > bound).mean(1)
