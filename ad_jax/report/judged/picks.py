"""What the picks were worth: in words, beside every line to compare with, and over tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.audit import gain as gain_of
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.report.judged import Judged, groups, survivors
from ad_jax.report.page import Block, Column, Section, Table
from ad_jax.report.page.content import Cell, number, shown
from ad_jax.report.parts.summary import SEVERAL, some

SEEDS = 5  # wanted for a headline figure
TOPS = (1, 3, 5)
ALIKE = 1e-9  # AUROC that differ by no more are equal


_ABOUT = {
    "oracle": "the best setting by these very labels",
    "label pick": "for every seed the best setting by labels on the other seeds",
    "ensemble of all": "mean rank over all trained members",
    "expected random": "mean over settings",
    "default setting": "nearest to the catalogue's default; mean over those that tie",
}


def over_tasks(judged: Sequence[Judged], figure: Callable[[Judged], float]) -> Estimate:
    """Mean over tasks with the 95 % bootstrap interval over training sets; NaN are left out."""
    values = np.array([figure(one) for one in judged], float)
    mean = lambda rows: (
        float(np.nanmean(values[rows])) if np.isfinite(values[rows]).any() else (math.nan)
    )
    return Estimate(mean(list(range(len(judged)))), *over_training_sets(groups(judged), mean))


def gain(judged: Sequence[Judged]) -> Estimate:
    """Gain over tasks (`evaluate.gain`) with its interval over training sets."""
    of = lambda rows: gain_of(
        [judged[i].worth.audit.across for i in rows], [judged[i].worth.auroc.value for i in rows]
    )
    return Estimate(of(range(len(judged))), *over_training_sets(groups(judged), of))


def _below(one: Judged) -> bool:
    return one.worth.auroc.value < one.worth.audit.across.expected_random - ALIKE


def _beaten(one: Judged) -> bool:
    """Whether a control that learned nothing is better than the pick."""
    return one.worth.best_control[1] > one.worth.auroc.value + ALIKE


def words(judged: Sequence[Judged]) -> list[str]:
    """The outcome in plain words."""
    if len(judged) < SEVERAL:
        return [_told(one) for one in judged]
    sets = len(set(groups(judged)))
    regret = over_tasks(judged, lambda one: one.worth.regret.value)
    below, beaten = ([one for one in judged if test(one)] for test in (_below, _beaten))
    worst = max(judged, key=lambda one: one.worth.regret.value)
    random, oracle = (
        shown(over_tasks(judged, lambda one, name=name: getattr(one.worth.audit.across, name)))  # type: ignore[misc]
        for name in ("expected_random", "oracle")
    )
    lines = [
        f"With labels, over {len(judged)} tasks of {sets} training sets: the picks have a mean "
        f"AUROC of {shown(over_tasks(judged, lambda o: o.worth.auroc.value))}; a random setting "
        f"would have {random} and the best setting of each task {oracle}.",
        f"They gain {shown(gain(judged), 2)} of what the best setting offers over a random one "
        f"(1 = all of it, 0 = no better than chance), and stay {shown(regret)} below it on "
        f"average; the worst is {worst.name}, {number(worst.worth.regret.value)} below.",
        f"On {len(below)} of {len(judged)} tasks the pick is worse than a random setting"
        + (f": {some([one.name for one in below])}." if below else "."),
    ]
    halved = sum(one.worth.audit.tried.stopped > 0 for one in judged)
    if halved:
        lines.append(
            f"On {halved} of {len(judged)} tasks a search stopped settings early: best, random, "
            "gain and rank there are of the settings that it left."
        )
    if beaten:
        lines.append(
            f"On {len(beaten)} of {len(judged)} tasks something that learned nothing is better "
            "than the pick: "
            + some(
                [
                    f"{o.name}: {o.worth.best_control[0]} {number(o.worth.best_control[1])} "
                    f"against {number(o.worth.auroc.value)}"
                    for o in beaten
                ],
                "; ",
            )
            + "."
        )
    else:
        lines.append("On no task is a control that learned nothing better than the pick.")
    return lines


def _told(one: Judged) -> str:
    worth, across = one.worth, one.worth.audit.across
    pick, share = worth.audit.pick, 100 * worth.audit.share
    name, control = worth.best_control
    seeds = len(pick["auroc"])
    few = "" if worth.auroc.low == worth.auroc.low else ", too few for an interval,"
    tried = worth.audit.tried
    left = f" that the search left of the {tried.settings} it tried" if tried.stopped else ""
    told = (
        f"With labels ({share:.0f} % of the target are anomalies), {one.name}: the pick "
        f"{pick['setting']} has AUROC {shown(worth.auroc)} over the "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} that learned{few} and average precision "
        f"{shown(worth.average_precision)}. It is number {pick['rank']} of "
        f"{pick['settings']} settings{left}; a random one has "
        f"{number(across.expected_random)}, the best {number(across.oracle)}"
    )
    if worth.gain == worth.gain:
        told += f", so the pick gains {number(worth.gain, 2)} of what there was to gain"
    told += ". "
    if _below(one):
        told += "It is worse than a random setting. "
    told += (
        f"{name.capitalize()}, which learned nothing, is better: {number(control)}."
        if _beaten(one)
        else f"The best control that learned nothing, {name}, has {number(control)}."
    )
    return told


def picks(judged: Sequence[Judged]) -> Section:
    """Every task's pick beside its lines, and the figures over tasks."""
    blocks: list[Block] = [*survivors(judged), _beside(judged), _lines(judged), _tops(judged)]
    seeds = min(len(one.task.run.manifest["seeds"]) for one in judged)
    lacking = []
    if seeds < SEEDS:
        lacking.append(f"{seeds} seeds, {SEEDS} are wanted for headline figures")
    lacking.append(
        "initialisation, order and augmentation have keys of their own but vary together"
    )
    default = any(math.isnan(one.worth.lines()["default setting"]) for one in judged)
    few = len(set(groups(judged))) < 3
    covers = {
        1: "the default setting of some families is not in the pool" if default else "",
        2: "no frozen pretrained encoder stands in the pool",
        3: "no interval: fewer than three training sets" if few else "",
        4: "",
        6: "",
        7: "; ".join(lacking),
    }
    return Section("picks", "What the picks were worth", blocks, covers)


def _beside(judged: Sequence[Judged]) -> Table:
    columns = [
        Column("task"),
        Column("pick"),
        Column("AUROC", "of the pick, mean over seeds [95 % interval over seeds]"),
        Column("std", "over seeds"),
        Column("seeds", "that learned something, of all; intervals need three"),
        Column("AP", "average precision of the pick [95 % interval over seeds]"),
        Column("anomalies", "share of the target, the chance level of AP", 2),
        Column("seeds together", "AUROC of the detector: the pick's seeds joined"),
        Column("regret", "oracle minus pick [95 % interval over seeds, paired]"),
        Column("gain", "(pick − random) / (oracle − random)", 2),
        Column("rank", "of the pick among settings"),
        Column("settings", "that it is compared with, itself among them"),
        Column("stopped", "settings that a search dropped early; not compared"),
        Column("percentile", "share of the other settings that it is at least as good as", 2),
    ]
    rows: list[list[Cell]] = []
    for one in judged:
        worth, pick = one.worth, one.worth.audit.pick
        spread = float(np.std(pick["auroc"], ddof=1)) if len(pick["auroc"]) > 1 else math.nan
        rows.append(
            [
                one.name,
                pick["setting"],
                worth.auroc,
                spread,
                f"{len(pick['auroc'])}/{len(one.task.run.manifest['seeds'])}",
                worth.average_precision,
                worth.audit.share,
                worth.audit.detector["auroc"],
                worth.regret,
                worth.gain,
                pick["rank"],
                pick["settings"],
                worth.audit.tried.stopped,
                worth.percentile,
            ]
        )
    foot: list[list[Cell]] = []
    if len(judged) > 1:
        values = np.array([one.worth.regret.value for one in judged])
        gains = np.array([one.worth.gain for one in judged])
        below = float(np.mean([_below(one) for one in judged]))
        mean = over_tasks(judged, lambda one: one.worth.auroc.value)
        precision = over_tasks(judged, lambda one: one.worth.average_precision.value)
        regret = over_tasks(judged, lambda one: one.worth.regret.value)
        place = over_tasks(judged, lambda one: one.worth.percentile)
        said = f"{100 * below:.0f} % of tasks below random"
        none: list[Cell] = [None] * 6
        means: list[Cell] = [said, mean, None, None, precision, None, None, regret, gain(judged)]
        middle, lowest = float(np.nanmedian(gains)), float(np.nanmin(gains))
        foot = [
            ["mean over tasks (gain: of sums)", *means, None, None, None, place],
            ["median over tasks", None, *none, float(np.median(values)), middle, *none[:4]],
            ["worst task", None, *none, float(values.max()), lowest, *none[:4]],
        ]
    note = "AUROC below 0.5 stands as it is. Intervals in the foot are over training sets."
    return Table("The picks", columns, rows, foot, note)


def _lines(judged: Sequence[Judged]) -> Table:
    names = list(dict.fromkeys(n for one in judged for n in one.worth.lines()))
    rows: list[list[Cell]] = []
    for one in judged:
        lines = one.worth.lines()
        values = [lines.get(n, math.nan) for n in names]
        rows.append([one.name, one.worth.auroc, *values, "yes" if _beaten(one) else "no"])
    columns = [Column("task"), Column("pick"), *[Column(n, _ABOUT.get(n, "")) for n in names]]
    foot: list[list[Cell]] = []
    if len(judged) > 1:
        means = [
            over_tasks(judged, lambda one, n=n: one.worth.lines().get(n, math.nan))  # type: ignore[misc]
            for n in names
        ]
        whole = over_tasks(judged, lambda one: one.worth.auroc.value)
        beaten = sum(_beaten(one) for one in judged)
        foot = [["mean over tasks", whole, *means, f"{beaten} of {len(judged)}"]]
    columns.append(Column("a control beats the pick"))
    note = "of the pick [95 % interval over seeds]; in the foot over training sets"
    return Table("AUROC of the picks beside what to compare them with", columns, rows, foot, note)


def _tops(judged: Sequence[Judged]) -> Table:
    """How often the pick is among the best k, and how often chance would be."""
    rows: list[list[Cell]] = []
    for k in TOPS:
        hits = over_tasks(judged, lambda one, k=k: float(one.worth.audit.pick["rank"] <= k))  # type: ignore[misc]
        chance = float(np.mean([min(k / o.worth.audit.pick["settings"], 1.0) for o in judged]))
        rows.append([f"among the best {k}", hits, chance])
    columns = [Column("the pick is"), Column("share of tasks", "", 2), Column("by chance", "", 2)]
    return Table("Top-k hit rate", columns, rows)
