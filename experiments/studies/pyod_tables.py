"""What are PyOD's detectors worth on the tables of ADBench?

ECOD, COPOD, the local outlier factor and Deep SVDD with PyOD's own defaults, each fitted on the
normals that a seed's members train on (`seeds`, as in the runs of `beyond_images`, whose figures
these stand beside), columns in units of the normals' spread. Opens labels when all has scored.
Prints AUROC and average precision, means over seeds, by set, and means over sets with 95 %
intervals over training sets. Needs `pip install 'ad_jax[pyod]'`, and PyTorch for Deep SVDD.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ad_jax.base import ranks
from ad_jax.train.backbones import units_of
from experiments.configs.beyond_images import PARTS, SEEDS
from experiments.of_pyod import kind
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.tasks import Value, counted, means
from experiments.trainings import loaded

METRICS = ("AUROC", "AP")
SOURCES = {Path(text).stem: text for text in PARTS["rows"]} | {"wine": "sklearn:wine"}


def make(source: str, detector: str, options: Options) -> list[Row]:
    """A detector on a set: a row a seed."""
    problem, truth = loaded(SOURCES[source])
    found = []
    for seed in range(1 if options.smoke else SEEDS["rows"]):
        train = problem.split(seed).train
        units = units_of(jnp.asarray(train))
        chance = {"n_features": train.shape[1], "random_state": seed, "verbose": 0}
        fitted = kind(detector)(**(chance if detector == "DeepSVDD" else {}))
        fitted.fit(np.asarray(units(jnp.asarray(train)), np.float64))
        found.append(
            fitted.decision_function(np.asarray(units(jnp.asarray(problem.target)), np.float64))
        )
    anomalous = np.asarray(truth.open("study of PyOD's detectors on tables").anomalous)
    scores = np.stack(found)
    low, high = scores[:, anomalous == 0], scores[:, anomalous == 1]
    values = (ranks.auroc_rows(low, high), ranks.average_precision_rows(low, high))
    about = {"source": source, "detector": detector}
    return [
        {**about, "seed": seed, **dict(zip(METRICS, map(float, own), strict=True))}
        for seed, own in enumerate(zip(*values, strict=True))
    ]


def table(rows: Sequence[Row]) -> Result:
    cases: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cases.setdefault((row["detector"], row["source"]), []).append(row)
    sources = list(dict.fromkeys(row["source"] for row in rows))
    blocks: list[Table | str] = []
    for metric in METRICS:
        values = [
            Value(source, "", source, (name,), float(np.mean([row[metric] for row in own])))
            for (name, source), own in cases.items()
        ]
        lines: list[list[Cell]] = []
        for (name,), mean in means(values).items():
            by_source = {v.task: v.value for v in values if v.what == (name,)}
            lines.append([name, *(by_source.get(source) for source in sources), mean])
        header = ["", *sources, "mean [95 %]"]
        blocks += [f"\n{metric} on {counted(values)}", Table(header, lines)]
    return Result(blocks)


AXES = {
    "source": Axis(tuple(SOURCES)[:-1], ("wine",)),
    "detector": Axis(("ECOD", "COPOD", "LOF", "DeepSVDD"), ("ECOD", "LOF")),
}
STUDY = grid(AXES, make, table)
