"""How many normals does it take? 5, 10, 20, 50 and 200 of them.

The first normals of a task in the order of their content (nested: 20 hold the 10), the families of
experiments/configs/shelf.py, three seeds, 800 steps. Folds of a quarter of the normals are held out
in turn, so a rule that compares with held-out normals has 2 of 10; of fewer than 8 normals one is
held out (when experiments/results/limited_data.txt was made, they were refused). Prints AUROC, mean
and standard deviation over seeds, of the default rule's pick and of the best setting in hindsight
(oracle), of the expected random setting, of raw pixels' nearest neighbour; the gain, and the trust.
Opens labels when all is trained. About 20 minutes a task on one CPU core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.stats import plus_minus, spread
from ad_jax.data import Problem, Truth
from ad_jax.evaluate.pools import member_aurocs, seed_aurocs
from ad_jax.report.figures import charts
from ad_jax.selection import Runtime, Spec, choose, rules, search
from ad_jax.store import Record
from ad_jax.train.setting import Config
from experiments.configs.shelf import AREAS, FAMILIES
from experiments.result import Cell, Panels, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import contenders, loaded

SOURCES = {
    "bottle": "mvtec_bottle,size=32",
    "fashion 8": "fashion_mnist.npz,normal=8,limit=1000,size=16",
    "digit 3": "digits,normal=3",
}
SEEDS = (0, 1, 2)
CONTROL = "raw_nearest_neighbour"
Labels = dict[str, int]  # hash of a target sample -> whether it is an anomaly


def measure(problem: Problem, labels: Callable[[], Labels], small: bool, record: Record) -> Row:
    """What the families make of a problem.

    Args:
      problem: its normals vary.
      labels: asked when all is trained.
      small: a network and a pool that are small.
      record: of the trainings.
    """
    settings = search.grid(problem.shape, AREAS, FAMILIES[2 : 4 if small else None])
    config = Config(60, 8) if small else Config()
    seeds = SEEDS[:2] if small else SEEDS
    ((found, _),) = choose([problem], Spec(settings, seeds, config=config), Runtime(record))
    label_of = labels()
    anomalous = np.array([label_of[h] for h in problem.sample_hashes])
    pool = found.pool
    (control,) = [c for c in pool.controls() if c.augmentation == CONTROL]
    return {
        "auroc": {key: own.tolist() for key, own in seed_aurocs(pool, anomalous).items()},
        "pick": found.pick.key,
        "control": member_aurocs(pool, anomalous)[pool.rows(control)].tolist(),
        "held out": int(pool.held_out_scores.shape[2]),
        "trust": found.trust.verdict,
    }


def labels_of(problem: Problem, truth: Truth, reason: str) -> Labels:
    anomalous = np.asarray(truth.open(reason).anomalous).tolist()
    return dict(zip(problem.sample_hashes, anomalous, strict=True))


def make(task: str, normals: int, options: Options) -> Row:
    """A task with so many normals, or why that is refused."""
    problem, truth = loaded(SOURCES[task])
    about = {"task": task, "normals": str(min(normals, len(problem.train)))}
    try:
        small = Problem(train=problem.train[:normals], target=problem.target)
        labels = lambda: labels_of(problem, truth, "limited data study")
        return about | measure(small, labels, options.smoke, options.record())
    except InputError as error:
        return about | {"refused": str(error)}


def table(rows: Sequence[Row], across: str = "normals") -> Result:
    """A line a row, which differ in `across`."""
    lines: list[list[Cell]] = []
    refused: list[Table | str] = []
    panels: Panels = {}
    for row in rows:
        if "refused" in row:
            refused.append(f"{row['task']}, {row[across]} {across}: {row['refused']}")
            continue
        own = {**contenders(row, {"pick": row["pick"]}), "raw pixels": spread(row["control"])}
        panels.setdefault(row["task"], {})[row[across]] = own
        picked, oracle, random = (own[c].value for c in ("pick", "oracle", "random setting"))
        gain = (picked - random) / (oracle - random) if oracle > random else float("nan")
        about = [row["task"], row[across], row["held out"]]
        lines.append([*about, *own.values(), gain, row["trust"]])
    columns = ("pick", "oracle", "random setting", "raw pixels")
    title = f"rule {rules.DEFAULT}; raw pixels: {CONTROL}; AUROC, ± standard deviation over seeds"
    header = ["task", across, "held out", *columns, "gain", "trust"]
    return Result(
        [*refused, title, Table(header, lines, plus_minus)],
        lambda path: charts.lines(path, across, "AUROC", panels),
    )


AXES = {
    "task": Axis(tuple(SOURCES), ("digit 3",)),
    "normals": Axis((5, 10, 20, 50, 200), (5, 20), None),
}
STUDY = grid(AXES, make, table)
