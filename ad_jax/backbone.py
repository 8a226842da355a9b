"""Networks: the only room that knows flax.

A network maps one batch of samples to `Outputs`: a pooled embedding (what alignment and densities
read), logits (what the pretext trains) and every stage's feature map (what localisation reads).
Normalisation is per sample (GroupNorm): no state to carry through a differentiated training, and no
coupling between normal and augmented samples of a batch.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ad_jax.errors import InputError

SMALLEST_SIDE = 16  # below it the encoder's last stage would see less than 4 x 4 positions


class Outputs(NamedTuple):
    """What a network returns for a batch.

    Attributes:
      embedding: `[n, d]` pooled features, not normalised.
      logits: `[n, classes]` of the pretext.
      stages: feature maps `[n, h_i, w_i, c_i]`, shallow to deep.
    """

    embedding: jax.Array
    logits: jax.Array
    stages: tuple[jax.Array, ...]


def patches(x: jax.Array, stride: int) -> jax.Array:
    """Cuts `[n, h, w, c]` into overlapping 3 x 3 patches, zero padded: `[n, h', w', 9 c]`.

    Nine strided slices instead of a convolution: XLA's CPU convolution inside a `scan` is some
    thirty times slower than outside it, and per-member weights under `vmap` become grouped
    convolutions on accelerators; patches x matrix is a plain matrix product in both places.
    """
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (height - 1) * stride + 1, (width - 1) * stride + 1
    shifted = [
        x[:, i : i + rows : stride, j : j + columns : stride] for i in range(3) for j in range(3)
    ]
    return jnp.concatenate(shifted, axis=-1)


class Encoder(nn.Module):
    """Small convolutional encoder: stride-2 stages of 3 x 3 convolutions, then a projection head.

    Attributes:
      classes: number of logits.
      widths: channels per stage; every stage halves the side.
      hidden: width of the projection head.
    """

    classes: int
    widths: tuple[int, ...]
    hidden: int = 128

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        x = 2.0 * x - 1.0  # [n, h, w, c] in [-1, 1]
        stages = []
        for width in self.widths:
            x = nn.Dense(width, use_bias=False)(patches(x, stride=2))
            x = nn.gelu(nn.GroupNorm(num_groups=8)(x))
            stages.append(x)
        embedding = x.mean(axis=(1, 2))  # [n, d]
        head = nn.gelu(nn.LayerNorm()(nn.Dense(self.hidden)(embedding)))
        return Outputs(embedding, nn.Dense(self.classes)(head), tuple(stages))


class Backbone(NamedTuple):
    """A network as two pure functions.

    Attributes:
      init: `(key) -> params`.
      apply: `(params, samples [n, h, w, c] in [0, 1]) -> Outputs`.
    """

    init: Any
    apply: Any


def encoder(shape: tuple[int, ...], classes: int, width: int = 32) -> Backbone:
    """The default network for images: as many stages as leave about 4 x 4 positions.

    Args:
      shape: `(h, w, c)` of one sample.
      classes: number of logits, at least 2.
      width: channels of the first stage; doubled at each stage up to four times.

    Raises:
      InputError: a side below `SMALLEST_SIDE`, or a sample that is no image.
    """
    if len(shape) != 3:
        raise InputError(f"the encoder takes images [h, w, c], got a sample of shape {shape}")
    side = min(shape[:2])
    if side < SMALLEST_SIDE:
        raise InputError(
            f"images of {shape[0]} x {shape[1]} px are smaller than the network's "
            f"{SMALLEST_SIDE} px: load them with size={SMALLEST_SIDE} or more"
        )
    depth = max(2, round(math.log2(side / 4)))
    widths = tuple(width * min(2**stage, 4) for stage in range(depth))
    network = Encoder(classes, widths)

    def init(key: jax.Array) -> Any:
        return network.init(key, jnp.zeros((1, *shape)))["params"]

    def apply(params: Any, samples: jax.Array) -> Outputs:
        return network.apply({"params": params}, samples)  # type: ignore[return-value]

    return Backbone(init, apply)


BACKBONES = {"encoder": encoder}
