"""The choice as labels do not touch it: losses, trust, signatures, what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ad_jax.pool import estimates_by_setting
from ad_jax.report.figures import parallel, points, theme
from ad_jax.report.page import Block, Column, Figures, Fold, Parallel, Prose, Section, Table
from ad_jax.report.page.content import Cell, known
from ad_jax.report.parts.task import Task, estimates, families, hypers, in_order, settings_table

TOP = 5  # settings that stand out at first


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
        some = [
            points.Point(s.family, s.label, loss, picked=s.key == task.run.pick.key)
            for s, loss in zip(settings, estimates(task, settings), strict=True)
        ]
        drawn.append(points.losses(task.name, task.run.rule, some, control_losses(task), keys))
    note = (
        "A point is a setting, its bar the 95 % interval over seeds (three or more); the ring is "
        "the pick, crosses are control members by the same rule. No label is used here: the rule "
        "saw the target without its labels (transduction), and no other unlabelled set."
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
    columns = [
        Column("task"),
        Column("pick"),
        Column("trust", "high, medium or low, from the figures beside it"),
        Column("margin", "runner-up behind, in standard errors over seeds", 1),
        Column("stability", "share of bootstrap draws that the pick's family wins", 2),
        Column("reliability", "rank correlation of losses on halves of the samples", 2),
        Column("agreement", "how high rules of other kinds rank the pick, 1 = first", 2),
        Column("null", "p-value of: target and held-out normals are alike"),
        Column("better control", "control member that looks better by the same rule"),
    ]
    rows: list[list[Cell]] = []
    said: list[str] = []
    for task in tasks:
        told = task.run.trust
        numbers = [told.get(n) for n in ("margin", "stability", "reliability", "agreement", "null")]
        rows.append(
            [
                task.name,
                task.run.pick.label,
                told.get("verdict", "not told"),
                *map(known, numbers),
                told.get("control") or "none",
            ]
        )
        said += [f"{task.name}: {reason}." for reason in told.get("reasons", [])]
    found = [
        [
            task.name,
            one["name"],
            "yes" if one["found"] else "no",
            known(one["value"]),
            known(one["limit"]),
            one["advice"],
        ]
        for task in tasks
        for one in task.run.signatures
    ]
    blocks: list[Block] = [Table("Trust in the picks, without labels", columns, rows)]
    blocks.append(Fold("Reasons in words", [Prose(said, points=True)]))
    if found:
        heads = ["task", "signature", "found", "value", "limit", "what was seen, what to do"]
        blocks.append(Table("Failure signatures", [Column(h) for h in heads], found))
    else:
        blocks.append(Prose(["These runs were made by a version that saw no failure signatures."]))
    return Section("trust", "How far to trust the picks", blocks)


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
        both: list[Block] = [_coordinates(task, key), table] if several else [table]
        blocks += both if len(tasks) == 1 else [Fold(task.name, both)]
    return Section("settings", "What was tried", blocks)


def _coordinates(task: Task, key: str) -> Parallel:
    settings = in_order(task)
    loss = [task.run.losses[task.run.rule][s.key] for s in settings]
    first, last = hypers(settings), {f"loss ({task.run.rule})": loss}
    if task.quality is not None:
        auroc = estimates_by_setting(task.run.pool, task.quality.auroc, settings)
        last["AUROC"] = [one.value for one in auroc]
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
