"""On what does AUROC hang? One factor moved at a time, beside the grids of shallow detectors.

    python experiments/studies/spread.py --out runs/spread                  # three tasks; resumable
    python experiments/studies/spread.py --out runs/spread --only cookie
    python experiments/studies/spread.py --out runs/smoke --smoke           # seconds

Around one setting (binary/cutpaste of area .04, the defaults of training, three seeds) it moves the
augmentation, its area, learning rate, weight decay, jitter, steps, the network, and the seed.
Members that learned nothing count with the AUROC they have: who cannot see labels cannot leave them
out by them. The shallow detectors are scikit-learn's on the pixels' first 30 principal components,
each over its main hyperparameter. Prints per factor the values' lowest, highest and standard
deviation of AUROC (mean over seeds), and of the seed alone its standard deviation. Opens labels
when all is trained.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from ad_jax import data
from ad_jax.base import ranks
from ad_jax.base.errors import in_one_line
from ad_jax.base.json_text import json_text
from ad_jax.data import load
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.pool.sweep import Sweep
from ad_jax.report.table import render
from ad_jax.selection import search
from ad_jax.store import Record, keep_compilations, write_whole
from ad_jax.train.setting import Config, Setting

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "bottle": ("mvtec_bottle", {"size": 32}),
    "cookie": ("cookie", {"size": 32}),
    "fashion 8": ("fashion_mnist.npz", {"normal": 8, "limit": 1000, "size": 16}),
}
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


def shallow(problem: data.Problem, anomalous: np.ndarray) -> dict[str, dict[str, float]]:
    """Detector -> value of its hyperparameter -> AUROC."""
    normals, target = (
        np.asarray(x, np.float64).reshape(len(x), -1) for x in (problem.train, problem.target)
    )
    basis = PCA(min(30, len(normals) - 1)).fit(normals)
    normals, target = basis.transform(normals), basis.transform(target)

    def nearest(k: int) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k).fit(normals).kneighbors(target)[0][:, -1]

    def of(model: Any) -> np.ndarray:
        return -model.fit(normals).score_samples(target)

    grids: dict[str, dict[str, Callable[[], np.ndarray]]] = {
        "nearest neighbours": {str(k): lambda k=k: nearest(k) for k in (1, 5, 20)},  # type: ignore[misc]
        "local outlier factor": {
            str(k): lambda k=k: of(LocalOutlierFactor(n_neighbors=k, novelty=True))  # type: ignore[misc]
            for k in (5, 20, 50)
        },
        "one-class SVM": {
            str(nu): lambda nu=nu: of(OneClassSVM(nu=nu))  # type: ignore[misc]
            for nu in (0.01, 0.1, 0.5)
        },
        "isolation forest": {
            str(n): lambda n=n: of(IsolationForest(max_features=n, random_state=0))  # type: ignore[misc]
            for n in (0.2, 0.5, 1.0)
        },
    }
    return {
        name: {v: auroc(score(), anomalous) for v, score in grid.items()}
        for name, grid in grids.items()
    }


def auroc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    return float(ranks.auroc(scores[anomalous == 0], scores[anomalous == 1]))


def measure(task: str, smoke: bool, record: Record) -> dict[str, Any]:
    """All AUROC of one task: factor -> value -> one per seed."""
    source, given = ("digits", {"normal": 3}) if smoke else TASKS[task]
    problem, truth = load(source, **given)
    seeds = SEEDS[:2] if smoke else SEEDS
    found = {}
    for factor, values in {"base": {"base": (BASE, CONFIG)}, **FACTORS}.items():
        pools = {}
        for value, (setting, config) in list(values.items())[: 1 if smoke else None]:
            own = Config(3, 8, config.backbone) if smoke else config
            sweep = Sweep([problem], [setting], seeds, own, record)
            pools[value] = (setting, sweep.finish(search.train_all(sweep)).pools[0])
        found[factor] = pools
    anomalous = np.asarray(truth.open("spread study").anomalous)
    out = {
        factor: {
            value: [float(v) for v in member_aurocs(pool, anomalous)[pool.rows(setting)]]
            for value, (setting, pool) in pools.items()
        }
        for factor, pools in found.items()
    }
    return {"task": task, "deep": out, "shallow": shallow(problem, anomalous)}


def rows_of(made: dict[str, Any]) -> list[list[object]]:
    base = made["deep"].pop("base")["base"]
    rows: list[list[object]] = [
        [made["task"], "seed", len(base), min(base), max(base), float(np.std(base, ddof=1))]
    ]

    def row(name: str, values: list[float]) -> list[object]:
        return [made["task"], name, len(values), min(values), max(values), float(np.std(values))]

    for factor, values in made["deep"].items():
        rows.append(row(factor, [float(np.mean(v)) for v in (*values.values(), base)]))
    for name, values in made["shallow"].items():
        rows.append(row(f"{name}: its hyperparameter", list(values.values())))
    means = [float(np.mean(list(values.values()))) for values in made["shallow"].values()]
    return [*rows, row("shallow detector", means)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    rows = []
    for task in options.only[: 1 if options.smoke else None]:
        path = options.out / f"{task}.json"
        if not path.is_file():
            began = time.perf_counter()
            made = measure(task, options.smoke, Record(options.out / "record"))
            write_whole(path, json_text(made, indent=1).encode())
            print(f"{task}: {time.perf_counter() - began:.0f} s", flush=True)
        rows += rows_of(json.loads(path.read_text()))
    header = ["task", "factor", "values", "lowest", "highest", "standard deviation"]
    print(render(header, rows))


if __name__ == "__main__":
    in_one_line(main)
