"""Which values of image files of more than 8 bits become black and white.

The training images alone say so; images that are read later are read as they are.
"""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Iterable

import numpy as np

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data.pictures import Picture, Reading, Values


def ends_of(range: object) -> tuple[float, float] | None:
    """The two ends that `range=` says.

    >>> ends_of("0-4095")
    (0.0, 4095.0)

    Raises:
      InputError: no two numbers, the smaller one first.
    """
    if range is None:
        return None
    ends: object = range
    if isinstance(range, str):
        match = re.fullmatch(r"\s*(-?[^-]+?(?:e-\d+)?)\s*-\s*(-?[^-]+(?:e-\d+)?)\s*", range)
        ends = match.groups() if match else ()
    try:
        low, high = (float(end) for end in ends)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = 0.0
    if not -np.inf < low < high < np.inf:
        raise InputError(
            f"range={range!r} is no LOW-HIGH; give the values that become black and white, like "
            "0-4095"
        )
    return low, high


def reading_of(
    train: list[Values], any_deep: bool, reading: Reading, root: pathlib.Path
) -> Reading:
    """The range and dtype by what images of more than 8 bits in train hold; the target has no say.

    Raises:
      InputError: a range is needed, or has nothing to do.
    """
    asked = reading.range
    if asked is not None and not any_deep:
        raise InputError(
            f"range={_text(asked)} is for images of more than 8 bits, and {root} has none; "
            "leave it out"
        )
    if not train:
        return reading
    low, high = min(one.low for one in train), max(one.high for one in train)
    whole = all(one.whole for one in train)
    repeated = all(one.repeated for one in train)
    if asked is None and (low < 0 or (not whole and high > 1)):
        raise InputError(
            f"train/ of {root} holds {'whole' if whole else 'float'} values {low:g} to {high:g}; "
            "give range=LOW-HIGH, the values that become black and white"
        )
    ends = asked or _ends(high, whole, repeated)
    same = whole and (ends == (0, 255) or (repeated and ends == (0, 65535)))
    share = (high - low) / (ends[1] - ends[0])
    told = []
    if asked is None and not repeated:
        told.append(
            f"has more than 8 bits, with values {low:g} to {high:g}: read as range={_text(ends)}, "
            "which range= changes"
        )
    if share < 1 / 8:
        told.append(
            f"uses {share:.1%} of range={_text(ends)}; range={_text((low, high))} would use all"
        )
    if told:
        warnings.warn(f"train/ of {root} {', and '.join(told)}", DataWarning, stacklevel=5)
    return reading._replace(range=ends, dtype="uint8" if same else "float32")


def _ends(high: float, whole: bool, repeated: bool) -> tuple[float, float]:
    """Black and white of values up to `high`: cameras have even numbers of bits."""
    if not whole:
        return 0.0, 1.0
    if repeated:
        return 0.0, 65535.0
    bits = max(8, int(high).bit_length())
    return 0.0, 2.0 ** (bits + bits % 2) - 1


class Tally:
    """Counts what reading did to pictures, for a warning at the end."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._pictures = self._clipped = self._deep = 0

    def count(self, seen: Iterable[Picture]) -> None:
        for one in seen:
            self._pictures += 1
            self._clipped += one.clipped
            self._deep += one.deep

    def say(self, where: object) -> None:
        """One warning each about clipped pictures and those of another depth than train's."""
        ends, shallow = self._reading.range, self._pictures - self._deep
        told = []
        if self._clipped and ends:
            told.append(
                f"{self._clipped} of {self._pictures} images hold values outside range="
                f"{_text(ends)}, which are clipped; a wider range= keeps them"
            )
        if ends and self._reading.dtype != "uint8" and shallow:
            told.append(
                f"{shallow} of {self._pictures} images have only 8 bits, unlike the training "
                "images; they are read as 0-255"
            )
        if ends is None and self._deep:
            told.append(
                f"{self._deep} of {self._pictures} images have more than 8 bits, unlike the "
                "training images; they are read as 0-65535 (floats 0-1), which range= changes"
            )
        for text in told:
            warnings.warn(f"{where}: {text}", DataWarning, stacklevel=3)


def _text(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.9g}-{ends[1]:.9g}"
