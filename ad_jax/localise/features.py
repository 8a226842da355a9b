"""Feature maps on one grid, and scores on that grid brought to the image's size.

All of it is separable and linear, so every step is a matrix for the rows and one for the columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.backbone import Backbone
from ad_jax.data.samples import resize_matrix
from ad_jax.errors import InputError
from ad_jax.numerics import HIGHEST

Read = Callable[[Any, jax.Array], tuple[jax.Array, ...]]

GRID = 32  # most positions a side
COARSEST = 12  # positions a side of a map that still says where
WINDOW = 3  # positions a side of the mean around every position (PatchCore, arXiv 2106.08265)
SMOOTHING = 1 / 64  # of the image's side: sigma 4 at 256 px, as PaDiM and PatchCore smooth


def network_maps(
    backbone: Backbone, shape: tuple[int, ...], stages: Sequence[int] | None = None
) -> Read:
    """Reads stages: `(params, samples [n, h, w, c] in [0, 1]) -> maps [n, h_i, w_i, c_i]`.

    Args:
      backbone: the network.
      shape: `(h, w, c)` of one sample.
      stages: which, from 0 (shallow) on. When not said, all but the deepest, which is closest to
        the pretext, and none coarser than `COARSEST` positions a side but the first: PaDiM (arXiv
        2011.08785) reads the first three of four stages, the coarsest 14 positions a side.

    Raises:
      InputError: a network without feature maps, a stage that it does not have.
    """

    def all_stages(params: Any, samples: jax.Array) -> tuple[jax.Array, ...]:
        return backbone.apply(params, samples).stages

    found = jax.eval_shape(
        lambda key: all_stages(backbone.init(key), jnp.zeros((1, *shape))), jax.random.key(0)
    )
    if any(len(stage.shape) != 4 for stage in found):
        raise InputError(
            "this network's stages are rows and have no positions, so there is no heatmap; take "
            "the backbone encoder or resnet18"
        )
    count = len(found)
    fine = [i for i, m in enumerate(found[:-1]) if i == 0 or min(m.shape[1:3]) >= COARSEST]
    chosen = tuple((fine or [0]) if stages is None else stages)
    wrong = [i for i in chosen if not 0 <= i < count]
    if wrong or not chosen:
        raise InputError(
            f"stages={list(chosen)} are not all of the network's; give some of {list(range(count))}"
        )

    def read(params: Any, samples: jax.Array) -> tuple[jax.Array, ...]:
        maps = all_stages(params, samples)
        return tuple(maps[i] for i in chosen)

    return read


def pixel_maps(params: Any, samples: jax.Array) -> tuple[jax.Array, ...]:
    """The samples themselves as their only map; the control without any network."""
    del params
    return (samples,)


def grid_of(maps: Sequence[Any]) -> tuple[int, int]:
    """Sides of the common grid: those of the finest map, shrunk together to at most `GRID`.

    >>> grid_of([np.zeros((1, 64, 48, 8)), np.zeros((1, 32, 24, 16))])
    (32, 24)
    """
    height, width = max((m.shape[1:3] for m in maps), key=lambda sides: sides[0] * sides[1])
    shrink = max(1.0, max(height, width) / GRID)
    return math.ceil(height / shrink), math.ceil(width / shrink)


def mean_matrix(size: int, window: int = WINDOW) -> np.ndarray:
    """`[size, size]` means over `window` neighbours, of those inside only."""
    near = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) <= window // 2
    return near / near.sum(1, keepdims=True)


def gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """`[size, size]` Gaussian smoothing, cut at 4 sigma, mirrored at the borders.

    Equal to `scipy.ndimage.gaussian_filter1d` (mode "reflect"); sigma 0 is the identity.
    """
    if sigma <= 0:
        return np.eye(size)
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    places = np.pad(np.arange(size), radius, mode="symmetric")
    out = np.zeros((size, size))
    for i in range(size):
        np.add.at(out[i], places[i : i + 2 * radius + 1], kernel / kernel.sum())
    return out


def _both_ways(rows: np.ndarray, columns: np.ndarray, maps: jax.Array) -> jax.Array:
    """Matrices `[a, h]` and `[b, w]` applied to maps `[n, h, w, c] -> [n, a, b, c]`."""
    return jnp.einsum(
        "ah,nhwc,bw->nabc", jnp.float32(rows), maps, jnp.float32(columns), precision=HIGHEST
    )


def on_grid(one: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """A map `[n, h, w, c]` on the grid `[n, *sides, c]`.

    Averaged over 3 x 3 of its positions, then shrunk by area or enlarged linearly.
    """
    rows, columns = (
        resize_matrix(old, new) @ mean_matrix(old)
        for old, new in zip(one.shape[1:3], sides, strict=True)
    )
    return _both_ways(rows, columns, one)


def to_image(scores: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Scores on a grid `[n, a, b]` at the image's size `[n, h, w]`.

    Enlarged linearly between the centres of the positions, then smoothed by a Gaussian whose
    standard deviation is a 64th of the image's longer side (4 px at 256 px).
    """
    sigma = SMOOTHING * max(shape[:2])
    rows, columns = (
        gaussian_matrix(new, sigma) @ resize_matrix(old, new)
        for old, new in zip(scores.shape[1:3], shape[:2], strict=True)
    )
    return _both_ways(rows, columns, scores[..., None])[..., 0]
