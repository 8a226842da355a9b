"""Choose an augmentation without labels: search, pick, trust, detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ad_jax import rules
from ad_jax.chunks import Shard
from ad_jax.data import Problem
from ad_jax.detector import Detector
from ad_jax.errors import InputError
from ad_jax.pool import Pool, Setting
from ad_jax.program import Config
from ad_jax.search import SEARCHES, grid
from ad_jax.signatures import Signature, signatures
from ad_jax.store import Record
from ad_jax.sweep import Progress, Sweep
from ad_jax.trust import Trust, trust

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Selection:
    """Outcome of a selection on one problem; nothing in it depends on labels.

    Attributes:
      pool: what is known of every member.
      rule: name of the rule that picked.
      member_losses: rule -> loss of every member `[members]`.
      losses: rule -> setting key -> loss (infinite: cannot be picked).
      pick: the selected setting.
      detector: the pick's trained seeds.
      trust: how far to trust the pick.
      signatures: ways in which the search may have failed, and what to do next.
      progress: cost of the sweep.
    """

    pool: Pool
    rule: str
    member_losses: dict[str, np.ndarray]
    losses: dict[str, dict[str, float]]
    pick: Setting
    detector: Detector
    trust: Trust
    signatures: tuple[Signature, ...]
    progress: Progress


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
        Problem(train=own.train, held_out=own.held_out, groups=own.groups, target=second),
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


def select_all(
    problems: Sequence[Problem],
    settings: Sequence[Setting] | None = None,
    seeds: Sequence[int] = SEEDS,
    rule: str = rules.DEFAULT,
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
    search: str = "all",
    pick: Setting | None = None,
    second: np.ndarray | None = None,
) -> list[Selection]:
    """`select` for several problems that share their normals, and so their trainings.

    `pick` takes a setting whatever the rule says: a selection of what was chosen otherwise.
    """
    check(rule, seeds, search)
    if settings is None:
        settings = grid(problems[0].shape)
    sweep = Sweep(targets(problems, second), settings, seeds, config, record, report)
    pools, members, progress = sweep.finish(SEARCHES[search](sweep, rule))
    other = pools.pop() if second is not None else None
    out = []
    for problem, pool in zip(problems, pools, strict=True):
        served = {**rules.available(pool), rule: rules.served(rule, pool)}
        member_losses = {name: entry.loss(pool) for name, entry in served.items()}
        losses = {name: rules.by_setting(pool, values) for name, values in member_losses.items()}
        by_key = losses[rule]
        best = pick or min(pool.settings, key=lambda s: by_key[s.key])
        if not np.isfinite(by_key[best.key]):
            what = pick.label if pick else f"none of the {len(settings)} settings"
            raise InputError(
                f"{what} learned {'nothing' if pick else 'anything'}; train longer "
                f"(steps={config.steps}) or give more normals"
            )
        rows = pool.rows(best, trained=True)
        detector = Detector.of(
            problem,
            best,
            [members[best.key, pool.members[i].seed] for i in rows],
            pool.own_scores()[1][rows],
            config,
        )
        supported = trust(pool, rule, member_losses[rule], by_key, best)
        seen = signatures(pool, rule, best, supported, other)
        out.append(
            Selection(pool, rule, member_losses, losses, best, detector, supported, seen, progress)
        )
    return out


def select(
    problem: Problem,
    settings: Sequence[Setting] | None = None,
    seeds: Sequence[int] = SEEDS,
    rule: str = rules.DEFAULT,
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
    search: str = "all",
    second: np.ndarray | None = None,
) -> Selection:
    """Trains a pool on the problem's normals and picks a setting by its unlabelled target.

    Args:
      problem: normals and unlabelled target.
      settings: what to try; `search.grid` by default, `search.draw` for random search.
      seeds: trainings per setting; folds of held-out normals rotate over them.
      rule: name in `rules.RULES`.
      config: steps, width, network.
      record: keeps finished chunks, so that a second call skips them.
      report: called with the progress after every chunk.
      search: "all", or "halving" to drop settings early by the rule's loss.
      second: `[k, ...]` another unlabelled set: would it have picked alike? (`signatures`)

    Raises:
      InputError: settings, rule or problem that cannot run; nothing is written then.
    """
    return select_all(
        [problem], settings, seeds, rule, config, record, report, search, second=second
    )[0]
