"""Operations on coordinates: turns and rotations of the whole sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from ad_jax.augment.contract import Augmentation, Range


def _everything(sample: jax.Array) -> jax.Array:
    return jnp.ones(sample.shape[:2], sample.dtype)


def turns(sample: jax.Array) -> jax.Array:
    """The four quarter turns of a square sample `[s, s, c]`, counter-clockwise: `[4, s, s, c]`."""
    return jnp.stack([jnp.rot90(sample, k) for k in range(4)])


def _draw_turn(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    del hyper, shape
    return jax.random.randint(key, (), 1, 4)


def turn(sample: jax.Array, count: jax.Array, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turns by `count` quarters, counter-clockwise (numpy's `rot90`)."""
    del donor
    return turns(sample)[count], _everything(sample)


def rotate_by(sample: jax.Array, degrees: jax.Array) -> jax.Array:
    """Rotates `[h, w, c]` counter-clockwise about its centre; bilinear, edges repeated.

    Pull convention: the output at (row, column) reads the input at R(-angle) applied to the offset
    from the centre. Differentiable in the angle.
    """
    height, width, _ = sample.shape
    radians = jnp.deg2rad(degrees)
    cosine, sine = jnp.cos(radians), jnp.sin(radians)
    rows = jnp.arange(height, dtype=sample.dtype)[:, None] - (height - 1) / 2
    columns = jnp.arange(width, dtype=sample.dtype)[None, :] - (width - 1) / 2
    where = [
        cosine * rows + sine * columns + (height - 1) / 2,
        -sine * rows + cosine * columns + (width - 1) / 2,
    ]

    def resample(channel: jax.Array) -> jax.Array:
        return map_coordinates(channel, where, order=1, mode="nearest")

    return jax.vmap(resample, in_axes=2, out_axes=2)(sample)


def _draw_angle(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    del shape
    size, side = jax.random.split(key)
    angle = hyper["angle"] + hyper["width"] * jax.random.uniform(size, (), minval=-1.0, maxval=1.0)
    return angle * jnp.where(jax.random.bernoulli(side), 1.0, -1.0)


def rotate(sample: jax.Array, degrees: jax.Array, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rotates by `degrees`; see `rotate_by`."""
    del donor
    return rotate_by(sample, degrees), _everything(sample)


QUARTER_TURNS = Augmentation(
    _draw_turn,
    turn,
    {},
    "geometric",
    None,
    "Gidaris et al., ICLR 2018; Golan & El-Yaniv, NeurIPS 2018",
    views=turns,
)
ROTATE = Augmentation(
    _draw_angle,
    rotate,
    {
        "angle": Range(30.0, 0.0, 180.0, "linear", "degrees", True, "centre of the angle's range"),
        "width": Range(0.0, 0.0, 90.0, "linear", "degrees", True, "half width of the range"),
    },
    "geometric",
    "angle",
    "ST-SSAD (arXiv 2306.12033); either direction with equal probability",
)
