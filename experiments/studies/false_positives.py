"""Realised against asked false-positive rates of the detector's thresholds, on normals alone.

    python experiments/studies/false_positives.py --out runs/false_positives
    python experiments/studies/false_positives.py --out runs/false_positives --selected

Certain normals of every task (its training and held-out normals; no label is opened) are split at
random into those given to `fit` (60 %, of which every seed holds a fold out) and fresh ones (40 %)
that only measure. Photographs of one object (magnetic tiles) stay on one side and in one fold.
`--selected` gives `fit` half of the fresh ones as target and settings to choose among, so that the
choice flatters the target (no anomalies in it); the other half measures.

Prints, per task and asked rate, the mean realised rate over splits with a 95 % bootstrap interval
over splits (splits of one task share normals: the interval says how sure the mean over splits is,
not how it would move with other normals), for the joined score, the mean of p-values (before any
factor) and the proven p-values. Rates that so few held-out normals cannot attain are left blank; a
seed that learned nothing holds nothing out, so some splits may attain what others cannot. A killed
run goes on from its last finished split.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ad_jax
from ad_jax import store
from ad_jax.base.errors import InputError, in_one_line
from ad_jax.base.json_text import json_text
from ad_jax.report.table import render
from ad_jax.store import write_whole

RATES = (0.01, 0.05, 0.1)
TASKS = {
    "digits": ("digits", {"normal": 0, "size": 16}),
    "digits-8": ("digits", {"normal": 8, "size": 16}),
    "brick": ("textures:brick-defect", {"size": 16}),
    "gravel": ("textures:gravel-orientation", {"size": 16}),
    "magnetic_tile": ("magnetic_tile", {"size": 32, "group": r"tile\d+"}),
    "mvtec_bottle": ("mvtec_bottle", {"size": 32}),
    "cookie": ("cookie", {"size": 32}),
}
AREAS = (0.02, 0.08, 0.32)  # of --selected
WAYS = ("score", "mean", "proven")


class Normals(NamedTuple):
    """Certain normals of a task `[n, h, w, c]`; the object of each `[n]` where that is known."""

    samples: np.ndarray
    groups: np.ndarray | None


def normals_of(task: str) -> Normals:
    source, options = TASKS[task]
    problem, _ = ad_jax.load(source, **options)  # type: ignore[arg-type]
    parts = [problem.train] + ([] if problem.held_out is None else [problem.held_out])
    return Normals(np.concatenate(parts), problem.groups)


def one_split(normals: Normals, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Realised rates on fresh normals of one split, by way and asked rate; None: unattainable."""
    samples, groups = normals
    owner = np.arange(len(samples)) if groups is None else groups
    objects = np.random.default_rng(seed).permutation(np.unique(owner))
    inside = np.isin(owner, objects[: int(0.6 * len(objects))])
    given, fresh = samples[inside], samples[~inside]
    target = settings = None
    if options.selected:
        target, fresh = fresh[::2], fresh[1::2]
        settings = [ad_jax.setting("binary", "cutpaste", area=area) for area in AREAS]
    detector = ad_jax.Detector(
        settings=settings,
        seeds=options.seeds,
        steps=options.steps,
        width=options.width,
        root=seed,
        alpha=0.1,
    ).fit(given, target=target, groups=None if groups is None else groups[inside])
    raw = detector.networks.raw(fresh)
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
    rates = {
        way: [float((p[way] <= a + 1e-9).mean()) if a >= smallest[way] else None for a in RATES]
        for way in WAYS
    }
    return {"rates": rates, "held_out": len(known.scores), "fresh": len(fresh)}


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    rows = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/false_positives"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--selected", action="store_true", help="let a target choose the setting")
    parser.add_argument("--smoke", action="store_true", help="seconds; says nothing")
    options = parser.parse_args()
    if options.smoke:
        options.tasks, options.splits, options.steps, options.width = "digits", 2, 3, 8
    store.keep_compilations()
    unknown = [task for task in options.tasks.split(",") if task not in TASKS]
    if unknown:
        raise InputError(f"no task {unknown[0]!r}; known: {', '.join(TASKS)}")
    rows: list[list[object]] = []
    for task in options.tasks.split(","):
        normals, done, lost = normals_of(task), [], 0
        for seed in range(options.splits):
            about = {
                "task": task,
                "seed": seed,
                **{k: getattr(options, k) for k in ("steps", "width", "seeds", "selected")},
            }
            path = options.out / f"{task}-{seed}-{store.digest(about)}.json"
            if path.is_file():
                found = json.loads(path.read_text())
            else:
                try:
                    found = one_split(normals, seed, options)
                except InputError as error:
                    if "learned" not in str(error):
                        raise
                    found = {"lost": str(error)}
                write_whole(path, json_text({**about, **found}).encode())
            if "lost" in found:
                lost += 1
            else:
                done.append(found)
        if not done:
            print(f"{task}: nothing learned in any of {lost} splits; train longer (--steps)")
            continue
        for way in WAYS:
            row: list[object] = [f"{task}: {way}", len(done), done[0]["held_out"]]
            for i in range(len(RATES)):
                given = [one["rates"][way][i] for one in done]
                values = [rate for rate in given if rate is not None]
                if not values:
                    row.append("")
                    continue
                low, high = interval(np.array(values))
                fewer = "" if len(values) == len(done) else f", {len(values)} splits"
                row.append(f"{np.mean(values):.3f} [{low:.3f}, {high:.3f}]{fewer}")
            rows.append(row)
        if lost:
            print(f"{task}: {lost} of {options.splits} splits learned nothing and are left out")
    print(
        render(["task: p-values of", "splits", "held out", *(f"asked {a:g}" for a in RATES)], rows)
    )


if __name__ == "__main__":
    in_one_line(main)
