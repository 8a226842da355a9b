"""Does descent find the hyperparameters that made the anomalies?

    python experiments/studies/recovery.py --out runs/recovery            # 6 problems, 2 starts
    python experiments/studies/recovery.py --out runs/recovery --only 0   # one problem
    python experiments/studies/recovery.py --out runs/smoke --smoke       # a minute

Planted problems on a brick wall (133 target samples, 27 of them anomalous) and on magnetic tile
(249 and 50), 32 px, whose generator is known. Tried before: digits and the bottle have too few
anomalies for anything to be findable, and on Fashion-MNIST none of these generators is detected.

Before anything is tuned, the curvature of the outer loss says which hyperparameters can be found at
all: trained from scratch with one of them moved a quarter of its range either way from the truth,
the loss has to rise by more than twice its standard error over seeds on both sides that exist. Then
two starts far from the truth descend, with three seeds. A run has found a size, an aspect or a
strength within a factor of 1.5, an angle within 10 degrees. Prints a row per run, and the shares
found, of those declared findable and of the others. Results are kept in the folder; a second call
goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.base.json_text import json_text
from ad_jax.data import load
from ad_jax.pool import program
from ad_jax.report.table import render
from ad_jax.selection import tuning
from ad_jax.selection.tuning import losses
from ad_jax.selection.tuning.space import shares as shares_of
from ad_jax.selection.tuning.space import theta_at, unconstrain
from ad_jax.store import Record, write_whole

BRICK = {"base": "textures:brick-defect"}
TILE = {"base": "magnetic_tile", "size": 32, "group": r"tile\d+"}
# generator, base, truth of what is tuned, two far starts
PROBLEMS = [
    ("cutdiff", BRICK, {"area": 0.1, "strength": 0.7}, [0.15, 0.85]),
    ("cutdiff", TILE, {"area": 0.05, "aspect": 1.0, "strength": 0.8}, [0.15, 0.85]),
    ("rotate", BRICK, {"angle": 60.0}, [0.1, 0.85]),
    ("rotate", TILE, {"angle": 45.0}, [0.1, 0.85]),
    ("soft_cutpaste", BRICK, {"area": 0.15}, [0.15, 0.9]),
    ("soft_cutpaste", TILE, {"area": 0.1}, [0.15, 0.9]),
]
SEEDS = (0, 1, 2)
SMOKE = ("cutdiff", {"base": "digits", "normal": 3}, {"area": 0.1, "strength": 0.7}, [0.15, 0.85])
STEP = 0.25  # of the range, for the curvature


def found(name: str, value: float, truth: float) -> bool:
    if name == "angle":
        return abs(value - truth) <= 10.0
    return max(value / truth, truth / max(value, 1e-9)) <= 1.5


def run(
    given: tuple, plan: tuning.Plan, config: program.Config, seeds: tuple, folder: Path
) -> list[dict]:
    """One problem: curvature, then descents; a row per run and hyperparameter."""
    generator, base, truth, shares = given
    hyper = ";".join(f"{k}:{v}" for k, v in truth.items())
    problem, _ = load(f"planted:{generator}", share=0.2, hyper=hyper, **base)
    space = tuning.make_space(generator, problem.shape, list(truth))
    centre = np.asarray(shares_of(space, unconstrain(space, truth)))
    points = [centre]
    for i in range(space.size):
        for side in (-STEP, STEP):
            moved = centre.copy()
            moved[i] = moved[i] + side
            points.append(moved)
    thetas = np.stack([theta_at(space, np.clip(p, 0.02, 0.98)) for p in points])
    levels = tuning.profile(
        problem, space, plan._replace(warm_up=2 * plan.warm_up), thetas, seeds, config
    )
    rows = []
    findable = {}
    for i, name in enumerate(space.free):
        rises = []
        for j in range(2):
            if not 0.0 < points[1 + 2 * i + j][i] < 1.0:
                continue
            rise = levels[1 + 2 * i + j] - levels[0]  # paired: same seeds
            error = rise.std(ddof=1) / len(rise) ** 0.5 if len(rise) > 1 else 0.0
            rises.append(bool(rise.mean() > 2.0 * error))
        findable[name] = all(rises) and bool(rises)
    starts = [{name: one.at(share) for name, one in space.free.items()} for share in shares]
    for seed in seeds:
        descent = tuning.descend(
            problem, space, starts, plan, seed, config, record=Record(folder / "record")
        )
        for start in descent.starts:
            for name, value in truth.items():
                rows.append(
                    {
                        "problem": f"{generator} on {base['base']}",
                        "name": name,
                        "findable": findable[name],
                        "seed": seed,
                        "start": start.start[name],
                        "end": start.end[name],
                        "truth": value,
                        "status": start.status,
                        "found": found(name, start.end[name], value),
                        "start_found": found(name, start.start[name], value),
                    }
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--outer", default="held_out_auroc")
    parser.add_argument("--estimator", default="unrolled")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    plan = tuning.Plan(
        estimator=options.estimator, outer=tuple(sorted(losses.parse(options.outer).items()))
    )
    config, seeds = program.Config(), SEEDS
    numbers = range(len(PROBLEMS)) if options.only is None else options.only
    problems = PROBLEMS
    if options.smoke:
        plan = plan._replace(outer_steps=2, horizon=2, warm_up=4, batch=8)
        config, seeds, numbers, problems = program.Config(width=8), (0,), [0], [SMOKE]
    rows = []
    for number in numbers:
        began = time.perf_counter()
        name = f"{number}-{options.outer}-{options.estimator}.json"
        path = options.out / name
        if not path.is_file():
            made = run(problems[number], plan, config, seeds, options.out)
            write_whole(path, json_text(made, indent=1).encode())
        rows += json.loads(path.read_text())
        print(f"problem {number}: {time.perf_counter() - began:.0f} s", flush=True)
    table = [
        [r["problem"], r["name"], "yes" if r["findable"] else "no", r["seed"]]
        + [r["start"], r["end"], r["truth"], r["status"], "found" if r["found"] else "-"]
        for r in rows
    ]
    header = ["problem", "tuned", "findable", "seed", "start", "end", "truth", "status", ""]
    print(render(header, table))
    for word, some in (
        ("declared findable", [r for r in rows if r["findable"]]),
        ("the others", [r for r in rows if not r["findable"]]),
    ):
        if some:
            share = np.mean([r["found"] for r in some])
            before = np.mean([r["start_found"] for r in some])
            print(f"{word}: {share:.2f} of {len(some)} found (of the starts {before:.2f})")


if __name__ == "__main__":
    in_one_line(main)
