"""How long the programs of a pool take to compile, without a cache.

    python experiments/benchmarks/compile.py          # one or two minutes on 2 CPU cores
    python experiments/benchmarks/compile.py --quick  # the default families only

Prints, for the default families, for every family of the catalogue under one pretext and for
`--families wide`, the number of families, of programs and the seconds of compilation, and what one
step of one member of each program took besides (initialisation, measuring, one-time work).
"""

from __future__ import annotations

import argparse
import time

from ad_jax.augment import CATALOGUE
from ad_jax.data import load
from ad_jax.pool import program, sweep
from ad_jax.report.table import render
from ad_jax.selection import search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    problem, _ = load("textures:brick-defect")
    pools = {"default": search.FAMILIES}
    if not options.quick:
        pools["all, binary"] = tuple(f"binary/{name}" for name in CATALOGUE)
        pools["wide"] = search.WIDE
    rows: list[list[object]] = []
    for name, families in pools.items():
        settings = search.grid(problem.shape, families=families)
        one = sweep.Sweep([problem], settings, [0], program.Config(steps=1))
        first = {one.program_of(s): (s, 0) for s in reversed(settings)}
        start = time.perf_counter()
        one.advance(list(first.values()), 1)
        whole = time.perf_counter() - start
        spent = one.progress.compile_seconds
        tried = len({s.augmentation for s in settings})
        rows.append([name, tried, one.progress.compilations, spent, whole - spent])
    print(render(["pool", "augmentations", "programs", "compiling, s", "the rest, s"], rows))


if __name__ == "__main__":
    main()
