"""Targets and held-out normals drawn anew from a pool's own: what noise does to a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.pool import Pool
from ad_jax.selection import rules

RESAMPLED = ("target", "scores", "parts")  # what rules need that follow from single samples


class Rows(NamedTuple):
    """Samples of the target `[k]` and of the held-out normals `[l]`; they may repeat."""

    target: np.ndarray
    held_out: np.ndarray


def draw(pool: Pool, generator: np.random.Generator) -> Rows:
    """A bootstrap draw of target and held-out normals."""
    return Rows(*(generator.integers(0, n, n) for n in sizes(pool)))


def halves(pool: Pool, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """Complementary halves of target and held-out normals."""
    orders = [generator.permutation(n) for n in sizes(pool)]
    return (
        Rows(*(order[: len(order) // 2] for order in orders)),
        Rows(*(order[len(order) // 2 :] for order in orders)),
    )


def sizes(pool: Pool) -> tuple[int, int]:
    """Number of samples of the target, and of held-out normals."""
    return pool.scores.shape[2], pool.held_out_scores.shape[2]


def resampled(pool: Pool, rule: str, draws: Sequence[Rows]) -> np.ndarray:
    """Losses of every setting on each of the draws, `[draws, settings]`; infinite: no pick."""
    return np.stack([list(rules.losses(pool.take(*rows), rule).values()) for rows in draws])
