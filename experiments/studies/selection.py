"""What a rule sees: held-out normals only, the target it is judged on, or a disjoint half of it.

Reads runs of the shelf, takes their alignment parts from the record, and computes every rule that
follows from single samples three times:

- transductive: on the whole target, on which the pick is judged, too;
- disjoint: on a random half of the target, judged on the other half; both ways, mean of 20 pairs;
- inductive: held-out normals stand in for the target (alignment without any anomaly), the pick
  judged on the target. Rules that see no target anyway have this column alone.

Prints the gain of every rule by column (picks minus expected random over oracle minus expected
random, AUROC, judged on the same samples), across families and within them, for defects and
semantic tasks, with 95 % bootstrap intervals over training sets, beside the label pick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ad_jax.base.stats import Estimate
from ad_jax.evaluate.audit import scopes
from ad_jax.evaluate.comparison import LABELS
from ad_jax.evaluate.pools import member_aurocs, setting_aurocs
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.selection import rules
from ad_jax.selection.resampling import RESAMPLED
from experiments.result import Panels, Result, Table, to_two_digits
from experiments.study import from_runs
from experiments.tasks import KINDS, Task, Won, counted, gains, won

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
ACROSS, WITHIN = "across families", "within families"
Look = tuple[dict[str, float], dict[str, float]]  # loss and AUROC by setting


def blinded(pool: Pool) -> Pool:
    """Held-out normals in the target's place."""
    return dataclasses.replace(pool, target=pool.held_out)


def halves(pool: Pool, anomalous: np.ndarray) -> Iterator[tuple[Pool, dict[str, float]]]:
    """The pool as seen on a half of the target, and the settings' AUROC on the other."""
    generator = np.random.default_rng(0)
    everyone = np.arange(pool.held_out_scores.shape[2])
    for _ in range(PAIRS):
        order = generator.permutation(len(anomalous))
        pair = order[: len(order) // 2], order[len(order) // 2 :]
        for seen, rest in (pair, pair[::-1]):
            if 0 < anomalous[rest].sum() < len(rest):
                auroc = setting_aurocs(pool.take(rest, everyone), anomalous[rest])
                yield pool.take(seen, everyone), auroc


def rows(task: Task) -> list[Won]:
    """By (rule, column, scope); within families one row each."""
    pool = task.whole_pool()
    across, within = scopes(pool, member_aurocs(pool, task.anomalous), {})
    named = [(ACROSS, across), *((WITHIN, scope) for scope in within.values())]
    whole = setting_aurocs(pool, task.anomalous)
    divided = list(halves(pool, task.anomalous))
    out = []
    for name, rule in rules.available(pool).items():
        looks: dict[str, list[Look]] = {}
        if rule.needs in BLIND:
            looks["inductive"] = [(rules.losses(pool, name), whole)]
        elif rule.needs in RESAMPLED:
            looks["transductive"] = [(rules.losses(pool, name), whole)]
            looks["disjoint"] = [(rules.losses(seen, name), auroc) for seen, auroc in divided]
            if rule.needs != "scores" and not name.startswith("calibrated"):
                looks["inductive"] = [(rules.losses(blinded(pool), name), whole)]
        for column, several in looks.items():
            for where, scope in named:
                found = [won(*look, scope.settings) for look in several]
                mean = (float(value) for value in np.mean(found, axis=0))
                out.append(Won(*task[:3], (name, column, where), *mean))
    for where, scope in named:
        values = np.array([scope.label_pick, scope.oracle]) - scope.expected_random
        choice = (LABELS, "transductive", where)
        out.append(Won(*task[:3], choice, *map(float, values)))
    return out


def table(found: Sequence[Won]) -> Result:
    blocks: list[Table | str] = []
    panels: Panels = {}
    for kind in KINDS:
        some = [row for row in found if row.kind == kind]
        gain = gains(some)
        for where in (ACROSS, WITHIN) if some else ():
            cells: dict[str, dict[str, Estimate]] = {}
            for rule, column, scope in gain:
                if scope == where:
                    cells.setdefault(rule, {})[column] = gain[rule, column, scope]
            own = {n: {c: one[c] for c in COLUMNS if c in one} for n, one in cells.items()}
            order = sorted(own, key=lambda name: -next(iter(own[name].values())).value)
            blocks += [
                f"\n{kind}, {where}: gain on {counted(some)}",
                Table(
                    ["rule", *COLUMNS],
                    [[name, *(own[name].get(c) for c in COLUMNS)] for name in order],
                    to_two_digits,
                ),
            ]
            panels[f"{kind}, {where}"] = {n: own[n] for n in order if n in SHOWN}
    return Result(blocks, lambda path: charts.dots(path, "gain", panels, zero=True))


STUDY = from_runs("selection study", rows, table)
