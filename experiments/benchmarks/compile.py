"""Seconds to compile the programs of a pool without a cache, against fixed limits.

For the default families from scratch and for every family of the catalogue under one pretext.
"""

from __future__ import annotations

import numpy as np

from ad_jax.augment import CATALOGUE
from ad_jax.data import load
from ad_jax.pool import program, sweep
from ad_jax.selection import search
from experiments.benchmarks.timing import Plan, Row, against_limit

LIMITS = {"default": 8.0, "all, binary": 20.0}  # seconds


def rows(plan: Plan) -> list[Row]:
    problem, _ = load("textures:brick-defect")
    pools = {"default": search.FAMILIES, "all, binary": tuple(f"binary/{one}" for one in CATALOGUE)}
    if plan.quick:
        pools = {"default": search.FAMILIES[:1]}
    config = program.Config(steps=1, width=8 if plan.quick else program.Config().width)
    found = []
    for name, families in pools.items():
        settings = search.grid(problem.shape, families=families)
        one = sweep.Sweep([problem], settings, [0], config)
        first = {one.program_of(setting): (setting, 0) for setting in reversed(settings)}
        one.advance(list(first.values()), 1)
        count = len({setting.augmentation for setting in settings})
        what = f"compiling {name}: {count} families, {one.progress.compilations} programs"
        found.append(against_limit(what, LIMITS[name], np.array([one.progress.compile_seconds])))
    return found
