"""Heatmaps of a trained network: read, reduce, fit, score, calibrate; all pure and in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.errors import InputError
from ad_jax.localise import densities
from ad_jax.localise.features import Read, grid_of, on_grid, to_image
from ad_jax.localise.scale import Scale, fit_scale, to_decades
from ad_jax.numerics import HIGHEST, rowwise
from ad_jax.train import as_unit

DIMENSION = 64  # features kept at every position
VALUES = 2**26  # most numbers of normals' features held at once (256 MiB)
BLOCK = 32  # images a forward pass


class Fitted(NamedTuple):
    """What localisation needs beside the network's parameters.

    Attributes:
      reduce: `[c, d]` from the stages' channels to the features kept.
      state: of the density.
      scale: from its scores to decades.
    """

    reduce: jax.Array
    state: Any
    scale: Scale


class Localiser(NamedTuple):
    """Localisation as pure functions; samples `[n, h, w, c]` are uint8 or floats in [0, 1].

    Attributes:
      fit: `(params, train, held_out) -> Fitted`; `train` are the normals of the training, `held_out`
        at least one normal kept from it.
      scores: `(params, fitted, samples) -> [n, h, w]` in the density's own units.
      heatmaps: `(params, fitted, samples) -> [n, h, w]` in decades (see `scale`), comparable over
        images, networks and seeds.
    """

    fit: Callable[[Any, jax.Array, jax.Array], Fitted]
    scores: Callable[[Any, Fitted, jax.Array], jax.Array]
    heatmaps: Callable[[Any, Fitted, jax.Array], jax.Array]


def projection(channels: int, dimension: int = DIMENSION) -> np.ndarray:
    """Fixed random projection `[channels, dimension]` with orthonormal columns.

    The identity if nothing is to be reduced. PaDiM chooses channels at random; orthonormal
    directions keep more at the same size (Kim et al., arXiv 2105.14737).
    """
    if channels <= dimension:
        return np.eye(channels)
    draws = np.random.default_rng(0).normal(size=(channels, dimension))
    return np.linalg.qr(draws)[0]


def make_localiser(
    read: Read, shape: tuple[int, ...], method: str = densities.DEFAULT
) -> Localiser:
    """Heatmaps from the maps that `read` gives.

    Every stage is divided by the pooled standard deviation of its channels among the normals, so
    that none drowns the others, and all are projected together.

    Args:
      read: `network_maps(backbone, shape)` or `pixel_maps`.
      shape: `(h, w, c)` of one sample.
      method: one of `densities.METHODS`.

    Raises:
      InputError: an unknown method, samples that are no images.
    """
    density = densities.get(method)
    if len(shape) != 3:
        raise InputError(f"heatmaps are of images [h, w, c], got a sample of shape {shape}")

    def dense(params: Any, rows: jax.Array) -> tuple[tuple[int, ...], jax.Array]:
        """Channels per stage, and all of them on the grid `[n, a, b, c]`."""
        maps = read(params, as_unit(rows))
        return tuple(m.shape[-1] for m in maps), on_grid(maps, grid_of(maps))

    def spread(params: Any, samples: jax.Array, channels: tuple[int, ...]) -> jax.Array:
        """Pooled standard deviation of every channel's stage `[c]`."""

        def block(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            _, x = dense(params, rows)
            return x.mean((1, 2)), x.var((1, 2))

        mean, variance = rowwise(block, samples, BLOCK)
        total = variance.mean(0) + mean.var(0)
        ends = np.cumsum(channels)[:-1]
        stages = [jnp.full(len(part), part.mean()) for part in jnp.split(total, ends)]
        return jnp.sqrt(jnp.maximum(jnp.concatenate(stages), 1e-12))

    def features(params: Any, reduce: jax.Array, rows: jax.Array) -> jax.Array:
        return jnp.einsum("nabc,cd->nabd", dense(params, rows)[1], reduce, precision=HIGHEST)

    def fit(params: Any, train: jax.Array, held_out: jax.Array) -> Fitted:
        maps = jax.eval_shape(read, params, jnp.zeros((1, *shape)))
        channels = tuple(m.shape[-1] for m in maps)
        basis = projection(sum(channels))
        a, b = grid_of(maps)
        # By equal strides through the content's order.
        fitting = min(train.shape[0], max(2, VALUES // (a * b * basis.shape[1])))
        train = train[np.arange(fitting) * train.shape[0] // fitting]
        reduce = jnp.float32(basis) / spread(params, train, channels)[:, None]
        normal = rowwise(lambda rows: features(params, reduce, rows), train, BLOCK)
        state = density.fit(normal)
        scale = fit_scale(scores(params, Fitted(reduce, state, None), held_out))  # type: ignore[arg-type]
        return Fitted(reduce, state, scale)

    def scores(params: Any, fitted: Fitted, samples: jax.Array) -> jax.Array:
        def block(rows: jax.Array) -> jax.Array:
            found = density.score(fitted.state, features(params, fitted.reduce, rows))
            return to_image(found, shape)

        return rowwise(block, samples, BLOCK)

    def heatmaps(params: Any, fitted: Fitted, samples: jax.Array) -> jax.Array:
        return to_decades(fitted.scale, scores(params, fitted, samples))

    return Localiser(fit, scores, heatmaps)
