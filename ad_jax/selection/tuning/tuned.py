"""Tune an augmentation by gradient: several starts, a rule that picks an end, a diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.parameters import numbered
from ad_jax.base.values import Value
from ad_jax.data import Problem
from ad_jax.detect.detector import FittedDetector
from ad_jax.features import frozen, seen_shape
from ad_jax.pool.sweep import Progress, Sweep
from ad_jax.selection import rules
from ad_jax.selection.search import defaults, train_all
from ad_jax.selection.selection import (
    Judged,
    Selection,
    check_problems,
    detector_of,
    judge,
    select_all,
    trained_seeds,
)
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
    joined,
    make_job,
)
from ad_jax.selection.tuning.space import TunedSpace, make_space, theta_at, to_hyper
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting

AUGMENTATIONS = {False: "cutdiff", True: "feature_noise:channel"}  # on frozen features or not
ON_SERIES = "mean_shift"
AMONG = "among default and ends, "  # how reasons begin that are of the choice, not of the descent
ON_FEATURES = loop.Plan(  # a head trains in a second, and nothing is trained afterwards
    outer=(("wilcoxon_31", 1.0),),
    outer_steps=40,
    warm_up=400,
    batch=32,
    rate=0.05,
    prior=1.0,
)


@dataclass(frozen=True)
class Tuned:
    """Outcome of a tuning; nothing in it depends on labels.

    Attributes:
      descent: starts, where they ended, every outer step; on frozen features a start per seed.
      selection: pool of the untuned default and of every end, trained from scratch; the rule picks
        among them, since the end of the lowest outer loss is often worse than the default
        (experiments/results/worth.txt). On frozen features of the default, trained as long, and of
        the heads as they were tuned, one of each seed. `trust.reasons` say how far to trust the
        pick: what the rule prefers, bounds, noise, starts that disagree, collapse.
      picked: number of the start whose end the rule picked, None for the untuned default; on
        features, where all starts together are the end, that of the lowest loss.
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

    augmentation: str | None = None
    tune: Sequence[str] | None = None
    bounds: Mapping[str, tuple[float, float]] | None = None
    fixed: Mapping[str, float] | None = None
    starts: int | Sequence[Mapping[str, Any]] | None = None
    plan: loop.Plan | None = None
    seeds: Sequence[int] = SEEDS
    rule: str = rules.DEFAULT
    config: Config = Config()
    tune_on: np.ndarray | None = None
    memory_mb: float | None = None

    def checked(self) -> TuneSpec:
        """The same with seeds and config in plain values, and with what nobody said.

        Raises:
          InputError: what is no number or name, several starts of a seed on frozen features.
        """
        config, plan, starts = self.config.checked(), self.plan, self.starts
        on_features = frozen(config.backbone)
        plan = plan or (ON_FEATURES if on_features else loop.Plan())
        if on_features:
            config = config._replace(steps=plan.steps)  # the default is trained as long
            count = starts if isinstance(starts, int) else len(starts or ({},))
            if count != 1:
                raise InputError(
                    f"starts={count} on frozen features, where every seed is a start: give one "
                    "start, or more seeds"
                )
        return self._replace(
            augmentation=self.augmentation
            or (ON_SERIES if config.backbone == "temporal" else AUGMENTATIONS[on_features]),
            starts=(1 if on_features else STARTS) if starts is None else starts,
            plan=plan,
            seeds=numbered(self.seeds),
            config=config,
        )

    def space(self, shape: tuple[int, ...]) -> TunedSpace:
        """What is tuned, on samples of a shape; see `make_space`."""
        backbone = self.config.backbone
        assert self.augmentation is not None
        return make_space(
            self.augmentation,
            seen_shape(backbone, shape),
            self.tune,
            self.bounds,
            self.fixed,
            defaults(backbone).training,
        )

    def job(self, problem: Problem, seed: int | None = None) -> Job:
        """The descent on a problem; all starts have one seed, the first unless said.

        Raises:
          InputError: what cannot be descended; see `tune`.
        """
        check_problems([problem])
        one = self.checked()
        assert one.starts is not None and one.plan is not None
        seed = one.seeds[0] if seed is None else seed
        space = one.space(problem.shape)
        return make_job(problem, space, one.starts, one.plan, seed, one.config, one.tune_on)


def tune(
    problem: Problem,
    augmentation: str | None = None,
    tune: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: int | Sequence[Mapping[str, Any]] | None = None,
    plan: loop.Plan | None = None,
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
      augmentation: a family that carries a gradient, or a mixture like `cutdiff+scar`; None is
        `cutdiff`, of series `mean_shift`, on frozen features noise with a number for every channel.
      tune, bounds, fixed: see `make_space`.
      starts: how many (the first at the defaults, the others random; 4), or their hyperparameters.
        All have the first of `seeds`, so that their losses differ by theta alone. On frozen
        features one, and every seed starts there.
      plan: how to tune; None is `Plan()`, on frozen features `ON_FEATURES`.
      seeds: trainings of the untuned default and of every end; on features, of every tuning.
      rule: picks among these.
      config: network and training; `steps` are those of the final trainings (on features there are
        none: the tuned head is the end).
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
    if frozen(spec.config.backbone):
        return _on_features(problem, spec, runtime, report)
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


def _on_features(
    problem: Problem,
    spec: TuneSpec,
    runtime: Runtime,
    report: Callable[[Step], None] | None,
) -> Tuned:
    """Every seed's head, tuned as it trains, against the default trained for as many steps."""
    descents = [
        descend(spec.job(problem, seed), spec.memory_mb, runtime.record, report)
        for seed in spec.seeds
    ]
    descent = joined(descents)
    space = descent.space
    ends = [theta_at(space, space_share) for space_share in descent.ends]
    end, default = (
        space.setting(to_hyper(space, np.mean(ends, 0))),
        space.setting(default_of(space)),
    )
    settings = list({one.key: one for one in (default, end)}.values())
    sweep = Sweep([problem], settings, spec.seeds, spec.config, runtime.record, runtime.report)
    rows = sweep.advance([(default, seed) for seed in spec.seeds], spec.config.steps)
    if end.key != default.key:
        networks = zip(spec.seeds, descent.networks, strict=True)
        rows |= sweep.measure({(end.key, seed): network for seed, network in networks})
    (pool,), trained, progress = sweep.finish(rows)
    judged = judge(pool, spec.rule, progress)
    one = trained_seeds(pool, judged.pick, trained)
    detector = detector_of(problem, one, spec.config)
    picked = descent.best if judged.pick.key == end.key != default.key else None
    selection = Selection(
        **{field.name: getattr(judged, field.name) for field in fields(Judged)},
        ensemble=None,
        detector=detector,
    )
    reasons = tuple(diagnosis(descent) + _preference(selection, descent, picked))
    trust = selection.trust._replace(reasons=reasons)
    return Tuned(descent, replace(selection, trust=trust), picked)


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
    if frozen(spec.config.backbone):
        raise InputError("tuning on frozen features takes a minute a seed; leave --shard out")
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
            f"the rule {selection.rule} prefers the untuned default to where "
            f"{len(descent.starts)} starts ended: tuning has not helped"
        ]
    out = [f"{AMONG}{reason}" for reason in selection.trust.reasons]
    if picked != descent.best:
        out.append(
            f"the rule {selection.rule} prefers the end of start {picked} to that of start "
            f"{descent.best}, which has the lowest outer loss"
        )
    return out
