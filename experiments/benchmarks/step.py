"""A training step of our networks against the same networks written in PyTorch, both in one run.

    pip install -e ".[bench]"                          # torch; a CPU build will do
    python experiments/benchmarks/step.py              # some minutes on 2 CPU cores
    python experiments/benchmarks/step.py --width 64   # ResNet-18 as wide as published
    python experiments/benchmarks/step.py --quick      # seconds

A step is forward, backward and Adam on one batch. Ours runs inside `lax.scan`, as the trainer uses
it; PyTorch runs eagerly in whichever of its two memory layouts is faster. Prints the milliseconds a
step, the least of several rounds in which both take turns, their ratio (under 1: ours is faster)
and our compile time. The networks have the same number of parameters, which is checked.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ad_jax.train.backbones import BACKBONES, Backbone

CLASSES, RATE = 2, 1e-3


def build(name: str, depth: int, width: int) -> Any:
    """The network in PyTorch: "encoder" of `depth` stages, or "resnet18" with the small stem."""
    torch = importlib.import_module("torch")
    nn = torch.nn

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

    layers, inputs = [], 3
    if name == "encoder":
        for stage in range(depth):
            outputs = width * min(2**stage, 4)
            layers += [convolution(inputs, outputs, 3, 2), gelu()]
            inputs = outputs
    else:
        layers, inputs = [convolution(3, width, 3), gelu()], width
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
    torch = importlib.import_module("torch")
    memory = getattr(torch, layout)
    network = network.to(memory_format=memory)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(memory_format=memory)
    y = torch.from_numpy(labels).long()
    optimiser = torch.optim.Adam(network.parameters(), RATE)

    def run() -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(2.0 * x - 1.0), y).backward()
            optimiser.step()

    return run


def ours(
    backbone: Backbone, images: np.ndarray, labels: np.ndarray, steps: int
) -> tuple[Callable[[], Any], float]:
    """The same in one compiled scan, and the seconds of its compilation."""
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
    start = time.perf_counter()
    compiled = jax.jit(train).lower(params).compile()
    spent = time.perf_counter() - start
    return lambda: jax.block_until_ready(compiled(params)), spent


def sizes(backbone: Backbone) -> Any:
    """Shapes of the parameters."""
    return jax.eval_shape(backbone.init, jax.random.key(0))


def compare(
    name: str, side: int, width: int, batch: int, steps: int, rounds: int, torch_too: bool
) -> None:
    """Prints the line of one network."""
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, side, side, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, batch).astype(np.int32)
    backbone = BACKBONES[name]((side, side, 3), CLASSES, width)
    compiled, compiling = ours(backbone, images, labels, steps)
    runs = {"ours": compiled}
    if torch_too:
        depth = len(jax.eval_shape(backbone.apply, sizes(backbone), images).stages)
        for layout in ("contiguous_format", "channels_last"):
            network = build(name, depth, width)
            mine = sum(leaf.size for leaf in jax.tree.leaves(sizes(backbone)))
            theirs = sum(p.numel() for p in network.parameters())
            if theirs != mine:
                raise AssertionError(f"{name}: {mine} parameters, PyTorch's {theirs}")
            runs[layout] = of_torch(network, images, labels, steps, layout)
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds + 1):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            times[key].append(1000.0 * (time.perf_counter() - start) / steps)
    least = {key: min(values[1:]) for key, values in times.items()}  # the first is warm-up
    own = least.pop("ours")
    line = f"{name:10} {side} px, width {width}, batch {batch}: ours {own:.1f} ms a step"
    if least:
        best = min(least, key=least.__getitem__)
        line += f", PyTorch {least[best]:.1f} ms ({best}): ratio {own / least[best]:.2f}"
    print(f"{line}; compiled in {compiling:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8 images, width 8, one round")
    parser.add_argument(
        "--only", choices=("encoder", "resnet18"), help="one network instead of two"
    )
    parser.add_argument("--side", type=int, default=32, help="px")
    parser.add_argument("--width", type=int, default=32, help="of ResNet-18; 64 as published")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        options.batch, options.width, options.steps, options.rounds = 8, 8, 2, 1
    torch_too = importlib.util.find_spec("torch") is not None
    if not torch_too:
        print('torch is not installed and skipped: pip install -e ".[bench]"')
    print(f"jax {jax.__version__} on {jax.default_backend()}, least of {options.rounds} rounds")
    for name, width in (("encoder", 24), ("resnet18", options.width)):
        if options.only in (None, name):
            compare(
                name,
                options.side,
                width,
                options.batch,
                options.steps,
                options.rounds,
                torch_too,
            )


if __name__ == "__main__":
    main()
