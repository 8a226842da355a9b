"""What a fitted detector is, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.columns import Columns
from ad_jax.detect import tiles
from ad_jax.detect.calibration import by_fold
from ad_jax.detect.localise import Fitted
from ad_jax.train.setting import Config, Setting

ARRAYS = ("params", "mean", "precision", "held_out")


class Trained(NamedTuple):
    """What a detector needs of one member."""

    params: np.ndarray  # [p] flattened
    mean: np.ndarray  # [d]
    precision: np.ndarray  # [d, d]


class TrainedSeeds(NamedTuple):
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


def seeds_of(setting: Setting, state: State, rows: Sequence[int]) -> TrainedSeeds:
    """Some seeds of a state as what they were made from."""
    return TrainedSeeds(
        setting,
        tuple(state.seeds[i] for i in rows),
        tuple(Trained(*(state.arrays[name][i] for name in Trained._fields)) for i in rows),
        np.stack([state.arrays["held_out"][i] for i in rows]),
    )


class NotFitted(InputError, AttributeError):
    """Something was asked of a detector that has not been trained yet."""


class Loading(NamedTuple):
    """How files become samples, so that scoring loads them as training did.

    Size and colour follow from the detector's shape.

    Attributes:
      fit: how a picture gets these sides: "stretch", "crop" or "pad" (see `ad_jax.load`).
      range: values of files of more than 8 bits that become black and white (`Problem.range`);
        None = the training images had no such files, or it is not known.
      columns: how columns of a table become numbers (`Problem.columns`); None = no table.
    """

    fit: str = "stretch"
    range: tuple[float, float] | None = None
    columns: Columns | None = None


class Tiling(NamedTuple):
    """How images are looked at in tiles; see `tiles.plan`.

    Attributes:
      tile: side in px.
      overlap: share of a tile that neighbours have in common at least.
      region: `[h, w]` uint8, 1 where it counts; None = everywhere.
    """

    tile: int
    overlap: float
    region: np.ndarray | None = None

    def plan(self, shape: tuple[int, ...]) -> tiles.Plan:
        """The plan for images of a shape.

        Raises:
          InputError: values out of range, a region that does not fit.
        """
        if len(shape) > 1 and self.tile > max(shape[:2]):
            raise InputError(
                f"tile={self.tile} px is larger than the images of {shape[0]} x {shape[1]} px; "
                "take a smaller one, or leave it out to see them whole"
            )
        return tiles.plan(shape, self.tile, self.overlap, self.region)


class Localised(NamedTuple):
    """What heatmaps need beside the networks.

    Attributes:
      method: of localisation, one of `localise.METHODS`.
      fitted: of k seeds, stacked: each leaf is `[k, ...]`.
      rows: which of the fitted every seed looks by, -1 for a seed that does not look; every one of
        the fitted has a seed. None: every seed by its own.
    """

    method: str
    fitted: Fitted
    rows: tuple[int, ...] | None = None

    @property
    def firsts(self) -> list[int]:
        """The first seed `[k]` of every one of the fitted."""
        count = len(self.fitted.scale.maxima)
        return list(range(count)) if self.rows is None else [*map(self.rows.index, range(count))]


class State(NamedTuple):
    """Everything that a fitted detector knows.

    Attributes:
      setting: what was trained.
      score: the score of every seed: "density" or "head".
      shape: of one sample, `(h, w, c)` or `(d,)`; with tiles of a whole image.
      dtype: of the normals it was trained on.
      config: of the training.
      seeds: of the trainings.
      folds: per seed, which held-out normals are its own: equal numbers, the same normals.
      arrays: `params [seeds, p]`, `mean [seeds, d]`, `precision [seeds, d, d]`,
        `held_out [seeds, m]` (scores of each seed's held-out normals, in the order of content).
      tiling: the tiles that the networks see; None = whole samples.
      localised: None where no localiser was asked for.
    """

    setting: Setting
    score: str
    shape: tuple[int, ...]
    dtype: str
    config: Config
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    arrays: dict[str, np.ndarray]
    tiling: Tiling | None = None
    localised: Localised | None = None

    @property
    def among(self) -> np.ndarray:
        """Scores `[seeds, r]` that each seed's are compared with: of its own held-out normals.

        A single one says nothing of how far scores spread, so then of all seeds' held-out normals,
        as if their scores were of one unit.
        """
        held_out = self.arrays["held_out"]
        if held_out.shape[1] > 1:
            return held_out
        every = np.concatenate(list(by_fold(held_out, self.folds).values()))
        return np.repeat(every[None], len(held_out), axis=0)

    @property
    def by_setting(self) -> list[tuple[Setting, float]]:
        """Its setting and the weight of it, as `EnsembleState` has them of several."""
        return [(self.setting, 1.0)]

    @property
    def highest(self) -> np.ndarray:
        """Highest decade `[N]` of every held-out image's heatmap, once each.

        An image that several seeds held out counts by the mean of its highest points: the highest
        point of the mean heatmap is never above it.
        """
        assert self.localised is not None
        folds = [self.folds[i] for i in self.localised.firsts]
        maxima = by_fold(np.asarray(self.localised.fitted.scale.maxima), folds)
        return np.concatenate(list(maxima.values()))

    @property
    def seen(self) -> tuple[int, ...]:
        """Shape of what the networks see: of a sample, or of a tile."""
        if self.tiling is None:
            return self.shape
        return (self.tiling.tile, self.tiling.tile, *self.shape[2:])
