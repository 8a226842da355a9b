"""A training step (forward, backward, Adam) of the encoder and of ResNet-18, against PyTorch.

Ours runs inside `lax.scan`, as the trainer uses it; PyTorch runs eagerly in both memory layouts.
The networks have the same number of parameters, which is checked. `python -m
experiments.benchmarks.step --width 64` compares ResNet-18 as wide as published.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ad_jax.train.backbones import BACKBONES, Backbone
from experiments.benchmarks.timing import (
    OURS,
    Plan,
    Row,
    against_best,
    in_turn,
    machine,
    missing,
    table,
    torch,
)

CLASSES, RATE = 2, 1e-3
SIDE, BATCH, STEPS = 32, 64, 10  # px, images, steps of a round
WIDTHS = {"encoder": 24, "resnet18": 32}  # 64 as published
AIMS = {"encoder": 0.8, "resnet18": 1.0}


def build(name: str, depth: int, width: int, channels: int = 3) -> Any:
    """The network in PyTorch: "encoder" of `depth` stages, or "resnet18" with the small stem."""
    nn = torch().nn

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> Any:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
            nn.GroupNorm(8, outputs, eps=1e-6),
        )

    def gelu() -> Any:
        return nn.GELU(approximate="tanh")

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.inside = nn.Sequential(
                convolution(inputs, outputs, 3, stride), gelu(), convolution(outputs, outputs, 3)
            )
            same = inputs == outputs
            self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)
            self.last = gelu()

        def forward(self, x: Any) -> Any:
            return self.last(self.inside(x) + self.shortcut(x))

    layers, inputs = [], channels
    if name == "encoder":
        for stage in range(depth):
            outputs = width * min(2**stage, 4)
            layers += [convolution(inputs, outputs, 3, 2), gelu()]
            inputs = outputs
    else:
        layers, inputs = [convolution(channels, width, 3), gelu()], width
        for stage in range(4):
            for block in range(2):
                outputs = width * 2**stage
                layers.append(Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 128)]
    head += [nn.LayerNorm(128, eps=1e-6), gelu(), nn.Linear(128, CLASSES)]
    return nn.Sequential(*layers, *head)


def of_torch(
    network: Any, images: np.ndarray, labels: np.ndarray, steps: int, layout: str
) -> Callable[[], Any]:
    """`steps` steps on one batch, as a call without arguments."""
    memory = getattr(torch(), layout)
    network = network.to(memory_format=memory)
    x = torch().from_numpy(images.transpose(0, 3, 1, 2).copy()).to(memory_format=memory)
    y = torch().from_numpy(labels).long()
    optimiser = torch().optim.Adam(network.parameters(), RATE)

    def run() -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            torch().nn.functional.cross_entropy(network(2.0 * x - 1.0), y).backward()
            optimiser.step()

    return run


def ours(
    backbone: Backbone, images: np.ndarray, labels: np.ndarray, steps: int
) -> Callable[[], Any]:
    """The same in one compiled scan."""
    optimiser = optax.adam(RATE)
    x, y = jnp.asarray(images), jnp.asarray(labels)

    def step(carried: Any, _: None) -> tuple[Any, jax.Array]:
        params, moments = carried

        def loss_of(params: Any) -> jax.Array:
            logits = backbone.apply(params, x).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        loss, gradient = jax.value_and_grad(loss_of)(params)
        updates, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), loss

    def train(params: Any) -> Any:
        return jax.lax.scan(step, (params, optimiser.init(params)), length=steps)

    params = jax.jit(backbone.init)(jax.random.key(0))
    compiled = jax.jit(train).lower(params).compile()
    return lambda: jax.block_until_ready(compiled(params))


def sizes(backbone: Backbone) -> Any:
    """Shapes of the parameters."""
    return jax.eval_shape(backbone.init, jax.random.key(0))


def compare(name: str, width: int, plan: Plan) -> Row:
    """One network, in seconds a step."""
    batch, steps = (8, 2) if plan.quick else (BATCH, STEPS)
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, SIDE, SIDE, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, batch).astype(np.int32)
    backbone = BACKBONES[name]((SIDE, SIDE, 3), CLASSES, width)
    calls = {OURS: ours(backbone, images, labels, steps)}
    reason = missing("torch")
    for layout in () if reason else ("contiguous_format", "channels_last"):
        depth = len(jax.eval_shape(backbone.apply, sizes(backbone), images).stages)
        network = build(name, depth, width)
        mine = sum(leaf.size for leaf in jax.tree.leaves(sizes(backbone)))
        theirs = sum(p.numel() for p in network.parameters())
        if theirs != mine:
            raise AssertionError(f"{name}: {mine} parameters, PyTorch's {theirs}")
        calls[f"PyTorch, {layout}"] = of_torch(network, images, labels, steps, layout)
    seconds = {who: values / steps for who, values in in_turn(calls, plan).items()}
    what = f"step of {name}, {batch} images of {SIDE} px, width {width}"
    return against_best(what, AIMS[name], seconds, reason)


def rows(plan: Plan) -> list[Row]:
    return [compare(name, 8 if plan.quick else width, plan) for name, width in WIDTHS.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=WIDTHS["resnet18"], help="of ResNet-18")
    width = parser.parse_args().width
    print(f"{machine()}\n\n{table([compare('resnet18', width, Plan())])}")


if __name__ == "__main__":
    main()
