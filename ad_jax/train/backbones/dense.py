"""A multilayer perceptron: the network for rows, and the control for images."""

from __future__ import annotations

import math

import flax.linen as nn
import jax

from ad_jax.base.errors import InputError
from ad_jax.train.backbones.contract import Backbone, Outputs, check_classes, pure
from ad_jax.train.backbones.layers import projection


class Perceptron(nn.Module):
    """Dense layers, then a projection head; the embedding is the last hidden layer.

    The first layer has no LayerNorm but random biases: a LayerNorm there would hide how long a row
    is, and leave of rows of one number their sign only.

    Attributes:
      classes: number of logits.
      widths: of the hidden layers.
      hidden: width of the projection head.
      decode: whether it reconstructs its input, through the same layers mirrored.
    """

    classes: int
    widths: tuple[int, ...]
    hidden: int = 128
    decode: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        shape, image = x.shape, x.ndim > 2
        if image:
            x = 2.0 * x.reshape(shape[0], -1) - 1.0  # [n, h w c] in [-1, 1]
        bias = nn.initializers.normal(1.0)
        stages = [nn.gelu(nn.Dense(self.widths[0], bias_init=bias)(x))]
        for width in self.widths[1:]:
            stages.append(nn.gelu(nn.LayerNorm()(nn.Dense(width)(stages[-1]))))
        embedding = stages[-1]
        logits = projection(embedding, self.hidden, self.classes)
        if not self.decode:
            return Outputs(embedding, logits, tuple(stages))
        y = embedding
        for width in self.widths[-2::-1]:
            y = nn.gelu(nn.LayerNorm()(nn.Dense(width)(y)))
        y = nn.Dense(math.prod(shape[1:]))(y).reshape(shape)
        return Outputs(embedding, logits, tuple(stages), nn.sigmoid(y) if image else y)


def mlp(shape: tuple[int, ...], classes: int, width: int = 32, decode: bool = False) -> Backbone:
    """A perceptron for rows `[d]`, or for images `[h, w, c]` as rows of their pixels.

    Rows are any finite numbers and reach the first layer as they are: standardise the columns
    before. Images are in [0, 1] and moved to [-1, 1], as for every other network. A reconstruction
    of rows is linear, one of images a sigmoid.

    Args:
      shape: `(d,)` or `(h, w, c)` of one sample.
      classes: number of logits; 0 only with `decode`.
      width: half the embedding; the hidden layers are 8, 4 and 2 times as wide.
      decode: adds the same layers mirrored.

    Raises:
      InputError: another shape, a width below 1, nothing to train.
    """
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise InputError(
            f"the mlp takes rows [d] or images [h, w, c], got a sample of shape {shape}: flatten it"
        )
    if width < 1:
        raise InputError(f"the mlp takes a width of at least 1, got {width}: take 32")
    check_classes(classes, decode)
    return pure(Perceptron(classes, (8 * width, 4 * width, 2 * width), decode=decode), shape)
