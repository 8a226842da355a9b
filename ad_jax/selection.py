"""Choose an augmentation without labels: search, pick, trust, detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ad_jax import rules, tiles
from ad_jax.choice import Judged, choose
from ad_jax.data import Problem
from ad_jax.detector import Detector, Tiling
from ad_jax.pool import Pool, Setting
from ad_jax.program import Config, Trained
from ad_jax.store import Record
from ad_jax.sweep import Progress

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Selection(Judged):
    """Outcome of a selection on one problem; nothing in it depends on labels.

    Attributes:
      detector: the pick's trained seeds; the others as in `choice.Judged`.
    """

    detector: Detector


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
    config = config.checked()
    choices = choose(problems, settings, seeds, rule, config, record, report, search, second)
    return [
        Selection(
            **{field.name: getattr(one, field.name) for field in fields(Judged)},
            detector=Detector.of(
                problem,
                one.pick,
                one.members.trained,
                one.members.held_out,
                config,
                one.members.seeds,
            ),
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
    pool, state = selection.pool, selection.detector.state_
    held_out = [
        tiles.held_out_scores(cuts, own, member.seed)
        for member, own in zip(pool.members, pool.held_out_scores, strict=True)
    ]
    trained = [
        Trained(*(state.arrays[name][i] for name in Trained._fields))
        for i in range(len(state.seeds))
    ]
    return replace(
        selection,
        pool=Pool(
            pool.members,
            tiles.image_scores(cuts, pool.scores),
            np.stack(held_out),
            default_head=pool.default_head,
        ),
        detector=Detector.of(
            problem,
            selection.pick,
            trained,
            state.arrays["held_out"],
            state.config,
            state.seeds,
            tiling,
        ),
    )
