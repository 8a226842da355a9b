"""Sections of a report that labels made, a file per theme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ad_jax.evaluate.worth import Worth
from ad_jax.report.page import Block, Prose
from ad_jax.report.parts.task import Task


class Judged(NamedTuple):
    """A task and what labels say of it."""

    task: Task
    worth: Worth

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def training_set(self) -> str:
        return self.task.run.manifest["train_fingerprint"]


def survivors(judged: Sequence[Judged]) -> list[Block]:
    """A line for every task of which a section describes only what a search left."""
    said = [f"{o.name}: {o.worth.audit.tried.note}." for o in judged if o.worth.audit.tried.stopped]
    return [Prose(said, points=True)] if said else []


def groups(judged: Sequence[Judged]) -> list[str]:
    """Training set of every task: what intervals and tests count."""
    return [one.training_set for one in judged]
