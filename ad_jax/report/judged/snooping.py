"""The snooping audit as drawings and tables: waterfall, best of k, thresholds, halves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ad_jax.evaluate.assessment import AtThreshold
from ad_jax.evaluate.over_tasks import snooping_summary
from ad_jax.evaluate.snooping import Curve, Stage
from ad_jax.report.figures import curves, waterfall
from ad_jax.report.judged import JudgedRun, groups, survivors
from ad_jax.report.page import (
    Block,
    Column,
    Figure,
    Figures,
    Key,
    Prose,
    Section,
    Table,
    field,
    tabulated,
)
from ad_jax.report.page.content import Cell, number

TRIED = ("settings tried", "AUROC")  # axes
SIDES = ("apparent", "honest", "inflation")
STAGES_LEGEND = (
    Key("blue", "s", "apparent: chosen and reported on the same labels"),
    Key("orange", "D", "honest: chosen on half of the target, reported on the other"),
)
BEST_LEGEND = (
    Key("blue", "o", "apparent"),
    Key("orange", "D", "honest"),
    Key("purple", "^", "settings that differ by the noise of seeds alone"),
)


def stages_figure(
    title: str, stages: Sequence[Stage], lines: dict[str, tuple[float, str]]
) -> Figure:
    """Labels choose in turn, as a waterfall beside lines to compare with."""
    about = "; ".join(
        f"{s.name}: {number(s.apparent)} apparent, {number(s.honest)} honest" for s in stages
    )
    steps = [waterfall.Step(s.name, s.choices, s.apparent, s.honest) for s in stages]
    return waterfall.waterfall(title, steps, lines, about)


def best_of_k_figure(
    title: str,
    curve: Curve,
    level: float | None = None,
    lines: dict[str, tuple[float, str]] | None = None,
) -> Figure:
    """AUROC of the best of k settings, with a dotted line or named lines to compare it with."""
    drawn = [
        curves.Curve("apparent", curve.tried, curve.apparent, "blue", "o"),
        curves.Curve("honest", curve.tried, curve.honest, "orange", "D"),
        curves.Curve("noise of seeds", curve.tried, curve.reseeded, "purple", "^", dashed=True),
    ]
    about = (
        f"best of {curve.tried[-1]} settings: apparent {number(curve.apparent[-1])}, honest "
        f"{number(curve.honest[-1])}, noise of seeds alone {number(curve.reseeded[-1])}"
    )
    return curves.curves(title, drawn, TRIED, about, log=True, level=level, lines=lines)


def null_figure(
    title: str, curve: Curve, lines: dict[str, tuple[float, str]] | None = None
) -> Figure:
    """The same where labels mean nothing."""
    drawn = [curves.Curve("permuted labels", curve.tried, curve.relabelled, "brown", "s")]
    about = f"best of k by permuted labels: {number(curve.relabelled[-1])} at {curve.tried[-1]}"
    return curves.curves(title, drawn, TRIED, about, log=True, level=0.5, height=200, lines=lines)


def _stages_of(judged: JudgedRun) -> Figure:
    control = judged.assessment.best_control[1]
    lines = {
        f"pick {judged.auroc.value:.3f}": (judged.auroc.value, "pick"),
        f"control {control:.3f}": (control, "control"),
    }
    return stages_figure(judged.name, judged.audit.snooping.stages, lines)


def snooping(judged: Sequence[JudgedRun]) -> Section:
    """The section."""
    audits = [(task, task.audit.snooping) for task in judged]
    blocks: list[Block] = [
        *survivors(judged),
        Figures(
            [_stages_of(task) for task in judged],
            STAGES_LEGEND,
            "Labels choose in turn, and what was chosen stays chosen. What lies between a bar's "
            "end and its diamond is noise that was chosen.",
        ),
        Figures(
            [best_of_k_figure(task.name, s.curve, task.auroc.value) for task, s in audits],
            BEST_LEGEND,
            "AUROC of the best of k settings drawn at random; the dotted line is the pick.",
        ),
        Figures(
            [null_figure(task.name, s.curve) for task, s in audits],
            (),
            "The same where labels mean nothing (permuted): from .5 at one setting, noise alone "
            "buys what lies above the dotted line.",
        ),
        _at_thresholds(judged),
        *([_over_tasks(judged)] if len(judged) > 1 else []),
        _stages(judged),
        _thresholds(judged),
        _halves(judged),
    ]
    notes = sorted({f"{task.name}: {note}" for task, s in audits for note in s.notes})
    if notes:
        blocks.append(Prose(notes, points=True))
    covers = {
        10: "the training step is not among the stages: only the last step of a run is kept",
        13: "",
    }
    return Section("audit", "What labels would have bought", blocks, covers)


def _chosen(by_labels: bool) -> str:
    return "by labels (an oracle)" if by_labels else "label-free"


def _at_thresholds(judged: Sequence[JudgedRun]) -> Table:
    rows: list[tuple[str, AtThreshold]] = [
        (task.name, row) for task in judged for row in task.assessment.thresholds
    ]
    flagged = "share of the target's normals that are flagged"
    return tabulated(
        "The pick at a threshold",
        [
            field("task", lambda row: row[0]),
            field("threshold", lambda row: row[1].name),
            field("chosen", lambda row: _chosen(row[1].oracle)),
            field("F1", lambda row: row[1].f1, "mean over seeds [95 % interval over seeds]"),
            field("balanced accuracy", lambda row: row[1].balanced_accuracy, "likewise"),
            field("false positives", lambda row: row[1].false_positives, flagged),
        ],
        rows,
    )


def _over_tasks(judged: Sequence[JudgedRun]) -> Table:
    numbered = {str(i): task for i, task in enumerate(judged)}
    summary = snooping_summary(
        {number: task.audit.snooping for number, task in numbered.items()},
        dict(zip(numbered, groups(judged), strict=True)),
    )
    rows: list[list[Cell]] = [[n, *(row[s] for s in SIDES)] for n, row in summary.stages.items()]
    more = summary.halves["bought"]
    foot: list[list[Cell]] = [["labels honestly buy more than the rule", None, more, None]]
    return Table(
        f"Means over {summary.tasks} tasks",
        [Column(head) for head in ("stage", *SIDES)],
        rows,
        foot if math.isfinite(more.value) else (),
        "[95 % bootstrap interval over training sets]",
    )


def _stages(judged: Sequence[JudgedRun]) -> Table:
    honest = "chosen on half of the target, reported on the other half"
    apparent = "AUROC, chosen and reported on the same labels"
    return tabulated(
        "Stage by stage",
        [
            field("task", lambda row: row[0]),
            field("chosen", lambda row: row[1].name),
            field("options", lambda row: row[1].choices or None, "how many labels chose from"),
            field("apparent", lambda row: row[1].apparent, apparent),
            field("honest", lambda row: row[1].honest, honest),
            field("inflation", lambda row: row[1].inflation, "apparent minus honest"),
        ],
        [(task.name, stage) for task in judged for stage in task.audit.snooping.stages],
        note="means over splits; what varies over splits stands in the split-half check",
    )


def _thresholds(judged: Sequence[JudgedRun]) -> Table:
    return tabulated(
        "Thresholds, on what labels chose before",
        [
            field("task", lambda row: row[0]),
            field("threshold", lambda row: row[1].name),
            field("metric", lambda row: row[1].metric),
            field("chosen", lambda row: _chosen(row[1].choices > 0)),
            field("apparent", lambda row: row[1].apparent),
            field("honest", lambda row: row[1].honest),
        ],
        [(task.name, stage) for task in judged for stage in task.audit.snooping.thresholds],
        note="the label-free one flags 5 % of held-out normals",
    )


def _halves(judged: Sequence[JudgedRun]) -> Table:
    return tabulated(
        "Split-half check",
        [
            field("task", lambda row: row[0]),
            field("best by one half, there", lambda row: row[1].own),
            field("on the other half", lambda row: row[1].other),
            field("inflation", lambda row: row[1].inflation),
            field("the rule's pick there", lambda row: row[1].rule),
            field("labels honestly buy more", lambda row: row[1].bought),
            field("splits", lambda row: row[1].splits),
        ],
        [(task.name, task.audit.snooping.halves) for task in judged],
        note="[95 % of the splits, no confidence interval]",
    )
