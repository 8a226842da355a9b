"""Pictures of studies: dots with intervals; PNG in the colours of the reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ad_jax.report.figures import theme
from ad_jax.report.page import Estimate

WIDTH = 760  # of a picture, in points
ROW, HEAD = 17, 64  # height of a row, and of what stands around a panel

Rows = Mapping[str, Mapping[str, Estimate]]  # row -> series -> what is drawn


def dots(path: Path, axis: str, panels: Mapping[str, Rows], zero: bool = False) -> None:
    """Panels: a row a name, a colour and a shape a series, bars for intervals.

    Args:
      path: of the PNG.
      axis: what is drawn, with its unit.
      panels: title -> rows; panels have the same rows.
      zero: draw a line at 0.
    """
    names = list(dict.fromkeys(name for rows in panels.values() for name in rows))
    series = list(
        dict.fromkeys(s for rows in panels.values() for one in rows.values() for s in one)
    )
    keys = theme.keys(series)
    with theme.style():
        drawing, axes = _page(len(panels), HEAD + ROW * len(names) * max(1.0, len(series) / 3))
        for place, (title, rows) in zip(axes, panels.items(), strict=True):
            place.set_title(title, fontsize=11)
            if zero:
                place.axvline(0.0, color=theme.colour("faint"), linewidth=1.0)
            for i, name in enumerate(names):
                for j, (one, key) in enumerate(keys.items()):
                    if name in rows and one in rows[name]:
                        shift = 0.7 * ((j + 0.5) / len(series) - 0.5)
                        _dot(place, rows[name][one], i + shift, key)
            place.set_yticks(range(len(names)), names)
            place.set_ylim(len(names) - 0.5, -0.5)
            place.set_xlabel(axis)
            place.grid(axis="y", visible=False)
        _finish(drawing, axes, keys, path)


def _page(panels: int, height: float) -> tuple[Any, list[Any]]:
    """A drawing and its panels, at most two side by side."""
    columns = min(panels, 2)
    rows = -(-panels // columns)
    drawing, axes = theme.canvas(
        WIDTH, int(rows * height), columns, rows, sharey=True, squeeze=False
    )
    drawing.set_facecolor("white")
    flat = list(axes.ravel())
    for spare in flat[panels:]:
        spare.set_axis_off()
    return drawing, flat[:panels]


def _dot(place: Any, dot: Estimate, y: float, key: Any) -> None:
    tone = theme.colour(key.colour)
    if math.isfinite(dot.low) and math.isfinite(dot.high):
        place.plot([dot.low, dot.high], [y, y], color=tone, linewidth=1.4, alpha=0.7)
    if math.isfinite(dot.value):
        place.plot([dot.value], [y], color=tone, marker=key.shape, markersize=6, linestyle="none")


def _finish(drawing: Any, axes: Sequence[Any], keys: Mapping[str, Any], path: Path) -> None:
    """The legend below, and the file."""
    if len(keys) > 1:
        shown = [
            axes[0].plot([], [], color=theme.colour(k.colour), marker=k.shape, linestyle="none")[0]
            for k in keys.values()
        ]
        columns = min(len(keys), 5)
        drawing.legend(
            shown, list(keys), loc="outside lower center", ncols=columns, frameon=False, fontsize=10
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110, metadata={"Software": None})
