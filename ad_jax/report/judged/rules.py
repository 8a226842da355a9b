"""Every rule of the shelf over tasks: figures, all pairs, critical differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.comparison import (
    LABELS,
    RANDOM,
    compare,
    mean_over_tasks,
    smallest_p,
    values_of,
)
from ad_jax.evaluate.pairs import FEWEST, LEVEL, Pairs, pairwise
from ad_jax.report.judged import JudgedRun, groups, rule_pairs, survivors
from ad_jax.report.page import Block, Column, Figures, Fold, Prose, Section, Table, field, tabulated
from ad_jax.report.page.content import Cell, number

COMPARED = 10  # rules in the grid of pairs


def rules(judged: Sequence[JudgedRun]) -> Section:
    """The section; with one task its picks only."""
    if len(judged) == 1:
        blocks: list[Block] = [*survivors(judged), _single(judged[0])]
        return Section("rules", "Every rule's pick", blocks, {9: "one task: nothing to pair"})
    sets = len(set(groups(judged)))
    blocks = [
        *survivors(judged),
        _over_tasks(judged),
        Fold("Every rule on every task", [_each(judged)]),
        *_compared(judged),
    ]
    lacking = f"{sets} training sets, Wilcoxon's test takes {FEWEST}" if sets < FEWEST else ""
    return Section("rules", "Every rule's pick", blocks, {9: lacking})


def _single(judged: JudgedRun) -> Table:
    across = judged.across
    scopes = {"across families": across, **judged.audit.within}
    columns = [Column("rule")]
    for name in scopes:
        pick = f"AUROC of its pick, mean over trained seeds, {name}"
        correlation = "rank correlation of its loss with AUROC, −1 is perfect"
        columns += [Column(f"{name}: pick", pick), Column(f"{name}: Spearman", correlation, 2)]
    names = sorted(across.picks, key=lambda rule: -across.picks[rule])
    rows: list[list[Cell]] = [
        [rule, *[v for s in scopes.values() for v in (s.picks[rule], s.spearman[rule])]]
        for rule in names
    ]
    note = (
        "the rule that picked is shaded; other rules beside it are hindsight. The interval of "
        "every setting stands under What was tried"
    )
    rest: list[Cell] = [None] * (len(columns) - 2)
    foot = [[name, value, *rest] for name, value in judged.assessment.lines().items()]
    marked = frozenset({names.index(judged.rule)})
    return Table(f"Every rule on {judged.name}", columns, rows, foot, note, marked)


def _over_tasks(judged: Sequence[JudgedRun]) -> Table:
    scopes, sets = [task.across for task in judged], groups(judged)
    constant, lines = compare(scopes, sets, (RANDOM,))
    _, values = values_of(scopes)
    oracle = np.array([s.oracle for s in scopes])

    def regret(name: str) -> Estimate:
        interval = mean_over_tasks(oracle - values[name], sets)
        return interval._replace(value=lines[name].regret)

    def gain(name: str) -> float:
        value = lines[name].gain.value
        return -math.inf if math.isnan(value) else value

    order = sorted(lines, key=lambda name: -gain(name))
    interval = "[95 % bootstrap interval over training sets]"
    perfect = "mean over tasks [interval over training sets], −1 is perfect"
    adjusted = "Wilcoxon's, adjusted by Holm over the rules"
    most = max(line.differing[RANDOM] for line in lines.values())
    mean_difference = "mean difference in AUROC per training set"
    table = tabulated(
        "Rules over tasks",
        [
            field("rule", lambda n: f"{n} (best constant in hindsight)" if n == constant else n),
            field("gain", lambda name: lines[name].gain, interval, 2),
            field("mean regret", regret, f"oracle minus pick {interval}"),
            field("largest regret", lambda name: lines[name].worst),
            field("below random", lambda name: lines[name].below_random, "share of tasks", 2),
            field("Spearman", lambda name: lines[name].spearman, perfect, 2),
            field("mean rank", lambda n: lines[n].rank, "of its AUROC among all rules", 2),
            field("over random", lambda name: lines[name].against[RANDOM][0], mean_difference),
            field("p", lambda name: lines[name].against[RANDOM][1], adjusted),
        ],
        order,
        note=f"{len(judged)} tasks of {len(set(sets))} training sets; the rule that picked is "
        "shaded. The test is exact and drops sets without a difference: the smallest p of a rule "
        f"that differs on {most} of them, the most that one does, is {number(smallest_p(most))}",
    )
    picking = {task.rule for task in judged}
    return replace(table, marked=frozenset(i for i, name in enumerate(order) if name in picking))


def _each(judged: Sequence[JudgedRun]) -> Table:
    scopes = [task.across for task in judged]
    names = [rule for rule in scopes[0].picks if all(rule in s.picks for s in scopes)]
    rows: list[list[Cell]] = [[rule, *[s.picks[rule] for s in scopes]] for rule in names]
    lines = [task.assessment.lines() for task in judged]
    foot: list[list[Cell]] = [
        [name, *[values.get(name, math.nan) for values in lines]]
        for name in dict.fromkeys(n for values in lines for n in values)
    ]
    columns = [Column("rule"), *[Column(task.name) for task in judged]]
    return Table("AUROC of every rule's pick", columns, rows, foot)


def _compared(judged: Sequence[JudgedRun]) -> list[Block]:
    pairs, order = _pairwise(judged)
    count = len(order) * (len(order) - 1) // 2
    least = pairs.smallest_p
    text = [
        f"Wilcoxon's signed-rank test over {pairs.sets} training sets (tasks of one set count "
        f"once, by their mean), Holm's correction over the {count} pairs of the "
        f"{len(order)} rules shown: those that picked, the lines to compare with, and the others "
        "of best mean rank.",
        "The test is exact and drops sets on which a pair ties, so here it can give no p below "
        f"{number(least)}, and after the correction none below "
        f"{number(min(1.0, least * count))} for the first pair"
        + (": no difference can be called significant." if least * count >= LEVEL else "."),
    ]
    joined = "; ".join(" = ".join(g) for g in pairs.joined) or "none"
    about = "mean ranks: " + ", ".join(f"{n} {pairs.ranks[n]:.2f}" for n in order)
    diagram = rule_pairs.critical_difference(
        "Critical differences: mean rank over training sets, the best at the left",
        {n: pairs.ranks[n] for n in order},
        pairs.joined,
        f"{about}. Joined by a bar (no p below {LEVEL}): {joined}",
    )
    grid = rule_pairs.grid(
        "All pairs: AUROC of the row minus that of the column, wins/ties/losses below",
        order,
        pairs.pairs,
        "the table below has the same figures",
    )
    note = f"Blue: the row is better, red: the column; * and bold: p < {LEVEL}."
    return [
        Prose(text),
        Figures([diagram]),
        Figures([grid], (), note),
        Fold("All pairs as a table", [_pairs(pairs, order)]),
    ]


def _pairwise(judged: Sequence[JudgedRun]) -> tuple[Pairs, list[str]]:
    """The rules that are shown, compared in pairs, and their order by mean rank."""
    constant, values = values_of([task.across for task in judged])
    complete = {n: v for n, v in values.items() if not np.isnan(v).any()}
    always = [n for n in (LABELS, RANDOM, constant) if n in complete]
    always += list(dict.fromkeys(task.rule for task in judged if task.rule in complete))
    ranks = pairwise(complete, groups(judged)).ranks
    others = [n for n in sorted(complete, key=lambda n: ranks[n]) if n not in always]
    kept = {*always, *others[: max(COMPARED - len(always), 0)]}
    pairs = pairwise({n: v for n, v in complete.items() if n in kept}, groups(judged))
    return pairs, sorted(pairs.ranks, key=lambda n: pairs.ranks[n])


def _pairs(pairs: Pairs, order: Sequence[str]) -> Table:
    every_pair = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    difference = "mean AUROC of the first minus the second"
    biserial = "matched-pairs rank-biserial correlation"
    return tabulated(
        "All pairs",
        [
            field("pair", " − ".join),
            field("difference", lambda names: pairs.pairs[names].difference, difference),
            field("wins", lambda names: pairs.pairs[names].wins),
            field("ties", lambda names: pairs.pairs[names].ties),
            field("losses", lambda names: pairs.pairs[names].losses),
            field("effect size", lambda names: pairs.effect[names], biserial, 2),
            field("p", lambda names: pairs.pairs[names].p, "adjusted"),
        ],
        every_pair,
    )
