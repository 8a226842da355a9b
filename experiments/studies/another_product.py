"""Pick on one product, train and deploy the setting on another: is it worth more than chance there?

Reads runs of one pool of settings (the shelf's). The setting that the default rule picks on a task
is carried to every task of another training set. Prints the gain there (setting minus expected
random over oracle minus expected random, AUROC) of settings carried from defects and from semantic
tasks, means over where they come from, beside the task's own pick, with 95 % bootstrap intervals
over the training sets where they are deployed; and how many carried settings do worse there than
the expected random one. Seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.evaluate.pools import setting_aurocs
from ad_jax.report.figures import charts
from ad_jax.selection import rules
from experiments.result import Cell, Panels, Result, Table, to_two_digits
from experiments.study import from_runs
from experiments.tasks import KINDS, Task, Won, counted, gains

OWN = "its own pick"


class Picked(NamedTuple):
    """A task: AUROC by the setting's label, and the label of what is picked there."""

    task: str
    kind: str
    group: str
    auroc: dict[str, float]
    pick: str

    def gained(self, label: str) -> float:
        """AUROC over the expected random setting; 0 where the setting learned nothing."""
        random = float(np.mean(list(self.auroc.values())))
        return self.auroc.get(label, random) - random

    def won(self, choice: str, value: float) -> Won:
        possible = self.gained(max(self.auroc, key=self.auroc.__getitem__))
        return Won(self.task, self.kind, self.group, (choice,), value, possible)


def rows(task: Task) -> list[Picked]:
    by_key = setting_aurocs(task.run.pool, task.anomalous)
    label_of = {s.key: s.label for s in task.run.pool.settings}
    losses = task.run.losses[rules.DEFAULT]
    auroc = {label_of[key]: value for key, value in by_key.items()}
    return [Picked(*task[:3], auroc, label_of[min(by_key, key=lambda key: losses[key])])]


def table(tasks: Sequence[Picked]) -> Result:
    lines: list[list[Cell]] = []
    panel: Panels = {"where settings come from": {}}
    for there in KINDS:
        some = [t for t in tasks if t.kind == there]
        if not some:
            continue
        won = [t.won(OWN, t.gained(t.pick)) for t in some]
        worse = {}
        for here in KINDS:
            carried = [
                [t.gained(o.pick) for o in tasks if o.kind == here and o.group != t.group]
                for t in some
            ]
            if all(carried):
                means = [float(np.mean(values)) for values in carried]
                won += [t.won(here, mean) for t, mean in zip(some, means, strict=True)]
                worse[here] = f"{np.mean(np.concatenate(carried) < 0):.2f}"
        gain = {choice: value for (choice,), value in gains(won).items()}
        title = counted(some).replace("tasks", f"tasks ({there})", 1)
        lines.append([title, gain[OWN], *(c for h in KINDS for c in (gain.get(h), worse.get(h)))])
        for choice, value in gain.items():
            name = OWN if choice == OWN else f"carried from {choice}"
            panel["where settings come from"].setdefault(name, {})[title] = value
    columns = [c for here in KINDS for c in (f"carried from {here}", "worse")]
    title = f"gain of settings that {rules.DEFAULT} picked, and how many do worse than random there"
    return Result(
        [title, Table(["deployed on", OWN, *columns], lines, to_two_digits)],
        lambda path: charts.dots(path, "gain", panel, zero=True),
    )


STUDY = from_runs("another product study", rows, table)
