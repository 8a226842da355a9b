"""Heatmaps against masks: pixel AUROC and average precision, and AUPRO.

All three follow from how many normal pixels, how many defective pixels and how many shares of a
defect lie at every score. These are counted by sorting all pixels, or, where there are too many, in
narrow bins of the scores; then only one map is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data import Labels

LIMIT = 0.3  # false positive rate up to which AUPRO looks (Bergmann et al., CVPR 2020)
EXACT = 2**24  # pixels that are sorted at most
BINS = 2**18


@dataclass(frozen=True)
class Pixels:
    """What heatmaps are worth.

    Attributes:
      auroc, average_precision: over pixels of all images, defective ones positive.
      aupro: mean share of each defect that is found, averaged over false positive rates of normal
        pixels from 0 to 30 %; 1 is perfect, chance is about .15.
      regions: number of defects.
      share: defective share of all pixels.
      images: images judged; `left_out` anomalous ones have no mask, or an empty one.
    """

    auroc: float
    average_precision: float
    aupro: float
    regions: int
    share: float
    images: int
    left_out: int


class Counts(NamedTuple):
    """Per score, from the highest down `[k]`: normal and defective pixels, shares of defects."""

    normal: np.ndarray
    defective: np.ndarray
    overlap: np.ndarray


def regions_of(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number of the defect at every pixel `[h, w]`, 0 = none, and how many; corners join, too."""
    from scipy.ndimage import label

    numbered, count = label(np.asarray(mask) != 0, structure=np.ones((3, 3)))
    return numbered, int(count)


def judged(labels: Labels) -> tuple[list[tuple[int, np.ndarray | None]], int]:
    """Rows with their masks (None: a normal, no pixel is defective), and how many are left out.

    Raises:
      InputError: labels without masks.
    """
    if labels.masks is None:
        raise InputError("the target has no masks, so its heatmaps cannot be judged")
    rows: list[tuple[int, np.ndarray | None]] = []
    left_out = 0
    for row, anomalous in enumerate(labels.anomalous):
        mask = labels.masks(row) if anomalous else None
        if anomalous and (mask is None or not mask.any()):
            left_out += 1
        else:
            rows.append((row, mask))
    return rows, left_out


def _each(
    maps: Any, rows: list[tuple[int, np.ndarray | None]]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per image: scores, whether defective, and share of its defect, each `[h w]`."""
    for row, mask in rows:
        scores = np.asarray(maps[row])
        if mask is None:
            empty = np.zeros(scores.size)
            yield scores.ravel(), empty.astype(bool), empty
            continue
        if mask.shape != scores.shape:
            raise InputError(
                f"the heatmap of row {row} has shape {scores.shape}, its mask {mask.shape}; give "
                "heatmaps at the masks' size"
            )
        numbered, count = regions_of(mask)
        sizes = np.bincount(numbered.ravel(), minlength=count + 1)
        share = np.where(numbered > 0, 1.0 / sizes[numbered], 0.0)
        yield scores.ravel(), numbered.ravel() > 0, share.ravel()


def _add_up(places: np.ndarray, defective: np.ndarray, share: np.ndarray, size: int) -> Counts:
    """Counts at places `[n]` in 0..size-1."""
    everything = np.bincount(places, minlength=size)
    bad = np.bincount(places[defective], minlength=size)
    return Counts(everything - bad, bad, np.bincount(places, share, minlength=size))


def _counts(each: Callable[[], Iterator[Any]], bins: int | None) -> Counts:
    if bins is None:
        scores, defective, share = (np.concatenate(part) for part in zip(*each(), strict=True))
        _finite(scores)
        values, places = np.unique(scores, return_inverse=True)
        return Counts(*(c[::-1] for c in _add_up(places, defective, share, len(values))))
    low, high = np.inf, -np.inf
    for scores, *_ in each():
        _finite(scores)
        low, high = min(low, float(scores.min())), max(high, float(scores.max()))
    width = max(high - low, 1e-30) / bins
    total = Counts(*(np.zeros(bins) for _ in range(3)))
    for scores, defective, share in each():
        places = np.clip(((scores.astype(np.float64) - low) / width).astype(np.int64), 0, bins - 1)
        total = Counts(*map(np.add, total, _add_up(places, defective, share, bins)))
    filled = total.normal + total.defective > 0
    return Counts(*(part[filled][::-1] for part in total))


def _finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise InputError("a heatmap holds NaN or infinite values; see that its network was trained")


def area_up_to(x: np.ndarray, y: np.ndarray, limit: float) -> float:
    """Area under the line through points `x, y [k]` (x ascending from 0) up to `limit`, over it."""
    inside = x <= limit
    x_cut = np.append(x[inside], limit)
    y_cut = np.append(y[inside], np.interp(limit, x, y))
    return float(np.trapezoid(y_cut, x_cut) / limit)


def audit_pixels(
    maps: Any, labels: Labels, limit: float = LIMIT, bins: int | None = None
) -> Pixels:
    """Judges heatmaps by the masks of opened labels.

    Args:
      maps: `maps[row]` is `[h, w]`, higher = stranger: an array `[n, h, w]`, or anything that makes
        a map when asked (twice per row, if there are too many pixels to sort).
      labels: of the same target, with masks.
      limit: false positive rate up to which AUPRO is taken.
      bins: of the range of scores; exact by sorting when not said and pixels are few enough
        (`EXACT`), else `BINS`. Pixels of one bin count as ties.

    Raises:
      InputError: no masks, no defects or no normal pixels, sizes that do not fit, NaN.
    """
    rows, left_out = judged(labels)
    if not any(mask is not None for _, mask in rows):
        raise InputError("no image of the target has a mask with a defect, nothing to judge by")
    pixels = len(rows) * np.asarray(maps[rows[0][0]]).size
    if bins is None and pixels > EXACT:
        bins = BINS
    counts = _counts(lambda: _each(maps, rows), bins)
    normal, defective, overlap = (np.cumsum(part, dtype=np.float64) for part in counts)
    if normal[-1] == 0:
        raise InputError("every pixel is defective by the masks, so there is no false positive")
    regions = sum(regions_of(mask)[1] for _, mask in rows if mask is not None)
    false, true = (np.append(0.0, part / part[-1]) for part in (normal, defective))
    precision = defective / (normal + defective)
    return Pixels(
        auroc=float(np.trapezoid(true, false)),
        average_precision=float((counts.defective * precision).sum() / defective[-1]),
        aupro=area_up_to(false, np.append(0.0, overlap / regions), limit),
        regions=regions,
        share=float(defective[-1] / (normal[-1] + defective[-1])),
        images=len(rows),
        left_out=left_out,
    )
