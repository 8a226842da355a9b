"""Every rule of the shelf over tasks: figures, all pairs, critical differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.audit import Scope
from ad_jax.evaluate.comparison import LABELS, RANDOM, compare, smallest_p, values_of
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.evaluate.pairs import FEWEST, LEVEL, Pairs, pairwise
from ad_jax.report.judged import Judged, groups, ranks, survivors
from ad_jax.report.page import Block, Column, Figures, Fold, Prose, Section, Table
from ad_jax.report.page.content import Cell, number

COMPARED = 10  # rules in the grid of pairs


def shelf(judged: Sequence[Judged]) -> Section:
    """The section; with one task its picks only."""
    if len(judged) == 1:
        blocks: list[Block] = [*survivors(judged), _single(judged[0])]
        return Section("rules", "Every rule's pick", blocks, {9: "one task: nothing to pair"})
    scopes, sets = [one.worth.audit.across for one in judged], len(set(groups(judged)))
    blocks = [
        *survivors(judged),
        _over_tasks(judged, scopes),
        Fold("Every rule on every task", [_each(judged, scopes)]),
    ]
    lacking = ""
    if sets < FEWEST:
        lacking = f"{sets} training sets, Wilcoxon's test takes {FEWEST}"
    blocks += _compared(judged, scopes)
    return Section("rules", "Every rule's pick", blocks, {9: lacking})


def _single(one: Judged) -> Table:
    across = one.worth.audit.across
    scopes = {"across families": across, **one.worth.audit.within}
    columns = [Column("rule")]
    for name in scopes:
        columns += [
            Column(f"{name}: pick", f"AUROC of its pick, mean over trained seeds, {name}"),
            Column(
                f"{name}: Spearman", "rank correlation of its loss with AUROC, −1 is perfect", 2
            ),
        ]
    rules = sorted(across.picks, key=lambda rule: -across.picks[rule])
    rows: list[list[Cell]] = [
        [rule, *[v for s in scopes.values() for v in (s.picks[rule], s.spearman[rule])]]
        for rule in rules
    ]
    marked = frozenset({rules.index(one.task.run.rule)})
    note = (
        "the rule that picked is shaded; other rules beside it are hindsight. The interval of "
        "every setting stands under What was tried"
    )
    lines: list[tuple[str, float]] = [*one.worth.lines().items()]
    rest: list[Cell] = [None] * (len(columns) - 2)
    foot: list[list[Cell]] = [[name, value, *rest] for name, value in lines]
    return Table(f"Every rule on {one.name}", columns, rows, foot, note, marked)


def _over_tasks(judged: Sequence[Judged], scopes: Sequence[Scope]) -> Table:
    constant, lines = compare(scopes, groups(judged), (RANDOM,))
    _, values = values_of(scopes)
    columns = [
        Column("rule"),
        Column("gain", "[95 % bootstrap interval over training sets]", 2),
        Column("mean regret", "oracle minus pick [95 % bootstrap interval over training sets]"),
        Column("largest regret"),
        Column("below random", "share of tasks", 2),
        Column("Spearman", "mean over tasks [interval over training sets], −1 is perfect", 2),
        Column("mean rank", "of its AUROC among all rules", 2),
        Column("over random", "mean difference in AUROC per training set"),
        Column("p", "Wilcoxon's, adjusted by Holm over the rules"),
    ]
    rows: list[list[Cell]] = []
    for name, line in lines.items():
        difference, p = line.against[RANDOM]
        said = f"{name} (best constant in hindsight)" if name == constant else name
        rows.append(
            [
                said,
                Estimate(line.gain, line.low, line.high),
                Estimate(line.regret, *_regrets(scopes, values[name], groups(judged))),
                line.worst,
                line.below_random,
                Estimate(line.spearman, line.spearman_low, line.spearman_high),
                line.rank,
                difference,
                p,
            ]
        )
    order = sorted(range(len(rows)), key=lambda i: -_gain(rows[i]))
    mine = {one.task.run.rule for one in judged}
    marked = frozenset(k for k, i in enumerate(order) if list(lines)[i] in mine)
    sets = len(set(groups(judged)))
    most = max(line.differing[RANDOM] for line in lines.values())
    note = (
        f"{len(judged)} tasks of {sets} training sets; the rule that picked is shaded. The test is "
        f"exact and drops sets without a difference: the smallest p of a rule that differs on "
        f"{most} of them, the most that one does, is {number(smallest_p(most))}"
    )
    return Table("Rules over tasks", columns, [rows[i] for i in order], (), note, marked)


def _regrets(
    scopes: Sequence[Scope], values: Sequence[float], groups: Sequence[str]
) -> tuple[float, float]:
    """Interval of the mean regret of picks worth `values`."""
    regrets = np.array([s.oracle for s in scopes]) - values
    return over_training_sets(groups, lambda rows: float(regrets[rows].mean()))


def _gain(row: Sequence[Cell]) -> float:
    cell = row[1]
    value = cell.value if isinstance(cell, Estimate) else math.nan
    return value if value == value else -math.inf


def _each(judged: Sequence[Judged], scopes: Sequence[Scope]) -> Table:
    rules = [rule for rule in scopes[0].picks if all(rule in s.picks for s in scopes)]
    columns = [Column("rule"), *[Column(one.name) for one in judged]]
    rows: list[list[Cell]] = [[rule, *[s.picks[rule] for s in scopes]] for rule in rules]
    names = list(dict.fromkeys(n for one in judged for n in one.worth.lines()))
    foot: list[list[Cell]] = [
        [n, *[one.worth.lines().get(n, math.nan) for one in judged]] for n in names
    ]
    return Table("AUROC of every rule's pick", columns, rows, foot)


def _compared(judged: Sequence[Judged], scopes: Sequence[Scope]) -> list[Block]:
    constant, values = values_of(scopes)
    known = {n: v for n, v in values.items() if all(x == x for x in v)}
    always = [n for n in (LABELS, RANDOM, constant) if n in known]
    mine = list(dict.fromkeys(one.task.run.rule for one in judged if one.task.run.rule in known))
    everything = pairwise(known, groups(judged))
    order = sorted(known, key=lambda n: everything.ranks[n])
    others = [n for n in order if n not in (*always, *mine)]
    kept = {*always, *mine, *others[: max(COMPARED - len(always) - len(mine), 0)]}
    found = pairwise({n: v for n, v in known.items() if n in kept}, groups(judged))
    order = sorted(kept, key=lambda n: found.ranks[n])
    count = len(order) * (len(order) - 1) // 2
    least = found.smallest_p
    sets = f"{found.sets} training sets (tasks of one set count once, by their mean)"
    said = [
        f"Wilcoxon's signed-rank test over {sets}, Holm's correction over the {count} pairs of the "
        f"{len(order)} rules shown: those that picked, the lines to compare with, and the others "
        "of best mean rank.",
        "The test is exact and drops sets on which a pair ties, so here it can give no p below "
        f"{number(least)}, and after the correction none below "
        f"{number(min(1.0, least * count))} for the first pair"
        + (": no difference can be called significant." if least * count >= LEVEL else "."),
    ]
    joined = "; ".join(" = ".join(g) for g in found.joined) or "none"
    about = "mean ranks: " + ", ".join(f"{n} {found.ranks[n]:.2f}" for n in order)
    diagram = ranks.critical_difference(
        "Critical differences: mean rank over training sets, the best at the left",
        {n: found.ranks[n] for n in order},
        found.joined,
        f"{about}. Joined by a bar (no p below {LEVEL}): {joined}",
    )
    grid = ranks.grid(
        "All pairs: AUROC of the row minus that of the column, wins/ties/losses below",
        order,
        found.pairs,
        "the table below has the same figures",
    )
    note = f"Blue: the row is better, red: the column; * and bold: p < {LEVEL}."
    return [
        Prose(said),
        Figures([diagram]),
        Figures([grid], (), note),
        Fold("All pairs as a table", [_pairs(found, order)]),
    ]


def _pairs(found: Pairs, order: Sequence[str]) -> Table:
    columns = [
        Column("pair"),
        Column("difference", "mean AUROC of the first minus the second"),
        Column("wins"),
        Column("ties"),
        Column("losses"),
        Column("effect size", "matched-pairs rank-biserial correlation", 2),
        Column("p", "adjusted"),
    ]
    rows: list[list[Cell]] = []
    for i, a in enumerate(order):
        for b in order[i + 1 :]:
            pair = found.pairs[a, b]
            figures = [pair.difference, pair.wins, pair.ties, pair.losses]
            rows.append([f"{a} − {b}", *figures, found.effect[a, b], pair.p])
    return Table("All pairs", columns, rows)
