"""Random fields and smoothing: dropped pixels, additive noise, blur, blending under noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.augment.contract import Augmentation, local, whole
from ad_jax.augment.patches import spread
from ad_jax.base.numerics import HIGHEST
from ad_jax.base.space import Range, Space


def _draw_dropped(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return jax.random.bernoulli(key, hyper["chance"], shape[:2])


def pixel_mask(sample: jax.Array, dropped: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sets pixels to 0 in all channels where `dropped` `[h, w]`, which is the mask."""
    return jnp.where(dropped[..., None], 0.0, sample), dropped.astype(sample.dtype)


def draw_noise(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Gaussian noise of the asked standard deviation."""
    return hyper["std"] * jax.random.normal(key, shape)


def gaussian_noise(sample: jax.Array, noise: jax.Array) -> jax.Array:
    """Adds noise `[h, w, c]`, clipped."""
    return jnp.clip(sample + noise, 0.0, 1.0)


def _draw_sigma(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return spread(key, hyper["sigma"], hyper["sigma_spread"])


def blur_radius(shape: tuple[int, ...]) -> int:
    """Of a kernel of 10 % of the shorter side, 5 px at least (`2 radius + 1`)."""
    return max(2, round(0.05 * min(shape[:2])))


def blur(sample: jax.Array, sigma: jax.Array) -> jax.Array:
    """Gaussian blur with `sigma` px, mirrored at the edges; differentiable in it.

    The kernel's size is fixed by the image (`blur_radius`), so a large sigma gives a box.
    """
    radius = blur_radius(sample.shape)
    # Under .05 px the neighbours' weights, below exp(-200), are nothing beside 1: so is sigma 0.
    weights = jnp.exp(-0.5 * (jnp.arange(-radius, radius + 1) / jnp.maximum(sigma, 0.05)) ** 2)
    weights, taps = weights / weights.sum(), range(2 * radius + 1)

    def down(pixels: jax.Array) -> jax.Array:
        # A product with a band matrix: shifted sums would compute whatever made the pixels anew
        # for every shift.
        size = pixels.shape[0]
        index = np.pad(np.arange(size), radius, mode="reflect")
        taken = np.stack([np.eye(size, dtype=np.float32)[index[k : k + size]] for k in taps])
        band = jnp.tensordot(weights, taken, 1, precision=HIGHEST)
        return jnp.tensordot(band, pixels, 1, precision=HIGHEST).astype(pixels.dtype)

    return down(down(sample).swapaxes(0, 1)).swapaxes(0, 1)


class Perlin(NamedTuple):
    """Gradient noise and how it is turned into a mask.

    Attributes:
      angles: `[n, n]` directions of the lattice's gradients in radians; more than are used.
      cells: `[2]` number of cells along each axis, real-valued, at most `n - 2`.
      offset: `[2]` place of the image in the lattice, in cells, in [0, 1).
      level: noise at which the mask's shape is 1/2.
      softness: width of the ramp around it.
      opacity: weight of the donor where the shape is 1.
    """

    angles: jax.Array
    cells: jax.Array
    offset: jax.Array
    level: jax.Array
    softness: jax.Array
    opacity: jax.Array


_CELLS = Range(4.0, 1.0, 16.0, "log", "cells a side", True, "centre of the number of cells")
_CELLS_SPREAD = Range(2.0, 1.0, 2.0, "log", "factor", True, "cells within centre / and x this")
NODES = round(_CELLS.high * _CELLS_SPREAD.high) + 2  # one to close the last cell, one to be offset


def _draw_perlin(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Perlin:
    angle_key, row_key, column_key, offset_key = jax.random.split(key, 4)
    cells = [spread(k, hyper["cells"], hyper["cells_spread"]) for k in (row_key, column_key)]
    return Perlin(
        2.0 * jnp.pi * jax.random.uniform(angle_key, (NODES, NODES)),
        jnp.stack(cells),
        jax.random.uniform(offset_key, (2,)),
        jnp.asarray(hyper["level"]),
        jnp.asarray(hyper["softness"]),
        jnp.asarray(hyper["opacity"]),
    )


def _smooth(share: jax.Array) -> jax.Array:
    """From 0 to 1 with no slope at either end, `s(1 - t) = 1 - s(t)`."""
    return share**2 * (3.0 - 2.0 * share)


def perlin_noise(perlin: Perlin, shape: tuple[int, ...]) -> jax.Array:
    """Gradient noise in [-1, 1] at the pixels' centres `[h, w]` (Perlin, SIGGRAPH 1985).

    A pixel at (u, v) of its cell has `sqrt(2) sum_ij s(1 - |u - i|) s(1 - |v - j|) <g_ij, (u - i,
    v - j)>` over the cell's four nodes with unit gradients g. Its slope is continuous, so it is
    differentiable in the number of cells.
    """
    height, width = shape[:2]
    rows = (jnp.arange(height) + 0.5) / height * perlin.cells[0] + perlin.offset[0]
    columns = (jnp.arange(width) + 0.5) / width * perlin.cells[1] + perlin.offset[1]
    first_row, first_column = jnp.floor(rows), jnp.floor(columns)
    noise = jnp.zeros((height, width))
    nodes = perlin.angles.shape[0]
    gradients = jnp.cos(perlin.angles), jnp.sin(perlin.angles)  # of the nodes, not of every pixel
    for i in (0, 1):
        for j in (0, 1):
            row, column = (rows - first_row - i)[:, None], (columns - first_column - j)[None, :]
            # Rows and columns picked by products with 0 and 1: exact, and no gather per pixel.
            down = jax.nn.one_hot(first_row.astype(jnp.int32) + i, nodes)
            across = jax.nn.one_hot(first_column.astype(jnp.int32) + j, nodes).T
            cosine, sine = (
                jnp.matmul(jnp.matmul(down, one, precision=HIGHEST), across, precision=HIGHEST)
                for one in gradients
            )
            ramp = cosine * row + sine * column
            noise += _smooth(1.0 - jnp.abs(row)) * _smooth(1.0 - jnp.abs(column)) * ramp
    return jnp.sqrt(2.0) * noise


def perlin_blend(
    sample: jax.Array, perlin: Perlin, donor: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Blends with the donor where gradient noise is high (DRAEM, arXiv 2108.07610).

    The weight, which is the mask, goes from 0 to `opacity` over a ramp of noise, and is exactly 0
    below it: a threshold with a gradient.
    """
    excess = perlin_noise(perlin, sample.shape) - perlin.level
    mask = perlin.opacity * _smooth(jnp.clip(excess / perlin.softness + 0.5, 0.0, 1.0))
    mask = mask.astype(sample.dtype)
    return sample + mask[..., None] * (donor - sample), mask


NOISY: dict[str, Augmentation] = {
    "perlin_blend": Augmentation(
        draw=_draw_perlin,
        apply=perlin_blend,
        space=Space(
            cells=_CELLS,
            cells_spread=_CELLS_SPREAD,
            level=Range(0.5, -0.5, 0.8, "linear", "noise", True, "threshold of the noise"),
            softness=Range(0.1, 0.01, 1.0, "log", "noise", True, "width of the threshold's ramp"),
            opacity=Range(0.8, 0.0, 1.0, "linear", "weight", True, "weight of the donor"),
        ),
        strength="opacity",
        example=dict(cells=4.0, cells_spread=1.5, level=0.2, softness=0.5, opacity=0.6),
        group="local",
        source="DRAEM, arXiv 2108.07610, with another training sample as texture",
    ),
    "pixel_mask": Augmentation(
        draw=_draw_dropped,
        apply=local(pixel_mask),
        space=Space(
            chance=Range(0.1, 0.0, 1.0, "linear", "probability", False, "that a pixel is set to 0")
        ),
        strength="chance",
        example={"chance": 0.2},
        group="elementwise",
        source="mask, arXiv 2208.07734",
    ),
    "gaussian_noise": Augmentation(
        draw=draw_noise,
        apply=whole(gaussian_noise),
        space=Space(
            std=Range(
                0.1, 0.0, 0.5, "linear", "grey values", True, "standard deviation of the noise"
            )
        ),
        strength="std",
        example={"std": 0.03},
        group="elementwise",
        source="noise, arXiv 2208.07734",
        takes=("image", "row"),
    ),
    "blur": Augmentation(
        draw=_draw_sigma,
        apply=whole(blur),
        space=Space(
            sigma=Range(1.0, 0.0, 5.0, "linear", "px", True, "centre of the blur's sigma"),
            sigma_spread=Range(
                1.41, 1.0, 4.0, "log", "factor", True, "sigma within centre / and x this"
            ),
        ),
        strength="sigma",
        example={"sigma": 1.2, "sigma_spread": 1.3},
        group="elementwise",
        source="blur, arXiv 2208.07734, with SimCLR's kernel (arXiv 2002.05709)",
    ),
}
