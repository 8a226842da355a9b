"""Hyperparameter selection without labels.

`search` says what is tried, `rules` judge a pool, `selection` picks and says how far to trust the
pick (`trust`, `failure_modes`); `tuning` descends alignment by gradient instead; `cost` estimates
what a search takes.
"""

from ad_jax.selection.selection import (
    Judged,
    Selection,
    choose,
    judge,
    of_images,
    select,
    select_all,
    train_one,
)
from ad_jax.selection.spec import SEEDS, Runtime, Spec

__all__ = [
    "SEEDS",
    "Judged",
    "Runtime",
    "Selection",
    "Spec",
    "choose",
    "judge",
    "of_images",
    "select",
    "select_all",
    "train_one",
]
