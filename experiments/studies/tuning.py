"""Accuracy against budget: gradient, grid, random search and successive halving at equal compute.

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

from collections.abc import Sequence

import numpy as np

from ad_jax.base.stats import plus_minus, spread
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.selection import tuning
from ad_jax.train.setting import Setting
from experiments import trainings
from experiments.result import Cell, Result, Table
from experiments.studies.worth import SMALL, SPACES, TASKS, WIDER
from experiments.study import Axis, Options, Row, grid

AUGMENTATION, TUNED = SPACES["2"]
BUDGETS = (6, 12, 25)  # trainings
STARTS = (1, 2, 4)  # whose descent costs as much
GRIDS = ((3, 2), (4, 3), (5, 5))  # areas, strengths
METHODS = ("random search", "grid", "halving", "gradient, by the rule", "gradient, lowest loss")


def grid_of(space: tuning.TunedSpace, sides: tuple[int, int]) -> list[Setting]:
    """Settings in the middle of equal parts of the ranges, each on its own scale."""
    return [trainings.at_shares(space, (np.array(at) + 0.5) / sides) for at in np.ndindex(*sides)]


def make(seed: int, task: str, options: Options) -> Row:
    """AUROC by method and budget of one task and seed."""
    problem, truth = trainings.loaded(SMALL if options.smoke else TASKS[task])
    plan, config = trainings.tuning_setup(options.smoke)
    budgets, record = (2,) if options.smoke else BUDGETS, options.record()
    space = tuning.make_space(AUGMENTATION, problem.shape, TUNED)
    default = trainings.default_setting(space)
    drawn = trainings.random_settings(space, max(budgets), seed)
    grids = [grid_of(space, sides) for sides in GRIDS[: len(budgets)]]
    starts = STARTS[: len(budgets)]
    descent = tuning.descend(
        tuning.make_job(problem, space, max(starts), plan, seed, config), record=record
    )
    ends = [  # of a start that diverged there is none: the default stands for it
        Setting("binary", AUGMENTATION, start.end) if start.status != "diverged" else default
        for start in descent.starts
    ]
    settings = {s.key: s for s in (default, *drawn, *ends, *(s for some in grids for s in some))}
    own = list(settings.values())
    (pool,) = trainings.swept([problem], own, (seed,), config, record).pools
    found: dict[str, dict[int, tuple[Pool, Setting]]] = {name: {} for name in METHODS}
    for budget, cells, count in zip(budgets, grids, starts, strict=True):
        lowest = min(range(count), key=lambda i: descent.starts[i].loss)
        wider = trainings.random_settings(space, WIDER * budget, seed)
        (halved,) = trainings.swept([problem], wider, (seed,), config, record, "halving").pools
        found["random search"][budget] = pool, trainings.pick(pool, drawn[:budget])
        found["grid"][budget] = pool, trainings.pick(pool, cells)
        found["halving"][budget] = halved, trainings.pick(halved, halved.settings)
        found["gradient, by the rule"][budget] = (
            pool,
            trainings.pick(pool, [default, *ends[:count]]),
        )
        found["gradient, lowest loss"][budget] = pool, ends[lowest]
    anomalous = np.asarray(truth.open("tuning study").anomalous)
    return {
        "default": trainings.auroc(pool, default, anomalous),
        "best by labels": max(trainings.auroc(pool, s, anomalous) for s in settings.values()),
        "auroc": {
            name: {str(budget): trainings.auroc(*one, anomalous) for budget, one in of.items()}
            for name, of in found.items()
        },
        "starts": [start.status for start in descent.starts],
        "task": task,
        "seed": seed,
    }


def difference(values: np.ndarray) -> str:
    mean, low, high = trainings.normal_interval(values)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def table(rows: Sequence[Row]) -> Result:
    budgets = list(rows[0]["auroc"][METHODS[0]])
    columns = {
        name: np.array([[row["auroc"][name][b] for b in budgets] for row in rows])
        for name in METHODS
    }
    lines: list[list[Cell]] = []
    for name, values in columns.items():
        against = (values - columns[METHODS[0]]).T
        apart = ["" if name == METHODS[0] else difference(d) for d in against]
        lines.append([name, *map(spread, values.T), *apart])
    panels = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row["auroc"] for row in rows if row["task"] == task]
        panels[task] = {
            budget: {name: spread([one[name][budget] for one in own]) for name in METHODS}
            for budget in budgets
        }
    runs = f"{len(rows)} tasks and seeds"
    header = ["", *budgets, *(f"{b}: - random search" for b in budgets)]
    return Result(
        [
            f"\nAUROC, mean ± standard deviation over {runs}, by trainings spent",
            Table(header, lines, plus_minus),
            *(
                f"{name}: {plus_minus(spread([row[name] for row in rows]))}"
                for name in ("default", "best by labels")
            ),
            f"starts: {trainings.counts([state for row in rows for state in row['starts']])}",
        ],
        lambda path: charts.lines(path, "trainings spent", "AUROC", panels),
    )


AXES = {  # seeds first, so that what is there so far is of all tasks
    "seed": Axis((0, 1, 2)),
    "task": Axis(("bottle", "cookie", "planted"), ("planted",)),
}
STUDY = grid(AXES, make, table, "{task}-{seed}")
