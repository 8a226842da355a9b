"""Local operations: something happens inside one patch of the sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.augment.contract import Augmentation, Range


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


def _spread(key: jax.Array, centre: jax.Array, factor: jax.Array) -> jax.Array:
    """Log-uniform in [centre / factor, centre * factor]; differentiable in both."""
    return centre * factor ** jax.random.uniform(key, (), minval=-1.0, maxval=1.0)


def _draw_patch(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Patch:
    """Sides from area (share of the image) and aspect (width : height), wholly inside.

    A side is never under 2 px nor over the image, so very elongated large patches are clipped.
    """
    height, width = shape[:2]
    area_key, aspect_key, place_key, jitter_key = jax.random.split(key, 4)
    area = _spread(area_key, hyper["area"], hyper["area_spread"])
    aspect = _spread(aspect_key, jnp.float32(1.0), hyper["aspect_spread"])
    rows = jnp.clip(jnp.round(jnp.sqrt(area / aspect) * height), 2, height)
    columns = jnp.clip(jnp.round(jnp.sqrt(area * aspect) * width), 2, width)
    free = jnp.stack([height - rows, width - columns, height - rows, width - columns])
    corner = jnp.floor(jax.random.uniform(place_key, (4,)) * (free + 1.0)).astype(jnp.int32)
    jitter = hyper.get("jitter", 0.0)
    brightness, contrast = jitter * jax.random.uniform(jitter_key, (2,), minval=-1.0, maxval=1.0)
    fill = jnp.asarray(hyper.get("fill", 0.0), jnp.float32)
    top, left, source_top, source_left = corner
    return Patch(
        rows, columns, top, left, source_top, source_left, brightness, 1.0 + contrast, fill
    )


def _inside(patch: Patch, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    rows = jnp.arange(shape[0])[:, None]
    columns = jnp.arange(shape[1])[None, :]
    inside = (rows >= patch.top) & (rows < patch.top + patch.height)
    inside &= (columns >= patch.left) & (columns < patch.left + patch.width)
    return inside.astype(dtype)  # [h, w]


def cutpaste(sample: jax.Array, patch: Patch, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pastes a patch of the sample elsewhere in it, its colour jittered (arXiv 2104.04015)."""
    del donor
    mask = _inside(patch, sample.shape, sample.dtype)
    moved = jnp.roll(sample, patch.top - patch.source_top, axis=0)
    moved = jnp.roll(moved, patch.left - patch.source_left, axis=1)
    inside = mask[..., None]
    mean = (moved * inside).sum() / (inside.sum() * sample.shape[-1])
    # Written as an increment, so that no jitter leaves the pixels bit-equal.
    moved = moved + (moved - mean) * (patch.contrast - 1.0) + patch.brightness
    moved = jnp.clip(moved, 0.0, 1.0)
    return jnp.where(inside > 0, moved, sample), mask


def cutout(sample: jax.Array, patch: Patch, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sets a patch to one value (DeVries & Taylor 2017; 0 in arXiv 2307.06534)."""
    del donor
    mask = _inside(patch, sample.shape, sample.dtype)
    return jnp.where(mask[..., None] > 0, patch.fill.astype(sample.dtype), sample), mask


class Bump(NamedTuple):
    """A smooth hole: centre in pixels, half-sides as shares of the image (scalars)."""

    row: jax.Array
    column: jax.Array
    height: jax.Array
    width: jax.Array
    strength: jax.Array


def _draw_bump(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Bump:
    place = jax.random.uniform(key, (2,)) * jnp.array([shape[0] - 1, shape[1] - 1], jnp.float32)
    return Bump(
        place[0],
        place[1],
        jnp.sqrt(hyper["area"] / hyper["aspect"]),
        jnp.sqrt(hyper["area"] * hyper["aspect"]),
        jnp.asarray(hyper["strength"], jnp.float32),
    )


def cutdiff(sample: jax.Array, bump: Bump, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Subtracts a Gaussian bump: cut-out with a gradient (ST-SSAD, arXiv 2306.12033)."""
    del donor
    rows = (jnp.arange(sample.shape[0])[:, None] - bump.row) / (bump.height * sample.shape[0])
    columns = (jnp.arange(sample.shape[1])[None, :] - bump.column) / (bump.width * sample.shape[1])
    mask = bump.strength * jnp.exp(-(rows**2 + columns**2) / 0.2)
    mask = mask.astype(sample.dtype)
    return jnp.clip(sample - mask[..., None], 0.0, 1.0), mask


_AREA = Range(0.08, 0.001, 0.8, "log", "share of the image", False, "centre of the patch's area")
_AREA_SPREAD = Range(1.41, 1.0, 4.0, "log", "factor", False, "area within centre / and x this")
_ASPECT_SPREAD = Range(3.3, 1.0, 5.0, "log", "factor", False, "aspect within 1 / and x this")

CUTPASTE = Augmentation(
    _draw_patch,
    cutpaste,
    {
        "area": _AREA,
        "area_spread": _AREA_SPREAD,
        "aspect_spread": _ASPECT_SPREAD,
        "jitter": Range(0.1, 0.0, 0.5, "linear", "grey values", True, "colour jitter of the patch"),
    },
    "local",
    "area",
    "CutPaste, arXiv 2104.04015",
)
CUTOUT = Augmentation(
    _draw_patch,
    cutout,
    {
        "area": _AREA,
        "area_spread": _AREA_SPREAD,
        "aspect_spread": _ASPECT_SPREAD,
        "fill": Range(0.0, 0.0, 1.0, "linear", "grey value", True, "value of the patch"),
    },
    "local",
    "area",
    "DeVries & Taylor, arXiv 1708.04552",
)
CUTDIFF = Augmentation(
    _draw_bump,
    cutdiff,
    {
        "area": _AREA._replace(gradient=True, about="area that the bump stands for"),
        "aspect": Range(1.0, 0.2, 5.0, "log", "width : height", True, "shape of the bump"),
        "strength": Range(1.0, 0.0, 1.0, "linear", "grey values", True, "depth of the bump"),
    },
    "local",
    "area",
    "ST-SSAD, arXiv 2306.12033",
)
