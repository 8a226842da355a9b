"""Where, not only whether: what heatmaps of one stated setting are worth, beside controls.

Trains `binary/cutpaste` at a patch area of .04 (a setting said beforehand, nothing is selected)
with every seed, and localises by every method; controls learn nothing: the untrained network of the
same seed, and Gaussians per position of raw pixels. With `--only tile=64` all of it again on
tiles of the same images, stitched. Prints image AUROC and average precision (an image's score is
the highest point of its heatmap; `pooled` is the density of the pooled embedding instead), pixel
AUROC, average precision and AUPRO, means over seeds with 95 % t intervals (three seeds or more).
Writes `rows.json`, and `strangest.png` of the default method, the seeds' heatmaps averaged.
"""

from __future__ import annotations

import io
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.base.stats import over_seeds
from ad_jax.data import Labels, Problem, parse
from ad_jax.detect import localise, scores, tiles
from ad_jax.evaluate.audit import quality
from ad_jax.evaluate.pixels import audit_pixels
from ad_jax.pool import program
from ad_jax.report import heatmaps as pictures
from ad_jax.selection import search
from ad_jax.store import keep_compilations, write_whole
from ad_jax.train import pretexts
from ad_jax.train.trainer import Hyper, make_train, seed_keys
from experiments.configs.shelf import TILE
from experiments.result import Result, Table
from experiments.study import Axis, Options, Study
from experiments.trainings import loaded

SETTING = search.setting("binary", "cutpaste", area=0.04)
FIGURES = ("image AUROC", "image AP", "pixel AUROC", "pixel AP", "AUPRO")
BLOCK = 32  # images whose features are held at once


class Arm(NamedTuple):
    """What a network sees: whole images, or their tiles by a plan."""

    name: str
    plan: tiles.Plan | None = None

    def seen(self, images: np.ndarray) -> np.ndarray:
        """The network's samples `[n t, ...]` of images `[n, ...]`."""
        if self.plan is None:
            return images
        cut = np.asarray(tiles.cut(self.plan, jnp.asarray(images)))
        return cut.reshape(-1, *cut.shape[2:])


class Found(NamedTuple):
    """One line of one seed: heatmaps of the images, and what the bar of a sheet marks."""

    maps: np.ndarray
    scores: np.ndarray
    known: float
    alarm: float


class Bench:
    """The compiled programs of one arm."""

    def __init__(self, arm: Arm, problem: Problem, config: program.Config) -> None:
        self.arm, self.problem, self.config = arm, problem, config
        pretext = pretexts.make(SETTING.pretext, SETTING.augmentation)
        shape = arm.seen(problem.target[:1]).shape[1:]
        backbone = program.network(config, shape, pretext)
        families = (SETTING.augmentation,)
        length = augmentations.packed_length(families)
        packed = augmentations.get(SETTING.augmentation).space.pack(SETTING.hyper, length)

        def augment(hyper: Hyper, key: Any, samples: Any, donors: Any) -> augmentations.Pseudo:
            def one(k: Any, sample: Any, donor: Any) -> augmentations.Pseudo:
                packed = hyper.augmentation
                return augmentations.switch(families, hyper.family, k, packed, sample, donor)

            return pretexts.augment_all(one, key, samples, donors)

        trainer = make_train(backbone, pretext, augment)
        hyper = Hyper(jnp.int32(0), packed, SETTING.training)

        def train(seed: jax.Array, normals: jax.Array, steps: jax.Array) -> Any:
            keys = seed_keys(config.root, seed)
            state = trainer.init(keys, hyper)
            state, info = trainer.go_on(state, keys, hyper, normals, 0, steps)
            return state.params, info.loss

        look = program.make_look(backbone, pretext)

        def pooled(params: Any, normals: jax.Array, target: jax.Array) -> jax.Array:
            state = scores.fit_density(look.embed(params, normals)[0])
            return scores.score_density(state, look.embed(params, target)[0])

        self.train, self.pooled = jax.jit(train), jax.jit(pooled)
        read = localise.network_maps(backbone, shape)
        self.methods = {name: self._localiser(read, name) for name in localise.METHODS}
        self.raw = self._localiser(localise.pixel_maps, "position")

    def _localiser(self, read: Any, method: str) -> localise.Localiser:
        one = localise.make_localiser(read, self.problem.shape, method, self.arm.plan)
        return localise.Localiser(*map(jax.jit, one))  # type: ignore[arg-type]

    def lines(self, seed: int) -> dict[str, Found | np.ndarray]:
        """Name of a line -> heatmaps, or only scores `[n]`, of the target's images."""
        split = self.problem.split(seed)
        samples = split.train, split.held_out, self.problem.target
        normals, target = (jnp.asarray(self.arm.seen(x)) for x in (samples[0], samples[2]))
        found: dict[str, Found | np.ndarray] = {}
        for name, steps in (("trained", self.config.steps), ("untrained", 0)):
            params, loss = self.train(seed, normals, steps)
            if steps:
                said = f"{self.arm.name}, seed {seed}: training loss {float(loss):.3f}"
                print(said, file=sys.stderr, flush=True)
            pooled = np.asarray(self.pooled(params, normals, target))
            found[f"{name}, pooled"] = pooled.reshape(len(samples[2]), -1).max(1)
            found |= self._maps(name, self.methods, params, samples)
        return found | self._maps("raw pixels", {"position": self.raw}, None, samples)

    def _maps(
        self,
        network: str,
        methods: dict[str, localise.Localiser],
        params: Any,
        samples: tuple[np.ndarray, ...],
    ) -> dict[str, Found | np.ndarray]:
        """Every method on one network; features are read once, the target's block by block."""
        normals, held_out, target = samples
        read = next(iter(methods.values())).features
        seen = tuple(
            jnp.asarray(np.concatenate(list(_read(read, params, x)))[: len(x)])
            for x in (normals, held_out)
        )
        fitted = {name: one.fit(*seen) for name, one in methods.items()}
        maps: dict[str, list[np.ndarray]] = defaultdict(list)
        for block in _read(read, params, target):
            for name, one in methods.items():
                maps[name].append(np.asarray(one.heatmaps(fitted[name], jnp.asarray(block))))
        found: dict[str, Found | np.ndarray] = {}
        for name, blocks in maps.items():
            whole = np.concatenate(blocks)[: len(target)]
            found[f"{network}, {name}"] = Found(
                whole,
                whole.max((1, 2)),
                float(fitted[name].scale.decades[-1]),
                localise.alarm(fitted[name].scale),
            )
        return found


def _read(read: Any, params: Any, samples: np.ndarray) -> Iterator[np.ndarray]:
    """Features of samples in blocks of one shape; the last repeats its last sample."""
    for start in range(0, len(samples), BLOCK):
        rows = np.minimum(np.arange(start, start + BLOCK), len(samples) - 1)
        yield np.asarray(read(params, jnp.asarray(samples[rows])))


def _judge(one: Found | np.ndarray, labels: Labels) -> list[float]:
    """`FIGURES` of one line."""
    nothing = float("nan")
    if not isinstance(one, Found):
        return [*quality(one, labels.anomalous), nothing, nothing, nothing]
    image = quality(one.scores, labels.anomalous)
    if labels.masks is None:
        return [*image, nothing, nothing, nothing]
    pixels = audit_pixels(one.maps, labels)
    return [*image, pixels.auroc, pixels.average_precision, pixels.aupro]


def _cell(values: list[float]) -> str:
    """Mean, and its interval where seeds allow one."""
    low, high = over_seeds(values)
    mean = float(np.mean(values))
    if mean != mean:
        return "-"
    return f"{mean:.3f}" if low != low else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


class Asked(NamedTuple):
    """What may be asked for, with `--only`."""

    source: str = "mvtec_bottle,size=64"
    tile: int = 0  # px; 0 for whole images alone
    overlap: float = 0.25  # of tiles, a share of their side
    seeds: int = 3
    steps: int = 400
    width: int = 24
    backbone: str = "encoder"
    most: int = 12  # images on the sheet
    side: int = pictures.SIDE  # half the px of a picture


SMALL = Asked("textures:brick-defect,size=16,limit=24", seeds=1, steps=4, width=8)
AXES = {
    name: Axis((value,), (getattr(SMALL, name),), None)
    for name, value in Asked._field_defaults.items()
}


def _sheet(
    asked: Asked, arm: Arm, problem: Problem, labels: Labels, seeds: Sequence[Found]
) -> bytes:
    """PNG of the strangest images, the seeds' heatmaps averaged."""
    shown = pictures.strangest(
        problem.target,
        np.mean([one.maps for one in seeds], axis=0),
        np.mean([one.scores for one in seeds], axis=0),
        asked.most,
        labels.masks,
    )
    page = pictures.sheet(
        shown,
        pictures.top_of([one.known for one in seeds]),
        f"{parse(asked.source)[0]}, {arm.name}: the {len(shown)} strangest of "
        f"{len(problem.target)}",
        float(np.mean([one.known for one in seeds])),
        float(np.mean([one.alarm for one in seeds])),
        side=asked.side,
    )
    content = io.BytesIO()
    page.save(content, "PNG", optimize=True)
    return content.getvalue()


def _pixels(found: Any, labels: Labels) -> list[str]:
    """What was judged by pixel; nothing without masks."""
    if labels.masks is None:
        return []
    first = next(one for several in found.values() for one in several if isinstance(one, Found))
    about = audit_pixels(first.maps, labels)
    return [
        f"{about.images} images judged by pixel, {about.regions} defects, "
        f"{100 * about.share:.1f} % of the pixels; {about.left_out} without a mask left out"
    ]


def result(options: Options) -> Result:
    asked = Asked(*(options.values(name, axis)[0] for name, axis in AXES.items()))
    if asked.seeds < 1:
        raise InputError(f"seeds={asked.seeds} trains nothing; give at least 1")
    keep_compilations()
    problem, truth = loaded(asked.source)
    config = program.Config(asked.steps, asked.width, asked.backbone)
    arms = [Arm("whole")]
    if asked.tile:
        plan = tiles.plan(problem.shape, asked.tile, asked.overlap)
        arms.append(Arm(f"tiles of {asked.tile} px", plan))
    found: dict[tuple[str, str], list[Found | np.ndarray]] = defaultdict(list)
    for arm in arms:
        bench = Bench(arm, problem, config)
        for seed in range(asked.seeds):
            for name, one in bench.lines(seed).items():
                found[arm.name, name].append(one)
    labels = truth.open("study localise: image and pixel figures of a setting said beforehand")
    rows = {
        ": ".join(key): [_judge(one, labels) for one in several] for key, several in found.items()
    }
    record = {
        "source": asked.source,
        "fingerprint": problem.fingerprint,
        "setting": SETTING._asdict(),
        "config": config._asdict(),
        "figures": FIGURES,
        "rows": rows,
        "labels": truth.log,
    }
    write_whole(options.out / "rows.json", json_text(record, indent=1).encode())
    for arm, file in zip(arms, ("strangest.png", "strangest-tiles.png")):
        seeds: Any = found[arm.name, f"trained, {localise.DEFAULT}"]
        write_whole(options.out / file, _sheet(asked, arm, problem, labels, seeds))
    lines = [
        [name, *(_cell(list(values)) for values in zip(*several, strict=True))]
        for name, several in rows.items()
    ]
    about = f"{SETTING.label} {SETTING._asdict()}, {config}, seeds 0 to {asked.seeds - 1}"
    return Result(
        [
            f"{asked.source}: {problem}",
            about,
            Table(["", *FIGURES], lines),
            *_pixels(found, labels),
        ]
    )


SOURCES = ("mvtec_bottle,size=64", "cookie,size=64", f"'{TILE.replace('32', '64')}'")
TABLES = tuple(
    f"--only source={source} tile=32 seeds=5 steps=800 --out runs/localise/{name}"
    for name, source in zip(("mvtec_bottle", "cookie", "magnetic_tile"), SOURCES)
)
STUDY = Study(result, AXES, tables=TABLES)
