"""Settings as points: losses by family, and losses against AUROC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ad_jax.base.stats import Estimate
from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figure, Key, number

MOST = 2000  # points or lines drawn at most
WITH_INTERVALS = 100  # points whose intervals are drawn, too


class Point(NamedTuple):
    """A setting: its family, its name, where it lies, and whether it is the pick."""

    family: str
    name: str
    loss: Estimate
    auroc: Estimate = Estimate(math.nan)
    picked: bool = False


def thinned(losses: Sequence[float], most: int = MOST) -> list[int]:
    """Which of many to draw: the best half of `most`, and others evenly over the ranks.

    >>> thinned([5.0, 1.0, 2.0, 3.0, 4.0, 0.0], 4)
    [5, 1, 2, 0]
    """
    order = sorted(range(len(losses)), key=lambda i: (math.isnan(losses[i]), losses[i]))
    if len(order) <= most:
        return order
    best, rest = order[: most // 2], order[most // 2 :]
    count = most - len(best)
    return best + [rest[round(i * (len(rest) - 1) / max(count - 1, 1))] for i in range(count)]


def _drawn(points: Sequence[Point]) -> list[Point]:
    """At most `MOST`, the pick among them, that can be placed."""
    kept = {i for i in thinned([p.loss.value for p in points])}
    return [
        p for i, p in enumerate(points) if (i in kept or p.picked) and math.isfinite(p.loss.value)
    ]


def _ring(axes: Any, x: float, y: float, size: int) -> None:
    """Round the pick."""
    axes.plot(x, y, "o", ms=size, mfc="none", zorder=4)
    axes.lines[-1].set(markeredgecolor=theme.colour("red"), markeredgewidth=2)


def scatter(
    task: str,
    rule: str,
    points: Sequence[Point],
    lines: Mapping[str, tuple[float, str]],
    keys: Mapping[str, Key],
) -> Figure:
    """Loss against AUROC, a point per setting with its interval over seeds.

    Args:
      task, rule: for title and axis.
      points: settings.
      lines: text -> (AUROC, kind as in `theme.DASHES`).
      keys: family -> colour and shape.
    """
    drawn = [p for p in _drawn(points) if math.isfinite(p.auroc.value)]

    def draw(axes: Any) -> None:
        for p in drawn if len(drawn) <= WITH_INTERVALS else ():
            tone = theme.colour(keys[p.family].colour)
            faint: Any = {"color": tone, "linewidth": 0.8, "alpha": 0.2, "zorder": 2}
            if math.isfinite(p.auroc.low):
                axes.plot([p.loss.value] * 2, [p.auroc.low, p.auroc.high], **faint)
            if math.isfinite(p.loss.low):
                axes.plot([p.loss.low, p.loss.high], [p.auroc.value] * 2, **faint)
        for p in drawn:
            if p.picked:
                _ring(axes, p.loss.value, p.auroc.value, 13)
            key = keys[p.family]
            (dot,) = axes.plot(
                p.loss.value,
                p.auroc.value,
                key.shape,
                color=theme.colour(key.colour),
                ms=6 if len(drawn) <= 200 else 3,
                zorder=3,
            )
            text = f"{p.name}: loss {number(p.loss.value)}, AUROC {number(p.auroc.value)}"
            theme.tip(dot, text)
        values = [p.auroc.value for p in drawn] + [v for v, _ in lines.values()]
        _limits(axes, [v for v in values if math.isfinite(v)], [p.loss.value for p in drawn])
        theme.up_to_one(axes)
        axes.set_xlabel(f"loss ({rule}), lower is better")
        axes.set_ylabel("AUROC")
        theme.labelled(axes, lines, 14)

    about = f"{len(drawn)} settings of {task}: loss by {rule} against AUROC. " + ", ".join(
        f"{name} {number(value)}" for name, (value, _) in lines.items()
    )
    return Figure(task, about, draw, height=300, margins=(0.15, 0.66, 0.17, 0.97))


def _limits(axes: Any, heights: Sequence[float], across: Sequence[float]) -> None:
    """Room around what is drawn; whiskers may be cut."""
    for values, name in ((heights, "set_ylim"), (across, "set_xlim")):
        if values:
            low, high = min(values), max(values)
            margin = max(0.08 * (high - low), 0.01)
            getattr(axes, name)(low - margin, high + margin)


def losses(
    task: str,
    rule: str,
    points: Sequence[Point],
    controls: Mapping[str, float],
    keys: Mapping[str, Key],
) -> Figure:
    """Losses by family, a point per setting with its interval over seeds; controls below.

    Args:
      task, rule: for title and axis.
      points: settings.
      controls: control member -> mean loss by the same rule.
      keys: family -> colour and shape.
    """
    drawn = _drawn(points)
    by_family: dict[str, list[Point]] = {}
    for p in drawn:
        by_family.setdefault(p.family, []).append(p)
    finite = {n.replace("_", " "): v for n, v in controls.items() if math.isfinite(v)}
    rows = len(by_family) + len(finite)
    tallest = max([len(group) for group in by_family.values()], default=1)

    def draw(axes: Any) -> None:
        for y, (family, group) in enumerate(by_family.items()):
            tone = theme.colour(keys[family].colour)
            for i, p in enumerate(group):
                at = y + 0.64 * ((i + 0.5) / len(group) - 0.5)  # beside each other
                if math.isfinite(p.loss.low) and len(drawn) <= WITH_INTERVALS:
                    axes.plot([p.loss.low, p.loss.high], [at, at], color=tone, alpha=0.45, lw=1)
                if p.picked:
                    _ring(axes, p.loss.value, at, 12)
                shape = keys[family].shape
                (dot,) = axes.plot(p.loss.value, at, shape, color=tone, ms=5, zorder=3)
                theme.tip(dot, f"{p.name}: loss {number(p.loss.value)}")
        for y, (name, value) in enumerate(finite.items(), len(by_family)):
            axes.axvline(value, color=theme.colour("faint"), lw=0.9, dashes=theme.DASHES["control"])
            (dot,) = axes.plot(value, y, "x", color=theme.colour("ink"), ms=7, mew=2)
            theme.tip(dot, f"control {name}: loss {number(value)}")
        _limits(axes, [], [p.loss.value for p in drawn] + list(finite.values()))
        axes.set_yticks(range(rows), [*by_family, *finite])
        axes.set_ylim(rows - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"loss ({rule}), lower is better")

    about = f"losses of {len(drawn)} settings by {rule}, by family; controls: " + ", ".join(
        f"{name} {number(value)}" for name, value in finite.items()
    )
    return Figure(task, about, draw, height=60 + rows * min(18 + 3 * tallest, 40))
