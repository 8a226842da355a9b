"""ResNet-18 (He et al., arXiv 1512.03385, section 3 and table 1), normalised per sample.

Different from the paper: GroupNorm (see the package's docstring) with as many parameters as
BatchNorm; gelu instead of relu, so that gradients through a training have second derivatives; the
weights start at 1 / fan-in variance, which the normalisation behind every convolution makes as good
as the paper's 2 / fan-in; the projection head of the encoder instead of one matrix.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from ad_jax.train.backbones.contract import (
    Backbone,
    Factory,
    Outputs,
    check_classes,
    check_images,
    pure,
)
from ad_jax.train.backbones.layers import Decoder, cells, convolution, pool, projection

SMALL_STEM_SIDE = 16  # below these the last stage would see less than 2 x 2 positions
LARGE_STEM_SIDE = 64
BLOCKS = 2  # per stage
STAGES = 4


class Block(nn.Module):
    """Basic block: two 3 x 3 convolutions beside a shortcut; `[n, h, w, c] -> [n, h', w', width]`.

    Attributes:
      width: channels out.
      stride: of the first convolution; the shortcut is then a 1 x 1 convolution.
    """

    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inside = nn.gelu(convolution(x, self.width, size=3, stride=self.stride))
        inside = convolution(inside, self.width, size=3)
        if self.stride > 1 or x.shape[-1] != self.width:
            x = convolution(x, self.width, size=1, stride=self.stride)
        return nn.gelu(x + inside)


class ResNet18(nn.Module):
    """Stem, four stages of two basic blocks, mean over positions, projection head.

    Attributes:
      classes: number of logits.
      width: channels of the first stage; doubled at each stage.
      large: stem of a 7 x 7 convolution and 3 x 3 maximum, both of stride 2, instead of one 3 x 3
        convolution of stride 1.
      hidden: width of the projection head.
      decode: whether it reconstructs its input.
    """

    classes: int
    width: int
    large: bool
    hidden: int = 128
    decode: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        shape = x.shape[1:]
        x = 2.0 * x - 1.0  # [n, h, w, c] in [-1, 1]
        if self.large:
            x = pool(nn.gelu(convolution(x, self.width, size=7, stride=2)), size=3, stride=2)
        else:
            x = nn.gelu(convolution(x, self.width, size=3))
        stages = []
        for stage in range(STAGES):
            for block in range(BLOCKS):
                halve = stage > 0 and block == 0
                x = Block(self.width * 2**stage, stride=2 if halve else 1)(x)
            stages.append(x)
        embedding = x.mean(axis=(1, 2))  # [n, 8 width]
        logits = projection(embedding, self.hidden, self.classes)
        if not self.decode:
            return Outputs(embedding, logits, tuple(stages))
        # One stage per halving but the last, which makes the image.
        factors = (4, 2, 1, 1) if self.large else (4, 2)
        image = Decoder(shape, tuple(self.width * factor for factor in factors))(x)
        return Outputs(embedding, logits, tuple(stages), image)


def _factory(name: str, large: bool, smallest: int, about: str) -> Factory:
    def factory(
        shape: tuple[int, ...], classes: int, width: int = 64, decode: bool = False
    ) -> Backbone:
        check_images(name, shape, width, smallest)
        check_classes(classes, decode)
        network = ResNet18(classes, width, large=large, decode=decode)
        return pure(network, shape, cells((4 if large else 1, *[2] * (STAGES - 1))))

    factory.__name__ = name
    factory.__doc__ = f"""{about}

    Args:
      shape: `(h, w, c)` of one sample.
      classes: number of logits; 0 only with `decode`.
      width: channels of the first stage, a multiple of 8; 64 as published.
      decode: adds a decoder.

    Raises:
      InputError: a side below {smallest} px, a sample that is no image, another width, nothing to
        train.
    """
    return factory


resnet18 = _factory(
    "resnet18",
    large=False,
    smallest=SMALL_STEM_SIDE,
    about="ResNet-18 for small images: the stem keeps the side, the last stage sees an eighth.",
)
resnet18_large = _factory(
    "resnet18_large",
    large=True,
    smallest=LARGE_STEM_SIDE,
    about="ResNet-18 as published for 224 px: the last stage sees a 32nd of the side.",
)
