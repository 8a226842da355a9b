"""What decides the numbers of a selection, and how it is done, which decides none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ad_jax.base.errors import InputError, check_name
from ad_jax.base.parameters import numbered
from ad_jax.pool.chunks import Shard
from ad_jax.pool.sweep import Progress
from ad_jax.selection import rules
from ad_jax.selection.search import SEARCHES, defaults
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting, checked_settings

SEEDS = (0, 1, 2)


class Spec(NamedTuple):
    """What decides every number of a selection.

    Attributes:
      settings: what is tried; None is the grid of the backbone's `search.defaults`.
      seeds: trainings per setting, or how many; folds of held-out normals rotate over them.
      rule: that picks, a name in `rules.RULES`.
      search: "all", or "halving" to drop settings early by the rule's loss.
      config: steps, width, network, root.
    """

    settings: Sequence[Setting] | None = None
    seeds: Sequence[int] = SEEDS
    rule: str = rules.DEFAULT
    search: str = "all"
    config: Config = Config()

    def checked(self, shape: tuple[int, ...]) -> Spec:
        """The same in plain values for samples of a shape, the grid written out.

        Raises:
          InputError: a rule or a search that is unknown or cannot be, what is no number or setting.
        """
        seeds = numbered(self.seeds)
        check(self.rule, seeds, self.search)
        config = self.config.checked()
        grid = defaults(config.backbone).grid
        settings = grid(shape) if self.settings is None else checked_settings(self.settings)
        return Spec(settings, seeds, self.rule, self.search, config)


class Runtime(NamedTuple):
    """How it is done; nothing here decides a number.

    Attributes:
      record: keeps finished chunks, so that a second call skips them; None keeps nothing.
      report: called with the progress after every chunk.
      shard: which part of the chunks to do; None = all.
    """

    record: Record | None = None
    report: Callable[[Progress], None] | None = None
    shard: Shard | None = None


def check(rule: str, seeds: Sequence[int], search: str) -> None:
    """Refuses a rule or a search that is unknown or cannot be, before anything is written.

    Raises:
      InputError: says what to take.
    """
    if rules.get(rule).needs == "seeds" and len(seeds) < 2:
        raise InputError(f"rule {rule} compares the seeds of a setting; give at least 2 seeds")
    check_name(SEARCHES, search, "search")
