"""What the picks were worth: in words, beside every line to compare with, and over tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.comparison import gain_over_tasks, mean_over_tasks
from ad_jax.report.judged import JudgedRun, groups, over_tasks, survivors
from ad_jax.report.page import Block, Column, Section, Table, field, tabulated
from ad_jax.report.page.content import Cell, number, shown
from ad_jax.report.parts.summary import SEVERAL, first_names

SEEDS = 5  # wanted for a headline figure
TOPS = (1, 3, 5)
ALIKE = 1e-9  # AUROC that differ by no more are equal
ABOUT = {
    "oracle": "the best setting by these very labels",
    "label pick": "for every seed the best setting by labels on the other seeds",
    "ensemble of all": "mean rank over all trained members",
    "expected random": "mean over settings",
    "default setting": "nearest to the catalogue's default; mean over those that tie",
}


def gain(judged: Sequence[JudgedRun]) -> Estimate:
    """Gain over tasks (`evaluate.gain`) with its interval over training sets."""
    aurocs = [task.auroc.value for task in judged]
    return gain_over_tasks([task.across for task in judged], aurocs, groups(judged))


def _below_random(task: JudgedRun) -> bool:
    return task.auroc.value < task.across.expected_random - ALIKE


def _beaten(task: JudgedRun) -> bool:
    """Whether a control that learned nothing is better than the pick."""
    return task.assessment.best_control[1] > task.auroc.value + ALIKE


def words(judged: Sequence[JudgedRun]) -> list[str]:
    """The outcome in plain words."""
    return [_told(task) for task in judged] if len(judged) < SEVERAL else _summed_up(judged)


def _summed_up(judged: Sequence[JudgedRun]) -> list[str]:
    count, sets = len(judged), len(set(groups(judged)))
    pick = over_tasks(judged, lambda t: t.auroc.value)
    random = over_tasks(judged, lambda t: t.across.expected_random)
    oracle = over_tasks(judged, lambda t: t.across.oracle)
    regret = over_tasks(judged, lambda t: t.assessment.regret.value)
    worst = max(judged, key=lambda t: t.assessment.regret.value)
    below = [task.name for task in judged if _below_random(task)]
    lines = [
        f"With labels, over {count} tasks of {sets} training sets: the picks have a mean "
        f"AUROC of {shown(pick)}; a random setting would have {shown(random)} and the best "
        f"setting of each task {shown(oracle)}.",
        f"They gain {shown(gain(judged), 2)} of what the best setting offers over a random one "
        f"(1 = all of it, 0 = no better than chance), and stay {shown(regret)} below it on "
        f"average; the worst is {worst.name}, {number(worst.assessment.regret.value)} below.",
        f"On {len(below)} of {count} tasks the pick is worse than a random setting"
        + (f": {first_names(below)}." if below else "."),
    ]
    halved = sum(task.audit.tried.stopped > 0 for task in judged)
    if halved:
        lines.append(
            f"On {halved} of {count} tasks a search stopped settings early: best, random, "
            "gain and rank there are of the settings that it left."
        )
    better = [
        f"{task.name}: {name} {number(auroc)} against {number(task.auroc.value)}"
        for task in judged
        for name, auroc in [task.assessment.best_control]
        if _beaten(task)
    ]
    if better:
        lines.append(
            f"On {len(better)} of {count} tasks something that learned nothing is better than "
            f"the pick: {first_names(better, '; ')}."
        )
    else:
        lines.append("On no task is a control that learned nothing better than the pick.")
    return lines


def _told(task: JudgedRun) -> str:
    assessment, across, tried = task.assessment, task.across, task.audit.tried
    pick, share = task.audit.pick, 100 * task.audit.share
    control, control_auroc = assessment.best_control
    seeds = len(pick["auroc"])
    few = ", too few for an interval," if math.isnan(task.auroc.low) else ""
    left = f" that the search left of the {tried.settings} it tried" if tried.stopped else ""
    text = (
        f"With labels ({share:.0f} % of the target are anomalies), {task.name}: the pick "
        f"{pick['setting']} has AUROC {shown(task.auroc)} over the "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} that learned{few} and average precision "
        f"{shown(assessment.average_precision)}. It is number {pick['rank']} of "
        f"{pick['settings']} settings{left}; a random one has "
        f"{number(across.expected_random)}, the best {number(across.oracle)}"
    )
    if not math.isnan(assessment.gain):
        text += f", so the pick gains {number(assessment.gain, 2)} of what there was to gain"
    text += ". "
    if _below_random(task):
        text += "It is worse than a random setting. "
    if _beaten(task):
        better = f"{control.capitalize()}, which learned nothing, is better"
        return f"{text}{better}: {number(control_auroc)}."
    return f"{text}The best control that learned nothing, {control}, has {number(control_auroc)}."


def picks(judged: Sequence[JudgedRun]) -> Section:
    """Every task's pick beside its lines, and the figures over tasks."""
    blocks: list[Block] = [*survivors(judged), _picks(judged), _lines(judged), _tops(judged)]
    blocks += _points(judged)
    seeds = min(len(task.task.run.manifest["seeds"]) for task in judged)
    lacking = [f"{seeds} seeds, {SEEDS} are wanted for headline figures"] if seeds < SEEDS else []
    lacking.append(
        "initialisation, order and augmentation have keys of their own but vary together"
    )
    default = any(math.isnan(task.assessment.lines()["default setting"]) for task in judged)
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


def _points(judged: Sequence[JudgedRun]) -> list[Block]:
    """Of series: what the scores of single points are worth."""
    rows: list[list[Cell]] = [
        [task.name, name, *figures]
        for task in judged
        for name, figures in task.audit.points.items()
    ]
    columns = [Column(title) for title in ("task", "scores", "AUROC", "AP", "VUS-PR")]
    note = "a point's score is the mean over the windows that cover it"
    return [Table("Points of series", columns, rows, (), note)] if rows else []


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _picks(judged: Sequence[JudgedRun]) -> Table:
    def learned(task: JudgedRun) -> str:
        return f"{len(task.audit.pick['auroc'])}/{len(task.task.run.manifest['seeds'])}"

    seeds = "that learned something, of all; intervals need three"
    together = "AUROC of the detector: the pick's seeds joined"
    percentile = "share of the other settings that it is at least as good as"
    over_seeds = "of the pick, mean over seeds [95 % interval over seeds]"
    precision = "average precision of the pick [95 % interval over seeds]"
    chance = "share of the target, the chance level of AP"
    paired = "oracle minus pick [95 % interval over seeds, paired]"
    compared = "that it is compared with, itself among them"
    dropped = "settings that a search dropped early; not compared"
    return tabulated(
        "The picks",
        [
            field("task", lambda t: t.name),
            field("pick", lambda t: t.audit.pick["setting"]),
            field("AUROC", lambda t: t.auroc, over_seeds),
            field("std", lambda task: _std(task.audit.pick["auroc"]), "over seeds"),
            field("seeds", learned, seeds),
            field("AP", lambda t: t.assessment.average_precision, precision),
            field("anomalies", lambda t: t.audit.share, chance, 2),
            field("seeds together", lambda t: t.audit.detector["auroc"], together),
            field("regret", lambda t: t.assessment.regret, paired),
            field("gain", lambda t: t.assessment.gain, "(pick − random) / (oracle − random)", 2),
            field("rank", lambda t: t.audit.pick["rank"], "of the pick among settings"),
            field("settings", lambda t: t.audit.pick["settings"], compared),
            field("stopped", lambda t: t.audit.tried.stopped, dropped),
            field("percentile", lambda t: t.assessment.percentile, percentile, 2),
        ],
        judged,
        _foot(judged) if len(judged) > 1 else (),
        "AUROC below 0.5 stands as it is. Intervals in the foot are over training sets.",
    )


def _foot(judged: Sequence[JudgedRun]) -> list[list[Cell]]:
    """The figures of `_picks` over tasks."""
    regrets = np.array([task.assessment.regret.value for task in judged])
    gains = np.array([task.assessment.gain for task in judged])
    below = 100 * float(np.mean([_below_random(task) for task in judged]))
    means: list[Cell] = [
        f"{below:.0f} % of tasks below random",
        over_tasks(judged, lambda t: t.auroc.value),
        *[None, None],
        over_tasks(judged, lambda t: t.assessment.average_precision.value),
        *[None, None],
        over_tasks(judged, lambda t: t.assessment.regret.value),
        gain(judged),
        *[None, None, None],
        over_tasks(judged, lambda t: t.assessment.percentile),
    ]
    before, after = [None] * 7, [None] * 4
    median, lowest = float(np.nanmedian(gains)), float(np.nanmin(gains))
    return [
        ["mean over tasks (gain: of sums)", *means],
        ["median over tasks", *before, float(np.median(regrets)), median, *after],
        ["worst task", *before, float(regrets.max()), lowest, *after],
    ]


def _lines(judged: Sequence[JudgedRun]) -> Table:
    names = list(dict.fromkeys(n for task in judged for n in task.assessment.lines()))
    lines = {
        name: [task.assessment.lines().get(name, math.nan) for task in judged] for name in names
    }
    rows: list[list[Cell]] = [
        [task.name, task.auroc, *(v[i] for v in lines.values()), "yes" if _beaten(task) else "no"]
        for i, task in enumerate(judged)
    ]
    columns = [Column("task"), Column("pick"), *[Column(n, ABOUT.get(n, "")) for n in names]]
    columns.append(Column("a control beats the pick"))
    foot: list[list[Cell]] = []
    if len(judged) > 1:
        means = [mean_over_tasks(values, groups(judged)) for values in lines.values()]
        pick = over_tasks(judged, lambda t: t.auroc.value)
        beaten = sum(_beaten(task) for task in judged)
        foot = [["mean over tasks", pick, *means, f"{beaten} of {len(judged)}"]]
    note = "of the pick [95 % interval over seeds]; in the foot over training sets"
    return Table("AUROC of the picks beside what to compare them with", columns, rows, foot, note)


def _tops(judged: Sequence[JudgedRun]) -> Table:
    """How often the pick is among the best k, and how often chance would be."""
    ranks = [(task.audit.pick["rank"], task.audit.pick["settings"]) for task in judged]
    hits = lambda k: mean_over_tasks([float(rank <= k) for rank, _ in ranks], groups(judged))
    chance = lambda k: float(np.mean([min(k / settings, 1.0) for _, settings in ranks]))
    return tabulated(
        "Top-k hit rate",
        [
            field("the pick is", lambda k: f"among the best {k}"),
            field("share of tasks", hits, digits=2),
            field("by chance", chance, digits=2),
        ],
        TOPS,
    )
