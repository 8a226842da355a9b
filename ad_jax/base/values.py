"""Values of hyperparameters: one number, or the numbers of a vector."""

from __future__ import annotations

from typing import Any

import numpy as np

Value = float | tuple[float, ...]  # of a hyperparameter


def numbers(value: Any) -> tuple[float, ...]:
    """The numbers of a hyperparameter's value: several of a vector, else one."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def owner(label: str) -> str:
    """The hyperparameter of a number's label, see `Space.labels`.

    >>> owner("std[3]")
    'std'
    """
    return label.partition("[")[0]


def typical(value: Any) -> float:
    """A hyperparameter's value as one number: of a vector the mean."""
    return float(np.mean(numbers(value)))
