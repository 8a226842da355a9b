"""Operations on the values of the whole sample, pixel by pixel: brightness, colour, tone.

Definitions are PIL's and torchvision's. The kernels are our own, as dm_pix differs in each:
brightness is added, contrast is about each channel's mean, saturation is in HSV, the weights of
grey sum to 0.9999, gamma's gradient is infinite at 0, hue's is not a number at nearly black pixels
and its shift of 0 is not exact. All but greyscale and invert are increments on the sample, so that
no strength leaves it bit-equal.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.augment.contract import Augmentation, both, fixed, whole
from ad_jax.augment.patches import spread
from ad_jax.base.space import Range, Space

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, PIL's "L"


def grey(sample: jax.Array) -> jax.Array:
    """Luma `[h, w, 1]` of `[h, w, 3]`; the mean over channels of other samples."""
    if sample.shape[-1] != 3:
        return sample.mean(-1, keepdims=True)
    # Written out: a sum over three channels is slow on CPU, a product of matrices loses digits on
    # accelerators.
    red, green, blue = (LUMA[i] * sample[..., i] for i in range(3))
    return (red + green + blue)[..., None]


def _away(sample: jax.Array, anchor: jax.Array, factor: jax.Array) -> jax.Array:
    """The distance from an anchor times a factor: 0 is the anchor, 1 the sample; clipped."""
    return jnp.clip(sample + (sample - anchor) * (factor - 1.0), 0.0, 1.0)


def brightness(sample: jax.Array, factor: jax.Array) -> jax.Array:
    """Multiplies by a factor, clipped (torchvision's `adjust_brightness`)."""
    return _away(sample, jnp.zeros_like(sample), factor)


def contrast(sample: jax.Array, factor: jax.Array) -> jax.Array:
    """Moves away from the mean of the grey image, clipped (torchvision's `adjust_contrast`)."""
    means = sample.mean((0, 1))  # before they are weighed: fast on CPU, where grey's mean is slow
    luma = (jnp.array(LUMA, sample.dtype) * means).sum() if sample.shape[-1] == 3 else means.mean()
    return _away(sample, luma, factor)


def saturation(sample: jax.Array, factor: jax.Array) -> jax.Array:
    """Moves each pixel away from its grey, clipped (torchvision's `adjust_saturation`)."""
    return _away(sample, grey(sample), factor)


def hue(sample: jax.Array, shift: jax.Array) -> jax.Array:
    """Shifts the hue of `[h, w, 3]` in HSV by a share of a full turn (torchvision's `adjust_hue`).

    With hue `H` in sixths of a turn and chroma `C = max - min`, a channel is
    `min + C clip(|(H - a) mod 6 - 3| - 1, 0, 1)`, a = 0, 2, 4 for red, green, blue; here only the
    difference of the two is added. Pixels with C under 1e-6 count as grey: their hue would have
    gradients without bound.
    """
    red, green, blue = sample[..., 0], sample[..., 1], sample[..., 2]
    # In pairs: the gradient of a reduction's maximum is 0 / 0 where a compiler that computes the
    # sample twice, rounded differently, finds no channel equal to it.
    high = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = high - jnp.minimum(jnp.minimum(red, green), blue)
    coloured = chroma > 1e-6
    divisor = jnp.where(coloured, chroma, 1.0)
    sixths = jnp.where(
        high == red,
        (green - blue) / divisor,
        jnp.where(high == green, 2.0 + (blue - red) / divisor, 4.0 + (red - green) / divisor),
    )  # [h, w]

    def share(sixths: jax.Array) -> jax.Array:
        offset = sixths[..., None] - jnp.array([0.0, 2.0, 4.0])
        turned = offset - 6.0 * jnp.floor(offset / 6.0)  # a remainder would be slow on CPU
        return jnp.clip(jnp.abs(turned - 3.0) - 1.0, 0.0, 1.0)

    change = jnp.where(coloured, chroma, 0.0)[..., None] * (
        share(sixths + 6.0 * shift) - share(sixths)
    )
    return jnp.clip(sample + change, 0.0, 1.0)


def gamma(sample: jax.Array, exponent: jax.Array) -> jax.Array:
    """`x ** exponent`; at x = 0, where its gradient is 0 or infinite, the gradient is set to 1."""
    logarithm = jnp.log(jnp.where(sample > 0, sample, 1.0))
    return sample * jnp.exp((exponent - 1.0) * logarithm)


class Jitter(NamedTuple):
    """Factors around 1 and a shift of the hue around 0 (scalars)."""

    brightness: jax.Array
    contrast: jax.Array
    saturation: jax.Array
    hue: jax.Array


def colour_jitter(sample: jax.Array, jitter: Jitter) -> jax.Array:
    """Brightness, contrast, saturation, hue, in this order; only the first two without colour."""
    sample = contrast(brightness(sample, jitter.brightness), jitter.contrast)
    if sample.shape[-1] != 3:
        return sample
    return hue(saturation(sample, jitter.saturation), jitter.hue)


def greyscale(sample: jax.Array) -> jax.Array:
    """Every channel becomes the luma."""
    return jnp.broadcast_to(grey(sample), sample.shape)


def invert(sample: jax.Array) -> jax.Array:
    """`1 - x`."""
    return 1.0 - sample


def _draw_factor(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return 1.0 + hyper["spread"] * jax.random.uniform(key, (), minval=-1.0, maxval=1.0)


def _draw_hue(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return hyper["shift"] * jax.random.uniform(key, (), minval=-1.0, maxval=1.0)


def _draw_exponent(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return spread(key, 1.0, hyper["factor"])


def _draw_jitter(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Jitter:
    share = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    return Jitter(
        1.0 + hyper["brightness"] * share[0],
        1.0 + hyper["contrast"] * share[1],
        1.0 + hyper["saturation"] * share[2],
        hyper["hue"] * share[3],
    )


_SPREAD = Range(0.8, 0.0, 1.0, "linear", "factor", True, "factor within 1 - and + this")
_SHIFT = Range(0.2, 0.0, 0.5, "linear", "turns", True, "largest shift of the hue either way")
_JITTER = "colour jitter, arXiv 2002.05709; 0.8, 0.8, 0.8, 0.2 in arXiv 2208.07734"

_COLOUR = functools.partial(Augmentation, group="colour")
_FACTOR = functools.partial(
    _COLOUR,
    draw=_draw_factor,
    space=Space(spread=_SPREAD),
    strength="spread",
    source=f"part of {_JITTER}",
)
COLOUR: dict[str, Augmentation] = {
    "brightness": _FACTOR(
        apply=whole(brightness), example={"spread": 0.15}, takes=("image", "row")
    ),
    "contrast": _FACTOR(apply=whole(contrast), example={"spread": 0.3}),
    "saturation": _FACTOR(apply=whole(saturation), example={"spread": 0.3}, needs=("colour",)),
    "hue": _COLOUR(
        draw=_draw_hue,
        apply=whole(hue),
        space=Space(shift=_SHIFT),
        strength="shift",
        example={"shift": 0.1},
        source=f"part of {_JITTER}",
        needs=("colour",),
    ),
    "gamma": _COLOUR(
        draw=_draw_exponent,
        apply=whole(gamma),
        space=Space(
            factor=Range(2.0, 1.0, 5.0, "log", "factor", True, "exponent within 1 / and x this")
        ),
        strength="factor",
        example={"factor": 1.4},
        source="power law, as scikit-image's `adjust_gamma`; its range is ours",
        takes=("image", "row"),
    ),
    "colour_jitter": _COLOUR(
        draw=_draw_jitter,
        apply=whole(colour_jitter),
        space=Space(
            brightness=_SPREAD._replace(about="factor of the brightness within 1 - and + this"),
            contrast=_SPREAD._replace(about="factor of the contrast within 1 - and + this"),
            saturation=_SPREAD._replace(about="factor of the saturation within 1 - and + this"),
            hue=_SHIFT,
        ),
        example={"brightness": 0.1, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
        source=f"{_JITTER}; the order is fixed",
    ),
    "greyscale": _COLOUR(
        apply=fixed(greyscale),
        source="part of SimCLR's augmentations, arXiv 2002.05709",
        needs=("colour",),
    ),
    "invert": _COLOUR(
        apply=fixed(invert),
        source="arXiv 2208.07734",
        views=both(invert),
        takes=("image", "row"),
    ),
}
