"""Audits of several tasks together; intervals resample training sets, not tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.audit import Audit, Scope
from ad_jax.evaluate.comparison import gain_over_tasks, mean_over_tasks
from ad_jax.evaluate.snooping import Curve, Snooping


class RuleOverTasks(NamedTuple):
    """A rule or constant over the tasks of one scope.

    Attributes:
      gain: with its 95 % bootstrap interval over training sets.
      below_random: share of tasks where its pick is worse than the expected random one.
      auroc, spearman: means over tasks.
    """

    gain: Estimate
    below_random: float
    auroc: float
    spearman: float


class Summary(NamedTuple):
    """Rules and constants over several tasks.

    Attributes:
      tasks, training_sets, trainings: how many.
      stopped_early: tasks of which the figures are of the settings that a search left.
      scopes: "across" or a family -> rule -> figures; constants have names "always ...".
    """

    tasks: int
    training_sets: int
    trainings: int
    stopped_early: list[str]
    scopes: dict[str, dict[str, RuleOverTasks]]


def summary(audits: Mapping[str, Audit], trainings: Mapping[str, str]) -> Summary:
    """Rules and constants over several tasks: gain, share below random, Spearman.

    Args:
      audits: task -> audit.
      trainings: task -> training-set fingerprint; tasks that share one are not independent.
    """
    members = {trainings[task]: result.members for task, result in audits.items()}
    tasks_of: dict[str, list[str]] = {"across": list(audits)}
    for task, result in audits.items():
        for family in result.within:
            tasks_of.setdefault(family, []).append(task)
    return Summary(
        len(audits),
        len(members),
        sum(members.values()),
        [task for task, result in audits.items() if result.tried.stopped],
        {
            name: _rules_over_tasks(
                [audits[t].across if name == "across" else audits[t].within[name] for t in tasks],
                [trainings[t] for t in tasks],
            )
            for name, tasks in tasks_of.items()
        },
    )


def _rules_over_tasks(scopes: Sequence[Scope], groups: Sequence[str]) -> dict[str, RuleOverTasks]:
    """Rules and constants that every task has; one seed allows fewer rules."""
    values = {"label pick": [s.label_pick for s in scopes]}
    for columns in ([s.picks for s in scopes], [s.constants for s in scopes]):
        shared = set.intersection(*map(set, columns))
        values |= {name: [c[name] for c in columns] for name in columns[0] if name in shared}
    out = {}
    for rule, auroc in values.items():
        correlation = [s.spearman.get(rule, np.nan) for s in scopes]
        below = np.mean([v < s.expected_random for v, s in zip(auroc, scopes, strict=True)])
        out[rule] = RuleOverTasks(
            gain_over_tasks(scopes, auroc, groups),
            float(below),
            float(np.mean(auroc)),
            float(np.nanmean(correlation)) if np.isfinite(correlation).any() else float("nan"),
        )
    return out


class CurveOverTasks(NamedTuple):
    """Means of every line of `Curve` at one number of settings, over the tasks that tried it."""

    tasks: int
    apparent: float
    honest: float
    relabelled: float
    reseeded: float


class SnoopingSummary(NamedTuple):
    """Means over tasks with 95 % bootstrap intervals over training sets.

    Attributes:
      tasks, training_sets: how many; tasks without honest figures are left out.
      stopped_early: tasks of which the figures are of the settings that a search left.
      curve: number of settings tried -> means.
      halves: field of `SplitHalf` -> figure.
      stages: "stage, metric" -> "apparent", "honest", "inflation" -> figure.
    """

    tasks: int
    training_sets: int
    stopped_early: list[str]
    curve: dict[int, CurveOverTasks]
    halves: dict[str, Estimate]
    stages: dict[str, dict[str, Estimate]]


def snooping_summary(
    audits: Mapping[str, Snooping], trainings: Mapping[str, str]
) -> SnoopingSummary:
    """Several tasks.

    Args:
      audits: task -> audit.
      trainings: task -> training-set fingerprint; tasks that share one are not independent.
    """
    used = {t: s for t, s in audits.items() if np.isfinite(s.halves.other.value)}
    groups = [trainings[t] for t in used]

    def over_tasks(values: Sequence[float]) -> Estimate:
        return mean_over_tasks(values, groups)

    columns = zip(*([*s.stages, *s.thresholds] for s in used.values()), strict=True)
    curves = [s.curve for s in used.values()]
    return SnoopingSummary(
        len(used),
        len(set(groups)),
        [task for task, result in used.items() if result.stopped],
        {k: _curve_over_tasks(curves, k) for k in sorted({k for c in curves for k in c.tried})},
        {
            name: over_tasks([getattr(s.halves, name).value for s in used.values()])
            for name in ("own", "other", "inflation", "rule", "bought")
        },
        {
            f"{column[0].name}, {column[0].metric}": {
                name: over_tasks([getattr(stage, name) for stage in column])
                for name in ("apparent", "honest", "inflation")
            }
            for column in columns
        },
    )


def _curve_over_tasks(curves: Sequence[Curve], number: int) -> CurveOverTasks:
    places = [(curve, curve.tried.index(number)) for curve in curves if number in curve.tried]
    lines = [name for name in CurveOverTasks._fields if name != "tasks"]
    means = (float(np.mean([getattr(curve, line)[i] for curve, i in places])) for line in lines)
    return CurveOverTasks(len(places), *means)
