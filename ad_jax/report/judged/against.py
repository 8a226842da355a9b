"""Loss against AUROC: a drawing per task, and rank correlations."""

from __future__ import annotations

from collections.abc import Sequence

from ad_jax.base.stats import share
from ad_jax.pool import estimates_by_setting
from ad_jax.report.figures import points, theme
from ad_jax.report.judged import Judged, groups, survivors
from ad_jax.report.judged.picks import over_tasks
from ad_jax.report.page import Block, Column, Figure, Figures, Section, Table
from ad_jax.report.page.content import Cell
from ad_jax.report.parts.task import estimates, families


def _figure(one: Judged, keys: dict[str, theme.Key]) -> Figure:
    task, across = one.task, one.worth.audit.across
    settings = task.run.pool.settings
    auroc = [
        share(x) for x in estimates_by_setting(task.run.pool, one.worth.quality.auroc, settings)
    ]
    some = [
        points.Point(s.family, s.label, loss, worth, s.key == task.run.pick.key)
        for s, loss, worth in zip(settings, estimates(task, settings), auroc, strict=True)
    ]
    name, control = one.worth.best_control
    lines = {
        f"oracle {across.oracle:.3f}": (across.oracle, "oracle"),
        f"pick {one.worth.auroc.value:.3f}": (one.worth.auroc.value, "pick"),
        f"random {across.expected_random:.3f}": (across.expected_random, "random"),
        f"worst {across.worst:.3f}": (across.worst, "worst"),
        f"{_short(name)} {control:.3f}": (control, "control"),
    }
    return points.scatter(one.name, task.run.rule, some, lines, keys)


def _short(name: str) -> str:
    words = {
        "raw nearest neighbour": "raw neighbour",
        "raw principal components": "raw PCA",
        "minus mean brightness": "− brightness",
        "mean brightness": "brightness",
    }
    return words.get(name, name)


def against(judged: Sequence[Judged]) -> Section:
    """The section."""
    keys = theme.keys(families([one.task for one in judged]))
    figures = [_figure(one, keys) for one in judged]
    note = (
        "A point is a setting, bars are 95 % intervals over seeds (three or more), the ring is the "
        "pick. A good loss falls from the upper left to the lower right. Lines: the best setting, "
        "the pick, a random setting, the worst, and the best control that learned nothing."
    )
    columns = [
        Column("task"),
        Column("rule"),
        Column("Spearman", "rank correlation over settings [95 % bootstrap interval]", 2),
        Column("Kendall", "tau-b, likewise", 2),
        Column("settings"),
    ]
    rows: list[list[Cell]] = [
        [
            one.name,
            one.task.run.rule,
            one.worth.spearman,
            one.worth.kendall,
            len(one.worth.audit.across.settings),
        ]
        for one in judged
    ]
    foot: list[list[Cell]] = []
    if len(judged) > 1:
        rho = over_tasks(judged, lambda one: one.worth.spearman.value)
        tau = over_tasks(judged, lambda one: one.worth.kendall.value)
        foot = [["mean over tasks [interval over training sets]", None, rho, tau, None]]
    table = Table(
        "Rank correlation of loss with AUROC",
        columns,
        rows,
        foot,
        "−1: the lower the loss, the better the setting; 0: the loss says nothing",
    )
    few = len(set(groups(judged))) < 3
    covers = {5: "no interval over tasks: fewer than three training sets" if few else ""}
    blocks: list[Block] = [*survivors(judged), Figures(figures, list(keys.values()), note), table]
    return Section("against", "Loss against AUROC", blocks, covers)
