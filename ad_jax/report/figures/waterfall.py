"""What labels buy, stage by stage, as a waterfall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figure, number


class Step(NamedTuple):
    """A stage: its name, how many options labels had, the metric chosen and reported alike, and
    chosen on one half and reported on the other."""

    name: str
    options: int
    apparent: float
    honest: float


def waterfall(
    task: str, steps: Sequence[Step], lines: Mapping[str, tuple[float, str]], about: str
) -> Figure:
    """Apparent gains as bars from stage to stage; honest levels as marks.

    Args:
      task: title.
      steps: the first is where nothing was chosen.
      lines: text -> (AUROC, kind as in `theme.DASHES`).
      about: the same in words.
    """

    def draw(axes: Any) -> None:
        before = steps[0].apparent
        for i, step in enumerate(steps):
            _bar(axes, i, step, before)
            before = step.apparent
        values = [v for s in steps for v in (s.apparent, s.honest)]
        finite = [v for v in [*values, *(v for v, _ in lines.values())] if math.isfinite(v)]
        low, high = min(finite), max(finite)
        margin = max(0.1 * (high - low), 0.001)
        axes.set(ylim=(low - margin, high + 1.6 * margin), xlim=(-0.6, len(steps) - 0.4))
        words = [
            s.name.replace(" ", "\n") + (f"\nof {s.options}" if s.options else "") for s in steps
        ]
        short = [w.replace("hyperparameter", "hyper-\nparameter") for w in words]
        axes.set_xticks(range(len(steps)), short)
        axes.tick_params(axis="x", length=0, labelsize=9)
        axes.set_ylabel("AUROC")
        theme.up_to_one(axes)
        theme.labelled(axes, lines, 14)

    margins = (0.17, 0.72, 0.2, 0.97)
    return Figure(task, about, draw, height=300, margins=margins, grid=False)


def _bar(axes: Any, place: int, step: Step, before: float) -> None:
    """What a stage adds to the one before, and its honest level."""
    tone = theme.colour("grey" if place == 0 else "blue" if step.apparent >= before else "red")
    base = min(before, step.apparent)
    bar = axes.bar(place, abs(step.apparent - before), 0.62, base, color=tone, alpha=0.75)
    theme.tip(
        bar[0], f"{step.name}: {number(step.apparent)} apparent, {number(step.honest)} honest"
    )
    if place == 0:
        axes.plot([-0.31, 0.31], [before, before], color=tone, linewidth=4)
    else:
        ends = [place - 0.69, place + 0.31]
        axes.plot(ends, [before, before], color=theme.colour("faint"), lw=0.8)
    axes.annotate(
        number(step.apparent),
        (place, max(before, step.apparent, 0.0 if math.isnan(step.honest) else step.honest)),
        (0, 7),
        textcoords="offset points",
        ha="center",
        fontsize=10,
    )
    if math.isfinite(step.honest):
        axes.plot(place, step.honest, "D", ms=6, color=theme.colour("orange"), zorder=4)
