"""What a run's detector finds most and least anomalous, and what pseudo-anomalies it learned."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.errors import InputError
from ad_jax.base.modality import modality
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.detect import localise
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import Ensemble
from ad_jax.features import frozen
from ad_jax.report import heatmaps, lines, samples
from ad_jax.report.nearest import IMAGES, nearest
from ad_jax.report.page import Block, Gallery, Picture, Prose, Section
from ad_jax.report.parts.task import Task
from ad_jax.report.preview import pseudo_anomalies
from ad_jax.runs import run
from ad_jax.train.backbones import as_unit, units_of
from ad_jax.train.setting import Setting

SHOWN = 6  # samples of the highest scores, and of the lowest
MADE = 3  # settings whose pseudo-anomalies are shown
TASKS = 3  # of a report that show pictures
LEGEND = 600  # px
NARROW = 84  # px that a picture has at least, for what stands below it
LEARNED = "What the settings of the largest weights learned to tell from normals."
NO_HEATMAPS = "There are no heatmaps: the detector's networks have no positions."


class Seen(NamedTuple):
    """What the pictures of a run need.

    Attributes:
      problem: whose target is scored.
      learned: as the networks saw it; tiles where the detector cuts images into tiles.
      detector: what `ad-jax score` would score with.
    """

    problem: Problem
    learned: Problem
    detector: FittedDetector


class Drawn(NamedTuple):
    """Samples of the target as pictures.

    Attributes:
      pngs: one a sample.
      about: what they show.
      scale: the colours of heatmaps beside images, if there are any.
    """

    pngs: list[bytes]
    about: str
    scale: Picture | None = None


def pictures(tasks: Sequence[Task], seen_of: Callable[[Task], Seen]) -> Section | None:
    """The section; None where no run has a detector.

    Args:
      tasks: runs; the first `TASKS` of those that hold a detector are shown.
      seen_of: reads a run's data and detector again. What it or the drawing raises as `InputError`
        is said instead of pictures. No label is read.
    """
    blocks: list[Block] = []
    covers = {}
    tasks = [task for task in tasks if (task.folder / run.DETECTOR).is_dir()]
    for task in tasks[:TASKS]:
        of = f" of {task.name}" if len(tasks) > 1 else ""
        try:
            seen = seen_of(task)
            found, scale = _extremes(task, seen, of)
            blocks += found + _made(seen, of)
        except InputError as error:
            blocks.append(Prose([f"No pictures of {task.name}: {error}."]))
            continue
        if scale:
            covers = {15: "a pixel metric (`audit_pixels` of opened masks)"}
    if not blocks:
        return None
    if len(tasks) > TASKS:
        said = f"Pictures of {TASKS} of {len(tasks)} tasks; a report on one run shows its own."
        blocks.append(Prose([said]))
    return Section("pictures", "What is anomalous, and what is not", blocks, covers)


def _extremes(task: Task, seen: Seen, of: str) -> tuple[list[Block], bool]:
    """Samples of the highest and of the lowest scores, with p-value, score and row.

    They are sought by the run's own scores, so that few samples are scored anew, and ordered by the
    detector's.

    Returns:
      Galleries, and whether there is a scale of heatmaps.
    """
    target, sought = seen.problem.target, 2 * SHOWN
    order = np.argsort(-task.run.ensemble_scores, kind="stable")
    near = np.concatenate([order[:sought], order[max(sought, len(order) - sought) :]])
    again = seen.detector.decision_function(target[near])
    order = np.argsort(-again, kind="stable")
    most = min(SHOWN, (len(order) + 1) // 2)
    some = np.concatenate([order[:most], order[max(most, len(order) - SHOWN) :]])
    rows, scores = near[some], again[some]
    drawn = _drawn(seen, target[rows])
    values = zip(drawn.pngs, seen.detector.p_values_of(scores), scores, rows, strict=True)
    found = [Picture(png, f"p = {p:.2g}, score {s:.2f}, row {row}") for png, p, s, row in values]
    galleries = {"most anomalous": found[:most], "least anomalous": found[most:]}
    galleries = {title: some for title, some in galleries.items() if some}
    note = (
        f"Of {len(target)} samples, scored by the detector. p is the share of held-out normals "
        "that score at least as high: small is anomalous. The file samples.csv names the rows. "
        + drawn.about
    )
    side = _side(seen, drawn.pngs[0])
    blocks: list[Block] = [Gallery(f"The target{of}", galleries, note, side)]
    if drawn.scale is not None:
        blocks.append(Gallery("", {"": [drawn.scale]}, "", LEGEND))
    return blocks, drawn.scale is not None


def _drawn(seen: Seen, target: np.ndarray) -> Drawn:
    """Every sample of a few, with its heatmap where there are heatmaps."""
    detector, shape = seen.detector, seen.problem.shape
    kind = modality(shape)
    if kind == "row":
        units = _units(seen.problem)
        middle = np.median(units(seen.problem.train), axis=0)
        pngs = [samples.row(middle, one, np.ones(len(one))) for one in units(target)]
        about = "In grey the medians of the normals, in colour the sample; " + lines.axes_of(shape)
        return Drawn(pngs, about)
    heat = detector.heatmaps(target) if _localised(seen) else None
    alarm = math.inf if heat is None else detector.heatmap_alarm()
    if kind == "series":
        strange = np.zeros(target.shape[:2]) if heat is None else heat > alarm
        each = zip(_units(seen.problem)(target), strange, strict=True)
        pngs = [samples.series(one, one, where) for one, where in each]
        about = "Shaded is what is as strange as 5 % of normal series are anywhere"
        if math.isinf(alarm):
            about = "Nothing is shaded: too few held-out normals say where an alarm would begin"
        about = NO_HEATMAPS if heat is None else f"{about}; {lines.axes_of(shape)}"
        return Drawn(pngs, about)
    if heat is None:
        return Drawn([samples.image(one) for one in target], NO_HEATMAPS)
    ends = detector.heatmap_ends()
    top = heatmaps.top_of(ends.tolist())
    overlays = [heatmaps.overlay(one, own, top) for one, own in zip(target, heat, strict=True)]
    pairs = [samples.image(one, own) for one, own in zip(target, overlays, strict=True)]
    scale = heatmaps.legend(top, float(ends.mean()), alarm)
    about = "To the right of every image its heatmap."
    return Drawn(pairs, about, Picture(samples.png(scale), "colours of all heatmaps"))


def _side(seen: Seen, drawn: bytes) -> int:
    """Layout px that a picture takes at least."""
    image = modality(seen.problem.shape) == "image"
    return max(NARROW, samples.width(drawn)) if image else samples.WIDE


def _localised(seen: Seen) -> bool:
    """Whether there are heatmaps; a detector that was saved without them gets them here."""
    detector = seen.detector
    if detector.state_.localised is not None:
        return True
    told = [localise.HEAD] if frozen(detector.config.backbone) else []  # finer, and of the heads
    for method in [*told, localise.DEFAULT]:
        with contextlib.suppress(InputError):  # networks without positions
            detector.fit_localiser(seen.problem, method)
            return True
    return False


@in_float32
def _units(problem: Problem) -> Callable[[np.ndarray], np.ndarray]:
    """Samples in units of the normals' spread per channel or column."""
    units = units_of(jnp.asarray(problem.train))
    return lambda some: np.asarray(units(jnp.asarray(some)))


def _learned_from(detector: FittedDetector) -> list[Setting]:
    """The setting of the largest weight of every augmentation, the largest first."""
    weighed = detector.weights_ if isinstance(detector, Ensemble) else [(detector.setting_, 1.0)]
    found: dict[str, Setting] = {}
    for setting, _ in sorted(weighed, key=lambda one: -one[1]):
        if setting.pretext not in ("control", "external") and setting.augmentation != "identity":
            found.setdefault(setting.augmentation, setting)
    return list(found.values())


def _made(seen: Seen, of: str) -> list[Block]:
    """Pseudo-anomalies of the settings that the detector leans on most."""
    blocks: list[Block] = []
    for setting in _learned_from(seen.detector):
        title, pngs = _pseudo_anomalies(seen, setting)
        if pngs:
            rows = {title: [Picture(png, "") for png in pngs]}
            name, note = ("", "") if blocks else (f"Pseudo-anomalies{of}", LEARNED)
            blocks.append(Gallery(name, rows, note, _side(seen, pngs[0])))
        if len(blocks) == MADE:
            break
    return blocks


def _pseudo_anomalies(seen: Seen, setting: Setting) -> tuple[str, list[bytes]]:
    """What is shown of a setting, and a PNG of each; none where there is nothing to be seen."""
    problem, name, label = seen.learned, setting.augmentation, setting.label
    entry, kind = augmentations.get(name), modality(problem.shape)
    if kind == "image" and augmentations.of_features(name):
        found = nearest(problem, seen.detector.config.backbone, name, {"": setting.hyper})[""]
        looked = f" (of {IMAGES} samples)" if len(problem.target) > IMAGES else ""
        title = f"{label} changes features: the places of the target{looked} most like that"
        return title, [samples.image(one) for one in found[:SHOWN]]
    if kind == "image" and not entry.lacks(problem.shape):
        images = as_unit(jnp.asarray(problem.train[: SHOWN + 1]))
        changed = pseudo_anomalies(entry, setting.hyper, images, SHOWN)
        each = zip(np.asarray(images), changed, strict=False)
        drawn = [samples.image(before, heatmaps.picture_of(after)) for before, (after, _) in each]
        return f"{label}: a normal, and what was made of it", drawn
    if kind == "image" or not lines.draws(name, problem.shape):
        return "", []
    normals = _units(problem)(problem.train[: SHOWN + 1])
    draw = samples.series if kind == "series" else samples.row
    make, drawn = lines.maker(entry, problem.shape), []
    for i in range(min(SHOWN, len(normals))):
        donor = normals[(i + 1) % len(normals)]
        made, mask = make(jax.random.key(i), setting.hyper, normals[i], donor)
        drawn.append(draw(normals[i], made, mask))
    return f"{label}: a normal in grey, and what was made of it", drawn
