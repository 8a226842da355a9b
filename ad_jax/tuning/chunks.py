"""Runs the outer loop in chunks: one program, a record to go on from, a limit of memory.

Also the profile of an outer loss over thetas without any descent: what there is to descend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import pretext as pretexts
from ad_jax import program
from ad_jax.data import Problem
from ad_jax.data.samples import content_hashes
from ad_jax.errors import InputError
from ad_jax.numerics import every
from ad_jax.store import Record, digest
from ad_jax.train import Keys, seed_keys
from ad_jax.tuning import loop
from ad_jax.tuning.space import Space, constrain, shares

CHUNK = 10  # outer steps between two reports; what a kill can cost
CALM = 3  # chunks at least, before an early stop
SETTLED = 0.01  # of its range: theta that moves less from chunk to chunk has arrived


class Step(NamedTuple):
    """Where a tuning stands; given to `report` after every chunk.

    Attributes:
      done, total: outer steps.
      loss: `[starts]` mean of the chunk, the gate included.
      values: name -> `[starts]` mean of the chunk.
      alive: `[starts]`.
      seconds: since the start; `left` estimates the rest if nothing stops early.
    """

    done: int
    total: int
    loss: np.ndarray
    values: dict[str, np.ndarray]
    alive: np.ndarray
    seconds: float
    left: float


class Trajectory(NamedTuple):
    """Every outer step of every start, arrays `[starts, steps]` unless said otherwise.

    Attributes:
      names: of what is tuned.
      values, shares: `[starts, steps, names]`, physical, and as a share of the range.
      loss, gate, gradient: outer loss, what the gate added, norm of the gradient.
      alive: false from the step on that was not finite.
    """

    names: tuple[str, ...]
    values: np.ndarray
    shares: np.ndarray
    loss: np.ndarray
    gate: np.ndarray
    gradient: np.ndarray
    alive: np.ndarray


def run_chunks(
    problem: Problem,
    space: Space,
    plan: loop.Plan,
    thetas: np.ndarray,
    config: program.Config,
    target: np.ndarray,
    seed: int,
    memory_mb: float | None,
    record: Record | None,
    report: Callable[[Step], None] | None,
) -> Trajectory:
    """Runs the outer loop in chunks; see `descent.descend` for the arguments.

    Raises:
      InputError: a program above the memory limit.
    """
    tuner = _tuner(problem, space, plan, config)
    keys, data = _seen(problem, target, seed, config)
    hyper = loop.training()
    program_ = loop.make_program(tuner, CHUNK)
    outer_shape = jax.eval_shape(program_.init, keys, hyper, jnp.asarray(thetas), data)
    arguments = (keys, hyper, data, jnp.int32(0))
    layout: Any = jax.tree.structure(
        (outer_shape, jax.eval_shape(program_.run, outer_shape, *arguments)[1])
    )
    compiled: Any = None
    started = time.perf_counter()
    state: Any = None
    pieces: list[Trajectory] = []
    identity = {
        "tuning": plan._replace(outer_steps=0)._asdict(),
        "space": [space.augmentation, [tuple(f) for f in space.free], space.weighted, space.fixed],
        "network": [config.width, config.backbone, config.root],
        "train": problem.train_fingerprint,
        "target": content_hashes(target),
        "starts": thetas.tolist(),
        "seed": seed,
    }
    for number, done in enumerate(range(0, plan.outer_steps, CHUNK)):
        limit = min(CHUNK, plan.outer_steps - done)
        key = digest({**identity, "chunk": number, "limit": limit})
        found = record.get(key) if record else None
        if found is None:
            if compiled is None:
                compiled = program_.run.lower(outer_shape, *arguments).compile()
                if memory_mb is not None:
                    shorter = _tuner(problem, space, plan._replace(horizon=1), config)
                    _refuse_large(compiled, shorter, memory_mb, plan, outer_shape, *arguments)
            if state is None:
                state = program_.init(keys, hyper, jnp.asarray(thetas), data)
            state, info = jax.block_until_ready(
                compiled(state, keys, hyper, data, jnp.int32(limit))
            )
            if record:
                leaves = jax.tree.leaves((state, info))
                record.put({key: {f"leaf.{i}": np.asarray(x) for i, x in enumerate(leaves)}})
        else:
            leaves = [jnp.asarray(found[f"leaf.{i}"]) for i in range(layout.num_leaves)]
            state, info = jax.tree.unflatten(layout, leaves)
        pieces.append(_piece(space, info, limit))
        if report:
            report(_step(pieces, plan, time.perf_counter() - started))
        alive = pieces[-1].alive[:, -1]
        if not alive.any() or (len(pieces) > CALM and _settled(pieces[-2], pieces[-1], alive)):
            break
    arrays = zip(*(piece[1:] for piece in pieces), strict=True)
    return Trajectory(space.names, *(np.concatenate(parts, axis=1) for parts in arrays))


def _tuner(problem: Problem, space: Space, plan: loop.Plan, config: program.Config) -> loop.Tuner:
    network = program.network(config, problem.shape, pretexts.make("binary", space.families[0]))
    return loop.make_tuner(network, space, plan)


def _seen(
    problem: Problem, target: np.ndarray, seed: int, config: program.Config
) -> tuple[Keys, loop.Data]:
    """Keys and samples of one seed."""
    samples = (*problem.split(seed), target)
    return seed_keys(config.root, seed), loop.Data(*map(jnp.asarray, samples))


def _piece(space: Space, info: loop.Info, limit: int) -> Trajectory:
    """The first `limit` steps of a chunk."""

    def values(theta: jax.Array) -> jax.Array:
        hyper = constrain(space, theta)
        return jnp.stack([hyper[name] for name in space.names])

    thetas = jnp.asarray(info.theta)
    both = [
        jax.vmap(jax.vmap(function))(thetas)
        for function in (values, lambda theta: shares(space, theta))
    ]
    arrays = (np.asarray(x)[:, :limit] for x in (*both, *info[1:]))
    return Trajectory(space.names, *arrays)


def _settled(before: Trajectory, now: Trajectory, alive: np.ndarray) -> bool:
    moved = np.abs(now.shares.mean(1) - before.shares.mean(1)).max(1)
    return bool((moved[alive] < SETTLED).all())


def profile(
    problem: Problem,
    space: Space,
    plan: loop.Plan,
    thetas: np.ndarray,
    seeds: Sequence[int],
    config: program.Config,
    target: np.ndarray | None = None,
    looks: int = 16,
) -> np.ndarray:
    """Outer loss, gate included, after `plan.warm_up` steps at each theta.

    All thetas of a seed share their random numbers, so differences between them are what theta
    does.

    Args:
      thetas: `[n, size]`.
      seeds: of initialisation, order, draws and fold.
      target: unlabelled samples instead of the problem's target.
      looks: batches that the loss is averaged over.

    Returns:
      `[n, seeds]`.
    """
    tuner = _tuner(problem, space, plan, config)
    hyper = loop.training()
    target = problem.target if target is None else target

    @jax.jit
    def losses(keys: Keys, data: loop.Data, thetas: jax.Array) -> jax.Array:
        def one(theta: jax.Array) -> jax.Array:
            outer = tuner.init(keys, hyper, theta, data)

            def look(step: jax.Array) -> jax.Array:
                return tuner.problem(keys, hyper, data, step).outer(outer.inner, theta)[0]

            return jax.lax.map(look, jnp.arange(looks)).mean()

        return every(one, thetas)

    out = []
    for seed in seeds:
        out.append(losses(*_seen(problem, target, seed, config), jnp.asarray(thetas)))
    return np.stack([np.asarray(x) for x in out], axis=1)


def _refuse_large(
    compiled: Any, shorter: loop.Tuner, memory_mb: float, plan: loop.Plan, *arguments: Any
) -> None:
    """Compares a program's scratch memory with the limit; says which horizon would fit.

    `shorter` is the same tuner at a horizon of 1.

    Raises:
      InputError: above the limit.
    """

    def needs(program_: Any) -> float:
        return getattr(program_.memory_analysis(), "temp_size_in_bytes", 0) / 1e6

    need = needs(compiled)
    if need <= memory_mb:
        return
    short = needs(loop.make_program(shorter, CHUNK).run.lower(*arguments).compile())
    slope = (need - short) / max(plan.horizon - 1, 1)
    fits = int(1 + (memory_mb - short) / slope) if slope > 0 and memory_mb > short else 0
    raise InputError(
        f"tuning with horizon={plan.horizon} needs {need:.0f} MB, above the limit of "
        f"{memory_mb:.0f} MB; "
        + (f"horizon={fits} would fit" if fits >= 1 else f"take batch below {plan.batch}")
        + ("" if plan.checkpoint else ", or checkpoint=True")
    )


def _step(pieces: list[Trajectory], plan: loop.Plan, seconds: float) -> Step:
    now = pieces[-1]
    done = sum(piece.loss.shape[1] for piece in pieces)
    values = now.values.mean(1)
    return Step(
        done,
        plan.outer_steps,
        (now.loss + now.gate).mean(1),
        {name: values[:, i] for i, name in enumerate(now.names)},
        now.alive[:, -1],
        seconds,
        seconds / done * (plan.outer_steps - done),
    )
