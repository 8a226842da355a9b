"""Rules compared over tasks: regret, gain, and tests that count training sets, not tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.audit import Scope, gain
from ad_jax.evaluate.intervals import over_training_sets

RANDOM = "expected random"
LABELS = "label pick"
DIGITS = 9  # AUROC that agree so far are tied: means in another order differ beyond


class Line(NamedTuple):
    """One rule over the tasks of one scope.

    Attributes:
      regret, worst: mean and largest oracle minus pick, AUROC.
      gain: see `evaluate.gain`, with its 95 % bootstrap interval over training sets.
      below_random, below_constant: share of tasks where the pick is worse than the expected random
        one, than what the best constant (chosen in hindsight over these tasks) picks.
      spearman: of loss and AUROC over settings, mean over tasks, with the same interval.
      rank: mean rank of the pick's AUROC among all rules, 1 = best, ties shared.
      against: rival -> (mean difference in AUROC per training set, Wilcoxon's p, adjusted by Holm
        over the rules).
      differing: rival -> training sets on which the two differ, all that its p stands on.
    """

    regret: float
    worst: float
    gain: Estimate
    below_random: float
    below_constant: float
    spearman: Estimate
    rank: float
    against: dict[str, tuple[float, float]]
    differing: dict[str, int]


def signed_rank_p(differences: np.ndarray) -> float:
    """Wilcoxon's signed-rank test of paired differences `[n]`: two-sided, exact.

    Differences that are zero to `DIGITS` are dropped; those of equal size share their mean rank,
    and p is the share of all 2^n ways to put signs to these ranks whose smaller rank sum is no
    larger: a normal approximation would give .043 for 5 of 25 pairs that differ, all one way, where
    no p below .0625 exists. The distribution is built rank by rank: 200 pairs take a twentieth of a
    second, and the time grows with the cube.

    Returns:
      NaN if no pair differs, or a difference is not known (NaN).
    """
    rounded = np.round(differences, DIGITS)
    nonzero = rounded[rounded != 0]
    if not len(nonzero) or np.isnan(nonzero).any():
        return float("nan")
    doubled = np.rint(2 * rankdata(np.abs(nonzero))).astype(int)  # whole, shared ranks too
    share = np.ones(1)  # of the ways, by the doubled rank sum of positive differences
    for rank in np.sort(doubled):
        blank = np.zeros(rank)
        share = (np.r_[share, blank] + np.r_[blank, share]) / 2
    observed = min(doubled[nonzero > 0].sum(), doubled[nonzero < 0].sum())
    return min(1.0, 2.0 * float(share[: observed + 1].sum()))


def smallest_p(pairs: int) -> float:
    """The smallest p that `signed_rank_p` can give with so many pairs that differ."""
    return min(1.0, 2.0 ** (1 - pairs))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; NaN stays NaN and does not count."""
    order = sorted((i for i in range(len(p)) if np.isfinite(p[i])), key=lambda i: p[i])
    out, running = [float("nan")] * len(p), 0.0
    for place, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - place) * p[i]))
        out[i] = running
    return out


def mean_over_tasks(values: Sequence[float] | np.ndarray, groups: Sequence[str]) -> Estimate:
    """Mean over tasks with the 95 % bootstrap interval over training sets; NaN are left out."""
    column = np.array(values, float)

    def mean(rows: list[int]) -> float:
        chosen = column[rows]
        return float(np.nanmean(chosen)) if np.isfinite(chosen).any() else float("nan")

    return Estimate(mean(list(range(len(column)))), *over_training_sets(groups, mean))


def share_won(
    won: Sequence[float], possible: Sequence[float], groups: Sequence[str]
) -> tuple[float, float, float]:
    """Gain from what picks won over the expected random one, of what was possible.

    Args:
      won, possible: `[tasks]` AUROC.
      groups: training set of every task.

    Returns:
      sum over sum, and its 95 % bootstrap interval over training sets; NaN if nothing is possible.
    """

    def share(rows: list[int]) -> float:
        total = sum(possible[i] for i in rows)
        return sum(won[i] for i in rows) / total if total > 0 else float("nan")

    return share(list(range(len(won)))), *over_training_sets(groups, share)


def gain_over_tasks(
    scopes: Sequence[Scope], values: Sequence[float], groups: Sequence[str]
) -> Estimate:
    """`gain` with its 95 % bootstrap interval over training sets (`groups [tasks]`)."""
    won = [v - s.expected_random for s, v in zip(scopes, values, strict=True)]
    return Estimate(*share_won(won, [s.oracle - s.expected_random for s in scopes], groups))


def best_constant(scopes: Sequence[Scope]) -> tuple[str, list[float]]:
    """The constant whose gain is highest in hindsight, and its AUROC.

    Where a task lacks it (its setting learned nothing there, say), it stands for any setting: the
    expected random pick.
    """
    names = dict.fromkeys(name for s in scopes for name in s.constants)
    values = {n: [s.constants.get(n, s.expected_random) for s in scopes] for n in names}
    name = max(values, key=lambda n: gain(scopes, values[n]))
    return name, values[name]


def values_of(scopes: Sequence[Scope]) -> tuple[str, dict[str, list[float]]]:
    """The best constant in hindsight, and rule -> AUROC of its pick on every task.

    The label pick, the expected random pick and that constant are among the rules; rules that a
    task lacks are left out. AUROC that agree to `DIGITS` are made equal.
    """
    constant, always = best_constant(scopes)
    shared = set.intersection(*(set(s.picks) for s in scopes))
    values = {name: [s.picks[name] for s in scopes] for name in scopes[0].picks if name in shared}
    values |= {
        LABELS: [s.label_pick for s in scopes],
        RANDOM: [s.expected_random for s in scopes],
        constant: always,
    }
    return constant, {name: [round(v, DIGITS) for v in column] for name, column in values.items()}


def over_sets(table: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Means over the tasks of each training set: `[rules, tasks]` to `[rules, sets]`."""
    member = np.array([[g == name for g in groups] for name in sorted(set(groups))])
    return (table @ member.T) / member.sum(1)


def compare(
    scopes: Sequence[Scope], groups: Sequence[str], rivals: Sequence[str] = (RANDOM, "dsv_code")
) -> tuple[str, dict[str, Line]]:
    """Every rule over tasks.

    Args:
      scopes: one per task, all across families or all of one family.
      groups: training-set fingerprint of every task; tasks that share one count as one in tests
        and are resampled together.
      rivals: rules that the others are tested against.

    Returns:
      The name of the best constant in hindsight, and rule -> line; the label pick, the expected
      random pick and the best constant are among the rules.
    """
    constant, values = values_of(scopes)
    table = np.array(list(values.values()))  # [rules, tasks]
    oracle = np.round([s.oracle for s in scopes], DIGITS)
    random, by_constant = np.array(values[RANDOM]), np.array(values[constant])
    better = (table[:, None] < table[None]).sum(1)
    tied = (table[:, None] == table[None]).sum(1) - 1
    against, differing = _tests(values, over_sets(table, groups), rivals)
    lines = {}
    for i, name in enumerate(values):
        lines[name] = Line(
            float((oracle - table[i]).mean()),
            float((oracle - table[i]).max()),
            gain_over_tasks(scopes, values[name], groups),
            float((table[i] < random).mean()),
            float((table[i] < by_constant).mean()),
            mean_over_tasks([s.spearman.get(name, np.nan) for s in scopes], groups),
            float((better[i] + tied[i] / 2).mean() + 1.0),
            against[name],
            differing[name],
        )
    return constant, lines


def _tests(
    values: Mapping[str, Sequence[float]], per_set: np.ndarray, rivals: Sequence[str]
) -> tuple[dict[str, dict[str, tuple[float, float]]], dict[str, dict[str, int]]]:
    """`Line.against` and `Line.differing` of every rule, from `[rules, training sets]`."""
    against: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in values}
    differing: dict[str, dict[str, int]] = {name: {} for name in values}
    for rival in rivals:
        differences = np.round(per_set - per_set[list(values).index(rival)], DIGITS)
        few = per_set.shape[1] < 3
        p_values = [float("nan") if few else signed_rank_p(d) for d in differences]
        for name, d, adjusted in zip(values, differences, holm(p_values), strict=True):
            against[name][rival] = (float(d.mean()), adjusted)
            differing[name][rival] = int(np.count_nonzero(d))
    return against, differing
