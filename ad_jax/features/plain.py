"""Encoders without weights: rows as they are, and time points of series at several scales.

They make rows and series look like what a frozen network makes of images, grids of positions
`[gh, gw, d]`, so that heads, scores and pseudo-anomalies of features serve all three.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ad_jax.features.contract import Encoder, Maps
from ad_jax.train.backbones.contract import Cells

SCALES = (1, 2, 4, 8, 16)  # time points
BLOCK = 4096  # samples a forward pass


def _rows(params: Any, samples: jax.Array) -> Maps:
    flat = samples.reshape(samples.shape[0], -1).astype(jnp.float32)
    return Maps((flat[:, None, None],), flat)


def _everything(side: int) -> tuple[Cells, ...]:
    """One position in the middle of a side, whose cell is all of it."""
    return (Cells(float(side), (side - 1) / 2),)


def rows() -> Encoder:
    """Rows `[d]` as the only position of a grid, `[1, 1, d]`; a series `[t, c]` is a row of t c."""
    return Encoder(
        *("rows", (), _rows, _everything, (0,), "rows 1", 1),
        sees=("row", "series"),
        block=BLOCK,
    )


def _smoothed(series: jax.Array, size: int) -> jax.Array:
    """Means of `[n, t, c]` over windows of `size` around every point; edges are repeated."""
    left = size // 2
    padded = jnp.pad(series, ((0, 0), (left, size - 1 - left), (0, 0)), mode="edge")
    count = series.shape[1]
    return sum(padded[:, i : i + count] for i in range(size)) / size  # type: ignore[return-value]


def _multiscale(params: Any, samples: jax.Array) -> Maps:
    series = samples.astype(jnp.float32)
    mean = series.mean(1, keepdims=True)
    found = [series]
    for size in SCALES:
        level = _smoothed(series, size)
        ahead, behind = jnp.roll(level, -size, axis=1), jnp.roll(level, size, axis=1)
        inside = jnp.arange(series.shape[1])
        ahead = jnp.where((inside + size < series.shape[1])[:, None], ahead, level)
        behind = jnp.where((inside >= size)[:, None], behind, level)
        found += [level - mean, ahead - behind, ahead + behind - 2 * level]
        if size > 1:
            found.append(_smoothed(jnp.abs(series - level), size))
    grid = jnp.concatenate(found, axis=-1)[:, :, None]  # [n, t, 1, d]
    return Maps((grid,), jnp.concatenate([series, series - mean], 1).reshape(series.shape[0], -1))


def multiscale() -> Encoder:
    """Every time point of a series `[t, c]`, in 20 numbers a channel: `[t, 1, 20 c]`.

    Its value and, at each of `SCALES`, the local mean less the window's, its slope, its curvature
    and how much the series leaves it (not at scale 1): a fixed bank of filters as of a wavelet
    transform, each as large as the series is (twice the series, twice the numbers). The embedding
    of a whole window is its values, as they are and less their mean.
    """
    return Encoder(
        *("multiscale", (), _multiscale, lambda side: (Cells(),), (0,), "multiscale 1", 1),
        sees=("series",),
        block=256,
    )
