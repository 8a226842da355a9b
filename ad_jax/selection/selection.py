"""Choose an augmentation without labels: search, losses, pick, trust, detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.html import as_table
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.detect import tiles
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import NAMED, Ensemble
from ad_jax.detect.state import Tiling, Trained, TrainedSeeds
from ad_jax.pool import Pool, View
from ad_jax.pool.sweep import Progress, Sweep
from ad_jax.selection import rules
from ad_jax.selection.failure_modes import Signature, signatures
from ad_jax.selection.search import SEARCHES, config_for, train_all
from ad_jax.selection.spec import SEEDS, Runtime, Spec
from ad_jax.selection.trust import Trust, trust
from ad_jax.selection.weights import finished, keep, weights
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting, checked_settings


@dataclass(frozen=True)
class Judged:
    """What a search found on one problem; nothing in it depends on labels.

    Attributes:
      pool: what is known of every member.
      rule: name of the rule that picked.
      member_losses: rule -> loss of every member `[members]`.
      losses: rule -> setting key -> loss (infinite: cannot be picked).
      pick: the selected setting.
      trust: how far to trust the pick.
      signatures: ways in which the search may have failed, and what to do next.
      weights: setting key -> weight in the ensemble (`selection.weights`); they sum to 1.
      progress: cost of the sweep.
    """

    pool: Pool
    rule: str
    member_losses: dict[str, np.ndarray]
    losses: dict[str, dict[str, float]]
    pick: Setting
    trust: Trust
    signatures: tuple[Signature, ...]
    weights: dict[str, float]
    progress: Progress


def judge(pool: Pool, rule: str, progress: Progress, second: Pool | None = None) -> Judged:
    """What every rule says of a pool, and what the one of that name picks.

    Args:
      pool: of a sweep, or read back from a run's folder.
      rule: that picks.
      progress: of the sweep.
      second: the same members on a second unlabelled target.

    Raises:
      InputError: nothing to pick.
    """
    served = {**rules.available(pool), rule: rules.served(rule, pool)}
    member_losses = {name: entry.loss(pool) for name, entry in served.items()}
    losses = {name: rules.by_setting(pool, values) for name, values in member_losses.items()}
    by_key = losses[rule]
    best = min(pool.settings, key=lambda s: by_key[s.key])
    if not np.isfinite(by_key[best.key]):
        whole = len(pool.settings) - len(pool.stopped)
        raise InputError(
            f"none of the {whole} settings that were trained to the end learned anything; train "
            "longer (more steps) or give more normals"
        )
    own = weights(pool)
    supported = trust(pool, rule, member_losses[rule], by_key, best, own)
    seen = signatures(pool, rule, best, supported, second)
    return Judged(pool, rule, member_losses, losses, best, supported, seen, own, progress)


@dataclass(frozen=True)
class Selection(Judged):
    """Outcome of a selection on one problem; nothing in it depends on labels.

    Attributes:
      ensemble: all finished settings by their weights; the detector to score with. None of a
        tuning, which asks whether its end is better than the default.
      detector: the pick's trained seeds; the others as in `Judged`.
    """

    ensemble: Ensemble | None
    detector: FittedDetector

    def _repr_html_(self) -> str:
        """What notebooks show."""
        trusted = [("trust in it", self.trust.verdict)]
        trusted += [("", line) for line in self.trust.reasons[:NAMED]]
        found = [(one.name, one.advice) for one in self.signatures if one.found]
        pick = as_table("Selection", [(f"pick, by {self.rule}", self.pick.label), *trusted, *found])
        scored = self.detector if self.ensemble is None else self.ensemble
        return pick + (scored._repr_html_() or "")


def check_problems(problems: Sequence[Problem]) -> None:
    """Refuses what is no problem: arrays, or the pair that `load` returns.

    Raises:
      InputError: says how a problem is made.
    """
    for one in problems:
        if not isinstance(one, Problem):
            raise InputError(
                f"a {type(one).__name__} is no problem; give Problem(train=…, target=…), or the "
                "first of the two that load(…) returns"
            )


def targets(problems: Sequence[Problem], second: np.ndarray | None = None) -> list[Problem]:
    """All that is measured: the problems, and last the second unlabelled set if there is one."""
    if second is None:
        return list(problems)
    own = problems[0]  # the same trainings look at it, too
    return [
        *problems,
        Problem(
            train=own.train,
            held_out=own.held_out,
            groups=own.groups,
            target=second,
            distinct=False,  # the same normals as they are
            turns=own.turns,
            series=own.series,
        ),
    ]


def work(
    problems: Sequence[Problem], spec: Spec, runtime: Runtime, second: np.ndarray | None = None
) -> int:
    """One worker's shard of a selection that searches all settings; nothing is picked.

    Returns:
      members that are left, for other workers.
    """
    assert runtime.shard is not None
    spec = spec.checked(problems[0].shape)
    sweep = _sweep(targets(problems, second), spec, runtime)
    return sweep.work(sweep.members, spec.config.steps, runtime.shard)


def _sweep(
    problems: Sequence[Problem], spec: Spec, runtime: Runtime, controls: bool = True
) -> Sweep:
    assert spec.settings is not None
    decided = (spec.settings, spec.seeds, spec.config)
    return Sweep(problems, *decided, runtime.record, runtime.report, controls=controls)


def trained_seeds(
    pool: Pool, setting: Setting, trained: Mapping[tuple[str, int], Trained]
) -> TrainedSeeds:
    """The seeds of a setting that learned something.

    Args:
      pool: of a sweep.
      setting: of the pool.
      trained: of every member, as `sweep.Outcome` has them.
    """
    rows = pool.rows(setting, trained=True)
    seeds = tuple(pool.members[i].seed for i in rows)
    return TrainedSeeds(
        setting,
        seeds,
        tuple(trained[setting.key, seed] for seed in seeds),
        pool.own_scores()[1][rows],
    )


@in_float32
def choose(
    problems: Sequence[Problem],
    spec: Spec = Spec(),
    runtime: Runtime = Runtime(),
    second: np.ndarray | None = None,
) -> list[tuple[Judged, dict[str, TrainedSeeds]]]:
    """Per problem what was found, and the trained seeds of all finished settings by their keys."""
    check_problems(problems)
    spec = spec.checked(problems[0].shape)
    sweep = _sweep(targets(problems, second), spec, runtime)
    pools, trained, progress = sweep.finish(SEARCHES[spec.search](sweep, spec.rule))
    other = pools.pop() if second is not None else None
    found = (judge(pool, spec.rule, progress, other) for pool in pools)
    return [
        (judged, {s.key: trained_seeds(judged.pool, s, trained) for s in finished(judged.pool)})
        for judged in found
    ]


def select_all(
    problems: Sequence[Problem],
    spec: Spec = Spec(),
    runtime: Runtime = Runtime(),
    second: np.ndarray | None = None,
    kept: int | None = None,
) -> list[Selection]:
    """`select` for several problems that share their normals, and so their trainings.

    `kept` settings make the ensemble; None takes all.
    """

    def weights_of(judged: Judged) -> dict[str, float]:
        return judged.weights if kept is None else keep(judged.pool, judged.weights, kept)

    return [
        Selection(
            **{field.name: getattr(judged, field.name) for field in fields(Judged)},
            ensemble=Ensemble.of_members(
                problem, list(members.values()), weights_of(judged), spec.config
            ),
            detector=detector_of(problem, members[judged.pick.key], spec.config),
        )
        for problem, (judged, members) in zip(
            problems, choose(problems, spec, runtime, second), strict=True
        )
    ]


def detector_of(
    problem: Problem, one: TrainedSeeds, config: Config, tiling: Tiling | None = None
) -> FittedDetector:
    """The detector of a setting's trained seeds."""
    trained = (one.setting, one.trained, one.held_out, config, one.seeds, tiling)
    return FittedDetector.of(problem, *trained)


def select(
    problem: Problem,
    settings: Sequence[Setting] | None = None,
    seeds: Sequence[int] = SEEDS,
    rule: str = rules.DEFAULT,
    config: Config | None = None,
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
    search: str = "all",
    second: np.ndarray | None = None,
) -> Selection:
    """Trains a pool on the problem's normals and picks a setting by its unlabelled target.

    Args:
      problem: normals and unlabelled target.
      settings: what to try; None is the grid of `search.defaults`, `search.draw` is random search.
      seeds: trainings per setting; folds of held-out normals rotate over them.
      rule: name in `rules.RULES`.
      config: steps, width, network; None takes frozen features for images of 64 px and more.
      record: keeps finished chunks, so that a second call skips them.
      report: called with the progress after every chunk.
      search: "all", or "halving" to drop settings early by the rule's loss.
      second: `[k, ...]` another unlabelled set: would it have picked alike? (`signatures`)

    Raises:
      InputError: settings, rule or problem that cannot run; nothing is written then.
    """
    check_problems([problem])
    config = config_for(problem.shape) if config is None else config
    spec = Spec(settings, seeds, rule, search, config)
    return select_all([problem], spec, Runtime(record, report), second)[0]


def train_one(
    problem: Problem,
    setting: Setting,
    seeds: Sequence[int],
    config: Config = Config(),
    runtime: Runtime = Runtime(),
) -> TrainedSeeds:
    """Trains one setting as given, with no search and no rule.

    Raises:
      InputError: a setting that cannot run, or fewer than half of its seeds learned anything.
    """
    (setting,) = checked_settings([setting])
    spec = Spec([setting], seeds, config=config)
    sweep = _sweep([problem], spec, runtime, controls=False)  # nobody compares anything with them
    (pool,), trained, _ = sweep.finish(train_all(sweep))
    members = trained_seeds(pool, setting, trained)
    if 2 * len(members.seeds) < len(sweep.seeds):
        raise InputError(
            f"{setting.label} learned nothing with {len(sweep.seeds) - len(members.seeds)} of "
            f"{len(sweep.seeds)} seeds; train longer (steps={config.steps}) or give more normals"
        )
    return members


def of_images(
    selection: Selection, problem: Problem, cuts: tiles.Tiled, tiling: Tiling
) -> Selection:
    """A selection that was made on tiles, as one of the images that they were cut from.

    Pick, losses and trust stay those of tiles. The detector looks at images, and so do the pool's
    scores of target and held-out normals: an image's is that of its highest tile. What the pool
    knows of tiles alone (alignment, generated samples) is left out.

    Args:
      selection: on `cuts.problem`.
      problem: of images.
      cuts, tiling: how their tiles were cut.
    """
    pool, config = selection.pool, selection.detector.config
    members, shares = {}, {}
    if selection.ensemble is not None:
        members, shares = selection.ensemble.members(), selection.ensemble.shares()
    held_out = [
        tiles.held_out_scores(cuts, own, member.seed)
        for member, own in zip(pool.members, pool.held_out_scores, strict=True)
    ]
    picked = selection.detector.trained_seeds()
    return replace(
        selection,
        pool=Pool(
            pool.members,
            View(tiles.image_scores(cuts, pool.scores)),
            View(np.stack(held_out)),
            pool.default_head,
            groups=tiles.held_out_groups(cuts, problem, [m.seed for m in pool.members]),
        ),
        ensemble=Ensemble.of_members(problem, list(members.values()), shares, config, tiling)
        if members
        else None,
        detector=detector_of(problem, picked, config, tiling),
    )
