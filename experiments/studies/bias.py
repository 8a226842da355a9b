"""Bias of the training anomalies: what is gained on some anomalies is lost on others.

1. Ye, Chen and Zheng (arXiv 2105.07346) on Fashion-MNIST: T-shirts are normal, and a classifier is
   trained with one true class as anomalies, shirts or sneakers, which this study takes and says so.
   TPR at 5 % FPR on every class, thresholds from held-out normals alone, of the classifier's
   log-odds and of the density of its embedding, mean and standard deviation over seeds, beside an
   unsupervised detector (principal components of raw pixels; theirs was Deep SVDD), and the sign of
   the difference beside theirs (`=` within .03).
2. The self-supervised analogue on two of the shelf's runs: rows are families trained on, columns
   kinds of anomalies tested; cells are TPR at 5 % FPR, mean and standard deviation over the
   family's settings and seeds, minus that of the same unsupervised detector. `!` marks cells
   where that one finds the kind (TPR above .8) and the family does worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.augment import Pseudo
from ad_jax.base.stats import Estimate, plus_minus, share, spread
from ad_jax.data import Problem
from ad_jax.detect import scores
from ad_jax.pool import program
from ad_jax.pool.controls import control_members
from ad_jax.report.figures import charts
from ad_jax.train import pretexts
from ad_jax.train.backbones import as_unit
from ad_jax.train.setting import TRAINING
from ad_jax.train.trainer import Hyper, make_train, seed_keys
from experiments import tasks
from experiments.result import Cell, Panels, Result, Table
from experiments.study import Axis, Options, Row, Study, grid, shelf
from experiments.trainings import loaded

RATE = 0.05  # false positives
NORMAL, LIMIT, SIZE = 0, 2000, 16
TRAINED_ON = {"shirt": 6, "sneaker": 7}
CLASSES = ("shirt", "pullover", "coat", "dress", "bag", "trouser", "boot", "sandal", "sneaker")
SPELT = {"boot": "ankle boot"}  # in the data, in capitals
THEIRS = {  # class tested -> TPR of Deep SVDD, of Deep SAD trained with shirts
    "shirt": (0.09, 0.71),
    "pullover": (0.13, 0.90),
    "coat": (0.14, 0.92),
    "dress": (0.17, 0.24),
    "bag": (0.49, 0.38),
    "trouser": (0.32, 0.07),
    "boot": (0.92, 0.29),
    "sandal": (0.30, 0.26),
    "sneaker": (0.55, 0.12),
}
ON_SNEAKER = {"bag": 0.80, "boot": 1.00, "sandal": 0.99, "sneaker": 1.00}  # others "unchanged"
CLOSE = 0.03  # two standard errors of a TPR of .5 on 1000 samples: no sign below
UNSUPERVISED = "raw_principal_components"
SEEDS = (0, 1, 2)


def tpr(target: np.ndarray, held_out: np.ndarray) -> float:
    """Share of the target above the 95 % quantile of held-out normals."""
    return float((target > np.quantile(held_out, 1.0 - RATE)).mean())


def classifier(problem: Problem, anomalies: np.ndarray, seed: int, config: program.Config) -> Any:
    """Head -> scores of target and held-out normals, of a network trained against anomalies."""
    pretext = pretexts.make("binary", "identity")
    backbone = program.network(config, problem.shape, pretext)
    pool = jnp.asarray(anomalies)

    def augment(hyper: Hyper, key: Any, samples: Any, donors: Any) -> Pseudo:
        count = samples.shape[0]
        made = as_unit(pool[jax.random.randint(key, (count,), 0, len(pool))])
        whole = jnp.ones(made.shape[:3])
        return Pseudo(made, whole, jnp.zeros(count, jnp.int32), jnp.ones(count))

    trainer = make_train(backbone, pretext, augment)
    hyper = Hyper(jnp.int32(0), jnp.zeros(1), jax.tree.map(jnp.float32, TRAINING.defaults()))
    look = program.make_look(backbone, pretext)

    @jax.jit
    def whole(normals: Any, target: Any, held_out: Any) -> dict[str, tuple[Any, Any]]:
        keys = seed_keys(config.root, seed)
        state, _ = trainer.go_on(
            trainer.init(keys, hyper), keys, hyper, normals, 0, jnp.int32(config.steps)
        )
        seen = [look.judge(state.params, x) for x in (normals, target, held_out)]
        density = scores.fit_density(seen[0][0])
        both = [scores.score_density(density, z) for z, _ in seen[1:]]
        return {"log-odds": (seen[1][1], seen[2][1]), "density": (both[0], both[1])}

    split = problem.split(seed)
    return whole(*map(jnp.asarray, (split.train, problem.target, split.held_out)))


def make(data: str, options: Options) -> Row:
    """Detector -> class -> TPR per seed."""
    source = f"{data},limit={200 if options.smoke else LIMIT},size={SIZE}"
    problem, truth = loaded(f"{source},normal={NORMAL}")
    config = program.Config(20, 8) if options.smoke else program.Config()
    seeds = SEEDS[:1] if options.smoke else SEEDS
    kinds = np.char.lower(truth.open("bias study: which class every sample is").kinds)
    rows = {name: kinds == SPELT.get(name, name) for name in CLASSES}
    found: dict[str, dict[str, list[float]]] = {}

    def add(detector: str, target: Any, held_out: Any) -> None:
        for name, own in rows.items():
            if own.any():
                value = tpr(np.asarray(target)[own], np.asarray(held_out))
                found.setdefault(detector, {}).setdefault(name, []).append(value)

    members, target, held_out, _ = control_members(problem, problem.target, seeds, config)
    for i, member in enumerate(members):
        if member.setting.augmentation == UNSUPERVISED:
            add("unsupervised", target[i, 0], held_out[i, 0])
    for name, number in TRAINED_ON.items():
        anomalies = loaded(f"{source},normal={number}")[0].train
        for seed in seeds:
            for head, pair in classifier(problem, anomalies, seed, config).items():
                add(f"{name}, {head}", *pair)
    return {"tpr": found, "log": truth.log}


def sign(value: float) -> str:
    return "=" if abs(value) < CLOSE else "+" if value > 0 else "-"


def published(name: str, trained_on: str) -> tuple[float, float]:
    """TPR on a class without and with anomalies in training."""
    before, after = THEIRS[name]
    return before, after if trained_on == "shirt" else ON_SNEAKER.get(name, before)


def by_class(found: dict[str, dict[str, list[float]]]) -> Table:
    lines: list[list[Cell]] = []
    detectors = [name for name in found if name != "unsupervised"]
    for name in found["unsupervised"]:
        base = float(np.mean(found["unsupervised"][name]))
        line: list[Cell] = [name, f"{base:.2f}"]
        for detector in detectors:
            own = spread(found[detector][name])
            line.append(f"{plus_minus(own, 2)} ({sign(own.value - base)})")
        for before, after in (published(name, one) for one in TRAINED_ON):
            line.append(f"{before:.2f} -> {after:.2f} ({sign(after - before)})")
        lines.append(line)
    theirs = [f"published, on {name}" for name in TRAINED_ON]
    return Table(["class tested", "unsupervised", *(f"on {n}" for n in detectors), *theirs], lines)


def drawn(found: dict[str, dict[str, list[float]]]) -> Panels:
    """Trained on -> class tested -> detector -> TPR over seeds, and its deviation."""
    shown = {name: {c: share(spread(v)) for c, v in own.items()} for name, own in found.items()}
    return {
        f"anomalies in training: {trained_on}": {
            name: {
                "unsupervised": shown["unsupervised"][name],
                "classifier": shown[f"{trained_on}, log-odds"][name],
                "its embedding's density": shown[f"{trained_on}, density"][name],
                "published: unsupervised": Estimate(published(name, trained_on)[0]),
                "published: trained": Estimate(published(name, trained_on)[1]),
            }
            for name in shown["unsupervised"]
        }
        for trained_on in TRAINED_ON
    }


def table(rows: Sequence[Row]) -> Result:
    found = rows[0]["tpr"]
    title = "Fashion-MNIST, T-shirts normal: TPR at 5 % FPR, mean over seeds (against unsupervised)"
    panels = drawn(found)
    return Result(
        [title, by_class(found)], lambda path: charts.dots(path, "TPR at 5 % FPR", panels)
    )


def analogue(task: tasks.Task) -> Table | None:
    """Families against kinds of one run; None where there are not two kinds."""
    pool, kinds = task.run.pool, np.array(task.kinds)
    names = sorted(set(kinds[task.anomalous == 1].tolist()))
    if len(names) < 2:
        return None
    target, held_out = pool.own_scores()

    def of(rows: list[int], kind: str) -> Estimate:
        return spread([tpr(target[i][kinds == kind], held_out[i]) for i in rows])

    (control,) = [c for c in pool.controls() if c.augmentation == UNSUPERVISED]
    base = {kind: of(pool.rows(control), kind).value for kind in names}
    lines: list[list[Cell]] = [["(unsupervised)", *(f"{base[k]:.2f}" for k in names)]]
    families: dict[str, list[int]] = {}
    for setting in pool.settings:
        families.setdefault(setting.family, []).extend(pool.rows(setting, trained=True))
    for family, own in families.items():
        if own:
            cells = []
            for kind in names:
                change = Estimate(*(v - base[kind] for v in of(own, kind)))
                mark = "!" if base[kind] > 0.8 and change.value < 0 else " "
                cells.append(f"{plus_minus(change, 2)} {mark}")
            lines.append([family, *cells])
    return Table(["trained on", *names], lines)


def result(options: Options) -> Result:
    first = FASHION.result(options)
    blocks = list(first.blocks)
    for task in tasks.read(options.runs, "bias study") if options.runs else ():
        found = analogue(task)
        if found:
            title = f"\n{task.folder.name}: TPR at 5 % FPR, difference to unsupervised"
            blocks += [title, found]
    return Result(blocks, first.picture)


FASHION = grid({"data": Axis(("fashion_mnist.npz",))}, make, table, "fashion")
RUNS = ("runs/shelf/tile", "runs/shelf/bottle")
STUDY = Study(result, {}, RUNS, shelf("tile", "bottle"))
