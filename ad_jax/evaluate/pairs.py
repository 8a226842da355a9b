"""All pairs of rules over training sets: Wilcoxon's test, Holm's correction, what they join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from ad_jax.evaluate.comparison import DIGITS, holm, over_sets, signed_rank_p, smallest_p

LEVEL = 0.05
FEWEST = 3  # training sets that a test takes


class Pair(NamedTuple):
    """One rule against another over training sets.

    Attributes:
      difference: mean of first minus second.
      wins, ties, losses: of the first.
      p: adjusted; NaN where it cannot be told.
    """

    difference: float
    wins: int
    ties: int
    losses: int
    p: float


class Pairs(NamedTuple):
    """Rules compared in pairs.

    Attributes:
      ranks: rule -> mean rank of its AUROC over training sets, 1 = best, ties shared.
      pairs: (rule, other) -> figures of the rule against the other, both ways.
      effect: (rule, other) -> matched-pairs rank-biserial correlation (Kerby, 2014): share of the
        rank sum in favour minus that against, from -1 to 1; NaN if all differences are zero.
      joined: rules that no test tells apart, neighbours by rank, at least two, no set in another.
      sets: training sets.
    """

    ranks: dict[str, float]
    pairs: dict[tuple[str, str], Pair]
    effect: dict[tuple[str, str], float]
    joined: list[list[str]]
    sets: int

    @property
    def smallest_p(self) -> float:
        """The smallest p before the correction: of the pair that differs on most sets."""
        return min(smallest_p(pair.wins + pair.losses) for pair in self.pairs.values())


def _effect(differences: np.ndarray) -> float:
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return float("nan")
    ranks = rankdata(np.abs(nonzero))
    return float((np.sign(nonzero) * ranks).sum() / ranks.sum())


def _joined(order: Sequence[str], p: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """Longest runs along `order` in which no pair has p < `LEVEL`."""
    out: list[list[str]] = []
    reached = 0
    for i in range(len(order)):
        end = i + 1
        while end < len(order) and not any(p[a, order[end]] < LEVEL for a in order[i:end]):
            end += 1
        if end - i > 1 and end > reached:
            out.append(list(order[i:end]))
        reached = max(reached, end)
    return out


def pairwise(values: Mapping[str, Sequence[float]], groups: Sequence[str]) -> Pairs:
    """Every rule against every other.

    Args:
      values: rule -> AUROC of its pick on every task.
      groups: training set of every task; tasks of one count once, by their mean.

    Returns:
      p-values are two-sided and adjusted over all pairs given; NaN with fewer than `FEWEST`
      training sets, or where two rules never differ.
    """
    names = list(values)
    table = over_sets(np.array([values[n] for n in names], float), groups)
    sets = table.shape[1]
    places = rankdata(-table, axis=0).mean(1)
    ranks = {name: float(place) for name, place in zip(names, places, strict=True)}
    index = [(i, j) for i in range(len(names)) for j in range(i)]
    differences = [np.round(table[i] - table[j], DIGITS) for i, j in index]
    p_values = holm([float("nan") if sets < FEWEST else signed_rank_p(d) for d in differences])
    pairs, effect, adjusted = {}, {}, {}
    for (i, j), d, p_value in zip(index, differences, p_values, strict=True):
        for (a, b), difference in (((i, j), d), ((j, i), -d)):
            wins, losses = int((difference > 0).sum()), int((difference < 0).sum())
            key, ties = (names[a], names[b]), sets - wins - losses
            pairs[key] = Pair(float(difference.mean()), wins, ties, losses, p_value)
            effect[key], adjusted[key] = _effect(difference), p_value
    order = sorted(names, key=lambda n: ranks[n])
    return Pairs(ranks, pairs, effect, _joined(order, adjusted), sets)
