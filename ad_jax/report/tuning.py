"""Picture of a tuning: curves per start, and one sample augmented along the best trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.report.preview import image_of
from ad_jax.selection.tuning import Tuned
from ad_jax.train.trainer import as_unit

COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#555555", "#e07a5f", "#17868f")
SHOWN = 84  # px a side of a sample
MOMENTS = 6  # of the trajectory
PLOT = (300, 150)


def _plot(
    draw: Any, at: tuple[int, int], title: str, curves: np.ndarray, low: float, high: float
) -> None:
    """Curves `[starts, steps]` in a frame, its upper and lower end written at its side."""
    left, top = at
    width, height = PLOT
    draw.rectangle((left, top + 16, left + width, top + height), outline="#888888", fill="white")
    draw.text((left, top), title, fill="black")
    span = high - low if high > low else 1.0
    for i, curve in enumerate(curves):
        points = [
            (
                left + width * j / max(len(curve) - 1, 1),
                top + height - (height - 16) * float(np.clip((v - low) / span, 0.0, 1.0)),
            )
            for j, v in enumerate(curve)
            if np.isfinite(v)
        ]
        if len(points) > 1:
            draw.line(points, fill=COLOURS[i % len(COLOURS)], width=2)
    draw.text((left + width + 4, top + 16), f"{high:.3g}", fill="black")
    draw.text((left + width + 4, top + height - 12), f"{low:.3g}", fill="black")


def moments(steps: int) -> np.ndarray:
    """Steps of a trajectory that are shown, the first and the last among them."""
    return np.unique(np.linspace(0, steps - 1, MOMENTS).astype(int))


@in_float32
def along(
    augmentation: str, hypers: Sequence[Mapping[str, float]], problem: Problem, draw: int
) -> list[np.ndarray]:
    """A normal as it is, and augmented with every hyper of a trajectory by the same draw."""
    entry = augmentations.get(augmentation)
    sample, donor = as_unit(jnp.asarray(problem.train[:2]))
    key = jax.random.key(draw)
    return [
        np.asarray(sample),
        *[np.asarray(entry.random(key, dict(hyper), sample, donor)[0]) for hyper in hypers],
    ]


def _along(tuned: Tuned, problem: Problem) -> tuple[list[str], list[Any]]:
    """Captions and images of one normal along the best start, two draws."""
    space, path, best = tuned.descent.space, tuned.descent.trajectory, tuned.descent.best
    values = path.values[best, : path.steps[best]]
    shown = moments(len(values))
    hypers = [
        {**space.fixed, **dict(zip(space.names, map(float, v), strict=True))} for v in values[shown]
    ]
    images = [x for row in range(2) for x in along(space.augmentation, hypers, problem, row)]
    captions = ["as it is", *[f"step {moment}" for moment in shown], *[""] * (len(shown) + 1)]
    return captions, images


def picture(tuned: Tuned, problem: Problem) -> Any:
    """The picture (PIL): loss and every tuned number per start, samples, strangest target samples.

    Colours are starts; the legend marks the best. Target samples are those
    that the picked detector finds strangest; no label is used.
    """
    from PIL import Image, ImageDraw

    path = tuned.descent.trajectory
    loss = path.loss + path.gate
    finite = loss[np.isfinite(loss)]
    low, high = (float(np.quantile(finite, q)) for q in (0.01, 0.99)) if len(finite) else (0.0, 1.0)
    plots: list[tuple[str, np.ndarray, float, float]] = [("outer loss", loss, low, high)]
    for j, name in enumerate(path.names):
        unit = ""
        shares = path.shares[:, :, j]
        if name in tuned.descent.space.free:
            free = tuned.descent.space.free[name]
            unit = f" (position in {free.low:.3g} to {free.high:.3g}, {free.scale})"
        plots.append((name + unit, shares, 0.0, 1.0))
    columns = 3
    rows = -(-len(plots) // columns)
    cell = (PLOT[0] + 60, PLOT[1] + 24)
    strip = 2 * (SHOWN + 6) + 24
    width = max(columns * cell[0] + 20, (MOMENTS + 1) * (SHOWN + 6) + 20)
    legend = 16 * len(tuned.descent.starts) + 12
    page = Image.new("RGB", (width, legend + rows * cell[1] + 2 * strip + 36), "#d8dde3")
    draw = ImageDraw.Draw(page)
    for i, start in enumerate(tuned.descent.starts):
        text = ", ".join(f"{n} {start.start[n]:.3g} -> {start.end[n]:.3g}" for n in path.names)
        best = "".join(f"  <- {word}" for word in _marks(tuned, i))
        draw.text(
            (10, 6 + 16 * i),
            f"start {i} ({start.status}, loss {start.loss:.3g}): {text}"[:150] + best,
            fill=COLOURS[i % len(COLOURS)],
        )
    for k, (title, curves, bottom, top) in enumerate(plots):
        at = (10 + (k % columns) * cell[0], legend + (k // columns) * cell[1])
        _plot(draw, at, title, curves, bottom, top)
    y = legend + rows * cell[1] + 8
    captions, images = _along(tuned, problem)
    per_row = len(images) // 2
    draw.text((10, y), "one normal, augmented along the best start (same draws)", fill="black")
    for i, (caption, image) in enumerate(zip(captions, images, strict=True)):
        at = (10 + (i % per_row) * (SHOWN + 6), y + 32 + (i // per_row) * (SHOWN + 6))
        draw.text((at[0], y + 16), caption, fill="black")
        page.paste(image_of(image, SHOWN), at)
    y += strip + 16
    draw.text((10, y), "strangest samples of the target, by the picked detector", fill="black")
    order = np.argsort(-tuned.detector.decision_function(problem.target))
    for i, row in enumerate(order[: 2 * per_row]):
        at = (10 + (i % per_row) * (SHOWN + 6), y + 16 + (i // per_row) * (SHOWN + 6))
        page.paste(image_of(np.asarray(as_unit(jnp.asarray(problem.target[row]))), SHOWN), at)
    return page


def _marks(tuned: Tuned, start: int) -> list[str]:
    lowest = ["lowest loss"] if start == tuned.descent.best else []
    return lowest + (["picked"] if start == tuned.picked else [])


def table(tuned: Tuned) -> tuple[Sequence[str], list[list[object]]]:
    """Header and rows of the starts, for `render`."""
    header = ["start", "status", "loss", "±", *tuned.descent.trajectory.names]
    rows: list[list[object]] = []
    for i, start in enumerate(tuned.descent.starts):
        moved = [
            f"{start.start[n]:.3g} -> {start.end[n]:.3g}" for n in tuned.descent.trajectory.names
        ]
        name = " ".join([str(i), *(f"({word})" for word in _marks(tuned, i))])
        rows.append([name, start.status, start.loss, start.error, *moved])
    if tuned.picked is None:
        same = [f"{tuned.hyper[n]:.3g}" for n in tuned.descent.trajectory.names if n in tuned.hyper]
        rows.append(["default (picked)", "", "", "", *same])
    return header, rows
