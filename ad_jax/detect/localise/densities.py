"""Densities of features on a grid: `fit(features) -> state`, `score(state, features) -> [n, h, w]`.

Features are `[n, h, w, d]`; high = strange. Differences from the papers are said where they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.errors import lookup
from ad_jax.base.numerics import HIGHEST, rowwise, safe_sqrt
from ad_jax.detect import scores

FLOOR = 0.01  # of the mean variance, added to every direction (PaDiM's epsilon)
PATCHES = 2**18  # most patches that the density over all positions is fitted on
BANK = 2048  # patches kept as neighbours
CANDIDATES = 8 * BANK  # patches that they are chosen among
_POSITIONS, _IMAGES = 64, 16  # a block
HEAD = "head"  # of networks that tell every position by themselves


class Method(NamedTuple):
    """A density as two pure functions of features `[n, h, w, d]`, and the kind of its state."""

    fit: Callable[[jax.Array], Any]
    score: Callable[[Any, jax.Array], jax.Array]
    state: Any  # the class, a NamedTuple


def fit_position(features: jax.Array) -> scores.Density:
    """A Gaussian per position: `mean [h w, d]`, `precision [h w, d, d]` (PaDiM, arXiv 2011.08785).

    Covariances are shrunk as Ledoit and Wolf do instead of by a constant alone; a hundredth of the
    mean variance is added, so that a position that never varies among the normals (a white
    background) is no cliff. For parts that lie alike in every image.
    """
    count, height, width, size = features.shape
    columns = features.reshape(count, height * width, size).swapaxes(0, 1)  # [p, n, d]
    floor = jnp.maximum(FLOOR * features.var(0).mean(), 1e-12)

    def one(x: jax.Array) -> scores.Density:
        covariance, _ = scores.ledoit_wolf(x)
        scale = jnp.trace(covariance) / size + floor  # float32 inverts a matrix of unit trace
        precision = jnp.linalg.inv((covariance + floor * jnp.eye(size)) / scale) / scale
        # Symmetric to the last bit, so that one half of it is all of it.
        return scores.Density(x.mean(0), jnp.triu(precision) + jnp.triu(precision, 1).T)

    return rowwise(jax.vmap(one), columns, block=_POSITIONS)


def score_position(state: scores.Density, features: jax.Array) -> jax.Array:
    """Mahalanobis distance to the Gaussian of the same position `[n, h, w]`."""

    def block(rows: jax.Array) -> jax.Array:
        offset = rows.reshape(rows.shape[0], -1, rows.shape[-1]) - state.mean
        turned = jnp.einsum("npd,pde->npe", offset, state.precision, precision=HIGHEST)
        return safe_sqrt((turned * offset).sum(-1)).reshape(rows.shape[:3])

    return rowwise(block, features, block=_IMAGES)


def _patches(features: jax.Array, most: int, key: jax.Array) -> jax.Array:
    """All patches `[m, d]` of features `[n, h, w, d]`, or `most` of them at random."""
    rows = features.reshape(-1, features.shape[-1])
    if rows.shape[0] <= most:
        return rows
    return rows[jax.random.choice(key, rows.shape[0], (most,), replace=False)]


def fit_texture(features: jax.Array) -> scores.Density:
    """One Gaussian for all positions: `mean [d]`, `precision [d, d]`; for textures.

    Fitted on all patches, or on a fixed random choice of `PATCHES`.
    """
    return scores.fit_density(_patches(features, PATCHES, jax.random.key(0)))


def score_texture(state: scores.Density, features: jax.Array) -> jax.Array:
    """Mahalanobis distance of every patch `[n, h, w]`."""
    return rowwise(lambda rows: scores.score_density(state, rows), features, block=_IMAGES)


class Bank(NamedTuple):
    """Patches of normals `patches [k, d]`, less their `centre [d]`."""

    patches: jax.Array
    centre: jax.Array


def fit_neighbour(features: jax.Array) -> Bank:
    """At most `BANK` patches of normals (PatchCore, arXiv 2106.08265), wherever they were.

    A fixed random choice of `CANDIDATES` patches, of which a coreset is kept: its cost does not
    grow with the number of images.
    """
    rows = _patches(features, CANDIDATES, jax.random.key(0))
    centre = rows.mean(0)
    rows = rows - centre  # distances of small numbers: float32 cancels less
    if rows.shape[0] > BANK:
        rows = rows[scores.coreset(rows, BANK)]
    return Bank(rows, centre)


def score_neighbour(state: Bank, features: jax.Array) -> jax.Array:
    """Distance of every patch to the nearest one kept `[n, h, w]`; no reweighting of images."""
    rows = features.reshape(-1, features.shape[-1]) - state.centre
    return scores.score_neighbour(state.patches, rows).reshape(features.shape[:3])


class Nothing(NamedTuple):
    """The state of what is told already."""


# A map of scores as it is, such as a head's log-odds at every position.
TOLD = Method(lambda features: Nothing(), lambda state, features: features[..., 0], Nothing)

METHODS: dict[str, Method] = {
    "position": Method(fit_position, score_position, scores.Density),
    "neighbour": Method(fit_neighbour, score_neighbour, Bank),
    "texture": Method(fit_texture, score_texture, scores.Density),
}
# The density that images are scored by, too; docs/further_results.md says what it was worth.
DEFAULT = "position"


def get(name: str) -> Method:
    """The method of that name.

    Raises:
      InputError: an unknown name; the message lists the known ones.
    """
    return lookup({**METHODS, HEAD: TOLD}, name, "localisation")
