"""Scores of frozen features that learn nothing: position by position, or of whole images.

An image's score is the mean over the top 5 % of its positions (AnomalyDINO, arXiv 2405.14529, takes
1 %): the highest one alone is noisy.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from ad_jax.base.numerics import rowwise
from ad_jax.detect import scores
from ad_jax.train.backbones import Units, strangest, units_of

BANK = 4096  # positions of normals that are compared with


class Positions(NamedTuple):
    """A fitted score of positions: how features are standardised, and the score's own state."""

    units: Units
    state: object


def fit(score: scores.Score, key: jax.Array, normals: jax.Array) -> Positions:
    """Fits a score on positions of normals `[n, gh, gw, d]`: at most `BANK` of them, at random."""
    units = units_of(normals)
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
