"""Does trust foretell what a pick loses? Regret against the ensemble by how differently both order.

Reads runs of the shelf and of frozen features, draws targets with 0 to 50 % of anomalies as the
study `ensemble` does, lets the default rule pick and the ensemble weigh on each, and compares what
`trust.forecast` sees without labels (1 - Spearman correlation of pick and ensemble over the drawn
target) with the AUROC that the ensemble has ahead of the pick on the whole target. Prints that by
what is seen, which is the table in `ad_jax.selection.trust`, and how a forecast holds on training
sets that did not make it: the mean regret of the same bin on all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.ranks import auroc_rows, spearman_rows
from ad_jax.base.stats import Estimate
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.report.figures import charts
from ad_jax.selection import rules, trust, weights
from experiments.result import Cell, Panels, Result, Table
from experiments.studies import contamination
from experiments.studies.ensemble import DRAWS, FROZEN_SHELF, NEEDS, SHARES, kind_of
from experiments.study import SHELF, from_runs
from experiments.tasks import Task, Value, counted, means

EDGES = [row[0] for row in trust.FORECAST[:-1]]
BINS = [
    f"below {EDGES[0]:g}",
    *(f"{low:g} to {high:g}" for low, high in zip(EDGES, EDGES[1:])),
    f"{EDGES[-1]:g} and more",
]


class Draw(NamedTuple):
    """A drawn target: what trust sees, and what the pick loses."""

    task: str
    kind: str
    group: str
    bin: int
    regret: float


def rows(task: Task) -> list[Draw]:
    pool, y = task.run.pool, task.anomalous
    surprise = weights.surprises(pool)
    settings = {s.key: s for s in weights.finished(pool)}

    def auroc(some: dict[str, float]) -> float:
        mixed = weights.mixed(surprise, some)[None]
        return float(auroc_rows(mixed[:, y == 0], mixed[:, y == 1])[0])

    out = []
    for share in SHARES:
        for _, drawn in contamination.drawn_rows(pool, y, share, DRAWS):
            own = weights.weights(drawn)
            losses = rules.losses(drawn, rules.DEFAULT)
            pick = min(own, key=losses.__getitem__)
            seen = trust.forecast(drawn, own, settings[pick]).disagreement
            regret = auroc(own) - auroc({pick: 1.0})
            bin = int(np.digitize(seen, EDGES))
            out.append(Draw(task.name, kind_of(task), task.group, bin, regret))
    return out


def foretold(draws: Sequence[Draw]) -> np.ndarray:
    """Per draw the mean regret of its bin on other training sets; NaN where there is none."""
    out = np.full(len(draws), np.nan)
    for i, draw in enumerate(draws):
        others = [o.regret for o in draws if o.bin == draw.bin and o.group != draw.group]
        if others:
            out[i] = np.mean(others)
    return out


def correlation(draws: Sequence[Draw], told: np.ndarray) -> Estimate:
    """Spearman of forecast and regret over draws, and its interval over training sets."""
    regrets = np.array([draw.regret for draw in draws])

    def over(some: list[int]) -> float:
        return float(spearman_rows(told[None, some], regrets[None, some])[0])

    groups = [draw.group for draw in draws]
    return Estimate(over(list(range(len(draws)))), *over_training_sets(groups, over))


def table(draws: Sequence[Draw]) -> Result:
    told = foretold(draws)
    known = np.isfinite(told)
    lines: list[list[Cell]] = []
    panels: Panels = {}
    for kind in ("all", *dict.fromkeys(draw.kind for draw in draws)):
        panel = panels.setdefault(kind, {})
        for i, name in enumerate(BINS):
            rows = [k for k, d in enumerate(draws) if d.bin == i and kind in ("all", d.kind)]
            if not rows:
                continue
            own = [draws[k] for k in rows]
            regret = means([Value(*d[:3], (name,), d.regret) for d in own])[name,]
            low, high = (float(np.quantile([d.regret for d in own], q)) for q in (0.1, 0.9))
            forecast = float(np.nanmean(told[rows])) if known[rows].any() else None
            tasks, sets = len({d.task for d in own}), len({d.group for d in own})
            lines.append([kind, name, tasks, sets, len(own), regret, low, high, forecast])
            panel[name] = {"realised": regret}
            if forecast is not None:
                panel[name]["forecast of other sets"] = Estimate(forecast)
    some = [draw for draw, yes in zip(draws, known, strict=True) if yes]
    header = ["runs", "disagreement", "tasks", "sets", "draws", "regret", "10 %", "90 %"]
    whole = [Value(*d[:3], ("",), d.regret) for d in draws]
    blocks: list[Table | str] = [
        f"\nRegret of the pick (AUROC of the ensemble less the pick's) on {counted(whole)}, by "
        "disagreement of the two",
        Table([*header, "forecast of other sets"], lines),
    ]
    if len(set(told[known])) > 1:
        found = correlation(some, told[known])
        blocks.append(
            f"\nSpearman of forecast and regret over {len(some)} draws: {found.value:.2f} "
            f"[{found.low:.2f}, {found.high:.2f}] over training sets"
        )
    across = "disagreement"
    return Result(blocks, lambda path: charts.lines(path, across, "regret", panels, zero=True))


STUDY = from_runs("forecast study", rows, table, (SHELF, FROZEN_SHELF), NEEDS)
