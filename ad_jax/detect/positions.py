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
CANDIDATES = 65536  # positions that a coreset is chosen among
PROJECTED = 32  # dimensions that its distances are measured in (PatchCore projects at random)


class Positions(NamedTuple):
    """A fitted score of positions: how features are standardised, and the score's own state."""

    units: Units
    state: object


def fit(
    score: scores.Score, key: jax.Array, normals: jax.Array, spread_out: bool = False
) -> Positions:
    """Fits a score on `BANK` positions of normals `[n, gh, gw, d]` at most.

    At random, or with `spread_out` by a coreset: for scores that ask what is near, not how often.
    """
    draw, project = jax.random.split(key)
    units = units_of(normals)
    positions = normals.reshape(-1, normals.shape[-1])
    count = min(CANDIDATES if spread_out else BANK, len(positions))
    rows = jax.random.choice(draw, len(positions), (count,), replace=False)
    bank = units(positions[rows])
    if spread_out and count > BANK:
        size = (bank.shape[1], PROJECTED)
        projected = bank @ (jax.random.normal(project, size) / PROJECTED**0.5)
        bank = bank[scores.coreset(projected, BANK)]
    return Positions(units, score.fit(bank))


def of_images(score: scores.Score, fitted: Positions, samples: jax.Array) -> jax.Array:
    """Scores `[n]` of grids `[n, gh, gw, d]`: the mean of each one's strangest positions."""

    def block(grids: jax.Array) -> jax.Array:
        flat = fitted.units(grids).reshape(-1, grids.shape[-1])
        found = score.score(fitted.state, flat).reshape(len(grids), -1)
        return strangest(found, found[..., None])[0][:, 0]

    return rowwise(block, samples, 16)
