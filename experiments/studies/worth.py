"""What tuning by gradient is worth: against random search, halving and the untuned default.

    python experiments/studies/worth.py --out runs/worth                 # everything; resumable
    python experiments/studies/worth.py --out runs/worth --only cookie   # one task
    python experiments/studies/worth.py --out runs/worth --report        # what is there so far
    python experiments/studies/worth.py --out runs/smoke --smoke         # a minute

Tasks: bottle, cookie and magnetic tile (all kinds together), and anomalies planted by CutDiff among
the normals of magnetic tile, plain and faint. (Planted ones were tried on digits first, with 7
anomalies too few, and on Fashion-MNIST class 8, where not even the generator's own setting detects
them: on the tile it does, by .99 and .96 against .94 and .74 of the default.) Spaces of 2 and 4
(CutDiff) and 8 hyperparameters (CutDiff and soft CutPaste with their weights), and one of 1 (the
area of soft CutPaste) whose tuned value is also used in the hard kernel. Three seeds. For each, all
trained for the same number of steps:

- the untuned default;
- random search over the same ranges, and successive halving over four times as many settings, both
  picked by the default rule: as many as cost what tuning does;
- tuning from two starts (default, random), second and first order: the end of lower outer loss, and
  what the rule picks of the default and both ends.

Equal compute means equal plain training steps, a step through which a gradient is taken counted as
COST of them (experiments/benchmarks/hypergradients.py). AUROC is of one trained seed on the whole
target. Opens the labels after everything is trained, and prints differences with 95 % intervals
over seeds and tasks.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import data, program, ranks, rules, search, tuning
from ad_jax.data import load
from ad_jax.errors import InputError, in_one_line
from ad_jax.pool import Pool, Setting
from ad_jax.report.table import render
from ad_jax.store import Record, keep_compilations, write_whole
from ad_jax.sweep import Sweep
from ad_jax.tuning.descent import default_of
from ad_jax.tuning.space import theta_at, to_hyper

TILE: dict[str, Any] = {"size": 32, "group": r"tile\d+"}
PLANTED = {**TILE, "base": "magnetic_tile", "share": 0.2}
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "bottle": ("mvtec_bottle", {"size": 32}),
    "cookie": ("cookie", {"size": 32}),
    "tile": ("magnetic_tile", TILE),
    "planted": (
        "planted:cutdiff",
        {**PLANTED, "hyper": "area:0.03;aspect:2;strength:0.6;angle:45"},
    ),
    "planted, faint": (
        "planted:cutdiff",
        {**PLANTED, "hyper": "area:0.03;aspect:2;strength:0.25;angle:45"},
    ),
}
SMOKE = ("planted:cutdiff", {"base": "digits", "normal": 3, "share": 0.2})
MIXED = ["area", "aspect", "strength", "angle"]
SPACES: dict[str, tuple[str, list[str]]] = {
    "1": ("soft_cutpaste", ["area"]),
    "2": ("cutdiff", ["area", "strength"]),
    "4": ("cutdiff", MIXED),
    "8": (
        "cutdiff+soft_cutpaste",
        [f"cutdiff.{name}" for name in MIXED]
        + [f"soft_cutpaste.{name}" for name in ("area", "aspect", "softness")]
        + ["weights"],
    ),
}
HARD = {"soft_cutpaste": "cutpaste"}
SEEDS = (0, 1, 2)
STEPS = 400
PLAN = tuning.Plan(outer_steps=40, warm_up=100)
STARTS = 2
COST = {"unrolled": 6.0, "first_order": 1.5}  # plain steps per step with a gradient
WIDER = 4  # halving tries so many times the settings of random search


def random_settings(space: tuning.Space, count: int, seed: int) -> list[Setting]:
    """Uniform over the ranges, each on its own scale; weights uniform too."""
    generator = np.random.default_rng([seed, count])
    shares = generator.uniform(0.02, 0.98, (count, space.size))
    return [
        Setting("binary", space.augmentation, to_hyper(space, theta_at(space, share)))
        for share in shares
    ]


def budget(plan: tuning.Plan, estimator: str) -> float:
    """Plain training steps that tuning costs, its final trainings not counted."""
    return STARTS * (plan.warm_up + COST[estimator] * plan.outer_steps * plan.horizon)


def hard_twin(soft: Setting) -> Setting:
    """The same area and jitter in the kernel with hard edges."""
    name = HARD[soft.augmentation]
    shared = {k: soft.hyper[k] for k in ("area", "area_spread", "aspect_spread", "jitter")}
    return search.setting("binary", name, **shared)


def trained(
    problem: data.Problem,
    settings: list[Setting],
    seed: int,
    config: program.Config,
    record: Record,
    how: str = "all",
) -> Pool:
    """A pool of one seed; also where nothing learns, which `select` would refuse."""
    sweep = Sweep([problem], settings, (seed,), config, record)
    return sweep.finish(search.SEARCHES[how](sweep, rules.DEFAULT)).pools[0]


def replicate(
    problem: data.Problem,
    truth: data.Truth,
    space: tuning.Space,
    seed: int,
    plan: tuning.Plan,
    config: program.Config,
    record: Record,
) -> dict[str, Any]:
    """All contenders with one seed: name -> AUROC, hyper, seconds, and the outer losses of ends."""
    default = Setting("binary", space.augmentation, default_of(space))
    ends: dict[str, list[Setting]] = {}
    best: dict[str, Setting] = {}
    seconds: dict[str, float] = {}
    said: dict[str, Any] = {}
    for estimator in COST:
        began = time.perf_counter()
        try:
            descent = tuning.descend(
                problem,
                space,
                STARTS,
                plan._replace(estimator=estimator),
                seed,
                config,
                record=record,
            )
        except InputError as error:  # all starts diverged: a failure to count, not to hide
            said[estimator] = str(error)
            ends[estimator] = []
            continue
        seconds[estimator] = time.perf_counter() - began
        lasting = [start for start in descent.starts if start.status != "diverged"]
        ends[estimator] = [Setting("binary", space.augmentation, s.end) for s in lasting]
        best[estimator] = Setting("binary", space.augmentation, descent.hyper)
        said[estimator] = [start.status for start in descent.starts]
    count = max(2, round(budget(plan, "unrolled") / config.steps))
    drawn = random_settings(space, count, seed)
    twins = []
    if space.augmentation in HARD:
        twins = [hard_twin(s) for s in (default, best.get("unrolled", default))]
    settings = {s.key: s for s in (default, *drawn, *sum(ends.values(), []), *twins)}
    pool = trained(problem, list(settings.values()), seed, config, record)
    halved = trained(
        problem, random_settings(space, WIDER * count, seed), seed, config, record, "halving"
    )
    losses = rules.losses(pool, rules.DEFAULT)

    def by_rule(some: list[Setting]) -> Setting:
        return min(some, key=lambda s: losses[s.key])

    picks = {"default": default, "random search": by_rule(drawn)}
    for estimator, settings_of in ends.items():
        name = {"unrolled": "second order", "first_order": "first order"}[estimator]
        picks[name] = best.get(estimator, default)
        picks[f"{name}, by the rule"] = by_rule([default, *settings_of])
    if twins:
        picks["hard kernel, default"], picks["hard kernel, tuned"] = twins
    anomalous = np.asarray(truth.open("worth").anomalous)

    def auroc(pool: Pool, setting: Setting) -> float:
        """Of the setting's one member, whether it learned anything or not."""
        scores = pool.own_scores()[0][pool.rows(setting)[0]]
        return float(ranks.auroc(scores[anomalous == 0], scores[anomalous == 1]))

    out = {
        name: {
            "auroc": auroc(pool, s),
            "hyper": s.hyper,
            "learned": bool(np.isfinite(losses[s.key])),
        }
        for name, s in picks.items()
    }
    kept = rules.losses(halved, rules.DEFAULT)
    survivor = min(halved.settings, key=lambda s: kept[s.key])
    out["halving"] = {
        "auroc": auroc(halved, survivor),
        "hyper": survivor.hyper,
        "learned": bool(np.isfinite(kept[survivor.key])),
    }
    out["random, mean"] = {"auroc": float(np.mean([auroc(pool, s) for s in drawn]))}
    out["random, best by labels"] = {"auroc": max(auroc(pool, s) for s in drawn)}
    return {"picks": out, "seconds": seconds, "said": said, "count": count}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half of a 95 % interval."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(values.mean()), float(half)


def summarise(rows: list[dict[str, Any]]) -> None:
    for space in dict.fromkeys(row["space"] for row in rows):
        some = [row for row in rows if row["space"] == space]
        tasks = list(dict.fromkeys(row["task"] for row in some))
        names = [name for name in some[0]["picks"]]
        table = []
        for name in names:
            line: list[object] = [name]
            for task in tasks:
                line.append(
                    float(np.mean([r["picks"][name]["auroc"] for r in some if r["task"] == task]))
                )
            values = np.array([r["picks"][name]["auroc"] for r in some])
            for other in ("default", "random search", "halving"):
                base = np.array([r["picks"][other]["auroc"] for r in some])
                mean, half = interval(values - base)
                line.append("" if name == other else f"{mean:+.3f} ± {half:.3f}")
            line[len(tasks) + 1 : len(tasks) + 1] = [float(values.mean())]
            table.append(line)
        print(
            f"\n{space} hyperparameters ({SPACES[space][0]}), {len(some)} runs, AUROC; random "
            f"search and halving of {some[0]['count']} and {WIDER * some[0]['count']} settings"
        )
        header = ["", *tasks, "mean", "- default", "- random search", "- halving"]
        print(render(header, table))
        for estimator in COST:
            spent = [r["seconds"][estimator] for r in some if estimator in r["seconds"]]
            failed = sum(isinstance(r["said"][estimator], str) for r in some)
            states = [
                s
                for r in some
                if not isinstance(r["said"][estimator], str)
                for s in r["said"][estimator]
            ]
            counts = {s: states.count(s) for s in sorted(set(states))}
            print(f"{estimator}: {np.mean(spent):.0f} s a tuning, starts {counts}, {failed} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="tasks", choices=list(TASKS))
    parser.add_argument("--spaces", nargs="*", help="of them", choices=list(SPACES))
    parser.add_argument("--report", action="store_true", help="only print what is there")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    plan, config, seeds = PLAN, program.Config(STEPS), SEEDS
    tasks, spaces = options.only or list(TASKS), options.spaces or list(SPACES)
    if options.smoke:
        plan = plan._replace(outer_steps=2, horizon=2, warm_up=4, batch=8)
        config, seeds, tasks, spaces = program.Config(9, 8), (0,), ["planted"], ["1"]
    rows = []
    for task in tasks:
        source, given = SMOKE if options.smoke else TASKS[task]
        problem, truth = load(source, **given)
        for name in spaces:
            augmentation, tuned = SPACES[name]
            space = tuning.make_space(augmentation, problem.shape, tuned)
            for seed in seeds:
                path = options.out / f"{task}-{name}-{seed}.json"
                if options.report and not path.is_file():
                    continue
                if not path.is_file():
                    began = time.perf_counter()
                    made = replicate(
                        problem, truth, space, seed, plan, config, Record(options.out / "record")
                    )
                    made |= {"task": task, "space": name, "seed": seed}
                    write_whole(path, json.dumps(made, indent=1).encode())
                    print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)
                rows.append(json.loads(path.read_text()))
    summarise(rows)


if __name__ == "__main__":
    in_one_line(main)
