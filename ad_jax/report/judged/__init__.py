"""Sections of a report that labels made, a file per theme."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.assessment import Assessment
from ad_jax.evaluate.audit import Audit, Scope
from ad_jax.evaluate.comparison import mean_over_tasks
from ad_jax.report.page import Block, Prose
from ad_jax.report.parts.task import Task


class JudgedRun(NamedTuple):
    """A task and what labels say of it."""

    task: Task
    assessment: Assessment

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def rule(self) -> str:
        """The one that picked."""
        return self.task.run.rule

    @property
    def training_set(self) -> str:
        return self.task.run.manifest["train_fingerprint"]

    @property
    def audit(self) -> Audit:
        return self.assessment.audit

    @property
    def across(self) -> Scope:
        """The comparison over all families."""
        return self.assessment.audit.across

    @property
    def auroc(self) -> Estimate:
        """Of the pick."""
        return self.assessment.auroc


def survivors(judged: Sequence[JudgedRun]) -> list[Block]:
    """A line for every task of which a section describes only what a search left."""
    lines = [f"{t.name}: {t.audit.tried.note}." for t in judged if t.audit.tried.stopped]
    return [Prose(lines, points=True)] if lines else []


def groups(judged: Sequence[JudgedRun]) -> list[str]:
    """Training set of every task: what intervals and tests count."""
    return [task.training_set for task in judged]


def over_tasks(judged: Sequence[JudgedRun], figure: Callable[[JudgedRun], float]) -> Estimate:
    """Mean of a figure over tasks with its interval over training sets; NaN are left out."""
    return mean_over_tasks([figure(task) for task in judged], groups(judged))
