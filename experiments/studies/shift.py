"""Pick on one unlabelled set, deploy on another: what it costs, and whether the diagnosis sees it.

One half of a task's target chooses among the families of experiments/configs/shelf.py (three seeds,
800 steps; the trainings are those of the shelf), the other half is what the detector then sees: as
it is; darker, blurred, noisier or turned, as by another camera; with other kinds of anomalies (a
task's kinds are divided, where it has several); or of other tiles, where names tell them. Prints
AUROC there, mean and standard deviation over seeds, of the deployed pick, of what the rule would
have picked there and of the oracle, and of the expected random setting; and what `signatures` say
of the second set without labels: it should be silent on the first line and speak where the pick
lost. Normals of another product would be anomalies; a setting carried there: another_product.py.
What the study knows of anomalies divides the targets and measures AUROC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, rotate

from ad_jax.base.stats import Estimate, plus_minus, spread
from ad_jax.data import Problem, Truth
from ad_jax.data.samples import content_hashes
from ad_jax.evaluate.pools import seed_aurocs
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.selection import failure_modes, rules, search, trust, weights
from ad_jax.train.setting import Config
from experiments.configs.shelf import AREAS, FAMILIES, TILE
from experiments.result import Cell, Panels, Result, Table
from experiments.study import PARTS, SHELF, Axis, Options, Row, grid, shelf
from experiments.trainings import contenders, loaded, swept

SOURCES = {  # name -> part of the shelf, source
    "brick defects": ("textures", "textures:brick-defect"),
    "bottle": ("bottle", "mvtec_bottle,size=32"),
    "cookie": ("cookie", "cookie,size=32"),
    "magnetic tile": ("tile", TILE),
    "fashion 8": ("fashion", "fashion_mnist.npz,normal=8,limit=1000,size=16"),
    "digit 3": ("digits", "digits,normal=3"),
}
SEEDS = (0, 1, 2)
NONE, KINDS, TILES, PICKS = "none", "other kinds", "other tiles", "picks"
PICKED = ("deployed", "picked there")
Halves = tuple[np.ndarray, np.ndarray]  # rows that pick, and that are deployed on


def _noisy(images: np.ndarray) -> np.ndarray:
    return images + np.random.default_rng(0).normal(0.0, 0.05, images.shape)


SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of images [n, h, w, c] in [0, 1]
    NONE: lambda images: images,
    "70 % of the light": lambda images: 0.7 * images,
    "blur of 1 px": lambda images: gaussian_filter(images, (0, 1, 1, 0)),
    "noise of .05": _noisy,
    "turned by 10 degrees": lambda images: rotate(
        images, 10.0, axes=(1, 2), reshape=False, order=1, mode="nearest"
    ),
}


def shifted(samples: np.ndarray, how: str) -> np.ndarray:
    """Samples under a shift, of their own dtype."""
    if how == NONE:
        return samples
    scale = 255.0 if samples.dtype == np.uint8 else 1.0
    out = np.clip(SHIFTS[how](samples.astype(np.float64) / scale), 0.0, 1.0) * scale
    return (np.round(out) if scale > 1.0 else out).astype(samples.dtype)


def divided(truth: Truth, count: int) -> dict[str, Halves]:
    """Halves, and halves without a common kind or tile."""
    labels = truth.open("shift study: to divide the target and to measure")
    half = np.arange(count) % 2 == 0
    mine = {NONE: half}
    kinds = sorted({k for k, bad in zip(labels.kinds, labels.anomalous, strict=True) if bad})
    if len(kinds) > 1:
        first = np.isin(labels.kinds, kinds[::2])
        mine[KINDS] = np.where(np.asarray(labels.anomalous) == 0, half, first)
    tiles = [re.search(r"tile(\d+)", name) for name in truth.names]
    if all(tiles):
        mine[TILES] = np.array([int(tile[1]) % 2 == 0 for tile in tiles if tile])
    return {how: (np.flatnonzero(own), np.flatnonzero(~own)) for how, own in mine.items()}


def make(task: str, options: Options) -> list[Row]:
    """All shifts of one task; a row each."""
    part, text = SOURCES[task]
    problem, truth = loaded(text)
    anomalous = np.asarray(truth.open("shift study: to measure").anomalous)
    pairs = divided(truth, len(anomalous))
    label_of: dict[str, int] = {}

    def part_of(rows: np.ndarray, how: str = NONE) -> Problem:
        samples = shifted(problem.target[rows], how)
        label_of.update(zip(content_hashes(samples), anomalous[rows].tolist(), strict=True))
        return Problem(
            train=problem.train, held_out=problem.held_out, groups=problem.groups, target=samples
        )

    targets = {PICKS: part_of(pairs[NONE][0])}
    targets |= {how: part_of(pairs[NONE][1], how) for how in SHIFTS}
    for how in list(pairs)[1:]:
        targets[f"{how}, {PICKS}"], targets[how] = map(part_of, pairs[how])
    small = options.smoke
    settings = search.grid(problem.shape, AREAS, FAMILIES[2:4] if small else FAMILIES)
    config, seeds = (Config(60, 8), SEEDS[:1]) if small else (Config(), SEEDS)
    found = swept(list(targets.values()), settings, seeds, config, options.record(part))
    pools = dict(zip(targets, found.pools, strict=True))
    rows = []
    for how in (how for how in pools if not how.endswith(PICKS)):
        first = pools.get(f"{how}, {PICKS}", pools[PICKS])
        labels = np.array([label_of[h] for h in targets[how].sample_hashes])
        rows.append({"task": task, "shift": how} | deployed(first, pools[how], labels))
    return rows


def deployed(first: Pool, pool: Pool, labels: np.ndarray) -> Row:
    """What is picked on one pool and deployed on another, and what is said of that."""
    known = seed_aurocs(pool, labels)
    losses, there = (rules.losses(one, rules.DEFAULT) for one in (first, pool))
    picked, again = (min(known, key=own.__getitem__) for own in (losses, there))
    pick = next(s for s in first.settings if s.key == picked)
    per_member = rules.get(rules.DEFAULT).loss(first)
    supported = trust.trust(first, rules.DEFAULT, per_member, losses, pick, weights.weights(first))
    said = failure_modes.signatures(first, rules.DEFAULT, pick, supported, pool)
    (sign,) = [one for one in said if one.name == "degrades on the second set"]
    return {
        "auroc": {key: own.tolist() for key, own in known.items()},
        "deployed": picked,
        "picked there": again,
        "found": sign.found,
        "advice": sign.advice,
    }


def means(rows: Sequence[Row], every: Sequence[dict[str, Estimate]]) -> list[Table | str]:
    """Means over tasks by shift, and what the diagnosis said of sets that lost."""
    both = list(zip(rows, every, strict=True))
    before = {row["task"]: own["deployed"].value for row, own in both if row["shift"] == NONE}
    fall = [before[row["task"]] - own["deployed"].value for row, own in both]
    lines: list[list[Cell]] = []
    for how in dict.fromkeys(row["shift"] for row in rows):
        here = [i for i, row in enumerate(rows) if row["shift"] == how]
        own = [spread([every[i][name].value for i in here]) for name in every[0]]
        said = f"{sum(rows[i]['found'] for i in here)} of {len(here)}"
        lines.append([how, len(here), *own, spread([fall[i] for i in here]), said])
    header = ["shift", "tasks", *every[0], "fall of the pick", "said to degrade"]
    blocks: list[Table | str] = ["\nMeans over tasks, ± standard deviation over them"]
    blocks.append(Table(header, lines, plus_minus))
    for word, some in (("said to degrade", True), ("not", False)):
        here = [i for i, r in enumerate(rows) if r["shift"] != NONE and r["found"] == some]
        if here:
            again = [every[i]["picked there"].value - every[i]["deployed"].value for i in here]
            falls = [fall[i] for i in here]
            blocks.append(
                f"shifted sets {word}: {len(here)}; the pick falls by {np.mean(falls):.3f} (most "
                f"{max(falls):.3f}); picking again there changes AUROC by {np.mean(again):+.3f} "
                f"({min(again):+.3f} to {max(again):+.3f})"
            )
    quiet = [row["found"] for row in rows if row["shift"] == NONE]
    return [*blocks, f"unshifted halves said to degrade: {sum(quiet)} of {len(quiet)}"]


def table(rows: Sequence[Row]) -> Result:
    every = [contenders(row, {name: row[name] for name in PICKED}) for row in rows]
    lines: list[list[Cell]] = []
    panels: Panels = {}
    for row, own in zip(rows, every, strict=True):
        said = "degrades" if row["found"] else None
        lines.append([row["task"], row["shift"], *own.values(), said])
        panels.setdefault(row["task"], {})[row["shift"]] = own
    title = "AUROC on the deployment set"
    header = ["task", "shift", *every[0], "said without labels"]
    return Result(
        [
            f"{title}, ± standard deviation over seeds",
            Table(header, lines, plus_minus),
            *means(rows, every),
        ],
        lambda path: charts.dots(path, title, panels),
    )


AXES = {"task": Axis(tuple(SOURCES), ("digit 3",))}
STUDY = grid(AXES, make, table, runs=(SHELF,), needs=shelf(*PARTS))
