"""`ad-jax score --points`: scores of the points of series, from those of their windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import IO

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.frame import texts
from ad_jax.data.stream import Batch, Line
from ad_jax.data.windows import add_to_points, point_means
from ad_jax.store import tables

COLUMNS = ("path", "point", "time", "score")


class PointTable:
    """Writes a CSV file of points, one series after the other.

    A point's score is the mean over the windows that cover it; its cell is empty where none does,
    and `time` is where the series has no column of it. There is no p-value: held-out normals tell
    how windows score, and a mean of windows that overlap scores otherwise.

    Args:
      file: opened with `newline=""`.
    """

    def __init__(self, file: IO[str]) -> None:
        self._write = tables.writer(file, "\n")
        self._write(COLUMNS)
        self._line: Line | None = None
        self._sums = np.zeros((2, 0))  # of scores, and of windows, per point

    def add(self, batch: Batch, names: Sequence[str], scores: Sequence[float]) -> None:
        """Takes the windows of a batch that have a score.

        Raises:
          InputError: they are no windows of a long series.
        """
        if batch.line is None or batch.starts is None:
            if not batch.names:
                return
            raise InputError(
                f"{batch.names[0]} is a window that was cut already, and nothing says where it "
                "lies; leave --points out, or give a table, or a .npz with values"
            )
        if batch.line is not self._line:
            self.end()
            self._line, self._sums = batch.line, np.zeros((2, batch.line.points))
        start_of = dict(zip(batch.names, batch.starts.tolist(), strict=True))
        starts = np.array([start_of[name] for name in names], int)
        add_to_points(self._sums, starts, batch.line.length, np.array(scores, np.float64))

    def end(self) -> None:
        """Writes the points of the last series."""
        if self._line is None:
            return
        path, count, _, stamps = self._line
        times = [""] * count if stamps is None else texts(stamps).tolist()
        for point, score in enumerate(point_means(self._sums).tolist()):
            shown = "" if math.isnan(score) else f"{score:.6g}"
            self._write((path, point, times[point], shown))
        self._line = None
