"""What do anomalies among the training normals cost? 0, 5 and 10 % of them.

Anomalies move from the target to the training normals (drawn once, kinds as they come); held-out
normals are a part of these, so they hold as many. Tasks, families, seeds and columns are those of
limited_data.py; what trains without anomalies is in the records below the shelf. This study opens
labels before it trains, to contaminate, and after, to measure. About 25 minutes on one CPU core.
"""

from __future__ import annotations

import functools

import numpy as np

from ad_jax.data import Problem
from experiments.studies.limited_data import SOURCES, labels_of, measure, table
from experiments.study import SHELF, Axis, Options, Row, grid, shelf
from experiments.trainings import loaded

PARTS = {"bottle": "bottle", "fashion 8": "fashion", "digit 3": "digits"}  # of the shelf
ACROSS = "anomalies in training"


def make(task: str, share: float, options: Options) -> Row:
    """A task whose training normals hold a share of anomalies of its own target."""
    problem, truth = loaded(SOURCES[task])
    label_of = labels_of(problem, truth, "contaminated training: what to train on")
    bad = np.flatnonzero([label_of[h] for h in problem.sample_hashes])
    count = round(share / (1.0 - share) * len(problem.train))
    moved = np.random.default_rng(0).permutation(bad)[:count]
    mixed = Problem(
        train=np.concatenate([problem.train, problem.target[moved]]),
        target=np.delete(problem.target, moved, 0),
    )
    about = {"task": task, ACROSS: f"{len(moved) / len(mixed.train):.0%}"}
    record = options.record("" if share else PARTS[task])
    return about | measure(mixed, lambda: label_of, options.smoke, record)


AXES = {"task": Axis(tuple(SOURCES), ("digit 3",)), "share": Axis((0.0, 0.05, 0.1), (0.0, 0.1))}
NEEDS = shelf(*PARTS.values())
STUDY = grid(AXES, make, functools.partial(table, across=ACROSS), runs=(SHELF,), needs=NEEDS)
