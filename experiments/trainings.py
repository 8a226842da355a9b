"""What studies train, and what one trained network is worth."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.stats import Estimate, spread
from ad_jax.data import Problem, Truth, load, parse
from ad_jax.pool import Pool
from ad_jax.pool.sweep import Outcome, Sweep
from ad_jax.selection import rules, search, tuning
from ad_jax.selection.tuning.descent import default_of
from ad_jax.selection.tuning.space import theta_at, to_hyper
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting

PLAN = tuning.Plan(outer_steps=40, warm_up=100)
STEPS = 400  # of a training beside tuning


@functools.cache
def loaded(text: str) -> tuple[Problem, Truth]:
    """Problem and sealed truth of a source and its options, as `ad-jax select` takes them."""
    source, options = parse(text)
    return load(source, **options)


def swept(
    problems: Sequence[Problem],
    settings: Sequence[Setting],
    seeds: Sequence[int],
    config: Config,
    record: Record,
    how: str = "all",
    controls: bool = True,
) -> Outcome:
    """A pool a problem of one training set, and the networks of all.

    Also where nothing learns, which `select` refuses; without `controls` no control members.
    """
    sweep = Sweep(list(problems), list(settings), seeds, config, record, controls=controls)
    return sweep.finish(search.SEARCHES[how](sweep, rules.DEFAULT))


def pick(pool: Pool, some: Iterable[Setting]) -> Setting:
    """What the default rule picks of some settings of a pool."""
    losses = rules.losses(pool, rules.DEFAULT)
    return min(some, key=lambda s: losses[s.key])


def auroc_of(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """AUROC of scores `[n]`; NaN without an anomaly."""
    if not anomalous.any():
        return float("nan")
    return float(ranks.auroc(scores[anomalous == 0], scores[anomalous == 1]))


def auroc(pool: Pool, setting: Setting, anomalous: np.ndarray) -> float:
    """Of a setting's first member, whether it learned anything or not."""
    return auroc_of(pool.own_scores()[0][pool.rows(setting)[0]], anomalous)


def contenders(row: dict[str, Any], picks: Mapping[str, str]) -> dict[str, Estimate]:
    """AUROC of what is compared in a row, and its deviation over seeds.

    Args:
      row: its `auroc` is setting key -> one per seed.
      picks: name -> setting key; the best setting and the expected random one are added.
    """
    means = {key: float(np.mean(own)) for key, own in row["auroc"].items()}
    keys = {**picks, "oracle": max(means, key=means.__getitem__)}
    out = {name: spread(row["auroc"][key]) for name, key in keys.items()}
    return {**out, "random setting": Estimate(float(np.mean(list(means.values()))))}


def tuning_setup(small: bool) -> tuple[tuning.Plan, Config]:
    """Plan of a tuning, and how everything beside it is trained."""
    if small:
        return small_plan(PLAN), Config(9, 8)
    return PLAN, Config(STEPS)


def small_plan(plan: tuning.Plan) -> tuning.Plan:
    return plan._replace(outer_steps=2, horizon=2, warm_up=4, batch=8)


def default_setting(space: tuning.TunedSpace) -> Setting:
    """The untuned one."""
    return Setting("binary", space.augmentation, default_of(space))


def ends_of(space: tuning.TunedSpace, descent: Any) -> list[Setting]:
    """Where the starts of a descent ended, those left out that diverged."""
    lasting = [start for start in descent.starts if start.status != "diverged"]
    return [Setting("binary", space.augmentation, start.end) for start in lasting]


def random_settings(space: tuning.TunedSpace, count: int, seed: int) -> list[Setting]:
    """Uniform over the ranges, each on its own scale; weights uniform too."""
    generator = np.random.default_rng([seed, count])
    shares = generator.uniform(0.02, 0.98, (count, space.size))
    return [at_shares(space, share) for share in shares]


def at_shares(space: tuning.TunedSpace, shares: np.ndarray) -> Setting:
    """The setting at a share of every range."""
    return Setting("binary", space.augmentation, to_hyper(space, theta_at(space, shares)))


def normal_interval(values: np.ndarray) -> Estimate:
    """Mean and its 95 % interval by the normal distribution; NaN of a single value."""
    mean = float(values.mean())
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return Estimate(mean, mean - half, mean + half)


def signed(one: Estimate) -> str:
    return f"{one.value:+.3f} ± {one.high - one.value:.3f}"


def counts(words: Sequence[str]) -> dict[str, int]:
    return {word: words.count(word) for word in sorted(set(words))}
