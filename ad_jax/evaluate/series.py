"""Scores of windows as scores of time points, and what these are worth.

Point adjustment, where one flagged point counts for a whole anomaly, is not offered: with it random
scores do as well as published detectors (Kim et al., AAAI 2022), and long anomalies make it worse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt

from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.data import Labels
from ad_jax.data.windows import point_scores

NAME = re.compile(r"values\[(\d+):(\d+)\]$")  # of a window, as sources of series name it


class Timeline(NamedTuple):
    """Where the windows of a target lie in their series, and the labels of its points.

    Attributes:
      starts: `[n]` first point of every window; length: of a window.
      anomalous: `[t]` uint8 of the points up to the last one that a window covers.
    """

    starts: np.ndarray
    length: int
    anomalous: np.ndarray

    def points(self, scores: np.ndarray) -> np.ndarray:
        """Scores `[t]` of the points, from those of the windows `[n]`; see `point_scores`."""
        return point_scores(self.starts, self.length, scores, len(self.anomalous))


class Points(NamedTuple):
    """What scores of points are worth; points that no window covers are left out.

    Attributes:
      auroc, average_precision: over points.
      vus_pr: volume under the precision-recall surface, see `vus_pr`.
    """

    auroc: float
    average_precision: float
    vus_pr: float


def timeline(names: Sequence[str], labels: Labels) -> Timeline | None:
    """Where the windows of a target lie; None of samples that are no windows of a labelled series.

    Args:
      names: `[n]` of the windows, `values[start:stop]`.
      labels: of the same windows, with masks.
    """
    found = [NAME.search(name) for name in names]
    if labels.masks is None or not found or not all(found):
        return None
    places = np.array([[int(one[1]), int(one[2])] for one in found if one])
    starts, length = places[:, 0], int(places[0, 1] - places[0, 0])
    anomalous = np.zeros(places[:, 1].max(), np.uint8)
    for row, start in enumerate(starts):
        mask = labels.masks(row)
        if mask is None or mask.shape != (length,):
            return None
        anomalous[start : start + length] = mask
    return Timeline(starts, length, anomalous)


def audit_points(scores: np.ndarray, line: Timeline, longest: int | None = None) -> Points:
    """What scores of windows `[n]` are worth point by point.

    Args:
      scores: `[n]` of the windows of `line`; one that is not finite makes all figures NaN.
      line: where they lie, and the labels.
      longest: tolerance of VUS-PR; the length of a window when not said.

    Raises:
      InputError: labels of one class.
    """
    if not np.isfinite(scores).all():
        return Points(*[float("nan")] * 3)
    points = line.points(scores)
    known = ~np.isnan(points)
    low, high = (points[known & (line.anomalous == value)] for value in (0, 1))
    if not len(low) or not len(high):
        raise InputError("all points have one label, so AUROC is undefined; it needs both classes")
    return Points(
        float(ranks.auroc_rows(low[None], high[None])[0]),
        float(ranks.average_precision_rows(low[None], high[None])[0]),
        vus_pr(points, line.anomalous, line.length if longest is None else longest),
    )


def vus_pr(scores: np.ndarray, anomalous: np.ndarray, longest: int) -> float:
    """Volume under the precision-recall surface over tolerances (Paparrizos et al., VLDB 2022).

    At a tolerance of w points a point at distance d from the nearest anomalous one has the soft
    label y = 1 if d = 0, sqrt(1 - d / w) if d <= floor(w / 2), else 0. A threshold flags the set F
    of the points that score at least as high, and

        TP = sum of y over F, precision = TP / (size of F),
        recall = min(1, TP / P) * E, P = anomalous points + (sum of y over F that are not) / 2.

    E, the reward of existence, is the share of anomalies that F touches: runs of anomalous points,
    longer by floor(w / 2) on both sides, where those that share a point are one. The area is the
    sum over thresholds, from the highest score down, of precision times the growth of recall; every
    distinct score is a threshold. The volume is its mean over w = 0, 1, …, `longest`.

    It is as their own program computes it, but that all thresholds count, not 250, and that where
    the ramps of two anomalies overlap the nearer one decides. 1 is perfect; constant scores have
    the mean soft label, a little more than the share of anomalous points. With one anomaly and
    `longest` of 0 it is the average precision.

    Args:
      scores: `[t]`, higher = more anomalous; points of NaN are left out, but keep their time.
      anomalous: `[t]`, 1 = anomalous.
      longest: tolerance in points.

    Raises:
      InputError: sizes that do not fit, or no anomalous or no other points.
    """
    scores, anomalous = np.asarray(scores, np.float64), np.asarray(anomalous) != 0
    known = ~np.isnan(scores)
    if scores.shape != anomalous.shape or scores.ndim != 1:
        raise InputError(f"scores of shape {scores.shape} do not fit labels {anomalous.shape}")
    if not anomalous[known].any() or anomalous[known].all() or longest < 0:
        raise InputError(
            f"VUS-PR needs anomalous and other points and longest of at least 0, not {longest}"
        )
    order = np.flatnonzero(known)[np.argsort(-scores[known], kind="stable")]
    thresholds, last = _steps(scores[order])
    distance = distance_transform_edt(~anomalous)[order]
    inside = distance == 0
    hits = np.cumsum(inside)[last]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], anomalous.view(np.int8), [0]])))
    runs = edges.reshape(-1, 2)  # [k, 2] start and stop
    padded = np.append(np.where(known, scores, -np.inf), -np.inf)
    total = 0.0
    for width in range(longest + 1):
        near = distance <= width // 2
        near &= ~inside
        soft = inside.astype(np.float64)
        soft[near] = np.sqrt(1 - distance[near] / max(width, 1))
        true = np.cumsum(soft)[last]
        recall = np.minimum(1.0, true / (hits[-1] + (true - hits) / 2))
        recall *= _touched(padded, runs, width // 2, thresholds)
        total += float((np.diff(recall, prepend=0.0) * true / (last + 1)).sum())
    return total / (longest + 1)


def _steps(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct scores, from the highest down, and the last place of each in the order."""
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    return ordered[last], last


def _touched(
    padded: np.ndarray, runs: np.ndarray, reach: int, thresholds: np.ndarray
) -> np.ndarray:
    """Share of the anomalies, `reach` longer on both sides, that every threshold touches."""
    start = np.maximum(runs[:, 0] - reach, 0)
    stop = np.minimum(runs[:, 1] + reach, len(padded) - 1)
    first = np.append(True, start[1:] >= stop[:-1])
    final = np.append(first[1:], True)
    both = np.stack([start[first], stop[final]], 1).ravel()
    highest = np.sort(np.maximum.reduceat(padded, both)[::2])
    highest = highest[highest > -np.inf]  # of which a point is known
    return 1 - np.searchsorted(highest, thresholds, side="left") / len(highest)
