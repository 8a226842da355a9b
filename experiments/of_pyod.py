"""Detectors of PyOD, an optional extra, by name."""

from __future__ import annotations

import importlib
from typing import Any

from ad_jax.base.errors import InputError

MODULES = {"DeepSVDD": "deep_svdd"}  # where it is not the name in small letters


def kind(name: str) -> Any:
    """The class of a detector.

    Raises:
      InputError: PyOD, or what it needs, is not installed.
    """
    try:
        module = importlib.import_module(f"pyod.models.{MODULES.get(name, name.lower())}")
    except ImportError as error:
        raise InputError(f"this needs PyOD ({error}); pip install 'ad_jax[pyod]'") from None
    return getattr(module, name)
