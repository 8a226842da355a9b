"""Samples that stand among the normals and in the target, to the bit or nearly."""

from typing import NamedTuple

import numpy as np

from ad_jax.data.samples import resize

NEAR = 1 / 255  # mean grey difference below which two pictures count as near duplicates
_NEAR_SIDE = 16


class Duplicates(NamedTuple):
    """Pairs (row among the normals, row of the target); normals are train, then held-out."""

    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]  # without the exact ones


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
    pairs = _near_pairs(_thumbnails(normals), _thumbnails(target), near)
    return Duplicates(exact, sorted(set(pairs) - set(exact)))


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Small grey copies in [0, 1], `[n, h, w, c] -> [n, k]` float32."""
    height, width = (min(_NEAR_SIDE, side) for side in images.shape[1:3])
    scale = np.float32(255 if images.dtype == np.uint8 else 1)
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
    window = near + 1e-5  # float32 means
    pairs = []
    for row, sample in enumerate(target):
        low, high = np.searchsorted(brightness, (sample.mean() - window, sample.mean() + window))
        for start in range(low, high, 4096):
            some = order[start : min(start + 4096, high)]
            close = np.abs(normals[some] - sample).mean(axis=1) <= near
            pairs += [(int(i), row) for i in some[close]]
    return pairs
