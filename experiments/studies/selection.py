"""What a rule sees: held-out normals only, the target it is judged on, or a disjoint half of it.

    python experiments/studies/selection.py runs/shelf          # runs with their record

Reads runs (see rules.py), takes their alignment parts from the record, and computes every rule that
follows from single samples three times:

- transductive: on the whole target, on which the pick is judged, too;
- disjoint: on a random half of the target, judged on the other half; both ways, mean of 20 pairs;
- inductive: held-out normals stand in for the target (alignment without any anomaly), the pick
  judged on the target. Rules that see no target anyway have this column alone.

Prints the gain of every rule by column (picks minus expected random over oracle minus expected
random, AUROC, judged on the same samples), across families and within them, for defects and
semantic tasks, with 95 % bootstrap intervals over training sets, beside the label pick. Opens
labels, and logs it.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import open_run
from ad_jax.evaluate.audit import scopes
from ad_jax.evaluate.comparison import LABELS, share_won
from ad_jax.evaluate.pools import member_aurocs, setting_aurocs
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.report.page.content import shown
from ad_jax.report.table import render
from ad_jax.runs import plan, run
from ad_jax.selection import rules
from ad_jax.selection.trust import RESAMPLED, Rows, take

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SEMANTIC = SHELF["SEMANTIC"]
PAIRS = 20  # of halves
COLUMNS = ("transductive", "disjoint", "inductive")
SHOWN = (  # in the picture
    LABELS,
    rules.DEFAULT,
    "auroc_held_out",
    "calibrated_separability_uncapped",
    "model_centrality",
    "dsv_code",
    "random",
)
BLIND = ("training", "generated", "defaults", "settings")  # needs of rules that see no target


class Part(NamedTuple):
    """What one column of one rule got in one scope of one task: sums over its judgements."""

    won: float  # pick minus expected random
    possible: float  # oracle minus expected random


class Task(NamedTuple):
    name: str
    semantic: bool
    group: str  # training-set fingerprint
    parts: dict[tuple[str, str, str], Part]  # (scope, rule, column)


def judged(losses: dict[str, float], auroc: dict[str, float], keys: list[str]) -> Part:
    """A pick among some settings; ties share it."""
    values = np.array([auroc[k] for k in keys])
    loss = np.array([losses[k] for k in keys])
    if not np.isfinite(loss).any():
        return Part(0.0, float(values.max() - values.mean()))
    picked = values[loss == loss.min()].mean()
    return Part(float(picked - values.mean()), float(values.max() - values.mean()))


def blinded(pool: Pool) -> Pool:
    """Held-out normals in the target's place."""
    return dataclasses.replace(pool, scores=pool.held_out_scores, parts=pool.held_out_parts)


def read(folder: Path) -> Task:
    one, labels = open_run(folder, "selection study")
    pool, anomalous = plan.whole_pool(folder, one), np.asarray(labels.anomalous)
    across, within = scopes(pool, member_aurocs(pool, anomalous), {})
    named = {"across": across, **{f"within {name}": scope for name, scope in within.items()}}
    generator = np.random.default_rng(0)
    everyone = np.arange(pool.held_out_scores.shape[2])
    whole = setting_aurocs(pool, anomalous)
    halves = []
    for _ in range(PAIRS):
        order = generator.permutation(len(anomalous))
        pair = order[: len(order) // 2], order[len(order) // 2 :]
        for seen, rest in (pair, pair[::-1]):
            if 0 < anomalous[rest].sum() < len(rest):
                other = take(pool, Rows(rest, everyone))
                auroc = setting_aurocs(other, anomalous[rest])
                halves.append((take(pool, Rows(seen, everyone)), auroc))
    parts: dict[tuple[str, str, str], list[Part]] = {}
    for name, rule in rules.available(pool).items():
        looks: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {}
        if rule.needs in BLIND:
            looks["inductive"] = [(rules.losses(pool, name), whole)]
        elif rule.needs in RESAMPLED:
            looks["transductive"] = [(rules.losses(pool, name), whole)]
            looks["disjoint"] = [(rules.losses(seen, name), auroc) for seen, auroc in halves]
            if rule.needs != "scores" and not name.startswith("calibrated"):
                looks["inductive"] = [(rules.losses(blinded(pool), name), whole)]
        for column, several in looks.items():
            for scope, of in named.items():
                found = [judged(losses, auroc, of.settings) for losses, auroc in several]
                parts[scope, name, column] = found
    for name, of in named.items():
        possible = of.oracle - of.expected_random
        label_pick = Part(of.label_pick - of.expected_random, possible)
        parts[name, LABELS, "transductive"] = [label_pick]
    text = run.name_of(one.manifest)
    means = {
        key: Part(*(float(np.mean([getattr(p, f) for p in found])) for f in Part._fields))
        for key, found in parts.items()
    }
    return Task(text, bool(re.search(SEMANTIC, text)), one.manifest["train_fingerprint"], means)


def cell(tasks: list[Task], within: bool, rule: str, column: str) -> Estimate | None:
    """Gain over tasks (and families), and its interval."""
    own: list[tuple[str, Part]] = []
    for task in tasks:
        for (scope, name, where), part in task.parts.items():
            if (name, where, scope != "across") == (rule, column, within):
                own.append((task.group, part))
    if not own:
        return None

    groups, parts = zip(*own, strict=True)
    return Estimate(*share_won([p.won for p in parts], [p.possible for p in parts], groups))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of some of the rules")
    options = parser.parse_args()
    folders = run.below(options.runs)
    tasks, panels = [], {}
    for number, folder in enumerate(folders, 1):
        tasks.append(read(folder))
        print(f"{number}/{len(folders)} {tasks[-1].name}", file=sys.stderr, flush=True)
    for kind, semantic in (("defects", False), ("semantic", True)):
        some = [t for t in tasks if t.semantic == semantic]
        for within in (False, True) if some else ():
            names = list(
                dict.fromkeys(
                    rule
                    for t in some
                    for scope, rule, _ in t.parts
                    if (scope != "across") == within
                )
            )
            rows = []
            for name in names:
                cells = {column: cell(some, within, name, column) for column in COLUMNS}
                rows.append((name, {c: one for c, one in cells.items() if one is not None}))
            rows.sort(key=lambda row: -next(iter(row[1].values())).value)
            sets = len({t.group for t in some})
            where = "within families" if within else "across families"
            print(f"\n{kind}, {where}: gain on {len(some)} tasks of {sets} training sets")
            texts = [[n, *(shown(c.get(o), 2) or "-" for o in COLUMNS)] for n, c in rows]
            print(render(["rule", *COLUMNS], texts))
            panels[f"{kind}, {where}"] = {n: c for n, c in rows if n in SHOWN}
    if options.picture:
        charts.dots(options.picture, "gain", panels, zero=True)


if __name__ == "__main__":
    in_one_line(main)
