"""Which normals a seed trains on and which it holds out; no name or order has a say in it."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError

FOLDS = 4
MIN_FOLDED = 8  # normals that fill so many folds with two each; of fewer, one at a time is left out


class Split(NamedTuple):
    """Normals of one seed."""

    train: np.ndarray  # [n, ...]
    held_out: np.ndarray  # [m, ...]


def number_groups(groups: Iterable[Hashable], hashes: list[str]) -> np.ndarray:
    """Number groups by the contents of their samples, so that their names leave no trace."""
    if isinstance(groups, (Mapping, str, bytes)) or not isinstance(groups, Iterable):
        raise InputError(
            f"groups is a {type(groups).__name__}; give a list of strings or ints, one for every "
            "train sample"
        )
    labels = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    if len(labels) != len(hashes):
        raise InputError(f"groups holds {len(labels)} values for {len(hashes)} train samples")
    for row, label in enumerate(labels):
        # NaN equals nothing, not even itself: which samples it joins would be chance.
        if label is None or isinstance(label, (float, np.floating)) and np.isnan(label):
            raise InputError(f"groups holds {label} in row {row}; give every train sample a group")
    contents: dict[Hashable, list[str]] = {}
    try:
        for label, value in zip(labels, hashes, strict=True):
            contents.setdefault(label, []).append(value)
    except TypeError:
        raise InputError(
            "groups holds values that are not hashable; give strings or ints"
        ) from None
    number = {
        label: i for i, label in enumerate(sorted(contents, key=lambda k: sorted(contents[k])))
    }
    return np.array([number[label] for label in labels], np.int32)


def first_by_content(
    hashes: list[str], limit: int, groups: Sequence[Hashable] | None = None
) -> list[int]:
    """Rows of the first samples by the hash of their content.

    Of equal samples in several groups the group's number says which stay, as in a problem.
    """
    ties = [0] * len(hashes) if groups is None else number_groups(groups, hashes).tolist()
    return sorted(range(len(hashes)), key=lambda i: (hashes[i], ties[i]))[:limit]


def divide(units: np.ndarray, parts: int, called: str) -> np.ndarray:
    """Part of each sample, `[n]` int32 in 0..parts-1, parts of like size.

    Whole units stay together, the largest placed first, each into the smallest part so far.

    Args:
      units: `[n]` number of each sample's unit.
      parts: how many.
      called: what a unit is, for the message.

    Raises:
      InputError: fewer units than parts.
    """
    sizes = np.bincount(units)
    if len(sizes) < parts:
        raise InputError(
            f"train holds {len(sizes)} {called}, fewer than the {parts} folds; give held_out, or "
            f"normals of at least {parts} {called}"
        )
    part_of_unit = np.zeros(len(sizes), np.int32)
    filled = np.zeros(parts, np.int64)
    for unit in sorted(range(len(sizes)), key=lambda u: (-sizes[u], u)):
        part_of_unit[unit] = np.argmin(filled)
        filled[part_of_unit[unit]] += sizes[unit]
    return part_of_unit[units]


def number_of(folds: np.ndarray) -> int:
    """How many folds there are, from the fold of each sample `[n]`."""
    return int(folds.max()) + 1


def split_rows(folds: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`Problem.split_rows` of samples whose folds are `folds [n]`."""
    counts = np.bincount(folds)
    held_out = folds == seed % len(counts)
    n_train = len(folds) - counts.max()
    return np.flatnonzero(~held_out)[:n_train], np.flatnonzero(held_out)[: counts.min()]
