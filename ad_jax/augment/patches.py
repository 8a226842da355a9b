"""Local operations on one upright patch of whole pixels, its edges hard."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.augment.contract import Augmentation, local, smallest_area
from ad_jax.base.space import Range, Space


class Patch(NamedTuple):
    """Where a patch goes and where it comes from, in pixels (scalars).

    Attributes:
      height, width: sides.
      top, left: where it is laid.
      source_top, source_left: where it is cut.
      brightness, contrast: colour jitter of the patch, around 0 and 1.
      fill: value of a patch that is cut out.
    """

    height: jax.Array
    width: jax.Array
    top: jax.Array
    left: jax.Array
    source_top: jax.Array
    source_left: jax.Array
    brightness: jax.Array
    contrast: jax.Array
    fill: jax.Array


def spread(key: jax.Array, centre: jax.Array | float, factor: jax.Array) -> jax.Array:
    """Log-uniform in [centre / factor, centre * factor]; differentiable in both."""
    return centre * factor ** jax.random.uniform(key, (), minval=-1.0, maxval=1.0)


def sides(
    area_key: jax.Array, aspect_key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Height and width in real-valued px, of a drawn area (share of the image) and aspect.

    The aspect is width : height with both in shares of the image, 1 in the middle unless `hyper`
    has an `aspect`. Not yet bounded by the image.
    """
    area = spread(area_key, hyper["area"], hyper["area_spread"])
    aspect = spread(aspect_key, hyper.get("aspect", 1.0), hyper["aspect_spread"])
    return jnp.sqrt(area / aspect) * shape[0], jnp.sqrt(area * aspect) * shape[1]


def tint(key: jax.Array, hyper: Mapping[str, Any]) -> tuple[jax.Array, jax.Array]:
    """Brightness and contrast, uniform within `jitter` of 0 and 1; exactly those without one."""
    jitter = hyper.get("jitter", 0.0)
    brightness, contrast = jitter * jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
    return brightness, 1.0 + contrast


def _draw_patch(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Patch:
    """Sides from area (share of the image) and aspect (width : height), wholly inside.

    A side is never under 2 px nor over the image, so very elongated large patches are clipped.
    """
    height, width = shape[:2]
    area_key, aspect_key, place_key, jitter_key = jax.random.split(key, 4)
    rows, columns = sides(area_key, aspect_key, hyper, shape)
    rows = jnp.clip(jnp.round(rows), 2, height)
    columns = jnp.clip(jnp.round(columns), 2, width)
    free = jnp.stack([height - rows, width - columns, height - rows, width - columns])
    corner = jnp.floor(jax.random.uniform(place_key, (4,)) * (free + 1.0)).astype(jnp.int32)
    top, left, source_top, source_left = corner
    brightness, contrast = tint(jitter_key, hyper)
    fill = jnp.asarray(hyper.get("fill", 0.0), jnp.float32)
    return Patch(rows, columns, top, left, source_top, source_left, brightness, contrast, fill)


def _inside(patch: Patch, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    rows = jnp.arange(shape[0])[:, None]
    columns = jnp.arange(shape[1])[None, :]
    inside = (rows >= patch.top) & (rows < patch.top + patch.height)
    inside &= (columns >= patch.left) & (columns < patch.left + patch.width)
    return inside.astype(dtype)  # [h, w]


def shifted(sample: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Moves `[h, w, c]` by whole px, down and to the right; what leaves comes in opposite."""
    return jnp.roll(jnp.roll(sample, rows, axis=0), columns, axis=1)


def jittered(
    pixels: jax.Array, mask: jax.Array, brightness: jax.Array, contrast: jax.Array
) -> jax.Array:
    """Contrast of `[h, w, c]` about the mean under the mask `[h, w]`, then brightness; clipped."""
    inside = mask[..., None]
    mean = (pixels * inside).sum() / (inside.sum() * pixels.shape[-1])
    # Written as an increment, so that no jitter leaves the pixels bit-equal.
    return jnp.clip(pixels + (pixels - mean) * (contrast - 1.0) + brightness, 0.0, 1.0)


def cutpaste(sample: jax.Array, patch: Patch) -> tuple[jax.Array, jax.Array]:
    """Pastes a patch of the sample elsewhere in it, its colour jittered (arXiv 2104.04015)."""
    return cutpaste_donor(sample, patch, sample)


def cutpaste_donor(
    sample: jax.Array, patch: Patch, donor: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Pastes a patch of the donor, cut at another place, its colour jittered."""
    mask = _inside(patch, sample.shape, sample.dtype)
    moved = shifted(donor, patch.top - patch.source_top, patch.left - patch.source_left)
    moved = jittered(moved, mask, patch.brightness, patch.contrast)
    return jnp.where(mask[..., None] > 0, moved, sample), mask


def cutout(sample: jax.Array, patch: Patch) -> tuple[jax.Array, jax.Array]:
    """Sets a patch to one value (DeVries & Taylor 2017; 0 in arXiv 2307.06534)."""
    mask = _inside(patch, sample.shape, sample.dtype)
    return jnp.where(mask[..., None] > 0, patch.fill.astype(sample.dtype), sample), mask


def cutavg(sample: jax.Array, patch: Patch) -> tuple[jax.Array, jax.Array]:
    """Sets a patch to its own mean colour, channel by channel (arXiv 2307.06534)."""
    mask = _inside(patch, sample.shape, sample.dtype)
    inside = mask[..., None]
    mean = (sample * inside).sum((0, 1)) / inside.sum()  # [c]
    return jnp.where(inside > 0, mean, sample), mask


AREA = Range(0.08, 0.001, 0.8, "log", "share of the image", False, "centre of the patch's area")
AREA_SPREAD = Range(1.41, 1.0, 4.0, "log", "factor", False, "area within centre / and x this")
ASPECT_SPREAD = Range(3.3, 1.0, 5.0, "log", "factor", False, "aspect within 1 / and x this")
FILL = Range(0.0, 0.0, 1.0, "linear", "grey value", True, "value of the patch")
JITTER = Range(0.1, 0.0, 0.5, "linear", "grey values", True, "colour jitter of the patch")
_SIDES = {"area": AREA, "area_spread": AREA_SPREAD, "aspect_spread": ASPECT_SPREAD}
_PATCH = functools.partial(
    Augmentation, draw=_draw_patch, strength="area", smallest=smallest_area, group="local"
)
_EXAMPLE = {"area": 0.1, "area_spread": 1.5, "aspect_spread": 2.0}

PASTES: dict[str, Augmentation] = {
    "cutpaste": _PATCH(
        apply=local(cutpaste),
        space=Space(_SIDES, jitter=JITTER),
        example={**_EXAMPLE, "jitter": 0.1},
        source="CutPaste, arXiv 2104.04015",
    ),
    "cutpaste_donor": _PATCH(
        apply=cutpaste_donor,
        space=Space(_SIDES, jitter=JITTER),
        example={**_EXAMPLE, "jitter": 0.1},
        source="CutPaste, arXiv 2104.04015, with the patch of another training sample",
    ),
}
CUTS: dict[str, Augmentation] = {
    "cutout": _PATCH(
        apply=local(cutout),
        space=Space(_SIDES, fill=FILL),
        example={**_EXAMPLE, "fill": 0.3},
        source="DeVries & Taylor, arXiv 1708.04552",
    ),
    "cutavg": _PATCH(
        apply=local(cutavg),
        space=Space(_SIDES),
        example=_EXAMPLE,
        source="DSV, arXiv 2307.06534",
    ),
}
