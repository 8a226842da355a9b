"""Choose and tune augmentations for anomaly detection, without labels.

`load` a problem, `select` an augmentation by its unlabelled target, keep the `Detector`, and
`evaluate.audit` it where labels exist. Names load on first use: importing the package is cheap.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"  # the only place: setup.py reads this line

_HOMES = {
    "load": "ad_jax.data",
    "Problem": "ad_jax.data",
    "Truth": "ad_jax.data",
    "select": "ad_jax.selection",
    "Selection": "ad_jax.selection",
    "tune": "ad_jax.selection.tuning",
    "Tuned": "ad_jax.selection.tuning",
    "setting": "ad_jax.selection.search",
    "Config": "ad_jax.train.setting",
    "Pool": "ad_jax.pool",
    "Detector": "ad_jax.estimator",
    "InputError": "ad_jax.base.errors",
}
ROOMS = {
    "alignment": "ad_jax.alignment",
    "augment": "ad_jax.augment",
    "detect": "ad_jax.detect",
    "evaluate": "ad_jax.evaluate",
    "localise": "ad_jax.detect.localise",
    "pool": "ad_jax.pool",
    "ranks": "ad_jax.base.ranks",
    "rules": "ad_jax.selection.rules",
    "scores": "ad_jax.detect.scores",
    "search": "ad_jax.selection.search",
    "selection": "ad_jax.selection",
    "tiles": "ad_jax.detect.tiles",
    "tuning": "ad_jax.selection.tuning",
}

__all__ = ["__version__", *ROOMS, *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ROOMS:
        return import_module(ROOMS[name])
    raise AttributeError(f"module 'ad_jax' has no attribute {name!r}")
