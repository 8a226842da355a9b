"""Picture of a snooping audit: by the number of settings tried, and stage by stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.bought import Snooping, Stage
from ad_jax.report.chart import FAINT, INK, Box, Canvas, apart

APPARENT, HONEST, SHADE = "#d1495b", "#1b6ca8", "#f7dfe2"
RESEEDED, RELABELLED = "#b8860b", "#6a4c93"
RULE, RANDOM, CONTROL = "#2e8b57", "#555555", "#b0603a"
SIZE = (1100, 664)
UPPER, LOWER = (118, 388), (482, 596)  # top and bottom of the panels
LEFT, RIGHT = (56, 420), (660, 1080)  # their sides
LABELS = 436  # where the labels between them begin


def _finite(values: Sequence[float]) -> list[float]:
    return [v for v in values if math.isfinite(v)]


def _range(values: Sequence[float], least: float = 0.01) -> tuple[float, float]:
    """A little more than the values take, at least `least` high."""
    low, high = min(values), max(values)
    margin = max(0.1 * (high - low), (least - (high - low)) / 2)
    return low - margin, high + margin


def _steps(tried: Sequence[int]) -> list[float]:
    """Places of the numbers tried, on a logarithmic axis."""
    width = LEFT[1] - LEFT[0] - 24
    whole = max(math.log2(tried[-1]), 1e-9)
    return [LEFT[0] + 12 + width * math.log2(k) / whole for k in tried]


def _numbers(page: Canvas, box: Box, tried: Sequence[int]) -> None:
    """The numbers tried below their places; the last but one only if there is room."""
    at = _steps(tried)
    for i, (x, k) in enumerate(zip(at, tried, strict=True)):
        if i == len(at) - 1 or at[-1] - x > 20:
            page.text(x, box.bottom + 6, str(k), 12, FAINT, "ma")


def _curves(page: Canvas, box: Box, one: Snooping, lines: dict[str, tuple[float, str]]) -> None:
    """Upper left: best of k, the lines to compare it with, all labelled at the right."""
    curve, at = one.curve, _steps(one.curve.tried)
    labels: list[tuple[float, str, str]] = []
    for name, (value, colour) in lines.items():
        if math.isfinite(value):
            page.line([(box.left, box.y(value)), (box.right, box.y(value))], colour, 1.4, 6)
            beyond = " (below)" if value < box.low else " (above)" if value > box.high else ""
            labels.append((value, f"{name} {value:.3f}{beyond}", colour))
    for name, values, colour, dash in (
        ("noise of seeds", curve.reseeded, RESEEDED, 4),
        ("honest", curve.honest, HONEST, 0),
        ("apparent", curve.apparent, APPARENT, 0),
    ):
        if not _finite(values):
            continue
        page.line([(x, box.y(v)) for x, v in zip(at, values, strict=True)], colour, 2.2, dash)
        for x, v in zip(at, values, strict=True):
            page.dot(x, box.y(v), colour, 2.2 if dash else 3.5)
        labels.append((values[-1], f"{name} {values[-1]:.3f}", colour))
    heights = apart([box.y(v) for v, *_ in labels], 18, box.top, box.bottom)
    for (value, text, colour), height in zip(labels, heights, strict=True):
        page.line([(box.right, box.y(value)), (LABELS - 3, height)], colour, 0.7)
        page.text(LABELS, height, text, 13, colour, "lm")


def _null(page: Canvas, one: Snooping) -> None:
    """Lower left: best of k by permuted labels."""
    values, at = one.curve.relabelled, _steps(one.curve.tried)
    box = Box(LEFT[0], LOWER[0], LEFT[1], LOWER[1], *_range([0.5, *values], 0.02))
    page.panel(box, "Best of k by noise of labels (permuted)", 4)
    page.line([(box.left, box.y(0.5)), (box.right, box.y(0.5))], FAINT, 1, 4)
    page.line([(x, box.y(v)) for x, v in zip(at, values, strict=True)], RELABELLED, 2.2)
    for x, v in zip(at, values, strict=True):
        page.dot(x, box.y(v), RELABELLED)
    page.line([(box.right, box.y(values[-1])), (LABELS - 3, box.y(values[-1]))], RELABELLED, 0.7)
    end = f"relabelled {values[-1]:.3f}\n(.5 + {values[-1] - 0.5:.3f})"
    page.text(LABELS, box.y(values[-1]), end, 13, RELABELLED, "lm")
    _numbers(page, box, one.curve.tried)
    page.text(sum(LEFT) / 2, box.bottom + 24, "settings tried (k)", 13, INK, "ma")


def _middles(count: int) -> list[float]:
    width = (RIGHT[1] - RIGHT[0]) / count
    return [RIGHT[0] + width * (i + 0.5) for i in range(count)]


def _stages(page: Canvas, box: Box, stages: Sequence[Stage]) -> None:
    """Upper right: a step for each stage, apparent and honest, what lies between shaded."""
    at = _middles(len(stages))
    half = (at[1] - at[0]) / 2
    sides: dict[str, list[tuple[float, float]]] = {}
    for name in ("apparent", "honest"):
        sides[name] = [
            (x + side * half, box.y(getattr(s, name)))
            for x, s in zip(at, stages, strict=True)
            for side in (-1, 1)
        ]
    honest = bool(_finite([s.honest for s in stages]))
    if honest:
        for i in range(0, len(sides["honest"]), 2):
            upper, lower = sides["apparent"][i : i + 2], sides["honest"][i : i + 2]
            page.fill([*upper, *lower[::-1]], SHADE)
        page.line(sides["honest"], HONEST, 2.2)
    page.line(sides["apparent"], APPARENT, 2.2)
    for x, stage in zip(at, stages, strict=True):
        higher = not stage.honest > stage.apparent
        ends = [(stage.apparent, APPARENT, higher), (stage.honest, HONEST, not higher)]
        for value, colour, above in ends:
            same = stage.choices == 0 and not above  # nothing chosen: one figure
            if math.isfinite(value) and not same:
                y = box.y(value) + (-5 if above else 5)
                page.text(x, y, f"{value:.3f}", 12, colour, "ms" if above else "ma")
        word = {"hyperparameter": "hyper-\nparameter"}.get(stage.name, stage.name)
        options = f"\nof {stage.choices}" if stage.choices else ""
        page.text(x, box.bottom + 6, word + options, 12, INK, "ma")


def _thresholds(page: Canvas, stages: Sequence[Stage]) -> None:
    """Lower right: what the labels chose, at a label-free threshold and at one of labels."""
    box = Box(RIGHT[0], LOWER[0], RIGHT[1], LOWER[1], 0.0, 1.15)
    page.panel(box, "Threshold, on what labels chose", 4)
    at = _middles(len(stages))
    for i in range(0, len(stages), 2):
        page.text((at[i] + at[i + 1]) / 2, box.bottom + 24, stages[i].metric, 13, INK, "ma")
    for x, stage in zip(at, stages, strict=True):
        for value, colour, side in ((stage.apparent, APPARENT, -1), (stage.honest, HONEST, 1)):
            if not math.isfinite(value):
                continue
            middle, top = x + side * 18, box.y(value)
            left, right = middle - 16, middle + 16
            corners = [(left, box.bottom), (left, top), (right, top), (right, box.bottom)]
            page.fill(corners, colour)
            page.text(middle, top - 3, f"{value:.2f}", 12, colour, "ms")
        chosen = "by labels" if stage.choices else "5 % false pos."
        page.text(x, box.bottom + 6, chosen, 12, INK, "ma")


def picture(task: str, result: Audit) -> Any:
    """The picture (PIL) of one task's snooping audit.

    Upper panels share their axis and the lines to compare with; the lower left is the best of k by
    labels permuted at random, the lower right F1 and balanced accuracy by threshold.
    """
    one, tried = result.snooping, result.tried
    controls = {k: v for k, v in result.baselines.items() if math.isfinite(v)}
    best = max(controls, key=lambda k: controls[k])
    lines = {
        "rule's pick": (result.pick["mean"], RULE),
        "expected random": (result.across.expected_random, RANDOM),
        "best control": (controls[best], CONTROL),
    }
    shown = _finite(
        [
            *one.curve.apparent,
            *one.curve.honest,
            *one.curve.reseeded,
            *(v for s in one.stages for v in (s.apparent, s.honest)),
            lines["rule's pick"][0],
        ]
    )
    low, high = _range(shown)
    if abs(controls[best] - (low + high) / 2) < high - low:  # else it would squeeze all the rest
        low, high = _range([*shown, controls[best]])
    page = Canvas(*SIZE)
    page.text(LEFT[0] - 40, 18, f"What labels would have bought: {task}", 19)
    page.text(
        LEFT[0] - 40,
        48,
        f"{100 * result.share:.0f} % anomalies in the target. Apparent: chosen and reported on the "
        "same labels. Honest: chosen on half of the target, reported on the other half\n"
        f"({one.halves.splits} random splits, both ways). Best control: {best}."
        + (
            f" Only of the {tried.settings - tried.stopped} of {tried.settings} settings that the "
            "search left."
            if tried.stopped
            else ""
        ),
        13,
        FAINT,
    )
    upper = Box(LEFT[0], UPPER[0], LEFT[1], UPPER[1], low, high)
    page.panel(upper, "AUROC of the best of k settings", largest=1.0)
    _curves(page, upper, one, lines)
    _numbers(page, upper, one.curve.tried)
    _null(page, one)
    right = upper._replace(left=RIGHT[0], right=RIGHT[1])
    page.panel(right, "AUROC as labels choose in turn", largest=1.0)
    for value, colour in lines.values():
        if low <= value <= high:
            page.line([(right.left, right.y(value)), (right.right, right.y(value))], colour, 1, 6)
    page.text(right.right, right.top - 10, "honest", 13, HONEST, "rs")
    page.text(right.right - 50, right.top - 10, "apparent", 13, APPARENT, "rs")
    _stages(page, right, one.stages)
    _thresholds(page, one.thresholds)
    return page.image()
