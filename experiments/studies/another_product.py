"""Pick on one product, train and deploy the setting on another: is it worth more than chance there?

    python experiments/studies/another_product.py runs/shelf

Reads runs of one pool of settings (see rules.py). The setting that the default rule picks on a task
is carried to every task of another training set. Prints the gain there (setting minus expected
random over oracle minus expected random, AUROC) of settings carried from defects and from semantic
tasks, means over where they come from, beside the task's own pick, with 95 % bootstrap intervals
over the training sets where they are deployed; and how many carried settings do worse there than
the expected random one. Opens labels, and logs it. Seconds.
"""

from __future__ import annotations

import argparse
import re
import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import open_run
from ad_jax.evaluate.comparison import share_won
from ad_jax.evaluate.pools import setting_aurocs
from ad_jax.report.figures import charts
from ad_jax.report.page.content import shown
from ad_jax.report.table import render
from ad_jax.runs import run
from ad_jax.selection import rules

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SEMANTIC = SHELF["SEMANTIC"]
KINDS = ("defects", "semantic")


class Task(NamedTuple):
    kind: str  # of KINDS
    group: str  # training-set fingerprint
    auroc: dict[str, float]  # by the setting's label
    picked: str  # label

    def gained(self, label: str) -> float:
        """AUROC over the expected random setting; 0 where the setting learned nothing."""
        random = float(np.mean(list(self.auroc.values())))
        return self.auroc.get(label, random) - random


def read(folder: Path) -> Task:
    one, labels = open_run(folder, "another product study")
    by_key = setting_aurocs(one.pool, np.asarray(labels.anomalous))
    label_of = {s.key: s.label for s in one.pool.settings}
    losses = one.losses[rules.DEFAULT]
    return Task(
        KINDS[bool(re.search(SEMANTIC, run.name_of(one.manifest)))],
        one.manifest["train_fingerprint"],
        {label_of[key]: value for key, value in by_key.items()},
        label_of[min(by_key, key=lambda key: losses[key])],
    )


def gain(tasks: list[Task], won: list[float]) -> Estimate:
    possible = [t.gained(max(t.auroc, key=t.auroc.__getitem__)) for t in tasks]
    return Estimate(*share_won(won, possible, [t.group for t in tasks]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of the gains")
    options = parser.parse_args()
    tasks = [read(folder) for folder in run.below(options.runs)]
    rows: list[list[object]] = []
    panel: dict[str, dict[str, Estimate]] = {}
    for there in KINDS:
        some = [t for t in tasks if t.kind == there]
        if not some:
            continue
        title = f"{len(some)} tasks ({there}) of {len({t.group for t in some})} training sets"
        own = gain(some, [t.gained(t.picked) for t in some])
        panel.setdefault("its own pick", {})[title] = own
        line: list[object] = [title, shown(own, 2)]
        for here in KINDS:
            carried = [
                [t.gained(o.picked) for o in tasks if o.kind == here and o.group != t.group]
                for t in some
            ]
            if not all(carried):
                line += ["-", "-"]
                continue
            found = gain(some, [float(np.mean(values)) for values in carried])
            panel.setdefault(f"carried from {here}", {})[title] = found
            line += [shown(found, 2), f"{np.mean(np.concatenate(carried) < 0):.2f}"]
        rows.append(line)
    print(f"gain of settings that {rules.DEFAULT} picked, and how many do worse than random there")
    columns = [c for here in KINDS for c in (f"carried from {here}", "worse")]
    print(render(["deployed on", "its own pick", *columns], rows))
    if options.picture:
        charts.dots(options.picture, "gain", {"where settings come from": panel}, zero=True)


if __name__ == "__main__":
    in_one_line(main)
