"""Curves: what was tuned over its steps, best of k, quality by the share of anomalies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figure

CLOSE = 1.3  # the last of two ticks whose ratio is smaller is written alone


class Curve(NamedTuple):
    """A line: its name, x and y, colour and dash, and a band around it if there is one."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    shape: str = ""
    dashed: bool = False
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def curves(
    title: str,
    drawn: Sequence[Curve],
    labels: tuple[str, str],
    about: str,
    log: bool = False,
    level: float | None = None,
    height: int = 240,
    lines: Mapping[str, tuple[float, str]] | None = None,
) -> Figure:
    """Curves over one axis.

    Args:
      title: above.
      drawn: lines; those without a finite value are left out.
      labels: of the axes, across and up.
      about: the same in words.
      log: powers of two across.
      level: a horizontal line to compare with.
      height: units.
      lines: to compare with, named at the right beside the curves' ends; as in `theme.labelled`.
    """

    def draw(axes: Any) -> None:
        if level is not None:
            axes.axhline(level, color=theme.colour("faint"), dashes=theme.DASHES["random"])
        for curve in drawn:
            _line(axes, curve)
        if log:
            _powers_of_two(axes, sorted({float(x) for curve in drawn for x in curve.x}))
        elif all(float(x).is_integer() for curve in drawn for x in curve.x):
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if lines is not None:
            _lines(axes, drawn, lines)

    return Figure(title, about, draw, height=height)


def _line(axes: Any, curve: Curve) -> None:
    y = np.asarray(curve.y, float)
    if not np.isfinite(y).any():
        return
    tone = theme.colour(curve.colour)
    dashes = {"dashes": theme.DASHES["oracle"]} if curve.dashed else {}
    every = max(1, len(y) // 8)  # marks tell curves apart without colour
    (line,) = axes.plot(curve.x, y, color=tone, marker=curve.shape, ms=5, markevery=every, **dashes)
    theme.tip(line, curve.name)
    if len(curve.low):
        axes.fill_between(curve.x, curve.low, curve.high, color=tone, alpha=0.15, linewidth=0)


def _lines(axes: Any, drawn: Sequence[Curve], lines: Mapping[str, tuple[float, str]]) -> None:
    """Lines to compare with, and the curves' last values; far lines do not squeeze the curves."""
    low, high = axes.get_ylim()
    span = high - low
    near = [v for v, _ in lines.values() if low - span <= v <= high + span]
    room = 0.05 * span
    axes.set_ylim(min([low, *(v - room for v in near)]), max([high, *(v + room for v in near)]))
    ends = {
        f"{curve.name} {curve.y[-1]:.3f}": (curve.y[-1], curve.colour)
        for curve in drawn
        if np.isfinite(curve.y[-1])
    }
    theme.up_to_one(axes)
    theme.labelled(axes, lines, 14, ends)


def _powers_of_two(axes: Any, ticks: list[float]) -> None:
    axes.set_xscale("log", base=2)
    near = len(ticks) > 1 and ticks[-1] < CLOSE * ticks[-2]
    ticks = [*ticks[:-2], ticks[-1]] if near else ticks
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
