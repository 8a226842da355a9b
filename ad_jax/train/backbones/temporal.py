"""The network for series trained from scratch: a few convolutions in time."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ad_jax.base.errors import InputError
from ad_jax.train.backbones.contract import (
    GROUPS,
    Backbone,
    Outputs,
    check_classes,
    check_width,
)
from ad_jax.train.backbones.layers import cells, projection
from ad_jax.train.backbones.positions import in_units

SMALLEST_LENGTH = 16  # points; below it the last stage would see less than 4 positions
SIZE = 5  # points that a convolution sees: with stride 2 every point comes up in two or three


def windows(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Cuts `[n, t, c]` into zero-padded windows of odd size: `[n, ceil(t / stride), size * c]`.

    Strided slices instead of a convolution, as `layers.patches` has it for images.
    """
    count = -(-x.shape[1] // stride)
    x = jnp.pad(x, ((0, 0), (size // 2, size // 2), (0, 0)))
    last = (count - 1) * stride + 1
    return jnp.concatenate([x[:, i : i + last : stride] for i in range(size)], axis=-1)


def enlarge(x: jax.Array, points: int) -> jax.Array:
    """Twice the length by repetition, cropped: `[n, t, c] -> [n, points, c]`."""
    return jnp.repeat(x, 2, axis=1)[:, :points]


class Temporal(nn.Module):
    """Stride-2 stages of convolutions in time, mean over positions, projection head.

    The first stage has no GroupNorm but random biases: a GroupNorm there would hide the level and
    the size of a series, which it takes out of every sample.

    Attributes:
      classes: number of logits.
      widths: channels per stage; every stage halves the length.
      hidden: width of the projection head.
      decode: whether it reconstructs its input.
    """

    classes: int
    widths: tuple[int, ...]
    hidden: int = 128
    decode: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        points, channels = x.shape[1:]  # [n, t, c] in units of the normals' spread
        bias = nn.initializers.normal(1.0)
        x = nn.gelu(nn.Dense(self.widths[0], bias_init=bias)(windows(x, SIZE, 2)))
        stages = [x]
        for width in self.widths[1:]:
            x = nn.Dense(width, use_bias=False)(windows(x, SIZE, 2))
            x = nn.gelu(nn.GroupNorm(num_groups=GROUPS)(x))
            stages.append(x)
        embedding = x.mean(axis=1)  # [n, d]
        logits = projection(embedding, self.hidden, self.classes)
        maps = tuple(stage[:, :, None] for stage in stages)
        if not self.decode:
            return Outputs(embedding, logits, maps)
        for i, width in enumerate(self.widths[-2::-1]):
            halved = 2 ** (len(self.widths) - 1 - i)
            x = nn.Dense(width, use_bias=False)(windows(x, SIZE, 1))
            x = enlarge(nn.gelu(nn.GroupNorm(num_groups=GROUPS)(x)), -(-points // halved))
        x = nn.Dense(2 * channels)(windows(x, SIZE, 1))  # both points of a position
        made = x.reshape(x.shape[0], -1, channels)[:, :points]
        return Outputs(embedding, logits, maps, made)


def temporal(
    shape: tuple[int, ...], classes: int, width: int = 32, decode: bool = False
) -> Backbone:
    """The network for series: as many stages as leave about 4 positions.

    Series are standardised by mean and spread per channel of the normals, which training takes from
    them at its start and leaves alone; augmentations and reconstructions are in these units. Its
    stages are maps `[n, t_i, 1, c_i]`, images of one column.

    Args:
      shape: `(t, c)` of one sample.
      classes: number of logits; 0 only with `decode`.
      width: channels of the first stage, a multiple of 8; doubled at each stage up to four times.
      decode: adds a decoder that mirrors the stages; its series have no bounds.

    Raises:
      InputError: a sample that is no series, windows shorter than `SMALLEST_LENGTH`, another width,
        nothing to train.
    """
    if len(shape) != 2:
        raise InputError(f"the temporal takes series [t, c], got a sample of shape {shape}")
    if shape[0] < SMALLEST_LENGTH:
        raise InputError(
            f"series of {shape[0]} points are shorter than the network's {SMALLEST_LENGTH}: cut "
            f"windows of {SMALLEST_LENGTH} or more"
        )
    check_width("temporal", width)
    check_classes(classes, decode)
    depth = max(2, round(math.log2(shape[0] / 4)))
    widths = tuple(width * min(2**stage, 4) for stage in range(depth))
    network = Temporal(classes, widths, decode=decode)

    def apply(params: Any, samples: jax.Array) -> Outputs:
        return network.apply({"params": params["learned"]}, samples)  # type: ignore[return-value]

    return in_units(network, shape, apply)._replace(cells=cells((2,) * depth))
