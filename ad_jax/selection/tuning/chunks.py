"""Runs the outer loop in chunks: one program, a record to go on from, a limit of memory.

Also the profile of an outer loss over thetas without any descent: what there is to descend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.numerics import in_float32, over_members
from ad_jax.data import Problem
from ad_jax.data.samples import content_hashes
from ad_jax.detect.look import network
from ad_jax.features import Eyes, frozen, seen_shape, weights_of
from ad_jax.selection.tuning import loop
from ad_jax.selection.tuning.space import TunedSpace, constrain, shares
from ad_jax.store import Record, digest
from ad_jax.train import pretexts
from ad_jax.train.setting import Config
from ad_jax.train.trainer import Keys, other_draws, seed_keys

CHUNK = 10  # outer steps between two reports; what a kill can cost
CALM = 3  # chunks at least, before an early stop
SETTLED = 0.01  # of its range: theta that moves less from chunk to chunk has arrived


class Step(NamedTuple):
    """Where a tuning stands; given to `report` after every chunk.

    Attributes:
      done, total: outer steps; `done` of the start that is furthest behind.
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
      pretext: loss of telling normals from augmented ones, as a share of that at chance.
      alive: false from the step on that was not finite.
      steps: `[starts]` outer steps taken: a start that has arrived stops; NaN stands after them.
    """

    names: tuple[str, ...]
    values: np.ndarray
    shares: np.ndarray
    loss: np.ndarray
    gate: np.ndarray
    gradient: np.ndarray
    pretext: np.ndarray
    alive: np.ndarray
    steps: np.ndarray


class Job(NamedTuple):
    """What decides a descent, up to who does it.

    Attributes:
      problem, space, plan, config: see `descent.descend`.
      thetas: `[starts, size]` where starts begin.
      target: `[n, ...]` what is tuned on.
      seed: of all starts.
    """

    problem: Problem
    space: TunedSpace
    plan: loop.Plan
    config: Config
    thetas: np.ndarray
    target: np.ndarray
    seed: int


class Piece(NamedTuple):
    """One chunk of one start, arrays `[steps, ...]`; see `Trajectory`."""

    values: np.ndarray
    shares: np.ndarray
    loss: np.ndarray
    gate: np.ndarray
    gradient: np.ndarray
    pretext: np.ndarray
    alive: np.ndarray


class Line:
    """One start as far as it went, and the state there."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.state: Any = None

    @property
    def steps(self) -> int:
        return sum(len(piece.loss) for piece in self.pieces)

    @property
    def alive(self) -> bool:
        """Whether it has begun and not diverged."""
        return bool(self.pieces) and bool(self.pieces[-1].alive[-1])

    def ended(self, plan: loop.Plan) -> bool:
        """Whether it took all steps, diverged, or has arrived."""
        if self.steps >= plan.outer_steps:
            return True
        if not self.pieces:
            return False
        if not self.alive:
            return True
        if len(self.pieces) <= CALM:
            return False
        moved = np.abs(self.pieces[-1].shares.mean(0) - self.pieces[-2].shares.mean(0))
        return bool((moved < SETTLED).all())

    @property
    def network(self) -> tuple[Any, float]:
        """Its network, the mean over the last third of all steps where it came so far, and the
        pretext's loss over its last chunk."""
        mean = jax.tree.map(np.asarray, self.state.mean)
        late = any(leaf.any() for leaf in jax.tree.leaves(mean))
        params = mean if late else jax.tree.map(np.asarray, self.state.inner.params)
        return params, float(self.pieces[-1].pretext.mean())

    def add(self, space: TunedSpace, info: loop.Info, state: Any, limit: int) -> None:
        """A chunk's `info` `[steps, ...]`, of which `limit` steps were taken."""
        thetas = jnp.asarray(info.theta)[:limit]

        def values(theta: jax.Array) -> jax.Array:
            hyper = constrain(space, theta)
            return jnp.concatenate(
                [jnp.atleast_1d(hyper[name]) for name in (*space.free, *space.weights)]
            )

        found = (jax.vmap(values)(thetas), jax.vmap(lambda theta: shares(space, theta))(thetas))
        own = (*found, info.loss, info.gate, info.gradient, info.pretext, info.alive)
        self.pieces.append(Piece(*(np.asarray(x)[:limit] for x in own)))
        self.state = state


def join(space: TunedSpace, lines: Sequence[Line]) -> Trajectory:
    """The trajectory of starts that took a step each, padded to the longest."""
    steps = np.array([line.steps for line in lines])

    def padded(field: str) -> np.ndarray:
        out = []
        for line in lines:
            own = np.concatenate([getattr(piece, field) for piece in line.pieces])
            rest = (int(steps.max()) - len(own), *own.shape[1:])
            filled = np.full(rest, own[-1] if own.dtype == bool else np.nan, own.dtype)
            out.append(np.concatenate([own, filled]))
        return np.stack(out)

    return Trajectory(names=space.names, steps=steps, **{f: padded(f) for f in Piece._fields})


class _Course:
    """All starts of a job in the record: as far as they went, and the key of what comes next.

    Args:
      job: whose starts.
      layout: tree of the state and the info of a chunk, as a record keeps their leaves.
      record: to read from; None knows nothing.
    """

    def __init__(self, job: Job, layout: Any, record: Record | None) -> None:
        self._job, self._identity = job, _identity(job)
        self.lines = [Line() for _ in job.thetas]
        for i, line in enumerate(self.lines):
            while record and not line.ended(job.plan):
                name, limit = self.next_chunk(i)
                found = record.get(name)
                if found is None:
                    break
                leaves = [jnp.asarray(found[f"leaf.{j}"]) for j in range(layout.num_leaves)]
                state, info = jax.tree.unflatten(layout, leaves)
                line.add(job.space, info, state, limit)

    def next_chunk(self, i: int) -> tuple[str, int]:
        """Key of a start's next chunk in the record, and its steps."""
        line, plan = self.lines[i], self._job.plan
        limit = min(CHUNK, plan.outer_steps - line.steps)
        start = {"start": self._job.thetas[i].tolist(), "from": line.steps, "limit": limit}
        return digest({**self._identity, **start}), limit

    def left(self, starts: Sequence[int]) -> list[int]:
        """Those of the starts that have not ended."""
        return [i for i in starts if not self.lines[i].ended(self._job.plan)]

    def add(self, todo: Mapping[int, tuple[str, int]], chunk: Any) -> dict[str, Any]:
        """Takes in a chunk `(outer, info)` of all starts; rows of those in `todo` for a record."""
        rows = {}
        for i, (name, limit) in todo.items():
            state, info = jax.tree.map(lambda x, i=i: x[i], chunk)
            self.lines[i].add(self._job.space, info, state, limit)
            leaves = jax.tree.leaves((state, info))
            rows[name] = {f"leaf.{j}": np.asarray(x) for j, x in enumerate(leaves)}
        return rows


@in_float32
def run_chunks(
    job: Job,
    memory_mb: float | None,
    record: Record | None,
    report: Callable[[Step], None] | None,
    mine: Sequence[int] | None = None,
) -> list[Line]:
    """Runs starts in chunks of outer steps, from where the record has them, until all have ended.

    Every start has its own rows in the record and stops by itself, so it does not matter which
    worker runs it, beside which others, or on which device.

    Args:
      mine: indices of the starts to run, None for all; the others are only read.

    Raises:
      InputError: a program above the memory limit.
    """
    plan, count = job.plan, len(job.thetas)
    program_ = loop.make_program(
        _tuner(job.problem, job.space, plan, job.config), CHUNK, over_members()
    )
    keys, data = _seen(job.problem, job.target, job.seed, job.config, record)
    width = -(-count // jax.local_device_count()) * jax.local_device_count()
    thetas = jnp.asarray(np.concatenate([job.thetas, np.repeat(job.thetas[:1], width - count, 0)]))
    nothing = jnp.zeros(width, jnp.int32)
    hyper = loop.training(job.space)
    outer_shape = jax.eval_shape(program_.init, keys, hyper, thetas, data, nothing)
    arguments = (keys, hyper, data, nothing)
    info_shape = jax.eval_shape(program_.run, outer_shape, *arguments)[1]
    course = _Course(job, jax.tree.structure((outer_shape, info_shape)), record)
    own = range(count) if mine is None else mine
    compiled: Any = None
    outer: Any = None
    started = time.perf_counter()
    while todo := course.left(own):
        if compiled is None:
            compiled = program_.run.lower(outer_shape, *arguments).compile()
            if memory_mb is not None:
                shorter = _tuner(job.problem, job.space, plan._replace(horizon=1), job.config)
                _refuse_large(compiled, shorter, memory_mb, plan, outer_shape, *arguments)
            fresh = [i for i in todo if course.lines[i].state is None]
            warm_up = nothing.at[jnp.array(fresh, jnp.int32)].set(plan.warm_up)
            outer = program_.init(keys, hyper, thetas, data, warm_up)
            for i, line in enumerate(course.lines):
                if line.state is not None:
                    outer = jax.tree.map(lambda x, y, i=i: x.at[i].set(y), outer, line.state)
        ahead = {i: course.next_chunk(i) for i in todo}
        steps = jnp.array([limit for _, limit in ahead.values()], jnp.int32)
        limits = nothing.at[jnp.array(todo)].set(steps)
        outer, info = jax.block_until_ready(compiled(outer, keys, hyper, data, limits))
        rows = course.add(ahead, (outer, info))
        if record:
            record.put(rows)
        if report:
            report(_step(job, course.lines, own, time.perf_counter() - started))
    return course.lines


def _identity(job: Job) -> dict[str, Any]:
    """What decides the course of every start, besides where it starts."""
    return {
        "tuning": job.plan._replace(outer_steps=0)._asdict(),
        "space": [
            job.space.augmentation,
            [tuple(bound.values()) for bound in job.space.bounds()],
            job.space.weighted,
            job.space.fixed,
        ],
        "network": [job.config.width, job.config.backbone, job.config.root],
        "train": job.problem.train_fingerprint,
        "target": content_hashes(job.target),
        "seed": job.seed,
        **weights_of(job.config.backbone),
        **other_draws(),
    }


def _tuner(problem: Problem, space: TunedSpace, plan: loop.Plan, config: Config) -> loop.Tuner:
    shape, family = seen_shape(config.backbone, problem.shape), space.families[0]
    if not frozen(config.backbone):
        backbone = network(config, shape, pretexts.make("binary", family))
        return loop.make_tuner(backbone, space, plan)
    pretext = pretexts.on_features("binary", family)
    return loop.make_tuner(network(config, shape, pretext), space, plan, pretext)


def _seen(
    problem: Problem,
    target: np.ndarray,
    seed: int,
    config: Config,
    record: Record | None = None,
) -> tuple[Keys, loop.Data]:
    """Keys of one seed, and samples as its network sees them."""
    eyes = Eyes(config.backbone, record)
    samples = (eyes.see(one) for one in (*problem.split(seed), target))
    return seed_keys(config.root, seed), loop.Data(*map(jnp.asarray, samples))


@in_float32
def profile(
    problem: Problem,
    space: TunedSpace,
    plan: loop.Plan,
    thetas: np.ndarray,
    seeds: Sequence[int],
    config: Config,
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
    hyper = loop.training(space)
    target = problem.target if target is None else target

    @jax.jit
    def losses(keys: Keys, data: loop.Data, thetas: jax.Array) -> jax.Array:
        def one(theta: jax.Array) -> jax.Array:
            outer = tuner.init(keys, hyper, theta, data)

            def look(step: jax.Array) -> jax.Array:
                return tuner.problem(keys, hyper, data, step).outer(outer.inner, theta)[0]

            return jax.lax.map(look, jnp.arange(looks)).mean()

        return over_members().map(one, thetas)

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
    short = needs(loop.make_program(shorter, CHUNK, over_members()).run.lower(*arguments).compile())
    slope = (need - short) / max(plan.horizon - 1, 1)
    fits = int(1 + (memory_mb - short) / slope) if slope > 0 and memory_mb > short else 0
    raise InputError(
        f"tuning with horizon={plan.horizon} needs {need:.0f} MB, above the limit of "
        f"{memory_mb:.0f} MB; "
        + (f"horizon={fits} would fit" if fits >= 1 else f"take batch below {plan.batch}")
        + ("" if plan.checkpoint else ", or checkpoint=True")
    )


def _step(job: Job, lines: list[Line], own: Sequence[int], seconds: float) -> Step:
    total = job.plan.outer_steps
    done = min(total if lines[i].ended(job.plan) else lines[i].steps for i in own)

    unknown = np.full(len(job.space.names), np.nan)  # of a start that another worker has to begin
    last = [line.pieces[-1] if line.pieces else None for line in lines]
    values = np.stack([unknown if one is None else one.values.mean(0) for one in last])
    return Step(
        done,
        total,
        np.array([np.nan if one is None else one.loss.mean() + one.gate.mean() for one in last]),
        {name: values[:, j] for j, name in enumerate(job.space.names)},
        np.array([line.alive for line in lines]),
        seconds,
        seconds / max(done, 1) * (total - done),
    )
