"""Audits and their summaries as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.snooping import Snooping
from ad_jax.report.table import render


def _chain(values: Sequence[float]) -> str:
    return " > ".join("-" if v != v else f"{v:.3f}" for v in values)


def _with_range(spread: Any) -> str:
    return (
        "-"
        if spread.mean != spread.mean
        else (f"{spread.mean:.3f} [{spread.low:.3f}, {spread.high:.3f}]")
    )


def of_snooping(one: Snooping) -> str:
    """The snooping audit in a few lines."""
    stages, curve, halves = one.stages, one.curve, one.halves
    cuts = [
        f"{s.metric} {s.apparent:.3f} apparent, {s.honest:.3f} honest (at {free.name} of held-out "
        f"normals {free.apparent:.3f}, {free.honest:.3f})"
        for free, s in zip(one.thresholds[::2], one.thresholds[1::2], strict=True)
    ]
    return "\n".join(
        [
            f"snooping: AUROC as labels choose in turn ({', '.join(s.name for s in stages)})",
            f"  apparent {_chain([s.apparent for s in stages])}",
            f"  honest   {_chain([s.honest for s in stages])}",
            *[f"  their threshold: {cut}" for cut in cuts],
            f"best of {', '.join(map(str, curve.tried))} settings",
            f"  apparent {_chain(curve.apparent)}",
            f"  honest   {_chain(curve.honest)}",
            f"  by noise of labels {_chain(curve.relabelled)}, of seeds {_chain(curve.reseeded)}",
            f"best by one half ({halves.splits} splits): {_with_range(halves.own)} there, "
            f"{_with_range(halves.other)} on the other half",
            f"  inflation {_with_range(halves.inflation)}; the rule's pick "
            f"{_with_range(halves.rule)}; labels honestly buy {_with_range(halves.bought)} more",
            *[f"  {note}" for note in one.notes],
        ]
    )


def of_snooping_tables(one: Snooping) -> str:
    """The snooping audit in full, as tables."""
    stages = [
        [
            s.name if s.metric == "AUROC" else f"{s.name}: {s.metric}",
            s.choices or "",
            s.apparent,
            s.honest,
            s.inflation,
        ]
        for s in [*one.stages, *one.thresholds]
    ]
    c = one.curve
    tried = [
        [str(k), *row, row[2] - 0.5]
        for k, *row in zip(c.tried, c.apparent, c.honest, c.relabelled, c.reseeded, strict=True)
    ]
    names = {
        "own": "best by one half, on that half",
        "other": "the same setting, on the other half",
        "inflation": "inflation",
        "rule": "the rule's pick, on the same halves",
        "bought": "what labels honestly buy beyond it",
    }
    halves = [
        [text, *[getattr(getattr(one.halves, name), part) for part in ("mean", "low", "high")]]
        for name, text in names.items()
    ]
    kind = "stratified" if one.stratified else "not stratified"
    return "\n".join(
        [
            f"\nWhat labels would have bought, stage by stage (honest: chosen on half of the target, "
            f"reported on the other; {one.halves.splits} splits, {kind}, both ways, seed {one.seed})",
            render(["stage", "options", "apparent", "honest", "inflation"], stages),
            "\nAUROC of the best of k settings",
            render(["k", "apparent", "honest", "relabelled", "reseeded", "relabelled - .5"], tried),
            f"\nSplit-half check over {one.halves.splits} splits ({one.halves.skipped} left out)",
            render(["", "AUROC", "2.5 %", "97.5 % of splits"], halves),
            *one.notes,
        ]
    )


def of_snooping_summary(name: str, both: dict[str, Any]) -> str:
    """Several tasks: mean figures with intervals over training sets."""

    def cell(one: dict[str, float]) -> str:
        if one["low"] != one["low"]:
            return f"{one['mean']:.3f}"
        return f"{one['mean']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"

    halves = both["halves"]
    rows = [[n, *[cell(v) for v in row.values()]] for n, row in both["stages"].items()]
    return "\n".join(
        [
            f"\nSnooping, {name}: means of {both['tasks']} tasks of {both['training_sets']} "
            "training sets [95 % interval over training sets]",
            render(["stage", "apparent", "honest", "inflation"], rows),
            f"best by one half: {cell(halves['own'])} there, {cell(halves['other'])} on the other; "
            f"inflation {cell(halves['inflation'])}",
            f"the rule's pick: {cell(halves['rule'])}; labels honestly buy "
            f"{cell(halves['bought'])} more",
        ]
    )


def of_audit(task: str, result: Audit, opened_before: int, in_full: bool = False) -> str:
    """One task: the pick beside everything it should be compared with, then every rule's pick.

    Args:
      task: its name.
      result: the audit.
      opened_before: how often the truth had been opened before this audit.
      in_full: the snooping audit as tables.
    """
    pick, across = result.pick, result.across
    scores = np.array(pick["auroc"])
    half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else float("nan")
    rows: list[list[Any]] = [
        [f"pick by {pick['rule']}: {pick['setting']}", float(scores.mean()), f"± {half:.3f}"],
        ["  its seeds together (the detector)", result.detector["auroc"], ""],
        ["  its average precision", result.detector["average_precision"], ""],
        ["oracle", across.oracle, ""],
        ["label pick (labels on the other seeds)", across.label_pick, ""],
        ["expected random", across.expected_random, ""],
        ["worst", across.worst, ""],
        *[
            [f"ensemble of {name}", both["auroc"], f"AP {both['average_precision']:.3f}"]
            for name, both in result.ensembles.items()
        ],
        *[[f"control: {name}", value, ""] for name, value in result.baselines.items()],
        *[[name, value, ""] for name, value in across.constants.items()],
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
            f"{result.untrained} of them learned nothing",
            render(["", "AUROC", ""], rows),
            f"rank of the pick: {pick['rank']} of {pick['settings']}",
            "\nAUROC of every rule's pick (Spearman of its loss with AUROC)",
            render(["rule", *scopes], table),
            of_snooping_tables(result.snooping) if in_full else of_snooping(result.snooping),
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
    return "\n".join(out)
