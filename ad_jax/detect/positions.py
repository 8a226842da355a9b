"""Scores of positions of frozen features that are fitted to normals, and learn nothing.

An image's score is the mean over the top 5 % of its positions (AnomalyDINO, arXiv 2405.14529, takes
1 %): the highest one alone is noisy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.numerics import rowwise
from ad_jax.detect import scores
from ad_jax.train.backbones import Backbone, Cells, Outputs, Units, strangest, units_of
from ad_jax.train.backbones.positions import positions_of

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
    """Fits a score on `BANK` positions of normals `[n, gh, gw, d]`.

    At random, or with `spread_out` by a coreset: for scores that ask what is near, not how often.
    """
    draw, project = jax.random.split(key)
    units = units_of(normals)
    positions = normals.reshape(-1, normals.shape[-1])
    count = min(CANDIDATES if spread_out else BANK, len(positions))
    rows = jax.random.choice(draw, len(positions), (count,), replace=False)
    bank = units(positions[jnp.resize(rows, (max(count, BANK),))])  # some twice where they are few
    if spread_out and count > BANK:
        size = (bank.shape[1], PROJECTED)
        projected = bank @ (jax.random.normal(project, size) / PROJECTED**0.5)
        bank = bank[scores.coreset(projected, BANK)]
    return Positions(units, score.fit(bank))


def _said(score: scores.Score, state: Any, grids: jax.Array) -> jax.Array:
    """Scores `[n, positions]` of grids `[n, gh, gw, d]` in units of the normals' spread."""
    flat = grids.reshape(-1, grids.shape[-1])
    return score.score(state, flat).reshape(grids.shape[0], -1)


def fitted_head(name: str, shape: tuple[int, ...]) -> Backbone:
    """A score of positions in the place of a head that learns: its params are the fitted score.

    Its log-odds of being no normal are the score itself, such as the distance to the nearest of
    the normals' positions.

    Args:
      name: of the score, in `scores.SCORES`; neighbours are sought in a coreset.
      shape: `(gh, gw, d)`.
    """
    score = scores.SCORES[name]

    def fitted(normals: jax.Array) -> Positions:
        return fit(score, jax.random.key(0), normals, name == "neighbour")

    def init(key: jax.Array) -> Any:
        made = jax.eval_shape(fitted, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
        return {"fitted": jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), made)}

    def apply(params: Any, samples: jax.Array) -> Outputs:
        said = _said(score, params["fitted"].state, samples)
        positions = samples.reshape(samples.shape[0], -1, samples.shape[-1])
        told, embedding = strangest(said, said[..., None], positions)
        logits = jnp.concatenate([jnp.zeros_like(told), told], axis=-1)
        return Outputs(embedding, logits, (said.reshape(*samples.shape[:3], 1),))

    def enter(params: Any, samples: jax.Array) -> jax.Array:
        return params["fitted"].units(samples)

    def taken(params: Any, normals: jax.Array) -> Any:
        return {"fitted": fitted(normals)}

    return Backbone(init, apply, (Cells(),), enter, taken, ("fitted",), positions_of, learns=False)


def of_images(score: scores.Score, fitted: Positions, samples: jax.Array) -> jax.Array:
    """Scores `[n]` of grids `[n, gh, gw, d]`: the mean of each one's strangest positions."""

    def block(grids: jax.Array) -> jax.Array:
        found = _said(score, fitted.state, fitted.units(grids))
        return strangest(found, found[..., None])[0][:, 0]

    return rowwise(block, samples, 16)
