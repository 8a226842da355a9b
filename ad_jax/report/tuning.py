"""What was tuned by gradient: a section of a report, a picture, and a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.errors import InputError
from ad_jax.base.numerics import in_float32
from ad_jax.base.stats import Estimate
from ad_jax.base.values import numbers, owner
from ad_jax.data import Problem
from ad_jax.report import samples
from ad_jax.report.figures import curves, theme
from ad_jax.report.nearest import nearest
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
from ad_jax.selection.tuning.descent import default_of
from ad_jax.train.backbones import as_unit

SHOWN = 84  # px a side of a sample
MOMENTS = 6  # of the trajectory
STRANGEST = 2 * (MOMENTS + 1)  # samples of the target in the picture
Z95 = 1.96
VECTOR = "of a vector the mean, its lowest and highest number in brackets"
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
        kind = augmentations.get(traced.about["augmentation"]).group
        if kind == "features":  # no image is changed
            continue
        rows = {name: _along(traced, i, problem) for i, name in enumerate(_names(traced))}
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
    blocks: list[Figures | Gallery] = [_curves("this target", traced)]
    if augmentations.get(name).group == "features":
        title = "the target's places most like what is made of normals, before and after"
        hypers = {"default": default_of(tuned.descent.space), "tuned": tuned.descent.hyper}
        crops = nearest(problem, tuned.detector.config.backbone, name, hypers)
        made = {when: [_png(crop, "") for crop in some] for when, some in crops.items()}
        blocks.append(Gallery(title, made))
    else:
        title = "one normal, augmented along the best start (two draws)"
        along = {str(draw): _along(traced, best, problem, draw) for draw in range(2)}
        blocks.append(Gallery(title, along))
    title = "strangest samples of the target, by the picked detector"
    blocks.append(Gallery(title, {"": strangest[:half], "more": strangest[half:]}))
    return pages.picture(f"{name}, tuned by gradient", lines, blocks, columns=3)


def table(tuned: Tuned) -> tuple[Sequence[str], list[list[object]]]:
    """Header and rows of the starts, a row per hyperparameter, for `render`.

    Columns for hyperparameters would pass the 80 columns of a terminal from three of them on.
    """
    traced = traced_of(tuned)
    header = ["start", "status", "loss", "±", "tuned", "from", "to"]
    rows: list[list[object]] = []
    for i, start in enumerate(traced.about["starts"]):
        about = [" ".join([str(i), *_marks(traced, i)])]
        about += [start["status"], start["loss"], start["error"]]
        for n in _hypers(traced):
            rows.append([*about, n, _said(start["start"][n]), _said(start["end"][n])])
            about = [""] * len(about)
    if tuned.picked is None:
        same = [[n, "", _said(tuned.hyper[n])] for n in _hypers(traced) if n in tuned.hyper]
        names = ["default (picked)", *[""] * len(same)]
        rows += [[name, "", "", "", *own] for name, own in zip(names, same)]
    return header, rows


def _hypers(traced: Traced) -> dict[str, list[int]]:
    """Columns of every tuned hyperparameter: one, or those of a vector's numbers."""
    out: dict[str, list[int]] = {}
    for i, name in enumerate(traced.names):
        out.setdefault(owner(name), []).append(i)
    return out


def _said(value: Any) -> str:
    """A value in words: of a vector its lowest and highest number."""
    own = numbers(value)
    low, high = f"{min(own):.3g}", f"{max(own):.3g}"
    return low if low == high else f"({low} to {high})"


def _marks(traced: Traced, start: int) -> list[str]:
    marks = {"lowest loss": traced.about["best"], "picked": traced.about["picked"]}
    return [f"({word})" for word, place in marks.items() if place == start]


def _names(traced: Traced) -> list[str]:
    """Starts as readers see them, the lowest loss and the pick marked."""
    count = len(traced.about["starts"])
    return [" ".join([f"start {i}", *_marks(traced, i)]) for i in range(count)]


def _moves(traced: Traced, start: dict[str, Any]) -> list[str]:
    ends = start["start"], start["end"]
    return [f"{n} {' to '.join(_said(end[n]) for end in ends)}" for n in _hypers(traced)]


def _starts(name: str, traced: Traced) -> Table:
    def loss(row: tuple[str, dict[str, Any]]) -> Estimate:
        value, error = known(row[1]["loss"]), known(row[1]["error"])
        return Estimate(value, value - Z95 * error, value + Z95 * error)

    def at(place: str, hyper: str) -> Callable[[tuple[str, dict[str, Any]]], Any]:
        def value(row: tuple[str, dict[str, Any]]) -> Any:
            own = list(map(known, numbers(row[1][place][hyper])))
            return own[0] if len(own) == 1 else Estimate(float(np.mean(own)), min(own), max(own))

        return value

    blocks = "mean of the last third of the steps [95 % interval over blocks]"
    arrived = "mean of the last third of the steps"
    return tabulated(
        f"Starts of {name}",
        [
            field("start", lambda row: row[0]),
            field("status", lambda row: row[1]["status"], "ok, collapsed or diverged"),
            field("outer loss", loss, blocks),
            field("fell by", lambda r: known(r[1]["gain"]), "from the first tenth of the steps"),
            *[field(f"{n}: from", at("start", n), VECTOR, 4) for n in _hypers(traced)],
            *[field(f"{n}: to", at("end", n), f"{arrived}; {VECTOR}", 4) for n in _hypers(traced)],
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
    for hyper, places in _hypers(traced).items():
        title = hyper if len(places) == 1 else f"{hyper}, mean of {len(places)} numbers"
        if hyper in bounds:
            title += f" (allowed: {bounds[hyper]['low']:.3g} to {bounds[hyper]['high']:.3g})"
        figures.append(figure(title, traced.values[:, :, places].mean(-1), hyper))
        if len(places) > 1:
            figures.append(_ends(traced, hyper, keys))
    about = f"{traced.about['augmentation']} tuned on {name}; a colour and mark per start."
    return Figures(figures, keys, about)


def _ends(traced: Traced, hyper: str, keys: Sequence[Any]) -> curves.Figure:
    """The numbers of a vector where every start ended."""
    ends = [start["end"][hyper] for start in traced.about["starts"]]
    lines = [
        curves.Curve(key.text, range(len(end)), end, key.colour, key.shape)
        for key, end in zip(keys, ends, strict=True)
    ]
    said = ", ".join(f"{key.text} {_said(end)}" for key, end in zip(keys, ends, strict=True))
    title = f"{hyper} at the end, by channel or band"
    return curves.curves(title, lines, ("number", hyper), f"{title}: {said}")


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
    return Picture(samples.png(image_of(image, SHOWN)), caption)
