"""Choose an augmentation without labels: search, pick, trust, detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ad_jax import rules
from ad_jax.choice import choose
from ad_jax.data import Problem
from ad_jax.detector import Detector
from ad_jax.pool import Pool, Setting
from ad_jax.program import Config
from ad_jax.signatures import Signature
from ad_jax.store import Record
from ad_jax.sweep import Progress
from ad_jax.trust import Trust

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


def select_all(
    problems: Sequence[Problem],
    settings: Sequence[Setting] | None = None,
    seeds: Sequence[int] = SEEDS,
    rule: str = rules.DEFAULT,
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
    search: str = "all",
    second: np.ndarray | None = None,
) -> list[Selection]:
    """`select` for several problems that share their normals, and so their trainings."""
    choices = choose(problems, settings, seeds, rule, config, record, report, search, second)
    return [
        Selection(
            one.pool,
            one.rule,
            one.member_losses,
            one.losses,
            one.pick,
            Detector.of(
                problem,
                one.pick,
                one.members.trained,
                one.members.held_out,
                config,
                one.members.seeds,
            ),
            one.trust,
            one.signatures,
            one.progress,
        )
        for problem, one in zip(problems, choices, strict=True)
    ]


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
