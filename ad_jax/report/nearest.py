"""What pseudo-anomalies of features look like: the places of the target that are most like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.features import Eyes, cells, encoders
from ad_jax.train.backbones import as_unit, units_of

MADE = 7  # pseudo-anomalies that are shown
IMAGES = 100  # of the target, and normals, that are looked at
CROP = 0.3  # of a side, around a place
BLOCK = 4096  # positions of the target that are compared at once


@in_float32
def nearest(
    problem: Problem, backbone: str, augmentation: str, hypers: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[np.ndarray]]:
    """For every point of the hyperparameters, crops `[h, w, c]` in [0, 1] of the target.

    The same positions of normals are changed with the same draw, and each crop shows the place of
    the target whose features, in units of the normals' spread, are nearest to one of them.

    Args:
      problem: of images; at most `IMAGES` normals and samples of its target are looked at, evenly
        spaced among all.
      backbone: name of a frozen encoder.
      augmentation: of features.
      hypers: title -> hyperparameters.
    """
    eyes, entry = Eyes(backbone), augmentations.get(augmentation)
    shown = problem.target[_spaced(len(problem.target))]
    normals, target = map(eyes.see, (problem.train[_spaced(len(problem.train))], shown))
    units = units_of(jnp.asarray(normals))
    flat = units(jnp.asarray(normals)).reshape(-1, normals.shape[-1])
    places = units(jnp.asarray(target)).reshape(-1, target.shape[-1])
    chosen = jax.random.choice(jax.random.key(0), len(flat), (MADE, 1, 1), replace=False)
    keys = jax.random.split(jax.random.key(1), MADE)
    out = {}
    for title, hyper in hypers.items():
        own = {name: jnp.asarray(value, jnp.float32) for name, value in hyper.items()}
        samples = flat[chosen]
        made = jax.vmap(lambda k, s, d, own=own: entry.pseudo(k, own, s, d).sample)(
            keys, samples, jnp.roll(samples, 1, axis=0)
        )
        found = _nearest_rows(made.reshape(MADE, -1), places)
        out[title] = [_crop(shown, target.shape, backbone, row) for row in found]
    return out


def _spaced(count: int) -> np.ndarray:
    """At most `IMAGES` rows of so many: what is sorted is seen from its beginning to its end."""
    return np.linspace(0, count - 1, min(count, IMAGES)).round().astype(int)


def _nearest_rows(made: jax.Array, places: jax.Array) -> list[int]:
    """Row of `places [n, d]` that is nearest to each of `made [k, d]`."""
    apart = [
        ((made[:, None] - places[None, start : start + BLOCK]) ** 2).sum(-1)
        for start in range(0, len(places), BLOCK)
    ]
    return np.asarray(jnp.concatenate(apart, axis=1).argmin(1)).tolist()


def _crop(images: np.ndarray, grid: tuple[int, ...], backbone: str, row: int) -> np.ndarray:
    """The surroundings of a place, the `row`-th of grids `[n, gh, gw, d]`, in its image."""
    image, *place = np.unravel_index(row, grid[:3])
    sides, encoder = images.shape[1:3], encoders.get(backbone)
    size = max(8, round(CROP * min(sides)))
    corner = []
    for side, at in zip(sides, place, strict=True):
        cell = cells(encoder, side)
        middle = cell.first + cell.stride * at
        corner.append(int(np.clip(round(middle - size / 2), 0, max(0, side - size))))
    top, left = corner
    crop = images[image, top : top + size, left : left + size]
    return np.asarray(as_unit(jnp.asarray(crop)))
