"""Feature maps on one grid, and scores on that grid brought to the image's size.

All of it is separable and linear, so every step is a matrix for the rows and one for the columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.modality import modality
from ad_jax.features.placing import WINDOW, Grid, between, both_ways, shrunk
from ad_jax.train.backbones import Backbone, Cells

GRID = 32  # most positions a side
COARSEST = 12  # positions a side of a map that still says where
SMOOTHING = 1 / 64  # of the image's side: sigma 4 at 256 px, as PaDiM and PatchCore smooth


@dataclass(frozen=True, eq=False)  # a function to `jax.jit`, which takes no tuple
class Read:
    """Feature maps of samples, and where their positions lie.

    Attributes:
      maps: `(params, samples [n, h, w, c] in [0, 1]) -> maps [n, h_i, w_i, c_i]`; calling the
        whole does the same.
      cells: of every map, along the rows; across: along the columns where these lie otherwise.
      window: positions a side that are averaged first.
      in_tiles: whether samples come as tiles `[n, t, ...]`, where there are any.
    """

    maps: Callable[[Any, jax.Array], tuple[jax.Array, ...]]
    cells: tuple[Cells, ...]
    across: tuple[Cells, ...] = ()
    window: int = WINDOW
    in_tiles: bool = False

    @property
    def places(self) -> tuple[tuple[Cells, Cells], ...]:
        """Cells of every map along both sides."""
        return tuple(zip(self.cells, self.across or self.cells, strict=True))

    def __call__(self, params: Any, samples: jax.Array) -> tuple[jax.Array, ...]:
        return self.maps(params, samples)


def network_maps(
    backbone: Backbone, shape: tuple[int, ...], stages: Sequence[int] | None = None
) -> Read:
    """Reads stages of a network.

    Args:
      backbone: the network.
      shape: `(h, w, c)` or `(t, c)` of one sample.
      stages: which, from 0 (shallow) on. When not said, all but the deepest, which is closest to
        the pretext, and none coarser than `COARSEST` positions a side but the first: PaDiM (arXiv
        2011.08785) reads the first three of four stages, the coarsest 14 positions a side.

    Raises:
      InputError: a network without feature maps, a stage that it does not have.
    """
    cells = backbone.cells
    if not cells:
        raise InputError(
            "this network's stages are rows and have no positions, so there is no heatmap; take "
            "the backbone encoder or resnet18"
        )
    count = len(cells)
    least = min(shape[:2]) if modality(shape) == "image" else shape[0]
    fine = [i for i, c in enumerate(cells[:-1]) if i == 0 or c.count(least) >= COARSEST]
    chosen = tuple((fine or [0]) if stages is None else stages)
    wrong = [i for i in chosen if not 0 <= i < count]
    if wrong or not chosen:
        raise InputError(
            f"stages={list(chosen)} are not all of the network's; give some of {list(range(count))}"
        )

    def maps(params: Any, samples: jax.Array) -> tuple[jax.Array, ...]:
        stages = backbone.apply(params, backbone.enter(params, samples)).stages
        return tuple(stages[i] for i in chosen)

    return Read(maps, tuple(cells[i] for i in chosen))


def grid_maps(backbone: Backbone, cells: tuple[Cells, Cells], head: bool) -> Read:
    """Reads a frozen encoder's grids, as a head on them sees them, or what the head says of them.

    Args:
      backbone: the head; its samples are grids.
      cells: of the grid along the rows and the columns.
      head: whether to read its log-odds instead of the features.
    """

    def maps(params: Any, samples: jax.Array) -> tuple[jax.Array, ...]:
        entered = backbone.enter(params, samples)
        return backbone.apply(params, entered).stages[:1] if head else (entered,)

    return Read(maps, cells[:1], cells[1:], window=1, in_tiles=True)


# The samples themselves as their only map; the control without any network.
pixel_maps = Read(lambda _, samples: (samples,), (Cells(),))


def grid_of(shape: tuple[int, ...], cells: Sequence[Cells], across: Sequence[Cells] = ()) -> Grid:
    """The common grid of maps of an image `(h, w, ...)`: the finest, at most `GRID` a side.

    >>> grid_of((128, 96), [Cells(2), Cells(4)])
    Grid(sides=(32, 24), cells=(Cells(stride=4.0, first=1.0), Cells(stride=4.0, first=1.0)))
    """
    both = min(cells), min(across or cells)
    sizes = [finest.count(side) for finest, side in zip(both, shape[:2], strict=True)]
    shrink = max(1.0, max(sizes) / GRID)
    height, width = (math.ceil(size / shrink) for size in sizes)
    rows, columns = map(shrunk, both, sizes, (height, width))
    return Grid((height, width), (rows, columns))


def gaussian_matrix(size: int, sigma: float) -> np.ndarray:
    """`[size, size]` Gaussian smoothing, cut at 4 sigma, mirrored at the borders.

    Equal to `scipy.ndimage.gaussian_filter1d` (mode "reflect"); sigma 0 is the identity.
    """
    if sigma <= 0:
        return np.eye(size)
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    places = np.pad(np.arange(size), radius, mode="symmetric")
    out = np.zeros((size, size))
    for i in range(size):
        np.add.at(out[i], places[i : i + 2 * radius + 1], kernel / kernel.sum())
    return out


def to_image(scores: jax.Array, grid: Grid, shape: tuple[int, ...]) -> jax.Array:
    """Scores on a grid `[n, a, b]` at the image's size `[n, h, w]`.

    Enlarged linearly between the centres of the positions, then smoothed by a Gaussian whose
    standard deviation is a 64th of the image's longer side (4 px at 256 px).
    """
    sigma = SMOOTHING * max(shape[:2])
    rows, columns = (
        gaussian_matrix(new, sigma) @ between(old, cells, new, Cells())
        for old, cells, new in zip(*grid, shape[:2], strict=True)
    )
    return both_ways(rows, columns, scores[..., None])[..., 0]
