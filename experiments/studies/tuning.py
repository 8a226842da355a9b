"""Accuracy against budget: gradient, grid, random search and successive halving at equal compute.

    python experiments/studies/tuning.py --out runs/tuning              # resumable
    python experiments/studies/tuning.py --out runs/tuning --report     # what is there so far
    python experiments/studies/tuning.py --out runs/smoke --smoke

CutDiff's area and strength (the catalogue's ranges) on bottle, cookie, and anomalies planted in the
magnetic tile (see worth.py); three seeds. Budgets are 6, 12 and 25 trainings of 400 steps, which is
what descending from one, two and four starts costs (a step through which the gradient is taken
counts as six). Halving tries four times as many settings. All of them are judged by the default
rule: random search and the grid pick among their settings, halving drops by it and keeps the last;
of gradient tuning it picks the untuned default or an end; the end of lowest outer loss is shown
too. AUROC is of one trained seed on the whole target; labels are opened when all is trained.

Prints the mean AUROC over tasks and seeds with its standard deviation, by method and budget, and
the difference to random search of the same budget with a 95 % interval over tasks and seeds. About
a quarter of an hour a task and seed on one CPU core.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import data
from ad_jax.base import ranks
from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate, plus_minus, spread
from ad_jax.data import load
from ad_jax.pool import Pool, program
from ad_jax.report.figures import charts
from ad_jax.report.table import render
from ad_jax.selection import tuning
from ad_jax.selection.tuning.descent import default_of
from ad_jax.selection.tuning.space import theta_at, to_hyper
from ad_jax.store import Record, keep_compilations, kept
from ad_jax.train.setting import Setting

WORTH = runpy.run_path(str(Path(__file__).with_name("worth.py")))
TASKS = {name: WORTH["TASKS"][name] for name in ("bottle", "cookie", "planted")}
AUGMENTATION, TUNED = WORTH["SPACES"]["2"]
BUDGETS = (6, 12, 25)  # trainings
STARTS = (1, 2, 4)  # whose descent costs as much
GRIDS = ((3, 2), (4, 3), (5, 5))  # areas, strengths
METHODS = ("random search", "grid", "halving", "gradient, by the rule", "gradient, lowest loss")
SEEDS = (0, 1, 2)


def grid(space: tuning.TunedSpace, sides: tuple[int, int]) -> list[Setting]:
    """Settings in the middle of equal parts of the ranges, each on its own scale."""
    shares = [[(i + 0.5) / a, (j + 0.5) / b] for a, b in [sides] for i, j in np.ndindex(a, b)]
    thetas = [theta_at(space, np.array(share)) for share in shares]
    return [Setting("binary", space.augmentation, to_hyper(space, theta)) for theta in thetas]


def measure(
    problem: data.Problem,
    truth: data.Truth,
    seed: int,
    plan: tuning.Plan,
    config: program.Config,
    budgets: tuple[int, ...],
    record: Record,
) -> dict[str, Any]:
    """AUROC by method and budget of one task and seed."""
    space = tuning.make_space(AUGMENTATION, problem.shape, TUNED)
    trained, pick = WORTH["trained"], WORTH["pick"]
    default = Setting("binary", AUGMENTATION, default_of(space))
    drawn = WORTH["random_settings"](space, max(budgets), seed)
    grids = [grid(space, sides) for sides in GRIDS[: len(budgets)]]
    starts = STARTS[: len(budgets)]
    descent = tuning.descend(problem, space, max(starts), plan, seed, config, record=record)
    ends = [  # of a start that diverged there is none: the default stands for it
        Setting("binary", AUGMENTATION, start.end) if start.status != "diverged" else default
        for start in descent.starts
    ]
    settings = {s.key: s for s in (default, *drawn, *ends, *(s for some in grids for s in some))}
    pool = trained(problem, list(settings.values()), seed, config, record)
    found: dict[str, dict[int, tuple[Pool, Setting]]] = {name: {} for name in METHODS}
    for budget, cells, count in zip(budgets, grids, starts, strict=True):
        lowest = min(range(count), key=lambda i: descent.starts[i].loss)
        wider = WORTH["random_settings"](space, WORTH["WIDER"] * budget, seed)
        halved = trained(problem, wider, seed, config, record, "halving")
        found["random search"][budget] = pool, pick(pool, drawn[:budget])
        found["grid"][budget] = pool, pick(pool, cells)
        found["halving"][budget] = halved, pick(halved, halved.settings)
        found["gradient, by the rule"][budget] = pool, pick(pool, [default, *ends[:count]])
        found["gradient, lowest loss"][budget] = pool, ends[lowest]
    anomalous = np.asarray(truth.open("tuning study").anomalous)

    def auroc(pool: Pool, setting: Setting) -> float:
        scores = pool.own_scores()[0][pool.rows(setting)[0]]
        return float(ranks.auroc(scores[anomalous == 0], scores[anomalous == 1]))

    return {
        "default": auroc(pool, default),
        "best by labels": max(auroc(pool, s) for s in settings.values()),
        "auroc": {n: {str(b): auroc(*one) for b, one in of.items()} for n, of in found.items()},
        "starts": [start.status for start in descent.starts],
    }


def difference(values: np.ndarray) -> str:
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def drawn(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Task -> budget -> method -> AUROC over seeds, and its deviation."""
    tasks: dict[str, dict[str, dict[str, Estimate]]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row["auroc"] for row in rows if row["task"] == task]
        tasks[task] = {
            budget: {name: spread([one[name][budget] for one in own]) for name in METHODS}
            for budget in own[0][METHODS[0]]
        }
    return tasks


def summarise(rows: list[dict[str, Any]]) -> None:
    budgets = list(rows[0]["auroc"][METHODS[0]])
    columns = {
        name: np.array([[row["auroc"][name][b] for b in budgets] for row in rows])
        for name in METHODS
    }
    table = []
    for name, values in columns.items():
        line: list[object] = [name, *(plus_minus(spread(v)) for v in values.T)]
        against = values - columns[METHODS[0]]
        table.append(line + ["" if name == METHODS[0] else difference(d) for d in against.T])
    print(
        f"\nAUROC, mean ± standard deviation over {len(rows)} tasks and seeds, by trainings spent"
    )
    print(render(["", *budgets, *(f"{b}: - random search" for b in budgets)], table))
    for name in ("default", "best by labels"):
        print(f"{name}: {plus_minus(spread([row[name] for row in rows]))}")
    states = [state for row in rows for state in row["starts"]]
    print("starts:", {state: states.count(state) for state in sorted(set(states))})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--report", action="store_true", help="only print what is there")
    parser.add_argument("--picture", type=Path, help="PNG of AUROC by task and budget")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    plan, config = WORTH["PLAN"], program.Config(WORTH["STEPS"])
    budgets, seeds, tasks = BUDGETS, SEEDS, {name: TASKS[name] for name in options.only}
    if options.smoke:
        plan = plan._replace(outer_steps=2, horizon=2, warm_up=4, batch=8)
        config, budgets, seeds = program.Config(9, 8), (2,), SEEDS[:1]
        tasks = {"planted": WORTH["SMOKE"]}

    def make(task: str, seed: int) -> dict[str, Any]:
        source, given = tasks[task]
        problem, truth = load(source, **given)
        record = Record(options.out / "record")
        found = measure(problem, truth, seed, plan, config, budgets, record)
        return {**found, "task": task, "seed": seed}

    rows = []
    for seed in seeds:  # so that what is there so far is of all tasks
        for task in tasks:
            path = options.out / f"{task}-{seed}.json"
            if path.is_file() or not options.report:
                rows.append(kept(path, lambda t=task, s=seed: make(t, s)))  # type: ignore[misc]
    if rows:
        summarise(rows)
        if options.picture:
            charts.lines(options.picture, "trainings spent", "AUROC", drawn(rows))


if __name__ == "__main__":
    in_one_line(main)
