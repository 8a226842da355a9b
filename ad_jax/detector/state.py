"""What a fitted detector is, as data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ad_jax.data import Problem
from ad_jax.errors import InputError
from ad_jax.pool import Setting
from ad_jax.program import Config

ARRAYS = ("params", "mean", "precision", "held_out")


class NotFitted(InputError, AttributeError):
    """Something was asked of a detector that has not been trained yet."""


class Loading(NamedTuple):
    """How image files become samples, so that scoring loads them as training did.

    Size and colour follow from the detector's shape.

    Attributes:
      fit: how a picture becomes square: "stretch", "crop" or "pad" (see `ad_jax.load`).
    """

    fit: str = "stretch"


class State(NamedTuple):
    """Everything that a fitted detector knows.

    Attributes:
      setting: what was trained.
      score: the score of every seed: "density" or "head".
      shape: of one sample, `(h, w, c)` or `(d,)`.
      dtype: of the normals it was trained on.
      config: of the training.
      seeds: of the trainings.
      folds: per seed, which held-out normals are its own: equal numbers, the same normals.
      arrays: `params [seeds, p]`, `mean [seeds, d]`, `precision [seeds, d, d]`,
        `held_out [seeds, m]` (scores of each seed's held-out normals, in the order of content).
    """

    setting: Setting
    score: str
    shape: tuple[int, ...]
    dtype: str
    config: Config
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    arrays: dict[str, np.ndarray]


def fold_of(problem: Problem, seed: int) -> int:
    """Number of the held-out normals of a seed; see `Problem.split`."""
    return 0 if problem.held_out is not None else seed % 4


def held_out_count(problem: Problem, seeds: tuple[int, ...]) -> int:
    """Normals that are held out by at least one seed."""
    if problem.held_out is not None:
        return len(problem.held_out)
    return sum(len(problem.split_rows(fold)[1]) for fold in {fold_of(problem, s) for s in seeds})
