"""The choice as labels do not touch it: losses, trust, signatures, what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ad_jax.pool import estimates_by_setting
from ad_jax.report.figures import parallel, points, theme
from ad_jax.report.page import (
    Block,
    Figures,
    Fold,
    Parallel,
    Prose,
    Section,
    Table,
    field,
    tabulated,
)
from ad_jax.report.page.content import known
from ad_jax.report.parts.task import Task, estimates, families, hypers, in_order, settings_table

TOP = 5  # settings that stand out at first
FIGURES = {  # of trust -> what it is, and digits
    "regret": ("forecast of the ensemble's AUROC less the pick's", 3),
    "disagreement": ("1 - Spearman correlation of pick and ensemble over the target", 2),
    "margin": ("runner-up behind, in standard errors over seeds", 1),
    "stability": ("share of bootstrap draws that the pick's family wins", 2),
    "reliability": ("rank correlation of losses on halves of the samples", 2),
    "agreement": ("how high rules of other kinds rank the pick, 1 = first", 2),
    "null": ("p-value of: target and held-out normals are alike", 3),
}


def control_losses(task: Task) -> dict[str, float]:
    """Control member -> mean loss over seeds by the rule that picked; NaN where it has none."""
    pool = task.run.pool
    return {
        c.augmentation: value.value
        for c, value in zip(
            pool.controls(), estimates_by_setting(pool, task.loss, pool.controls()), strict=True
        )
    }


def losses(tasks: Sequence[Task]) -> Section:
    """Losses by family, a drawing per task."""
    keys = theme.keys(families(tasks))
    drawn = []
    for task in tasks:
        settings = task.run.pool.settings
        dots = [
            points.Point(s.family, s.label, loss, picked=s.key == task.run.pick.key)
            for s, loss in zip(settings, estimates(task, settings), strict=True)
        ]
        drawn.append(points.losses(task.name, task.run.rule, dots, control_losses(task), keys))
    note = (
        "A point is a setting, its bar the 95 % interval over seeds (three or more); the ring is "
        "the pick, crosses and dashed lines are control members by the same rule. No label is used "
        "here: the rule saw the target without its labels (transduction), and no other unlabelled "
        "set."
    )
    closed = "labels were not opened (--audit opens them)"
    covers = {
        2: f"controls are compared by the rule's own loss only: {closed}",
        7: f"losses only, no headline figure: {closed}",
        11: f"declared only: {closed}",
    }
    judged = any(t.quality is not None for t in tasks)
    blocks = [Figures(drawn, (), note)]
    return Section("losses", "Losses, without labels", blocks, {} if judged else covers)


def trust(tasks: Sequence[Task]) -> Section:
    """How far to trust each pick, and failure signatures."""
    reasons = [f"{t.name}: {reason}." for t in tasks for reason in t.run.trust.get("reasons", [])]
    blocks: list[Block] = [
        _trust(tasks),
        Fold("Reasons in words", [Prose(reasons, points=True)]),
        _signatures(tasks),
    ]
    return Section("trust", "How far to trust the picks", blocks)


def _trust(tasks: Sequence[Task]) -> Table:
    figure = lambda name: lambda task: known(task.run.trust.get(name))
    verdict = "high, medium or low, by the forecast beside it"
    control = "control member that looks better by the same rule"
    return tabulated(
        "Trust in the picks, without labels",
        [
            field("task", lambda t: t.name),
            field("pick", lambda t: t.run.pick.label),
            field("trust", lambda t: t.run.trust.get("verdict", "not told"), verdict),
            *(field(name, figure(name), *about) for name, about in FIGURES.items()),
            field("better control", lambda t: t.run.trust.get("control") or "none", control),
        ],
        tasks,
    )


def _signatures(tasks: Sequence[Task]) -> Block:
    signatures = [(task.name, entry) for task in tasks for entry in task.run.signatures]
    if not signatures:
        return Prose(["These runs were made by a version that saw no failure signatures."])
    return tabulated(
        "Failure signatures",
        [
            field("task", lambda row: row[0]),
            field("signature", lambda row: row[1]["name"]),
            field("found", lambda row: "yes" if row[1]["found"] else "no"),
            field("value", lambda row: known(row[1]["value"])),
            field("limit", lambda row: known(row[1]["limit"])),
            field("what was seen, what to do", lambda row: row[1]["advice"]),
        ],
        signatures,
    )


def tried(tasks: Sequence[Task], foots: Mapping[str, Sequence[tuple[str, float]]]) -> Section:
    """What was tried: parallel coordinates and a table of the settings, per task.

    Args:
      tasks: runs.
      foots: task -> lines to compare with, name and AUROC.
    """
    blocks: list[Block] = []
    for number, task in enumerate(tasks, 1):
        key = f"settings-{number}"
        table = settings_table(task, key, foots.get(task.name, ()))
        several = len(task.run.pool.settings) > 1  # of one there is nothing to compare
        shown: list[Block] = [_coordinates(task, key), table] if several else [table]
        blocks += shown if len(tasks) == 1 else [Fold(task.name, shown)]
    return Section("settings", "What was tried", blocks)


def _coordinates(task: Task, key: str) -> Parallel:
    settings = in_order(task)
    loss = [task.run.losses[task.run.rule][s.key] for s in settings]
    first, last = hypers(settings), {f"loss ({task.run.rule})": loss}
    if task.quality is not None:
        auroc = estimates_by_setting(task.run.pool, task.quality.auroc, settings)
        last["AUROC"] = [estimate.value for estimate in auroc]
    spread = sorted(first, key=lambda n: -sum(np.isfinite(first[n])))  # the commonest ones fit
    kept = spread[: parallel.MOST_AXES - len(last)]
    numbers = {n: values for n, values in first.items() if n in kept} | last
    rows = sorted(points.thinned(loss))
    dropped = len(first) - len(kept)
    note = (
        "The lowest losses are drawn over the others. A line passes over hyperparameters that its "
    )
    note += "setting does not have; a focused row of the table below is drawn in red."
    if len(rows) < len(settings):
        note += f" {len(rows)} of {len(settings)} settings are drawn: the best half of these, and "
        note += "others evenly over the ranks."
    if dropped:
        note += f" {dropped} hyperparameters that few settings have are in the table only."
    names = [s.family for s in settings]
    figure = parallel.coordinates(
        f"Hyperparameters of {task.name}",
        {"family": names} if len(set(names)) > 1 else {},
        numbers,
        rows[::-1],
        f"parallel coordinates of {len(rows)} settings over {', '.join(numbers)}; the "
        "table below has the same figures",
    )
    return Parallel(key, figure, min(TOP, len(rows)), len(rows), note)
