"""Tune an augmentation by gradient: several starts, a diagnosis, a detector at the tuned values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ad_jax import augment, program, rules
from ad_jax.data import Problem
from ad_jax.detector import Detector
from ad_jax.errors import InputError
from ad_jax.pool import Setting
from ad_jax.selection import SEEDS, Selection, select
from ad_jax.store import Record
from ad_jax.sweep import Progress
from ad_jax.tuning import loop, losses
from ad_jax.tuning.descent import Step, Trajectory, descend
from ad_jax.tuning.estimators import ESTIMATORS
from ad_jax.tuning.space import EDGE, Space, make_space, random_starts, to_hyper, unconstrain

STARTS = 4
LATE = 3  # the last third of the outer steps is averaged
APART = 0.25  # of its range: starts that end further apart than this disagree
CLOSED = 0.02  # of the loss at chance: a gate that costs more means a collapsed network


class Start(NamedTuple):
    """One start and where it ended.

    Attributes:
      start, end: hyperparameters; the end is the mean of the last third of the trajectory.
      loss: mean outer loss of that third, the gate included; infinite if it diverged.
      error: standard error of that mean, over blocks of steps.
      gain: by how much the loss fell from the first tenth of the steps.
      status: "ok", "collapsed" (the network cannot tell the augmentation) or "diverged".
    """

    start: dict[str, float]
    end: dict[str, float]
    loss: float
    error: float
    gain: float
    status: str


@dataclass(frozen=True)
class Tuned:
    """Outcome of a tuning; nothing in it depends on labels.

    Attributes:
      space, plan: what was tuned, and how.
      starts: one per start; `best` is the index of the lowest loss.
      trajectory: every outer step.
      selection: pool of the untuned default and the tuned setting, trained from scratch; pick and
        detector are the tuned ones, and `trust.reasons` say how far to trust them: what the rule
        prefers, bounds, noise, starts that disagree, collapse.
    """

    space: Space
    plan: loop.Plan
    starts: list[Start]
    best: int
    trajectory: Trajectory
    selection: Selection

    @property
    def setting(self) -> Setting:
        return self.selection.pick

    @property
    def hyper(self) -> dict[str, float]:
        return self.setting.hyper

    @property
    def detector(self) -> Detector:
        return self.selection.detector

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.selection.trust.reasons


def tune(
    problem: Problem,
    augmentation: str = "cutdiff",
    tune: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: int | Sequence[Mapping[str, float]] = STARTS,
    plan: loop.Plan = loop.Plan(),
    seeds: Sequence[int] = SEEDS,
    rule: str = rules.DEFAULT,
    config: program.Config = program.Config(),
    tune_on: np.ndarray | None = None,
    memory_mb: float | None = None,
    record: Record | None = None,
    report: Callable[[Step], None] | None = None,
    report_training: Callable[[Progress], None] | None = None,
) -> Tuned:
    """Descends an alignment loss through training (ST-SSAD, arXiv 2306.12033, and beyond).

    Args:
      problem: normals and unlabelled target.
      augmentation: a family that carries a gradient, or a mixture like `cutdiff+scar`.
      tune, bounds, fixed: see `make_space`.
      starts: how many (the first at the defaults, the others random), or their hyperparameters.
        All have the first of `seeds`, so that their losses differ by theta alone.
      plan: how to tune.
      seeds: trainings of the final detector.
      rule: compares the tuned setting with the untuned default.
      config: network and training; `steps` are those of the final detector.
      tune_on: `[n, ...]` unlabelled samples to tune on instead of the target.
      memory_mb: refuse programs that need more than this.
      record: keeps the outer state of every chunk and the final trainings; a second call goes on.
      report, report_training: called after every chunk of tuning, of training.

    Raises:
      InputError: what cannot be descended, zero steps, bounds or starts out of range, a program
        above the memory limit, no start that survives.
    """
    rules.get(rule)
    check(plan)
    space = make_space(augmentation, problem.shape, tune, bounds, fixed)
    if isinstance(starts, int):
        if starts < 1:
            raise InputError(f"starts={starts} is too small; take at least 1")
        thetas = random_starts(space, starts, config.root)
        own = {k: v for k, v in _default(space).items() if k in space.names}
        thetas[0] = unconstrain(space, own)
    else:
        thetas = np.stack([unconstrain(space, one) for one in starts])
    target = problem.target if tune_on is None else np.asarray(tune_on)
    if target.shape[1:] != problem.shape or target.dtype != problem.target.dtype:
        raise InputError(
            f"tune_on holds {target.dtype} samples of shape {target.shape[1:]}, the problem's are "
            f"{problem.target.dtype} {problem.shape}; give them alike"
        )
    if not seeds:
        raise InputError("no seeds; give at least one")
    trajectory = descend(
        problem, space, plan, thetas, config, target, seeds[0], memory_mb, record, report
    )
    ended = _ends(space, thetas, trajectory)
    order = sorted(range(len(ended)), key=lambda i: ended[i].loss)
    best = order[0]
    if ended[best].status == "diverged":
        raise InputError(
            f"all {len(ended)} starts diverged; take a smaller horizon than {plan.horizon}, or "
            "estimator=first_order"
        )
    tuned = Setting("binary", augmentation, ended[best].end)
    default = Setting("binary", augmentation, _default(space))
    settings = [default, tuned] if default.key != tuned.key else [tuned]
    selection = select(problem, settings, seeds, rule, config, record, report_training)
    reasons = _diagnosis(space, ended, best, trajectory)
    reasons += _against_default(selection, default, tuned)
    if selection.pick.key != tuned.key:  # the detector is the tuned one, the rule's word a warning
        alone = select(problem, [tuned], seeds, rule, config, record)
        selection = replace(selection, pick=tuned, detector=alone.detector)
    trust = selection.trust._replace(reasons=tuple(reasons))
    selection = replace(selection, trust=trust)
    return Tuned(space, plan, ended, best, trajectory, selection)


def check(plan: loop.Plan) -> None:
    """Refuses a plan that cannot run.

    Raises:
      InputError: names the value and what to take.
    """
    for name, least in (("outer_steps", 1), ("horizon", 1), ("warm_up", 0), ("batch", 4)):
        if getattr(plan, name) < least:
            raise InputError(f"{name}={getattr(plan, name)} is too small; take at least {least}")
    if plan.estimator not in ESTIMATORS:
        raise InputError(f"no estimator {plan.estimator!r}; known: {', '.join(ESTIMATORS)}")
    for name in ("rate", "clip"):
        if not getattr(plan, name) > 0.0:
            raise InputError(f"{name}={getattr(plan, name)} is no positive number")
    losses.parse(",".join(name for name, _ in plan.outer))


def _default(space: Space) -> dict[str, float]:
    """The untuned setting: catalogue defaults moved into the bounds, weights equal."""
    hyper = {**augment.get(space.augmentation).defaults(), **space.fixed}
    for one in space.free:
        hyper[one.name] = min(max(hyper[one.name], one.low), one.high)
    return hyper


def _ends(space: Space, thetas: np.ndarray, trajectory: Trajectory) -> list[Start]:
    steps = trajectory.loss.shape[1]
    late = max(1, steps // LATE)
    out = []
    for i, theta in enumerate(thetas):
        total = trajectory.loss[i] + trajectory.gate[i]
        start = to_hyper(space, theta)
        if not trajectory.alive[i].all():
            out.append(Start(start, start, float("inf"), float("nan"), float("nan"), "diverged"))
            continue
        mean = trajectory.shares[i, -late:].mean(0)
        count = len(space.free)
        inside = np.clip(mean[:count], 1e-6, 1.0 - 1e-6)
        back = np.concatenate([np.log(inside / (1.0 - inside)), np.log(mean[count:] + 1e-9)])
        blocks = [b.mean() for b in np.array_split(total[-late:], min(4, late))]
        error = float(np.std(blocks, ddof=1) / len(blocks) ** 0.5) if len(blocks) > 1 else 0.0
        early = total[: max(1, steps // 10)].mean()
        loss = float(total[-late:].mean())
        collapsed = trajectory.gate[i, -late:].mean() > CLOSED
        out.append(
            Start(
                start,
                to_hyper(space, back),
                loss,
                error,
                float(early - loss),
                "collapsed" if collapsed else "ok",
            )
        )
    return out


def _diagnosis(space: Space, ended: list[Start], best: int, trajectory: Trajectory) -> list[str]:
    reasons = []
    late = max(1, trajectory.loss.shape[1] // LATE)
    ends = trajectory.shares[:, -late:].mean(1)  # [starts, size]
    for i, one in enumerate(space.free):
        share = ends[best, i]
        if share < EDGE or share > 1.0 - EDGE:
            bound = one.low if share < EDGE else one.high
            reasons.append(f"{one.name} ended on its bound {bound:.3g}")
    chosen = ended[best]
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
    for j, name in enumerate(space.names):
        values = [ended[i].end[name] for i in rivals]
        if len(rivals) > 1 and np.ptp(ends[rivals, j]) > APART:
            reasons.append(
                f"starts of like loss disagree on {name}: {min(values):.3g} to {max(values):.3g}"
            )
    return reasons


def _against_default(selection: Selection, default: Setting, tuned: Setting) -> list[str]:
    if selection.pick.key == tuned.key:
        return [f"against the untuned default: {reason}" for reason in selection.trust.reasons]
    by_key = selection.losses[selection.rule]
    return [
        f"the rule {selection.rule} prefers the untuned default "
        f"({by_key[default.key]:.3g} to {by_key[tuned.key]:.3g}): tuning may not have helped"
    ]
