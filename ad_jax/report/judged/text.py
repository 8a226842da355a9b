"""Audits and their summaries as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.bought import Snooping, Spread, Stage
from ad_jax.report.table import render


def _with_range(one: Spread) -> str:
    if one.mean != one.mean:
        return "-"
    return f"{one.mean:.3f}" + (f" [{one.low:.3f}, {one.high:.3f}]" if one.low == one.low else "")


def of_snooping(one: Snooping) -> str:
    """The snooping audit: three small tables and the split-half check."""
    sides = ("apparent", "honest", "inflation")
    tables = [
        (
            ["labels choose in turn", *_headings(one.stages)],
            [[side, *[getattr(s, side) for s in one.stages]] for side in sides],
        ),
        (
            ["best of k settings", *map(str, one.curve.tried)],
            [
                [name, *getattr(one.curve, name)]
                for name in ("apparent", "honest", "relabelled", "reseeded")
            ],
        ),
        (
            ["threshold", *sides],
            [
                [f"{s.metric}, {'by labels' if s.choices else s.name}"]
                + [getattr(s, side) for side in sides]
                for s in one.thresholds
            ],
        ),
    ]
    halves = one.halves
    kind = "stratified" if one.stratified else "not stratified"
    return "\n".join(
        [
            f"\nSnooping{'*' if one.stopped else ''}: AUROC that labels would have bought (honest: "
            "chosen on half of the",
            f"target, reported on the other; {halves.splits} splits, {kind}, both ways, "
            f"seed {one.seed})",
            *[render(header, rows) + "\n" for header, rows in tables],
            "best setting by one half [95 % of the splits]: "
            f"{_with_range(halves.own)} on it, {_with_range(halves.other)} on the other half,",
            f"inflation {_with_range(halves.inflation)}; the rule's pick there "
            f"{_with_range(halves.rule)}, labels honestly buy {_with_range(halves.bought)} more",
            *one.notes,
        ]
    )


def _headings(stages: Sequence[Stage]) -> list[str]:
    return [f"{s.name} ({s.choices})" if s.choices else s.name for s in stages]


def of_snooping_summary(name: str, both: dict[str, Any]) -> str:
    """Several tasks: mean figures with intervals over training sets."""

    def cell(one: dict[str, float]) -> str:
        return _with_range(Spread(**one))

    halves = both["halves"]
    rows = [[n, *[cell(v) for v in row.values()]] for n, row in both["stages"].items()]
    curve = [[k, *row.values()] for k, row in both["curve"].items()]
    return "\n".join(
        [
            f"\nSnooping, {name}: means of {both['tasks']} tasks of {both['training_sets']} "
            "training sets [95 % interval over training sets]",
            render(["stage", "apparent", "honest", "inflation"], rows),
            "best of k settings, and the null lines",
            render(["k", "tasks", "apparent", "honest", "relabelled", "reseeded"], curve),
            f"best by one half: {cell(halves['own'])} there, {cell(halves['other'])} on the other; "
            f"inflation {cell(halves['inflation'])}",
            f"the rule's pick: {cell(halves['rule'])}; labels honestly buy "
            f"{cell(halves['bought'])} more",
            *_of_survivors(both["stopped_early"]),
        ]
    )


def _of_survivors(tasks: Sequence[str]) -> list[str]:
    """A line that names the tasks whose figures are of what a search left, if there are some."""
    if not tasks:
        return []
    return [f"of the settings that a search left, not of all that it tried: {', '.join(tasks)}"]


def of_audit(task: str, result: Audit, opened_before: int) -> str:
    """One task: the pick beside everything it should be compared with, then every rule's pick.

    Args:
      task: its name.
      result: the audit.
      opened_before: how often the truth had been opened before this audit.
    """
    pick, across = result.pick, result.across
    scores = np.array(pick["auroc"])
    half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else float("nan")
    tried, left = result.tried, "*" if result.of_survivors else ""
    rows: list[list[Any]] = [
        [f"pick by {pick['rule']}: {pick['setting']}", float(scores.mean()), f"± {half:.3f}"],
        ["  its seeds together (the detector)", result.detector["auroc"], ""],
        ["  its average precision", result.detector["average_precision"], ""],
        [f"oracle{left}", across.oracle, ""],
        [f"label pick (labels on the other seeds){left}", across.label_pick, ""],
        [f"expected random{left}", across.expected_random, ""],
        [f"worst{left}", across.worst, ""],
        *[
            [f"ensemble of {name}{left}", both["auroc"], f"AP {both['average_precision']:.3f}"]
            for name, both in result.ensembles.items()
        ],
        *[[f"control: {name}", value, ""] for name, value in result.baselines.items()],
        *[[f"{name}{left}", value, ""] for name, value in across.constants.items()],
    ]
    scopes = {"across families": across, **result.within}
    table = [
        [rule, *[f"{s.picks[rule]:.3f} ({s.spearman[rule]:+.2f})" for s in scopes.values()]]
        for rule in across.picks
    ]
    last = result.log[-1]
    return "\n".join(
        [
            f"\n{task}: {100 * result.share:.1f} % anomalies, {result.members} trainings, "
            f"{result.untrained} of them learned nothing"
            + (f", {result.stopped} were stopped early" if left else ""),
            *([f"* {tried.note}"] if left else []),
            render(["", "AUROC", ""], rows),
            f"rank of the pick{left}: {pick['rank']} of {pick['settings']}"
            + (f" ({tried.settings} tried)" if left else ""),
            f"\nAUROC of every rule's pick{left} (Spearman of its loss with AUROC)",
            render(["rule", *scopes], table),
            of_snooping(result.snooping),
            f"labels opened {opened_before + len(result.log)} times, last: {last[1]} at {last[0]}",
        ]
    )


def of_summary(name: str, both: dict[str, Any]) -> str:
    """Several tasks: gain of every rule and constant, across families and within each."""
    out = [
        f"\n{name}: {both['tasks']} tasks of {both['training_sets']} training sets, "
        f"{both['trainings']} trainings (tasks that share a training set are not independent)"
    ]
    header = ["rule", "gain", "2.5 %", "97.5 %", "below random", "AUROC", "Spearman"]
    for scope, rows in both.items():
        if isinstance(rows, dict):
            table = [
                [n, r["gain"], r["low"], r["high"], r["below_random"], r["auroc"], r["spearman"]]
                for n, r in sorted(rows.items(), key=lambda x: -x[1]["gain"])
            ]
            out.append(f"\nGain {scope if scope == 'across' else 'within ' + scope}")
            out.append(render(header, table))
    return "\n".join([*out, *_of_survivors(both["stopped_early"])])
