"""On what does AUROC hang? One factor moved at a time, beside the grids of shallow detectors.

Around one setting (binary/cutpaste of area .04, the defaults of training, three seeds) it moves the
augmentation, its area, learning rate, weight decay, jitter, steps, the network, and the seed.
Members that learned nothing count with the AUROC they have: who cannot see labels cannot leave them
out by them. The shallow detectors are scikit-learn's on the pixels' first 30 principal components,
each over its main hyperparameter. Prints per factor the values' lowest, highest and standard
deviation of AUROC (mean over seeds), and of the seed alone its standard deviation. Opens labels
when all is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad_jax.data import Problem
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.selection import search
from ad_jax.train.setting import Config, Setting
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import auroc_of, loaded, swept

TASKS = {
    "bottle": "mvtec_bottle,size=32",
    "cookie": "cookie,size=32",
    "fashion 8": "fashion_mnist.npz,normal=8,limit=1000,size=16",
}
SMALL = "digits,normal=3"
SEEDS = (0, 1, 2)
BASE = search.setting("binary", "cutpaste", area=0.04)
CONFIG = Config()
Values = dict[str, tuple[Setting, Config]]
FACTORS: dict[str, Values] = {
    "augmentation": {
        name: (search.setting("binary", name), CONFIG)
        for name in ("quarter_turns", "scar", "rotate", "gaussian_noise", "cutout")
    },
    "area": {
        f"{area:g}": (search.setting("binary", "cutpaste", area=area), CONFIG)
        for area in (0.02, 0.08, 0.16, 0.32, 0.64)
    },
    "learning rate": {f"{v:g}": (BASE._replace(learning_rate=v), CONFIG) for v in (2e-4, 2e-3)},
    "weight decay": {f"{v:g}": (BASE._replace(weight_decay=v), CONFIG) for v in (0.0, 0.1)},
    "jitter": {f"{v:g}": (BASE._replace(jitter=v), CONFIG) for v in (0.0, 0.3)},
    "steps": {f"{v}": (BASE, CONFIG._replace(steps=v)) for v in (200, 400, 1600)},
    "network": {
        "encoder 16": (BASE, CONFIG._replace(width=16)),
        "encoder 32": (BASE, CONFIG._replace(width=32)),
        "mlp": (BASE, CONFIG._replace(backbone="mlp")),
    },
}


def shallow(problem: Problem, anomalous: np.ndarray) -> dict[str, dict[str, float]]:
    """Detector -> value of its hyperparameter -> AUROC."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
    from sklearn.svm import OneClassSVM

    normals, target = (
        np.asarray(x, np.float64).reshape(len(x), -1) for x in (problem.train, problem.target)
    )
    basis = PCA(min(30, len(normals) - 1)).fit(normals)
    normals, target = basis.transform(normals), basis.transform(target)

    def nearest(k: int) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k).fit(normals).kneighbors(target)[0][:, -1]

    def of(model: Any) -> np.ndarray:
        return -model.fit(normals).score_samples(target)

    grids: dict[str, tuple[Callable[[Any], np.ndarray], tuple[float, ...]]] = {
        "nearest neighbours": (nearest, (1, 5, 20)),
        "local outlier factor": (
            lambda k: of(LocalOutlierFactor(n_neighbors=k, novelty=True)),
            (5, 20, 50),
        ),
        "one-class SVM": (lambda nu: of(OneClassSVM(nu=nu)), (0.01, 0.1, 0.5)),
        "isolation forest": (
            lambda n: of(IsolationForest(max_features=n, random_state=0)),
            (0.2, 0.5, 1.0),
        ),
    }
    return {
        name: {str(v): auroc_of(score(v), anomalous) for v in values}
        for name, (score, values) in grids.items()
    }


def make(task: str, options: Options) -> Row:
    """All AUROC of one task: factor -> value -> one per seed."""
    problem, truth = loaded(SMALL if options.smoke else TASKS[task])
    seeds = SEEDS[:2] if options.smoke else SEEDS
    found = {}
    for factor, values in {"base": {"base": (BASE, CONFIG)}, **FACTORS}.items():
        pools = {}
        for value, (setting, config) in list(values.items())[: 1 if options.smoke else None]:
            own = Config(3, 8, config.backbone) if options.smoke else config
            pools[value] = (
                setting,
                swept([problem], [setting], seeds, own, options.record()).pools[0],
            )
        found[factor] = pools
    anomalous = np.asarray(truth.open("spread study").anomalous)
    deep = {
        factor: {
            value: [float(v) for v in member_aurocs(pool, anomalous)[pool.rows(setting)]]
            for value, (setting, pool) in pools.items()
        }
        for factor, pools in found.items()
    }
    return {"task": task, "deep": deep, "shallow": shallow(problem, anomalous)}


def lines_of(row: Row) -> list[list[Cell]]:
    """What every factor moves AUROC by in one task."""
    deep = dict(row["deep"])
    base = deep.pop("base")["base"]

    def line(name: str, values: Sequence[float], ddof: int = 0) -> list[Cell]:
        deviation = float(np.std(values, ddof=ddof))
        return [row["task"], name, len(values), min(values), max(values), deviation]

    means = [float(np.mean(list(values.values()))) for values in row["shallow"].values()]
    return [
        line("seed", base, ddof=1),
        *(
            line(factor, [float(np.mean(v)) for v in (*values.values(), base)])
            for factor, values in deep.items()
        ),
        *(
            line(f"{name}: its hyperparameter", list(values.values()))
            for name, values in row["shallow"].items()
        ),
        line("shallow detector", means),
    ]


def table(rows: Sequence[Row]) -> Result:
    header = ["task", "factor", "values", "lowest", "highest", "standard deviation"]
    return Result([Table(header, [line for row in rows for line in lines_of(row)])])


STUDY = grid({"task": Axis(tuple(TASKS))}, make, table)
