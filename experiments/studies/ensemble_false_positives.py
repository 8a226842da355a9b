"""Realised against asked false-positive rates of the ensemble, on normals alone; beside the pick's.

Normals of five sets of defects at 160 px (no label is opened; at most 250, whole objects) are split
at random into those given (60 %, of which every seed holds a fold out), a target (20 %) that the
weights and the pick follow, and others that only measure (20 %). Photographs of one object stay on
one side. The pool is small and trained briefly: five families of features that encode nothing
anew and need no coreset, four seeds, heads of width 64, 100 steps.

Prints, per set and asked rate, the mean realised rate over splits with a 95 % bootstrap interval
over them (`false_positives` says what it covers), by the score, the mean of p-values (before any
factor) and the proven p-values, of the ensemble by its weights; of the ensemble by the prior, whose
weights nothing moved; of the pick; and of the default setting, which nothing chose. Mean and proven
p-values of the prior's ensemble are the ensemble's own: no weight enters. Of ensemble and pick also
the rates on the target itself, which chose them. Features of normals are kept by content, so that
a second split encodes none again.
"""

from __future__ import annotations

import numpy as np

from ad_jax.data import Problem
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import Ensemble, EnsembleState
from ad_jax.features import Eyes
from ad_jax.selection import search
from ad_jax.selection.selection import trained_seeds
from ad_jax.selection.weights import finished, prior, weights
from ad_jax.train.setting import Config, Setting
from experiments.studies.false_positives import RATES, WAYS, normals_of, rates_of, table
from experiments.studies.frozen import BACKBONE, DEFAULT, DEFECTS, SOURCES
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import loaded, pick, swept

MOST = 250  # normals
SHARES = (0.6, 0.2)  # given, and of the target
SETTINGS = (
    search.setting("subspace", "identity"),
    search.setting("global_neighbour", "identity"),
    search.setting("density", "identity"),
    DEFAULT,
    search.setting("binary", "feature_mixup", **search.FROZEN_TRAINING),
)


def parts(owner: np.ndarray, split: int) -> list[np.ndarray]:
    """Rows given, of the target, and that measure: of each object `owner [n]` in one of them.

    The first two are as many in every split (programs are compiled for a number), so that a few
    photographs of the object that stands across a border are left out.
    """
    objects = np.random.default_rng(split).permutation(np.unique(owner))
    rows = np.concatenate([np.flatnonzero(owner == one) for one in objects])[:MOST]
    first = np.flatnonzero(np.diff(owner[rows], prepend=-1))  # rows that begin an object
    out, start = [], 0
    for share in SHARES:
        stop = start + int(share * len(rows))
        out.append(rows[start:stop])
        start = int(first[first >= stop][0])
    return [*out, rows[start:]]


def rates_by_detector(
    detectors: dict[str, FittedDetector], seen: np.ndarray, measured: np.ndarray
) -> dict[str, list[float | None]]:
    """Realised rates by detector and way, and on the target of those that it chose.

    `seen` and `measured` are scores `[trainings, n]` of all trainings, in the order of the ensemble
    by the prior; every detector is made of some of them.
    """
    whole: EnsembleState = detectors["prior"].state_  # type: ignore[assignment]
    rates: dict[str, list[float | None]] = {}
    for name, detector in detectors.items():
        own = {s.key for s, _ in getattr(detector, "weights_", [(detector.setting_, 1.0)])}
        rows = [i for i, setting in enumerate(whole.settings) if setting.key in own]
        found = rates_of(detector, measured[rows])
        ways = found if name != "prior" else ("score",)
        rates |= {f"{name}, {way}": found[way] for way in ways}
        if name in ("ensemble", "pick"):
            rates[f"{name}, score, its target"] = rates_of(detector, seen[rows])["score"]
    return rates


def make(split: int, task: str, steps: int, width: int, seeds: int, options: Options) -> Row:
    """Realised rates on other normals of one split, by detector, way and asked rate."""
    problem, _ = loaded(f"{SOURCES[task]},size={32 if options.smoke else 160}")
    samples, owner = normals_of(problem)
    given, seen, measured = parts(owner, split)
    own = Problem(
        train=samples[given],
        target=samples[seen],
        groups=None if problem.groups is None else owner[given],
        distinct=False,  # copies were left out already
    )
    config, record = Config(steps, width, BACKBONE), options.record()
    outcome = swept([own], SETTINGS, range(seeds), config, record, controls=False)
    (pool,) = outcome.pools
    if not finished(pool):
        return {"task": task, "lost": "nothing learned"}
    members = {s.key: trained_seeds(pool, s, outcome.trained) for s in finished(pool)}

    def ensemble(some: dict[str, float]) -> Ensemble:
        return Ensemble.of_members(own, list(members.values()), some, config)

    def alone(setting: Setting) -> FittedDetector:
        one = members[setting.key]
        return FittedDetector.of(own, setting, one.trained, one.held_out, config, one.seeds)

    before, after = prior(pool), weights(pool)
    detectors: dict[str, FittedDetector] = {
        "ensemble": ensemble(after),
        "prior": ensemble(before),
        "pick": alone(pick(pool, finished(pool))),
    }
    if DEFAULT.key in members:
        detectors["default"] = alone(DEFAULT)
    looked_at = samples[np.concatenate([seen, measured])]
    eyes = Eyes(BACKBONE, record)
    raw = np.concatenate([one.raw(looked_at, eyes) for one in detectors["prior"].networks.parts])
    rates = rates_by_detector(detectors, raw[:, : len(seen)], raw[:, len(seen) :])
    for way in WAYS:
        rates.setdefault(f"default, {way}", [None] * len(RATES))
    return {
        "task": task,
        "rates": rates,
        "held_out": len(detectors["ensemble"].calibration_.scores),
        "fresh": len(measured),
        "settings": len(members),
        "moved": sum(abs(after[key] - weight) for key, weight in before.items()) / 2,
    }


AXES = {
    "split": Axis(tuple(range(20)), (0, 1), None),
    "task": Axis(DEFECTS, ("digit 3",)),
    "steps": Axis((100,), (3,), None),
    "width": Axis((64,), (8,), None),
    "seeds": Axis((4,), others=None),
}
STUDY = grid(AXES, make, table, stem="{task}-{split}-{steps}-{width}-{seeds}")
