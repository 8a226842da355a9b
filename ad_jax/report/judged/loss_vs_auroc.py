"""Loss against AUROC: a drawing per task, and rank correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ad_jax.base.stats import share
from ad_jax.pool import estimates_by_setting
from ad_jax.report.figures import points, theme
from ad_jax.report.judged import JudgedRun, groups, over_tasks, survivors
from ad_jax.report.page import Block, Figure, Figures, Key, Section, Table, field, tabulated
from ad_jax.report.page.content import Cell
from ad_jax.report.parts.task import estimates, families

NOTE = (
    "A point is a setting, bars are 95 % intervals over seeds (three or more), the ring is the "
    "pick. A good loss falls from the upper left to the lower right. Lines: the best setting, "
    "the pick, a random setting, the worst, and the best control that learned nothing."
)
SHORT = {
    "raw nearest neighbour": "raw neighbour",
    "raw principal components": "raw PCA",
    "minus mean brightness": "− brightness",
    "mean brightness": "brightness",
}


def _figure(judged: JudgedRun, keys: Mapping[str, Key]) -> Figure:
    task, across = judged.task, judged.across
    settings = task.run.pool.settings
    quality = estimates_by_setting(task.run.pool, judged.assessment.quality.auroc, settings)
    drawn = [
        points.Point(s.family, s.label, loss, share(auroc), s.key == task.run.pick.key)
        for s, loss, auroc in zip(settings, estimates(task, settings), quality, strict=True)
    ]
    control, control_auroc = judged.assessment.best_control
    values = {
        "oracle": ("oracle", across.oracle),
        "pick": ("pick", judged.auroc.value),
        "random": ("random", across.expected_random),
        "worst": ("worst", across.worst),
        "control": (SHORT.get(control, control), control_auroc),
    }
    lines = {f"{name} {value:.3f}": (value, kind) for kind, (name, value) in values.items()}
    return points.scatter(judged.name, judged.rule, drawn, lines, keys)


def loss_vs_auroc(judged: Sequence[JudgedRun]) -> Section:
    """The section."""
    keys = theme.keys(families([task.task for task in judged]))
    figures = Figures([_figure(task, keys) for task in judged], list(keys.values()), NOTE)
    few = len(set(groups(judged))) < 3
    covers = {5: "no interval over tasks: fewer than three training sets" if few else ""}
    blocks: list[Block] = [*survivors(judged), figures, _correlations(judged)]
    return Section("against", "Loss against AUROC", blocks, covers)


def _correlations(judged: Sequence[JudgedRun]) -> Table:
    foot: list[list[Cell]] = []
    if len(judged) > 1:
        rho = over_tasks(judged, lambda t: t.assessment.spearman.value)
        tau = over_tasks(judged, lambda t: t.assessment.kendall.value)
        foot = [["mean over tasks [interval over training sets]", None, rho, tau, None]]
    interval = "rank correlation over settings [95 % bootstrap interval]"
    return tabulated(
        "Rank correlation of loss with AUROC",
        [
            field("task", lambda t: t.name),
            field("rule", lambda t: t.rule),
            field("Spearman", lambda t: t.assessment.spearman, interval, 2),
            field("Kendall", lambda t: t.assessment.kendall, "tau-b, likewise", 2),
            field("settings", lambda task: len(task.across.settings)),
        ],
        judged,
        foot,
        "−1: the lower the loss, the better the setting; 0: the loss says nothing",
    )
