"""The snooping audit as drawings and tables: waterfall, best of k, thresholds, halves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.bought import Spread, snooping_summary
from ad_jax.report.figures import curves, theme, waterfall
from ad_jax.report.judged import Judged, groups, survivors
from ad_jax.report.page import Block, Column, Figure, Figures, Prose, Section, Table
from ad_jax.report.page.content import Cell, number


def _falls(one: Judged) -> Figure:
    stages = one.worth.audit.snooping.stages
    steps = [waterfall.Step(s.name, s.choices, s.apparent, s.honest) for s in stages]
    lines = {
        f"pick {one.worth.auroc.value:.3f}": (one.worth.auroc.value, "pick"),
        f"control {one.worth.best_control[1]:.3f}": (one.worth.best_control[1], "control"),
    }
    about = "; ".join(
        f"{s.name}: {number(s.apparent)} apparent, {number(s.honest)} honest" for s in stages
    )
    return waterfall.waterfall(one.name, steps, lines, about)


def _best_of(one: Judged) -> Figure:
    curve = one.worth.audit.snooping.curve
    drawn = [
        curves.Curve("apparent", curve.tried, curve.apparent, "blue", "o"),
        curves.Curve("honest", curve.tried, curve.honest, "orange", "D"),
        curves.Curve("noise of seeds", curve.tried, curve.reseeded, "purple", "^", dashed=True),
    ]
    about = f"best of {curve.tried[-1]} settings: apparent {number(curve.apparent[-1])}, honest "
    about += f"{number(curve.honest[-1])}, noise of seeds alone {number(curve.reseeded[-1])}"
    level = one.worth.auroc.value
    return curves.curves(one.name, drawn, "settings tried", "AUROC", about, log=True, level=level)


def _null(one: Judged) -> Figure:
    curve = one.worth.audit.snooping.curve
    drawn = [curves.Curve("permuted labels", curve.tried, curve.relabelled, "brown", "s")]
    about = f"best of k by permuted labels: {number(curve.relabelled[-1])} at {curve.tried[-1]}"
    return curves.curves(
        one.name, drawn, "settings tried", "AUROC", about, log=True, level=0.5, height=200
    )


def snooped(judged: Sequence[Judged]) -> Section:
    """The section."""
    falls = Figures(
        [_falls(one) for one in judged],
        [
            theme.Key("blue", "s", "apparent: chosen and reported on the same labels"),
            theme.Key("orange", "D", "honest: chosen on half of the target, reported on the other"),
        ],
        "Labels choose in turn, and what was chosen stays chosen. What lies between a bar's end "
        "and its diamond is noise that was chosen.",
    )
    best = Figures(
        [_best_of(one) for one in judged],
        [
            theme.Key("blue", "o", "apparent"),
            theme.Key("orange", "D", "honest"),
            theme.Key("purple", "^", "settings that differ by the noise of seeds alone"),
        ],
        "AUROC of the best of k settings drawn at random; the dotted line is the pick.",
    )
    null = Figures(
        [_null(one) for one in judged],
        (),
        "The same where labels mean nothing (permuted): from .5 at one setting, noise alone buys "
        "what lies above the dotted line.",
    )
    blocks: list[Block] = [*survivors(judged), falls, best, null, *_tables(judged)]
    notes = sorted({f"{o.name}: {n}" for o in judged for n in o.worth.audit.snooping.notes})
    if notes:
        blocks.append(Prose(notes, points=True))
    covers = {
        10: "the training step is not among the stages: only the last step of a run is kept",
        13: "",
    }
    return Section("audit", "What labels would have bought", blocks, covers)


def _spread(one: Spread) -> Estimate:
    return Estimate(one.mean, one.low, one.high)


def _tables(judged: Sequence[Judged]) -> list[Block]:
    stages: list[list[Cell]] = []
    cuts: list[list[Cell]] = []
    halves: list[list[Cell]] = []
    for one in judged:
        found = one.worth.audit.snooping
        for s in found.stages:
            stages.append([one.name, s.name, s.choices or None, s.apparent, s.honest, s.inflation])
        for s in found.thresholds:
            chosen = "by labels (an oracle)" if s.choices else "label-free"
            cuts.append([one.name, s.name, s.metric, chosen, s.apparent, s.honest])
        half = found.halves
        halves.append(
            [
                one.name,
                *[_spread(x) for x in (half.own, half.other, half.inflation)],
                *[_spread(x) for x in (half.rule, half.bought)],
                half.splits,
            ]
        )
    out: list[Block] = [_cuts(judged)]
    if len(judged) > 1:
        out.append(_over_tasks(judged))
    side = ["apparent", "honest"]
    out.append(
        Table(
            "Stage by stage",
            [
                Column("task"),
                Column("chosen"),
                Column("options", "how many labels chose from"),
                Column("apparent", "AUROC, chosen and reported on the same labels"),
                Column("honest", "chosen on half of the target, reported on the other half"),
                Column("inflation", "apparent minus honest"),
            ],
            stages,
            note="means over splits; what varies over splits stands in the split-half check",
        )
    )
    out.append(
        Table(
            "Thresholds, on what labels chose before",
            [Column(c) for c in ("task", "threshold", "metric", "chosen", *side)],
            cuts,
            note="the label-free one flags 5 % of held-out normals",
        )
    )
    heads = ["task", "best by one half, there", "on the other half", "inflation"]
    heads += ["the rule's pick there", "labels honestly buy more", "splits"]
    out.append(
        Table(
            "Split-half check",
            [Column(h) for h in heads],
            halves,
            note="[95 % of the splits, no confidence interval]",
        )
    )
    return out


def _cuts(judged: Sequence[Judged]) -> Table:
    rows: list[list[Cell]] = [
        [
            one.name,
            cut.name,
            "by labels (an oracle)" if cut.oracle else "label-free",
            cut.f1,
            cut.balanced_accuracy,
            cut.false_positives,
        ]
        for one in judged
        for cut in one.worth.cuts
    ]
    columns = [
        Column("task"),
        Column("threshold"),
        Column("chosen"),
        Column("F1", "mean over seeds [95 % interval over seeds]"),
        Column("balanced accuracy", "likewise"),
        Column("false positives", "share of the target's normals that are flagged"),
    ]
    return Table("The pick at a threshold", columns, rows)


def _over_tasks(judged: Sequence[Judged]) -> Table:
    names = [f"{i}" for i in range(len(judged))]
    both = snooping_summary(
        {n: one.worth.audit.snooping for n, one in zip(names, judged, strict=True)},
        dict(zip(names, groups(judged), strict=True)),
    )
    cell = lambda one: Estimate(one["mean"], one["low"], one["high"])
    rows: list[list[Cell]] = [
        [name, *[cell(row[side]) for side in ("apparent", "honest", "inflation")]]
        for name, row in both["stages"].items()
    ]
    more = both["halves"]["bought"]
    foot: list[list[Cell]] = [["labels honestly buy more than the rule", None, cell(more), None]]
    heads = ["stage", "apparent", "honest", "inflation"]
    return Table(
        f"Means over {both['tasks']} tasks",
        [Column(h) for h in heads],
        rows,
        foot if math.isfinite(more["mean"]) else (),
        "[95 % bootstrap interval over training sets]",
    )
