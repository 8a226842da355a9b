"""Descend from several starts and say where they ended, and how far to trust it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax import augment
from ad_jax.base.devices import check_backend
from ad_jax.base.errors import InputError, check_name
from ad_jax.base.numerics import in_float32
from ad_jax.base.parameters import real, whole, word
from ad_jax.base.space import EDGE
from ad_jax.base.values import Value
from ad_jax.data import Problem
from ad_jax.data.samples import in_content_order
from ad_jax.features import frozen
from ad_jax.pool.chunks import Shard
from ad_jax.selection.tuning import loop, losses
from ad_jax.selection.tuning.chunks import Job, Step, Trajectory, join, run_chunks
from ad_jax.selection.tuning.estimators import ESTIMATORS
from ad_jax.selection.tuning.space import (
    TunedSpace,
    random_starts,
    theta_at,
    to_hyper,
    unconstrain,
)
from ad_jax.store import Record
from ad_jax.train.setting import Config

STARTS = 4
LATE = 3  # the last third of the outer steps is averaged
APART = 0.25  # of its range: starts that end further apart than this disagree
CLOSED = 0.2  # a gate that costs more (a pretext loss of .92 of chance) means a collapse


class Start(NamedTuple):
    """One start and where it ended.

    Attributes:
      start, end: hyperparameters; the end is the mean of the last third of the trajectory.
      loss: mean outer loss of that third, the gate included; infinite if it diverged.
      error: standard error of that mean, over blocks of steps.
      gain: by how much the loss fell from the first tenth of the steps.
      status: "ok", "collapsed" (the network cannot tell the augmentation) or "diverged".
    """

    start: dict[str, Value]
    end: dict[str, Value]
    loss: float
    error: float
    gain: float
    status: str


class Descent(NamedTuple):
    """All starts of a descent.

    Attributes:
      space: what was tuned.
      starts: one per start.
      best: index of the lowest loss.
      trajectory: every outer step.
      plan: how.
      networks: per start its network at the end, `chunks.Line.network`.
    """

    space: TunedSpace
    starts: list[Start]
    best: int
    trajectory: Trajectory
    plan: loop.Plan
    networks: Sequence[tuple[Any, float]] = ()

    @property
    def ends(self) -> np.ndarray:
        """Shares `[starts, size]` of the ranges, the mean over the last third of every start."""
        paths = enumerate(self.trajectory.shares)
        return np.stack([path[_late(self.trajectory, i)].mean(0) for i, path in paths])

    @property
    def hyper(self) -> dict[str, Value]:
        """Hyperparameters at the best end."""
        return self.starts[self.best].end


def descend(
    job: Job,
    memory_mb: float | None = None,
    record: Record | None = None,
    report: Callable[[Step], None] | None = None,
) -> Descent:
    """Alternates training and steps of theta from several starts; see `tuned.tune`.

    Raises:
      InputError: a program above the memory limit, no start that survives.
    """
    space = job.space
    lines = run_chunks(job, memory_mb, record, report)
    trajectory = join(space, lines)
    ended = [_end(space, theta, trajectory, i) for i, theta in enumerate(job.thetas)]
    best = min(range(len(ended)), key=lambda i: ended[i].loss)
    if ended[best].status == "diverged":
        raise InputError(
            f"all {len(ended)} starts diverged; take a smaller horizon than {job.plan.horizon}, or "
            "estimator=first_order"
        )
    networks = [line.network for line in lines]
    return Descent(space, ended, best, trajectory, job.plan, networks)


def joined(descents: Sequence[Descent]) -> Descent:
    """Descents of one space and plan as one, with the starts of all of them."""
    paths = [descent.trajectory for descent in descents]
    longest = max(int(path.steps.max()) for path in paths)

    def padded(array: np.ndarray) -> np.ndarray:
        rest = [(0, 0)] * array.ndim
        rest[1] = (0, longest - array.shape[1])
        if array.dtype == bool:
            return np.pad(array, rest, mode="edge")
        return np.pad(array, rest, constant_values=np.nan)

    whole = {
        name: np.concatenate([padded(getattr(path, name)) for path in paths])
        for name in Trajectory._fields
        if name not in ("names", "steps")
    }
    steps = np.concatenate([path.steps for path in paths])
    starts = [start for descent in descents for start in descent.starts]
    return descents[0]._replace(
        starts=starts,
        best=min(range(len(starts)), key=lambda i: starts[i].loss),
        trajectory=Trajectory(names=paths[0].names, steps=steps, **whole),
        networks=[network for descent in descents for network in descent.networks],
    )


def descend_some(
    job: Job,
    shard: Shard,
    record: Record,
    memory_mb: float | None = None,
    report: Callable[[Step], None] | None = None,
) -> tuple[list[Start], int]:
    """One worker's starts of `descend`, every `shard.workers`-th, for the record.

    Returns:
      where they ended, and how many of all starts are left for other workers.
    """
    mine = range(shard.number - 1, len(job.thetas), shard.workers)
    lines = run_chunks(job, memory_mb, record, report, mine)
    left = sum(not line.ended(job.plan) for line in lines)
    if not mine:
        return [], left
    trajectory = join(job.space, [lines[i] for i in mine])
    return [_end(job.space, job.thetas[i], trajectory, j) for j, i in enumerate(mine)], left


@in_float32
def make_job(
    problem: Problem,
    space: TunedSpace,
    starts: int | Sequence[Mapping[str, float]] = STARTS,
    plan: loop.Plan = loop.Plan(),
    seed: int = 0,
    config: Config = Config(),
    tune_on: np.ndarray | None = None,
) -> Job:
    """Draws the starts, and refuses what cannot be descended; see `tuned.tune`.

    Raises:
      InputError: zero steps, starts out of bounds, samples of another shape.
    """
    check_backend()
    plan, config = check(plan), config.checked()
    if frozen(config.backbone) and not augment.of_features(space.augmentation):
        raise InputError(
            f"{space.augmentation} changes images, which {config.backbone} would have to see anew "
            f"in every step; take one of {', '.join(augment.FEATURES)}, or backbone encoder"
        )
    if hasattr(starts, "__index__"):
        starts = whole("starts", starts)
        if starts < 1:
            raise InputError(f"starts={starts} is too small; take at least 1")
        thetas = random_starts(space, starts, config.root)
        own = {k: v for k, v in default_of(space).items() if k in (*space.free, *space.weights)}
        thetas[0] = unconstrain(space, own)
    else:
        thetas = np.stack([unconstrain(space, one) for one in starts])
    target = (
        problem.target if tune_on is None else in_content_order("tune_on", tune_on, problem.series)
    )
    if target.shape[1:] != problem.shape or target.dtype != problem.target.dtype:
        raise InputError(
            f"tune_on holds {target.dtype} samples of shape {target.shape[1:]}, the problem's are "
            f"{problem.target.dtype} {problem.shape}; give them alike"
        )
    return Job(problem, space, plan, config, thetas, target, seed)


def check(plan: loop.Plan) -> loop.Plan:
    """The same plan in plain numbers; refuses one that cannot run.

    Raises:
      InputError: names the value and what to take.
    """
    numbers: dict[str, Any] = {
        name: whole(name, getattr(plan, name))
        for name in ("outer_steps", "horizon", "warm_up", "batch")
    }
    numbers |= {name: real(name, getattr(plan, name)) for name in ("rate", "clip", "prior")}
    plan = plan._replace(
        estimator=word("estimator", plan.estimator),
        outer=tuple((word("outer", name), real(name, weight)) for name, weight in plan.outer),
        **numbers,
    )
    for name, least in (("outer_steps", 1), ("horizon", 1), ("warm_up", 0), ("batch", 4)):
        if getattr(plan, name) < least:
            raise InputError(f"{name}={getattr(plan, name)} is too small; take at least {least}")
    check_name(ESTIMATORS, plan.estimator, "estimator")
    if plan.prior < 0.0:
        raise InputError(f"prior={plan.prior} is negative; take 0 for none")
    for name in ("rate", "clip"):
        if not getattr(plan, name) > 0.0:
            raise InputError(f"{name}={getattr(plan, name)} is no positive number")
    names = [name.removeprefix(losses.CALIBRATED) for name in losses.parse(_listed(plan.outer))]
    if plan.estimator == "first_order" and all(name in losses.INDIRECT for name in names):
        raise InputError(
            f"estimator first_order has no gradient of {_listed(plan.outer)}, which sees the "
            "augmentation through training alone; take unrolled, or an outer loss of augmented "
            "samples like calibrated_dsv_uncapped"
        )
    return plan


def _listed(outer: Sequence[tuple[str, float]]) -> str:
    return ",".join(name for name, _ in outer)


def default_of(space: TunedSpace) -> dict[str, Value]:
    """The untuned setting: catalogue defaults moved into the bounds, weights equal."""
    own = space.free.clip(space.free.defaults())
    return {**augment.get(space.augmentation).defaults(), **space.fixed, **own}


def _late(trajectory: Trajectory, start: int) -> slice:
    """A start's last third of steps."""
    steps = int(trajectory.steps[start])
    return slice(steps - max(1, steps // LATE), steps)


@in_float32
def _end(space: TunedSpace, theta: np.ndarray, trajectory: Trajectory, start: int) -> Start:
    """Where a start ended that began at `theta`."""
    steps, late = int(trajectory.steps[start]), _late(trajectory, start)
    total = trajectory.loss[start] + trajectory.gate[start]
    begun = to_hyper(space, theta)
    if not trajectory.alive[start].all():
        return Start(begun, begun, float("inf"), float("nan"), float("nan"), "diverged")
    end = theta_at(space, trajectory.shares[start, late].mean(0))
    blocks = [b.mean() for b in np.array_split(total[late], min(4, late.stop - late.start))]
    error = float(np.std(blocks, ddof=1) / len(blocks) ** 0.5) if len(blocks) > 1 else 0.0
    early = total[: max(1, steps // 10)].mean()
    loss = float(total[late].mean())
    collapsed = trajectory.gate[start, late].mean() > CLOSED
    status = "collapsed" if collapsed else "ok"
    return Start(begun, to_hyper(space, end), loss, error, float(early - loss), status)


def diagnosis(descent: Descent) -> list[str]:
    """How far to trust where a descent ended, in plain words."""
    space, ended, best, trajectory = descent[:4]
    reasons = []
    entry = augment.get(space.augmentation)
    hard = [n for n in space.fixed if not entry.space[n].gradient and not n.endswith(".weight")]
    if hard:
        reasons.append(f"not tuned, as no gradient reaches them: {', '.join(hard)}")
    ends = descent.ends
    for name, place in space.free.places.items():
        one, share = space.free[name], ends[best, place]
        for bound, on in ((one.low, share < EDGE), (one.high, share > 1.0 - EDGE)):
            if on.any():
                some = f"{on.sum()} of {one.size} numbers of {name}" if one.size else name
                whose = "their" if one.size else "its"
                reasons.append(f"{some} ended on {whose} bound {bound:.3g}")
    chosen = ended[best]
    if not np.nanmax(trajectory.gradient[best]) > 0.0:
        reasons.append("no gradient reached any hyperparameter: nothing was tuned")
    if chosen.status == "collapsed":
        reasons.append("the network hardly tells the augmentation from normals: collapsed")
    if not chosen.gain > 2.0 * chosen.error:
        reasons.append(
            f"the loss fell by {chosen.gain:.3g}, within its noise of {chosen.error:.3g}"
        )
    for status in ("diverged", "collapsed"):
        others = [i for i, s in enumerate(ended) if s.status == status and i != best]
        if others:
            reasons.append(f"{len(others)} of {len(ended)} starts {status}")
    rivals = [
        i
        for i, s in enumerate(ended)
        if s.status == "ok" and s.loss - chosen.loss < 2.0 * (s.error + chosen.error)
    ]
    return reasons + _disagreements(space, [ended[i] for i in rivals], ends[rivals])


def _disagreements(space: TunedSpace, rivals: Sequence[Start], ends: np.ndarray) -> list[str]:
    """What starts of like loss do not agree on; `ends [rivals, size]` as shares of the ranges."""
    if len(rivals) < 2:
        return []
    apart, out = np.ptp(ends, axis=0) > APART, []
    for name, one in space.free.items():
        many = int(apart[space.free.places[name]].sum())
        if many and one.size:
            out.append(
                f"starts with similar losses disagree on {many} of {one.size} numbers of {name}"
            )
    for j, name in enumerate(space.names):
        values = [space.numbers(start.end)[j] for start in rivals]
        if apart[j] and "[" not in name:
            out.append(
                f"starts with similar losses disagree on {name}: {min(values):.3g} to "
                f"{max(values):.3g}"
            )
    return out
