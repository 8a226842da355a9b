"""Picture sheet of augmentations of series and rows: lines, and what of them was changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
WIDTH, HEIGHT = 720, 100  # units of the sheet, and of every augmentation on it
MOST = 120  # columns of a row that are drawn
CHANNELS = 3  # of a series that are drawn
APART = 6  # units between two channels
CHANGED = 0.1  # mask from which something counts as changed
EQUAL = 1e-6  # up to which two values are the same
BEFORE, AFTER = theme.colour("grey"), theme.colour("red")


def entries(shape: tuple[int, ...]) -> Mapping[str, Augmentation]:
    """What changes samples of a shape: of series in sample space, of rows as of features."""
    every = augmentations.SERIES if modality(shape) == "series" else augmentations.FEATURES
    return {name: one for name, one in every.items() if not one.lacks(shape)}


def draws(name: str, shape: tuple[int, ...]) -> bool:
    """Whether what an augmentation, a mixture, or one with bands, makes of a shape can be drawn."""
    known = entries(shape)
    return all(part.partition(":")[0] in known for part in name.split("+"))


@in_float32
def drawn(
    entry: Augmentation, shape: tuple[int, ...], samples: jax.Array, seed: int
) -> list[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """Per strength: hyperparameters, a pseudo-anomaly of the first of two samples, its mask.

    Args:
      entry: of `entries`.
      shape: of a sample.
      samples: `[2, *shape]` in units of the normals' spread, as the results are.
      seed: the same draws for all strengths.
    """
    make, key = maker(entry, shape), jax.random.key(seed)
    strengths = entry.strengths(len(COLUMNS), shape)
    return [(hyper, *make(key, hyper, samples[0], samples[1])) for hyper in strengths]


def maker(entry: Augmentation, shape: tuple[int, ...]) -> Callable[..., tuple[Any, Any]]:
    """`(key, hyper, sample, donor) -> (pseudo-anomaly, mask)` for series or rows of a shape."""
    run = jax.jit(entry.random)

    def made(key: jax.Array, hyper: Any, sample: Any, donor: Any) -> tuple[np.ndarray, np.ndarray]:
        if len(shape) == 2:
            series, mask = run(key, hyper, sample, donor)
            return np.asarray(series), np.asarray(mask)
        row, _ = run(key, hyper, sample[None, None], donor[None, None])
        # Masks of features say which position was changed, and a row is a single one.
        changed = np.abs(np.asarray(row[0, 0]) - np.asarray(sample)) > EQUAL
        return np.asarray(row[0, 0]), changed.astype(np.float32)

    return made


def stretches(mask: np.ndarray) -> list[tuple[int, int]]:
    """First point and end of every stretch that a mask `[t]` says was changed.

    >>> stretches(np.array([0, 1, 1, 0, 1]))
    [(1, 3), (4, 5)]
    """
    changed = np.concatenate([[False], mask > CHANGED, [False]])
    edges = np.flatnonzero(changed[1:] != changed[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def draw_series(axes: Any, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> None:
    """A series `[t, c]` and its augmentation; changed stretches of the mask `[t]` are shaded.

    Several channels stand below each other.
    """
    channels = min(before.shape[1], CHANNELS)
    points = np.arange(len(before))
    for start, stop in stretches(mask):
        axes.axvspan(start - 0.5, stop - 0.5, color=AFTER, alpha=0.14, linewidth=0)
    for channel in range(channels):
        down = APART * channel
        axes.plot(points, before[:, channel] - down, color=BEFORE, linewidth=1.6)
        axes.plot(points, after[:, channel] - down, color=AFTER, linewidth=0.9)
    if channels > 1:
        axes.set_yticks([-APART * channel for channel in range(channels)])
        axes.set_yticklabels([f"channel {channel}" for channel in range(channels)])


def draw_row(axes: Any, before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> None:
    """A row `[d]` and its augmentation, column by column; what the mask `[d]` names is marked."""
    count = min(len(before), MOST)
    columns, size = np.arange(count), 3.5 if count <= 40 else 2.0
    axes.plot(columns, before[:count], "o", color=BEFORE, markersize=size)
    changed = columns[mask[:count] > CHANGED]
    axes.vlines(changed, before[changed], after[changed], color=AFTER, linewidth=0.9)
    axes.plot(changed, after[changed], "o", color=AFTER, markersize=size)


def _legend(figure: Any, of_series: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    look = {"linewidth": 2} if of_series else {"marker": "o", "linewidth": 0}
    shown = [Line2D([], [], color=BEFORE, **look), Line2D([], [], color=AFTER, **look)]  # type: ignore[arg-type]
    names = ["a normal", "its augmentation" if of_series else "changed by the augmentation"]
    if of_series:
        shown.append(Patch(color=AFTER, alpha=0.14))  # type: ignore[arg-type]
        names.append("what the mask says was changed")
    figure.legend(shown, names, loc="outside upper center", ncols=3, frameon=False, fontsize=10)


def axes_of(shape: tuple[int, ...]) -> str:
    """What the axes are, and what of a sample is drawn."""
    of_series = modality(shape) == "series"
    many, most = (shape[1], CHANNELS) if of_series else (shape[0], MOST)
    what = "channel" if of_series else "column"
    cut = f", the first {most} of {many} {what}s" if many > most else ""
    along = "time points" if of_series else "columns"
    apart = f"; channels {APART} spreads apart" if of_series and many > 1 else ""
    return f"across: {along}{cut}; up: units of the normals' spread per {what}{apart}"


def sheet(problem: Problem, seed: int = 0) -> Any:
    """The picture (PIL) for a problem's normals: a row per augmentation at three strengths.

    Every drawing has a normal in grey and its augmentation in colour, in units of the normals'
    spread per channel or column; what was changed is shaded or marked.
    """
    shown = entries(problem.shape)
    samples = units_of(jnp.asarray(problem.train))(jnp.asarray(problem.train[:2]))
    samples = jnp.resize(samples, (2, *problem.shape))
    of_series = modality(problem.shape) == "series"
    draw = draw_series if of_series else draw_row
    with theme.style():
        figure = theme.page(WIDTH, HEIGHT * len(shown) + 60)
        axes = figure.subplots(len(shown), len(COLUMNS), squeeze=False, sharex=True, sharey="row")
        for line, (name, entry) in zip(axes, shown.items(), strict=True):
            found = drawn(entry, problem.shape, samples, seed)
            for one, column, (hyper, made, mask) in zip(line, COLUMNS, found, strict=False):
                draw(one, np.asarray(samples[0]), made, mask)
                value = "at its defaults"
                if entry.strength:
                    value = f"{column}: {entry.strength} {hyper[entry.strength]:.3g}"
                one.set_title(value, fontsize=9)
                one.tick_params(labelsize=8)
            for one in line[len(found) :]:
                one.set_axis_off()
            called = {"fontsize": 10, "rotation": 0, "ha": "right", "va": "center"}
            line[0].set_ylabel(name.replace("_", "\n"), **called)
        _legend(figure, of_series)
        figure.supxlabel(axes_of(problem.shape), fontsize=9)
        return theme.png(figure)
