"""How few anomalies may the target hold? Rules at 0, 1, 5, 10 and 25 % of anomalies.

Reads runs of the shelf, draws targets with a given share of anomalies from the run's own (its
normals, and as many anomalies as make the share, ten draws), computes every rule that follows from
single samples on each, and judges the pick on the whole target. Prints the gain across families
(picks minus expected random over oracle minus expected random) with 95 % bootstrap intervals over
training sets, for defects and semantic tasks, and how often the null of `trust` stands: with no
anomalies it should, with many it should not. Rules that see no anomaly cannot gain but by luck; a
target too small for one anomaly at a share is left out there. Anomalies among the training
normals: contaminated_training.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.evaluate.pools import setting_aurocs
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.selection import rules
from ad_jax.selection.resampling import RESAMPLED
from ad_jax.selection.trust import RARE, null
from experiments.result import Cell, Panels, Result, Table, to_two_digits
from experiments.study import from_runs
from experiments.tasks import KINDS, Task, Won, counted, gains, won

SHARES = (0.0, 0.01, 0.05, 0.1, 0.25)
NAMES = [f"{share:.0%}" for share in SHARES]
DRAWS = 10
SHOWN = (rules.DEFAULT, "auroc_held_out", "calibrated_separability_uncapped", "dsv_code")


class Found(NamedTuple):
    """One task at one share: what every rule won, and in which share of draws the null stands."""

    kind: str
    share: str
    won: list[Won]  # by (rule, share)
    stands: float


def drawn(pool: Pool, anomalous: np.ndarray, share: float) -> list[Pool]:
    """Pools whose target has the share; none where not one anomaly fits."""
    return [one for _, one in drawn_rows(pool, anomalous, share)]


def drawn_rows(
    pool: Pool, anomalous: np.ndarray, share: float, draws: int = DRAWS
) -> list[tuple[np.ndarray, Pool]]:
    """The same, and which samples of the whole target each holds."""
    good, bad = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    count = round(share / (1.0 - share) * len(good))
    if share and not count:
        return []
    everyone = np.arange(pool.held_out_scores.shape[2])
    generator = np.random.default_rng(0)
    out = []
    for _ in range(draws if share else 1):
        some = generator.choice(bad, count, replace=count > len(bad))
        kept = np.concatenate([good, some])
        out.append((kept, pool.take(kept, everyone)))
    return out


def rows(task: Task) -> list[Found]:
    pool = task.whole_pool()
    auroc = setting_aurocs(pool, task.anomalous)
    names = [n for n, rule in rules.available(pool).items() if rule.needs in RESAMPLED]
    out = []
    for share, text in zip(SHARES, NAMES, strict=True):
        pools = drawn(pool, task.anomalous, share)
        if pools:
            judged = []
            for name in names:
                found = [won(rules.losses(one, name), auroc, auroc) for one in pools]
                means = (float(value) for value in np.mean(found, axis=0))
                judged.append(Won(*task[:3], (name, text), *means))
            stands = float(np.mean([null(p, permutations=199) > RARE for p in pools[:3]]))
            out.append(Found(task.kind, text, judged, stands))
    return out


def table(found: Sequence[Found]) -> Result:
    blocks: list[Table | str] = []
    panels: Panels = {}
    for kind in KINDS:
        some = [one for one in found if one.kind == kind]
        if not some:
            continue
        every = [row for one in some for row in one.won]
        gain = gains(every)
        names = list(dict.fromkeys(rule for rule, _ in gain))
        lines: list[list[Cell]] = [[n, *(gain.get((n, share)) for share in NAMES)] for n in names]
        stands = [[one.stands for one in some if one.share == share] for share in NAMES]
        means = [f"{np.mean(values):.2f}" if values else None for values in stands]
        blocks += [
            f"\n{kind}: gain on {counted(every)}, by share of anomalies",
            Table(
                ["rule", *NAMES],
                [*lines, ["(the null stands, share of draws)", *means]],
                to_two_digits,
            ),
        ]
        panels[kind] = {
            share: {n: gain[n, share] for n in SHOWN if (n, share) in gain} for share in NAMES
        }
    across = "anomalies in the target"
    return Result(
        blocks, lambda path: charts.lines(path, across, "gain", panels, zero=True, floor=-1.0)
    )


STUDY = from_runs("contamination study", rows, table)
