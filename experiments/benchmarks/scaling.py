"""What more members, samples and pixels cost, against the cost of few times their number.

And the peak memory of a sweep beside what `--dry-run` says of it, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from ad_jax.data import load
from ad_jax.pool import sweep
from ad_jax.selection import search
from ad_jax.train.setting import Config
from experiments.benchmarks.scoring import textures, untrained
from experiments.benchmarks.timing import OURS, Call, Plan, Row, against_best, in_turn

LINEAR, MEMORY = 1.2, 1.3
FAMILY = "binary/cutpaste"
PROGRAM = """
import re, sys, jax, ad_jax
from ad_jax.pool.sweep import Sweep
from ad_jax.selection import cost, search
from ad_jax.train.setting import Config
def held(field):
    with open("/proc/self/status") as file:
        return int(re.search(field + r":\\s+(\\d+)", file.read())[1]) / 1024
size, steps, seeds, width = map(int, sys.argv[1:])
problem, _ = ad_jax.load("textures:brick-defect", size=size)
config = Config(steps=steps, width=width)
settings = search.grid(problem.shape, families=("binary/cutpaste",))
jax.numpy.zeros(1).block_until_ready()
before = held("VmRSS")
one = Sweep([problem], settings, range(seeds), config)
one.advance(one.members, steps)
peak = held("VmHWM")
print(peak - before, cost.estimate([problem], settings, range(seeds), config).memory_mb)
"""


def linear(what: str, few: Call, many: Call, times: float, plan: Plan) -> Row:
    """`many` against `few` times their ratio."""
    seconds = in_turn({OURS: many, "few": few}, plan)
    named = f"{times:g} times as many as few"
    return against_best(what, LINEAR, {OURS: seconds[OURS], named: times * seconds["few"]})


def of_members(plan: Plan) -> Row:
    count, steps = (4, 2) if plan.quick else (64, 20)
    problem, _ = load("textures:brick-defect")
    settings = search.grid(problem.shape, families=(FAMILY,))[:1]
    config = Config(steps=steps, width=8 if plan.quick else Config().width)
    one = sweep.Sweep([problem], settings, range(count), config, controls=False)
    few, many = one.members[:1], one.members
    return linear(
        f"members of {steps} steps, 1 to {count}",
        lambda: one.advance(few, steps),
        lambda: one.advance(many, steps),
        count,
        plan,
    )


def of_samples(plan: Plan) -> Row:
    few, many, side = (32, 64, 16) if plan.quick else (1000, 20_000, 32)
    detector, images = untrained(textures(40, side), 1), textures(few, side, 1)
    more = np.concatenate([images] * (many // few))
    return linear(
        f"scoring images of {side} px, {few} to {many}",
        lambda: detector.decision_function(images),
        lambda: detector.decision_function(more),
        many / few,
        plan,
    )


def of_pixels(plan: Plan) -> Row:
    small, large, count = (16, 32, 2) if plan.quick else (32, 512, 16)
    calls = []
    for side in (small, large):
        detector, images = untrained(textures(40, side), 1), textures(count, side, 1)
        calls.append(lambda d=detector, x=images: d.decision_function(x))
    what = f"scoring {count} images, {small} to {large} px a side"
    return linear(what, *calls, (large / small) ** 2, plan)


def of_memory(plan: Plan) -> Row:
    size, steps, seeds, width = (16, 2, 1, 8) if plan.quick else (64, 20, 2, Config().width)
    command = [sys.executable, "-c", PROGRAM, *map(str, (size, steps, seeds, width))]
    said = subprocess.run(
        command, check=True, capture_output=True, text=True, env=plan.environment
    ).stdout
    measured, foretold = (np.array([float(word)]) for word in said.split())
    what = f"peak memory of a sweep at {size} px"
    return Row(what, MEMORY, measured, foretold, "what --dry-run says", "MB")


def rows(plan: Plan) -> list[Row]:
    return [part(plan) for part in (of_members, of_samples, of_pixels, of_memory)]
