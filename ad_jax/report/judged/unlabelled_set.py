"""What the unlabelled set does: disjoint halves, and fewer or more anomalies in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ad_jax.evaluate.unlabelled_set import DisjointHalves, Rate
from ad_jax.report.figures import curves
from ad_jax.report.judged import JudgedRun, survivors
from ad_jax.report.page import Block, Figure, Figures, Prose, Section, Table, field, tabulated
from ad_jax.report.page.content import number

ABOUT = (
    "Every rule here saw the whole target, without its labels, and is judged on the same "
    "samples: selection is transductive. Below, the rule that picked sees one half of the "
    "target only and is judged on the other, and then sets with fewer or more anomalies. "
    "Detectors are trained on normals alone and are the same throughout."
)


def unlabelled_set(judged: Sequence[JudgedRun]) -> Section:
    """The section."""
    checks = [(task, task.assessment.unlabelled) for task in judged]
    lacking = [f"{t.name}: not told, {check.lacking}." for t, check in checks if check.lacking]
    blocks: list[Block] = [Prose([ABOUT, *lacking]), *survivors(judged)]
    halves = [(task, check.halves) for task, check in checks if check.halves is not None]
    if halves:
        blocks.append(_halves(halves))
    rated = [task for task, check in checks if check.rates]
    if rated:
        blocks += [_curves(rated), _rates(rated)]
    covers = {
        11: "" if halves else "the rule could not be asked on a half",
        12: "contaminated training data need trainings that these runs do not hold"
        if rated
        else "the rule could not be asked on other shares",
    }
    return Section("unlabelled", "What the unlabelled set does", blocks, covers)


def _halves(halves: Sequence[tuple[JudgedRun, DisjointHalves]]) -> Table:
    same = "AUROC on a half of the target [95 % of the splits]"
    unseen = "the rule never saw the samples it is judged on"
    difference = "the first minus the second, split by split"
    mean = "mean over settings, on the same halves"
    return tabulated(
        "A disjoint unlabelled half",
        [
            field("task", lambda row: row[0].name),
            field("rule", lambda row: row[0].rule),
            field("picked by the same half", lambda row: row[1].seen, same),
            field("picked by the other half", lambda row: row[1].unseen, unseen),
            field("what seeing them buys", lambda row: row[1].bought, difference),
            field("random setting", lambda row: row[1].random, mean),
            field("best setting", lambda row: row[1].oracle, "of each half, by its labels"),
            field("splits", lambda row: row[1].splits),
        ],
        halves,
        note="[95 % of the splits, no confidence interval]",
    )


def _curves(judged: Sequence[JudgedRun]) -> Figures:
    note = (
        "The pick's AUROC on the whole target; band: 95 % of the draws (of the whole target and "
        "of all normals there is one draw). Dashed: the best setting, dotted: a random one; "
        "settings of equal loss share the pick. A rule that falls to the dotted line at 0 % needs "
        "anomalies."
    )
    return Figures([_curve(task) for task in judged], (), note)


def _curve(judged: JudgedRun) -> Figure:
    rates, across = judged.assessment.unlabelled.rates, judged.across
    shares = [100 * r.share for r in rates]
    auroc = [r.auroc.value for r in rates]
    low = [r.auroc.value if math.isnan(r.auroc.low) else r.auroc.low for r in rates]
    high = [r.auroc.value if math.isnan(r.auroc.high) else r.auroc.high for r in rates]
    oracle = curves.Curve("oracle", shares, [across.oracle] * len(rates), "grey", dashed=True)
    pick = curves.Curve("pick", shares, auroc, "red", "o", low=low, high=high)
    about = ", ".join(f"{100 * r.share:.0f} %: {number(r.auroc.value)}" for r in rates)
    return curves.curves(
        judged.name,
        [oracle, pick],
        ("% anomalies in the unlabelled set", "AUROC of the pick"),
        f"AUROC of the pick by share of anomalies: {about}",
        level=across.expected_random,
    )


def _rates(judged: Sequence[JudgedRun]) -> Table:
    rows: list[tuple[str, Rate]] = [
        (task.name, rate) for task in judged for rate in task.assessment.unlabelled.rates
    ]
    return tabulated(
        "By the share of anomalies",
        [
            field("task", lambda row: row[0]),
            field("% anomalies", lambda row: 100 * row[1].share, "in whole samples", 1),
            field("samples", lambda row: row[1].samples, "that the rule saw"),
            field("AUROC of the pick", lambda row: row[1].auroc, "[95 % of the draws]"),
            field("gain", lambda row: row[1].gain, "(pick − random) / (oracle − random)", 2),
        ],
        rows,
    )
