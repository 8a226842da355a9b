"""The audit of a run on one screen: what is used, what was picked, and what they compare with."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ad_jax.base import stats
from ad_jax.evaluate.audit import Audit, Scope
from ad_jax.evaluate.comparison import gain_over_tasks, mean_over_tasks
from ad_jax.evaluate.over_tasks import SnoopingSummary
from ad_jax.evaluate.runs import Audited
from ad_jax.pool import Pool
from ad_jax.report.page import Block, Column, Prose, Section, Table
from ad_jax.report.page.content import Cell
from ad_jax.report.page.terminal import with_interval
from ad_jax.selection.weights import defaults

WIDTH = 80  # of a terminal
NAME = 56  # characters of a row's name
USED = "weighted mean surprise"  # of the ensembles, the one that scores
POINTS = ("ensemble", "pick", "control")  # how rows of points begin
Row = Sequence[Cell]


def brief(task: str, audited: Audited, uses_ensemble: bool, opened_before: int) -> list[Section]:
    """One run: a table of what scores, what was picked and what both compare with, and a few lines.

    Args:
      task: its name.
      audited: the run and what labels say of it.
      uses_ensemble: whether `ad-jax score` takes the ensemble; of a tuning it takes the pick.
      opened_before: how often the truth had been opened before this audit.
    """
    result, pool = audited.audit, audited.run.pool
    about = (
        f"{100 * result.share:.1f} % anomalies, {result.members} trainings, {result.untrained} of "
        "them learned nothing"
    )
    if result.tried.stopped:
        about += f", {result.stopped} were stopped early"
    rows = [*_used(result, uses_ensemble), *_settings(result, pool), *_untrained(result, pool)]
    head = [Column("AUROC and average precision (AP)"), Column("AUROC"), Column(""), Column("AP")]
    blocks: list[Block] = [_said(about), Prose([""]), Table("", head, rows), Prose([""])]
    if result.points:
        columns = [Column(name) for name in ("point by point", "AUROC", "AP", "VUS-PR")]
        blocks += [Table("", columns, _points(result)), Prose([""])]
    return [Section("brief", _short(task, WIDTH), [*blocks, *_lines(result, opened_before)])]


def _short(text: str, most: int = NAME) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _said(text: str) -> Prose:
    """A sentence in lines of a terminal's width."""
    return Prose(textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False))


def _mean(values: Sequence[float]) -> float:
    return stats.mean(values).value


def _row(name: str, auroc: float, precision: Cell = "-", interval: str = "") -> Row:
    return [_short(name), auroc, interval, precision]


def _used(result: Audit, uses_ensemble: bool) -> list[Row]:
    """The ensemble and the pick."""
    pick, rows = result.pick, []
    auroc = np.array(pick["auroc"])
    if USED in result.ensembles:
        found = result.ensembles[USED]
        used = ", which `score` uses" if uses_ensemble else ""
        name = f"ensemble of {len(result.across.settings)} settings{used}"
        rows.append(_row(name, found["auroc"], found["average_precision"]))
    half = 1.96 * auroc.std(ddof=1) / np.sqrt(len(auroc)) if len(auroc) > 1 else float("nan")
    name = f"pick: {pick['setting']}" if len(auroc) == 1 else f"pick, mean of {len(auroc)} seeds"
    interval = f"± {half:.3f}" if np.isfinite(half) else ""
    rows.append(_row(name, float(auroc.mean()), _mean(pick["average_precision"]), interval))
    if len(auroc) > 1:
        joined = result.detector
        rows.append(_row("pick, its seeds together", joined["auroc"], joined["average_precision"]))
    return rows


def _settings(result: Audit, pool: Pool) -> list[Row]:
    """Settings that a pick compares with; their AP is the mean over the seeds that learned."""
    across, settings = result.across, {s.key: s for s in pool.settings}
    precision = {
        key: _mean([result.member_average_precision[i] for i in pool.rows(settings[key], True)])
        for key in across.settings
    }
    auroc = dict(zip(across.settings, across.auroc, strict=True))
    usual = [key for key in defaults(pool) if key in auroc]
    best, worst = max(auroc, key=lambda k: auroc[k]), min(auroc, key=lambda k: auroc[k])
    rows = []
    if usual:
        name = " and ".join(settings[key].label for key in usual)
        own = _mean([auroc[key] for key in usual]), _mean([precision[key] for key in usual])
        rows.append(_row(f"default setting (or nearest): {name}", own[0], own[1]))
    rows.append(_row("a random setting", across.expected_random, _mean(list(precision.values()))))
    name = f"best setting, in hindsight: {settings[best].label}"
    rows.append(_row(name, across.oracle, precision[best]))
    rows.append(_row(f"worst setting: {settings[worst].label}", across.worst, precision[worst]))
    if np.isfinite(across.label_pick):
        rows.append(_row("what labels on other seeds pick", across.label_pick))
    return rows


def _untrained(result: Audit, pool: Pool) -> list[Row]:
    """The control that labels like best, and the most trivial score."""
    controls = {c.augmentation: c for c in pool.controls()}
    known = {k: v for k, v in result.baselines.items() if np.isfinite(v)}
    rows = []
    named = {k: v for k, v in known.items() if k in controls}
    if named:
        best = max(named, key=lambda k: named[k])
        own = [result.member_average_precision[i] for i in pool.rows(controls[best])]
        rows.append(_row(f"best control: {best.replace('_', ' ')}", named[best], _mean(own)))
    trivial = {k: v for k, v in known.items() if k not in controls}
    if trivial:
        best = max(trivial, key=lambda k: trivial[k])
        rows.append(_row(f"best trivial baseline: {best}", trivial[best]))
    return rows


def _points(result: Audit) -> list[Row]:
    """Points of a series: of what scores, of the pick, of the best control."""
    rows: list[Row] = []
    for begin in POINTS:
        own = {k: v for k, v in result.points.items() if k.startswith(begin)}
        if own:
            best = max(own, key=lambda k: np.nan_to_num(own[k].vus_pr, nan=-1.0))
            name = f"best {best}" if begin == "control" else best
            rows.append([_short(name.replace("_", " ")), *own[best]])
    return rows


def _lines(result: Audit, opened_before: int) -> list[Block]:
    """The pick's place, what labels would have bought, and how often they were opened."""
    pick, stage = result.pick, result.snooping.stages[-1]
    when, reason = result.log[-1]
    times = opened_before + len(result.log)
    often = "once" if times == 1 else f"{times} times, last"
    honest = f"{stage.honest:.3f}" if np.isfinite(stage.honest) else "an unknown one"
    lines = [
        f"The pick, {pick['setting']} by {pick['rule']}, is number {pick['rank']} of "
        f"{pick['settings']} settings.",
        f"Choosing by labels, down to the {stage.name}, would have given AUROC "
        f"{stage.apparent:.3f} on the samples whose labels chose, and {honest} on others.",
        f"Labels were opened {often}: {reason} at {when}",
    ]
    if result.of_survivors:
        lines.insert(1, f"{result.tried.note}.")
    return [_said(line) for line in lines]


def _ensemble(result: Audit) -> float:
    return result.ensembles.get(USED, {}).get("auroc", float("nan"))


OVER_TASKS: dict[str, Callable[[Audit], float]] = {
    "ensemble": _ensemble,
    "pick": lambda result: result.pick["mean"],
    "a random setting": lambda result: result.across.expected_random,
    "best setting, in hindsight": lambda result: result.across.oracle,
    "what labels on other seeds pick": lambda result: result.across.label_pick,
}


def brief_summary(
    name: str, audits: Mapping[str, Audit], trainings: Mapping[str, str], snooped: SnoopingSummary
) -> list[Section]:
    """Several runs: means of what scores, what was picked and what both compare with.

    Args:
      name: what they have in common.
      audits: task -> audit.
      trainings: task -> training-set fingerprint; tasks that share one are not independent.
      snooped: of the same tasks.
    """
    groups = [trainings[task] for task in audits]
    scopes: list[Scope] = [result.across for result in audits.values()]
    rows: list[Row] = []
    for title, figure in OVER_TASKS.items():
        values = [figure(result) for result in audits.values()]
        known = bool(np.isfinite(values).all())
        won = gain_over_tasks(scopes, values, groups) if known else None
        rows.append([title, mean_over_tasks(values, groups), won])
    heading = (
        f"{name}: {len(audits)} tasks of {len(set(groups))} training sets [95 % interval over "
        "training sets]; gain is 0 for a random setting, 1 for the best"
    )
    halves = {side: with_interval(estimate) for side, estimate in snooped.halves.items()}
    lines = [
        f"The best by half of the labels: {halves['own']} there,",
        f"{halves['other']} on the other half; the pick there {halves['rule']}",
    ]
    stopped = sum(bool(result.tried.stopped) for result in audits.values())
    if stopped:
        lines.append(f"Of {stopped} tasks the figures are of the settings that a search left.")
    table = Table("", [Column("means over tasks"), Column("AUROC"), Column("gain")], rows)
    return [Section("brief", "", [_said(heading), table, Prose(lines)])]
