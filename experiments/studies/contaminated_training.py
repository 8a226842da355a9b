"""What do anomalies among the training normals cost? 0, 5 and 10 % of them.

    python experiments/studies/contaminated_training.py --out runs/contaminated --shelf runs/shelf
    python experiments/studies/contaminated_training.py --out runs/smoke --smoke

Anomalies move from the target to the training normals (drawn once, kinds as they come); held-out
normals are a part of these, so they hold as many. Tasks, families, seeds and columns are those of
limited_data.py; what trains without anomalies is in the records below the shelf, if that is given.
This study opens labels before it trains, to contaminate, and after, to measure. About 25 minutes on
one CPU core.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.data import Problem, load, parse
from ad_jax.store import Record, keep_compilations, kept

LIMITED = runpy.run_path(str(Path(__file__).with_name("limited_data.py")))
SOURCES = LIMITED["SOURCES"]
PARTS = {"bottle": "bottle", "fashion 8": "fashion", "digit 3": "digits"}  # of the shelf
SHARES = (0.0, 0.05, 0.1)
ACROSS = "anomalies in training"


def contaminated(name: str, share: float, smoke: bool, record: Record) -> dict[str, Any]:
    """One row: a task whose training normals hold a share of anomalies of its own target."""
    source, given = parse(SOURCES[name])
    problem, truth = load(source, **given)
    label_of = LIMITED["labels_of"](problem, truth, "contaminated training: what to train on")
    bad = np.flatnonzero([label_of[h] for h in problem.sample_hashes])
    count = round(share / (1.0 - share) * len(problem.train))
    moved = np.random.default_rng(0).permutation(bad)[:count]
    mixed = Problem(
        train=np.concatenate([problem.train, problem.target[moved]]),
        target=np.delete(problem.target, moved, 0),
    )
    about = {"task": name, ACROSS: f"{len(moved) / len(mixed.train):.0%}"}
    return about | LIMITED["measure"](mixed, lambda: label_of, smoke, record)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shelf", type=Path, help="runs whose records hold the share of 0")
    parser.add_argument("--only", nargs="*", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--picture", type=Path, help="PNG of AUROC by share")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    rows = []
    for name in ["digit 3"] if options.smoke else options.only:
        for share in SHARES[::2] if options.smoke else SHARES:
            shelf = options.shelf if not share else None
            record = Record(shelf / PARTS[name] / "record" if shelf else options.out / "record")
            make = lambda n=name, s=share, r=record: contaminated(n, s, options.smoke, r)
            rows.append(kept(options.out / f"{name}-{share}.json", make))
    LIMITED["tell"](rows, ACROSS, options.picture)


if __name__ == "__main__":
    in_one_line(main)
