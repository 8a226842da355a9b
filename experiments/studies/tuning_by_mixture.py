"""Does tuning a step of every channel pay where the outer loss finds the share of anomalies itself?

As `tuning_on_features`, with the outer loss `mixture_energy`: the energy distance, channel by
channel, between the strangest positions of the target and a mixture of held-out normals' strangest
positions with augmented ones, at the share that brings it lowest. Its gradient is of first order.
A head on EfficientNet-Lite0's grids trains for 400 steps at the defaults, then 40 steps of the
strength of `feature_step:channel` (a step of each of 152 channels, and the noise around it), ten
training steps apart; it counts as the mean over the last third. Beside it:

- the same head untuned, trained as long and averaged alike;
- both pooled, as the mean of their surprise, and two untuned ones of different seeds pooled alike;
- tuned on one half of the target and scored on the other, and the untuned head there.

What is tuned at what rate was looked at on the first seed of magnetic tile, kolektor and screw;
bottle, cookie and brick defects, and further seeds, took no part. Opens labels to draw targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ad_jax import features
from ad_jax.base import ranks
from ad_jax.base.numerics import in_float32
from ad_jax.report.figures import charts
from experiments import trainings
from experiments.result import Panels, Result, Table
from experiments.studies.frozen import BACKBONE, DEFECTS
from experiments.studies.tuning_on_features import (
    STILL,
    Bench,
    Way,
    at,
    bench_of,
    by_set,
    drawn,
    of_share,
    over_sets,
)
from experiments.study import Axis, Options, Row, grid

SHARES = (0.0, 0.05, 0.1, 0.25, 0.5)
HALVED = 0.25  # share at which one half of the target is tuned on
BY_MIXTURE = Way(
    "feature_step:channel",
    {
        "outer": (("mixture_energy", 1.0),),
        "estimator": "first_order",
        "prior": 0.0,
        "rate": 0.1,
        "batch": 64,
    },
)
TUNED, UNTUNED = "tuned by the mixture", "untuned, as long, averaged alike"
POOLED, PAIR = "tuned and untuned, pooled", "two untuned, pooled"
SEEN = ("magnetic tile", "kolektor", "screw")  # sets that choices were made on
OTHER = 1000  # seed of the second untuned head, after the first


@in_float32
def make(seed: int, source: str, options: Options) -> Row:
    """AUROC by contender and share, on one half, and the seconds of every tuning."""
    bench, anomalous = bench_of(seed, source, options, "tuning_by_mixture")
    way = BY_MIXTURE
    if options.smoke:
        way = way._replace(plan={**way.plan, "batch": bench.plan.batch})

    def surprise(own: Bench, params: Any) -> np.ndarray:
        held_out = features.Eyes(BACKBONE, own.record).see(own.problem.split(own.seed).held_out)
        among, scores = (own.judged(params, grids) for grids in (held_out, own.grids))
        return ranks.surprise_rows(among[None], scores[None])[0]

    def value(scores: np.ndarray, rows: np.ndarray | None = None) -> float:
        shown = np.arange(len(anomalous)) if rows is None else rows
        return trainings.auroc_of(scores[shown], anomalous[shown])

    everything = bench.problem.target
    still, others = (
        surprise(own, own.descended(STILL, everything)[0])
        for own in (bench, bench._replace(seed=seed + OTHER))
    )
    found: dict[str, dict[str, float]] = {
        UNTUNED: {"all": value(still)},
        PAIR: {"all": value(still + others)},
        TUNED: {},
        POOLED: {},
    }
    seconds = {}
    for share in SHARES[-2:-1] if options.smoke else SHARES:
        text = f"{share:.0%}"
        shown = everything[drawn(anomalous, share, seed)]
        params, _, seconds[text] = bench.descended(way, shown)
        tuned = surprise(bench, params)
        found[TUNED][text], found[POOLED][text] = value(tuned), value(tuned + still)
    half = np.random.default_rng(seed).permutation(drawn(anomalous, HALVED, seed))[::2]
    tuned = surprise(bench, bench.descended(way, everything[np.sort(half)])[0])
    rest = np.setdiff1d(np.arange(len(anomalous)), half)
    apart = {
        TUNED: value(tuned, rest),
        POOLED: value(tuned + still, rest),
        UNTUNED: value(still, rest),
    }
    return {
        "source": source,
        "seed": seed,
        "auroc": found,
        "apart": apart,
        "seconds": seconds,
    }


def table(rows: Sequence[Row]) -> Result:
    shares = list(rows[0]["auroc"][TUNED])
    controls = (UNTUNED, PAIR)
    blocks: list[Table | str] = []
    for share in shares:
        blocks += [
            f"\n{share} of the target anomalous: AUROC, mean over seeds; differences to what is "
            "not tuned with 95 % intervals over sets",
            of_share(rows, share, controls),
        ]
    lead = np.array([[at(r, TUNED, s) - at(r, UNTUNED, s) for s in shares] for r in rows])
    new = np.array([row["source"] not in SEEN for row in rows])
    parts = {"choices were made on": ~new, "took no part in choices": new}
    blocks += ["\nTuned less untuned, mean over what is there of the sets that"]
    blocks += [
        f"  {name}: " + ", ".join(f"{m:+.3f} at {s}" for m, s in zip(lead[own].mean(0), shares))
        for name, own in parts.items()
        if own.any()
    ]
    halves = {
        name: by_set(rows, np.array([row["apart"][name] for row in rows])).mean()
        for name in (TUNED, POOLED, UNTUNED)
    }
    spent = np.array([list(row["seconds"].values()) for row in rows])
    blocks += [
        f"\nTuned on one half of the target at {HALVED:.0%}, scored on the rest: "
        + ", ".join(f"{name} {value:.3f}" for name, value in halves.items()),
        f"seconds of a tuning, with compiling where it was: {spent.min():.0f} to "
        f"{spent.max():.0f}, median {np.median(spent):.0f}",
    ]
    panel: Panels = {
        "mean over sets": {
            share: {name: over_sets(rows, name, share) for name in (UNTUNED, PAIR, TUNED, POOLED)}
            for share in shares
        },
    }
    return Result(
        blocks, lambda path: charts.lines(path, "anomalies in the target", "AUROC", panel)
    )


AXES = {
    "seed": Axis((0, 1, 2, 3, 4)),
    "source": Axis((*DEFECTS, "brick defects"), ("digit 3",)),
}
STUDY = grid(AXES, make, table, "{source}-{seed}", runs=("runs/frozen",))
