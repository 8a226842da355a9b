"""Pseudo-anomalies in feature space: of grids `[gh, gw, d]` in units of the normals' spread.

Every position counts as a sample of its own, so an entry changes all of them; the donor's position
at the same place stands in for "another position". A row is a single position, `[1, 1, d]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.augment.contract import Apply, Augmentation, everything, whole
from ad_jax.base.modality import MODALITIES
from ad_jax.base.space import Range, Space
from ad_jax.base.values import Value, typical


def feature_noise(sample: jax.Array, noise: jax.Array) -> jax.Array:
    """Adds noise `[gh, gw, d]`."""
    return sample + noise


def over_channels(value: jax.Array, channels: int) -> jax.Array:
    """A value for every channel `[d]`, from one, or from one for every band of neighbours `[b]`.

    Bands are as alike in width as can be, the wider ones first (`numpy.array_split`).
    """
    if value.ndim == 0:
        return jnp.broadcast_to(value, (channels,))
    widths = [len(band) for band in np.array_split(np.arange(channels), value.shape[0])]
    return jnp.repeat(value, np.array(widths), total_repeat_length=channels)


def _draw_noise(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Gaussian noise `[gh, gw, d]` of the asked standard deviation."""
    return over_channels(jnp.asarray(hyper["std"]), shape[-1]) * jax.random.normal(key, shape)


def _draw_moved(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Noise, and in half of the positions a step, the same for all of them."""
    noise, coin = jax.random.split(key)
    moved = jax.random.bernoulli(coin, 0.5, (*shape[:-1], 1))
    step = over_channels(jnp.asarray(hyper["step"]), shape[-1])
    return moved * step + _draw_noise(noise, hyper, shape)


def _draw_weight(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """A weight for every position, uniform within the spread around the centre."""
    low, high = hyper["weight"] / hyper["weight_spread"], hyper["weight"] * hyper["weight_spread"]
    return jax.random.uniform(key, (*shape[:-1], 1), minval=low, maxval=high)


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


def _draw_chosen(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Which features `[gh, gw, d]` are chosen: each with the asked chance, and never none.

    An unchanged position would be a normal that is called an anomaly; so where chance leaves none,
    the one that was nearest to being chosen is.
    """
    draws = jax.random.uniform(key, shape)
    return draws <= jnp.maximum(hyper["chance"], draws.min(-1, keepdims=True))


def feature_swap(sample: jax.Array, chosen: jax.Array, donor: jax.Array) -> jax.Array:
    """Takes the features of `chosen [gh, gw, d]` from another sample's position.

    Every value is a normal's; only values that belong together are torn apart.
    """
    return jnp.where(chosen, donor, sample)


def _draw_shift(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Steps `[gh, gw, d]` up or down, of the chosen features; 0 of the others."""
    chosen, signs = jax.random.split(key)
    step = over_channels(jnp.asarray(hyper["step"]), shape[-1])
    return _draw_chosen(chosen, hyper, shape) * jax.random.rademacher(signs, shape) * step


def _draw_heavy(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Noise `[gh, gw, d]` of the asked standard deviation, of Student's t distribution."""
    return hyper["std"] * jax.random.t(key, FREEDOM, shape) / (FREEDOM / (FREEDOM - 2)) ** 0.5


def _draw_uniform(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    """Values `[gh, gw, d]` anywhere between minus and plus the asked width."""
    return hyper["width"] * jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def feature_uniform(sample: jax.Array, values: jax.Array) -> jax.Array:
    """Takes `values [gh, gw, d]` instead: nothing of the sample is left."""
    return values


_OF_FEATURES = partial(Augmentation, group="features", takes=MODALITIES)


def _between_positions(kernel: Any, most: float, source: str) -> Augmentation:
    """An entry whose weight says how far a position moves, of the way to another one."""
    about = "of the way to another position"
    return _OF_FEATURES(
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
        source=source,
    )


FREEDOM = 3.0  # degrees of freedom of `feature_heavy`: the fewest whole ones with a variance
_STD = Range(0.8, 0.05, 5.0, "log", "normals' spread", True, "of the noise, per feature")
BANDED = {  # what may differ between channels
    "feature_noise": ("std",),
    "feature_step": ("step",),
    "feature_shift": ("step",),
}

FEATURES: dict[str, Augmentation] = {
    "feature_noise": _OF_FEATURES(
        draw=_draw_noise,
        apply=whole(feature_noise),
        space=Space(std=_STD),
        strength="std",
        example={"std": 0.5},
        source="SimpleNet, arXiv 2303.15140 (there .015 on its features' scale)",
    ),
    "feature_step": _OF_FEATURES(
        draw=_draw_moved,
        apply=whole(feature_noise),
        space=Space(
            step=Range(
                *(0.0, -4.0, 4.0, "linear", "normals' spread", True),
                "by which half of the positions are moved, per feature",
            ),
            std=_STD,
        ),
        strength="step",
        example={"step": 0.5, "std": 0.5},
        source="feature noise with a mean, SimpleNet, arXiv 2303.15140",
    ),
    "feature_mixup": _between_positions(
        feature_mixup, 1.0, "mixup, arXiv 1710.09412, of positions of two samples"
    ),
    "feature_extrapolation": _between_positions(
        feature_extrapolation,
        4.0,
        "extrapolation in feature space, arXiv 1702.05538, away from another sample",
    ),
    "channel_dropout": _OF_FEATURES(
        draw=_draw_dropped,
        apply=whole(channel_dropout),
        space=Space(
            chance=Range(0.3, 0.01, 0.9, "log", "probability", False, "that a feature is dropped")
        ),
        strength="chance",
        example={"chance": 0.2},
        source="dropout, Srivastava et al. 2014, of single features",
    ),
    "feature_swap": _OF_FEATURES(
        draw=_draw_chosen,
        apply=_with_donor(feature_swap),
        space=Space(
            chance=Range(
                *(0.3, 0.05, 0.5, "log", "probability", False),
                "that a feature is another sample's; above half it is the other that is changed",
            )
        ),
        strength="chance",
        example={"chance": 0.4},
        source="corruption of VIME, Yoon et al., NeurIPS 2020, from one donor; at half like the "
        "dependency anomalies of ADBench, arXiv 2206.09426",
    ),
    "feature_shift": _OF_FEATURES(
        draw=_draw_shift,
        apply=whole(feature_noise),
        space=Space(
            step=Range(
                *(2.0, 0.2, 8.0, "log", "normals' spread", True),
                "up or down, of the features that are moved",
            ),
            chance=Range(0.3, 0.05, 1.0, "log", "probability", False, "that a feature is moved"),
        ),
        strength="step",
        example={"step": 1.5, "chance": 0.5},
        source="anomalies in a subspace, survey of Zimek, Schubert and Kriegel 2012",
    ),
    "feature_heavy": _OF_FEATURES(
        draw=_draw_heavy,
        apply=whole(feature_noise),
        space=Space(std=_STD),
        strength="std",
        example={"std": 0.5},
        source="feature noise with the tails of Student's t of 3 degrees of freedom",
    ),
    "feature_uniform": _OF_FEATURES(
        draw=_draw_uniform,
        apply=whole(feature_uniform),
        space=Space(
            width=Range(
                *(3.0, 0.5, 10.0, "log", "normals' spread", True),
                "from the normals' mean to either end, in every feature",
            )
        ),
        strength="width",
        example={"width": 2.0},
        source="global anomalies of ADBench, arXiv 2206.09426 (there 1.1 times the normals' range)",
    ),
}


def in_bands(name: str, count: int) -> Augmentation:
    """An entry of `BANDED` with a number for each of `count` bands of channels.

    See `over_channels`; as many bands as channels are a number for every channel.
    """
    entry = FEATURES[name]
    space = {
        hyper: one._replace(size=count) if hyper in BANDED[name] else one
        for hyper, one in entry.space.items()
    }
    example: dict[str, Value] = {
        hyper: (typical(value),) * count if hyper in BANDED[name] else value
        for hyper, value in entry.example.items()
    }
    return replace(entry, space=Space(space), example=example)
