"""Rules compared in pairs: the critical-difference diagram and the grid of all pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
    bars = [[ranks[n] for n in group] for group in groups]
    depth = 0.5 + 0.34 * len(bars)
    bottom = depth + 0.62 * half + 0.2
    ink, faint = theme.colour("ink"), theme.colour("faint")
    with theme.style(grid=False):
        side = (7 * max(len(n) for n in order) + 45) / WIDE  # room for the names
        drawing, axes = theme.canvas(WIDE, round(50 + 27 * bottom))
        drawing.set_layout_engine(None)
        drawing.subplots_adjust(left=side, right=1 - side, bottom=0.02, top=0.97)
        axes.set_axis_off()
        axes.set(xlim=(low, high), ylim=(bottom, -1.2))
        axes.plot([low, high], [0, 0], color=faint, clip_on=False)
        step = max(1, (high - low) // 12)
        for tick in range(low, high + 1, step):
            axes.plot([tick, tick], [0, -0.18], color=faint)
            axes.text(tick, -0.3, str(tick), ha="center", va="bottom", color=faint, fontsize=10)
        for i, bar in enumerate(bars):
            y = 0.4 + 0.34 * i
            axes.plot([min(bar), max(bar)], [y, y], color=ink, linewidth=4)
        span = high - low
        for i, name in enumerate(order):
            left = i < half
            y = depth + 0.62 * (i if left else len(order) - 1 - i)
            edge = low - 0.02 * span if left else high + 0.02 * span
            axes.plot(
                [ranks[name], ranks[name], edge], [0, y, y], color=faint, lw=0.9, clip_on=False
            )
            axes.text(
                edge,
                y,
                f"{name}  {ranks[name]:.2f} " if left else f" {ranks[name]:.2f}  {name}",
                ha="right" if left else "left",
                va="center",
            )
        return theme.svg(drawing, title, about, wide=True)


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
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    largest = max([abs(p.difference) for p in pairs.values()] + [1e-9])
    longest = max(len(n) for n in names)
    left, top, right = 7 * longest + 12, 5 * longest + 20, 5 * longest
    width, height = left + 62 * len(names) + right, top + 40 * len(names)
    with theme.style(grid=False):
        drawing, axes = theme.canvas(width, height)
        drawing.set_layout_engine(None)
        drawing.subplots_adjust(
            left=left / width, right=1 - right / width, bottom=0, top=1 - top / height
        )
        axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
        for spine in axes.spines.values():
            spine.set_visible(False)
        for (row, column), pair in pairs.items():
            x, y = names.index(column), names.index(row)
            tone = to_rgb(theme.colour("blue" if pair.difference > 0 else "red"))
            strength = min(abs(pair.difference) / largest, 1.0)
            box = Rectangle((x + 0.03, y + 0.04), 0.94, 0.92, linewidth=0)
            box.set(facecolor=tone, alpha=round(0.08 + 0.4 * strength, 2))
            axes.add_patch(box)
            theme.tip(
                box,
                f"{row} against {column}: {number(pair.difference)} AUROC, "
                f"{pair.wins}/{pair.ties}/{pair.losses}, p {number(pair.p)}",
            )
            clear = pair.p < 0.05
            weight = "bold" if clear else "normal"
            said = f"{pair.difference:+.3f}".replace("-", "−") + ("*" if clear else "")
            axes.text(x + 0.5, y + 0.36, said, ha="center", va="center", fontweight=weight)
            below = f"{pair.wins}/{pair.ties}/{pair.losses}"
            axes.text(x + 0.5, y + 0.72, below, ha="center", va="center", fontsize=9)
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=40, ha="left")
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=theme.colour("ink"))
        return theme.svg(drawing, title, about, wide=True)
