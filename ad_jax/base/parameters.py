"""Parameters as plain Python values, checked where they come in.

Numbers and names out of numpy or JAX (`np.int64(150)`, an array without axes) would train, and then
not save, or name another row of the record than the same plain value.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from ad_jax.base.errors import InputError

ROOT_MOST = 2**32 - 1  # a root of random keys is kept in 32 bits
SEED_MOST = 2**31 - 1  # seeds reach compiled programs as int32


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b"


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number, also one of numpy or JAX.

    >>> import numpy as np
    >>> whole("steps", np.int64(150))
    150

    Raises:
      InputError: anything else, a truth value included, or a number out of range.
    """
    try:
        if _is_flag(value):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name}={value!r} is no whole number; give one like 4") from None
    if (least is not None and number < least) or (most is not None and number > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise InputError(f"{name}={number} is out of range; give {bounds}")
    return number


def real(name: str, value: Any) -> float:
    """A finite number; plain ones stay as they are.

    Raises:
      InputError: anything else, a truth value included.
    """
    try:
        if _is_flag(value) or isinstance(value, (str, bytes)):
            raise TypeError
        number = value if type(value) in (int, float) else float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}={value!r} is no number; give one like 0.1") from None
    if not math.isfinite(number):
        raise InputError(f"{name}={number} is not finite; give a number like 0.1")
    return number


def word(name: str, value: Any) -> str:
    """A name as plain text.

    Raises:
      InputError: no text.
    """
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if not isinstance(value, str):
        raise InputError(f"{name}={value!r} is no name; give a text like 'encoder'")
    return str(value)


def numbered(seeds: Any) -> tuple[int, ...]:
    """Seeds 0, 1, … of a number of them, or the seeds as they are.

    Raises:
      InputError: none, or negative, repeated or very large ones, or what is no whole number.
    """
    if hasattr(seeds, "__index__") and getattr(seeds, "ndim", 0) == 0 or _is_flag(seeds):
        return tuple(range(whole("seeds", seeds, 1, SEED_MOST)))
    try:
        listed = list(seeds)
    except TypeError:
        raise InputError(f"seeds={seeds!r}: give a number from 1 on, or different seeds") from None
    numbers = tuple(whole("seed", one, 0, SEED_MOST) for one in listed)
    if not numbers or len(set(numbers)) != len(numbers):
        raise InputError(f"seeds={seeds!r}: give a number from 1 on, or different seeds")
    return numbers
