"""What a run's detector finds most and least anomalous, and what pseudo-anomalies it learned."""

from __future__ import annotations

import contextlib
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
from ad_jax.report.nearest import nearest
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
LEARNED = "What the settings of the largest weights learned to tell from normals."
DRAWN = {
    "image": "To the right of an image its heatmap, where the detector's networks have positions.",
    "series": "Shaded is what the heatmap finds as strange as 5 % of normal series do anywhere.",
    "row": "Up: units of the normals' spread by column; in grey the normals' medians.",
}


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


def pictures(tasks: Sequence[Task], seen_of: Callable[[Task], Seen]) -> Section | None:
    """The section; None where no run has a detector.

    Args:
      tasks: runs; the first `TASKS` of those that hold a detector are shown.
      seen_of: reads a run's data and detector again; what it raises as `InputError` is said instead
        of pictures. No label is read.
    """
    blocks: list[Block] = []
    tasks = [task for task in tasks if (task.folder / run.DETECTOR).is_dir()]
    for task in tasks[:TASKS]:
        of = f" of {task.name}" if len(tasks) > 1 else ""
        try:
            seen = seen_of(task)
        except InputError as error:
            blocks.append(Prose([f"No pictures of {task.name}: {error}."]))
            continue
        blocks += _extremes(task, seen, of) + _made(seen, of)
    if blocks and len(tasks) > TASKS:
        said = f"Pictures of {TASKS} of {len(tasks)} tasks; a report on one run shows its own."
        blocks.append(Prose([said]))
    if not blocks:
        return None
    heat = any(isinstance(block, Gallery) and block.side == LEGEND for block in blocks)
    covers = {15: "a pixel metric (`audit_pixels` of opened masks)"} if heat else {}
    return Section("pictures", "What is anomalous, and what is not", blocks, covers)


def _extremes(task: Task, seen: Seen, of: str) -> list[Block]:
    """Samples of the highest and of the lowest scores, with p-value, score and row.

    They are found by the run's own scores, so that few samples are scored anew.
    """
    target = seen.problem.target
    order = np.argsort(-task.run.ensemble_scores, kind="stable")
    most = min(SHOWN, (len(order) + 1) // 2)
    rows = np.concatenate([order[:most], order[max(most, len(order) - SHOWN) :]])
    scores = seen.detector.decision_function(target[rows])
    p_values = seen.detector.p_values_of(scores)
    drawn, scale = _drawn(seen, target[rows])
    found = [
        Picture(png, f"p = {p:.2g}, score {score:.2f}, row {row}")
        for png, p, score, row in zip(drawn, p_values, scores, rows, strict=True)
    ]
    by_score = lambda places: [found[i] for i in sorted(places, key=lambda i: -scores[i])]
    galleries = {
        "most anomalous": by_score(range(most)),
        "least anomalous": by_score(range(most, len(rows))),
    }
    note = (
        f"Of {len(target)} samples, scored by the detector. p is the share of held-out normals "
        "that score at least as high: small is anomalous. The file samples.csv names the rows. "
        + DRAWN[modality(seen.problem.shape)]
    )
    blocks: list[Block] = [Gallery(f"The target{of}", galleries, note, _side(seen, drawn[0]))]
    return blocks + ([Gallery("", {"": [scale]}, "", LEGEND)] if scale else [])


def _drawn(seen: Seen, target: np.ndarray) -> tuple[list[bytes], Picture | None]:
    """A PNG of every sample, and the colours of heatmaps if there are any beside images."""
    detector, kind = seen.detector, modality(seen.problem.shape)
    if kind == "row":
        units = _units(seen.problem)
        middle = np.median(units(seen.problem.train), axis=0)
        return [samples.row(middle, one, np.ones(len(one))) for one in units(target)], None
    heat = detector.heatmaps(target) if _localised(seen) else None
    if kind == "series":
        strange = np.zeros(target.shape[:2]) if heat is None else heat > detector.heatmap_alarm()
        each = zip(_units(seen.problem)(target), strange, strict=True)
        return [samples.series(one, one, where) for one, where in each], None
    if heat is None:
        return [samples.image(one) for one in target], None
    ends = detector.heatmap_ends()
    top = heatmaps.top_of(ends.tolist())
    scale = heatmaps.legend(top, float(ends.mean()), detector.heatmap_alarm())
    overlays = [heatmaps.overlay(one, own, top) for one, own in zip(target, heat, strict=True)]
    pairs = [samples.image(one, own) for one, own in zip(target, overlays, strict=True)]
    return pairs, Picture(samples.png(scale), "colours of all heatmaps")


def _side(seen: Seen, drawn: bytes) -> int:
    """Layout px that a picture takes at least."""
    return samples.WIDE if modality(seen.problem.shape) != "image" else samples.width(drawn)


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
    """Settings of the largest weights, one of every augmentation."""
    weighed = detector.weights_ if isinstance(detector, Ensemble) else [(detector.setting_, 1.0)]
    found: dict[str, Setting] = {}
    for setting, _ in sorted(weighed, key=lambda one: -one[1]):
        if setting.pretext not in ("control", "external"):
            found.setdefault(setting.augmentation, setting)
    return [one for name, one in found.items() if name != "identity"][:MADE]


def _made(seen: Seen, of: str) -> list[Block]:
    """Pseudo-anomalies of the settings that the detector leans on most."""
    blocks: list[Block] = []
    for setting in _learned_from(seen.detector):
        title, pngs = _pseudo_anomalies(seen, setting)
        if pngs:
            rows = {title: [Picture(png, "") for png in pngs]}
            name, note = ("", "") if blocks else (f"Pseudo-anomalies{of}", LEARNED)
            blocks.append(Gallery(name, rows, note, _side(seen, pngs[0])))
    return blocks


def _pseudo_anomalies(seen: Seen, setting: Setting) -> tuple[str, list[bytes]]:
    """What is shown of a setting, and a PNG of each; none where there is nothing to be seen."""
    problem, name, label = seen.learned, setting.augmentation, setting.label
    entry, kind = augmentations.get(name), modality(problem.shape)
    if kind == "image" and augmentations.of_features(name):
        found = nearest(problem, seen.detector.config.backbone, name, {"": setting.hyper})[""]
        title = f"{label} changes features: places of the target whose features are most like that"
        return title, [samples.image(one) for one in found[:SHOWN]]
    if kind == "image" and not entry.lacks(problem.shape):
        images = as_unit(jnp.asarray(problem.train[: SHOWN + 1]))
        changed = pseudo_anomalies(entry, setting.hyper, images, SHOWN)
        each = zip(np.asarray(images), changed, strict=False)
        drawn = [samples.image(before, samples.of_image(after)) for before, (after, _) in each]
        return f"{label}: a normal, and what was made of it", drawn
    if kind == "image" or name not in lines.entries(problem.shape):
        return "", []
    normals = _units(problem)(problem.train[: SHOWN + 1])
    draw = samples.series if kind == "series" else samples.row
    make, drawn = lines.maker(entry, problem.shape), []
    for i in range(min(SHOWN, len(normals))):
        donor = normals[(i + 1) % len(normals)]
        made, mask = make(jax.random.key(i), setting.hyper, normals[i], donor)
        drawn.append(draw(normals[i], made, mask))
    return f"{label}: a normal in grey, and what was made of it", drawn
