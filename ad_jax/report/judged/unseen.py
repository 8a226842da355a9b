"""What the unlabelled set does: disjoint halves, and fewer or more anomalies in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ad_jax.report.figures import curves
from ad_jax.report.judged import Judged, survivors
from ad_jax.report.page import Block, Column, Figures, Prose, Section, Table
from ad_jax.report.page.content import Cell, number


def unseen(judged: Sequence[Judged]) -> Section:
    """The section."""
    known = [one for one in judged if not one.worth.unlabelled.lacking]
    without = [one for one in judged if one not in known]
    said = [
        "Every rule here saw the whole target, without its labels, and is judged on the same "
        "samples: selection is transductive. Below, the rule that picked sees one half of the "
        "target only and is judged on the other, and then sets with fewer or more anomalies. "
        "Detectors are trained on normals alone and are the same throughout.",
        *[f"{one.name}: not told, {one.worth.unlabelled.lacking}." for one in without],
    ]
    blocks: list[Block] = [Prose(said), *survivors(judged)]
    halved = [one for one in known if one.worth.unlabelled.halves is not None]
    if halved:
        blocks.append(_halves(halved))
    rated = [one for one in known if one.worth.unlabelled.rates]
    if rated:
        blocks += [_curve(rated), _rates(rated)]
    covers = {
        11: "" if halved else "the rule could not be asked on a half",
        12: "contaminated training data need trainings that these runs do not hold"
        if rated
        else "the rule could not be asked on other shares",
    }
    return Section("unlabelled", "What the unlabelled set does", blocks, covers)


def _halves(judged: Sequence[Judged]) -> Table:
    rows: list[list[Cell]] = []
    for one in judged:
        half = one.worth.unlabelled.halves
        assert half is not None
        figures: list[Cell] = [half.seen, half.unseen, half.bought, half.random, half.oracle]
        rows.append([one.name, one.task.run.rule, *figures, half.splits])
    columns = [
        Column("task"),
        Column("rule"),
        Column("picked by the same half", "AUROC on a half of the target [95 % of the splits]"),
        Column("picked by the other half", "the rule never saw the samples it is judged on"),
        Column("what seeing them buys", "the first minus the second, split by split"),
        Column("random setting", "mean over settings, on the same halves"),
        Column("best setting", "of each half, by its labels"),
        Column("splits"),
    ]
    note = "[95 % of the splits, no confidence interval]"
    return Table("A disjoint unlabelled half", columns, rows, note=note)


def _curve(judged: Sequence[Judged]) -> Figures:
    figures = []
    for one in judged:
        rates = one.worth.unlabelled.rates
        across = one.worth.audit.across
        line = curves.Curve(
            "pick",
            [100 * r.share for r in rates],
            [r.auroc.value for r in rates],
            "red",
            "o",
            low=[r.auroc.value if math.isnan(r.auroc.low) else r.auroc.low for r in rates],
            high=[r.auroc.value if math.isnan(r.auroc.high) else r.auroc.high for r in rates],
        )
        oracle = curves.Curve("oracle", line.x, [across.oracle] * len(rates), "grey", dashed=True)
        about = ", ".join(f"{100 * r.share:.0f} %: {number(r.auroc.value)}" for r in rates)
        figures.append(
            curves.curves(
                one.name,
                [oracle, line],
                "% anomalies in the unlabelled set",
                "AUROC of the pick",
                f"AUROC of the pick by share of anomalies: {about}",
                level=across.expected_random,
            )
        )
    note = (
        "The pick's AUROC on the whole target; band: 95 % of the draws (of the whole target and "
        "of all normals there is one draw). Dashed: the best setting, dotted: a random one; "
        "settings of equal loss share the pick. A rule that falls to the dotted line at 0 % needs "
        "anomalies."
    )
    return Figures(figures, (), note)


def _rates(judged: Sequence[Judged]) -> Table:
    rows: list[list[Cell]] = []
    for one in judged:
        for r in one.worth.unlabelled.rates:
            rows.append([one.name, 100 * r.share, r.samples, r.auroc, r.gain])
    columns = [
        Column("task"),
        Column("% anomalies", "in whole samples", 1),
        Column("samples", "that the rule saw"),
        Column("AUROC of the pick", "[95 % of the draws]"),
        Column("gain", "(pick − random) / (oracle − random)", 2),
    ]
    return Table("By the share of anomalies", columns, rows)
