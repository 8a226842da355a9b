"""How few anomalies may the target hold? Rules at 0, 1, 5, 10 and 25 % of anomalies.

    python experiments/studies/contamination.py runs/shelf          # runs with their record

Reads runs (see rules.py), draws targets with a given share of anomalies from the run's own (its
normals, and as many anomalies as make the share, ten draws), computes every rule that follows from
single samples on each, and judges the pick on the whole target. Prints the gain across families
(picks minus expected random over oracle minus expected random) with 95 % bootstrap intervals over
training sets, for defects and semantic tasks, and how often the null of `trust` stands: with no
anomalies it should, with many it should not. Rules that see no anomaly cannot gain but by luck; a
target too small for one anomaly at a share is left out there. Opens labels, and logs it. Anomalies
among the training normals: contaminated_training.py.
"""

from __future__ import annotations

import argparse
import re
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import open_run
from ad_jax.evaluate.comparison import share_won
from ad_jax.evaluate.pools import setting_aurocs
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.report.page.content import shown
from ad_jax.report.table import render
from ad_jax.runs import plan, run
from ad_jax.selection import rules
from ad_jax.selection.trust import RARE, RESAMPLED, Rows, null, take

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SEMANTIC = SHELF["SEMANTIC"]
SHARES = (0.0, 0.01, 0.05, 0.1, 0.25)
DRAWS = 10
SHOWN = (rules.DEFAULT, "auroc_held_out", "calibrated_separability_uncapped", "dsv_code")


class Task(NamedTuple):
    """One run: per rule and share what the picks won, of what was possible; the null's standing."""

    semantic: bool
    group: str  # training-set fingerprint
    won: dict[tuple[str, float], float]  # mean over draws, AUROC over expected random
    possible: float
    stands: dict[float, float]  # share of draws


def drawn(pool: Pool, anomalous: np.ndarray, share: float) -> list[Pool]:
    """Pools whose target has the share; none where not one anomaly fits."""
    good, bad = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    count = round(share / (1.0 - share) * len(good))
    if share and not count:
        return []
    everyone = np.arange(pool.held_out_scores.shape[2])
    generator = np.random.default_rng(0)
    out = []
    for _ in range(DRAWS if share else 1):
        some = generator.choice(bad, count, replace=count > len(bad))
        out.append(take(pool, Rows(np.concatenate([good, some]), everyone)))
    return out


def read(folder: Path) -> Task:
    one, labels = open_run(folder, "contamination study")
    pool, anomalous = plan.whole_pool(folder, one), np.asarray(labels.anomalous)
    by_setting = setting_aurocs(pool, anomalous)
    keys, auroc = list(by_setting), np.array(list(by_setting.values()))
    names = [n for n, rule in rules.available(pool).items() if rule.needs in RESAMPLED]
    won: dict[tuple[str, float], list[float]] = {}
    stands: dict[float, float] = {}
    for share in SHARES:
        pools = drawn(pool, anomalous, share)
        for one_pool in pools:
            for name in names:
                losses = rules.losses(one_pool, name)
                loss = np.array([losses[key] for key in keys])
                best = loss == loss.min()
                value = auroc[best].mean() if np.isfinite(loss).any() else auroc.mean()
                won.setdefault((name, share), []).append(float(value - auroc.mean()))
        if pools:
            stands[share] = float(np.mean([null(p, permutations=199) > RARE for p in pools[:3]]))
    return Task(
        bool(re.search(SEMANTIC, run.name_of(one.manifest))),
        one.manifest["train_fingerprint"],
        {key: float(np.mean(values)) for key, values in won.items()},
        float(auroc.max() - auroc.mean()),
        stands,
    )


def cell(tasks: list[Task], name: str, share: float) -> Estimate | None:
    """Gain over tasks, and its interval; none where no task has such a target."""
    own = [t for t in tasks if (name, share) in t.won]
    if not own:
        return None
    won, possible = [t.won[name, share] for t in own], [t.possible for t in own]
    return Estimate(*share_won(won, possible, [t.group for t in own]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of some of the rules")
    options = parser.parse_args()
    tasks, panels = [], {}
    folders = run.below(options.runs)
    for number, folder in enumerate(folders, 1):
        tasks.append(read(folder))
        print(f"{number}/{len(folders)} {folder.name}", file=sys.stderr, flush=True)
    for kind, semantic in (("defects", False), ("semantic", True)):
        some = [t for t in tasks if t.semantic == semantic]
        if not some:
            continue
        names = list(dict.fromkeys(name for t in some for name, _ in t.won))
        cells = {n: {f"{s:.0%}": cell(some, n, s) for s in SHARES} for n in names}
        rows: list[list[object]] = [
            [n, *(shown(one, 2) or "-" for one in own.values())] for n, own in cells.items()
        ]
        last: list[object] = ["(the null stands, share of draws)"]
        for share in SHARES:
            seen = [t.stands[share] for t in some if share in t.stands]
            last.append(f"{np.mean(seen):.2f}" if seen else "-")
        sets = len({t.group for t in some})
        print(f"\n{kind}: gain on {len(some)} tasks of {sets} training sets, by share of anomalies")
        print(render(["rule", *(f"{s:.0%}" for s in SHARES)], [*rows, last]))
        panels[kind] = {
            f"{s:.0%}": {n: e for n in SHOWN if (e := cells.get(n, {}).get(f"{s:.0%}"))}
            for s in SHARES
        }
    if options.picture:
        charts.lines(
            options.picture, "anomalies in the target", "gain", panels, zero=True, floor=-1.0
        )


if __name__ == "__main__":
    in_one_line(main)
