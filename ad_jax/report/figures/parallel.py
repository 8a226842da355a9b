"""Parallel coordinates: a line per setting over its hyperparameters and its figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figure

WIDE_RANGE = 20.0  # positive values that differ by more are spaced by their logarithms
MOST_AXES = 12
LONGEST = 10  # letters of an axis's name in a line


def _places(values: np.ndarray) -> tuple[np.ndarray, str, str]:
    """Values as shares of their range, 0 at the lowest; the texts at its ends."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    scaled = values
    if low > 0 and high / low > WIDE_RANGE:
        scaled, finite = np.log(values), np.log(finite)
    span = finite.max() - finite.min()
    return (scaled - finite.min()) / (span if span > 0 else 1.0), f"{low:.3g}", f"{high:.3g}"


def coordinates(
    title: str,
    words: Mapping[str, Sequence[str]],
    numbers: Mapping[str, Sequence[float]],
    rows: Sequence[int],
    about: str,
) -> Figure:
    """A line per row of a table, through the axes that have a value for it.

    Args:
      title: above.
      words: axis -> word of every row; words stand in the order they come.
      numbers: axis -> value of every row, NaN where the row has none.
      rows: which rows are drawn; the line of row i carries `data-line` i.
      about: the same in words.
    """
    axes_of: list[tuple[str, np.ndarray, str, str]] = []
    for name, texts in words.items():
        order = list(dict.fromkeys(texts))
        span = max(len(order) - 1, 1)
        axes_of.append((name, 1.0 - np.array([order.index(t) / span for t in texts]), "", ""))
    for name, values in list(numbers.items())[:MOST_AXES]:
        column = np.asarray(values, float)
        column[~np.isfinite(column)] = np.nan
        if np.isfinite(column).any():
            axes_of.append((name, *_places(column)))
    left = 150 if words else 40
    width = max(700, left + 82 * len(axes_of))
    places = np.stack([values for _, values, _, _ in axes_of], axis=1)

    def draw(axes: Any) -> None:
        axes.set(xlim=(0, len(axes_of) - 1), ylim=(0, 1))
        axes.set_axis_off()
        for row in rows:
            finite = np.flatnonzero(np.isfinite(places[row]))
            (line,) = axes.plot(finite, places[row, finite], clip_on=False)
            line.set_gid(f"line:{row}")
        for i, (name, _, low, high) in enumerate(axes_of):
            _axis(axes, i, name, low, high)
        for i, texts in enumerate(words.values()):
            order = list(dict.fromkeys(texts))
            for k, word in enumerate(order):
                y = 1.0 - k / max(len(order) - 1, 1)
                axes.text(i - 0.06, y, word, ha="right", va="center", fontsize=10)

    margins = (left / width, 1 - 40 / width, 0.1, 0.8)
    return Figure(title, about, draw, width, 330, margins, grid=False, wide=True)


def _axis(axes: Any, place: int, name: str, low: str, high: str) -> None:
    """An axis at its place, its name above, the texts of its ends beside them."""
    faint = theme.colour("faint")
    axes.plot([place, place], [0, 1], color=faint, linewidth=1.2, clip_on=False)
    title = textwrap.fill(name.replace("_", " "), LONGEST, break_long_words=False)
    axes.text(place, 1.1, title, ha="center", va="bottom", fontsize=10, linespacing=0.95)
    for y, text, side in ((-0.015, low, "top"), (1.015, high, "bottom")):
        axes.text(place, y, text, ha="center", va=side, fontsize=10, color=faint)
