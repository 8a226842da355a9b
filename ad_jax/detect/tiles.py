"""Large images as overlapping tiles: cut, score every tile, stitch the heatmaps.

Tiles are spread evenly, so that the first begins and the last ends at a border: nothing is padded,
unless an image is smaller than a tile; then it is mirrored at its lower and right border.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError, check_name
from ad_jax.base.numerics import rowwise
from ad_jax.data import Problem
from ad_jax.data.folds import number_groups, number_of
from ad_jax.data.samples import content_hashes

JOINS = ("mean", "max")
_FAINTEST = 1e-3  # weight at a tile's edge: a border pixel that one tile covers is still its own
_IMAGES = 16  # a block


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the tiles of an image lie; static, so every function below has fixed shapes.

    Attributes:
      sides: `(h, w)` of the image in px.
      tile: side of a tile in px.
      corners: `[t, 2]` top and left of every tile kept.
      region: `[h, w]` bool, what counts; None = all of it.
    """

    sides: tuple[int, int]
    tile: int
    corners: np.ndarray
    region: np.ndarray | None = None

    @property
    def padded(self) -> tuple[int, int]:
        """Sides of the image that the tiles are cut from."""
        return max(self.sides[0], self.tile), max(self.sides[1], self.tile)


def _starts(side: int, tile: int, overlap: float) -> np.ndarray:
    """First pixels of the tiles along one side; neighbours share `overlap` of a tile or more."""
    stride = max(1, tile - math.ceil(overlap * tile))
    count = 1 + math.ceil((side - tile) / stride) if side > tile else 1
    return np.round(np.linspace(0, max(side - tile, 0), count)).astype(int)


def plan(
    shape: tuple[int, ...], tile: int, overlap: float = 0.25, region: np.ndarray | None = None
) -> Plan:
    """Places tiles over images.

    Args:
      shape: `(h, w, ...)` of one image.
      tile: side of a tile in px.
      overlap: share of a tile that neighbours have in common at least, 0 up to below 1.
      region: `[h, w]`, not zero where it counts (one fixed camera). Tiles without any such pixel
        are dropped; pixels outside are black in the tiles and 0 in the heatmaps.

    Raises:
      InputError: values out of range, a region of another size or an empty one.

    >>> plan((100, 64), 64).corners.tolist()
    [[0, 0], [36, 0]]
    """
    if len(shape) < 2:
        raise InputError(f"tiles are cut from images [h, w, c], got a sample of shape {shape}")
    sides = int(shape[0]), int(shape[1])
    if tile < 1:
        raise InputError(f"tile={tile} px is no size; give one like 64")
    if not 0.0 <= overlap < 1.0:
        raise InputError(f"overlap={overlap:g} is out of range; give a share from 0 to below 1")
    rows, columns = (_starts(side, tile, overlap) for side in sides)
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    if region is None:
        return Plan(sides, tile, corners)
    region = np.asarray(region) != 0
    if region.shape != sides:
        raise InputError(f"the region has shape {region.shape}, the images {sides}; resize it")
    if not region.any():
        raise InputError("the region is empty; mark what counts with values above 0")
    kept = [region[top : top + tile, left : left + tile].any() for top, left in corners]
    return Plan(sides, tile, corners[np.array(kept)], region)


def cut(where: Plan, images: jax.Array) -> jax.Array:
    """Tiles `[n, t, tile, tile, c]` of images `[n, h, w, c]`, in the dtype of the images."""
    missing = [(0, p - s) for p, s in zip(where.padded, where.sides, strict=True)]
    corners = jnp.asarray(where.corners)

    def one(image: jax.Array) -> jax.Array:
        if where.region is not None:
            image = jnp.where(where.region[..., None], image, jnp.zeros((), image.dtype))
        image = jnp.pad(image, (*missing, (0, 0)), mode="symmetric")
        size = (where.tile, where.tile, image.shape[-1])
        return jax.vmap(
            lambda corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), size)
        )(corners)

    return rowwise(jax.vmap(one), images, _IMAGES)


def pieces(where: Plan, images: np.ndarray) -> np.ndarray:
    """The tiles of all images below each other `[n t, tile, tile, c]`, on the host."""
    tiles = np.asarray(cut(where, jnp.asarray(images)))
    return tiles.reshape(-1, *tiles.shape[2:])


def window(tile: int) -> np.ndarray:
    """Weights `[tile, tile]` of a tile's pixels: a squared sine both ways, near 0 at its edge."""
    along = np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2 + _FAINTEST
    return np.outer(along, along)


def stitch(where: Plan, maps: jax.Array, join: str = "mean") -> jax.Array:
    """Heatmaps `[n, h, w]` from those of tiles `[n, t, tile, tile]`; 0 outside the region.

    Args:
      where: the plan that the tiles were cut by.
      maps: one per tile kept, at least 0.
      join: `mean`, weighted by `window`, so that no seam shows; `max`, the highest of all tiles.

    Raises:
      InputError: an unknown join.
    """
    check_name(JOINS, join, "join")
    offsets = np.arange(where.tile)
    rows = where.corners[:, 0, None, None] + offsets[:, None]  # [t, tile, 1]
    columns = where.corners[:, 1, None, None] + offsets  # [t, 1, tile]
    weights = window(where.tile)
    total = np.zeros(where.padded)
    np.add.at(total, (rows, columns), weights)
    share = np.float32(weights / np.where(total > 0, total, 1.0)[rows, columns])  # [t, tile, tile]
    height, width = where.sides

    def one(parts: jax.Array) -> jax.Array:
        empty = jnp.zeros(where.padded, parts.dtype)
        if join == "mean":
            whole = empty.at[rows, columns].add(parts * share)
        else:
            whole = empty.at[rows, columns].max(parts)
        whole = whole[:height, :width]
        return whole if where.region is None else jnp.where(where.region, whole, 0.0)

    return rowwise(jax.vmap(one), maps, _IMAGES)


class Tiled(NamedTuple):
    """A problem of tiles, and the way back.

    Attributes:
      problem: tiles of the normals and of the target; tiles of one image are a group.
      plan: where they lie.
      rows: `[n, t]` row of `problem.target` that holds tile t of image n of the large target.
      train_rows: the same of the normals; `held_out_rows` of those held out apart, or None.
    """

    problem: Problem
    plan: Plan
    rows: np.ndarray
    train_rows: np.ndarray
    held_out_rows: np.ndarray | None

    @property
    def folds(self) -> np.ndarray:
        """Fold of every normal image `[n]`: that of all its tiles."""
        return self.problem.folds[self.train_rows[:, 0]]


def tiled(problem: Problem, where: Plan) -> Tiled:
    """The problem whose samples are the tiles of a problem of large images.

    Its target is in the order of the tiles' contents, so not image by image: `rows` leads back.
    Splits never share an image: its tiles form one group, together with those of images that were a
    group (or copies of each other) before. Its folds need not be those of the large problem:
    `Tiled.folds` says which images they are.

    Raises:
      InputError: images of another size than the plan's.
    """
    if len(problem.shape) != 3 or problem.shape[:2] != where.sides:
        raise InputError(
            f"the plan is for images of {where.sides} px, the problem holds samples of shape "
            f"{problem.shape}; make the plan with problem.shape"
        )
    count = len(where.corners)

    def places(hashes: list[str], groups: np.ndarray | None = None) -> np.ndarray:
        """Row `[n, t]` of every tile in the order in which `Problem` puts them."""
        ties = np.zeros(len(hashes)) if groups is None else groups
        order = sorted(range(len(hashes)), key=lambda i: (hashes[i], ties[i]))
        rows = np.empty(len(hashes), np.int64)
        rows[order] = np.arange(len(hashes))
        return rows.reshape(-1, count)

    train, target = pieces(where, problem.train), pieces(where, problem.target)
    held_out = None if problem.held_out is None else pieces(where, problem.held_out)
    owners = np.repeat(problem.units, count)
    hashes = content_hashes(train)
    return Tiled(
        Problem(
            train=train,
            target=target,
            held_out=held_out,
            groups=owners,
            distinct=False,
            turns=problem.turns,
        ),
        where,
        places(content_hashes(target)),
        places(hashes, number_groups(owners, hashes)),
        None if held_out is None else places(content_hashes(held_out)),
    )


def image_scores(cuts: Tiled, scores: np.ndarray) -> np.ndarray:
    """Scores `[..., n]` of images from those of the target's tiles `[..., n t]`: the highest."""
    return np.asarray(scores)[..., cuts.rows].max(-1)


def held_out_scores(cuts: Tiled, scores: np.ndarray, seed: int) -> np.ndarray:
    """The same `[..., m]` of a seed's held-out normals, from its held-out tiles `[..., m t]`."""
    scores = np.asarray(scores)
    if cuts.held_out_rows is not None:
        return scores[..., cuts.held_out_rows].max(-1)
    of_tiles, _ = _held_out(cuts, seed)
    return np.where(of_tiles >= 0, scores[..., of_tiles], -np.inf).max(-1)


def held_out_groups(cuts: Tiled, problem: Problem, seeds: Sequence[int]) -> np.ndarray | None:
    """`problem.held_out_groups` of the images that `held_out_scores` scores."""
    if problem.groups is None or problem.held_out is not None:
        return None
    return np.stack([problem.groups[_held_out(cuts, seed)[1]] for seed in seeds])


def _held_out(cuts: Tiled, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places `[m, t]` of a seed's held-out tiles among all it holds out, and their images `[m]`.

    Folds of unlike size are cut, so some tiles of an image may not have been scored, which have
    the place -1; the images are the first of the fold that have any, as many for every seed.
    """

    def inside(fold: int) -> tuple[np.ndarray, np.ndarray]:
        _, rows = cuts.problem.split_rows(fold)
        place = np.full(len(cuts.problem.train), -1)
        place[rows] = np.arange(len(rows))
        found = place[cuts.train_rows]  # [n, t]
        return found, np.flatnonzero((found >= 0).any(1))

    least = min(len(inside(fold)[1]) for fold in range(number_of(cuts.problem.folds)))
    found, images = inside(seed)
    return found[images[:least]], images[:least]


def image_maps(cuts: Tiled, maps: np.ndarray, join: str = "mean") -> np.ndarray:
    """Heatmaps `[n, h, w]` of the images from those of the target's tiles `[n t, tile, tile]`."""
    return np.asarray(stitch(cuts.plan, jnp.asarray(np.asarray(maps)[cuts.rows]), join))
