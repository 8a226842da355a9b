"""Image-space pseudo-anomalies on frozen features: drawn, encoded once, told apart by position.

An encoder is too costly to run in every training step, so a setting's pseudo-anomalies are drawn a
few times for every normal and encoded before training. A position counts as pseudo-anomalous where
the mask covers more than a tenth of its cell.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax import features
from ad_jax.base.modality import modality, sides
from ad_jax.data import Problem
from ad_jax.detect.look import pretext_of
from ad_jax.features import grids
from ad_jax.train.backbones import Cells, Units, as_unit, units_of
from ad_jax.train.pretexts import Pretext
from ad_jax.train.setting import Config, Setting

DRAWN = "drawn"  # family of the one program that all of them share
DRAWS = 2  # of every normal
COVERED = 0.1  # share of a cell
PIECES = 4096  # positions that a member draws from
KEPT = 4  # settings in memory


class Drawn(NamedTuple):
    """A member's pseudo-anomalies: positions and grids, or embeddings of whole images.

    Attributes:
      pieces: `[k, 1, 1, d]` positions that changed, of its training normals, or their embeddings;
        kind: `[k]` of each.
      train, held_out: `[n, gh, gw, d]` and `[m, gh, gw, d]`, one draw of every normal.
    """

    pieces: Any
    kind: Any
    train: Any
    held_out: Any


def covered(side: int, cells: Cells, count: int) -> np.ndarray:
    """Weights `[count, side]` of pixels in the cell around each position, cut at the border."""
    centres = cells.first + cells.stride * np.arange(count)
    edges = centres[:, None] + np.array([-0.5, 0.5]) * cells.stride + 0.5  # pixel i: [i, i + 1)
    pixels = np.arange(side)
    share = np.minimum(edges[:, 1:], pixels + 1) - np.maximum(edges[:, :1], pixels)
    share = np.clip(share, 0.0, 1.0)
    return (share / np.maximum(share.sum(1, keepdims=True), 1e-6)).astype(np.float32)


class _Whole(NamedTuple):
    """Of all normals: grids `[DRAWS, n, gh, gw, d]`, embeddings, shares of cells, kinds."""

    grids: np.ndarray
    embedding: np.ndarray
    share: np.ndarray
    kind: np.ndarray


class Draws:
    """Pseudo-anomalies of a problem's normals by setting; the last few stay in memory.

    A donor is a normal that is held out with the sample and trained on with it, so that nothing of
    a held-out normal reaches a training.

    Args:
      config: with a frozen encoder.
      problem: whose normals.
      eyes: of the encoder.
    """

    def __init__(self, config: Config, problem: Problem, eyes: features.Eyes) -> None:
        self._config, self._problem, self._eyes = config, problem, eyes
        self._encoder = features.get(config.backbone)
        parts = [problem.copied]
        if problem.held_out is not None:
            parts.append(problem.held_out)
        self._normals = np.concatenate(parts)
        units = (
            np.repeat(problem.folds, problem.turns)
            if problem.held_out is None
            else np.repeat([0, 1], [len(part) for part in parts])
        )
        self._donors = np.empty(len(self._normals), int)
        for unit in np.unique(units):
            own = np.flatnonzero(units == unit)
            # A donor's turn is the sample's; a normal alone has its own turned copies.
            self._donors[own] = np.roll(own, problem.turns if len(own) > problem.turns else 1)
        self._made: OrderedDict[str, _Whole] = OrderedDict()
        gh, gw, _ = features.seen_shape(config.backbone, problem.shape)
        self._cells = [
            covered(side, features.cells(self._encoder, side), count)
            for side, count in zip(sides(problem.shape), (gh, gw), strict=True)
        ]
        self._units = None  # those that the augmentation of series speaks of
        if modality(problem.shape) == "series":
            self._units = units_of(jnp.asarray(problem.train))

    def rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of all normals that a seed trains on and holds out."""
        problem = self._problem
        if problem.held_out is None:
            train, held_out = problem.split_rows(seed)
            return problem.rows_copied(train), held_out * problem.turns
        count = len(problem.copied)
        return np.arange(count), np.arange(count, len(self._normals))

    def of(self, setting: Setting, seed: int) -> Drawn:
        """A member's pseudo-anomalies; those of the setting are drawn once for all seeds."""
        pretext = pretext_of(self._config, setting)
        if pretext.shown is augmentations.get(setting.augmentation).views is not None:
            return self._turned(pretext, seed)
        if setting.key not in self._made:
            self._made[setting.key] = self._draw(setting)
        self._made.move_to_end(setting.key)
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        whole = self._made[setting.key]
        train, held_out = self.rows(seed)
        if pretext.shown is not None:
            seen = whole.embedding[:, :, None, None]
            own = seen[:, train]
            return Drawn(
                own.reshape(-1, *own.shape[2:]),
                whole.kind[:, train].reshape(-1),
                seen[0, train],
                seen[0, held_out],
            )
        changed = np.argwhere(whole.share[:, train] > COVERED)
        if not len(changed):  # too small for the grid: the positions that changed most
            share = whole.share[:, train]
            changed = np.argwhere(share >= np.quantile(share, 0.99))
        order = np.random.default_rng(seed).permutation(len(changed))
        draw, row, *place = changed[np.resize(order, PIECES)].T
        row = train[row]
        return Drawn(
            whole.grids[draw, row, place[0], place[1]][:, None, None],
            whole.kind[draw, row],
            whole.grids[0, train],
            whole.grids[0, held_out],
        )

    def _turned(self, pretext: Pretext, seed: int) -> Drawn:
        """For pretexts that tell an image's views apart: the normals as their second views."""
        seen = np.roll(self._eyes.see(self._normals, pretext.shown), -1, axis=1)
        train, held_out = (seen[rows] for rows in self.rows(seed))
        return Drawn(train[:1, :1], np.zeros(1, np.int32), train, held_out)

    def _draw(self, setting: Setting) -> _Whole:
        made: list[list[Any]] = [[], [], [], []]
        for draw in range(DRAWS):
            key = jax.random.fold_in(jax.random.key(self._config.root), draw)
            keys = jax.random.split(jax.random.fold_in(key, 3), len(self._normals))
            one: list[list[np.ndarray]] = [[], [], [], []]
            size = min(self._encoder.block, len(self._normals))
            for start in range(0, len(self._normals), size):
                rows = np.minimum(np.arange(start, start + size), len(self._normals) - 1)
                images, shares, kinds = self._augment(
                    setting, keys[rows], self._normals[rows], self._normals[self._donors[rows]]
                )
                count = min(size, len(self._normals) - start)
                parts = grids.in_blocks(self._encoder, np.asarray(images))
                seen = map(np.concatenate, zip(*parts, strict=True))
                for kept, new in zip(one, (*seen, shares, kinds), strict=True):
                    kept.append(np.asarray(new)[:count])
            for kept, blocks in zip(made, one, strict=True):
                kept.append(np.concatenate(blocks))
        return _Whole(*map(np.stack, made))

    def _augment(self, setting: Setting, keys: Any, samples: Any, donors: Any) -> Any:
        run = _program(setting.augmentation, *(tuple(map(tuple, c)) for c in self._cells))
        hyper = {name: jnp.float32(value) for name, value in setting.hyper.items()}
        return run(hyper, keys, samples, donors, self._units)


@functools.lru_cache(maxsize=32)
def _program(augmentation: str, down: Sequence[Any], across: Sequence[Any]) -> Any:
    entry = augmentations.get(augmentation)
    rows, columns = np.array(down, np.float32), np.array(across, np.float32)

    def one(hyper: Any, key: Any, sample: jax.Array, donor: jax.Array) -> Any:
        pseudo = entry.pseudo(key, hyper, sample, donor)
        mask = pseudo.mask.reshape(rows.shape[1], columns.shape[1])
        return pseudo.sample, rows @ mask @ columns.T, pseudo.kind

    def run(hyper: Any, keys: Any, samples: Any, donors: Any, units: Units | None = None) -> Any:
        samples, donors = as_unit(samples), as_unit(donors)
        if units is not None:
            samples, donors = units(samples), units(donors)
        made, share, kind = jax.vmap(one, (None, 0, 0, 0))(hyper, keys, samples, donors)
        return made if units is None else made * units.spread + units.mean, share, kind

    return jax.jit(run)
