"""What further families cost the program that runs members side by side, as accelerators do.

    python -m experiments.benchmarks.families     # about two minutes on 2 quiet CPU cores

One chunk of 4 members of one family, 20 steps at 32 px, width 8; the program knows 1 family, and
then all binary ones of `--families wide`. A switch whose index differed between members would run
every family for each of them. Prints the least and the median of the seconds of `--repeats` runs of
each, in turns, and their ratio.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment
from ad_jax.base.devices import CHUNK
from ad_jax.base.numerics import IN_TURN, SIDE_BY_SIDE, OverMembers
from ad_jax.pool.program import PerMember, Shared, make_program
from ad_jax.report.table import render
from ad_jax.selection.search import WIDE
from ad_jax.train import pretexts
from ad_jax.train.setting import TRAINING, Config
from ad_jax.train.trainer import Hyper, seed_keys
from experiments.benchmarks.timing import Plan, in_turn

STEPS, SIDE, NORMALS = 20, 32, 48


def compiled(families: tuple[str, ...], over: OverMembers):
    """A chunk of the first family as a function of nothing, in a program over all of them."""
    config, shape = Config(steps=STEPS, width=8), (SIDE, SIDE, 1)
    program = make_program(config, shape, pretexts.make("binary", families[0]), families, over)
    entry = augment.get(families[0])
    keys = jax.vmap(lambda seed: seed_keys(0, seed))(jnp.arange(CHUNK))
    packed = entry.space.pack(entry.defaults(), augment.packed_length(families))
    training = {name: jnp.full(CHUNK, value) for name, value in TRAINING.defaults().items()}
    hyper = Hyper(jnp.int32(0), jnp.stack([packed] * CHUNK), training)
    images = jax.random.uniform(jax.random.key(1), (1, NORMALS, *shape))
    valid, fold = jnp.ones(CHUNK, bool), jnp.zeros(CHUNK, int)
    members = PerMember(keys, tuple(hyper)[1:], valid, fold)
    bounds = (jnp.int32(0), jnp.int32(STEPS))
    weights = jnp.full((1, NORMALS), 1.0 / NORMALS)
    shared = Shared(hyper.family, *bounds, images, images, images[0], weights)
    states = jax.jit(program.init)(keys, hyper)
    run = jax.jit(program.run).lower(states, members, shared).compile()
    return lambda: jax.block_until_ready(run(states, members, shared))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    binary = tuple(name.removeprefix("binary/") for name in WIDE if name.startswith("binary/"))
    forms = {"side by side": SIDE_BY_SIDE, "in turn": IN_TURN}
    runs = {
        (form, len(families)): compiled(families, over)
        for form, over in forms.items()
        for families in (binary[:1], binary)
    }
    seconds = in_turn({str(key): run for key, run in runs.items()}, Plan(rounds=options.repeats))
    rows: list[list[object]] = []
    for form in forms:
        alone, together = (seconds[str((form, n))] for n in (1, len(binary)))
        ratio = together.min() / alone.min()
        rows.append([form, 1, alone.min(), np.median(alone), ""])
        rows.append([form, len(binary), together.min(), np.median(together), f"{ratio:.2f}"])
    print(render(["members", "families", "least, s", "median, s", "ratio of least"], rows))


if __name__ == "__main__":
    main()
