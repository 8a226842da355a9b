"""DSV's published table (arXiv 2307.06534) and CutPaste's (arXiv 2104.04015), and ours beside them.

    ad-jax select --config experiments/configs/published.py:mvtec_bottle --out runs/published/bottle
    python experiments/studies/published.py runs/published/bottle

Per augmentation: the mean over the grid of areas, and the AUROC of every rule's pick among the
areas (ours: mean over seeds, standard deviation of the seeds of the pick; theirs: mean over 21
categories of MVTec AD and MPDD at 256 px, no seed spread published, so that columns compare in
pattern, not in height). Then CutPaste's own figures for bottle. Opens labels, and logs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate, plus_minus, spread
from ad_jax.evaluate import open_run
from ad_jax.evaluate.pools import member_aurocs
from ad_jax.report.figures import charts
from ad_jax.report.table import render
from ad_jax.runs import run
from ad_jax.selection import rules

THEIRS = {  # augmentation -> rule -> AUROC, mean over 21 tasks
    "cutout": (0.739, 0.776, 0.741, 0.735, 0.739, 0.749, 0.727, 0.757, 0.813),
    "cutavg": (0.739, 0.817, 0.721, 0.692, 0.745, 0.751, 0.744, 0.742, 0.806),
    "cutdiff": (0.743, 0.711, 0.739, 0.730, 0.744, 0.747, 0.741, 0.777, 0.811),
    "cutpaste": (0.788, 0.841, 0.694, 0.756, 0.818, 0.862, 0.830, 0.850, 0.884),
}
COLUMNS = {  # of the published table -> our rule ("" the mean of the grid)
    "mean of grid": "",
    "random": "random",
    "mean distance": "base",
    "MMD": "mmd",
    "STD": "std",
    "MC": "model_centrality",
    "SELECT": "select",
    "HITS": "hits",
    "DSV": "dsv_code",
}
SHOWN = ("mean of grid", "random", "HITS", "DSV", "ours", "oracle")
BOTTLE = {"quarter_turns": 0.950, "cutout": 0.887, "cutpaste": 0.992}  # CutPaste, image AUROC


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of published picks and ours")
    options = parser.parse_args()
    panels: dict[str, dict[str, dict[str, Estimate]]] = {"published, 21 tasks": {}}
    for name, theirs in THEIRS.items():
        own = dict(zip(COLUMNS, map(Estimate, theirs), strict=True))
        panels["published, 21 tasks"][name] = {c: e for c, e in own.items() if c in SHOWN}
    for folder in run.below(options.runs):
        one, labels = open_run(folder, "published study")
        anomalous = np.asarray(labels.anomalous)
        pool = one.pool
        per_member = member_aurocs(pool, anomalous)
        ours = [*COLUMNS.items(), ("ours", rules.DEFAULT)]
        rows: list[list[object]] = []
        for name, theirs in THEIRS.items():
            settings = [
                s for s in pool.settings if s.augmentation == name and pool.rows(s, trained=True)
            ]
            if not settings:
                continue
            seeds = [per_member[pool.rows(s, trained=True)] for s in settings]
            means = np.array([own.mean() for own in seeds])
            found: dict[str, Estimate] = {}
            for column, rule in ours:
                if not rule:
                    found[column] = Estimate(float(means.mean()))
                    continue
                loss = np.array([one.losses[rule][s.key] for s in settings])
                found[column] = spread(seeds[int(loss.argmin())])
            found["oracle"] = spread(seeds[int(means.argmax())])
            line = [f"{name}, {len(settings)} areas", *map(plus_minus, found.values())]
            rows += [line, ["  published", *theirs, "", ""]]
            drawn = panels.setdefault(run.name_of(one.manifest), {})
            drawn[name] = {c: found[c] for c in found if c in SHOWN}
        name = run.name_of(one.manifest)
        print(f"{name}: AUROC of the picked area ± standard deviation over its seeds")
        print(render(["", *COLUMNS, rules.DEFAULT, "oracle"], rows))
        print(f"CutPaste's paper on bottle at 256 px, ResNet-18: {BOTTLE}\n")
    if options.picture:
        charts.dots(options.picture, "AUROC of the picked area", panels)


if __name__ == "__main__":
    in_one_line(main)
