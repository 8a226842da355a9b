"""What labels buy, stage by stage, as a waterfall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    with theme.style(grid=False):
        drawing, axes = theme.canvas(theme.WIDTH, 300)
        before = math.nan
        for i, step in enumerate(steps):
            start = step.apparent if math.isnan(before) else before
            up = step.apparent >= start
            tone = theme.colour("grey" if i == 0 else "blue" if up else "red")
            base = min(start, step.apparent)
            bar = axes.bar(i, abs(step.apparent - start), 0.62, base, color=tone, alpha=0.75)
            theme.tip(
                bar[0],
                f"{step.name}: {number(step.apparent)} apparent, {number(step.honest)} honest",
            )
            if i == 0:
                axes.plot([-0.31, 0.31], [start, start], color=tone, linewidth=4)
            else:
                axes.plot([i - 0.69, i + 0.31], [start, start], color=theme.colour("faint"), lw=0.8)
            axes.annotate(
                number(step.apparent),
                (i, max(start, step.apparent, step.honest if step.honest == step.honest else 0.0)),
                (0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=10,
            )
            if math.isfinite(step.honest):
                axes.plot(i, step.honest, "D", ms=6, color=theme.colour("orange"), zorder=4)
            before = step.apparent
        values = [v for s in steps for v in (s.apparent, s.honest) if math.isfinite(v)]
        values += [v for v, _ in lines.values() if math.isfinite(v)]
        low, high = min(values), max(values)
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
        drawing.set_layout_engine(None)
        drawing.subplots_adjust(left=0.17, right=0.72, bottom=0.2, top=0.97)
        theme.labelled(axes, {k: v for k, v in lines.items() if math.isfinite(v[0])}, 14)
        return theme.svg(drawing, task, about)
