"""ResNets (He et al., arXiv 1512.03385; wide: arXiv 1605.07146), as torchvision and timm have them.

A block's stride lies in its 3 x 3 convolution. Normalisation is folded into the convolutions; XLA's
own are as fast on CPU as any other form here, or faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.features import weights
from ad_jax.features.contract import Maps
from ad_jax.features.layers import folded, norm_shapes, standardised
from ad_jax.train.backbones.contract import Cells

EPSILON = 1e-5  # of BatchNorm
STEM = 64
LAYERS = (1, 2)  # of the grid, as in PatchCore (arXiv 2106.08265): its second and third stage
SMALLEST = 17


class Plan(NamedTuple):
    """A network of four stages.

    Attributes:
      repeats: blocks of every stage.
      bottleneck: whether a block is 1 x 1, 3 x 3, 1 x 1 convolutions, or two of 3 x 3.
      inner: channels of the first stage's 3 x 3 convolutions; twice as many in every next stage.
      outer: channels of the first stage's output; likewise.
    """

    repeats: tuple[int, ...]
    bottleneck: bool
    inner: int
    outer: int


RESNET18 = Plan((2, 2, 2, 2), False, 64, 64)
RESNET50 = Plan((3, 4, 6, 3), True, 64, 256)
WIDE_RESNET50_2 = Plan((3, 4, 6, 3), True, 128, 256)
Params = dict[str, dict[str, jax.Array]]  # convolution -> kernel and bias


class Convolution(NamedTuple):
    """One convolution, and the names of its tensor and its normalisation."""

    name: str
    norm: str
    size: int
    stride: int
    inputs: int
    outputs: int


class Block(NamedTuple):
    """One residual block: its convolutions in turn, and one for the shortcut if that changes."""

    stage: int
    path: tuple[Convolution, ...]
    shortcut: Convolution | None


def blocks(plan: Plan) -> Iterator[Block]:
    """All blocks in their order."""
    inputs = STEM
    for stage, repeats in enumerate(plan.repeats):
        inner, outer = plan.inner * 2**stage, plan.outer * 2**stage
        sizes = (1, 3, 1) if plan.bottleneck else (3, 3)
        widths = (inner,) * (len(sizes) - 1) + (outer,)
        for number in range(repeats):
            name = f"layer{stage + 1}.{number}."
            stride = 2 if stage and not number else 1
            strides = (1, stride, 1) if plan.bottleneck else (stride, 1)
            path = tuple(
                Convolution(f"{name}conv{i}", f"{name}bn{i}", *one)
                for i, one in enumerate(zip(sizes, strides, (inputs, *widths), widths), 1)
            )
            places = f"{name}downsample.0", f"{name}downsample.1"
            changes = stride > 1 or inputs != outer
            shortcut = Convolution(*places, 1, stride, inputs, outer) if changes else None
            yield Block(stage, path, shortcut)
            inputs = outer


def _convolutions(plan: Plan) -> Iterator[Convolution]:
    yield Convolution("conv1", "bn1", 7, 2, 3, STEM)
    for block in blocks(plan):
        yield from block.path
        if block.shortcut:
            yield block.shortcut


def shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that features need, by PyTorch's names: all but the classifier's."""
    out: dict[str, tuple[int, ...]] = {}
    for one in _convolutions(plan):
        out[f"{one.name}.weight"] = (one.outputs, one.inputs, one.size, one.size)
        out |= norm_shapes(one.norm, one.outputs)
    return out


def named(tensors: Mapping[str, np.ndarray], plan: Plan) -> weights.Tensors:
    """The network's tensors among those of a file, in float32; the classifier is left out.

    Raises:
      InputError: names a tensor that lacks, is of another shape, not finite, or too many.
    """
    return weights.named(tensors, shapes(plan), unread=("fc.",))


def fold(tensors: Mapping[str, np.ndarray], plan: Plan) -> Params:
    """Kernels and biases of tensors of `shapes`, every normalisation inside them."""
    return {
        one.name: folded(tensors, f"{one.name}.weight", one.norm, EPSILON)
        for one in _convolutions(plan)
    }


def maps(params: Params, images: jax.Array, plan: Plan) -> Maps:
    """Output of every stage, and the mean over positions of the last.

    Args:
      images: `[n, h, w, 3]` in [0, 1].
    """

    def convolve(x: jax.Array, name: str, stride: int) -> jax.Array:
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        edge = len(kernel) // 2
        order = ("NHWC", "HWIO", "NHWC")
        strides, edges = (stride, stride), [(edge, edge)] * 2
        x = jax.lax.conv_general_dilated(x, kernel, strides, edges, dimension_numbers=order)
        return x + bias

    x = jax.nn.relu(convolve(standardised(images), "conv1", 2))
    edges = ((0, 0), (1, 1), (1, 1), (0, 0))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), edges)
    found: dict[int, jax.Array] = {}
    for block in blocks(plan):
        before = x
        for one in block.path:
            x = convolve(x, one.name, one.stride)
            x = jax.nn.relu(x) if one is not block.path[-1] else x
        short = block.shortcut
        x = jax.nn.relu(x + (convolve(before, short.name, short.stride) if short else before))
        found[block.stage] = x
    return Maps(tuple(found.values()), x.mean((1, 2)))


def cells(side: int, plan: Plan) -> tuple[Cells, ...]:
    """Where every stage's positions lie: with PyTorch's padding the first is on the first pixel."""
    return tuple(Cells(4.0 * 2**stage) for stage in range(len(plan.repeats)))
