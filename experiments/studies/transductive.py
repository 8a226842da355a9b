"""How well does it do to tell the target from the normals directly, by the share of anomalies?

The simplest use of an unlabelled target: a head on frozen features that tells its positions from
those of the normals, trained on one half of the target and scoring the other (`pool.transductive`).
Targets of a given share are drawn from a set's own, all anomalies and as many normals as make the
share, or all normals and as many anomalies; three draws. Prints AUROC on the drawn target, mean
and standard deviation over draws. Opens labels to draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ad_jax import features
from ad_jax.base.stats import plus_minus, spread
from ad_jax.pool.transductive import transductive_scores
from ad_jax.selection import search
from ad_jax.store import Record
from ad_jax.train.setting import Config
from experiments.result import Cell, Result, Table
from experiments.studies.frozen import BACKBONE, DEFECTS, SOURCES
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import auroc_of, loaded

SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75)
DRAWS = 3


def drawn(anomalous: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Rows of a target of that share, as large as it can be; at least one anomaly."""
    good, bad = (generator.permutation(np.flatnonzero(anomalous == y)) for y in (0, 1))
    size = min(len(good) / (1 - share), len(bad) / share)
    anomalies = max(1, round(share * size))
    return np.concatenate([good[: round((1 - share) * size)], bad[:anomalies]])


def make(source: str, options: Options) -> Row:
    """A set at every share."""
    small = options.smoke
    size = 32 if small else 160
    problem, truth = loaded(f"{SOURCES[source]},size={size}")
    config = Config(8, 8, BACKBONE) if small else search.defaults(BACKBONE).config
    eyes = features.Eyes(BACKBONE, Record(options.out / "record"))
    normals, target = eyes.see(problem.train), eyes.see(problem.target)
    anomalous = np.asarray(truth.open("transductive study: shares are drawn").anomalous)
    found: dict[str, list[float]] = {}
    for share in SHARES[-2:] if small else SHARES:
        for draw in range(1 if small else DRAWS):
            rows = drawn(anomalous, share, np.random.default_rng(draw))
            scores = transductive_scores(config, normals, target[rows], draw)
            found.setdefault(f"{share:.0%}", []).append(auroc_of(scores, anomalous[rows]))
    return {"source": source, "auroc": found}


def table(rows: Sequence[Row]) -> Result:
    shares = list(dict.fromkeys(share for row in rows for share in row["auroc"]))
    lines: list[list[Cell]] = [
        [row["source"], *(spread(row["auroc"][share]) for share in shares)] for row in rows
    ]
    return Result(
        [
            "AUROC by the share of anomalies in the target, ± standard deviation over draws",
            Table(["set", *shares], lines, plus_minus),
        ]
    )


AXES = {"source": Axis(DEFECTS, ("digit 3",))}
STUDY = grid(AXES, make, table)
