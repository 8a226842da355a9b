"""What was tuned by gradient: trajectories of every start, and images along them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.errors import InputError
from ad_jax.base.stats import Estimate
from ad_jax.data import Problem
from ad_jax.report import tuning
from ad_jax.report.figures import curves, theme
from ad_jax.report.page import Block, Column, Figures, Gallery, Picture, Prose, Section, Table
from ad_jax.report.page.content import Cell, known
from ad_jax.report.parts.task import Task
from ad_jax.runs.run import Traced

Z95 = 1.96
SAID = (
    "Hyperparameters of an augmentation were moved by gradient through training, from several "
    "starts, so that the outer loss falls: it compares normals, augmented normals and the target "
    "without its labels. The settings that the starts arrived at were then trained anew and "
    "compared by the rule."
)


def tuned(tasks: Sequence[Task], problem_of: Callable[[Task], Problem]) -> Section | None:
    """Trajectories and images of every task that was tuned; None if none was.

    Args:
      tasks: runs.
      problem_of: reads a run's data again, for the images; what it raises as `InputError` is said
        instead of them. No label is read.
    """
    blocks: list[Block] = [Prose([SAID])]
    for task in tasks:
        if task.traced is None:
            continue
        blocks += [_table(task, task.traced), _curves(task, task.traced)]
        try:
            blocks.append(_images(task, task.traced, problem_of(task)))
        except InputError as error:
            blocks.append(Prose([f"{task.name}: no images along the trajectories: {error}."]))
    return Section("tuning", "What was tuned", blocks) if len(blocks) > 1 else None


def _names(traced: Traced) -> list[str]:
    """Starts as readers see them, the lowest loss and the pick marked."""
    marks = [("lowest loss", traced.about["best"]), ("picked", traced.about["picked"])]
    return [
        " ".join([f"start {i}", *[f"({word})" for word, at in marks if at == i]])
        for i in range(len(traced.about["starts"]))
    ]


def _table(task: Task, traced: Traced) -> Table:
    columns = [
        Column("start"),
        Column("status", "ok, collapsed or diverged"),
        Column("outer loss", "mean of the last third of the steps [95 % interval over blocks]"),
        Column("fell by", "from the first tenth of the steps"),
        *[Column(f"{n}: from", "", 4) for n in traced.names],
        *[Column(f"{n}: to", "mean of the last third of the steps", 4) for n in traced.names],
    ]
    rows: list[list[Cell]] = []
    for name, start in zip(_names(traced), traced.about["starts"], strict=True):
        loss, error, gain = (known(start[k]) for k in ("loss", "error", "gain"))
        rows.append(
            [
                name,
                start["status"],
                Estimate(loss, loss - Z95 * error, loss + Z95 * error),
                gain,
                *[known(start["start"][n]) for n in traced.names],
                *[known(start["end"][n]) for n in traced.names],
            ]
        )
    note = "" if traced.about["picked"] is not None else "the untuned default was picked"
    return Table(f"Starts of {task.name}", columns, rows, note=note)


def _curves(task: Task, traced: Traced) -> Figures:
    steps = range(traced.loss.shape[1])
    tones = list(theme.keys(_names(traced)).values())

    def figure(title: str, values: np.ndarray, up: str) -> curves.Figure:
        shown = np.where(traced.alive, values, np.nan)
        lines = [
            curves.Curve(key.text, steps, row, key.colour, key.shape)
            for key, row in zip(tones, shown, strict=True)
        ]
        ends = ", ".join(
            f"{key.text} {row[0]:.3g} to {row[taken - 1]:.3g}"
            for key, row, taken in zip(tones, values, traced.steps, strict=True)
        )
        return curves.curves(title, lines, "outer step", up, f"{title} by outer step: {ends}")

    drawn = [figure("outer loss", traced.loss, "loss")]
    bounds = {one["name"]: one for one in traced.about["tuned"]}
    for i, name in enumerate(traced.names):
        one = bounds.get(name)
        title = name if one is None else f"{name} (allowed: {one['low']:.3g} to {one['high']:.3g})"
        drawn.append(figure(title, traced.values[:, :, i], name))
    about = f"{traced.about['augmentation']} tuned on {task.name}; a colour and mark per start."
    return Figures(drawn, tones, about)


def _images(task: Task, traced: Traced, problem: Problem) -> Gallery:
    """A normal augmented along every start, the same draw throughout."""
    rows: dict[str, Sequence[Picture]] = {}
    for i, name in enumerate(_names(traced)):
        moments = tuning.moments(traced.steps[i])
        hypers = [
            {**traced.about["fixed"], **dict(zip(traced.names, map(float, v), strict=True))}
            for v in traced.values[i, moments]
        ]
        images = tuning.along(traced.about["augmentation"], hypers, problem, draw=0)
        captions = ["as it is", *[f"step {m}" for m in moments]]
        rows[name] = [
            Picture(_png(image), caption) for image, caption in zip(images, captions, strict=True)
        ]
    kind = augmentations.get(traced.about["augmentation"]).group
    return Gallery(
        f"One normal of {task.name}, augmented along every start",
        rows,
        f"The same draw throughout: only the hyperparameters move ({kind} augmentation).",
    )


def _png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    tuning.image_of(image, tuning.SHOWN).save(out, format="PNG", optimize=True)
    return out.getvalue()
