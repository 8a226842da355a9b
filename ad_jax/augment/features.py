"""Pseudo-anomalies in feature space: of grids `[gh, gw, d]` in units of the normals' spread.

Every position counts as a sample of its own, so an entry changes all of them; the donor's position
at the same place stands in for "another position".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ad_jax.augment.contract import Apply, Augmentation, everything, whole
from ad_jax.augment.noise import draw_noise
from ad_jax.base.space import Range, Space


def feature_noise(sample: jax.Array, noise: jax.Array) -> jax.Array:
    """Adds noise `[gh, gw, d]`."""
    return sample + noise


def _draw_weight(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """A weight for every position, uniform within the spread around the centre."""
    low, high = hyper["weight"] / hyper["weight_spread"], hyper["weight"] * hyper["weight_spread"]
    return jax.random.uniform(key, (*shape[:2], 1), minval=low, maxval=high)


def _with_donor(kernel: Any) -> Apply:
    def apply(sample: jax.Array, arguments: Any, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
        return kernel(sample, arguments, donor), everything(sample)

    return apply


def feature_mixup(sample: jax.Array, weight: jax.Array, donor: jax.Array) -> jax.Array:
    """Moves by `weight [gh, gw, 1]` of the way towards another sample's position."""
    return sample + weight * (donor - sample)


def feature_extrapolation(sample: jax.Array, weight: jax.Array, donor: jax.Array) -> jax.Array:
    """Moves by `weight [gh, gw, 1]` of the way away from another sample's position."""
    return sample - weight * (donor - sample)


def _draw_dropped(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return jax.random.bernoulli(key, hyper["chance"], shape)


def channel_dropout(sample: jax.Array, dropped: jax.Array) -> jax.Array:
    """Sets the features of `dropped [gh, gw, d]` to the normals' mean."""
    return jnp.where(dropped, 0.0, sample)


def _between_positions(kernel: Any, most: float, source: str) -> Augmentation:
    """An entry whose weight says how far a position moves, of the way to another one."""
    about = "of the way to another position"
    return Augmentation(
        draw=_draw_weight,
        apply=_with_donor(kernel),
        space=Space(
            weight=Range(0.5, 0.05, most, "log", "share", True, about),
            weight_spread=Range(
                1.41, 1.0, 4.0, "log", "factor", True, "within centre / and x this"
            ),
        ),
        strength="weight",
        example={"weight": 0.4, "weight_spread": 1.3},
        group="features",
        source=source,
    )


FEATURES: dict[str, Augmentation] = {
    "feature_noise": Augmentation(
        draw=draw_noise,
        apply=whole(feature_noise),
        space=Space(
            std=Range(0.8, 0.05, 5.0, "log", "normals' spread", True, "of the noise, per feature")
        ),
        strength="std",
        example={"std": 0.5},
        group="features",
        source="SimpleNet, arXiv 2303.15140 (there .015 on its features' scale)",
    ),
    "feature_mixup": _between_positions(
        feature_mixup, 1.0, "mixup, arXiv 1710.09412, of positions of two samples"
    ),
    "feature_extrapolation": _between_positions(
        feature_extrapolation,
        4.0,
        "extrapolation in feature space, arXiv 1702.05538, away from another sample",
    ),
    "channel_dropout": Augmentation(
        draw=_draw_dropped,
        apply=whole(channel_dropout),
        space=Space(
            chance=Range(0.3, 0.01, 0.9, "log", "probability", False, "that a feature is dropped")
        ),
        strength="chance",
        example={"chance": 0.2},
        group="features",
        source="dropout, Srivastava et al. 2014, of single features",
    ),
}
