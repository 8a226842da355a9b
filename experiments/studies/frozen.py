"""What are frozen pretrained features worth before anything is chosen, and what does choosing add?

Five sets of defects at 160 and 256 px; textures and garments if they are asked for (`--only
source=… size=64`): heads on EfficientNet-Lite0's grids, the default pool with five seeds. Prints
AUROC and average precision, mean and standard deviation over seeds, of frozen controls that learn
nothing, of the default head (feature noise of .8, said before these runs: arXiv 2303.15140), of the
pool's mean member, of the default rule's pick and of the best setting in hindsight, beside them of
the default setting from scratch at 32 px; and what heatmaps are worth. Opens labels when all is
trained.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.stats import mean, plus_minus, spread
from ad_jax.data import Labels, Problem
from ad_jax.detect.detector import FittedDetector
from ad_jax.evaluate.pixels import audit_pixels
from ad_jax.evaluate.pools import of_members, seed_aurocs
from ad_jax.pool import Pool
from ad_jax.pool.sweep import Outcome
from ad_jax.selection import rules, search
from ad_jax.train.setting import Config
from experiments.configs.shelf import TILE
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import loaded, pick, swept

BACKBONE = "efficientnet_lite0"
SOURCES = {
    "bottle": "mvtec_bottle",
    "cookie": "cookie",
    "magnetic tile": TILE.replace(",size=32", ""),
    "kolektor": r"kolektor_sdd,group=kos\d+",
    "screw": "mvtec_screw",
    "brick defects": "textures:brick-defect",
    "brick turned": "textures:brick-orientation",
    "gravel turned": "textures:gravel-orientation",
    "fashion 0": "fashion_mnist.npz,normal=0,limit=400",
    "fashion 4": "fashion_mnist.npz,normal=4,limit=400",
    "fashion 8": "fashion_mnist.npz,normal=8,limit=400",
    "digit 3": "digits,normal=3,limit=100",
}
DEFECTS = tuple(SOURCES)[:5]
SMALL = tuple(SOURCES)[5:-1]  # images of 28 or 64 px, enlarged or as they are
SEEDS = (0, 1, 2, 3, 4)
DEFAULT = search.default_on_features()
CONTROLS = (
    "patch_nearest_neighbour",
    "patch_density",
    "patch_principal_components",
    "global_nearest_neighbour",
    "raw_nearest_neighbour",
)
LOCALISERS = ("head", "neighbour")
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of normals and anomalies, row by row
COLUMNS = {
    **{f"control/{name}": name.replace("_", " ") for name in CONTROLS},
    "default": "default head",
    "member": "mean member",
    "pick": "pick",
    "oracle": "oracle",
    "scratch": "from scratch",
}


def rows_of(pool: Pool, seed: int) -> list[int]:
    """Rows of a seed's trained members, whatever they learned."""
    trained = [m.setting.pretext != "control" and m.seed == seed for m in pool.members]
    return np.flatnonzero(trained).tolist()


def heatmaps(
    problem: Problem, outcome: Outcome, seeds: Sequence[int], config: Config, labels: Labels
) -> dict[str, list[float]]:
    """Pixel AUROC, average precision and AUPRO by localiser, of the default head of all seeds."""
    (pool,) = outcome.pools
    if labels.masks is None:
        return {}
    detector = FittedDetector.of(
        problem,
        DEFAULT,
        [outcome.trained[DEFAULT.key, seed] for seed in seeds],
        pool.own_scores()[1][pool.rows(DEFAULT)],
        config,
        seeds,
    )
    out = {}
    for method in LOCALISERS:
        detector.fit_localiser(problem, method)
        found = audit_pixels(detector.heatmaps(problem.target), labels)
        out[method] = [found.auroc, found.average_precision, found.aupro]
    return out


def make(source: str, size: int, options: Options) -> Row:
    """A set at a size."""
    small = options.smoke
    problem, truth = loaded(f"{SOURCES[source]},size={size}")
    default = search.defaults(BACKBONE)
    config = Config(8, 8, BACKBONE) if small else default.config
    settings = default.grid(problem.shape)[:: 8 if small else 1]
    settings += [DEFAULT] * (DEFAULT.key not in {s.key for s in settings})
    seeds, record = SEEDS[: 2 if small else None], options.record()
    outcome = swept([problem], settings, seeds, config, record)
    (pool,) = outcome.pools
    tiny, other = loaded(f"{SOURCES[source]},size=32")
    plain = Config(8, 8) if small else Config()
    (scratch,) = swept([tiny], [search.default_setting()], seeds, plain, record).pools
    labels = truth.open("frozen study: what features are worth")
    anomalous = np.asarray(labels.anomalous)
    # A limited target is drawn by content, so at another size it may hold other images.
    of_scratch = np.asarray(other.open("frozen study: from scratch").anomalous)
    means = {key: float(np.mean(own)) for key, own in seed_aurocs(pool, anomalous).items()}
    best, chosen = max(means, key=means.__getitem__), pick(pool, pool.settings)
    lines = {f"control/{c.augmentation}": pool.rows(c) for c in pool.controls()}
    lines |= {name: pool.rows(s) for name, s in (("default", DEFAULT), ("pick", chosen))}
    lines["oracle"] = next(pool.rows(s) for s in pool.settings if s.key == best)

    def figures(measure: Measure) -> dict[str, list[float]]:
        """Of every line, one per seed."""
        per_member = of_members(pool.own_scores()[0], anomalous, measure)
        plain = of_members(scratch.own_scores()[0], of_scratch, measure)
        return {
            **{name: per_member[rows].tolist() for name, rows in lines.items()},
            "member": [float(np.nanmean(per_member[rows_of(pool, seed)])) for seed in seeds],
            "scratch": plain[scratch.rows(search.default_setting())].tolist(),
        }

    return {
        "source": source,
        "size": size,
        "images": [len(problem.train), len(anomalous)],
        "rows": figures(ranks.auroc_rows),
        "precision": figures(ranks.average_precision_rows),
        "pixels": heatmaps(problem, outcome, seeds, config, labels),
        "pick": chosen.label,
        "best": next(s.label for s in pool.settings if s.key == best),
        "seconds": sum(m.seconds for m in pool.members if m.setting.pretext != "control"),
    }


def lines_of(rows: Sequence[Row], what: str) -> list[list[Cell]]:
    """A line per set: a figure of every column, mean and deviation over seeds."""
    return [
        [row["source"], row["size"], *(spread(row[what][name]) for name in COLUMNS)] for row in rows
    ]


def table(rows: Sequence[Row]) -> Result:
    picks: list[list[Cell]] = [
        [
            row["source"],
            row["size"],
            *row["images"],
            row["pick"],
            row["best"],
            round(row["seconds"]),
        ]
        for row in rows
    ]
    sizes = sorted({row["size"] for row in rows})
    means: list[list[Cell]] = [
        [what]
        + [
            mean([float(np.mean(row["rows"][name])) for row in rows if row["size"] == size])
            for size in sizes
        ]
        for name, what in COLUMNS.items()
    ]
    pixels: list[list[Cell]] = [
        [row["source"], row["size"], method, *map(float, figures)]
        for row in rows
        for method, figures in row["pixels"].items()
    ]
    columns = ["set", "px", *COLUMNS.values()]
    return Result(
        [
            f"rule {rules.DEFAULT}; AUROC, ± standard deviation over seeds",
            Table(columns, lines_of(rows, "rows"), plus_minus),
            "\nAverage precision",
            Table(columns, lines_of(rows, "precision"), plus_minus),
            "\nAUROC, means over sets, with 95 % intervals over them",
            Table(["", *(f"{size} px" for size in sizes)], means),
            "\nHeatmaps of the default head, one detector of all seeds (sets with masks)",
            Table(["set", "px", "localiser", "pixel AUROC", "pixel AP", "AUPRO"], pixels),
            "\nWhat was picked and what was best; seconds of all trainings and measurements, "
            "without encoding and compiling",
            Table(["set", "px", "normals", "target", "picked", "best", "seconds"], picks),
        ]
    )


AXES = {
    "source": Axis(DEFECTS, ("digit 3",), SMALL),
    "size": Axis((160, 256), (32,), (64,)),
}
OF_SMALL = " ".join(["--only size=64", *(shlex.quote(f"source={name}") for name in SMALL)])
STUDY = grid(AXES, make, table, tables=("", OF_SMALL))
