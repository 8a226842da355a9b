"""Does descent find the level of the anomalies that were planted in a series?

TSAP's six types (arXiv 2404.02865), planted at a known level in half of the windows of the embedded
series; the direction of the change is known, length and place are drawn. Before anything is tuned
the outer loss itself says whether it identifies the level: of networks trained from scratch at nine
levels, from .4 to 1.6 of the truth, three seeds each, its mean has to be lowest within 15 % of the
truth. Then ten starts, spread over that side of the range, descend it: by unrolled differentiation,
and to first order, which is what the published loop does (it makes the inner pseudo-anomalies
without a gradient). A run has found the level within 15 % of it. Prints, by type and outer loss,
how many runs found it, how many starts stood there, and the median end.

The outer losses: a Sinkhorn divergence of embeddings normalised by their pairwise distances, as
TSAP has it (`sinkhorn`), and the same debiased by independent halves of the samples
(`sinkhorn_of_halves`). DSV less its value on held-out normals (`outer=calibrated_dsv_uncapped`), a
smooth AUROC of the target against held-out normals (`outer=held_out_auroc`) and a quarter of
anomalies (`share=0.25`) if asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from ad_jax.base.values import typical
from ad_jax.data import Problem
from ad_jax.report.figures import charts
from ad_jax.selection import tuning
from ad_jax.selection.tuning import losses
from ad_jax.selection.tuning.space import unconstrain
from ad_jax.train.setting import Config
from experiments.result import Cell, Panels, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.tasks import Value, means
from experiments.trainings import loaded, small_plan

LEVELS = {  # type -> the level that was planted
    "platform": 2.0,
    "mean_shift": 2.0,
    "amplitude": 3.0,
    "trend": 3.0,
    "extremum": 6.0,
    "frequency": 2.0,
}
STARTS = 10
LOOKED_AT = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6)  # of the truth
WITHIN = 0.15
SEEDS: tuple[int, ...] = (0, 1, 2)  # of the curvature; descents have the first
PLAN = tuning.Plan(outer_steps=80, warm_up=200, batch=128)
CONFIG = Config(backbone="temporal", width=8)


def lowest_at(
    problem: Problem,
    space: tuning.TunedSpace,
    level: float,
    plan: tuning.Plan,
    config: Config,
    seeds: Sequence[int],
) -> float:
    """At which share of the truth the outer loss of a network trained there is lowest."""
    thetas = np.stack([unconstrain(space, {"level": level * share}) for share in LOOKED_AT])
    longer = plan._replace(warm_up=2 * plan.warm_up)
    found = tuning.profile(problem, space, longer, thetas, tuple(seeds), config)
    return LOOKED_AT[int(np.argmin(found.mean(1)))]


@functools.cache
def planted(
    kind: str, share: float, outer: str, smoke: bool
) -> tuple[Problem, tuning.TunedSpace, tuning.Plan, float]:
    """A type's problem, what is tuned and how, and `lowest_at`: alike for all estimators."""
    level = LEVELS[kind]
    text = f"planted:{kind},base=series,share={share},hyper=level:{level};level_spread:1;flip:0"
    problem, _ = loaded(text + (",limit=80" if smoke else ""))
    plan, seeds = PLAN._replace(outer=tuple(sorted(losses.parse(outer).items()))), SEEDS
    if smoke:
        plan, seeds = small_plan(plan), seeds[:1]
    fixed = {"flip": 0.0, "level_spread": 1.0}
    space = tuning.make_space(kind, problem.shape, ["level"], fixed=fixed)
    return problem, space, plan, lowest_at(problem, space, level, plan, CONFIG, seeds)


def make(kind: str, share: float, outer: str, estimator: str, options: Options) -> list[Row]:
    """A type: curvature, then descents; a row per start."""
    problem, space, plan, lowest = planted(kind, share, outer, options.smoke)
    plan = plan._replace(estimator=estimator)
    shares = (np.arange(2 if options.smoke else STARTS) + 0.5) / STARTS
    one = space.free["level"]
    positive = one._replace(low=1.0 if one.scale == "log" else 0.0)  # the direction is known
    starts = [{"level": positive.at(float(share))} for share in shares]
    job = tuning.make_job(problem, space, starts, plan, SEEDS[0], CONFIG)
    descent = tuning.descend(job, record=options.record())
    return [
        {
            "kind": kind,
            "share": share,
            "outer": outer,
            "estimator": estimator,
            "lowest": lowest,
            "truth": LEVELS[kind],
            "start": typical(one.start["level"]),
            "end": typical(one.end["level"]),
            "status": one.status,
        }
        for one in descent.starts
    ]


def near(value: float, truth: float) -> bool:
    return abs(value - truth) <= WITHIN * abs(truth)


def case_of(row: Row) -> tuple[str, ...]:
    """What a descent has in common with the others from its starts."""
    return row["kind"], f"{row['share']:.0%}", row["outer"], row["estimator"]


def table(rows: Sequence[Row]) -> Result:
    cases = list(dict.fromkeys(case_of(r) for r in rows))
    lines: list[list[Cell]] = []
    panels: Panels = {}
    for case in cases:
        own = [r for r in rows if case_of(r) == case]
        truth = own[0]["truth"]
        found, before = (sum(near(r[key], truth) for r in own) for key in ("end", "start"))
        away = [abs(r["end"] - truth) / abs(truth) for r in own]
        lines.append(
            [
                *case,
                "yes" if near(own[0]["lowest"] * truth, truth) else "no",
            ]
            + [truth, len(own), found, before]
            + [float(np.median([r["end"] for r in own]))]
        )
        values = [Value(f"{i}", "", f"{i}", case, one) for i, one in enumerate(away)]
        title = f"distance of the end from the truth, as a share of it; {case[1]} anomalous"
        panel = panels.setdefault(title, {}).setdefault(case[0], {})
        panel[f"{case[2]}, {case[3]}"] = means(values)[case]
    header = [
        "type",
        "anomalous",
        "outer loss",
        "estimator",
        "identified",
        "planted",
        "runs",
        "found",
    ]
    return Result(
        [
            f"found: runs that ended within {WITHIN:.0%} of the planted level",
            Table([*header, "starts there", "median end"], lines),
        ],
        lambda path: charts.lines(path, "type", "share", panels),
    )


AXES = {
    "kind": Axis(tuple(LEVELS), ("mean_shift",)),
    "share": Axis((0.5,), (0.5,), (0.25,)),
    "outer": Axis(
        ("sinkhorn", "sinkhorn_of_halves"),
        ("sinkhorn",),
        ("calibrated_dsv_uncapped", "held_out_auroc"),
    ),
    "estimator": Axis(("unrolled", "first_order"), ("unrolled",)),
}
STUDY = grid(AXES, make, table)
