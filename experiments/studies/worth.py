"""What tuning by gradient is worth: against random search, halving and the untuned default.

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

Other ways (`--only ways=density-transport-dsv-late-refine`), tried after these two had lost: the
outer loss by density, transport or calibrated DSV instead of log-odds; a network that is warm
before theta first moves; descent with small steps from what random search picks of half the
settings, where the rule picks of those and the end.

Equal compute means equal plain training steps, a step through which a gradient is taken counted as
COST of them (experiments/benchmarks/hypergradients.py). AUROC is of one trained seed on the whole
target. Opens the labels after everything is trained, and prints differences with 95 % intervals
over seeds and tasks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data import Problem
from ad_jax.pool import Pool
from ad_jax.selection import rules, search, tuning
from ad_jax.train.setting import Setting
from experiments import trainings
from experiments.configs.shelf import TILE
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid

PLANTED = TILE.replace("magnetic_tile", "planted:cutdiff,base=magnetic_tile,share=0.2")
TASKS = {
    "bottle": "mvtec_bottle,size=32",
    "cookie": "cookie,size=32",
    "tile": TILE,
    "planted": f"{PLANTED},hyper=area:0.03;aspect:2;strength:0.6;angle:45",
    "planted, faint": f"{PLANTED},hyper=area:0.03;aspect:2;strength:0.25;angle:45",
}
SMALL = "planted:cutdiff,base=digits,normal=3,share=0.2"
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
STARTS = 2
COST = {"unrolled": 6.0, "first_order": 1.5}  # plain steps per step with a gradient
WIDER = 4  # halving tries so many times the settings of random search
RIVALS = ("default", "random search", "halving")


class Way(NamedTuple):
    """One way to tune: what it changes of the plan, and whether it starts at a random search."""

    plan: dict[str, Any]
    refine: bool = False


DSV = (("calibrated_dsv_uncapped", 1.0),)
WAYS = {
    "second order": Way({}),
    "first order": Way({"estimator": "first_order", "outer": DSV}),
    "density": Way({"outer": (("held_out_density", 1.0),)}),
    "transport": Way({"outer": (("calibrated_sinkhorn", 1.0),)}),
    "dsv": Way({"outer": DSV}),
    "late": Way({"warm_up": 400, "outer_steps": 80}),
    "refine": Way({"rate": 0.05}, refine=True),
}
MAIN = "second order-first order"
OTHERS = "density-transport-dsv-late-refine"


def budget(plan: tuning.Plan) -> float:
    """Plain training steps that tuning costs, its final trainings not counted."""
    return STARTS * (plan.warm_up + COST[plan.estimator] * plan.outer_steps * plan.horizon)


def hard_twin(soft: Setting) -> Setting:
    """The same area and jitter in the kernel with hard edges."""
    name = HARD[soft.augmentation]
    shared = {k: soft.hyper[k] for k in ("area", "area_spread", "aspect_spread", "jitter")}
    return search.setting("binary", name, **shared)


class Tuned(NamedTuple):
    """One way on one task and seed."""

    best: Setting  # the end of lowest outer loss; the default if all starts diverged
    ends: list[Setting]  # of the starts that did not diverge
    rivals: list[Setting]  # that the rule picks among, with the ends
    seconds: float | None  # it took; None of a failure
    said: list[str] | str  # status of every start, or why it failed


class Bench(NamedTuple):
    """What all contenders of one task, space and seed share."""

    problem: Problem
    space: tuning.TunedSpace
    seed: int
    drawn: list[Setting]  # of random search
    options: Options

    def pool(self, settings: Sequence[Setting], how: str = "all") -> Pool:
        config = trainings.tuning_setup(self.options.smoke)[1]
        (pool,) = trainings.swept(
            [self.problem], settings, (self.seed,), config, self.options.record(), how
        ).pools
        return pool

    def tuned(self, name: str) -> Tuned:
        plan, config = trainings.tuning_setup(self.options.smoke)
        default, way, began = trainings.default_setting(self.space), WAYS[name], time.perf_counter()
        starts: Any = STARTS
        rivals = [default]
        if way.refine:
            rivals = self.drawn[: len(self.drawn) // 2]
            found = self.pool(rivals)
            start = trainings.pick(found, found.settings)
            starts = [{one: start.hyper[one] for one in self.space.names}]
        plan = plan._replace(**way.plan)
        try:
            job = tuning.make_job(self.problem, self.space, starts, plan, self.seed, config)
            descent = tuning.descend(job, record=self.options.record())
        except InputError as error:  # all starts diverged: a failure to count, not to hide
            return Tuned(default, [], rivals, None, str(error))
        best = Setting("binary", self.space.augmentation, descent.hyper)
        states = [start.status for start in descent.starts]
        seconds = time.perf_counter() - began
        return Tuned(best, trainings.ends_of(self.space, descent), rivals, seconds, states)


def make(task: str, space: str, seed: int, ways: str, options: Options) -> Row:
    """All contenders with one seed: name -> AUROC, hyper, seconds, and the states of starts."""
    problem, truth = trainings.loaded(SMALL if options.smoke else TASKS[task])
    plan, config = trainings.tuning_setup(options.smoke)
    size = tuning.make_space(SPACES[space][0], problem.shape, SPACES[space][1])
    default, count = trainings.default_setting(size), max(2, round(budget(plan) / config.steps))
    bench = Bench(problem, size, seed, trainings.random_settings(size, count, seed), options)
    tuned = {name: bench.tuned(name) for name in (ways or MAIN).split("-")}
    twins = []
    if size.augmentation in HARD:
        twins = [hard_twin(s) for s in (default, next(iter(tuned.values())).best)]
    ends = [end for one in tuned.values() for end in one.ends]
    pool = bench.pool(list({s.key: s for s in (default, *bench.drawn, *ends, *twins)}.values()))
    halved = bench.pool(trainings.random_settings(size, WIDER * count, seed), "halving")
    picks = {"default": (pool, default), "random search": (pool, trainings.pick(pool, bench.drawn))}
    for name, one in tuned.items():
        picks[name] = pool, one.best
        picks[f"{name}, by the rule"] = pool, trainings.pick(pool, [*one.rivals, *one.ends])
    for name, twin in zip(("hard kernel, default", "hard kernel, tuned"), twins):
        picks[name] = pool, twin
    picks["halving"] = halved, trainings.pick(halved, halved.settings)
    anomalous = np.asarray(truth.open("worth").anomalous)
    losses = {id(one): rules.losses(one, rules.DEFAULT) for one in (pool, halved)}
    out: dict[str, dict[str, Any]] = {
        name: {
            "auroc": trainings.auroc(one, setting, anomalous),
            "hyper": setting.hyper,
            "learned": bool(np.isfinite(losses[id(one)][setting.key])),
        }
        for name, (one, setting) in picks.items()
    }
    at_random = [trainings.auroc(pool, s, anomalous) for s in bench.drawn]
    out["random, mean"] = {"auroc": float(np.mean(at_random))}
    out["random, best by labels"] = {"auroc": max(at_random)}
    return {
        "picks": out,
        "ways": list(tuned),
        "seconds": {name: one.seconds for name, one in tuned.items() if one.seconds is not None},
        "said": {name: one.said for name, one in tuned.items()},
        "count": count,
        "task": task,
        "space": space,
        "seed": seed,
    }


def compared(some: Sequence[Row]) -> Table:
    """AUROC of every contender by task, and differences over seeds and tasks."""
    tasks = list(dict.fromkeys(row["task"] for row in some))
    found = {name: np.array([r["picks"][name]["auroc"] for r in some]) for name in some[0]["picks"]}
    of_task = [np.array([r["task"] == task for r in some]) for task in tasks]
    lines: list[list[Cell]] = []
    for name, values in found.items():
        means = [*(float(values[own].mean()) for own in of_task), float(values.mean())]
        apart = {o: trainings.normal_interval(values - found[o]) for o in RIVALS if o != name}
        lines.append([name, *means, *(apart.get(other, "") for other in RIVALS)])
    header = ["", *tasks, "mean", *(f"- {other}" for other in RIVALS)]
    return Table(header, lines, trainings.signed)


def table(rows: Sequence[Row]) -> Result:
    blocks: list[Table | str] = []
    for space, ways in dict.fromkeys((row["space"], tuple(row["ways"])) for row in rows):
        some = [row for row in rows if row["space"] == space and tuple(row["ways"]) == ways]
        blocks += [
            f"\n{space} hyperparameters ({SPACES[space][0]}), {len(some)} runs, AUROC; random "
            f"search and halving of {some[0]['count']} and {WIDER * some[0]['count']} settings",
            compared(some),
        ]
        for way in ways:
            spent = [r["seconds"][way] for r in some if way in r["seconds"]]
            said = [r["said"][way] for r in some]
            lasting = [one for one in said if not isinstance(one, str)]
            states = trainings.counts([state for one in lasting for state in one])
            took = f"{way}: {np.mean(spent):.0f} s a tuning"
            blocks.append(f"{took}, starts {states}, {len(said) - len(lasting)} failed")
    return Result(blocks)


AXES = {
    "task": Axis(tuple(TASKS), ("planted",)),
    "space": Axis(tuple(SPACES)),
    "seed": Axis((0, 1, 2)),
    "ways": Axis(("",), others=None),
}
FURTHER = f"--only task=planted task=cookie space=4 ways={OTHERS}"
STUDY = grid(AXES, make, table, "{task}-{space}-{seed}-{ways}", tables=("", FURTHER))
