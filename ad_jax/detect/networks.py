"""The trained networks as functions of samples: the seeds' own scores, in fixed memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax.base import ranks
from ad_jax.base.devices import check_backend
from ad_jax.base.errors import InputError
from ad_jax.base.modality import modality
from ad_jax.base.numerics import in_float32
from ad_jax.data.samples import as_array, as_samples
from ad_jax.detect import scores, tiles
from ad_jax.detect.look import make_look, network, pretext_of
from ad_jax.detect.state import State
from ad_jax.features import Eyes, frozen, see, seen, seen_shape

BLOCKS = (1, 16, 256)  # samples (or tiles) a program run: with `BULK` the only sizes ever compiled
BULK = 4096  # small rows and series a program run, as long as there are that many
SMALL = 256  # numbers that a network sees of a small one


class Networks:
    """Scores by every seed; with tiles a sample's score is that of its strangest tile.

    Attributes:
      state: what was trained.
      plan: where the tiles lie, None without.
      backbone, pretext: of every seed.
      unravel: `[p] -> params` of the backbone.
      arrays: of the state, on the device; what `look` takes.
      look: `(arrays, seen [n, ...]) -> [seeds, n]`, pure, of what `look_at` gives.
      weights: of the seeds, None: all alike.
    """

    weights: np.ndarray | None = None

    @in_float32
    def __init__(self, state: State) -> None:
        check_backend()
        self.state = state
        self.pretext = pretext_of(state.config, state.setting)
        self.plan = None if state.tiling is None else state.tiling.plan(state.shape)
        self._frozen = frozen(state.config.backbone)
        if self.plan is not None:
            self._cut = jax.jit(partial(tiles.cut, self.plan))
        shape = seen_shape(state.config.backbone, state.seen, self.pretext.shown)
        self.backbone = network(state.config, shape, self.pretext)
        shapes = jax.eval_shape(self.backbone.init, jax.random.key(0))
        template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        flat, self.unravel = ravel_pytree(template)
        held = state.arrays["params"].shape[-1]
        if held != flat.size:
            raise InputError(
                f"the detector holds {held} parameters, its network takes {flat.size}; it was "
                "saved by another version"
            )
        look = make_look(self.backbone, self.pretext)

        def one(arrays: dict[str, jax.Array], samples: jax.Array) -> jax.Array:
            params = self.unravel(arrays["params"])
            if state.score == "head":
                return look.judge(params, samples)[1]
            density = scores.Density(arrays["mean"], arrays["precision"])
            return scores.score_density(density, look.embed(params, samples)[0])

        def every(arrays: dict[str, jax.Array], samples: jax.Array) -> jax.Array:
            if self.plan is None:
                return jax.lax.map(lambda own: one(own, samples), arrays)
            cut = samples if self._frozen else tiles.cut(self.plan, samples)
            cut = cut.reshape(-1, *cut.shape[2:])
            found = jax.lax.map(lambda own: one(own, cut), arrays)
            return found.reshape(len(found), -1, self.tiles).max(-1)

        self.look = every
        self._raw = jax.jit(every)
        self._surprise = jax.jit(jax.vmap(ranks.surprise))
        self.arrays = jax.device_put(
            {name: array for name, array in state.arrays.items() if name != "held_out"}
        )

    @property
    def parts(self) -> list[Networks]:
        """The networks that are alike, of which an ensemble has several; here all."""
        return [self]

    @property
    def tiles(self) -> int:
        """Tiles a sample; 1 where it is seen whole."""
        return 1 if self.plan is None else len(self.plan.corners)

    @property
    def bulk(self) -> int:
        """Samples of a full block, the most that are worth giving at once.

        A program run has a price of its own, which small samples pay less often in large blocks.
        """
        seen = math.prod(seen_shape(self.state.config.backbone, self.state.seen))
        small = modality(self.state.shape) != "image" and seen <= SMALL
        return BULK if small else max(1, BLOCKS[-1] // self.tiles)

    @in_float32
    def raw(self, samples: Any, eyes: Eyes | None = None) -> np.ndarray:
        """Every seed's own score `[seeds, n]` of samples `[n, h, w, c]`, `[n, h, w]` or `[n, d]`.

        What `eyes` have seen before is not encoded again.

        Raises:
          InputError: samples of another shape, dtype or range, or whose scores are not finite.
        """
        return self.block_by_block(
            samples, len(self.state.seeds), lambda block: self.scored(self.look_at(block, eyes))
        )

    def block_by_block(
        self, samples: Any, rows: int, score: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Scores `[rows, n]` of samples by `score`, which takes a block of one of few sizes."""
        samples = self.of_shape(samples)
        out = np.empty((rows, len(samples)), np.float32)
        sizes = tuple(max(1, size // self.tiles) for size in BLOCKS)
        for start, stop, block in self.batches(samples, sizes, self.bulk):
            found = score(block)[:, : stop - start]
            refuse_infinite(found.T, start, "score")
            out[:, start:stop] = found
        return out

    def scored(self, seen: np.ndarray) -> np.ndarray:
        """Every seed's own score `[seeds, n]` of what `look_at` made of samples."""
        return np.asarray(self._raw(self.arrays, seen))

    def look_at(self, block: np.ndarray, eyes: Eyes | None = None) -> np.ndarray:
        """What the networks see of a block: itself, or what a frozen encoder makes of it.

        That is `[n, gh, gw, d]`, of tiles `[n, t, gh, gw, d]`; with `eyes` they remember it.
        """
        backbone, shown = self.state.config.backbone, self.pretext.shown
        if eyes is not None:
            return self._seen_by(lambda samples: eyes.see(np.asarray(samples), shown), block)
        return self._seen_by(lambda samples: see(backbone, samples, shown), block)

    def seen(self, samples: jax.Array) -> jax.Array:
        """The same, pure, of all samples at once: for programs that hold the encoder."""
        backbone, shown = self.state.config.backbone, self.pretext.shown
        return self._seen_by(lambda some: seen(backbone, some, shown), samples)

    def _seen_by(self, encode: Callable[[Any], Any], samples: Any) -> Any:
        if not self._frozen:
            return samples
        if self.plan is None:
            return encode(samples)
        cut = self._cut(samples)
        found = encode(cut.reshape(-1, *cut.shape[2:]))
        return found.reshape(*cut.shape[:2], *found.shape[1:])

    def batches(
        self, samples: np.ndarray, sizes: tuple[int, ...], bulk: int | None = None
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """(start, stop, checked samples, padded as in `blocks`) of samples `of_shape`.

        Raises:
          InputError: a sample that is not finite or out of range.
        """
        for start, stop, size in blocks(len(samples), sizes, bulk):
            yield start, stop, padded(self._checked(samples[start:stop], start), size)

    @in_float32
    def surprise(self, raw: np.ndarray) -> np.ndarray:
        """`ranks.surprise` `[seeds, n]` of scores among held-out normals: see `State.among`."""
        raw = np.asarray(raw, np.float32)
        out = np.empty(raw.shape, np.float32)
        for start, stop, size in blocks(raw.shape[1], BLOCKS, max(self.bulk, BLOCKS[-1])):
            block = padded(raw[:, start:stop].T, size).T
            found = self._surprise(self.state.among, block)
            out[:, start:stop] = np.asarray(found)[:, : stop - start]
        return out

    def of_shape(self, samples: Any) -> np.ndarray:
        """Samples as an array `[n, *shape]`, n >= 1, whose values are not checked yet.

        Raises:
          InputError: no array, or one of another shape.
        """
        samples = as_array("X", samples, "holds samples of unequal shapes; resize them to one")
        wanted = self.state.shape
        if samples.ndim == len(wanted) and len(wanted) > 1 and wanted[-1] == 1:
            samples = samples[..., None]
        if samples.shape[1:] != wanted or samples.ndim == 0 or len(samples) == 0:
            raise InputError(
                f"X has shape {samples.shape}; the detector takes [n, "
                f"{', '.join(map(str, wanted))}] with n >= 1"
            )
        return samples

    def _checked(self, block: np.ndarray, start: int) -> np.ndarray:
        if block.dtype.kind == "f":
            bad = ~np.isfinite(block).all(axis=tuple(range(1, block.ndim)))
            if bad.any():
                raise InputError(f"sample {start + int(np.argmax(bad))} holds NaN or infinities")
        return as_samples("X", block, modality(self.state.shape) == "series")


def blocks(
    count: int, sizes: tuple[int, ...], bulk: int | None = None
) -> Iterator[tuple[int, int, int]]:
    """(start, stop, padded size) of blocks over `count` samples; `sizes` ascend.

    Full blocks of `bulk` samples (None: of the largest size) come first, so that no large one is
    filled up; then those of `sizes`, the last of them filled up to the smallest that holds it.

    >>> list(blocks(10, (1, 4))), list(blocks(10, (1, 4), 6))
    ([(0, 4, 4), (4, 8, 4), (8, 10, 4)], [(0, 6, 6), (6, 10, 4)])
    """
    start, bulk = 0, bulk or sizes[-1]
    while start < count:
        left = count - start
        fitting = next((size for size in sizes if left <= size), sizes[-1])
        size = bulk if left >= bulk else fitting
        yield start, min(start + size, count), size
        start += size


def refuse_infinite(found: np.ndarray, start: int, what: str) -> None:
    """Refuses results `[n, ...]` of samples from number `start` on that are not finite.

    Raises:
      InputError: names the first.
    """
    bad = ~np.isfinite(found).all(axis=tuple(range(1, found.ndim)))
    if bad.any():
        raise InputError(
            f"sample {start + int(np.argmax(bad))} has no finite {what}: its values are beyond "
            "what the network can take"
        )


def padded(block: np.ndarray, size: int) -> np.ndarray:
    """The block `[b, ...]` with its first row repeated up to `size` rows."""
    return np.concatenate([block, np.repeat(block[:1], size - len(block), axis=0)])
