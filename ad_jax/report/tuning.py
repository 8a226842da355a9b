"""What was tuned by gradient: a section of a report, a picture, and a table for a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.errors import InputError
from ad_jax.base.numerics import in_float32
from ad_jax.base.stats import Estimate
from ad_jax.data import Problem
from ad_jax.report.figures import curves, theme
from ad_jax.report.page import (
    Block,
    Figures,
    Gallery,
    Picture,
    Prose,
    Section,
    Table,
    field,
    tabulated,
)
from ad_jax.report.page import picture as pages
from ad_jax.report.page.content import known
from ad_jax.report.parts.task import Task
from ad_jax.report.preview import image_of
from ad_jax.runs.tuning import Traced, traced_of
from ad_jax.selection.tuning import Tuned
from ad_jax.train.backbones import as_unit

SHOWN = 84  # px a side of a sample
MOMENTS = 6  # of the trajectory
STRANGEST = 2 * (MOMENTS + 1)  # samples of the target in the picture
Z95 = 1.96
ABOUT = (
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
    blocks: list[Block] = [Prose([ABOUT])]
    for task in tasks:
        traced = task.traced
        if traced is None:
            continue
        blocks += [_starts(task.name, traced), _curves(task.name, traced)]
        try:
            problem = problem_of(task)
        except InputError as error:
            blocks.append(Prose([f"{task.name}: no images along the trajectories: {error}."]))
            continue
        rows = {name: _along(traced, i, problem) for i, name in enumerate(_names(traced))}
        kind = augmentations.get(traced.about["augmentation"]).group
        note = f"The same draw throughout: only the hyperparameters move ({kind} augmentation)."
        title = f"One normal of {task.name}, augmented along every start"
        blocks.append(Gallery(title, rows, note))
    return Section("tuning", "What was tuned", blocks) if len(blocks) > 1 else None


def picture(tuned: Tuned, problem: Problem) -> Any:
    """The picture (PIL): loss and every tuned number per start, samples, strangest target samples.

    Target samples are those that the picked detector finds strangest; no label is used.
    """
    traced = traced_of(tuned)
    name, best = traced.about["augmentation"], traced.about["best"]
    lines = [
        f"{name} ({start['status']}, loss {start['loss']:.3g}): {', '.join(_moves(traced, start))}"
        for name, start in zip(_names(traced), traced.about["starts"], strict=True)
    ]
    order = np.argsort(-tuned.detector.decision_function(problem.target))[:STRANGEST]
    strangest = [_png(np.asarray(as_unit(jnp.asarray(problem.target[i]))), "") for i in order]
    half = STRANGEST // 2
    blocks: list[Figures | Gallery] = [
        _curves("this target", traced),
        Gallery(
            "one normal, augmented along the best start (two draws)",
            {str(draw): _along(traced, best, problem, draw) for draw in range(2)},
        ),
        Gallery(
            "strangest samples of the target, by the picked detector",
            {"": strangest[:half], "more": strangest[half:]},
        ),
    ]
    return pages.picture(f"{name}, tuned by gradient", lines, blocks, columns=3)


def table(tuned: Tuned) -> tuple[Sequence[str], list[list[object]]]:
    """Header and rows of the starts, for `render`."""
    traced = traced_of(tuned)
    header = ["start", "status", "loss", "±", *traced.names]
    rows: list[list[object]] = []
    for i, start in enumerate(traced.about["starts"]):
        name = " ".join([str(i), *_marks(traced, i)])
        moves = [f"{start['start'][n]:.3g} -> {start['end'][n]:.3g}" for n in traced.names]
        rows.append([name, start["status"], start["loss"], start["error"], *moves])
    if tuned.picked is None:
        same = [f"{tuned.hyper[n]:.3g}" for n in traced.names if n in tuned.hyper]
        rows.append(["default (picked)", "", "", "", *same])
    return header, rows


def _marks(traced: Traced, start: int) -> list[str]:
    marks = {"lowest loss": traced.about["best"], "picked": traced.about["picked"]}
    return [f"({word})" for word, place in marks.items() if place == start]


def _names(traced: Traced) -> list[str]:
    """Starts as readers see them, the lowest loss and the pick marked."""
    count = len(traced.about["starts"])
    return [" ".join([f"start {i}", *_marks(traced, i)]) for i in range(count)]


def _moves(traced: Traced, start: dict[str, Any]) -> list[str]:
    return [f"{n} {start['start'][n]:.3g} to {start['end'][n]:.3g}" for n in traced.names]


def _starts(name: str, traced: Traced) -> Table:
    def loss(row: tuple[str, dict[str, Any]]) -> Estimate:
        value, error = known(row[1]["loss"]), known(row[1]["error"])
        return Estimate(value, value - Z95 * error, value + Z95 * error)

    def at(place: str, hyper: str) -> Callable[[tuple[str, dict[str, Any]]], float]:
        return lambda row: known(row[1][place][hyper])

    blocks = "mean of the last third of the steps [95 % interval over blocks]"
    arrived = "mean of the last third of the steps"
    return tabulated(
        f"Starts of {name}",
        [
            field("start", lambda row: row[0]),
            field("status", lambda row: row[1]["status"], "ok, collapsed or diverged"),
            field("outer loss", loss, blocks),
            field("fell by", lambda r: known(r[1]["gain"]), "from the first tenth of the steps"),
            *[field(f"{n}: from", at("start", n), digits=4) for n in traced.names],
            *[field(f"{n}: to", at("end", n), arrived, 4) for n in traced.names],
        ],
        list(zip(_names(traced), traced.about["starts"], strict=True)),
        note="" if traced.about["picked"] is not None else "the untuned default was picked",
    )


def _curves(name: str, traced: Traced) -> Figures:
    steps = range(traced.loss.shape[1])
    keys = list(theme.keys(_names(traced)).values())

    def figure(title: str, values: np.ndarray, up: str) -> curves.Figure:
        lines = [
            curves.Curve(key.text, steps, row, key.colour, key.shape)
            for key, row in zip(keys, np.where(traced.alive, values, np.nan), strict=True)
        ]
        ends = ", ".join(
            f"{key.text} {row[0]:.3g} to {row[taken - 1]:.3g}"
            for key, row, taken in zip(keys, values, traced.steps, strict=True)
        )
        return curves.curves(title, lines, ("outer step", up), f"{title} by outer step: {ends}")

    figures = [figure("outer loss", traced.loss, "loss")]
    bounds = {free["name"]: free for free in traced.about["tuned"]}
    for i, hyper in enumerate(traced.names):
        title = hyper
        if hyper in bounds:
            title += f" (allowed: {bounds[hyper]['low']:.3g} to {bounds[hyper]['high']:.3g})"
        figures.append(figure(title, traced.values[:, :, i], hyper))
    about = f"{traced.about['augmentation']} tuned on {name}; a colour and mark per start."
    return Figures(figures, keys, about)


@in_float32
def _along(traced: Traced, start: int, problem: Problem, draw: int = 0) -> list[Picture]:
    """A normal as it is, and augmented at moments of a start, the first and the last among them.

    The draw is the same throughout.
    """
    entry = augmentations.get(traced.about["augmentation"])
    sample, donor = as_unit(jnp.asarray(problem.train[:2]))
    key = jax.random.key(draw)
    pictures = [_png(np.asarray(sample), "as it is")]
    for step in np.unique(np.linspace(0, traced.steps[start] - 1, MOMENTS).astype(int)):
        values = map(float, traced.values[start, step])
        hyper = {**traced.about["fixed"], **dict(zip(traced.names, values, strict=True))}
        augmented = np.asarray(entry.random(key, hyper, sample, donor)[0])
        pictures.append(_png(augmented, f"step {step}"))
    return pictures


def _png(image: np.ndarray, caption: str) -> Picture:
    out = io.BytesIO()
    image_of(image, SHOWN).save(out, format="PNG", optimize=True)
    return Picture(out.getvalue(), caption)
