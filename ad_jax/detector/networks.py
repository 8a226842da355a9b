"""The trained networks as functions of samples: the seeds' own scores, in fixed memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax import pretext as pretexts
from ad_jax import ranks, scores
from ad_jax.data.samples import as_samples
from ad_jax.detector.state import State
from ad_jax.errors import InputError
from ad_jax.program import make_look, network

BLOCKS = (16, 256)  # samples a program run: the only batch sizes that are ever compiled


class Networks:
    """Scores by every seed.

    Attributes:
      state: what was trained.
      backbone, pretext: of every seed.
      unravel: `[p] -> params` of the backbone.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.pretext = pretexts.make(state.setting.pretext, state.setting.augmentation)
        self.backbone = network(state.config, state.shape, self.pretext)
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

        self._raw = jax.jit(lambda arrays, x: jax.lax.map(lambda own: one(own, x), arrays))
        self._surprise = jax.jit(jax.vmap(ranks.surprise))
        self._arrays = jax.device_put(
            {name: array for name, array in state.arrays.items() if name != "held_out"}
        )

    def raw(self, samples: Any) -> np.ndarray:
        """Every seed's own score `[seeds, n]` of samples `[n, h, w, c]`, `[n, h, w]` or `[n, d]`.

        Raises:
          InputError: samples of another shape, dtype or range, or whose scores are not finite.
        """
        samples = self._of_shape(samples)
        out = np.empty((len(self.state.seeds), len(samples)), np.float32)
        for start, stop, size in blocks(len(samples)):
            block = self._checked(samples[start:stop], start)
            found = np.asarray(self._raw(self._arrays, padded(block, size)))[:, : stop - start]
            bad = ~np.isfinite(found).all(axis=0)
            if bad.any():
                raise InputError(
                    f"sample {start + int(np.argmax(bad))} has no finite score: its values are "
                    "beyond what the network can take"
                )
            out[:, start:stop] = found
        return out

    def surprise(self, raw: np.ndarray) -> np.ndarray:
        """`ranks.surprise` `[seeds, n]` of scores among each seed's own held-out normals."""
        raw = np.asarray(raw, np.float32)
        out = np.empty(raw.shape, np.float32)
        for start, stop, size in blocks(raw.shape[1]):
            block = padded(raw[:, start:stop].T, size).T
            found = self._surprise(self.state.arrays["held_out"], block)
            out[:, start:stop] = np.asarray(found)[:, : stop - start]
        return out

    def _of_shape(self, samples: Any) -> np.ndarray:
        try:
            samples = np.asarray(samples)
        except (ValueError, TypeError):
            raise InputError("X holds samples of unequal shapes; resize them to one") from None
        wanted = self.state.shape
        if samples.ndim == len(wanted) == 3 and wanted[2] == 1:
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
        return as_samples("X", block)


def blocks(count: int) -> Iterator[tuple[int, int, int]]:
    """(start, stop, padded size) of blocks over `count` samples; sizes from `BLOCKS` only."""
    small, large = BLOCKS
    for start in range(0, count, large):
        stop = min(start + large, count)
        yield start, stop, small if stop - start <= small else large


def padded(block: np.ndarray, size: int) -> np.ndarray:
    """The block `[b, ...]` with its first row repeated up to `size` rows."""
    return np.concatenate([block, np.repeat(block[:1], size - len(block), axis=0)])
