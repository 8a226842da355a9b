"""Random halves and random labels of a target, and AUROC of all members on all of them in bulk."""

from __future__ import annotations

import jax
import numpy as np

from ad_jax.base import ranks

BLOCK = 4_000_000  # numbers held at once
_ranks = jax.jit(jax.vmap(ranks.average_ranks))


def split(
    anomalous: np.ndarray, splits: int, generator: np.random.Generator, stratified: bool = True
) -> tuple[np.ndarray, int]:
    """Random halves of a target.

    Args:
      anomalous: `[n]` labels, 0 or 1.
      splits: how many to draw.
      generator: consumed.
      stratified: halve normals and anomalies apart (an odd sample goes to either half by a coin);
        without, halve all samples together.

    Returns:
      `[kept, n]`, True for the samples of half A, and how many splits were left out because a half
      held a single class.
    """
    strata = anomalous if stratified else np.zeros_like(anomalous)
    first = np.zeros((splits, len(anomalous)), bool)
    for value in np.unique(strata):
        rows = np.flatnonzero(strata == value)
        order = generator.random((splits, len(rows))).argsort(1).argsort(1)
        size = len(rows) // 2 + (len(rows) % 2) * generator.integers(0, 2, splits)
        first[:, rows] = order < size[:, None]
    sides = [side[:, anomalous == c].any(1) for side in (first, ~first) for c in (0, 1)]
    kept = np.logical_and.reduce(sides)
    return first[kept], int(splits - kept.sum())


def aurocs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """AUROC of every member under every labelling: ranks once, then one matrix product.

    Args:
      scores: `[members, n]`, finite.
      labels: `[labellings, n]`, 0 or 1, both in every row.

    Returns:
      `[labellings, members]`; ties count half.
    """
    rank = np.asarray(_ranks(scores), float)
    positive = labels.sum(1, dtype=float)[:, None]
    negative = labels.shape[1] - positive
    blocks = np.array_split(labels, -(-labels.size // BLOCK))
    sums = np.concatenate([block.astype(float) @ rank.T for block in blocks])
    return (sums - positive * (positive + 1) / 2) / (positive * negative)


def half_aurocs(scores: np.ndarray, anomalous: np.ndarray, first: np.ndarray) -> np.ndarray:
    """AUROC of every member on both halves of every split.

    With K[i, j] = 1 where anomaly i is above normal j (1/2 if equal), AUROC on a half is the mean
    of K over its pairs. Counting the half's normals once along the member's order gives the sum
    for half A; half B is what the sums over all anomalies and all normals leave.

    Args:
      scores: `[members, n]`, finite.
      anomalous: `[n]`.
      first: `[splits, n]`, True for half A; both halves hold both classes.

    Returns:
      `[2, splits, members]`.
    """
    positive = anomalous == 1
    in_a = first[:, positive].T.astype(np.int32)  # [anomalies, splits]
    normal_in_a = first[:, ~positive].T.astype(np.int32)  # [normals, splits]
    pairs_a = in_a.sum(0, dtype=float) * normal_in_a.sum(0)
    pairs_b = (~first[:, positive]).sum(1, dtype=float) * (~first[:, ~positive]).sum(1)
    count = np.zeros((len(normal_in_a) + 1, len(first)), np.int32)
    out = np.empty((2, len(first), len(scores)))
    for member, row in enumerate(scores):
        high, low = row[positive], row[~positive]
        order = low.argsort()
        np.cumsum(normal_in_a[order], axis=0, out=count[1:])
        below, not_above = (np.searchsorted(low[order], high, side) for side in ("left", "right"))
        ordered = np.sort(high)
        above = 2 * len(high) - sum(np.searchsorted(ordered, low, s) for s in ("left", "right"))
        twice = below + not_above  # of K, summed over all normals
        both_a = np.einsum("is,is->s", in_a, count[below] + count[not_above], dtype=np.int64)
        both_b = twice.sum() - twice @ in_a - above @ normal_in_a + both_a
        out[0, :, member], out[1, :, member] = both_a / (2 * pairs_a), both_b / (2 * pairs_b)
    return out
