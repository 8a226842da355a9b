"""Operations on coordinates: turns, flips, moves, and whatever one affine map can do.

Continuous ones compose their coordinates in one matrix and resample once. Degrees count
counter-clockwise; row offsets count downwards, column offsets to the right. Flips and quarter turns
are dm_pix's: equal to numpy's to the bit, and as fast as indexing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import dm_pix as pix
import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from ad_jax.augment.contract import Augmentation, both, fixed, whole
from ad_jax.augment.patches import spread
from ad_jax.base.space import Range, Space

# ---- finite families ----


def turns(sample: jax.Array) -> jax.Array:
    """The four quarter turns of a square sample `[s, s, c]`, counter-clockwise: `[4, s, s, c]`."""
    return jnp.stack([pix.rot90(sample, k) for k in range(4)])


def _draw_turn(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return jax.random.randint(key, (), 1, 4)


def turn(sample: jax.Array, count: jax.Array | int) -> jax.Array:
    """Turns by `count` quarters, counter-clockwise (numpy's `rot90`)."""
    # Every turn is at most one transposition and one flip of each axis: cheaper than all four.
    turned = jnp.where(count % 2 == 1, jnp.swapaxes(sample, 0, 1), sample)
    turned = jnp.where((count == 1) | (count == 2), pix.flip_up_down(turned), turned)
    return jnp.where((count == 2) | (count == 3), pix.flip_left_right(turned), turned)


SET_SHIFT = 0.25  # of the side
SET_MOVES = 18  # 2 flips x 3 x 3 translations, each with 4 quarter turns


def _flipped_and_moved(sample: jax.Array, index: jax.Array) -> jax.Array:
    """Flips `[s, s, c]` sideways and moves it, `index = 9 flip + 3 i + j`.

    Down by (0, -1, 1)[i] and right by (0, -1, 1)[j] quarters of the side, in whole px. What moves
    in is the reflection with the edge repeated (scipy's "reflect"), as in the published code.
    """
    by = round(SET_SHIFT * sample.shape[0])
    moves = jnp.array([0, -by, by])
    flipped = jnp.where(index // 9 == 1, pix.flip_left_right(sample), sample)
    padded = jnp.pad(flipped, ((by, by), (by, by), (0, 0)), mode="symmetric")
    corner = (by - moves[index // 3 % 3], by - moves[index % 3], 0)
    return jax.lax.dynamic_slice(padded, corner, sample.shape)


def geometric_views(sample: jax.Array) -> jax.Array:
    """All members of the geometric set of `[s, s, c]`, the identity first: `[72, s, s, c]`."""
    turned = jax.vmap(lambda index: turns(_flipped_and_moved(sample, index)))(jnp.arange(SET_MOVES))
    return turned.reshape(-1, *sample.shape)


def _draw_member(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return jax.random.randint(key, (), 1, 4 * SET_MOVES)


def geometric_set(sample: jax.Array, index: jax.Array) -> jax.Array:
    """Member `index` of the 72 transformations of Golan & El-Yaniv (NeurIPS 2018)."""
    return turns(_flipped_and_moved(sample, index // 4))[index % 4]


# ---- affine maps ----


def resample(sample: jax.Array, matrix: jax.Array) -> jax.Array:
    """Reads `[h, w, c]` where a matrix `[2, 3]` points; bilinear, edges repeated.

    Pull convention: the output at (row, column) px from the centre reads the input at
    `matrix @ (row, column, 1)` px from the centre. Differentiable in both.
    """
    height, width, _ = sample.shape
    rows = jnp.arange(height, dtype=sample.dtype)[:, None] - (height - 1) / 2
    columns = jnp.arange(width, dtype=sample.dtype)[None, :] - (width - 1) / 2
    where = [
        matrix[axis, 0] * rows + matrix[axis, 1] * columns + (matrix[axis, 2] + (size - 1) / 2)
        for axis, size in enumerate((height, width))
    ]

    def channelwise(channel: jax.Array) -> jax.Array:
        return map_coordinates(channel, where, order=1, mode="nearest")

    return jax.vmap(channelwise, in_axes=2, out_axes=2)(sample)


class Affine(NamedTuple):
    """What is done to the content, in this order, about the centre; the defaults do nothing.

    Attributes:
      scale: factor, above 1 enlarges.
      shear: degrees by which the vertical leans; what is below the centre slides to the right.
      angle: degrees.
      shift: `[2]` shares of height and width, down and to the right.
    """

    scale: jax.Array | float = 1.0
    shear: jax.Array | float = 0.0
    angle: jax.Array | float = 0.0
    shift: jax.Array | tuple[float, float] = (0.0, 0.0)


def affine(sample: jax.Array, to: Affine) -> jax.Array:
    """Scales, shears, rotates and moves `[h, w, c]` with one resampling.

    The matrix that `resample` pulls with is the inverse: with shift `s` in px, rotation `R`, shear
    `K = [[1, 0], [tan(shear), 1]]`, it maps `q` to `K^-1 R^-1 (q - s) / scale`.
    """
    radians, slope = jnp.deg2rad(to.angle), jnp.tan(jnp.deg2rad(to.shear))
    cosine, sine = jnp.cos(radians), jnp.sin(radians)
    turned = jnp.array([[cosine, sine], [-sine, cosine]])
    linear = jnp.stack([turned[0], turned[1] - slope * turned[0]]) / to.scale
    shift = jnp.asarray(to.shift) * jnp.array(sample.shape[:2])
    # A sum and no product of matrices, which loses digits on accelerators.
    return resample(sample, jnp.column_stack([linear, -(linear * shift).sum(1)]))


def _either_way(
    key: jax.Array, centre: jax.Array | float, width: jax.Array | float, count: tuple[int, ...] = ()
) -> jax.Array:
    """Uniform within `width` of `centre`, with either sign; several are drawn apart."""
    size, side = jax.random.split(key)
    value = centre + width * jax.random.uniform(size, count, minval=-1.0, maxval=1.0)
    return value * jnp.where(jax.random.bernoulli(side, shape=count), 1.0, -1.0)


def _draw_angle(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return _either_way(key, hyper["angle"], hyper["width"])


def rotate(sample: jax.Array, degrees: jax.Array) -> jax.Array:
    """Rotates counter-clockwise about the centre; differentiable in the angle."""
    return affine(sample, Affine(angle=degrees))


def _draw_shift(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return _either_way(key, hyper["shift"], hyper["width"], (2,))


def translate(sample: jax.Array, shift: jax.Array) -> jax.Array:
    """Moves by `shift` `[2]`, shares of height and width, down and to the right."""
    return affine(sample, Affine(shift=shift))


def shear(sample: jax.Array, degrees: jax.Array) -> jax.Array:
    """Slides rows sideways, so that the vertical leans by `degrees`."""
    return affine(sample, Affine(shear=degrees))


def _draw_affine(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Affine:
    scale_key, shear_key, angle_key, shift_key = jax.random.split(key, 4)
    return Affine(
        spread(scale_key, 1.0, hyper["scale"]),
        hyper["shear"] * jax.random.uniform(shear_key, (), minval=-1.0, maxval=1.0),
        hyper["angle"] * jax.random.uniform(angle_key, (), minval=-1.0, maxval=1.0),
        hyper["shift"] * jax.random.uniform(shift_key, (2,), minval=-1.0, maxval=1.0),
    )


class Crop(NamedTuple):
    """An upright window (scalars): sides and the offset of its centre, as shares of the image."""

    height: jax.Array
    width: jax.Array
    down: jax.Array
    right: jax.Array


def _draw_crop(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Crop:
    """Area and aspect log-uniform, the window wholly inside; a side is never over the image's."""
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    area = hyper["smallest"] ** jax.random.uniform(area_key, ())
    aspect = spread(aspect_key, 1.0, hyper["aspect_spread"])
    height = jnp.minimum(jnp.sqrt(area / aspect), 1.0)
    width = jnp.minimum(jnp.sqrt(area * aspect), 1.0)
    place = jax.random.uniform(place_key, (2,), minval=-0.5, maxval=0.5)
    return Crop(height, width, place[0] * (1.0 - height), place[1] * (1.0 - width))


def resized_crop(sample: jax.Array, crop: Crop) -> jax.Array:
    """Stretches a window of `[h, w, c]` to the full size (Szegedy et al., arXiv 1409.4842).

    Pixels are areas: the window's border falls on the image's (PyTorch's `align_corners=False`).
    """
    height, width = sample.shape[:2]
    zero = jnp.zeros_like(crop.height)
    matrix = jnp.array(
        [[crop.height, zero, crop.down * height], [zero, crop.width, crop.right * width]]
    )
    return resample(sample, matrix)


_WIDTH = Range(0.0, 0.0, 90.0, "linear", "degrees", True, "half width of the range")
_SHARE = "share of the side"

_GEOMETRIC = functools.partial(Augmentation, group="geometric")
GEOMETRIC: dict[str, Augmentation] = {
    "quarter_turns": _GEOMETRIC(
        draw=_draw_turn,
        apply=whole(turn),
        source="Gidaris et al., ICLR 2018; Golan & El-Yaniv, NeurIPS 2018",
        views=turns,
        needs=("square",),
    ),
    "horizontal_flip": _GEOMETRIC(
        apply=fixed(pix.flip_left_right),
        source="left and right swapped; arXiv 2208.07734",
        views=both(pix.flip_left_right),
    ),
    "vertical_flip": _GEOMETRIC(
        apply=fixed(pix.flip_up_down),
        source="top and bottom swapped; arXiv 2208.07734",
        views=both(pix.flip_up_down),
    ),
    "geometric_set": _GEOMETRIC(
        draw=_draw_member,
        apply=whole(geometric_set),
        source="Golan & El-Yaniv, NeurIPS 2018: 2 flips x 9 translations x 4 quarter turns",
        views=geometric_views,
        needs=("square",),
    ),
    "rotate": _GEOMETRIC(
        draw=_draw_angle,
        apply=whole(rotate),
        space=Space(
            angle=Range(30.0, 0.0, 180.0, "linear", "degrees", True, "centre of the angle's range"),
            width=_WIDTH,
        ),
        strength="angle",
        example={"angle": 33.0, "width": 10.0},
        source="ST-SSAD (arXiv 2306.12033); either direction with equal probability",
    ),
    "translate": _GEOMETRIC(
        draw=_draw_shift,
        apply=whole(translate),
        space=Space(
            shift=Range(0.25, 0.0, 0.5, "linear", _SHARE, True, "centre of the shift's range"),
            # A lone shift blurs by its fraction of a px: over one px the loss ripples. Half a px to
            # either side takes the ripple out of the mean, and out of its gradient.
            width=_WIDTH._replace(
                high=0.25, unit=_SHARE, about="half width of the range; half a px or more to tune"
            ),
        ),
        strength="shift",
        example={"shift": 0.2, "width": 0.05},
        source="arXiv 2208.07734 (0.25); either direction along each axis",
    ),
    "shear": _GEOMETRIC(
        draw=_draw_angle,
        apply=whole(shear),
        space=Space(
            angle=Range(15.0, 0.0, 45.0, "linear", "degrees", True, "centre of the angle's range"),
            width=_WIDTH._replace(high=30.0),
        ),
        strength="angle",
        example={"angle": 20.0, "width": 5.0},
        source="AutoAugment (arXiv 1805.09501); rows slide either way",
    ),
    "affine": _GEOMETRIC(
        draw=_draw_affine,
        apply=whole(affine),
        space=Space(
            angle=Range(15.0, 0.0, 180.0, "linear", "degrees", True, "largest turn either way"),
            shear=Range(10.0, 0.0, 45.0, "linear", "degrees", True, "largest shear either way"),
            scale=Range(1.2, 1.0, 3.0, "log", "factor", True, "scale within 1 / and x this"),
            shift=Range(0.1, 0.0, 0.5, "linear", _SHARE, True, "largest shift along each axis"),
        ),
        strength="angle",
        example={"angle": 20.0, "shear": 12.0, "scale": 1.3, "shift": 0.1},
        source="AutoAugment's geometry (arXiv 1805.09501), resampled once",
    ),
    "resized_crop": _GEOMETRIC(
        draw=_draw_crop,
        apply=whole(resized_crop),
        space=Space(
            smallest=Range(
                0.08, 0.01, 1.0, "log", "share of the image", True, "area of the smallest window"
            ),
            aspect_spread=Range(
                1.33, 1.0, 3.0, "log", "factor", True, "aspect within 1 / and x this"
            ),
        ),
        strength="smallest",
        example={"smallest": 0.3, "aspect_spread": 1.2},
        source="Szegedy et al., arXiv 1409.4842; areas log-uniform, down to 0.08",
    ),
}
