"""Picture of a snooping audit: by the number of settings tried, and stage by stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.snooping import Stage
from ad_jax.report.figures import theme
from ad_jax.report.judged import snooping
from ad_jax.report.page import Figure, Figures
from ad_jax.report.page.picture import picture


def audit_picture(task: str, result: Audit) -> Any:
    """The picture (PIL) of one task's snooping audit.

    Upper figures share the lines to compare with; the lower left is the best of k by labels
    permuted at random, the lower right F1 and balanced accuracy by threshold.
    """
    audit, tried = result.snooping, result.tried
    controls = {k: v for k, v in result.baselines.items() if math.isfinite(v)}
    control = max(controls, key=lambda k: controls[k])
    pick, random = result.pick["mean"], result.across.expected_random
    lines = {
        f"rule's pick {pick:.3f}": (pick, "pick"),
        f"expected random {random:.3f}": (random, "random"),
        f"best control {controls[control]:.3f}": (controls[control], "control"),
    }
    text = [
        f"{100 * result.share:.0f} % anomalies in the target. Apparent: chosen and reported on the "
        "same labels. Honest: chosen on half of the target, reported on the other half",
        f"({audit.halves.splits} random splits, both ways). Best control: {control}."
        + (
            f" Only of the {tried.settings - tried.stopped} of {tried.settings} settings that the "
            "search left."
            if tried.stopped
            else ""
        ),
    ]
    upper = Figures(
        [
            snooping.best_of_k_figure("AUROC of the best of k settings", audit.curve, lines=lines),
            snooping.stages_figure("AUROC as labels choose in turn", audit.stages, lines),
        ],
        snooping.BEST_LEGEND,
    )
    lower = Figures(
        [
            snooping.null_figure("Best of k by noise of labels (permuted)", audit.curve, {}),
            _thresholds("Threshold, on what labels chose", audit.thresholds),
        ]
    )
    return picture(f"What labels would have bought: {task}", text, [upper, lower])


def _thresholds(title: str, stages: Sequence[Stage]) -> Figure:
    """F1 and balanced accuracy of what labels chose, at a label-free threshold and at theirs."""

    def draw(axes: Any) -> None:
        for i, stage in enumerate(stages):
            sides = ((stage.apparent, "blue", -0.2), (stage.honest, "orange", 0.2))
            for value, tone, shift in sides:
                if math.isfinite(value):
                    axes.bar(i + shift, value, 0.36, color=theme.colour(tone), alpha=0.75)
                    axes.text(i + shift, value + 0.02, f"{value:.2f}", ha="center", fontsize=9)
        chosen = ["by labels" if s.choices else "5 % false pos." for s in stages]
        words = [f"{c}\n{s.metric}" for c, s in zip(chosen, stages, strict=True)]
        axes.set_xticks(range(len(stages)), words)
        axes.set_ylim(0.0, 1.15)
        axes.tick_params(axis="x", length=0, labelsize=9)
        theme.up_to_one(axes)

    about = "; ".join(f"{s.metric}, {s.name}: {s.apparent:.2f}, {s.honest:.2f}" for s in stages)
    return Figure(title, about, draw, height=200, grid=False)
