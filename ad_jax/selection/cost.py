"""What a sweep would cost, from a few real steps: members, minutes, memory, compilations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment
from ad_jax.augment import PACKED
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.detect.look import EMBED_BLOCK, network, pretext_of
from ad_jax.features import frozen, get, see, seen_shape
from ad_jax.pool.chunks import program_of
from ad_jax.pool.drawn import DRAWS, KEPT
from ad_jax.selection import search
from ad_jax.train.setting import Config, Setting
from ad_jax.train.trainer import Hyper, make_train, over, seed_keys

PROBE = 10  # steps timed
MEASURING = 1.1  # embedding and alignment come on top of the default number of steps
# MB that compiling takes at its peak: in all, a family and a further program. Half of it is held
# afterwards. Read off 8 sweeps from scratch and on features, 16 to 64 px (CPU, jax 0.10.2).
COMPILING, A_FAMILY, A_PROGRAM, HELD = 850.0, 30.0, 100.0, 0.5


class Cost(NamedTuple):
    """Estimate of a sweep; memory is what comes on top of the program's start."""

    members: int
    member_steps: int
    minutes: float
    memory_mb: float
    compilations: int


def total(costs: Sequence[Cost]) -> Cost:
    """Of sweeps one after the other: everything adds up but memory, where the largest counts."""
    return Cost(*map(sum, zip(*costs)))._replace(memory_mb=max(c.memory_mb for c in costs))


@in_float32
def estimate(
    problems: Sequence[Problem],
    settings: Sequence[Setting],
    seeds: Sequence[int],
    config: Config,
    strategy: str = "all",
) -> Cost:
    """Cost of one sweep over problems that share their normals."""
    problem = problems[0]
    members = len(settings) * len(seeds)
    steps = len(seeds) * search.budget(strategy, len(settings), config.steps)
    seen = seen_shape(config.backbone, problem.shape)
    pretext = pretext_of(config, search.setting("binary", "identity"))
    backbone = network(config, seen, pretext)
    trainer = make_train(backbone, pretext, over(("identity",)))
    hyper = Hyper(0, jnp.zeros(PACKED), jax.tree.map(jnp.float32, settings[0].training))
    normals = jnp.asarray(problem.split(0).train)
    if frozen(config.backbone):  # what is in the features changes no cost
        normals = backbone.pieces(jnp.zeros((len(normals), *seen), jnp.float16))

    def short(normals: jax.Array) -> Any:
        keys = seed_keys(0, 0)
        state = trainer.init(keys, hyper)
        return trainer.go_on(state, keys, hyper, normals, 0, PROBE)[0].params

    compiled = jax.jit(short).lower(normals).compile()
    start = time.perf_counter()
    jax.block_until_ready(compiled(normals))
    step = (time.perf_counter() - start) / PROBE
    scratch = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0)
    held = sum(2 * p.train.nbytes + p.target.nbytes for p in problems)
    # a block of samples under four views as float32, cut into 3 x 3 patches
    block = EMBED_BLOCK * 4 * int(np.prod(problem.shape)) * 9 * 4
    seconds, programs = (
        steps * step * MEASURING,
        {program_of(s, settings, config.backbone) for s in settings},
    )
    if frozen(config.backbone):
        encoding = _encoding(config, problem, settings)
        seconds += encoding.seconds
        held, block = held + encoding.held, EMBED_BLOCK * int(np.prod(seen)) * 4
    families = {s.augmentation for s in settings}
    compiling = COMPILING + A_FAMILY * len(families) + A_PROGRAM * (len(programs) - 1)
    running = (scratch + held + 4 * block) / 1e6 + HELD * compiling
    return Cost(members, steps, seconds / 60.0, max(compiling, running), len(programs))


class _Encoding(NamedTuple):
    """What a frozen encoder costs: seconds, and bytes of features that are held."""

    seconds: float
    held: int


def _encoding(config: Config, problem: Problem, settings: Sequence[Setting]) -> _Encoding:
    """Of normals, target and what is drawn for every setting that changes images."""
    some = problem.train[: get(config.backbone).block]
    see(config.backbone, some)  # compiles
    start = time.perf_counter()
    seen = see(config.backbone, some)
    each, size = (time.perf_counter() - start) / len(some), seen[0].nbytes
    own = len(problem.train) + len(problem.target)
    drawn = DRAWS * len(problem.train)
    count = sum(not augment.of_features(s.augmentation) for s in settings)
    return _Encoding(each * (own + count * drawn), size * (2 * own + KEPT * drawn))
