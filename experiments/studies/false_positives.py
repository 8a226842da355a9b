"""Realised against asked false-positive rates of the detector's thresholds, on normals alone.

Certain normals of every task (its training and held-out normals; no label is opened) are split at
random into those given to `fit` (60 %, of which every seed holds a fold out) and fresh ones (40 %)
that only measure. Photographs of one object (magnetic tiles) stay on one side and in one fold.
`--only target=selected` gives `fit` half of the fresh ones as target and settings to choose among,
so that the choice flatters the target (no anomalies in it); the other half measures.

Prints, per task and asked rate, the mean realised rate over splits with a 95 % bootstrap interval
over splits (splits of one task share normals: the interval says how sure the mean over splits is,
not how it would move with other normals), for the joined score, the mean of p-values (before any
factor) and the proven p-values. Rates that so few held-out normals cannot attain are left blank; a
seed that learned nothing holds nothing out, so some splits may attain what others cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import ad_jax
from ad_jax.base.errors import InputError
from ad_jax.data import Problem
from ad_jax.detect.calibration import SLACK
from ad_jax.detect.detector import FittedDetector
from experiments.configs.shelf import TILE
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import loaded

RATES = (0.01, 0.05, 0.1)
TASKS = {
    "digits": "digits,normal=0,size=16",
    "digits-8": "digits,normal=8,size=16",
    "brick": "textures:brick-defect,size=16",
    "gravel": "textures:gravel-orientation,size=16",
    "magnetic_tile": TILE,
    "mvtec_bottle": "mvtec_bottle,size=32",
    "cookie": "cookie,size=32",
}
SELECTED = "selected"
AREAS = (0.02, 0.08, 0.32)  # of a selected setting
WAYS = ("score", "mean", "proven")


def normals_of(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """All certain normals `[n, ...]`, and the object `[n]` that each is a photograph of."""
    held_out = [] if problem.held_out is None else [problem.held_out]
    samples = np.concatenate([problem.train, *held_out])
    groups = problem.groups
    return samples, np.arange(len(samples)) if groups is None else groups


def rates_of(detector: FittedDetector, raw: np.ndarray) -> dict[str, list[float | None]]:
    """Realised rates on normals by way and asked rate, from the seeds' own scores `[seeds, n]`.

    None where the held-out normals cannot attain the rate.
    """
    known = detector.calibration_
    p = {
        "score": detector.p_values_of(detector.combine(raw)),
        "mean": known.seed_p_values(raw).mean(axis=0),
        "proven": known.proven(raw),
    }
    smallest = {
        "score": known.smallest(),
        "mean": 1.0 / (known.held_out.shape[1] + 1),
        "proven": known.smallest(proven=True),
    }
    return {
        way: [
            float((p[way] <= a + SLACK).mean()) if a >= smallest[way] - SLACK else None
            for a in RATES
        ]
        for way in WAYS
    }


def make(
    task: str, split: int, steps: int, width: int, seeds: int, target: str, options: Options
) -> Row:
    """Realised rates on fresh normals of one split, by way and asked rate; None: unattainable."""
    problem, _ = loaded(TASKS[task])
    (samples, owner), groups = normals_of(problem), problem.groups
    objects = np.random.default_rng(split).permutation(np.unique(owner))
    inside = np.isin(owner, objects[: int(0.6 * len(objects))])
    given, fresh = samples[inside], samples[~inside]
    seen = settings = None
    if target == SELECTED:
        seen, fresh = fresh[::2], fresh[1::2]
        settings = [ad_jax.setting("binary", "cutpaste", area=area) for area in AREAS]
    detector = ad_jax.Detector(
        settings=settings, seeds=seeds, steps=steps, width=width, root=split, alpha=0.1
    )
    try:
        detector.fit(given, target=seen, groups=None if groups is None else groups[inside])
    except InputError as error:
        if "learned" not in str(error):
            raise
        return {"task": task, "lost": str(error)}
    rates = rates_of(detector, detector.networks.raw(fresh))
    held_out = len(detector.calibration_.scores)
    return {"task": task, "rates": rates, "held_out": held_out, "fresh": len(fresh)}


def realised(rates: Sequence[float | None]) -> str:
    """Mean over splits and its 95 % bootstrap interval; "" where none attains the rate."""
    values = np.array([rate for rate in rates if rate is not None])
    if not len(values):
        return ""
    rows = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    fewer = "" if len(values) == len(rates) else f", {len(values)} splits"
    return f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]{fewer}"


def table(rows: Sequence[Row]) -> Result:
    lines: list[list[Cell]] = []
    said: list[Table | str] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        done = [row for row in own if "lost" not in row]
        lost = len(own) - len(done)
        if not done:
            said.append(
                f"{task}: nothing learned in any of {lost} splits; train longer (--only steps=N)"
            )
            continue
        for way in done[0]["rates"]:
            cells = [realised(one) for one in zip(*(row["rates"][way] for row in done))]
            lines.append([f"{task}: {way}", len(done), done[0]["held_out"], *cells])
        if lost:
            said.append(f"{task}: {lost} of {len(own)} splits learned nothing and are left out")
    header = ["task: p-values of", "splits", "held out", *(f"asked {a:g}" for a in RATES)]
    return Result([*said, Table(header, lines)])


AXES = {
    "task": Axis(tuple(TASKS)),
    "split": Axis(tuple(range(20)), (0, 1), None),
    "steps": Axis((800,), (3,), None),
    "width": Axis((16,), (8,), None),
    "seeds": Axis((4,), others=None),
    "target": Axis(("none",), others=(SELECTED,)),
}
TABLES = (
    "--only task=mvtec_bottle task=cookie task=magnetic_tile",
    "--only steps=200 task=digits task=digits-8 task=brick task=gravel",
)
STUDY = grid(AXES, make, table, tables=TABLES)
