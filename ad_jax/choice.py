"""The choice of a setting by an unlabelled target: search, losses, pick, trust; or one as given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ad_jax import rules
from ad_jax.chunks import Shard
from ad_jax.data import Problem
from ad_jax.errors import InputError
from ad_jax.numerics import in_float32
from ad_jax.parameters import numbered
from ad_jax.pool import Pool, Setting, checked_settings
from ad_jax.program import Config, Trained
from ad_jax.search import SEARCHES, grid, train_all
from ad_jax.signatures import Signature, signatures
from ad_jax.store import Record
from ad_jax.sweep import Progress, Sweep
from ad_jax.trust import Trust, trust


@dataclass(frozen=True)
class Members:
    """The trained seeds of one setting: what a detector is made of.

    Attributes:
      setting: what was trained.
      seeds: those that learned something.
      trained: their networks and densities.
      held_out: `[seeds, m]` each seed's scores of its own held-out normals.
    """

    setting: Setting
    seeds: tuple[int, ...]
    trained: tuple[Trained, ...]
    held_out: np.ndarray


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
      progress: cost of the sweep.
    """

    pool: Pool
    rule: str
    member_losses: dict[str, np.ndarray]
    losses: dict[str, dict[str, float]]
    pick: Setting
    trust: Trust
    signatures: tuple[Signature, ...]
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
    supported = trust(pool, rule, member_losses[rule], by_key, best)
    seen = signatures(pool, rule, best, supported, second)
    return Judged(pool, rule, member_losses, losses, best, supported, seen, progress)


@dataclass(frozen=True)
class Choice(Judged):
    """The same, and the pick's trained seeds."""

    members: Members


def _members(pool: Pool, setting: Setting, trained: dict[tuple[str, int], Trained]) -> Members:
    rows = pool.rows(setting, trained=True)
    seeds = tuple(pool.members[i].seed for i in rows)
    return Members(
        setting,
        seeds,
        tuple(trained[setting.key, seed] for seed in seeds),
        pool.own_scores()[1][rows],
    )


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


def check(rule: str, seeds: Sequence[int], search: str) -> None:
    """Refuses a rule or a search that is unknown or cannot be, before anything is written."""
    if rules.get(rule).needs == "seeds" and len(seeds) < 2:
        raise InputError(f"rule {rule} compares the seeds of a setting; give at least 2 seeds")
    if search not in SEARCHES:
        raise InputError(f"no search {search!r}; known: {', '.join(SEARCHES)}")


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
        ),
    ]


def work(
    problems: Sequence[Problem],
    settings: Sequence[Setting],
    shard: Shard,
    seeds: Sequence[int],
    config: Config,
    record: Record,
    report: Callable[[Progress], None] | None = None,
    second: np.ndarray | None = None,
) -> int:
    """One worker's share of a selection that searches all settings; nothing is picked.

    Returns:
      members that are left, for other workers.
    """
    sweep = Sweep(targets(problems, second), settings, seeds, config, record, report)
    return sweep.work([(s, seed) for s in settings for seed in seeds], config.steps, shard)


@in_float32
def choose(
    problems: Sequence[Problem],
    settings: Sequence[Setting] | None,
    seeds: Sequence[int],
    rule: str = rules.DEFAULT,
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
    search: str = "all",
    second: np.ndarray | None = None,
) -> list[Choice]:
    """One choice per problem, from the same trainings; arguments as in `selection.select_all`."""
    check_problems(problems)
    seeds, config = numbered(seeds), config.checked()
    check(rule, seeds, search)
    if settings is None:
        settings = grid(problems[0].shape)
    sweep = Sweep(targets(problems, second), settings, seeds, config, record, report)
    pools, members, progress = sweep.finish(SEARCHES[search](sweep, rule))
    other = pools.pop() if second is not None else None
    out = []
    for pool in pools:
        judged = judge(pool, rule, progress, other)
        own = {field.name: getattr(judged, field.name) for field in fields(Judged)}
        out.append(Choice(**own, members=_members(pool, judged.pick, members)))
    return out


def train_one(
    problem: Problem,
    setting: Setting,
    seeds: Sequence[int],
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Members:
    """Trains one setting as given, with no search and no rule.

    Raises:
      InputError: a setting that cannot run, or fewer than half of its seeds learned anything.
    """
    (setting,) = checked_settings([setting])
    sweep = Sweep([problem], [setting], seeds, config, record, report)
    (pool,), trained, _ = sweep.finish(train_all(sweep))
    members = _members(pool, setting, trained)
    if 2 * len(members.seeds) < len(sweep.seeds):
        raise InputError(
            f"{setting.label} learned nothing with {len(sweep.seeds) - len(members.seeds)} of "
            f"{len(sweep.seeds)} seeds; train longer (steps={config.steps}) or give more normals"
        )
    return members
