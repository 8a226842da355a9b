"""Compiled sweep against the same members one by one, both in one run.

    python experiments/benchmarks/sweep.py            # about 4 minutes on 2 CPU cores
    python experiments/benchmarks/sweep.py --steps 5  # seconds

Prints milliseconds per member-step of both, their ratio, compile time and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import jax
import jax.numpy as jnp

from ad_jax import pretext, program, selection, sweep
from ad_jax.data import load
from ad_jax.train import seed_keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    problem, _ = load("textures:brick-defect")
    config = program.Config(steps=options.steps)
    families = ("quarter_turns", "cutpaste")
    settings = [s for s in selection.grid(problem.shape) if s.augmentation == "cutpaste"]
    plan = sweep.chunks((settings * options.members)[: options.members], (0,))
    task = pretext.make("binary", "cutpaste")
    target = jnp.asarray(problem.target)
    folds = tuple(jnp.asarray(x[None]) for x in problem.split(0))
    weights = jnp.full((1, len(target)), 1.0 / len(target))
    keys = jax.vmap(lambda s: seed_keys(0, s))(jnp.zeros(program.CHUNK, int))

    together_program = jax.jit(program.make_program(config, problem.shape, task, families))
    member = jax.jit(program.make_member(config, problem.shape, task, families))

    def chunk_arguments(chunk: sweep.Chunk) -> tuple:
        valid = jnp.arange(program.CHUNK) < len(chunk.seeds)
        hyper = sweep.pack_chunk(chunk, families)
        return keys, hyper, valid, jnp.zeros(program.CHUNK, int), folds, target, weights

    def member_arguments(chunk: sweep.Chunk, i: int) -> tuple:
        hyper = jax.tree.map(lambda x: x[i] if x.ndim else x, sweep.pack_chunk(chunk, families))
        return seed_keys(0, 0), hyper, folds[0][0], folds[1][0], target, weights

    start = time.perf_counter()
    compiled = together_program.lower(*chunk_arguments(plan[0])).compile()
    compile_program = time.perf_counter() - start
    single = member.lower(*member_arguments(plan[0], 0)).compile()
    ratios = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        for chunk in plan:
            jax.block_until_ready(compiled(*chunk_arguments(chunk)))
        together = time.perf_counter() - start
        start = time.perf_counter()
        for chunk in plan:
            for i in range(len(chunk.seeds)):
                jax.block_until_ready(single(*member_arguments(chunk, i)))
        apart = time.perf_counter() - start
        ratios.append(together / apart)
        unit = 1000.0 / (options.members * options.steps)
        print(
            f"compiled sweep {together * unit:.2f} ms, one by one {apart * unit:.2f} ms a "
            f"member-step: ratio {ratios[-1]:.2f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f} over {options.repeats} repeats, "
        f"compile {compile_program:.1f} s, peak memory of the process {peak:.0f} MB, "
        f"{jax.default_backend()}"
    )


if __name__ == "__main__":
    main()
