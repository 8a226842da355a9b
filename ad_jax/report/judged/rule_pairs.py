"""Rules compared in pairs: the critical-difference diagram and the grid of all pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ad_jax.evaluate.pairs import Pair
from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figure, number

WIDE = 860  # units


def critical_difference(
    title: str, ranks: Mapping[str, float], groups: Sequence[Sequence[str]], about: str
) -> Figure:
    """Mean ranks on a line, the best at the left; a bar joins rules that no test tells apart.

    Args:
      title: above.
      ranks: rule -> mean rank, 1 = best.
      groups: rules joined, each of at least two.
      about: the same in words.
    """
    order = sorted(ranks, key=lambda n: ranks[n])
    low, high = math.floor(min(ranks.values())), math.ceil(max(ranks.values()))
    high = max(high, low + 1)
    half = -(-len(order) // 2)
    depth = 0.5 + 0.34 * len(groups)
    bottom = depth + 0.62 * half + 0.2

    def draw(axes: Any) -> None:
        ink, faint, span = theme.colour("ink"), theme.colour("faint"), high - low
        axes.set_axis_off()
        axes.set(xlim=(low, high), ylim=(bottom, -1.2))
        axes.plot([low, high], [0, 0], color=faint, clip_on=False)
        for tick in range(low, high + 1, max(1, span // 12)):
            axes.plot([tick, tick], [0, -0.18], color=faint)
            axes.text(tick, -0.3, str(tick), ha="center", va="bottom", color=faint, fontsize=10)
        for i, group in enumerate(groups):
            y, bar = 0.4 + 0.34 * i, [ranks[n] for n in group]
            axes.plot([min(bar), max(bar)], [y, y], color=ink, linewidth=4)
        for i, name in enumerate(order):
            left, rank = i < half, ranks[name]
            y = depth + 0.62 * (i if left else len(order) - 1 - i)
            edge = low - 0.02 * span if left else high + 0.02 * span
            axes.plot([rank, rank, edge], [0, y, y], color=faint, lw=0.9, clip_on=False)
            text = f"{name}  {rank:.2f} " if left else f" {rank:.2f}  {name}"
            axes.text(edge, y, text, ha="right" if left else "left", va="center")

    side = (7 * max(len(n) for n in order) + 45) / WIDE  # room for the names
    return Figure(
        title,
        about,
        draw,
        WIDE,
        round(50 + 27 * bottom),
        margins=(side, 1 - side, 0.02, 0.97),
        grid=False,
        wide=True,
    )


def grid(
    title: str, names: Sequence[str], pairs: Mapping[tuple[str, str], Pair], about: str
) -> Figure:
    """All pairs: mean difference as colour and number, wins/ties/losses below, bold where p < .05.

    Args:
      title: above.
      names: rules in order.
      pairs: (row, column) -> figures of row against column.
      about: the same in words.
    """
    largest = max([abs(p.difference) for p in pairs.values()] + [1e-9])
    longest = max(len(n) for n in names)
    left, top, right = 7 * longest + 12, 5 * longest + 20, 5 * longest
    width, height = left + 62 * len(names) + right, top + 40 * len(names)

    def draw(axes: Any) -> None:
        axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
        for spine in axes.spines.values():
            spine.set_visible(False)
        for (row, column), pair in pairs.items():
            text = (
                f"{row} against {column}: {number(pair.difference)} AUROC, "
                f"{pair.wins}/{pair.ties}/{pair.losses}, p {number(pair.p)}"
            )
            _cell(axes, names.index(column), names.index(row), pair, largest, text)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=40, ha="left")
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=theme.colour("ink"))

    margins = (left / width, 1 - right / width, 0.0, 1 - top / height)
    return Figure(title, about, draw, width, height, margins, grid=False, wide=True)


def _cell(axes: Any, x: int, y: int, pair: Pair, largest: float, tip: str) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    box = Rectangle((x + 0.03, y + 0.04), 0.94, 0.92, linewidth=0)
    strength = min(abs(pair.difference) / largest, 1.0)
    tone = to_rgb(theme.colour("blue" if pair.difference > 0 else "red"))
    box.set(facecolor=tone, alpha=round(0.08 + 0.4 * strength, 2))
    axes.add_patch(box)
    theme.tip(box, tip)
    clear = pair.p < 0.05
    text = f"{pair.difference:+.3f}".replace("-", "−") + ("*" if clear else "")
    weight = "bold" if clear else "normal"
    axes.text(x + 0.5, y + 0.36, text, ha="center", va="center", fontweight=weight)
    counts = f"{pair.wins}/{pair.ties}/{pair.losses}"
    axes.text(x + 0.5, y + 0.72, counts, ha="center", va="center", fontsize=9)
