"""The main programs against the least that this machine could take for them: a roofline.

In the same run a product of two matrices says how many operations a second there are, and a copy of
a large array how many bytes a second. XLA counts the operations of a compiled program, and its
arguments and results are the bytes that it has to read and write once; the larger of the two
quotients is the least it can take. What is bound by products and far above its least has small or
narrow ones; what is bound by bytes and near it has no copy to save. Programs are single steps: of a
loop XLA counts one round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment
from ad_jax.detect.look import make_look
from ad_jax.features import efficientnet
from ad_jax.train import pretexts
from ad_jax.train.backbones import BACKBONES, Backbone, patch_head
from ad_jax.train.setting import TRAINING
from ad_jax.train.trainer import Hyper, make_train, over, seed_keys
from experiments.benchmarks.encoder_forward import PLAN as ENCODER
from experiments.benchmarks.encoder_forward import parameters
from experiments.benchmarks.timing import Call, Plan, Row, in_turn

PRODUCT, COPY = "matrix product", "copy"
GRID = (20, 20, 152)  # of EfficientNet-Lite0 at 160 px
KERNELS = ("horizontal_flip", "cutout", "greyscale", "gamma", "rotate")

Program = tuple[Callable[..., Any], tuple[Any, ...]]


def step_of(backbone: Backbone, task: pretexts.Pretext, family: str, normals: jax.Array) -> Program:
    """One training step."""
    trainer = make_train(backbone, task, over((family, "identity")))
    entry, keys = augment.get(family), seed_keys(0, 0)
    packed = jnp.asarray(entry.space.pack(entry.defaults(), augment.packed_length((family,))))
    hyper = Hyper(jnp.int32(0), packed, jax.tree.map(jnp.float32, TRAINING.defaults()))
    return trainer.step, (jax.jit(trainer.init)(keys, hyper), keys, hyper, normals)


def programs(quick: bool) -> dict[str, Program]:
    """What is measured, with its arguments."""
    rng = np.random.default_rng(0)
    count, side, far, large = (4, 16, 32, 32) if quick else (64, 32, 224, 256)

    def images(many: int, side: int) -> jax.Array:
        return jnp.asarray(rng.uniform(size=(many, side, side, 3)), jnp.float32)

    found: dict[str, Program] = {}
    task = pretexts.make("binary", "cutpaste")
    for name, width in {"encoder": 24, **({} if quick else {"resnet18": 32})}.items():
        backbone = BACKBONES[name]((side, side, 3), task.classes, width)
        what = f"training step of {name}, {count} images of {side} px"
        found[what] = step_of(backbone, task, "cutpaste", images(2 * count, side))
    on_grids = pretexts.on_features("binary", "feature_noise")
    head = patch_head(GRID, on_grids.classes, 256)
    pieces = head.pieces(jnp.asarray(rng.normal(size=(count, *GRID)), jnp.float16))
    found["training step of a head on features"] = step_of(head, on_grids, "feature_noise", pieces)
    params = parameters()
    found[f"frozen encoder, {count // 2} images of {far} px"] = (
        lambda p, x: efficientnet.maps(p, x, ENCODER),
        (params, images(count // 2, far)),
    )
    scratch = BACKBONES["encoder"]((large, large, 3), task.classes, 24)
    found[f"scoring {count} images of {large} px from scratch"] = (
        make_look(scratch, task).judge,
        (jax.jit(scratch.init)(jax.random.key(0)), images(count, large)),
    )
    for family in KERNELS[: 1 if quick else None]:
        entry, keys = augment.get(family), jax.random.split(jax.random.key(0), count)
        hyper = jax.tree.map(jnp.float32, entry.defaults())
        found[f"{family}, {count} images of {large} px"] = (
            jax.vmap(entry.random, (0, None, 0, 0)),
            (keys, hyper, images(count, large), images(count, large)),
        )
    return found


def machine_calls(quick: bool) -> tuple[dict[str, Call], float, float]:
    """A product and a copy; operations of the one, bytes read and written by the other."""
    side, size = (64, 1 << 12) if quick else (2048, 1 << 26)
    square, vector = jnp.ones((side, side)), jnp.ones(size)
    product, copy = jax.jit(lambda x: x @ x), jax.jit(lambda x: x + 1.0)
    calls = {
        PRODUCT: lambda: jax.block_until_ready(product(square)),
        COPY: lambda: jax.block_until_ready(copy(vector)),
    }
    return calls, 2.0 * side**3, 2.0 * vector.nbytes


def rows(plan: Plan) -> list[Row]:
    calls, operations, moved = machine_calls(plan.quick)
    costs = {}
    for name, (function, arguments) in programs(plan.quick).items():
        compiled = jax.jit(function).lower(*arguments).compile()
        sizes = compiled.memory_analysis()
        passed = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
        costs[name] = compiled.cost_analysis().get("flops", 0.0), passed
        calls[name] = lambda run=compiled, given=arguments: jax.block_until_ready(run(*given))
    seconds = in_turn(calls, plan)
    speed, width = operations / seconds[PRODUCT], moved / seconds[COPY]
    found = []
    for name, (flops, passed) in costs.items():
        least = {
            f"{flops / 1e9:.3g} GFLOP at {np.median(speed) / 1e9:.3g} a second": flops / speed,
            f"{passed / 1e9:.3g} GB at {np.median(width) / 1e9:.3g} a second": passed / width,
        }
        bound = max(least, key=lambda one: float(np.median(least[one])))
        found.append(Row(name, None, seconds[name], least[bound], bound))
    return found
