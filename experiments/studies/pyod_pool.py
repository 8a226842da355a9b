"""The shelf of rules on detectors of another library: PyOD's, over their hyperparameters.

One digit of scikit-learn's is normal, its pixels are the features. Every detector is fitted on
training normals and scores held-out normals and the unlabelled target; the rules see these scores
and nothing else. Then the labels are opened: what was every rule's pick worth, over the digits?
Needs `pip install 'ad_jax[pyod]'`; a minute or two on 2 CPU cores.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import ad_jax
from ad_jax.evaluate import PoolAudit, audit_pool, gain
from ad_jax.report.shelf import Shelf, shelf, table
from experiments.of_pyod import kind
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Study

# detector -> hyperparameters, and the seeds of those with chance in them
GRID: dict[str, tuple[dict[str, list[Any]], int]] = {
    "IForest": ({"n_estimators": [25, 100], "max_features": [0.25, 0.5, 1.0]}, 3),
    "LOF": ({"n_neighbors": [2, 5, 10, 20, 40]}, 1),
    "KNN": ({"n_neighbors": [1, 5, 10, 20, 40], "method": ["largest", "mean"]}, 1),
    "PCA": ({"n_components": [2, 5, 10, 20]}, 1),
    "HBOS": ({"n_bins": [5, 10, 20, 50]}, 1),
    "ECOD": ({}, 1),
}


def detectors(smoke: bool) -> list[tuple[dict[str, Any], int, Any]]:
    """Setting, seed and unfitted detector of every member.

    Raises:
      InputError: PyOD is not installed.
    """
    kinds = {name: kind(name) for name in GRID}
    out = []
    for name, (space, seeds) in GRID.items():
        choices = [dict(zip(space, values)) for values in itertools.product(*space.values())]
        for hyper in choices[:2] if smoke else choices:
            for seed in range(seeds):
                chance = {"random_state": seed} if seeds > 1 else {}
                out.append(({"name": name, **hyper}, seed, kinds[name](**hyper, **chance)))
    return out


def rows_of(samples: np.ndarray) -> np.ndarray:
    return np.asarray(samples, np.float64).reshape(len(samples), -1) / 255.0


def one_digit(normal: int, smoke: bool) -> tuple[Shelf, PoolAudit]:
    problem, truth = ad_jax.load("digits", normal=normal, size=8)
    split = problem.split(0)
    settings, seeds, scores, held_out = [], [], [], []
    for setting, seed, detector in detectors(smoke):
        detector.fit(rows_of(split.train))
        settings.append(setting)
        seeds.append(seed)
        scores.append(detector.decision_function(rows_of(problem.target)))
        held_out.append(detector.decision_function(rows_of(split.held_out)))
    pool = ad_jax.Pool.from_scores(np.stack(scores), settings, np.stack(held_out), seeds)
    found = shelf(pool)  # before any label is read
    return found, audit_pool(pool, found.losses, truth, "study of PyOD's detectors")


def summary(audits: Sequence[PoolAudit]) -> Table:
    """Means over the digits, of the rules that all of them know."""
    rows: list[list[Cell]] = []
    for name in audits[0].picks:
        if all(name in audit.picks for audit in audits):
            values = [audit.picks[name] for audit in audits]
            below = np.mean([v < audit.expected_random for v, audit in zip(values, audits)])
            rho = np.nanmean([a.spearman[name] for a in audits]) if name != "udr" else float("nan")
            share = gain(audits, values)  # type: ignore[arg-type]
            rows.append([name, float(np.mean(values)), share, float(below), float(rho)])
    rows.sort(key=lambda row: -float(row[1]))  # type: ignore[arg-type]
    return Table(["rule", "AUROC of its pick", "gain", "below random", "Spearman"], rows)


def result(options: Options) -> Result:
    start = time.perf_counter()
    normals = options.values("normal", AXES["normal"])
    results = [one_digit(normal, options.smoke) for normal in normals]
    (found, first), audits = results[0], [audit for _, audit in results]
    expected = float(np.mean([audit.expected_random for audit in audits]))
    oracle = float(np.mean([audit.oracle for audit in audits]))
    about = f"oracle {oracle:.3f}, expected random {expected:.3f}"
    return Result(
        [
            f"digit {normals[0]} normal, {100 * first.share:.0f} % anomalies, "
            f"{len(first.auroc)} settings",
            table(found, first.picks),
            f"\n{len(audits)} digits: mean AUROC, {about}",
            summary(audits),
            f"{time.perf_counter() - start:.0f} s",
        ]
    )


AXES = {"normal": Axis(tuple(range(10)))}
STUDY = Study(result, AXES)
