"""Curves: what was tuned over its steps, best of k, quality by the share of anomalies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
    across: str,
    up: str,
    about: str,
    log: bool = False,
    level: float | None = None,
    height: int = 240,
) -> Figure:
    """Curves over one axis.

    Args:
      title: above.
      drawn: lines; those without a finite value are left out.
      across, up: labels of the axes.
      about: the same in words.
      log: powers of two across.
      level: a horizontal line to compare with.
      height: units.
    """
    with theme.style():
        drawing, axes = theme.canvas(theme.WIDTH, height)
        if level is not None:
            axes.axhline(level, color=theme.colour("faint"), dashes=theme.DASHES["random"])
        for one in drawn:
            y = np.asarray(one.y, float)
            if not np.isfinite(y).any():
                continue
            tone = theme.colour(one.colour)
            dashes = {"dashes": theme.DASHES["oracle"]} if one.dashed else {}
            every = max(1, len(y) // 8)  # marks tell curves apart without colour
            (line,) = axes.plot(
                one.x, y, color=tone, marker=one.shape, ms=5, markevery=every, **dashes
            )
            theme.tip(line, one.name)
            if len(one.low):
                axes.fill_between(one.x, one.low, one.high, color=tone, alpha=0.15, linewidth=0)
        if log:
            axes.set_xscale("log", base=2)
            ticks = sorted({float(x) for one in drawn for x in one.x})
            near = len(ticks) > 1 and ticks[-1] < CLOSE * ticks[-2]
            ticks = [*ticks[:-2], ticks[-1]] if near else ticks
            axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
            axes.minorticks_off()
        elif all(float(x).is_integer() for one in drawn for x in one.x):
            axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        return theme.svg(drawing, title, about)
