"""JSON as any parser reads it: one function that writes all of this library's.

JSON has no NaN and no infinities; Python writes them all the same, and strict parsers
(`jq`, browsers, Go, Rust) refuse the whole file. They become null here, and readers
turn null back into NaN (or infinity, where only that can stand).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A value of dicts, lists, numbers and texts, numpy's included, as JSON can hold it.

    >>> plain({"loss": float("nan"), "sizes": (1, np.float32(0.5), np.inf)})
    {'loss': None, 'sizes': [1, 0.5, None]}
    """
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON; what is not finite is null.

    Raises:
      TypeError: a value that is no dict, list, number, text, truth value or None.
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False)
