"""The frozen encoder (EfficientNet-Lite0, random weights) on a batch of images, against PyTorch.

Ours runs as the library does: images as bytes on the host, in blocks, and the grid of features back
on the host. PyTorch has the same weights, runs eagerly in both memory layouts and compiled in
channels last, and returns the outputs of all stages; both sides' embeddings are checked to agree.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ad_jax.features import efficientnet, grids
from ad_jax.features.contract import Encoder
from experiments.benchmarks.timing import (
    OURS,
    Call,
    Plan,
    Row,
    against_best,
    in_turn,
    missing,
    torch,
)

PLAN = efficientnet.LITE0
AIM = 1.0


def parameters() -> efficientnet.Params:
    """Folded weights that keep the size of what passes through."""
    generator = np.random.default_rng(0)
    tensors = {}
    for name, shape in efficientnet.shapes(PLAN).items():
        if len(shape) > 1:
            values = generator.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[1:]))
        else:
            values = np.full(shape, float(name.endswith(("running_var", "weight"))))
        tensors[name] = values.astype(np.float32)
    return efficientnet.fold(tensors, PLAN)


def encoder(params: efficientnet.Params) -> Encoder:
    """The library's encoder with these weights."""
    return Encoder(
        name="efficientnet_lite0",
        params=params,
        apply=lambda p, images: efficientnet.maps(p, images, PLAN),
        cells=lambda side: efficientnet.cells(side, PLAN),
        layers=efficientnet.LAYERS,
        digest="random",
        smallest=efficientnet.SMALLEST,
    )


def same(side: int, size: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind a side: TensorFlow's "same" padding, with which it was trained."""
    whole = max((-(-side // stride) - 1) * stride + size - side, 0)
    return whole // 2, whole - whole // 2


def of_torch(params: efficientnet.Params, side: int) -> Any:
    """The same network for images `[n, 3, side, side]`, which returns (stages, embedding)."""
    nn, from_numpy = torch().nn, torch().from_numpy

    def convolution(name: str, side: int, size: int = 1, stride: int = 1, groups: int = 1) -> Any:
        own = params[name]
        kernel = np.array(np.transpose(own["kernel"], (3, 2, 0, 1)))
        outputs, inputs = len(kernel), kernel.shape[1] * groups
        edge = same(side, size, stride)
        equal = edge[0] == edge[1]
        one = nn.Conv2d(inputs, outputs, size, stride, edge[0] if equal else 0, groups=groups)
        one.weight.data, one.bias.data = from_numpy(kernel), from_numpy(np.array(own["bias"]))
        return one if equal else nn.Sequential(nn.ZeroPad2d((*edge, *edge)), one)

    class Block(nn.Module):
        def __init__(self, block: efficientnet.Block, side: int) -> None:
            super().__init__()
            name, wide = block.number, block.inputs * block.expansion
            layers = []
            if block.expansion > 1:
                layers += [convolution(f"{name}.expand", side), nn.ReLU6()]
            layers += [
                convolution(f"{name}.depthwise", side, block.size, block.stride, wide),
                nn.ReLU6(),
                convolution(f"{name}.project", -(-side // block.stride)),
            ]
            self.inside = nn.Sequential(*layers)
            self.adds = block.stride == 1 and block.inputs == block.outputs

        def forward(self, x: Any) -> Any:
            return self.inside(x) + x if self.adds else self.inside(x)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(convolution("stem", side, 3, 2), nn.ReLU6())
            here, blocks, self.last = -(-side // 2), [], []
            plan = list(efficientnet.blocks(PLAN))
            for block, after in zip(plan, [*plan[1:], None]):
                blocks.append(Block(block, here))
                here = -(-here // block.stride)
                self.last.append(after is None or after.stage != block.stage)
            self.blocks = nn.ModuleList(blocks)
            self.head = nn.Sequential(convolution("head", here), nn.ReLU6())

        def forward(self, images: Any) -> Any:
            x, stages = self.stem((images * 255.0 - 127.0) / 128.0), []
            for block, last in zip(self.blocks, self.last):
                x = block(x)
                if last:
                    stages.append(x)
            return stages, self.head(x).mean((2, 3))

    return Network().eval()


def of_layouts(
    params: efficientnet.Params, images: np.ndarray, compiling: bool
) -> tuple[dict[str, Call], str]:
    """PyTorch's calls by layout, and what of them does not run."""
    torch_, reason = torch(), ""
    network = of_torch(params, images.shape[1])
    unit = torch_.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(255.0))
    calls: dict[str, Call] = {}

    def call(run: Any, x: Any) -> Call:
        def forward() -> Any:
            with torch_.inference_mode():
                return run(x)

        return forward

    calls["PyTorch, contiguous"] = call(network, unit.contiguous())
    last = unit.to(memory_format=torch_.channels_last)
    aside = of_torch(params, images.shape[1]).to(memory_format=torch_.channels_last)
    calls["PyTorch, channels last"] = call(aside, last)
    if not compiling:  # a minute
        return calls, reason
    try:
        compiled = call(torch_.compile(aside), last)
        compiled()
        calls["PyTorch, channels last, compiled"] = compiled
    except Exception as error:  # no C++ compiler, an old processor: torch has many ways to say so
        reason = f"; torch.compile does not run here ({type(error).__name__})"
    return calls, reason


def rows(plan: Plan) -> list[Row]:
    batch, side = (2, 32) if plan.quick else (32, 224)
    params = parameters()
    own = encoder(params)
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    calls: dict[str, Call] = {OURS: lambda: list(grids.in_blocks(own, images))}
    reason = missing("torch")
    if not reason:
        others, reason = of_layouts(params, images, not plan.quick)
        calls |= others
        mine = own.apply(params, jnp.asarray(images) / 255.0).embedding
        theirs = calls["PyTorch, contiguous"]()[1].numpy()
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())
    row = against_best(
        f"encoder forward, {batch} images of {side} px", AIM, in_turn(calls, plan), reason
    )
    return [row if row.other is None else row._replace(against=row.against + reason)]
