"""What do 1, 2, 4, 8, 16 and 32 normals do on frozen features, and what do turned copies add?

Random draws of normals of every set (`seed` says which, and trains), as they are and in 8 copies
turned by multiples of 45 degrees (AnomalyDINO, arXiv 2405.14529). All drawn normals are trained on;
two others are held out, which no number here depends on. Prints AUROC, mean and standard deviation
over draws, of the nearest neighbour of positions and of the default head (feature noise of .8),
and what copies add to each, draw by draw. Opens labels when all is trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ad_jax.base.stats import plus_minus, spread
from ad_jax.data import Problem
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.selection.search import defaults
from ad_jax.train.setting import Config
from experiments.result import Cell, Result, Table
from experiments.studies.frozen import BACKBONE, DEFAULT, SOURCES
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import loaded, swept

TURNS = (1, 8)
DRAWS = range(5)
HELD_OUT = 2
WHAT = {"patch_nearest_neighbour": "nearest neighbour", "default": "head"}


def make(source: str, normals: int, options: Options) -> list[Row]:
    """A set with so many normals, or all but those held out: a row a draw and number of copies."""
    small = options.smoke
    problem, truth = loaded(f"{SOURCES[source]},size={32 if small else 160}")
    config = Config(8, 8, BACKBONE) if small else defaults(BACKBONE).config
    record, pools = options.record(), []
    for draw in DRAWS[: 2 if small else None]:
        order = np.random.default_rng(draw).permutation(len(problem.train))
        drawn = problem.train[order[HELD_OUT:][:normals]]
        for turns in TURNS:
            few = Problem(
                train=drawn,
                target=problem.target,
                held_out=problem.train[order[:HELD_OUT]],
                distinct=False,
                turns=turns,
            )
            about = {"source": source, "normals": len(drawn), "draw": draw, "turns": turns}
            found = swept([few], [DEFAULT], (draw,), config, record)
            pools.append((about, found.pools[0]))
    anomalous = np.asarray(truth.open("few normals study").anomalous)
    rows = []
    for about, pool in pools:
        members = member_aurocs(pool, anomalous)
        own = {s.augmentation: float(members[pool.rows(s)[0]]) for s in pool.controls()}
        head = float(members[pool.rows(DEFAULT)[0]])  # whether it learned anything or not
        rows.append({**about, "auroc": {**own, "default": head}})
    return rows


def table(rows: Sequence[Row]) -> Result:
    found: dict[tuple[str, int], dict[tuple[str, int], list[float]]] = {}
    for row in rows:
        case = found.setdefault((row["source"], row["normals"]), {})
        for what in WHAT:
            case.setdefault((what, row["turns"]), []).append(row["auroc"][what])
    lines: list[list[Cell]] = []
    for about, case in found.items():
        cells: list[Cell] = [spread(own) for own in case.values()]
        added = [np.subtract(case[what, TURNS[1]], case[what, TURNS[0]]) for what in WHAT]
        lines.append([*about, *cells, *(spread(own.tolist()) for own in added)])
    columns = [f"{WHAT[what]}, {turns} turns" for what, turns in next(iter(found.values()))]
    return Result(
        [
            "AUROC, ± standard deviation over draws of the normals",
            Table(
                ["set", "normals", *columns, *(f"{what}: added" for what in WHAT.values())],
                lines,
                plus_minus,
            ),
        ]
    )


AXES = {
    "source": Axis(("bottle", "cookie", "screw"), ("digit 3",)),
    "normals": Axis((1, 2, 4, 8, 16, 32), (1, 3), None),
}
STUDY = grid(AXES, make, table)
