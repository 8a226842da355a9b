"""Compiled sweep against the same members one by one, both in one run.

    python experiments/benchmarks/sweep.py            # about 4 minutes on 2 CPU cores
    python experiments/benchmarks/sweep.py --steps 5  # seconds

Two ways to go one by one: every member through one program compiled beforehand, and every member
with a program of its own, as where hyperparameters are constants of the code. Prints milliseconds
per member-step, ratios, compile times and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import jax
import jax.numpy as jnp

from ad_jax.base.devices import CHUNK
from ad_jax.base.numerics import over_members
from ad_jax.data import load
from ad_jax.pool import chunks, program
from ad_jax.selection import search
from ad_jax.train import pretexts as pretext
from ad_jax.train.trainer import Hyper, seed_keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    problem, _ = load("textures:brick-defect")
    config = program.Config(steps=options.steps)
    families = ("quarter_turns", "cutpaste")
    settings = [s for s in search.grid(problem.shape) if s.augmentation == "cutpaste"]
    plan = chunks.chunks([(setting, 0) for setting in settings])
    task = pretext.make("binary", "cutpaste")
    target = jnp.asarray(problem.target)
    folds = tuple(jnp.asarray(x[None]) for x in problem.split(0))
    weights = jnp.full((1, len(target)), 1.0 / len(target))
    keys = jax.vmap(lambda s: seed_keys(0, s))(jnp.zeros(CHUNK, int))
    shared = program.Shared(
        jnp.int32(families.index("cutpaste")), 0, options.steps, *folds, target, weights
    )
    every = program.make_program(config, problem.shape, task, families, over_members())
    one = program.make_member(config, problem.shape, task, families)
    init, run, member = jax.jit(every.init), jax.jit(every.run), jax.jit(one.run)

    def chunk_arguments(chunk: chunks.Chunk) -> tuple:
        hyper = chunks.pack_chunk(chunk, families)
        members = program.PerMember(
            keys,
            tuple(hyper)[1:],
            valid=jnp.arange(CHUNK) < len(chunk.seeds),
            fold=jnp.zeros(CHUNK, int),
        )
        return init(keys, hyper), members, shared

    def member_arguments(chunk: chunks.Chunk, i: int) -> tuple:
        state, members, _ = chunk_arguments(chunk)
        state, hyper = jax.tree.map(lambda x: x[i], (state, members.hyper))
        own = Hyper(shared.family, *hyper)
        return state, seed_keys(0, 0), own, folds[0][0], folds[1][0], shared

    def compiled(function: object, arguments: tuple) -> tuple[object, float]:
        start = time.perf_counter()
        return function.lower(*arguments).compile(), time.perf_counter() - start  # type: ignore[attr-defined]

    together, compile_together = compiled(run, chunk_arguments(plan[0]))
    single, compile_single = compiled(member, member_arguments(plan[0], 0))
    members = sum(len(chunk.seeds) for chunk in plan)
    unit = 1000.0 / (members * options.steps)
    ratios = []
    for _ in range(options.repeats):
        seconds = []
        for program_of, calls in (
            (together, [chunk_arguments(c) for c in plan]),
            (single, [member_arguments(c, i) for c in plan for i in range(len(c.seeds))]),
        ):
            start = time.perf_counter()
            for call in calls:
                jax.block_until_ready(program_of(*call))  # type: ignore[operator]
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
        print(
            f"compiled sweep {seconds[0] * unit:.2f} ms, one by one {seconds[1] * unit:.2f} ms a "
            f"member-step: ratio {ratios[-1]:.2f}"
        )
    own = members * compile_single + seconds[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f} over {options.repeats} repeats; "
        f"with a program for every member {(compile_together + seconds[0]) / own:.2f}, "
        f"compilations included ({compile_together:.1f} s once, {compile_single:.1f} s for each of "
        f"{members} members); peak memory of the process {peak:.0f} MB, {jax.default_backend()}"
    )


if __name__ == "__main__":
    main()
