"""A study of many settings as one compiled sweep, against a loop over them in PyTorch.

All settings of CutPaste, every member trained and measured; in seconds a member-step, compilation
left out. PyTorch trains the same network on as many images a step, one setting after another, with
CutPaste on every image by itself; it measures nothing. The same members one by one through a
program of our own stand beside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.devices import CHUNK
from ad_jax.base.numerics import over_members
from ad_jax.data import Problem, load
from ad_jax.pool import chunks, program
from ad_jax.selection import search
from ad_jax.train import pretexts as pretext
from ad_jax.train.trainer import Hyper, seed_keys
from experiments.benchmarks.step import RATE, build
from experiments.benchmarks.timing import (
    OURS,
    Call,
    Plan,
    Row,
    against_best,
    in_turn,
    missing,
    torch,
)

FAMILIES = ("quarter_turns", "cutpaste")
DEPTH = 3  # stages of the encoder at 32 px
AIM = 0.8
ROUNDS = 2  # of half a minute each


def members(problem: Problem, config: program.Config) -> tuple[dict[str, Call], int]:
    """The sweep and the same members one by one, and how many they are."""
    settings = [s for s in search.grid(problem.shape) if s.augmentation == "cutpaste"]
    parts = chunks.chunks([(setting, 0) for setting in settings])
    task = pretext.make("binary", "cutpaste")
    target = jnp.asarray(problem.target)
    folds = tuple(jnp.asarray(x[None]) for x in problem.split(0))
    weights = jnp.full((1, len(target)), 1.0 / len(target))
    keys = jax.vmap(lambda s: seed_keys(0, s))(jnp.zeros(CHUNK, int))
    family = jnp.int32(FAMILIES.index("cutpaste"))
    shared = program.Shared(family, 0, config.steps, *folds, target, weights)
    every = program.make_program(config, problem.shape, task, FAMILIES, over_members())
    one = program.make_member(config, problem.shape, task, FAMILIES)
    init, run, member = jax.jit(every.init), jax.jit(every.run), jax.jit(one.run)

    def of_chunk(chunk: chunks.Chunk) -> tuple[Any, ...]:
        hyper = chunks.pack_chunk(chunk, FAMILIES)
        valid = jnp.arange(CHUNK) < len(chunk.seeds)
        own = program.PerMember(keys, tuple(hyper)[1:], valid, fold=jnp.zeros(CHUNK, int))
        return init(keys, hyper), own, shared

    def of_member(chunk: chunks.Chunk, i: int) -> tuple[Any, ...]:
        state, own, _ = of_chunk(chunk)
        state, hyper = jax.tree.map(lambda x: x[i], (state, own.hyper))
        whole = Hyper(family, *hyper)
        return state, seed_keys(0, 0), whole, folds[0][0], folds[1][0], shared

    def all_of(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> Call:
        return lambda: [jax.block_until_ready(function(*given)) for given in arguments]

    together = all_of(run, [of_chunk(chunk) for chunk in parts])
    single = [of_member(chunk, i) for chunk in parts for i in range(len(chunk.seeds))]
    return {OURS: together, "ours, one by one": all_of(member, single)}, len(settings)


def cutpaste(images: np.ndarray, area: float, generator: np.random.Generator) -> np.ndarray:
    """A patch of every image `[n, h, w, c]` pasted elsewhere in it."""
    out, (height, width) = images.copy(), images.shape[1:3]
    for image in out:
        aspect = 3.3 ** generator.uniform(-1.0, 1.0)
        rows = int(np.clip(round((area / aspect) ** 0.5 * height), 2, height))
        columns = int(np.clip(round((area * aspect) ** 0.5 * width), 2, width))
        top, to = generator.integers(0, height - rows + 1, 2)
        left, beside = generator.integers(0, width - columns + 1, 2)
        patch = image[top : top + rows, left : left + columns].copy()
        image[to : to + rows, beside : beside + columns] = patch
    return out


def of_torch(problem: Problem, count: int, config: program.Config) -> Call:
    """A loop over so many settings."""
    normals = problem.split(0).train.astype(np.float32) / 255.0
    half = pretext.BATCH // 2
    labels = torch().arange(2 * half) // half

    def one(area: float) -> None:
        torch().manual_seed(0)
        generator = np.random.default_rng(0)
        network = build("encoder", DEPTH, config.width, normals.shape[-1])
        optimiser = torch().optim.Adam(network.parameters(), RATE)
        for _ in range(config.steps):
            batch = normals[generator.integers(0, len(normals), half)]
            both = np.concatenate([batch, cutpaste(batch, area, generator)])
            x = torch().from_numpy(both.transpose(0, 3, 1, 2).copy())
            optimiser.zero_grad()
            torch().nn.functional.cross_entropy(network(2.0 * x - 1.0), labels).backward()
            optimiser.step()

    return lambda: [one(area) for area in np.geomspace(0.02, 0.3, count)]


def rows(plan: Plan) -> list[Row]:
    steps, width = (2, 8) if plan.quick else (100, program.Config().width)
    config = program.Config(steps=steps, width=width)
    problem, _ = load("textures:brick-defect")
    calls, count = members(problem, config)
    reason = missing("torch")
    if not reason:
        calls["PyTorch, a loop"] = of_torch(problem, count, config)
    seconds = {
        who: own / (count * steps)
        for who, own in in_turn(calls, plan._replace(rounds=min(plan.rounds, ROUNDS))).items()
    }
    single = seconds.pop("ours, one by one")
    what = f"a member-step of {count} settings, {steps} steps each"
    return [
        against_best(what, AIM, seconds, reason),
        against_best(what, None, {OURS: seconds[OURS], "ours, one by one": single}),
    ]
