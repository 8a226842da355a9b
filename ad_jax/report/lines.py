"""Picture sheet of augmentations of series and rows: lines, and what of them was changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.augment import Augmentation
from ad_jax.base.modality import modality
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.report.figures import theme
from ad_jax.train.backbones import units_of

COLUMNS = ("low", "middle", "high")
WIDTH, HEIGHT = 1000, 110  # of the sheet, and of every augmentation on it
MOST = 24  # columns of a row, or points, that have a tick of their own
BEFORE, AFTER = theme.colour("grey"), theme.colour("red")


def entries(shape: tuple[int, ...]) -> Mapping[str, Augmentation]:
    """What changes samples of a shape: of series in sample space, of rows as of features."""
    every = augmentations.SERIES if modality(shape) == "series" else augmentations.FEATURES
    return {name: one for name, one in every.items() if not one.lacks(shape)}


@in_float32
def _drawn(
    entry: Augmentation, hyper: Any, samples: jax.Array, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A pseudo-anomaly of the first of two samples, in units of the normals' spread; its mask."""
    key = jax.random.key(seed)
    if samples.ndim > 2:
        made, mask = entry.random(key, hyper, samples[0], samples[1])
        return np.asarray(made), np.asarray(mask)
    made, _ = entry.random(key, hyper, samples[0][None, None], samples[1][None, None])
    row = np.asarray(made)[0, 0]
    return row, (np.abs(row - np.asarray(samples[0])) > 1e-6).astype(np.float32)


def _draw_series(axes: Any, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> None:
    """A series and its augmentation; changed stretches are shaded."""
    points = np.arange(len(before))
    for channel in range(before.shape[1]):
        axes.plot(points, before[:, channel], color=BEFORE, linewidth=0.9)
        axes.plot(points, after[:, channel], color=AFTER, linewidth=1.1)
    low, high = axes.get_ylim()
    axes.fill_between(points, low, high, where=mask > 0.1, color=AFTER, alpha=0.12, linewidth=0)
    axes.set_ylim(low, high)


def _draw_row(axes: Any, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> None:
    """A row and its augmentation as parallel columns; changed ones are marked."""
    columns = np.arange(len(before))
    axes.plot(columns, before, color=BEFORE, linewidth=0.9, marker=".", markersize=3)
    axes.plot(columns, after, color=AFTER, linewidth=1.0)
    changed = mask > 0
    axes.plot(columns[changed], after[changed], "o", color=AFTER, markersize=3)
    if len(before) <= MOST:
        axes.set_xticks(columns)
        axes.set_xticklabels([])


def sheet(problem: Problem, seed: int = 0) -> Any:
    """The picture (PIL) for a problem's normals: a row per augmentation at three strengths.

    Every drawing has a normal in grey and its augmentation in colour, in units of the normals'
    spread per channel or column; what was changed is shaded or marked.
    """
    shown = entries(problem.shape)
    samples = units_of(jnp.asarray(problem.train))(jnp.asarray(problem.train[:2]))
    samples = jnp.resize(samples, (2, *problem.shape))
    draw = _draw_series if modality(problem.shape) == "series" else _draw_row
    with theme.style():
        figure = theme.page(WIDTH, HEIGHT * len(shown) + 40)
        axes = figure.subplots(len(shown), len(COLUMNS), squeeze=False)
        for line, (name, entry) in zip(axes, shown.items(), strict=True):
            strengths = entry.strengths(len(COLUMNS), problem.shape)
            for one, column, hyper in zip(line, COLUMNS, strengths, strict=False):
                draw(one, np.asarray(samples[0]), *_drawn(entry, hyper, samples, seed))
                value = f"{column}: {entry.strength} {hyper[entry.strength]:.3g}"  # type: ignore[index]
                one.set_title(value if entry.strength else "at its defaults", fontsize=8)
            for one in line[len(strengths) :]:
                one.set_axis_off()
            line[0].set_ylabel(name.replace("_", "\n"), fontsize=8, rotation=0, ha="right")
        for one in axes.ravel():
            one.tick_params(labelsize=6)
        figure.suptitle("a normal (grey) and its augmentation, in units of the normals' spread")
        return theme.png(figure)
