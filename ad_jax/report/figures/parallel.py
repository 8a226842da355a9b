"""Parallel coordinates: a line per setting over its hyperparameters and its figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figure

WIDE_RANGE = 20.0  # positive values that differ by more are spaced by their logarithms
MOST_AXES = 12
LONGEST = 10  # letters of an axis's name in a line


def _places(values: np.ndarray) -> tuple[np.ndarray, str, str]:
    """Values as shares of their range, 0 at the lowest; the texts at its ends."""
    known = values[np.isfinite(values)]
    low, high = float(known.min()), float(known.max())
    scaled = values
    if low > 0 and high / low > WIDE_RANGE:
        scaled, known = np.log(values), np.log(known)
    span = known.max() - known.min()
    return (scaled - known.min()) / (span if span > 0 else 1.0), f"{low:.3g}", f"{high:.3g}"


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
    with theme.style(grid=False):
        left = 150 if words else 40
        width = max(700, left + 82 * len(axes_of))
        drawing, axes = theme.canvas(width, 330)
        drawing.set_layout_engine(None)
        drawing.subplots_adjust(left=left / width, right=1 - 40 / width, bottom=0.1, top=0.8)
        axes.set(xlim=(0, len(axes_of) - 1), ylim=(0, 1))
        axes.set_axis_off()
        places = np.stack([values for _, values, _, _ in axes_of], axis=1)
        for row in rows:
            known = np.flatnonzero(np.isfinite(places[row]))
            (line,) = axes.plot(known, places[row, known], clip_on=False)
            line.set_gid(f"line:{row}")
        for i, (name, _, low, high) in enumerate(axes_of):
            axes.plot([i, i], [0, 1], color=theme.colour("faint"), linewidth=1.2, clip_on=False)
            said = textwrap.fill(name.replace("_", " "), LONGEST, break_long_words=False)
            axes.text(i, 1.1, said, ha="center", va="bottom", fontsize=10, linespacing=0.95)
            for end, text, side in ((0.0, low, "top"), (1.0, high, "bottom")):
                axes.text(
                    i,
                    end + (end - 0.5) * 0.03,
                    text,
                    ha="center",
                    va=side,
                    fontsize=10,
                    color=theme.colour("faint"),
                )
        for name, texts in words.items():
            at = [n for n, *_ in axes_of].index(name)
            order = list(dict.fromkeys(texts))
            for k, word in enumerate(order):
                y = 1.0 - k / max(len(order) - 1, 1)
                axes.text(at - 0.06, y, word, ha="right", va="center", fontsize=10)
        return theme.svg(drawing, title, about, wide=True)
