"""What are frozen pretrained features worth before anything is chosen, and what does choosing add?

Every set at one size (160 px; `--only size=256` for others): heads on EfficientNet-Lite0's grids,
the default pool of 17 settings with five seeds. Prints AUROC, mean and standard deviation over
seeds, of frozen controls that learn nothing, of the default head (feature noise of .8, said before
these runs: arXiv 2303.15140), of the pool's mean member, of the default rule's pick and of the best
setting in hindsight, and beside them of the default setting from scratch at 32 px. Opens labels
when all is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ad_jax.base.stats import mean, plus_minus, spread
from ad_jax.evaluate.pools import member_aurocs, seed_aurocs
from ad_jax.pool import Pool
from ad_jax.selection import rules, search
from ad_jax.train.setting import Config
from experiments.configs.shelf import TILE
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import loaded, pick, trained

BACKBONE = "efficientnet_lite0"
SOURCES = {
    "bottle": "mvtec_bottle",
    "cookie": "cookie",
    "magnetic tile": TILE.replace(",size=32", ""),
    "kolektor": r"kolektor_sdd,group=kos\d+",
    "screw": "mvtec_screw",
    "digit 3": "digits,normal=3,limit=100",
}
SEEDS = (0, 1, 2, 3, 4)
DEFAULT = search.default_on_features()
CONTROLS = ("patch_nearest_neighbour", "patch_density", "global_nearest_neighbour")
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


def make(source: str, size: int, options: Options) -> Row:
    """A set at a size."""
    small = options.smoke
    problem, truth = loaded(f"{SOURCES[source]},size={size}")
    default = search.defaults(BACKBONE)
    config = Config(8, 8, BACKBONE) if small else default.config
    settings = default.grid(problem.shape)
    if small:
        settings = settings[::8]
    settings += [DEFAULT] * (DEFAULT.key not in {s.key for s in settings})
    seeds, record = SEEDS[: 2 if small else None], options.record()
    (pool,) = trained([problem], settings, seeds, config, record)
    tiny, other = loaded(f"{SOURCES[source]},size=32")
    plain = Config(8, 8) if small else Config()
    (scratch,) = trained([tiny], [search.default_setting()], seeds, plain, record)
    anomalous = np.asarray(truth.open("frozen study: what features are worth").anomalous)
    own = seed_aurocs(pool, anomalous)
    per_member = member_aurocs(pool, anomalous)
    rows = {f"control/{c.augmentation}": per_member[pool.rows(c)].tolist() for c in pool.controls()}
    named = dict(zip(truth.names, anomalous.tolist(), strict=True))
    rows["scratch"] = member_aurocs(scratch, np.array([named[n] for n in other.names]))[
        scratch.rows(search.default_setting())
    ].tolist()
    means = {key: float(np.mean(values)) for key, values in own.items()}
    best, chosen = max(means, key=means.__getitem__), pick(pool, pool.settings)
    rows |= {
        "default": own[DEFAULT.key].tolist(),
        "pick": own[chosen.key].tolist(),
        "oracle": own[best].tolist(),
        "member": [float(np.nanmean(per_member[rows_of(pool, seed)])) for seed in seeds],
    }
    return {
        "source": source,
        "size": size,
        "images": [len(problem.train), len(anomalous)],
        "rows": rows,
        "pick": chosen.label,
        "best": next(s.label for s in pool.settings if s.key == best),
        "seconds": sum(m.seconds for m in pool.members if m.setting.pretext != "control"),
    }


def table(rows: Sequence[Row]) -> Result:
    lines: list[list[Cell]] = []
    for row in rows:
        cells = [spread(row["rows"][name]) for name in COLUMNS]
        lines.append([row["source"], row["size"], *cells, row["pick"], row["best"]])
    costs: list[list[Cell]] = [
        [row["source"], row["size"], *row["images"], round(row["seconds"])] for row in rows
    ]
    means: list[list[Cell]] = [
        [what, mean([float(np.mean(row["rows"][name])) for row in rows])]
        for name, what in COLUMNS.items()
    ]
    return Result(
        [
            f"rule {rules.DEFAULT}; AUROC, ± standard deviation over seeds",
            Table(["set", "px", *COLUMNS.values(), "picked", "best"], lines, plus_minus),
            "\nMeans over sets, with 95 % intervals over them",
            Table(["", "AUROC"], means),
            "\nSeconds of all trainings and measurements, without encoding and compiling",
            Table(["set", "px", "normals", "target", "seconds"], costs),
        ]
    )


AXES = {
    "source": Axis(tuple(SOURCES)[:-1], ("digit 3",)),
    "size": Axis((160,), (32,), (256,)),
}
STUDY = grid(AXES, make, table)
