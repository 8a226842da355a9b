"""The normals of a fit: which seed holds out which, by whole samples also where tiles are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ad_jax.data import Problem
from ad_jax.data.folds import Split, number_of, split_rows
from ad_jax.detect.tiles import Tiled


@dataclass(frozen=True, eq=False)
class Normals:
    """Normals in the order of content, and their folds.

    Attributes:
      train: `[n, ...]` whole samples.
      held_out: `[k, ...]` normals that no seed trains on, or None.
      folds: `[n]`, or None where normals are held out apart.
      problem: whose they are.
    """

    train: np.ndarray
    held_out: np.ndarray | None
    folds: np.ndarray | None
    problem: Problem

    @classmethod
    def of(cls, problem: Problem, cuts: Tiled | None = None) -> Normals:
        """The normals of a problem; where tiles of it are trained on, in the tiles' folds.

        Raises:
          InputError: too few normals or groups to hold some out.
        """
        if problem.held_out is not None:
            return cls(problem.train, problem.held_out, None, problem)
        folds = problem.folds  # of tiles, too: too few images are refused in images
        return cls(problem.train, None, folds if cuts is None else cuts.folds, problem)

    def fold(self, seed: int) -> int:
        """Number of the held-out normals of a seed."""
        return 0 if self.folds is None else seed % number_of(self.folds)

    def rows(self, fold: int) -> np.ndarray:
        """Rows `[m]` of `train` that a fold holds out; without folds there are none."""
        return np.zeros(0, int) if self.folds is None else split_rows(self.folds, fold)[1]

    def split(self, seed: int) -> Split:
        """The normals of one seed, as `Problem.split`."""
        if self.held_out is not None:
            return Split(self.problem.copied, self.held_out)
        assert self.folds is not None
        train, held_out = split_rows(self.folds, seed)
        return Split(self.problem.copied[self.problem.rows_copied(train)], self.train[held_out])

    def count(self, seeds: tuple[int, ...]) -> int:
        """Normals that are held out by at least one seed."""
        if self.held_out is not None:
            return len(self.held_out)
        return sum(len(self.rows(fold)) for fold in {self.fold(seed) for seed in seeds})
