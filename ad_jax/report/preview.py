"""Picture sheet: every augmentation at low, middle and high strength, with its mask."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.data import Problem
from ad_jax.train import as_unit

COLUMNS = ("low", "middle", "high")
SAMPLES = 3
SHOWN = 96  # px a side on the sheet


def sheet(problem: Problem, seed: int = 0) -> Any:
    """The picture (PIL) for a problem's normals: a row per augmentation, sample above mask."""
    from PIL import Image, ImageDraw

    samples = as_unit(jnp.asarray(problem.train[: SAMPLES + 1]))
    count = min(SAMPLES, len(samples))
    side, gap, margin = SHOWN, 4, 150
    width = margin + len(COLUMNS) * (count * (side + gap) + 24)
    height = 30 + len(augmentations.CATALOGUE) * (2 * side + 3 * gap + 22)
    page = Image.new("RGB", (width, height), "#d8dde3")  # white masks have to show
    draw = ImageDraw.Draw(page)

    def picture(values: np.ndarray) -> Any:
        grey = values.ndim == 2 or values.shape[-1] == 1
        pixels = np.asarray(np.clip(values, 0, 1) * 255, np.uint8)
        image = Image.fromarray(pixels.reshape(pixels.shape[:2]) if grey else pixels[..., :3])
        return image.convert("RGB").resize((side, side), Image.Resampling.NEAREST)

    top = 24
    for name, entry in augmentations.CATALOGUE.items():
        draw.text((8, top + 8), f"{name}\n{entry.group}\n\nlower row: mask", fill="black")
        if entry.lacks(problem.shape):
            draw.text((margin, top), f"needs {entry.lacks(problem.shape)}", fill="black")
            top += 2 * side + 3 * gap + 22
            continue
        for column, hyper in enumerate(entry.strengths(len(COLUMNS), problem.shape)):
            left = margin + column * (count * (side + gap) + 24)
            caption = "no hyperparameter"
            if entry.strength:
                caption = f"{COLUMNS[column]}: {entry.strength} {hyper[entry.strength]:.3g}"
            draw.text((left, top - 2), caption, fill="black")
            for i in range(count):
                key = jax.random.fold_in(jax.random.key(seed), i)
                donor = samples[(i + 1) % len(samples)]
                image, mask = entry.random(key, hyper, samples[i], donor)
                at = left + i * (side + gap)
                page.paste(picture(np.asarray(image)), (at, top + 14))
                page.paste(picture(np.asarray(mask)), (at, top + 14 + side + gap))
        top += 2 * side + 3 * gap + 22
    return page
