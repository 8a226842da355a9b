"""Parts that several networks share, built from slices and matrix products."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ad_jax.train.backbones.contract import GROUPS, Cells


def _windows(x: jax.Array, size: int, stride: int, fill: float) -> list[jax.Array]:
    """What each of the `size * size` window positions sees: `[n, ceil(h / stride), ..., c]`."""
    if size % 2 == 0:
        raise ValueError(f"a window needs a centre: its size is odd, got {size}")
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    edge = (size // 2, size // 2)
    x = jnp.pad(x, ((0, 0), edge, edge, (0, 0)), constant_values=fill)
    rows, columns = (height - 1) * stride + 1, (width - 1) * stride + 1
    return [
        x[:, i : i + rows : stride, j : j + columns : stride]
        for i in range(size)
        for j in range(size)
    ]


def patches(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Cuts `[n, h, w, c]` into zero-padded patches of odd size: `[n, h', w', size * size * c]`.

    Strided slices instead of a convolution: XLA's CPU convolution inside a `scan` is some thirty
    times slower than outside it, and per-member weights under `vmap` become grouped convolutions on
    accelerators; patches x matrix is a plain matrix product in both places. The sides are
    `ceil(h / stride)`, as those of PyTorch's convolution with padding `size // 2`.
    """
    return jnp.concatenate(_windows(x, size, stride, 0.0), axis=-1)


def pool(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Maximum over windows of odd size; positions outside `[n, h, w, c]` do not count."""
    return functools.reduce(jnp.maximum, _windows(x, size, stride, -jnp.inf))


def cells(strides: Sequence[int]) -> tuple[Cells, ...]:
    """Cells of stages whose layers of windows have these strides, each behind the one before.

    A window of odd size is centred on the position that it starts a stride from, and the padding of
    `size // 2` puts the first one on pixel 0, whatever the sizes: strides multiply, and every map
    begins at the image's first pixel.

    >>> cells((2, 2))
    (Cells(stride=2, first=0.0), Cells(stride=4, first=0.0))
    """
    return tuple(Cells(stride) for stride in itertools.accumulate(strides, operator.mul))


def enlarge(x: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """Twice the sides by nearest neighbour, cropped: `[n, h, w, c] -> [n, *sides, c]`."""
    count, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (count, height, 2, width, 2, channels))
    return x.reshape(count, 2 * height, 2 * width, channels)[:, : sides[0], : sides[1]]


def convolution(x: jax.Array, width: int, size: int, stride: int = 1) -> jax.Array:
    """A normalised convolution, called inside a module's `__call__`; the layer belongs to it.

    GroupNorm (Wu & He, arXiv 1803.08494) instead of BatchNorm: see the package's docstring.
    """
    x = nn.Dense(width, use_bias=False)(patches(x, size, stride))
    return nn.GroupNorm(num_groups=GROUPS)(x)


def projection(embedding: jax.Array, hidden: int, classes: int) -> jax.Array:
    """Logits `[n, classes]` by one hidden layer, called inside a module's `__call__`."""
    if classes == 0:
        return jnp.zeros((embedding.shape[0], 0), embedding.dtype)
    head = nn.gelu(nn.LayerNorm()(nn.Dense(hidden)(embedding)))
    return nn.Dense(classes)(head)


def spread(x: jax.Array, sides: tuple[int, int]) -> jax.Array:
    """Twice the sides from four times the channels, cropped: `[n, h, w, 4 c] -> [n, *sides, c]`.

    Shi et al., arXiv 1609.05158. A 3 x 3 convolution in front of it can do all that one behind a
    nearest-neighbour doubling can, at a quarter of the positions.
    """
    count, height, width, channels = x.shape
    x = x.reshape(count, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(count, 2 * height, 2 * width, channels // 4)[:, : sides[0], : sides[1]]


class Decoder(nn.Module):
    """Images from the deepest feature map: every stage is a convolution and a doubled side.

    Attributes:
      shape: `(h, w, c)` of the images; `h` and `w` need not be powers of two.
      widths: channels of the stages between the feature map and the image, deep to shallow; the
        feature map has sides `ceil(h / 2^(len(widths) + 1))`.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width, channels = self.shape
        for i, features in enumerate(self.widths):
            halved = 2 ** (len(self.widths) - i)
            # Convolved before it is doubled: as costly as the encoder's stage that it mirrors.
            x = nn.gelu(convolution(x, features, size=3))
            x = enlarge(x, (-(-height // halved), -(-width // halved)))
        x = nn.Dense(4 * channels)(patches(x, size=3, stride=1))
        return nn.sigmoid(spread(x, (height, width)))
