"""Picture sheet: every augmentation at low, middle and high strength, with its mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.augment import Augmentation
from ad_jax.base.modality import modality
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.report import lines
from ad_jax.train.backbones import as_unit

COLUMNS = ("low", "middle", "high")
SAMPLES = 3
SHOWN = 96  # px a side on the sheet


@in_float32
def _augmented(
    name: str, problem: Problem, seed: int
) -> list[tuple[str, list[np.ndarray], list[np.ndarray]]]:
    """Per strength: caption, augmented samples `[h, w, c]`, masks `[h, w]`."""
    entry = augmentations.get(name)
    samples = as_unit(jnp.asarray(problem.train[: SAMPLES + 1]))
    columns = []
    for column, hyper in zip(COLUMNS, entry.strengths(len(COLUMNS), problem.shape), strict=False):
        caption = "at its defaults" if entry.space else "no hyperparameter"
        if entry.strength:
            caption = f"{column}: {entry.strength} {hyper[entry.strength]:.3g}"
        pairs = pseudo_anomalies(entry, hyper, samples, SAMPLES, seed)
        columns.append((caption, *(list(side) for side in zip(*pairs))))
    return columns  # type: ignore[return-value]


@in_float32
def pseudo_anomalies(
    entry: Augmentation, hyper: Mapping[str, Any], samples: jax.Array, most: int, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pseudo-anomalies `[h, w, c]` of the first `most` images, and their masks `[h, w]`.

    Every image's donor is the next one.
    """
    pairs = []
    for i in range(min(most, len(samples))):
        key = jax.random.fold_in(jax.random.key(seed), i)
        pairs.append(entry.random(key, hyper, samples[i], samples[(i + 1) % len(samples)]))
    return [(np.asarray(made), np.asarray(mask)) for made, mask in pairs]


def image_of(values: np.ndarray, side: int) -> Any:
    """A sample `[h, w, c]` or a mask `[h, w]` in [0, 1] as a picture (PIL) of `side` px."""
    from PIL import Image

    grey = values.ndim == 2 or values.shape[-1] == 1
    pixels = np.asarray(np.clip(values, 0, 1) * 255, np.uint8)
    image = Image.fromarray(pixels.reshape(pixels.shape[:2]) if grey else pixels[..., :3])
    return image.convert("RGB").resize((side, side), Image.Resampling.NEAREST)


def sheet(problem: Problem, seed: int = 0) -> Any:
    """The picture (PIL) for a problem's normals: a row per augmentation, sample above mask.

    Masks are left out where everything changes. Series and rows are drawn as lines (`lines.sheet`).
    """
    if modality(problem.shape) != "image":
        return lines.sheet(problem, seed)
    from PIL import Image, ImageDraw

    side, gap, margin, top = SHOWN, 4, 150, 24
    rows = []
    for name, entry in augmentations.CATALOGUE.items():
        columns = [] if entry.lacks(problem.shape) else _augmented(name, problem, seed)
        masked = any((mask < 1).any() for _, _, masks in columns for mask in masks)
        rows.append((name, entry, columns, masked))
    heights = [
        22 + (side + 2 * gap) * (1 + masked) if columns else 44 for *_, columns, masked in rows
    ]
    width = margin + len(COLUMNS) * (SAMPLES * (side + gap) + 24)
    page = Image.new("RGB", (width, 2 * top + sum(heights)), "#d8dde3")  # white masks have to show
    draw = ImageDraw.Draw(page)

    for (name, entry, columns, masked), height in zip(rows, heights, strict=True):
        below = "\n\nlower row: mask" if masked else "\n\nall of it changes"
        draw.text((8, top + 8), f"{name}\n{entry.group}{below if columns else ''}", fill="black")
        if not columns:
            draw.text((margin, top), f"needs {entry.lacks(problem.shape)}", fill="black")
        for column, (caption, images, masks) in enumerate(columns):
            left = margin + column * (SAMPLES * (side + gap) + 24)
            draw.text((left, top - 2), caption, fill="black")
            for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
                at = left + i * (side + gap)
                page.paste(image_of(image, side), (at, top + 14))
                if masked:
                    page.paste(image_of(mask, side), (at, top + 14 + side + gap))
        top += height
    return page
