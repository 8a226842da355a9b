"""Samples that stand twice, to the bit or nearly: among the normals, or there and in the target."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data.samples import resize

NEAR = 1 / 255  # mean grey difference below which two pictures count as near duplicates
_NEAR_SIDE = 16

_COPY_SIDE = 32  # px at which normals are compared with each other
_COPY_SHARE = 0.25  # of what sets a normal apart; JPEG files of quality 50: at most .18, by trial
_ROUNDING = 1e-5  # of white, in float32; an image that nothing more sets apart is like no other
_ROWS = 256  # compared at a time: bounds the memory to 256 n numbers
_CHUNK = 4096  # in which copies are left out before the next: bounds the pairs, if all are alike


class Duplicates(NamedTuple):
    """Pairs (row among the normals, row of the target); normals are train, then held-out."""

    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]  # without the exact ones


class Copies(NamedTuple):
    """How many normals were left out, as they are copies of others: exact or nearly."""

    train: int  # of other train normals
    held_out: int  # of other held-out normals
    shared: int  # held-out normals that are copies of train normals


def find_duplicates(
    normal_hashes: list[str],
    target_hashes: list[str],
    normals: np.ndarray,
    target: np.ndarray,
    near: float,
) -> Duplicates:
    """Duplicates between normals `[n, ...]` and target `[m, ...]`, given the hashes of both.

    Near ones, by a mean difference of at most `near` (in units of white), among images only.
    """
    rows_of: dict[str, list[int]] = {}
    for row, value in enumerate(normal_hashes):
        rows_of.setdefault(value, []).append(row)
    exact = sorted(
        (row, t) for t, value in enumerate(target_hashes) for row in rows_of.get(value, [])
    )
    if normals.ndim != 4:
        return Duplicates(exact, [])
    pairs = _near_pairs(_thumbnails(normals, _NEAR_SIDE), _thumbnails(target, _NEAR_SIDE), near)
    return Duplicates(exact, sorted(set(pairs) - set(exact)))


def without_copies(
    arrays: Mapping[str, np.ndarray],
    hashes: Mapping[str, list[str]],
    orders: dict[str, list[int]],
    names: Mapping[str, Sequence[str]] | None,
) -> tuple[dict[str, list[int]], Copies, dict[str, str]]:
    """The orders of a problem's parts without copies among the normals; says what is left out.

    Args:
      arrays, hashes: of "train", "target" and perhaps "held_out", as given.
      orders: rows of each by content.
      names: of the samples as given, to name copies by; rows are numbered without.

    Returns:
      orders, numbers of copies, and hash of a near copy -> hash of what it is a copy of.

    Raises:
      InputError: too few are left.
    """
    parts = [name for name in ("train", "held_out") if name in arrays]
    rows = [(name, i) for name in parts for i in orders[name]]
    values = [hashes[name][i] for name, i in rows]
    originals = find_copies(values, np.concatenate([arrays[name][orders[name]] for name in parts]))
    if (originals == np.arange(len(rows))).all():
        return orders, Copies(0, 0, 0), {}
    near: dict[str, str] = {}
    kept: dict[str, list[int]] = {name: [] for name in parts}
    left_out: dict[tuple[str, str], list[int]] = {}  # (part, part of the original) -> rows
    for place, (name, i) in enumerate(rows):
        if originals[place] == place:
            kept[name].append(i)
        else:
            left_out.setdefault((name, rows[originals[place]][0]), []).append(i)
            if values[place] != values[originals[place]]:
                near[values[place]] = values[originals[place]]
    of = [("train", "train"), ("held_out", "held_out"), ("held_out", "train")]
    said = []
    for (part, other), copies in sorted(left_out.items(), reverse=True):
        which = [f"row {i}" if names is None else names[part][i] for i in sorted(copies)]
        whose = "others" if part == other else f"{other} normals"
        said.append(
            f"{len(copies)} of {len(arrays[part])} {part} normals are copies of {whose}, exact or "
            f"nearly: {_few(which)}"
        )
    said.append("copies count once: " + ", ".join(f"{len(kept[n])} {n}" for n in parts))
    for name in parts:
        if len(kept[name]) < 2:
            raise InputError("; ".join(said) + " left; give at least 2 different ones")
    warnings.warn("; ".join(said) + " left", DataWarning, stacklevel=4)
    return orders | kept, Copies(*(len(left_out.get(pair, ())) for pair in of)), near


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def find_copies(hashes: list[str], samples: np.ndarray) -> np.ndarray:
    """Row of the sample that each of `[n, ...]` is a copy of, `[n]`; its own if of none.

    Exact copies have one hash. Among images there are near copies, too: frames saved again in
    another format or size. Two images are, if they differ by at most one step of 255 on average at
    32 x 32 px, and by less than `_COPY_SHARE` of what sets either apart from the mean of all beside
    its brightness: plain parts, and parts in front of one camera, differ little, too, but by as
    much as each does from the mean. A re-saved image that lost what sets it apart is not found.

    The first of several copies in the order given is the one that the others are copies of. No
    chain is followed: every copy is near the one that it is a copy of. All pairs of like brightness
    are compared that are no copies yet, `_ROWS` samples at a time: in memory some thousand numbers
    a sample, and for 60,000 samples of 28 px about ten seconds of one core.
    """
    first: dict[str, int] = {}
    original = np.array([first.setdefault(value, row) for row, value in enumerate(hashes)])
    if samples.ndim == 4:
        rows = np.flatnonzero(original == np.arange(len(original)))
        looks = _looks(samples[rows])
        kept = np.ones(len(rows), bool)
        for start in range(0, len(rows), _CHUNK):
            chunk = np.arange(start, min(start + _CHUNK, len(rows)))
            known = np.append(np.flatnonzero(kept[:start]), chunk)
            for later, earlier in _alike(looks, chunk, known):
                for one in earlier[kept[earlier]]:
                    if _difference(samples[rows[[later, one]]]) <= NEAR + _ROUNDING:
                        original[rows[later]], kept[later] = rows[one], False
                        break
    return original[original]


class _Looks(NamedTuple):
    """What sets small images apart.

    Attributes:
      brightness: `[n]` means.
      apart: `[n, k]` what is left beside the brightness and the mean of all.
      size: `[n]` squared length of that.
    """

    brightness: np.ndarray
    apart: np.ndarray
    size: np.ndarray


def _looks(images: np.ndarray) -> _Looks:
    apart = _thumbnails(images, _COPY_SIDE)
    brightness = apart.mean(axis=1)
    apart -= brightness[:, None]
    apart -= apart.mean(axis=0, dtype=np.float64).astype(np.float32)
    return _Looks(brightness, apart, (apart * apart).sum(axis=1))


def _alike(looks: _Looks, rows: np.ndarray, known: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """For each of some rows, ascending, the earlier ones among `known` that look alike.

    Two do that differ by less than from the mean; rows without any are left out.
    """
    brightness, apart, size = looks
    rows, known = (some[np.argsort(brightness[some], kind="stable")] for some in (rows, known))
    pairs = [np.zeros((0, 2), int)]
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS]
        # The difference of two means is never above the mean absolute difference.
        darkest, brightest = brightness[block[[0, -1]]] + np.array([-1, 1]) * (NEAR + 2 * _ROUNDING)
        low = np.searchsorted(brightness[known], darkest, side="left")
        others = known[low : np.searchsorted(brightness[known], brightest, side="right")]
        distance = size[block, None] + size[others]
        distance -= 2 * apart[block] @ apart[others].T
        smaller = np.minimum(size[block, None], size[others])
        smaller[smaller < _ROUNDING**2 * apart.shape[1]] = 0
        close = np.maximum(distance, 0) < _COPY_SHARE**2 * smaller
        later, earlier = np.nonzero(close & (block[:, None] > others))
        pairs.append(np.stack([block[later], others[earlier]], axis=1))
    found = np.concatenate(pairs)
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    later, places = np.unique(found[:, 0], return_index=True)
    yield from zip(later.tolist(), np.split(found[:, 1], places[1:]), strict=False)


def _difference(pair: np.ndarray) -> float:
    """Mean absolute difference of two images `[2, h, w, c]` in all channels, in units of white."""
    sides = (min(_COPY_SIDE, side) for side in pair.shape[1:3])
    one, other = resize(pair.astype(np.float32), *sides)
    return float(np.abs(one - other).mean()) / _white(pair)


def _white(images: np.ndarray) -> int:
    return 255 if images.dtype == np.uint8 else 1


def _thumbnails(images: np.ndarray, most: int) -> np.ndarray:
    """Small grey copies in [0, 1] of at most `most` px a side, `[n, h, w, c] -> [n, k]` float32."""
    height, width = (min(most, side) for side in images.shape[1:3])
    scale = np.float32(_white(images))
    blocks = []
    for start in range(0, len(images), 1024):
        grey = images[start : start + 1024].mean(axis=3, keepdims=True, dtype=np.float32) / scale
        blocks.append(resize(grey, height, width).reshape(len(grey), -1))
    return np.concatenate(blocks)


def _near_pairs(normals: np.ndarray, target: np.ndarray, near: float) -> list[tuple[int, int]]:
    """Pairs of rows of `[n, k]` and `[m, k]` whose mean absolute difference is at most `near`."""
    # The difference of two means is never above the mean absolute difference: only a window of
    # similar brightness needs looking at.
    order = np.argsort(normals.mean(axis=1), kind="stable")
    brightness = normals.mean(axis=1)[order]
    window = near + 2 * _ROUNDING
    pairs = []
    for row, sample in enumerate(target):
        low, high = np.searchsorted(brightness, (sample.mean() - window, sample.mean() + window))
        for start in range(low, high, 4096):
            some = order[start : min(start + 4096, high)]
            close = np.abs(normals[some] - sample).mean(axis=1) <= near + _ROUNDING
            pairs += [(int(i), row) for i in some[close]]
    return pairs
