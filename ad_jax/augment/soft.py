"""Local operations with soft edges: differentiable in the size and the shape of what changes.

Positions are in px, pixel i covers [i - 1/2, i + 1/2]. Sides and centres are real-valued, so a
gradient at fixed random numbers sees the edges move and the place move with them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from ad_jax.augment.contract import Augmentation, local, smallest_area
from ad_jax.augment.patches import (
    AREA,
    AREA_SPREAD,
    ASPECT_SPREAD,
    FILL,
    JITTER,
    jittered,
    shifted,
    sides,
    spread,
    tint,
)
from ad_jax.base.space import Range, Space

CUT = 1e-3  # an edge's sigmoid below this is 0, so that most of the sample stays bit-equal


def _offsets(
    shape: tuple[int, ...], row: jax.Array, column: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Offsets in px from a centre: rows `[h, 1]`, columns `[1, w]`."""
    return jnp.arange(shape[0])[:, None] - row, jnp.arange(shape[1])[None, :] - column


def _turned(rows: jax.Array, columns: jax.Array, degrees: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Offsets `[h, w]` along the axes of a shape that is turned counter-clockwise in the image."""
    radians = jnp.deg2rad(degrees)
    cosine, sine = jnp.cos(radians), jnp.sin(radians)
    return cosine * rows + sine * columns, -sine * rows + cosine * columns


def _place(share: jax.Array, size: int, extent: jax.Array) -> jax.Array:
    """Centre in px of an extent that lies inside `size` px at a share of the free way.

    An extent larger than the image is centred.
    """
    return (size - 1) / 2 + (share - 0.5) * jnp.maximum(size - extent, 0.0)


def _blend(sample: jax.Array, mask: jax.Array, other: jax.Array) -> jax.Array:
    # Of the two usual forms this one is exact at both ends and never leaves [0, 1] by rounding.
    mask = mask[..., None]
    return (1.0 - mask) * sample + mask * other


class Bump(NamedTuple):
    """A smooth hole: centre in px, half-sides as shares of the image, degrees (scalars)."""

    row: jax.Array
    column: jax.Array
    height: jax.Array
    width: jax.Array
    strength: jax.Array
    angle: jax.Array


def _draw_bump(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Bump:
    place = jax.random.uniform(key, (2,)) * jnp.array([shape[0] - 1, shape[1] - 1], jnp.float32)
    return Bump(
        place[0],
        place[1],
        jnp.sqrt(hyper["area"] / hyper["aspect"]),
        jnp.sqrt(hyper["area"] * hyper["aspect"]),
        jnp.asarray(hyper["strength"], jnp.float32),
        jnp.asarray(hyper["angle"]),
    )


def cutdiff(sample: jax.Array, bump: Bump) -> tuple[jax.Array, jax.Array]:
    """Subtracts a Gaussian bump: cut-out with a gradient (ST-SSAD, arXiv 2306.12033).

    `m = strength * exp(-((u / (s_h H))^2 + (v / (s_w W))^2) / (2 * 0.1))`, where (u, v) are the
    offsets from the centre turned in px: the half-sides are shares of the image's height and width
    at angle 0, and the ellipse keeps its size and shape in px when it turns. So the angle is the
    one that is seen, also in images that are not square; it changes nothing where the ellipse is a
    circle, as at aspect 1 in square images.
    """
    height, width = sample.shape[:2]
    rows, columns = _turned(*_offsets(sample.shape, bump.row, bump.column), bump.angle)
    rows, columns = rows / (bump.height * height), columns / (bump.width * width)
    mask = bump.strength * jnp.exp(-(rows**2 + columns**2) / 0.2)
    mask = mask.astype(sample.dtype)
    return jnp.clip(sample - mask[..., None], 0.0, 1.0), mask


class SoftPatch(NamedTuple):
    """An upright patch with soft edges (scalars).

    Attributes:
      row, column: its centre in px.
      height, width: sides in px, real-valued: where the mask of a far edge is 1/2.
      softness: px over which an edge's sigmoid goes from 1/2 to 0.73.
      down, right: whole px by which the sample is moved under the patch (int32).
      brightness, contrast: colour jitter of what is pasted, around 0 and 1.
      fill: value of a patch that is cut out.
    """

    row: jax.Array
    column: jax.Array
    height: jax.Array
    width: jax.Array
    softness: jax.Array
    down: jax.Array
    right: jax.Array
    brightness: jax.Array
    contrast: jax.Array
    fill: jax.Array


def _draw_soft(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> SoftPatch:
    """Sides of 2 px at least, at most the image; the patch and what is pasted lie inside it.

    The shift is rounded, so its jumps are not in the gradient; the place's way is.
    """
    area_key, aspect_key, place_key, jitter_key = jax.random.split(key, 4)
    height, width = sides(area_key, aspect_key, hyper, shape)
    height, width = jnp.clip(height, 2.0, shape[0]), jnp.clip(width, 2.0, shape[1])
    share = jax.random.uniform(place_key, (4,))
    row, column = _place(share[0], shape[0], height), _place(share[1], shape[1], width)
    down = jnp.round(row - _place(share[2], shape[0], height)).astype(jnp.int32)
    right = jnp.round(column - _place(share[3], shape[1], width)).astype(jnp.int32)
    softness, fill = jnp.asarray(hyper["softness"]), jnp.asarray(hyper.get("fill", 0.0))
    brightness, contrast = tint(jitter_key, hyper)
    return SoftPatch(row, column, height, width, softness, down, right, brightness, contrast, fill)


def soft_mask(patch: SoftPatch, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Product over both axes of `sigmoid((side / 2 - |offset|) / softness)`: `[h, w]`.

    An edge's sigmoid s becomes `max(s - CUT, 0) / (1 - CUT)`: continuous, still 1 deep inside, and
    exactly 0 from 6.9 times the softness outside the edge.
    """

    def edge(offset: jax.Array, side: jax.Array) -> jax.Array:
        inside = jax.nn.sigmoid((side / 2 - jnp.abs(offset)) / patch.softness)
        return jnp.maximum(inside - CUT, 0.0) / (1.0 - CUT)

    rows, columns = _offsets(shape, patch.row, patch.column)
    return (edge(rows, patch.height) * edge(columns, patch.width)).astype(dtype)


def soft_cutout(sample: jax.Array, patch: SoftPatch) -> tuple[jax.Array, jax.Array]:
    """Blends towards one value under a soft mask: cut-out with a gradient to area and aspect."""
    mask = soft_mask(patch, sample.shape, sample.dtype)
    return _blend(sample, mask, patch.fill.astype(sample.dtype)), mask


def soft_cutpaste(sample: jax.Array, patch: SoftPatch) -> tuple[jax.Array, jax.Array]:
    """Blends towards the sample moved by whole px, its colour jittered, under a soft mask.

    What is pasted lies inside the sample up to the edges' middle; their outer half, where the mask
    is under 1/2, can reach over the border and then shows the opposite one.
    """
    mask = soft_mask(patch, sample.shape, sample.dtype)
    moved = shifted(sample, patch.down, patch.right)
    return _blend(sample, mask, jittered(moved, mask, patch.brightness, patch.contrast)), mask


class Scar(NamedTuple):
    """A thin turned patch and the upright rectangle that it is cut from (scalars).

    Attributes:
      row, column: its centre in px.
      length, width: sides in px, real-valued; the length is vertical at angle 0.
      angle: degrees, counter-clockwise.
      source_row, source_column: centre in px of the rectangle.
      brightness, contrast: colour jitter, around 0 and 1.
    """

    row: jax.Array
    column: jax.Array
    length: jax.Array
    width: jax.Array
    angle: jax.Array
    source_row: jax.Array
    source_column: jax.Array
    brightness: jax.Array
    contrast: jax.Array


def _draw_scar(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Scar:
    """Sides of 2 px at least, at most the shorter side; both rectangles wholly inside.

    A scar that is too long to lie inside when turned is centred and cut by the border.
    """
    length_key, width_key, angle_key, place_key, jitter_key = jax.random.split(key, 5)
    short = min(shape[:2])
    length = jnp.clip(spread(length_key, hyper["length"], hyper["length_spread"]) * short, 2, short)
    width = jnp.clip(spread(width_key, hyper["width"], hyper["width_spread"]) * short, 2, short)
    angle = hyper["angle"] * jax.random.uniform(angle_key, (), minval=-1.0, maxval=1.0)
    cosine = jnp.abs(jnp.cos(jnp.deg2rad(angle)))
    sine = jnp.abs(jnp.sin(jnp.deg2rad(angle)))
    share = jax.random.uniform(place_key, (4,))
    row = _place(share[0], shape[0], length * cosine + width * sine)
    column = _place(share[1], shape[1], length * sine + width * cosine)
    source_row, source_column = (
        _place(share[2], shape[0], length),
        _place(share[3], shape[1], width),
    )
    brightness, contrast = tint(jitter_key, hyper)
    return Scar(row, column, length, width, angle, source_row, source_column, brightness, contrast)


def scar(sample: jax.Array, cut: Scar) -> tuple[jax.Array, jax.Array]:
    """Pastes an upright rectangle of the sample elsewhere, turned and jittered (arXiv 2104.04015).

    Pull convention: the output at an offset from the scar's centre, turned back by the angle, reads
    the sample at that offset from the rectangle's centre; bilinear, edges repeated. The mask goes
    from 1 to 0 within half a px on either side of an edge (cubic), which is what makes length,
    width and angle differentiable; at angle 0 with whole px it is the hard patch.
    """
    offsets = _turned(*_offsets(sample.shape, cut.row, cut.column), cut.angle)

    def edge(offset: jax.Array, side: jax.Array) -> jax.Array:
        share = jnp.clip(side / 2 - jnp.abs(offset) + 0.5, 0.0, 1.0)
        return share**2 * (3.0 - 2.0 * share)

    mask = (edge(offsets[0], cut.length) * edge(offsets[1], cut.width)).astype(sample.dtype)
    where = [offsets[0] + cut.source_row, offsets[1] + cut.source_column]

    def resample(channel: jax.Array) -> jax.Array:
        return map_coordinates(channel, where, order=1, mode="nearest")

    pixels = jax.vmap(resample, in_axes=2, out_axes=2)(sample)
    return _blend(sample, mask, jittered(pixels, mask, cut.brightness, cut.contrast)), mask


_ASPECT = Range(1.0, 0.2, 5.0, "log", "width : height", True, "shape of the bump")
_SOFT = {
    "area": AREA._replace(gradient=True),
    "area_spread": AREA_SPREAD._replace(gradient=True),
    "aspect": _ASPECT._replace(about="centre of the patch's aspect"),
    "aspect_spread": ASPECT_SPREAD._replace(gradient=True, about="aspect within centre / and x it"),
    "softness": Range(1.0, 0.25, 4.0, "log", "px", True, "scale of the edges' sigmoid"),
}
_SHARE = "share of the shorter side"
_PATCH = functools.partial(
    Augmentation, draw=_draw_soft, strength="area", smallest=smallest_area, group="local"
)
_EXAMPLE = {"area": 0.1, "area_spread": 1.5, "aspect": 1.4, "aspect_spread": 2.0, "softness": 0.8}

PASTES: dict[str, Augmentation] = {
    "scar": Augmentation(
        draw=_draw_scar,
        apply=local(scar),
        space=Space(
            length=Range(0.062, 0.03, 0.8, "log", _SHARE, True, "centre of the scar's length"),
            length_spread=Range(
                1.58, 1.0, 4.0, "log", "factor", True, "length within / and x this"
            ),
            width=Range(0.022, 0.008, 0.25, "log", _SHARE, True, "centre of the scar's width"),
            width_spread=Range(2.83, 1.0, 4.0, "log", "factor", True, "width within / and x this"),
            angle=Range(45.0, 0.0, 90.0, "linear", "degrees", True, "largest turn either way"),
            jitter=JITTER,
        ),
        strength="length",
        example=dict(
            length=0.5, length_spread=1.2, width=0.22, width_spread=1.3, angle=60.0, jitter=0.1
        ),
        group="local",
        source="CutPaste-scar, arXiv 2104.04015: 10 to 25 by 2 to 16 px at 256 px",
    ),
    "soft_cutpaste": _PATCH(
        apply=local(soft_cutpaste),
        space=Space(_SOFT, jitter=JITTER),
        example={**_EXAMPLE, "jitter": 0.1},
        source="CutPaste (arXiv 2104.04015) with edges of sigmoids",
    ),
}
CUTS: dict[str, Augmentation] = {
    "soft_cutout": _PATCH(
        apply=local(soft_cutout),
        space=Space(_SOFT, fill=FILL),
        example={**_EXAMPLE, "fill": 0.3},
        source="cut-out (arXiv 1708.04552) with edges of sigmoids",
    ),
    "cutdiff": Augmentation(
        draw=_draw_bump,
        apply=local(cutdiff),
        space=Space(
            area=AREA._replace(gradient=True, about="area that the bump stands for"),
            aspect=_ASPECT,
            strength=Range(1.0, 0.0, 1.0, "linear", "grey values", True, "depth of the bump"),
            angle=Range(
                0.0, 0.0, 180.0, "linear", "degrees", True, "turn of the bump, counter-clockwise"
            ),
        ),
        strength="area",
        smallest=smallest_area,
        example={"area": 0.1, "aspect": 1.4, "strength": 0.3, "angle": 30.0},
        group="local",
        source="ST-SSAD, arXiv 2306.12033",
    ),
}
