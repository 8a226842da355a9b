"""What tuning by gradient is worth: against random search, halving and the untuned default.

    python experiments/studies/worth.py --out runs/worth                 # everything; resumable
    python experiments/studies/worth.py --out runs/worth --only cookie   # one task
    python experiments/studies/worth.py --out runs/worth --only planted cookie --spaces 4 \
        --ways density transport dsv late refine                         # other ways to tune
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
  what the rule picks of the default and both ends. First order lowers calibrated DSV: the default
  loss has no gradient of first order but the gate's, and rows of the committed results that were
  made before this was seen are called "gate alone" (their tunings moved where the network could not
  tell the augmentation, and else stayed where they started).

Other ways (`--ways`), tried after these two had lost: the outer loss by density, transport or
calibrated DSV instead of log-odds; a network that is warm before theta first moves; descent with
small steps from what random search picks of half the settings, where the rule picks of those and
the end.

Equal compute means equal plain training steps, a step through which a gradient is taken counted as
COST of them (experiments/benchmarks/hypergradients.py). AUROC is of one trained seed on the whole
target. Opens the labels after everything is trained, and prints differences with 95 % intervals
over seeds and tasks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax import data
from ad_jax.base import ranks
from ad_jax.base.errors import InputError, in_one_line
from ad_jax.base.json_text import json_text
from ad_jax.data import load
from ad_jax.pool import Pool, program
from ad_jax.pool.sweep import Sweep
from ad_jax.report.table import render
from ad_jax.selection import rules, search, tuning
from ad_jax.selection.tuning.descent import default_of
from ad_jax.selection.tuning.space import theta_at, to_hyper
from ad_jax.store import Record, keep_compilations, write_whole
from ad_jax.train.setting import Setting

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


class Way(NamedTuple):
    """One way to tune: what it changes of the plan, and whether it starts at a random search."""

    plan: dict[str, Any]
    refine: bool = False


WAYS = {
    "second order": Way({}),
    "first order": Way({"estimator": "first_order", "outer": (("calibrated_dsv_uncapped", 1.0),)}),
    "density": Way({"outer": (("held_out_density", 1.0),)}),
    "transport": Way({"outer": (("calibrated_sinkhorn", 1.0),)}),
    "dsv": Way({"outer": (("calibrated_dsv_uncapped", 1.0),)}),
    "late": Way({"warm_up": 400, "outer_steps": 80}),
    "refine": Way({"rate": 0.05}, refine=True),
}
MAIN = ["second order", "first order"]
WIDER = 4  # halving tries so many times the settings of random search


def random_settings(space: tuning.TunedSpace, count: int, seed: int) -> list[Setting]:
    """Uniform over the ranges, each on its own scale; weights uniform too."""
    generator = np.random.default_rng([seed, count])
    shares = generator.uniform(0.02, 0.98, (count, space.size))
    return [
        Setting("binary", space.augmentation, to_hyper(space, theta_at(space, share)))
        for share in shares
    ]


def budget(plan: tuning.Plan) -> float:
    """Plain training steps that tuning costs, its final trainings not counted."""
    return STARTS * (plan.warm_up + COST[plan.estimator] * plan.outer_steps * plan.horizon)


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


def pick(pool: Pool, some: Sequence[Setting]) -> Setting:
    """What the default rule picks of some settings of a pool."""
    losses = rules.losses(pool, rules.DEFAULT)
    return min(some, key=lambda s: losses[s.key])


def replicate(
    problem: data.Problem,
    truth: data.Truth,
    space: tuning.TunedSpace,
    seed: int,
    ways: list[str],
    plan: tuning.Plan,
    config: program.Config,
    record: Record,
) -> dict[str, Any]:
    """All contenders with one seed: name -> AUROC, hyper, seconds, and the states of starts."""
    default = Setting("binary", space.augmentation, default_of(space))
    count = max(2, round(budget(plan) / config.steps))
    drawn = random_settings(space, count, seed)
    ends: dict[str, list[Setting]] = {}
    best: dict[str, Setting] = {}
    seconds: dict[str, float] = {}
    said: dict[str, Any] = {}
    for way in ways:
        began = time.perf_counter()
        starts: Any = STARTS
        if WAYS[way].refine:
            found = trained(problem, drawn[: count // 2], seed, config, record)
            start = pick(found, found.settings)
            starts = [{name: start.hyper[name] for name in space.names}]
        try:
            descent = tuning.descend(
                problem,
                space,
                starts,
                plan._replace(**WAYS[way].plan),
                seed,
                config,
                record=record,
            )
        except InputError as error:  # all starts diverged: a failure to count, not to hide
            said[way] = str(error)
            ends[way] = []
            continue
        seconds[way] = time.perf_counter() - began
        lasting = [start for start in descent.starts if start.status != "diverged"]
        ends[way] = [Setting("binary", space.augmentation, s.end) for s in lasting]
        best[way] = Setting("binary", space.augmentation, descent.hyper)
        said[way] = [start.status for start in descent.starts]
    twins = []
    if space.augmentation in HARD:
        twins = [hard_twin(s) for s in (default, best.get(ways[0], default))]
    settings = {s.key: s for s in (default, *drawn, *sum(ends.values(), []), *twins)}
    pool = trained(problem, list(settings.values()), seed, config, record)
    halved = trained(
        problem, random_settings(space, WIDER * count, seed), seed, config, record, "halving"
    )
    losses = rules.losses(pool, rules.DEFAULT)
    picks = {"default": default, "random search": pick(pool, drawn)}
    for way, settings_of in ends.items():
        rivals = drawn[: count // 2] if WAYS[way].refine else [default]
        picks[way] = best.get(way, default)
        picks[f"{way}, by the rule"] = pick(pool, [*rivals, *settings_of])
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
    survivor, kept = pick(halved, halved.settings), rules.losses(halved, rules.DEFAULT)
    out["halving"] = {
        "auroc": auroc(halved, survivor),
        "hyper": survivor.hyper,
        "learned": bool(np.isfinite(kept[survivor.key])),
    }
    out["random, mean"] = {"auroc": float(np.mean([auroc(pool, s) for s in drawn]))}
    out["random, best by labels"] = {"auroc": max(auroc(pool, s) for s in drawn)}
    return {"picks": out, "ways": ways, "seconds": seconds, "said": said, "count": count}


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half of a 95 % interval."""
    half = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(values.mean()), float(half)


def summarise(rows: list[dict[str, Any]]) -> None:
    for space, ways in dict.fromkeys((row["space"], tuple(row["ways"])) for row in rows):
        some = [row for row in rows if row["space"] == space and tuple(row["ways"]) == ways]
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
        for way in ways:
            spent = [r["seconds"][way] for r in some if way in r["seconds"]]
            said = [r["said"][way] for r in some]
            states = [state for one in said if not isinstance(one, str) for state in one]
            counts = {s: states.count(s) for s in sorted(set(states))}
            failed = sum(isinstance(one, str) for one in said)
            print(f"{way}: {np.mean(spent):.0f} s a tuning, starts {counts}, {failed} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="tasks", choices=list(TASKS))
    parser.add_argument("--spaces", nargs="*", help="of them", choices=list(SPACES))
    parser.add_argument("--ways", nargs="*", help="to tune", choices=list(WAYS), default=MAIN)
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
                stem = [task, name, str(seed), *([] if options.ways == MAIN else options.ways)]
                path = options.out / f"{'-'.join(stem)}.json"
                if options.report and not path.is_file():
                    continue
                if not path.is_file():
                    began = time.perf_counter()
                    made = replicate(
                        *(problem, truth, space, seed, options.ways, plan, config),
                        Record(options.out / "record"),
                    )
                    made |= {"task": task, "space": name, "seed": seed}
                    write_whole(path, json_text(made, indent=1).encode())
                    print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)
                rows.append(json.loads(path.read_text()))
    summarise(rows)


if __name__ == "__main__":
    in_one_line(main)
