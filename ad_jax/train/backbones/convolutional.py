"""The default network: a few convolutions, made for images of 16 to 128 px and two CPU cores."""

from __future__ import annotations

import math

import flax.linen as nn
import jax

from ad_jax.train.backbones.contract import Backbone, Outputs, check_classes, check_images, pure
from ad_jax.train.backbones.layers import Decoder, cells, convolution, projection

SMALLEST_SIDE = 16  # below it the encoder's last stage would see less than 4 x 4 positions


class Encoder(nn.Module):
    """Small convolutional encoder: stride-2 stages of 3 x 3 convolutions, then a projection head.

    Attributes:
      classes: number of logits.
      widths: channels per stage; every stage halves the side.
      hidden: width of the projection head.
      decode: whether it reconstructs its input.
    """

    classes: int
    widths: tuple[int, ...]
    hidden: int = 128
    decode: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        shape = x.shape[1:]
        x = 2.0 * x - 1.0  # [n, h, w, c] in [-1, 1]
        stages = []
        for width in self.widths:
            x = nn.gelu(convolution(x, width, size=3, stride=2))
            stages.append(x)
        embedding = x.mean(axis=(1, 2))  # [n, d]
        logits = projection(embedding, self.hidden, self.classes)
        image = Decoder(shape, self.widths[-2::-1])(x) if self.decode else None
        return Outputs(embedding, logits, tuple(stages), image)


def encoder(
    shape: tuple[int, ...], classes: int, width: int = 32, decode: bool = False
) -> Backbone:
    """The default network for images: as many stages as leave about 4 x 4 positions.

    Args:
      shape: `(h, w, c)` of one sample.
      classes: number of logits; 0 only with `decode`.
      width: channels of the first stage, a multiple of 8; doubled at each stage up to four times.
      decode: adds a decoder that mirrors the stages.

    Raises:
      InputError: a side below `SMALLEST_SIDE`, a sample that is no image, another width, nothing to
        train.
    """
    check_images("encoder", shape, width, SMALLEST_SIDE)
    check_classes(classes, decode)
    depth = max(2, round(math.log2(min(shape[:2]) / 4)))
    widths = tuple(width * min(2**stage, 4) for stage in range(depth))
    return pure(Encoder(classes, widths, decode=decode), shape, cells((2,) * depth))
