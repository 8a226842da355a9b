"""Audits of single runs, and of several, as sections for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.over_tasks import CurveOverTasks, SnoopingSummary, Summary
from ad_jax.evaluate.snooping import Snooping
from ad_jax.report.page import Block, Column, Prose, Section, Table
from ad_jax.report.page.content import Cell
from ad_jax.report.page.terminal import with_interval

SIDES = ("apparent", "honest", "inflation")
LINES = ("apparent", "honest", "relabelled", "reseeded")


def _table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    return Table("", [Column(title) for title in head], rows)


def audit(task: str, result: Audit, opened_before: int) -> list[Section]:
    """One task: the pick beside everything it should be compared with, then every rule's pick.

    Args:
      task: its name.
      result: the audit.
      opened_before: how often the truth had been opened before this audit.
    """
    pick, tried, left = result.pick, result.tried, "*" if result.of_survivors else ""
    scopes = {"across families": result.across, **result.within}
    rules = [
        [rule, *[f"{s.picks[rule]:.3f} ({s.spearman[rule]:+.2f})" for s in scopes.values()]]
        for rule in result.across.picks
    ]
    title = (
        f"{task}: {100 * result.share:.1f} % anomalies, {result.members} trainings, "
        f"{result.untrained} of them learned nothing"
    )
    rank = f"rank of the pick{left}: {pick['rank']} of {pick['settings']}"
    notes: list[Block] = []
    if left:
        title += f", {result.stopped} were stopped early"
        rank += f" ({tried.settings} tried)"
        notes = [Prose([f"* {tried.note}"])]
    points = [_points(result)] if result.points else []
    *tables, last = _snooping(result.snooping)
    when, reason = result.log[-1]
    times = opened_before + len(result.log)
    opened = Prose([f"labels opened {times} times, last: {reason} at {when}"])
    return [
        Section("pick", title, [*notes, _beside_the_pick(result, left), Prose([rank])]),
        Section(
            "rules",
            f"AUROC of every rule's pick{left} (Spearman of its loss with AUROC)",
            [_table(["rule", *scopes], rules)],
        ),
        *points,
        *tables,
        Section(last.key, last.title, [*last.blocks, opened]),
    ]


def _points(result: Audit) -> Section:
    """Windows of a series judged point by point."""
    rows: list[list[Cell]] = [[name, *figures] for name, figures in result.points.items()]
    return Section(
        "points",
        "Points of the series, scored by the mean of the windows that cover them",
        [_table(["", "AUROC", "AP", "VUS-PR"], rows)],
    )


def _beside_the_pick(result: Audit, left: str) -> Table:
    """AUROC of the pick and of all it is compared with; `left` marks what is of survivors."""
    pick, across = result.pick, result.across
    auroc = np.array(pick["auroc"])
    half = 1.96 * auroc.std(ddof=1) / np.sqrt(len(auroc)) if len(auroc) > 1 else float("nan")
    rows: list[list[Cell]] = [
        [f"pick by {pick['rule']}: {pick['setting']}", float(auroc.mean()), f"± {half:.3f}"],
        ["  its seeds together (the detector)", result.detector["auroc"], ""],
        ["  its average precision", result.detector["average_precision"], ""],
        [f"oracle{left}", across.oracle, ""],
        [f"label pick (labels on the other seeds){left}", across.label_pick, ""],
        [f"expected random{left}", across.expected_random, ""],
        [f"worst{left}", across.worst, ""],
    ]
    for name, quality in result.ensembles.items():
        precision = f"AP {quality['average_precision']:.3f}"
        rows.append([f"ensemble of {name}{left}", quality["auroc"], precision])
    rows += [[f"control: {name}", value, ""] for name, value in result.baselines.items()]
    rows += [[f"{name}{left}", value, ""] for name, value in across.constants.items()]
    return _table(["", "AUROC", ""], rows)


def _snooping(snooping: Snooping) -> list[Section]:
    """The snooping audit: three small tables and the split-half check."""
    halves, curve = snooping.halves, snooping.curve
    kind = "stratified" if snooping.stratified else "not stratified"
    title = (
        f"Snooping{'*' if snooping.stopped else ''}: AUROC that labels would have bought (honest: "
        "chosen on half of the\n"
        f"target, reported on the other; {halves.splits} splits, {kind}, both ways, "
        f"seed {snooping.seed})"
    )
    stages = [f"{s.name} ({s.choices})" if s.choices else s.name for s in snooping.stages]
    by_stage = [[side, *(getattr(s, side) for s in snooping.stages)] for side in SIDES]
    best_of_k = [[line, *getattr(curve, line)] for line in LINES]
    thresholds = [
        [f"{s.metric}, {'by labels' if s.choices else s.name}"] + [getattr(s, x) for x in SIDES]
        for s in snooping.thresholds
    ]
    lines = [
        "best setting by one half [95 % of the splits]: "
        f"{with_interval(halves.own)} on it, {with_interval(halves.other)} on the other half,",
        f"inflation {with_interval(halves.inflation)}; the rule's pick there "
        f"{with_interval(halves.rule)}, labels honestly buy {with_interval(halves.bought)} more",
        *snooping.notes,
    ]
    return [
        Section("stages", title, [_table(["labels choose in turn", *stages], by_stage)]),
        Section("best", "", [_table(["best of k settings", *map(str, curve.tried)], best_of_k)]),
        Section("thresholds", "", [_table(["threshold", *SIDES], thresholds)]),
        Section("halves", "", [Prose(lines)]),
    ]


def summary(name: str, results: Summary) -> list[Section]:
    """Several tasks: gain of every rule and constant, across families and within each."""
    head = ["rule", "gain", "2.5 %", "97.5 %", "below random", "AUROC", "Spearman"]
    title = (
        f"{name}: {results.tasks} tasks of {results.training_sets} training sets, "
        f"{results.trainings} trainings (tasks that share a training set are not independent)"
    )
    sections = [Section("tasks", title, [])]
    for scope, rules in results.scopes.items():
        rows: list[list[Cell]] = [
            [rule, *figures.gain, figures.below_random, figures.auroc, figures.spearman]
            for rule, figures in sorted(rules.items(), key=lambda item: -item[1].gain.value)
        ]
        within = scope if scope == "across" else f"within {scope}"
        sections.append(Section(scope, f"Gain {within}", [_table(head, rows)]))
    last = sections.pop()
    blocks = [*last.blocks, *_survivors(results.stopped_early)]
    return [*sections, Section(last.key, last.title, blocks)]


def _survivors(tasks: Sequence[str]) -> list[Block]:
    """Names the tasks whose figures are of what a search left, if there are some."""
    if not tasks:
        return []
    line = f"of the settings that a search left, not of all that it tried: {', '.join(tasks)}"
    return [Prose([line])]


def snooping_summary(name: str, results: SnoopingSummary) -> list[Section]:
    """Several tasks: mean figures with intervals over training sets."""
    halves = {side: with_interval(estimate) for side, estimate in results.halves.items()}
    stages: list[list[Cell]] = [[n, *row.values()] for n, row in results.stages.items()]
    curve: list[list[Cell]] = [[k, *means] for k, means in results.curve.items()]
    lines = [
        f"best by one half: {halves['own']} there, {halves['other']} on the other; "
        f"inflation {halves['inflation']}",
        f"the rule's pick: {halves['rule']}; labels honestly buy {halves['bought']} more",
    ]
    blocks = [
        _table(["stage", *SIDES], stages),
        Prose(["best of k settings, and the null lines"]),
        _table(["k", *CurveOverTasks._fields], curve),
        Prose(lines),
        *_survivors(results.stopped_early),
    ]
    title = (
        f"Snooping, {name}: means of {results.tasks} tasks of {results.training_sets} "
        "training sets [95 % interval over training sets]"
    )
    return [Section("snooping", title, blocks)]
