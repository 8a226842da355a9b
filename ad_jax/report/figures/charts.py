"""Pictures of studies: dots or lines with intervals; PNG in the colours of the reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ad_jax.base.stats import Estimate
from ad_jax.report.figures import theme
from ad_jax.report.page import Key

WIDTH = 760  # of a picture, in points
ROW, HEAD = 17, 64  # height of a row of dots, and of what stands around a panel
TALL = 250  # height of a panel of lines

Rows = Mapping[str, Mapping[str, Estimate]]  # row -> series -> what is drawn
Panels = Mapping[str, Rows]  # title -> rows


def dots(path: Path, axis: str, panels: Panels, zero: bool = False) -> None:
    """Panels: a row a name, a colour and a shape a series, bars for intervals.

    Args:
      path: of the PNG.
      axis: what is drawn, with its unit.
      panels: title -> rows; panels have the same rows.
      zero: draw a line at 0.
    """
    names, keys = _named(panels)
    with theme.style():
        height = HEAD + ROW * len(names) * max(1.0, len(keys) / 3)
        drawing, axes = _page(len(panels), height, "row")
        for place, (title, rows) in zip(axes, panels.items(), strict=True):
            place.set_title(title, fontsize=11)
            if zero:
                place.axvline(0.0, color=theme.colour("faint"), linewidth=1.0)
            for i, name in enumerate(names):
                for j, (series, key) in enumerate(keys.items()):
                    if series in rows.get(name, {}):
                        shift = 0.7 * ((j + 0.5) / len(keys) - 0.5)
                        _dot(place, rows[name][series], i + shift, key)
            place.set_yticks(range(len(names)), names)
            place.set_ylim(len(names) - 0.5, -0.5)
            place.set_xlabel(axis)
            place.grid(axis="y", visible=False)
        _finish(drawing, axes, keys, path)


def lines(
    path: Path,
    across: str | Sequence[str],
    axis: str,
    panels: Panels,
    zero: bool = False,
    floor: float = -math.inf,
) -> None:
    """Panels: a place on the x axis a row, evenly spaced; a line a series, bars for intervals.

    Args:
      path: of the PNG.
      across: what the rows are; numbers come in their order. One a panel, if every panel has rows
        of its own.
      axis, panels, zero: as of `dots`.
      floor: bars that reach below end at the edge.
    """
    shared, keys = _named(panels)
    titles = [across] * len(panels) if isinstance(across, str) else across
    with theme.style():
        drawing, axes = _page(len(panels), TALL, False)
        for place, said, (title, rows) in zip(axes, titles, panels.items(), strict=True):
            names = shared if isinstance(across, str) else list(rows)
            if all(name.isdecimal() for name in names):
                names = sorted(names, key=int)
            place.set_title(title, fontsize=11)
            if zero:
                place.axhline(0.0, color=theme.colour("faint"), linewidth=1.0)
            for j, (series, key) in enumerate(keys.items()):
                shift = 0.3 * ((j + 0.5) / len(keys) - 0.5)
                dots = [
                    (i + shift, rows[name][series])
                    for i, name in enumerate(names)
                    if series in rows.get(name, {})
                ]
                _line(place, dots, key)
            place.set_xticks(range(len(names)), names)
            place.set_xlim(-0.4, len(names) - 0.6)
            place.set_ylim(bottom=max(place.get_ylim()[0], floor))
            place.set_xlabel(said)
            place.set_ylabel(axis)
            place.grid(axis="x", visible=False)
        _finish(drawing, axes, keys, path)


def _named(panels: Panels) -> tuple[list[str], dict[str, Key]]:
    """Rows, and series with their colours and shapes, in the order in which they come."""
    rows = [row for panel in panels.values() for row in panel.items()]
    names = list(dict.fromkeys(name for name, _ in rows))
    return names, theme.keys(list(dict.fromkeys(s for _, series in rows for s in series)))


def _page(panels: int, height: float, shared: str | bool) -> tuple[Any, list[Any]]:
    """A drawing and its panels, at most two side by side; which of them share their y axis."""
    columns = min(panels, 2)
    rows = -(-panels // columns)
    drawing, axes = theme.canvas(
        WIDTH, int(rows * height), columns, rows, sharey=shared, squeeze=False
    )
    drawing.set_facecolor("white")
    flat = list(axes.ravel())
    for spare in flat[panels:]:
        spare.set_axis_off()
    return drawing, flat[:panels]


def _dot(place: Any, dot: Estimate, y: float, key: Key) -> None:
    tone = theme.colour(key.colour)
    if math.isfinite(dot.low) and math.isfinite(dot.high):
        place.plot([dot.low, dot.high], [y, y], color=tone, linewidth=1.4, alpha=0.7)
    if math.isfinite(dot.value):
        place.plot([dot.value], [y], color=tone, marker=key.shape, markersize=6, linestyle="none")


def _line(place: Any, dots: Sequence[tuple[float, Estimate]], key: Key) -> None:
    tone = theme.colour(key.colour)
    finite = [(x, dot) for x, dot in dots if math.isfinite(dot.value)]
    for x, dot in finite:
        if math.isfinite(dot.low) and math.isfinite(dot.high):
            place.plot([x, x], [dot.low, dot.high], color=tone, linewidth=1.2, alpha=0.5)
    values = [dot.value for _, dot in finite]
    place.plot([x for x, _ in finite], values, color=tone, marker=key.shape)


def _finish(drawing: Any, axes: Sequence[Any], keys: Mapping[str, Key], path: Path) -> None:
    """The legend below, and the file."""
    if len(keys) > 1:
        theme.legend(drawing, axes[0], list(keys.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110, metadata={"Software": None})
