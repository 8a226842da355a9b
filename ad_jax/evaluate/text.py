"""Audits and their summaries as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from ad_jax.evaluate.audit import Audit
from ad_jax.report.table import render


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
    rows: list[list[Any]] = [
        [f"pick by {pick['rule']}: {pick['setting']}", float(scores.mean()), f"± {half:.3f}"],
        ["  its seeds together (the detector)", result.detector["auroc"], ""],
        ["  its average precision", result.detector["average_precision"], ""],
        ["oracle", across.oracle, ""],
        ["label pick (labels on the other seeds)", across.label_pick, ""],
        ["expected random", across.expected_random, ""],
        ["worst", across.worst, ""],
        ["ensemble of all members", result.ensemble, ""],
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
