"""Heatmaps of a trained network: read, reduce, fit, score, calibrate; all pure and in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.modality import modality, sides
from ad_jax.base.numerics import HIGHEST, rowwise
from ad_jax.detect.localise import densities
from ad_jax.detect.localise.features import Read, grid_of, to_image
from ad_jax.detect.localise.scale import Scale, fit_scale, to_decades
from ad_jax.detect.tiles import Plan, cut, stitch
from ad_jax.features.placing import Grid, on_grid
from ad_jax.train.backbones import as_unit

DIMENSION = 64  # features kept at every position
VALUES = 2**26  # most numbers of features that a density is fitted on (256 MiB)
BLOCK = 32  # images a forward pass


class Fitted(NamedTuple):
    """What localisation needs beside the network's parameters.

    Attributes:
      spread: `[d]` standard deviation of every feature among the normals' positions.
      state: of the density.
      scale: from its scores to decades.
    """

    spread: jax.Array
    state: Any
    scale: Scale


class Localiser(NamedTuple):
    """Localisation as pure functions; samples `[n, h, w, c]` are uint8 or floats in [0, 1].

    Attributes:
      features: `(params, samples) -> [n, a, b, d]`, what the densities see: n a b d float32, about
        256 KiB an image (or tile) at most. Of tiles, their grids stand below each other: a counts
        the rows of all.
      fit: `(features of the training's normals, features of normals kept from it) -> Fitted`; at
        least two and one.
      scores: `(fitted, features) -> [n, h, w]` at the image's size, in the density's own units; of
        series `[n, t, 1]`, here and below.
      heatmaps: `(fitted, features) -> [n, h, w]` in decades (see `scale`), comparable over images,
        networks and seeds.
      look: `(params, fitted, samples) -> [n, h, w]`, the heatmaps of samples block by block: no
        more than 32 images' features at once.
    """

    features: Callable[[Any, jax.Array], jax.Array]
    fit: Callable[[jax.Array, jax.Array], Fitted]
    scores: Callable[[Fitted, jax.Array], jax.Array]
    heatmaps: Callable[[Fitted, jax.Array], jax.Array]
    look: Callable[[Any, Fitted, jax.Array], jax.Array]


def kept(channels: Sequence[int], dimension: int = DIMENSION) -> tuple[int, ...]:
    """Features kept of every stage: all, or about `dimension` in all, by the stages' channels.

    >>> kept((24, 48, 96)), kept((8, 16))
    ((9, 18, 37), (8, 16))
    """
    total = sum(channels)
    if total <= dimension:
        return tuple(channels)
    return tuple(max(1, round(dimension * one / total)) for one in channels)


def projection(channels: int, dimension: int) -> np.ndarray:
    """Fixed random projection `[channels, dimension]` with orthonormal columns.

    The identity if nothing is to be reduced. PaDiM chooses channels at random; orthonormal
    directions keep more at the same size (Kim et al., arXiv 2105.14737).
    """
    if channels <= dimension:
        return np.eye(channels)
    draws = np.random.default_rng(0).normal(size=(channels, dimension))
    return np.linalg.qr(draws)[0]


def fitted_on(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Rows of `count` normals that a density is fitted on, by their features' shape `[a, b, d]`.

    All of them, or equal strides through their order where their features are more than `VALUES`.
    """
    few = min(count, max(2, VALUES // math.prod(shape)))
    return np.arange(few) * count // few


def make_dense(read: Read, grid: Grid) -> Callable[[Any, jax.Array], jax.Array]:
    """`(params, samples [n, h, w, c]) -> [n, a, b, d]`: all stages, projected, on one grid."""

    def dense(params: Any, rows: jax.Array) -> jax.Array:
        maps = read(params, as_unit(rows))
        sizes = kept([m.shape[-1] for m in maps])
        parts = []
        for stage, cells, size in zip(maps, read.places, sizes, strict=True):
            basis = jnp.float32(projection(stage.shape[-1], size))
            parts.append(
                jnp.matmul(on_grid(stage, cells, grid, read.window), basis, precision=HIGHEST)
            )
        return jnp.concatenate(parts, axis=-1)

    return dense


def _check_shape(shape: tuple[int, ...], where: Plan | None) -> None:
    if modality(shape) == "row" or (where is not None and modality(shape) != "image"):
        raise InputError(
            f"heatmaps are of images [h, w, c] and of series [t, c], got a sample of shape {shape}"
        )
    if where is not None and where.sides != tuple(shape[:2]):
        raise InputError(f"the plan is for images of {where.sides} px, not {shape[:2]}")


def make_placed(
    grid: Grid, own: tuple[int, ...], where: Plan | None, join: str
) -> Callable[[jax.Array], jax.Array]:
    """From scores `[n, a, b]` to the same at the image's size."""

    def placed(found: jax.Array) -> jax.Array:
        if where is None:
            return to_image(found, grid, own)
        count = len(where.corners)
        grids = found.reshape(found.shape[0] * count, -1, found.shape[2])
        tiles = to_image(grids, grid, own)
        return stitch(where, tiles.reshape(-1, count, *tiles.shape[1:]), join)

    return placed


def make_localiser(
    read: Read,
    shape: tuple[int, ...],
    method: str = densities.DEFAULT,
    where: Plan | None = None,
    join: str = "mean",
) -> Localiser:
    """Heatmaps from the maps that `read` gives.

    Every stage is projected by itself, then every feature is divided by its standard deviation over
    all positions of the normals, so that no stage drowns the others.

    Args:
      read: `network_maps(backbone, shape)` or `pixel_maps`.
      shape: `(h, w, c)` or `(t, c)` of one sample.
      method: one of `densities.METHODS`, or `head` where `read` gives scores.
      where: tiles to look at instead of whole images, for a network that takes tiles; samples and
        heatmaps are still whole images, and so is what the scale and its alarm count. `position`
        then has a Gaussian per position of every tile.
      join: how the tiles' scores become one, see `tiles.stitch`.

    Raises:
      InputError: an unknown method, samples without positions, a plan for another size.
    """
    density = densities.get(method)
    _check_shape(shape, where)
    count = 1 if where is None else len(where.corners)
    seen_at_once = max(1, BLOCK // count)
    own = sides(shape) if where is None else (where.tile, where.tile)
    grid = grid_of(own, read.cells, read.across)

    dense_whole = make_dense(read, grid)
    placed = make_placed(grid, own, where, join)

    def dense(params: Any, rows: jax.Array) -> jax.Array:
        if where is None:
            return dense_whole(params, rows)
        tiles = rows if read.in_tiles else cut(where, rows)
        found = dense_whole(params, tiles.reshape(-1, *tiles.shape[2:]))
        return found.reshape(rows.shape[0], -1, *found.shape[2:])

    def features(params: Any, samples: jax.Array) -> jax.Array:
        return rowwise(lambda rows: dense(params, rows), samples, seen_at_once)

    def fit(normals: jax.Array, held_out: jax.Array) -> Fitted:
        normals = normals[fitted_on(normals.shape[0], normals.shape[1:])]
        spread = jnp.sqrt(jnp.maximum(normals.var((0, 1, 2)), 1e-12))
        state = density.fit(normals / spread)
        blank = Fitted(spread, state, None)  # type: ignore[arg-type]
        found = scores(blank, held_out)
        if where is not None and where.region is not None:
            found = found[:, where.region]  # what does not count is no normal pixel
        return Fitted(spread, state, fit_scale(found))

    def scores(fitted: Fitted, seen: jax.Array) -> jax.Array:
        def block(rows: jax.Array) -> jax.Array:
            return placed(density.score(fitted.state, rows / fitted.spread))

        return rowwise(block, seen, seen_at_once)

    def heatmaps(fitted: Fitted, seen: jax.Array) -> jax.Array:
        decades = to_decades(fitted.scale, scores(fitted, seen))
        if where is None or where.region is None:
            return decades
        return jnp.where(where.region, decades, 0.0)

    def look(params: Any, fitted: Fitted, samples: jax.Array) -> jax.Array:
        def block(rows: jax.Array) -> jax.Array:
            return heatmaps(fitted, features(params, rows))

        return rowwise(block, samples, seen_at_once)

    return Localiser(features, fit, scores, heatmaps, look)
