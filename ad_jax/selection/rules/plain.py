"""Rules that look at no sample: chance, the catalogue's defaults, the training loss."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from ad_jax.augment import CATALOGUE, SERIES
from ad_jax.base.values import typical
from ad_jax.pool import Pool
from ad_jax.selection.rules.contract import Rule
from ad_jax.train.setting import Setting


def random(pool: Pool) -> np.ndarray:
    """A number in [0, 1) from a hash of the setting's key: the same every time, for every seed."""
    digests = [hashlib.sha256(member.setting.key.encode()).digest() for member in pool.members]
    return np.array([int.from_bytes(digest[:6], "big") / 2**48 for digest in digests])


def _from_default(setting: Setting) -> float:
    entry = {**CATALOGUE, **SERIES}.get(setting.augmentation)
    if setting.pretext in ("control", "external") or entry is None:
        return math.inf
    if entry.strength is None:
        return 0.0
    strength = entry.space[entry.strength]
    return abs(strength.distance(strength.default, typical(setting.hyper[entry.strength])))


def default_setting(pool: Pool) -> np.ndarray:
    """How far a setting's strength is from the catalogue's default, as a share of its range.

    Measured on the hyperparameter's own scale (logarithmic or linear). What had to be chosen: the
    strength alone counts (no grid moves the others), families are not told apart, so that each
    family's default ties at 0, and a family without strength is its own default. Settings outside
    the catalogue are infinite.
    """
    return np.array([_from_default(member.setting) for member in pool.members])


def train_loss(pool: Pool) -> np.ndarray:
    """The final training loss; infinite where none is known."""
    losses = np.array([member.train_loss for member in pool.members])
    return np.where(np.isfinite(losses), losses, np.inf)


RULES: dict[str, Rule] = {
    "train_loss": Rule(train_loss, "training", "train_loss: final training loss"),
    "default_setting": Rule(
        default_setting, "defaults", "default_setting: distance of the strength to its default"
    ),
    "random": Rule(random, "settings", "random: a hash of the setting, the same every time"),
}
