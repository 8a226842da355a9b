"""EfficientNet-Lite (Tan & Le, arXiv 1905.11946, without squeeze-excitation), as it infers.

Normalisation is folded into the convolutions. On CPU a depthwise convolution as shifted sums is
five to twelve times as fast as XLA's own, and a pointwise one as a matrix product three times.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.features import weights
from ad_jax.features.contract import Maps
from ad_jax.features.layers import folded, norm_shapes
from ad_jax.train.backbones.contract import Cells

EPSILON = 1e-3  # of BatchNorm
STEM, HEAD, CLASSES = 32, 1280, 1000
LAYERS = (2, 4)  # of the grid
SMALLEST = 16


class Stage(NamedTuple):
    """Blocks of one width: the first has the stride."""

    repeats: int
    size: int
    stride: int
    expansion: int
    inputs: int
    outputs: int


class Block(NamedTuple):
    """One inverted residual block."""

    number: int
    stage: int
    size: int
    stride: int
    expansion: int
    inputs: int
    outputs: int


LITE0 = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)
LITE2 = tuple(
    stage._replace(repeats=repeats)
    for stage, repeats in zip(LITE0, (1, 3, 3, 4, 4, 5, 1), strict=True)
)
Params = dict[str, dict[str, jax.Array]]  # layer -> kernel and bias


def blocks(stages: tuple[Stage, ...]) -> Iterator[Block]:
    """All blocks in their order."""
    count = itertools.count()
    for number, stage in enumerate(stages):
        for repeat in range(stage.repeats):
            first = repeat == 0
            yield Block(
                next(count),
                number,
                stage.size,
                stage.stride if first else 1,
                stage.expansion,
                stage.inputs if first else stage.outputs,
                stage.outputs,
            )


def _layers(stages: tuple[Stage, ...]) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    """Every convolution: our name, its tensor, its normalisation, its shape in PyTorch's order."""
    yield "stem", "_conv_stem.weight", "_bn0", (STEM, 3, 3, 3)
    for block in blocks(stages):
        name, wide = f"_blocks.{block.number}.", block.inputs * block.expansion
        if block.expansion > 1:
            shape: tuple[int, ...] = (wide, block.inputs, 1, 1)
            yield f"{block.number}.expand", f"{name}_expand_conv.weight", f"{name}_bn0", shape
        shape = (wide, 1, block.size, block.size)
        yield f"{block.number}.depthwise", f"{name}_depthwise_conv.weight", f"{name}_bn1", shape
        shape = (block.outputs, wide, 1, 1)
        yield f"{block.number}.project", f"{name}_project_conv.weight", f"{name}_bn2", shape
    yield "head", "_conv_head.weight", "_bn1", (HEAD, stages[-1].outputs, 1, 1)


def shapes(stages: tuple[Stage, ...]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that the network has, by PyTorch's names."""
    out: dict[str, tuple[int, ...]] = {}
    for _, kernel, norm, shape in _layers(stages):
        out[kernel] = shape
        out |= norm_shapes(norm, shape[0])
    return {**out, "_fc.weight": (CLASSES, HEAD), "_fc.bias": (CLASSES,)}


def named(tensors: Mapping[str, np.ndarray], stages: tuple[Stage, ...]) -> weights.Tensors:
    """The network's tensors among those of a file, in float32.

    Raises:
      InputError: names a tensor that lacks, is of another shape, not finite, or too many.
    """
    return weights.named(tensors, shapes(stages))


def fold(tensors: Mapping[str, np.ndarray], stages: tuple[Stage, ...]) -> Params:
    """Kernels `[h, w, in, out]` and biases, every normalisation inside them.

    Args:
      tensors: of `shapes`, in float32.
    """
    params = {
        name: folded(tensors, kernel, norm, EPSILON) for name, kernel, norm, _ in _layers(stages)
    }
    params["classes"] = {
        "kernel": jnp.asarray(tensors["_fc.weight"].T),
        "bias": jnp.asarray(tensors["_fc.bias"]),
    }
    return params


def _padding(side: int, size: int, stride: int) -> tuple[int, int]:
    """Pixels before and behind a side, so that `ceil(side / stride)` windows fit ("SAME")."""
    missing = max((-(-side // stride) - 1) * stride + size - side, 0)
    return missing // 2, missing - missing // 2


def _windows(x: jax.Array, size: int, stride: int) -> list[list[jax.Array]]:
    """What each of the `size x size` window positions sees, `[n, h', w', c]` each."""
    height, width = x.shape[1:3]
    edges = _padding(height, size, stride), _padding(width, size, stride)
    rows, columns = (-(-height // stride) - 1) * stride + 1, (-(-width // stride) - 1) * stride + 1
    x = jnp.pad(x, ((0, 0), *edges, (0, 0)))
    return [
        [x[:, i : i + rows : stride, j : j + columns : stride] for j in range(size)]
        for i in range(size)
    ]


def _depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    windows = _windows(x, len(kernel), stride)
    return sum(
        window * kernel[i, j, 0] for i, row in enumerate(windows) for j, window in enumerate(row)
    )  # type: ignore[return-value]


def _dense(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    size = len(kernel)
    if size > 1:
        x = jnp.concatenate([one for row in _windows(x, size, stride) for one in row], axis=-1)
    return x @ kernel.reshape(-1, kernel.shape[-1])


def _relu6(x: jax.Array) -> jax.Array:
    return jnp.clip(x, 0.0, 6.0)


def maps(params: Params, images: jax.Array, stages: tuple[Stage, ...]) -> Maps:
    """Output of every stage, and the mean over positions of the last 1280 channels.

    Args:
      images: `[n, h, w, 3]` in [0, 1].
    """

    def layer(name: str, x: jax.Array, stride: int = 1, depthwise: bool = False) -> jax.Array:
        own = params[name]
        convolve = _depthwise if depthwise else _dense
        return convolve(x, own["kernel"], stride) + own["bias"]

    x = _relu6(layer("stem", (images * 255.0 - 127.0) / 128.0, 2))
    found: dict[int, jax.Array] = {}
    for block in blocks(stages):
        before = x
        if block.expansion > 1:
            x = _relu6(layer(f"{block.number}.expand", x))
        x = _relu6(layer(f"{block.number}.depthwise", x, block.stride, depthwise=True))
        x = layer(f"{block.number}.project", x)
        if block.stride == 1 and block.inputs == block.outputs:
            x = x + before
        found[block.stage] = x
    embedding = _relu6(layer("head", x)).mean((1, 2))
    return Maps(tuple(found[i] for i in range(len(stages))), embedding)


def logits(params: Params, embedding: jax.Array) -> jax.Array:
    """ImageNet's 1000 classes `[n, 1000]` from the embedding of images."""
    return embedding @ params["classes"]["kernel"] + params["classes"]["bias"]


def cells(side: int, stages: tuple[Stage, ...]) -> tuple[Cells, ...]:
    """Where every stage's positions lie along a side of so many px.

    The padding depends on the side, and so does what a position is centred on.
    """
    first, stride = 0.0, 1

    def step(size: int, by: int) -> None:
        nonlocal first, stride, side
        before, _ = _padding(side, size, by)
        first += stride * ((size - 1) / 2 - before)
        stride, side = stride * by, -(-side // by)

    step(3, 2)
    out: dict[int, Cells] = {}
    for block in blocks(stages):
        step(block.size, block.stride)
        out[block.stage] = Cells(stride, first)
    return tuple(out[i] for i in range(len(stages)))
