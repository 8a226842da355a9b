"""Long series cut into windows of equal length: how long, where they start, and what they hold.

A series is `values [t, c]`; its first points, up to `train_end`, are assumed normal, and the others
are the target. Windows of the training part that overlap are nearly copies of each other, so it is
cut into blocks of time, and no window crosses from one block into the next: windows of different
blocks share no point, and the blocks are the groups of the problem.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.truth import Labels, Truth

BLOCKS = 8  # of time, which the training part is cut into
MOST = 2048  # windows to train on
SHORTEST, LONGEST = 16, 256  # points of a window, when nobody says
USUAL = 32  # points of a window of a series without a period
PERIODIC = 0.2  # autocorrelation from which a lag counts as a period
FEWEST = 4  # blocks with windows in them: folds are made of blocks


class Points(NamedTuple):
    """Labels of the points of a series, opened."""

    anomalous: np.ndarray  # [t] uint8
    kinds: Sequence[str]  # [t], "" for normals


class Cut(NamedTuple):
    """How a series is cut; None takes what fits.

    Attributes:
      length: points of a window.
      stride: points between the starts of two windows.
      limit: keep the first so many windows by content, of the training part and of the target.
      breaks: points before which time is missing; no window reaches across.
    """

    length: int | None = None
    stride: int | None = None
    limit: int | None = None
    breaks: Sequence[int] = ()


def as_values(name: str, values: object) -> np.ndarray:
    """A series in its kept form, `[t, c]` float32; `[t]` gets a channel axis.

    Raises:
      InputError: channels of unequal length, no numbers, or a missing value; the first is named.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name} has channels of unequal length; give an array [t, c]") from None
    if array.dtype.kind not in "buif":
        raise InputError(f"{name} has dtype {array.dtype}; give numbers")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}; give one series [t] or [t, c]")
    with np.errstate(over="ignore"):  # reported below
        kept = array.astype(np.float32) + np.float32(0)  # -0 becomes 0
    bad = np.argwhere(~np.isfinite(kept))
    if len(bad):
        row, channel = bad[0]
        raise InputError(
            f"{name} holds {array[row, channel]} in row {row}, channel {channel} ({len(bad)} "
            "values are not finite as float32); fill them, or cut them out as a gap in time"
        )
    return kept


def end_of_training(value: object, count: int) -> int:
    """How many first points train: a whole number of points, or a share above 0 and below 1.

    >>> end_of_training(600, 4000), end_of_training("0.25", 4000)
    (600, 1000)

    Raises:
      InputError: anything else, or no point left for the target.
    """
    try:
        number = float(np.asarray(value).item())
    except (TypeError, ValueError):
        number = float("nan")
    if 0 < number < 1:
        number = np.floor(number * count)
    if number != np.floor(number) or not 1 <= number < count:
        raise InputError(
            f"train_end={value} does not suit a series of {count} points; give how many first "
            f"points are normal, 1 to {count - 1}, or their share, like 0.3"
        )
    return int(number)


def period(values: np.ndarray) -> int | None:
    """Points after which a series `[t, c]` is most like itself; None if it never is.

    Every channel loses its straight line of least squares and gets unit variance. Of the sum of
    their autocorrelations (divided by t at every lag, so that of several periods the first is the
    highest) the highest local maximum counts, after the first lag where it is negative and up to
    half of the series, if its mean over channels that vary is at least `PERIODIC`.
    """
    count = len(values)
    time = np.arange(count) - (count - 1) / 2
    if count < 4:
        return None
    flat = values.astype(np.float64) - values.mean(0, dtype=np.float64)
    flat -= np.outer(time, time @ flat / (time @ time))
    spread = flat.std(0)
    varying = spread > 1e-6 * (1e-30 + np.abs(values).max(0))
    if not varying.any():
        return None
    spectrum = np.fft.rfft(flat[:, varying] / spread[varying], 2 * count, axis=0)
    along = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: count // 2 + 1].mean(1) / count
    negative = np.flatnonzero(along < 0)
    if not len(negative):
        return None
    inner = np.arange(max(1, negative[0]), len(along) - 1)
    peaks = inner[(along[inner] >= along[inner - 1]) & (along[inner] > along[inner + 1])]
    if not len(peaks) or along[peaks].max() < PERIODIC:
        return None
    return int(peaks[np.argmax(along[peaks])])


def default_length(train: np.ndarray) -> int:
    """Points of a window when nobody says: the period of the training part `[t, c]`.

    It is `USUAL` without a period; it is at least 16, and at most 256 and a sixteenth of the
    training part: then each of the eight blocks holds two windows that share no point.
    """
    most = min(LONGEST, max(SHORTEST, len(train) // (2 * BLOCKS)))
    return min(max(period(train) or USUAL, SHORTEST), most)


def starts(start: int, stop: int, length: int, stride: int) -> np.ndarray:
    """Where windows of the points from `start` to `stop` begin, `[n]`; the last ends at `stop`.

    >>> starts(0, 10, 4, 4)
    array([0, 4, 6])
    """
    last = stop - length
    if last < start:
        return np.zeros(0, int)
    return np.append(np.arange(start, last, stride), last)


def at(values: np.ndarray, starting: np.ndarray, length: int) -> np.ndarray:
    """The windows `[n, length, c]` of a series `[t, c]` that begin at some points `[n]`."""
    return values[starting[:, None] + np.arange(length)]


def windows(values: object, length: int, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """All windows of a series, at every `stride`-th point; the last ends with the series.

    Args:
      values: `[t]` or `[t, c]`.
      length, stride: in points.

    Returns:
      The windows `[n, length, c]` float32, and where they begin `[n]`.

    Raises:
      InputError: a series that is shorter than a window, or holds anything but finite numbers.
    """
    series = as_values("values", values)
    if not 1 <= length <= len(series) or stride < 1:
        raise InputError(
            f"length={length}, stride={stride} do not suit a series of {len(series)} points; give "
            "a length of at most that, and a stride from 1"
        )
    starting = starts(0, len(series), length, stride)
    return at(series, starting, length), starting


def starts_between(
    start: int, stop: int, length: int, stride: int, breaks: Sequence[int] = ()
) -> np.ndarray:
    """`starts` of every piece of the points from `start` to `stop` between breaks."""
    return _all_starts(_between(start, stop, breaks), length, stride)


def point_scores(
    starts: Sequence[int] | np.ndarray, length: int, scores: np.ndarray, count: int
) -> np.ndarray:
    """Score of every point `[count]`: the mean over the windows that cover it, NaN where none does.

    Args:
      starts: `[n]` first point of every window, in any order.
      length: points of a window.
      scores: `[n]` of the windows.
      count: points of the series.

    Raises:
      InputError: numbers that do not fit, or a window that leaves the series.
    """
    first, values = np.asarray(starts), np.asarray(scores, np.float64)
    if first.shape != values.shape or first.ndim != 1:
        raise InputError(
            f"scores of shape {values.shape} do not fit starts of shape {first.shape}; give one "
            "score per window"
        )
    if len(first) and not 0 <= first.min() <= first.max() <= count - length:
        raise InputError(
            f"windows of {length} points from {first.min()} to {first.max()} leave a series of "
            f"{count} points"
        )
    sums = np.zeros((2, count))
    add_to_points(sums, first, length, values)
    return point_means(sums)


def add_to_points(sums: np.ndarray, starts: np.ndarray, length: int, scores: np.ndarray) -> None:
    """Adds scores `[n]` of windows, and their number, to the points they cover: `sums [2, t]`."""
    inside = starts[:, None] + np.arange(length)
    np.add.at(sums[0], inside, scores[:, None])
    np.add.at(sums[1], inside, 1)


def point_means(sums: np.ndarray) -> np.ndarray:
    """Score of every point `[t]` from what `add_to_points` added up; NaN where no window does."""
    total, covered = sums
    return np.divide(total, covered, out=np.full(len(total), np.nan), where=covered > 0)


def _between(start: int, stop: int, breaks: Sequence[int]) -> list[tuple[int, int]]:
    """The pieces of `start` to `stop` between breaks."""
    edges = [start, *(b for b in sorted(breaks) if start < b < stop), stop]
    return list(zip(edges, edges[1:], strict=False))


def _all_starts(pieces: Iterable[tuple[int, int]], length: int, stride: int) -> np.ndarray:
    return np.concatenate([starts(*piece, length, stride) for piece in pieces])


def _in_blocks(end: int, length: int, cut: Cut) -> tuple[np.ndarray, np.ndarray]:
    """Where the windows to train on begin, and the block of each, `[n]` both."""
    edges = np.linspace(0, end, BLOCKS + 1).astype(int)
    pieces = [_between(a, b, cut.breaks) for a, b in zip(edges, edges[1:], strict=False)]
    stride = cut.stride or 1
    while True:
        found = [_all_starts(inside, length, stride) for inside in pieces]
        total = sum(map(len, found))
        if cut.stride or total <= MOST:
            break
        stride = max(stride + 1, stride * total // (2 * MOST))
    filled = sum(len(one) > 0 for one in found)
    if filled < FEWEST:
        raise InputError(
            f"gaps in time leave windows of {length} points in {filled} of the {BLOCKS} blocks of "
            f"the training part, and {FEWEST} are needed; give a smaller length="
        )
    return np.concatenate(found), np.repeat(np.arange(BLOCKS), list(map(len, found)))


def _length(values: np.ndarray, end: int, given: int | None) -> int:
    length = default_length(values[:end]) if given is None else given
    if length * BLOCKS > end:
        least = f"give at least {BLOCKS * length} points to train on"
        raise InputError(
            f"the {end} points before train_end={end} do not hold {BLOCKS} blocks of windows of "
            f"length={length}; {least}"
            + (f", or length= of at most {end // BLOCKS}" if end >= 2 * BLOCKS else "")
        )
    if length > len(values) - end:
        raise InputError(
            f"the {len(values) - end} points after train_end={end} are fewer than a window of "
            f"length={length}; give a smaller length= or train_end="
        )
    return length


def cut_series(
    values: np.ndarray, end: int, read: Callable[[], Points], cut: Cut = Cut()
) -> tuple[Problem, Truth]:
    """The problem and the sealed truth of the windows of one series.

    Windows to train on start at every point, as long as there are at most 2048, else at the
    smallest stride that keeps to that; those of the target at every eighth of a window. Every block
    and piece between gaps has a last window that ends where it ends, so that every point of the
    target is in a window, unless it stands between gaps that are closer than a window.

    Args:
      values: `[t, c]` float32, as of `as_values`.
      end: how many first points train.
      read: returns the labels of all points; not called here.
      cut: how.

    Returns:
      Problem of samples `[length, c]`, its groups the blocks of time, and its truth: a window is
      anomalous if any of its points is, of the kind of the first; masks are of points `[length]`;
      names are `values[start:stop]`.

    Raises:
      InputError: a part that is too short for its windows.
    """
    length = _length(values, end, cut.length)
    train, blocks = _in_blocks(end, length, cut)
    stride = cut.stride or max(1, length // 8)
    target = starts_between(end, len(values), length, stride, cut.breaks)
    if not len(target):
        raise InputError(
            f"gaps in time leave no window of {length} points after train_end={end}; give a "
            "smaller length="
        )

    def labels() -> Labels:
        points = read()
        inside = target[:, None] + np.arange(length)
        masks = np.asarray(points.anomalous, np.uint8)[inside]
        first = inside[np.arange(len(target)), masks.argmax(axis=1)]
        anomalous = masks.max(axis=1)
        kinds = [points.kinds[i] if a else "" for i, a in zip(first, anomalous, strict=True)]
        return Labels(anomalous, kinds, lambda row: masks[row])

    return sealed(
        train=at(values, train, length),
        target=at(values, target, length),
        names=[f"values[{i}:{i + length}]" for i in target],
        read=labels,
        groups=blocks.tolist(),
        limit=cut.limit,
        series=True,
        distinct=False,
    )
