"""Tune an augmentation by gradient: several starts, a rule that picks an end, a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ad_jax.base.parameters import numbered
from ad_jax.base.space import Value
from ad_jax.data import Problem
from ad_jax.detect.detector import FittedDetector
from ad_jax.features import seen_shape
from ad_jax.pool.sweep import Progress, Sweep
from ad_jax.selection import rules
from ad_jax.selection.search import defaults, train_all
from ad_jax.selection.selection import Selection, check_problems, select_all
from ad_jax.selection.spec import SEEDS, Runtime, Spec
from ad_jax.selection.tuning import loop
from ad_jax.selection.tuning.chunks import Job, Step, Trajectory
from ad_jax.selection.tuning.descent import (
    STARTS,
    Descent,
    default_of,
    descend,
    descend_some,
    diagnosis,
    make_job,
)
from ad_jax.selection.tuning.space import TunedSpace, make_space
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting


@dataclass(frozen=True)
class Tuned:
    """Outcome of a tuning; nothing in it depends on labels.

    Attributes:
      descent: starts, where they ended, every outer step.
      selection: pool of the untuned default and of every end, trained from scratch; the rule picks
        among them, since the end of the lowest outer loss is often worse than the default
        (experiments/results/worth.txt). `trust.reasons` say how far to trust the pick: what the
        rule prefers, bounds, noise, starts that disagree, collapse.
      picked: number of the start whose end the rule picked, None for the untuned default.
    """

    descent: Descent
    selection: Selection
    picked: int | None

    @property
    def setting(self) -> Setting:
        return self.selection.pick

    @property
    def hyper(self) -> Mapping[str, Value]:
        return self.setting.hyper

    @property
    def trajectory(self) -> Trajectory:
        return self.descent.trajectory

    @property
    def detector(self) -> FittedDetector:
        return self.selection.detector

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.selection.trust.reasons


class TuneSpec(NamedTuple):
    """What decides every number of a tuning; see `tune`."""

    augmentation: str = "cutdiff"
    tune: Sequence[str] | None = None
    bounds: Mapping[str, tuple[float, float]] | None = None
    fixed: Mapping[str, float] | None = None
    starts: int | Sequence[Mapping[str, float]] = STARTS
    plan: loop.Plan = loop.Plan()
    seeds: Sequence[int] = SEEDS
    rule: str = rules.DEFAULT
    config: Config = Config()
    tune_on: np.ndarray | None = None
    memory_mb: float | None = None

    def checked(self) -> TuneSpec:
        """The same with seeds and config in plain values.

        Raises:
          InputError: what is no number or name.
        """
        return self._replace(seeds=numbered(self.seeds), config=self.config.checked())

    def space(self, shape: tuple[int, ...]) -> TunedSpace:
        """What is tuned, on samples of a shape; see `make_space`."""
        backbone = self.config.backbone
        return make_space(
            self.augmentation,
            seen_shape(backbone, shape),
            self.tune,
            self.bounds,
            self.fixed,
            defaults(backbone).training,
        )

    def job(self, problem: Problem) -> Job:
        """The descent on a problem.

        Raises:
          InputError: what cannot be descended; see `tune`.
        """
        check_problems([problem])
        space = self.space(problem.shape)
        return make_job(
            problem, space, self.starts, self.plan, self.seeds[0], self.config, self.tune_on
        )


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
    config: Config = Config(),
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
      seeds: trainings of the untuned default and of every end.
      rule: picks among these.
      config: network and training; `steps` are those of the final trainings.
      tune_on: `[n, ...]` unlabelled samples to tune on instead of the target.
      memory_mb: refuse programs that need more than this.
      record: keeps the outer state of every chunk and the final trainings; a second call goes on.
      report, report_training: called after every chunk of tuning, of training.

    Raises:
      InputError: what cannot be descended, zero steps, bounds or starts out of range, a program
        above the memory limit, no start that survives.
    """
    spec = TuneSpec(
        augmentation, tune, bounds, fixed, starts, plan, seeds, rule, config, tune_on, memory_mb
    )
    return tuned(problem, spec, Runtime(record, report_training), report)


def tuned(
    problem: Problem,
    spec: TuneSpec,
    runtime: Runtime = Runtime(),
    report: Callable[[Step], None] | None = None,
) -> Tuned:
    """`tune` by a spec; `report` is called after every chunk of tuning."""
    rules.get(spec.rule)
    spec = spec.checked()
    job = spec.job(problem)
    descent = descend(job, spec.memory_mb, runtime.record, report)
    ends = {
        i: job.space.setting(start.end)
        for i, start in enumerate(descent.starts)
        if start.status != "diverged"
    }
    default = job.space.setting(default_of(job.space))
    settings = {setting.key: setting for setting in (default, *ends.values())}
    final = Spec(list(settings.values()), spec.seeds, spec.rule, config=spec.config)
    (selection,) = select_all([problem], final, runtime)
    own = (i for i, setting in ends.items() if setting.key == selection.pick.key)
    picked = None if selection.pick.key == default.key else next(own)
    reasons = diagnosis(descent) + _preference(selection, descent, picked)
    return Tuned(
        descent,
        replace(
            selection,
            ensemble=None,
            trust=selection.trust._replace(reasons=tuple(reasons)),
        ),
        picked,
    )


def work(
    problem: Problem,
    spec: TuneSpec,
    runtime: Runtime,
    report: Callable[[Step], None] | None = None,
) -> int:
    """One worker's shard of `tuned`: its starts, then the trainings of their ends.

    The first worker trains the untuned default, too. Nothing is picked: `tuned` with the same
    record gathers.

    Returns:
      starts that are left, for other workers.
    """
    assert runtime.shard is not None and runtime.record is not None
    spec = spec.checked()
    job = spec.job(problem)
    ends, left = descend_some(job, runtime.shard, runtime.record, spec.memory_mb, report)
    hypers = [default_of(job.space)] if runtime.shard.number == 1 else []
    hypers += [start.end for start in ends if start.status != "diverged"]
    settings = {s.key: s for s in map(job.space.setting, hypers)}
    if settings:
        final = list(settings.values())
        sweep = Sweep([problem], final, spec.seeds, spec.config, runtime.record, runtime.report)
        train_all(sweep)
    return left


def _preference(selection: Selection, descent: Descent, picked: int | None) -> list[str]:
    """What the rule made of the ends."""
    if picked is None:
        return [
            f"the rule {selection.rule} prefers the untuned default to all "
            f"{len(descent.starts)} ends: tuning has not helped"
        ]
    out = [f"among default and ends, {reason}" for reason in selection.trust.reasons]
    if picked != descent.best:
        out.append(
            f"the rule {selection.rule} prefers the end of start {picked} to that of start "
            f"{descent.best}, which has the lowest outer loss"
        )
    return out
