"""Does descent find the level of the anomalies that were planted in a series?

TSAP's six types (arXiv 2404.02865), planted at a known level in a quarter of the windows of the
embedded series; the sign of the level is known, length and place are drawn. Before anything is
tuned the curvature of the outer loss says whether the level can be found at all: trained from
scratch with the level moved a quarter of its range either way from the truth, the loss has to rise
by more than twice its standard error over three seeds on both sides. Then ten starts, spread over
the range, descend it: by unrolled differentiation, and to first order, which is what the published
loop does (it makes the inner pseudo-anomalies without a gradient). A run has found the level within
15 % of it. Prints, by type and outer loss, how many runs found it, how many starts stood there, and
the median end.

The outer losses: the pairwise-normalised distance of ST-SSAD with a Sinkhorn divergence in its
place, as TSAP has it (`sinkhorn`), and a smooth AUROC of the target against held-out normals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.values import typical
from ad_jax.report.figures import charts
from ad_jax.selection import tuning
from ad_jax.selection.tuning import losses
from ad_jax.train.setting import Config
from experiments.result import Cell, Panels, Result, Table
from experiments.studies.recovery import findable
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
WITHIN = 0.15
SEEDS = (0, 1, 2)  # of the curvature; descents have the first
PLAN = tuning.Plan(outer_steps=80, warm_up=200)
CONFIG = Config(backbone="temporal", width=8)


class Setup(NamedTuple):
    """What is descended."""

    space: tuning.TunedSpace
    plan: tuning.Plan
    config: Config


def make(kind: str, outer: str, estimator: str, options: Options) -> list[Row]:
    """A type: curvature, then descents; a row per start."""
    level = LEVELS[kind]
    text = f"planted:{kind},base=series,share=0.25,hyper=level:{level};level_spread:1;flip:0"
    problem, _ = loaded(text + (",limit=80" if options.smoke else ""))
    plan = PLAN._replace(estimator=estimator, outer=tuple(sorted(losses.parse(outer).items())))
    config, seeds = CONFIG, SEEDS
    if options.smoke:
        plan, seeds = small_plan(plan), SEEDS[:1]
    fixed = {"flip": 0.0, "level_spread": 1.0}
    space = tuning.make_space(kind, problem.shape, ["level"], fixed=fixed)
    declared = findable(problem, space, {"level": level}, plan, config, seeds)["level"]
    shares = (np.arange(2 if options.smoke else STARTS) + 0.5) / STARTS
    starts = [{"level": space.free["level"].at(float(share))} for share in shares]
    job = tuning.make_job(problem, space, starts, plan, SEEDS[0], config)
    descent = tuning.descend(job, record=options.record())
    return [
        {
            "kind": kind,
            "outer": outer,
            "estimator": estimator,
            "findable": declared,
            "truth": level,
            "start": typical(one.start["level"]),
            "end": typical(one.end["level"]),
            "status": one.status,
        }
        for one in descent.starts
    ]


def near(value: float, truth: float) -> bool:
    return abs(value - truth) <= WITHIN * abs(truth)


def table(rows: Sequence[Row]) -> Result:
    cases = list(dict.fromkeys((r["kind"], r["outer"], r["estimator"]) for r in rows))
    lines: list[list[Cell]] = []
    panels: Panels = {}
    for case in cases:
        own = [r for r in rows if (r["kind"], r["outer"], r["estimator"]) == case]
        truth = own[0]["truth"]
        found, before = (sum(near(r[key], truth) for r in own) for key in ("end", "start"))
        away = [abs(r["end"] - truth) / abs(truth) for r in own]
        lines.append(
            [*case, "yes" if own[0]["findable"] else "no", truth, len(own), found, before]
            + [float(np.median([r["end"] for r in own]))]
        )
        values = [Value(f"{i}", "", f"{i}", case, one) for i, one in enumerate(away)]
        panel = panels.setdefault("distance of the end from the truth, as a share of it", {})
        panel.setdefault(case[0], {})[f"{case[1]}, {case[2]}"] = means(values)[case]
    header = ["type", "outer loss", "estimator", "findable", "planted", "runs", "found"]
    return Result(
        [
            f"found: runs that ended within {WITHIN:.0%} of the planted level",
            Table([*header, "starts there", "median end"], lines),
        ],
        lambda path: charts.lines(path, "type", "share", panels),
    )


AXES = {
    "kind": Axis(tuple(LEVELS), ("mean_shift",)),
    "outer": Axis(("held_out_auroc", "sinkhorn"), ("held_out_auroc",)),
    "estimator": Axis(("unrolled", "first_order"), ("unrolled",)),
}
STUDY = grid(AXES, make, table)
