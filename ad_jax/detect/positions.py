"""Scores of frozen features that learn nothing: position by position, or of whole images.

An image's score is the mean over the top 5 % of its positions (AnomalyDINO, arXiv 2405.14529, takes
1 %): the highest one alone is noisy.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.numerics import rowwise
from ad_jax.detect import scores
from ad_jax.train.backbones import strangest

BANK = 4096  # positions of normals that are compared with


class Standard(NamedTuple):
    """Mean and spread `[d]` of the normals' positions."""

    mean: jax.Array
    spread: jax.Array

    def __call__(self, features: jax.Array) -> jax.Array:
        """Features `[..., d]` in units of the normals' spread."""
        return (features.astype(jnp.float32) - self.mean) / self.spread


def standard(normals: jax.Array) -> Standard:
    """Of the positions of normals `[n, ..., d]`."""
    positions = normals.reshape(-1, normals.shape[-1]).astype(jnp.float32)
    return Standard(positions.mean(0), jnp.maximum(positions.std(0), 1e-6))


class Positions(NamedTuple):
    """A fitted score of positions: how features are standardised, and the score's own state."""

    units: Standard
    state: object


def fit(score: scores.Score, key: jax.Array, normals: jax.Array) -> Positions:
    """Fits a score on positions of normals `[n, gh, gw, d]`: at most `BANK` of them, at random."""
    units = standard(normals)
    positions = normals.reshape(-1, normals.shape[-1])
    count = min(BANK, len(positions))
    rows = jax.random.choice(key, len(positions), (count,), replace=False)
    return Positions(units, score.fit(units(positions[rows])))


def of_images(score: scores.Score, fitted: Positions, samples: jax.Array) -> jax.Array:
    """Scores `[n]` of grids `[n, gh, gw, d]`: the mean of each one's strangest positions."""

    def block(grids: jax.Array) -> jax.Array:
        flat = fitted.units(grids).reshape(-1, grids.shape[-1])
        found = score.score(fitted.state, flat).reshape(len(grids), -1)
        return strangest(found, found[..., None])[0][:, 0]

    return rowwise(block, samples, 16)
