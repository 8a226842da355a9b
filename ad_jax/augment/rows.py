"""Transformations of rows `[d]`: random affine maps, which the pretext `prediction` tells apart.

Maps mix columns, so these have to be in comparable units. Rows of tables from files and frames are
(`ad_jax.data.columns`); other rows have to be scaled before.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.augment.contract import Augmentation, whole

VIEWS = 16  # maps, with the identity
_SEED = 2005


@functools.lru_cache(maxsize=8)
def affine_maps(width: int) -> tuple[np.ndarray, np.ndarray]:
    """The maps of rows of a width, the same for ever: matrices `[VIEWS, d, d]`, steps `[VIEWS, d]`.

    The first is the identity. The others' entries are Gaussian, of standard deviation 1 / sqrt(d)
    in the matrices and 1 in the steps, so that columns in units of their spread keep that size.
    At a thousand columns they are 64 MB.
    """
    random = np.random.RandomState(_SEED)  # whose stream numpy promises not to change
    matrices = random.standard_normal((VIEWS, width, width)) / np.sqrt(width)
    steps = random.standard_normal((VIEWS, width))
    matrices[0], steps[0] = np.eye(width), 0
    return matrices.astype(np.float32), steps.astype(np.float32)


def affine(sample: jax.Array, index: jax.Array | int) -> jax.Array:
    """Map `index` of `affine_maps` of a sample, over its last axis."""
    matrices, steps = map(jnp.asarray, affine_maps(sample.shape[-1]))
    moved = jnp.matmul(sample, matrices[index], precision="highest")
    return moved + jnp.broadcast_to(steps[index], sample.shape)


def affine_views(sample: jax.Array) -> jax.Array:
    """A row `[d]` under all maps, itself first: `[VIEWS, d]`."""
    others = jax.vmap(lambda index: affine(sample, index))(jnp.arange(1, VIEWS))
    return jnp.concatenate([sample[None], others])


def _draw_map(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> jax.Array:
    return jax.random.randint(key, (), 1, VIEWS)


ROWS: dict[str, Augmentation] = {
    "affine_views": Augmentation(
        draw=_draw_map,
        apply=whole(affine),
        group="geometric",
        source="random affine maps of GOAD, Bergman & Hoshen, ICLR 2020, arXiv 2005.02359 (there "
        "told apart by distances to centres, here by a classifier)",
        views=affine_views,
        takes=("row",),
    ),
}
