"""Feature maps brought to a grid of positions, each by where its own are centred.

All of it is separable and linear: a matrix for the rows and one for the columns.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.numerics import HIGHEST
from ad_jax.data.samples import resize_matrix
from ad_jax.train.backbones.contract import Cells

WINDOW = 3  # positions a side of the mean around every position (PatchCore, arXiv 2106.08265)


class Grid(NamedTuple):
    """Positions that maps are brought to.

    Attributes:
      sides: number of rows and of columns.
      cells: where the rows lie, and the columns.
    """

    sides: tuple[int, int]
    cells: tuple[Cells, Cells]


def shrunk(cells: Cells, size: int, new: int) -> Cells:
    """Where `new` area means over `size` positions lie."""
    factor = size / new
    return Cells(cells.stride * factor, cells.first + cells.stride * (factor - 1) / 2)


def between(size: int, cells: Cells, new: int, wanted: Cells) -> np.ndarray:
    """`[new, size]` from positions at `cells` to positions at `wanted`; rows sum to 1.

    Area means where there are fewer of them, then linear between the centres; beyond the outermost
    centres their values go on.
    """
    fewer = min(size, new)
    mean = resize_matrix(size, fewer)
    cells = shrunk(cells, size, fewer)
    places = (wanted.first + wanted.stride * np.arange(new) - cells.first) / cells.stride
    places = np.clip(places, 0, fewer - 1)
    return np.clip(1 - np.abs(places[:, None] - np.arange(fewer)), 0, None) @ mean


def mean_matrix(size: int, window: int = WINDOW) -> np.ndarray:
    """`[size, size]` means over `window` neighbours, of those inside only."""
    near = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) <= window // 2
    return near / near.sum(1, keepdims=True)


def both_ways(rows: np.ndarray, columns: np.ndarray, maps: jax.Array) -> jax.Array:
    """Matrices `[a, h]` and `[b, w]` applied to maps `[n, h, w, c] -> [n, a, b, c]`."""
    return jnp.einsum(
        "ah,nhwc,bw->nabc", jnp.float32(rows), maps, jnp.float32(columns), precision=HIGHEST
    )


def on_grid(
    one: jax.Array, cells: tuple[Cells, Cells], grid: Grid, window: int = WINDOW
) -> jax.Array:
    """A map `[n, h, w, c]` of these cells on the grid `[n, *grid.sides, c]`.

    Averaged over `window` x `window` of its positions, then read at the centres of the grid's.
    """
    rows, columns = (
        between(old, own, new, wanted) @ mean_matrix(old, window)
        for old, own, new, wanted in zip(one.shape[1:3], cells, *grid, strict=True)
    )
    return both_ways(rows, columns, one)
