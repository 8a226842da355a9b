"""What an ensemble costs at scoring, by the settings kept, and what a heatmap costs beside it.

    ad-jax select --config experiments/configs/frozen.py:bottle --out runs/frozen_shelf
    python -m experiments.benchmarks.ensemble runs/frozen_shelf/mvtec-bottle-size=160

Reads a run on frozen features and its images; opens no label. One run in which all take turns,
medians of three rounds after compilation, in seconds of CPU (on one core they are seconds, however
busy it is):

1. Images a second of the pick, of the ensemble that `ad-jax select --keep 5` makes, and of the
   whole ensemble: one image at a time, and 16 at once (detectors run blocks of 1, 16 and 256, and
   fewer cost what the next size does). Seconds to load the saved pick and ensemble stand apart.
2. Seconds of the heatmaps of the default head (the run's setting nearest to feature noise of .8),
   of the whole target and of one image, by localiser.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.data import Problem
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import Ensemble
from ad_jax.report.table import render
from ad_jax.runs import run
from ad_jax.selection.search import default_on_features
from ad_jax.selection.weights import keep
from experiments.benchmarks.timing import Plan, in_turn, timed

KEPT = 5
BATCH = 16
PLAN = Plan(rounds=3, clock=time.process_time)
LOCALISERS = ("head", "neighbour")


def default_head(whole: Ensemble, problem: Problem) -> FittedDetector:
    """The detector of the ensemble's setting that is nearest to the default one."""
    wanted = default_on_features()
    own = [one for one in whole.members().values() if one.setting.family == wanted.family]
    one = min(own, key=lambda o: abs(np.log(o.setting.hyper["std"] / wanted.hyper["std"])))
    return FittedDetector.of(
        problem, one.setting, one.trained, one.held_out, whole.config, one.seeds
    )


def scoring(contenders: Mapping[str, Any], target: np.ndarray) -> str:
    """Images a second by detector and number of images."""
    columns = {"one by one": target[:1], f"{BATCH} at once": target[:BATCH]}
    found = {
        column: in_turn(
            {
                name: lambda d=detector, x=images: d.decision_function(x)
                for name, detector in contenders.items()
            },
            PLAN,
        )
        for column, images in columns.items()
    }
    rows = [
        [name, len(detector.state_.seeds)]
        + [f"{len(columns[c]) / max(median(found[c][name]), 1e-9):.1f}" for c in columns]
        for name, detector in contenders.items()
    ]
    return render(["images/s", "trainings", *columns], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    folder = parser.parse_args().run
    written = run.read(folder)
    problem, _ = run.reload(written.manifest)
    loading = {
        "pick": timed(lambda: FittedDetector.load(folder / "detector"), PLAN.clock),
        "ensemble": timed(lambda: Ensemble.load(folder / "ensemble"), PLAN.clock),
    }
    pick = FittedDetector.load(folder / "detector")
    whole = Ensemble.load(folder / "ensemble")
    kept = keep(written.pool, whole.shares(), KEPT)
    some = Ensemble.of_members(problem, list(whole.members().values()), kept, whole.config)
    contenders = {
        f"pick, {pick.setting_.label}": pick,
        f"ensemble, {len(kept)} kept": some,
        f"ensemble, all {len(whole.weights_)}": whole,
    }
    print(f"jax {jax.__version__} on {jax.default_backend()}, {run.name_of(written.manifest)}")
    print("; ".join(f"loading the {name} {value:.1f} s" for name, value in loading.items()))
    print(f"\n{scoring(contenders, problem.target)}\n", flush=True)
    head, target = default_head(whole, problem), problem.target
    rows = []
    for method in LOCALISERS:
        fitting = timed(lambda m=method: head.fit_localiser(problem, m), PLAN.clock)
        calls = {str(len(x)): lambda x=x: head.heatmaps(x) for x in (target, target[:1])}
        rows.append(
            [method, f"{fitting:.1f}", *(f"{median(s):.2f}" for s in in_turn(calls, PLAN).values())]
        )
    columns = ["fit, with compilation", f"{len(target)} images", "1 image"]
    print(render([f"seconds of heatmaps, {head.setting_.label}", *columns], rows))


if __name__ == "__main__":
    in_one_line(main)
