"""Problems of series: from arrays, and one that comes with the library.

The embedded series is made by the formula below, which was fixed before anything was trained on it.
"""

from collections.abc import Sequence

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.arrays import points_of
from ad_jax.data.problem import Problem
from ad_jax.data.truth import Truth
from ad_jax.data.windows import Cut, Points, as_values, cut_series, end_of_training, windows

__all__ = ["embedded", "from_arrays", "load_series", "windows"]

SEASON = 48  # points
TRAIN, TARGET = 50, 80  # seasons
_SEED = 1
KINDS = ("spike", "shift", "platform", "amplitude", "frequency", "trend", "noise", "lag")


def from_arrays(
    values: object,
    train_end: float | str,
    labels: object = None,
    *,
    length: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    breaks: Sequence[int] = (),
) -> tuple[Problem, Truth]:
    """The problem of one series and its sealed truth, from arrays.

    Args:
      values: `[t]` or `[t, c]`, finite numbers in any unit; constant channels may stay.
      train_end: how many first points are assumed normal and train, or their share below 1.
      labels: `[t]` or None, 0 = normal, any other number a kind of anomaly. Those of the training
        part are not looked at; none are before the truth is opened.
      length: points of a window; the period of the training part, see `windows.default_length`.
      stride: points between windows; 1 in the training part (more if there would be over 2048), and
        an eighth of a window in the target.
      limit: keep the first so many windows by content, of the training part and of the target.
      breaks: points before which time is missing; no window reaches across.

    Returns:
      Problem of windows `[length, c]` float32 and its truth; see `windows.cut_series`.

    Raises:
      InputError: values, labels or options that cannot be used.
    """
    kept = as_values("values", values)
    end = end_of_training(train_end, len(kept))
    given = None if labels is None else np.array(labels)
    if given is not None and given.shape != kept.shape[:1]:
        raise InputError(
            f"labels has shape {given.shape} for a series of {len(kept)} points; give one per point"
        )

    def read() -> Points:
        if given is None:
            raise InputError("the target of this series has no labels; give labels=")
        return points_of("labels", given)

    return cut_series(kept, end, read, Cut(length, stride, limit, breaks))


def embedded() -> tuple[np.ndarray, int, np.ndarray]:
    """The embedded series: a season of 48 points in two channels, and eight planted anomalies.

    Channel 0 is a sine with its first harmonic, channel 1 another phase of the season whose
    amplitude swings slowly; both carry noise of standard deviation .1, and channel 1 has a mean of
    5 and twice the scale. Each kind of anomaly stands once in the target, 12 to 48 points long.

    Returns:
      values `[6240, 2]` float32; how many of the points train; kinds `[6240]` of the points,
      numbered from 1 in the order of `KINDS`, 0 = normal.
    """
    rng = np.random.default_rng(_SEED)
    count, end = (TRAIN + TARGET) * SEASON, TRAIN * SEASON
    # Only `random` is used: its stream does not change between versions of numpy.
    noise = 0.1 * np.sqrt(3.0) * (rng.random((4, count, 2)).sum(0) - 2)
    order = np.argsort(rng.random(len(KINDS)), kind="stable")
    lengths = 12 + (37 * rng.random(len(KINDS))).astype(int)
    room = TARGET * SEASON // len(KINDS)
    offsets = (rng.random(len(KINDS)) * (room - lengths)).astype(int)
    kinds = np.zeros(count, np.uint8)
    phase = np.tile(2 * np.pi * np.arange(count)[:, None] / SEASON, (1, 2))
    scale, added = np.ones((count, 2)), noise
    for slot, kind in enumerate(order):
        start = end + slot * room + offsets[kind]
        part = slice(start, start + lengths[kind])
        kinds[part] = kind + 1
        _plant(KINDS[kind], part, phase, scale, added)
    slow = 1 + 0.3 * np.sin(phase[:, 1] / 10)
    first = scale[:, 0] * (np.sin(phase[:, 0]) + 0.3 * np.sin(2 * phase[:, 0] + 1)) + added[:, 0]
    second = 5 + 2 * (scale[:, 1] * slow * np.cos(phase[:, 1]) + added[:, 1])
    values = np.stack([first, second], 1)
    flat = np.flatnonzero(kinds == KINDS.index("platform") + 1)
    values[flat] = values[flat[0]]
    return values.astype(np.float32), end, kinds


def _plant(kind: str, part: slice, phase: np.ndarray, scale: np.ndarray, added: np.ndarray) -> None:
    """Changes phase, scale and what is added, `[t, 2]` each, in one part, as a kind has it."""
    count = part.stop - part.start
    if kind == "spike":
        added[part.start : part.stop : 6, 0] += 1.5
    elif kind == "shift":
        added[part, 0] += 0.8
    elif kind == "amplitude":
        scale[part, 1] *= 0.4
    elif kind == "frequency":
        phase[part, 0] += 2 * np.pi * np.arange(count) / SEASON
    elif kind == "trend":
        added[part, 1] += np.linspace(0.0, 1.2, count)
    elif kind == "noise":
        added[part] *= 4
    elif kind == "lag":
        phase[part, 1] += 1.2


def load_series(
    *, length: int | None = None, stride: int | None = None, limit: int | None = None
) -> tuple[Problem, Truth]:
    """The embedded series as a problem; see `embedded`.

    Args:
      length, stride, limit: see `from_arrays`; 48 and 6 points are what the training part gives.

    Returns:
      Problem of windows `[48, 2]` and its truth, with the kinds of anomalies by name.
    """
    values, end, kinds = embedded()

    def read() -> Points:
        return Points((kinds > 0).astype(np.uint8), ["" if k == 0 else KINDS[k - 1] for k in kinds])

    return cut_series(values, end, read, Cut(length, stride, limit))
