"""The sixteen rules of reporting, and which of them a report keeps: made from its sections."""

from __future__ import annotations

from collections.abc import Sequence

from ad_jax.report.page import Column, Prose, Section, Table

RULES = {  # number -> what a report must show
    1: "Reference lines: oracle, expected random, median, worst, ensemble of all, default setting",
    2: "Control lines without training, and where the method does not beat them",
    3: "Selection regret and normalised gain: per task, mean, median, worst; share below random",
    4: "Rank and percentile of the pick; top-k hit rate against chance",
    5: "Spearman and Kendall of loss against AUROC, per task with an interval, then over tasks",
    6: "AUROC and average precision together, with the anomaly rate; below 0.5 as it is",
    7: "At least 5 seeds, separate random keys; mean, std, 95 % interval; raw rows in a file",
    8: "The last step of a fixed budget, or a step chosen without labels",
    9: "Paired tests over tasks: Wilcoxon with Holm, win/tie/loss, effect size, smallest p",
    10: "Snooping audit by stage and by the number tried, with a null line and split halves",
    11: "Transduction declared, and the same rule with a disjoint unlabelled half",
    12: "Contamination curve of the unlabelled set and of the training data",
    13: "Thresholded metrics at label-free thresholds; oracle thresholds marked",
    14: "Cost: settings tried, device, wall time with compilation apart, peak memory",
    15: "Localisation: a threshold-free pixel metric, one colour scale",
    16: "Manifest: versions, config, data fingerprint, seeds, device, label openings, the command",
}
LABELS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 15})  # rules that need labels


def checklist(sections: Sequence[Section], judged: bool) -> Section:
    """Which rules the sections keep, where, and what is lacking.

    Args:
      sections: of the report.
      judged: whether labels were opened.
    """
    rows = [[f"{n}. {text}", *_kept(n, sections, judged)] for n, text in RULES.items()]
    states = [row[1] for row in rows]
    text = (
        f"Of {len(RULES)} rules of reporting this page keeps {states.count('yes')} wholly and "
        f"{states.count('in part')} in part; missing: {states.count('missing')}."
    )
    columns = [Column("a report must show"), Column("shown"), Column("where"), Column("what lacks")]
    return Section(
        "rules-kept",
        "What this report shows, and what it lacks",
        [Prose([text]), Table("Rules of reporting", columns, rows)],
    )


def _kept(number: int, sections: Sequence[Section], judged: bool) -> tuple[str, str, str]:
    """Whether a rule is kept, where, and what is lacking."""
    covering = [s for s in sections if number in s.covers]
    if not covering:
        return "missing", "", _why(number, judged)
    lacking = "; ".join(s.covers[number] for s in covering if s.covers[number])
    return "in part" if lacking else "yes", ", ".join(s.title for s in covering), lacking


def _why(number: int, judged: bool) -> str:
    if number in LABELS and not judged:
        return "labels were not opened (--audit opens them)"
    if number == 15:
        return "no heatmaps are shown; `ad-jax score --heatmaps` writes them"
    return "the runs hold nothing of it"
