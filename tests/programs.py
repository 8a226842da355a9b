"""What the most important programs are made of, counted: a gate that no busy machine can trip.

    python tests/programs.py            # what is counted now, beside the limits
    python tests/programs.py --renew    # writes it to tests/programs.json as the new limits

Of each program the floating-point operations and the bytes that it reads and writes, as XLA counts
them after its optimisations (the body of a loop once), and how often `case`, `dot_general` and
`convolution` stand in it before them. No program runs. tests/test_programs.py holds them to it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment
from ad_jax.detect.look import make_look
from ad_jax.features import efficientnet
from ad_jax.pool.chunks import program_of
from ad_jax.selection import search, tuning
from ad_jax.selection.tuning import estimators, loop
from ad_jax.train import pretexts
from ad_jax.train.backbones import Backbone, encoder, patch_head
from ad_jax.train.setting import TRAINING
from ad_jax.train.trainer import Hyper, make_train, over, seed_keys

LIMITS = Path(__file__).with_suffix(".json")
# As in conftest.py: machine code, which nobody counts, is made in a hurry.
jax.config.update("jax_disable_most_optimizations", True)

OPERATIONS = ("case", "dot_general", "convolution")
MEASURED = {"flops": "flops", "bytes": "bytes accessed"}  # as XLA names them
ROOM, STALE = 1.05, 1.3  # above a limit, and below it, until it is refused
GRID = (8, 8, 152)  # of EfficientNet-Lite0 in images of 64 px
SIDE, NORMALS, HORIZON = 32, 24, 10

Program = tuple[Callable[..., Any], tuple[Any, ...]]  # a function and the arguments of its tracing


def array(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """An argument of a tracing."""
    return jax.ShapeDtypeStruct(shape, dtype)


def training(backbone: Backbone, task: pretexts.Pretext, family: str, normals: Any) -> Program:
    """One step of a family on normals."""
    trainer = make_train(backbone, task, over((family, "identity")))
    entry, keys = augment.get(family), seed_keys(0, 0)
    packed = entry.space.pack(entry.defaults(), augment.packed_length((family,)))
    hyper = Hyper(jnp.int32(0), packed, TRAINING.defaults())
    state = jax.eval_shape(trainer.init, keys, hyper)
    return trainer.step, (state, keys, hyper, normals)


def head_step() -> Program:
    task = pretexts.on_features("binary", "feature_noise")
    backbone = patch_head(GRID, task.classes, 64)
    pieces = jax.eval_shape(backbone.pieces, array(NORMALS, *GRID, dtype=jnp.float16))
    return training(backbone, task, "feature_noise", pieces)


def encoder_step() -> Program:
    task = pretexts.make("binary", "cutpaste")
    normals = array(NORMALS, SIDE, SIDE, 3, dtype=jnp.uint8)
    return training(encoder((SIDE, SIDE, 3), task.classes, 24), task, "cutpaste", normals)


def frozen_encoder() -> Program:
    plan = efficientnet.LITE0
    tensors = {
        name: np.zeros(shape, np.float32) for name, shape in efficientnet.shapes(plan).items()
    }
    params = efficientnet.fold(tensors, plan)
    return (lambda p, x: efficientnet.maps(p, x, plan)), (params, array(16, 64, 64, 3))


def scoring() -> Program:
    task = pretexts.make("binary", "cutpaste")
    backbone = encoder((SIDE, SIDE, 3), task.classes, 24)
    params = jax.eval_shape(backbone.init, jax.random.key(0))
    return make_look(backbone, task).judge, (params, array(256, SIDE, SIDE, 3, dtype=jnp.uint8))


def of_heads(function: Callable[..., Any]) -> Program:
    """What an estimator of the hypergradient does on grids, tuned by a number for every channel."""
    space = tuning.make_space("feature_noise:channel", GRID)
    task = pretexts.on_features("binary", space.augmentation)
    backbone = patch_head(GRID, task.classes, 64)
    tuner = loop.make_tuner(backbone, space, tuning.ON_FEATURES._replace(warm_up=1), task)
    keys, hyper, theta = seed_keys(0, 0), loop.training(space), array(space.size)
    data = loop.Data(*(array(n, *GRID, dtype=jnp.float16) for n in (NORMALS, 8, 16)))
    outer = jax.eval_shape(tuner.init, keys, hyper, theta, data)

    def run(state: Any, theta: jax.Array, data: loop.Data) -> Any:
        bilevel = tuner.problem(keys, hyper, data, jnp.int32(0))
        return function(bilevel, state, theta, HORIZON)

    return run, (outer.inner, theta, data)


def kernel(family: str) -> Program:
    """A family on a batch of photographs."""
    entry = augment.get(family)
    images = array(16, 256, 256, 3)
    hyper = jax.tree.map(jnp.float32, entry.defaults())
    keys = jax.random.split(jax.random.key(0), 16)
    return jax.vmap(entry.random, (0, None, 0, 0)), (keys, hyper, images, images)


PROGRAMS: dict[str, Callable[[], Program]] = {
    "training step of a head on features": head_step,
    "training step of the encoder from scratch": encoder_step,
    "frozen encoder": frozen_encoder,
    "scoring 256 images": scoring,
    "plain steps of a head": lambda: of_heads(lambda *given: estimators.train(*given).params),
    "hypergradient of a head": lambda: of_heads(estimators.unrolled),
    **{f"kernel {name}": lambda name=name: kernel(name) for name in ("horizontal_flip", "cutout")},
}
POOLS: dict[str, tuple[tuple[int, ...], str]] = {
    "default, from scratch": ((SIDE, SIDE, 3), "encoder"),
    "default, frozen": ((256, 256, 3), "efficientnet_lite0"),
}


def counted(function: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, int]:
    """What a program is made of."""
    lowered = jax.jit(function).lower(*arguments)
    cost = lowered.compile().cost_analysis()
    text = lowered.as_text()
    found = {name: int(cost.get(field, 0)) for name, field in MEASURED.items()}
    return found | {one: text.count(f"stablehlo.{one}") for one in OPERATIONS}


def above(found: Mapping[str, int], limits: Mapping[str, int]) -> list[str]:
    """What of a program exceeds its limits, or is so far below that they would not hold it."""
    out = []
    for name, value in found.items():
        room = ROOM if name in MEASURED else 1.0
        if value > room * limits[name]:
            out.append(f"{name} {value}, the limit is {limits[name]}")
        if name in MEASURED and STALE * value < limits[name]:
            out.append(f"{name} {value}, the limit of {limits[name]} is out of date: renew it")
    return out


def programs_of(name: str) -> int:
    """How many programs a pool takes."""
    shape, backbone = POOLS[name]
    settings = search.defaults(backbone).grid(shape)
    return len({program_of(one, settings, backbone) for one in settings})


def everything() -> dict[str, dict[str, int]]:
    """All programs and pools."""
    found = {name: counted(*made()) for name, made in PROGRAMS.items()}
    return {**found, **{name: {"programs": programs_of(name)} for name in POOLS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renew", action="store_true")
    renew = parser.parse_args().renew
    found = {"jax": jax.__version__, **everything()}
    if renew:
        LIMITS.write_text(json.dumps(found, indent=1) + "\n")
        return
    limits = json.loads(LIMITS.read_text())
    for name, own in found.items():
        print(f"{name}: {own}\n{'':{len(name)}}  {limits.get(name)}")


if __name__ == "__main__":
    main()
