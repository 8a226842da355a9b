"""Choose and tune augmentations for anomaly detection, without labels.

`load` a problem, `select` an augmentation by its unlabelled target, keep the `Detector`, and
`evaluate.audit` it where labels exist. Names load on first use: importing the package is cheap.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "load": "ad_jax.data",
    "Problem": "ad_jax.data",
    "Truth": "ad_jax.data",
    "select": "ad_jax.selection",
    "Selection": "ad_jax.selection",
    "tune": "ad_jax.tuning",
    "Tuned": "ad_jax.tuning",
    "setting": "ad_jax.search",
    "Pool": "ad_jax.pool",
    "Detector": "ad_jax.detector",
    "InputError": "ad_jax.errors",
}
_ROOMS = (
    "augment",
    "alignment",
    "evaluate",
    "localise",
    "ranks",
    "rules",
    "scores",
    "search",
    "tiles",
)

__all__ = [*_ROOMS, *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"ad_jax.{name}")
    raise AttributeError(f"module 'ad_jax' has no attribute {name!r}")
