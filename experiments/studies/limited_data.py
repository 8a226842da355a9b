"""How many normals does it take? 5, 10, 20, 50 and 200 of them.

    python experiments/studies/limited_data.py --out runs/limited_data       # resumable
    python experiments/studies/limited_data.py --out runs/smoke --smoke

The first normals of a task in the order of their content (nested: 20 hold the 10), the families of
experiments/configs/shelf.py, three seeds, 800 steps. Folds of a quarter of the normals are held out
in turn, so a rule that compares with held-out normals has 2 of 10; fewer than 8 normals are refused
by `Problem`, 5 among them. Prints AUROC, mean and standard deviation over seeds, of the default
rule's pick and of the best setting in hindsight (oracle), of the expected random setting, of raw
pixels' nearest neighbour; the gain, and the trust. Opens labels when all is trained. About 20
minutes a task on one CPU core.
"""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError, in_one_line
from ad_jax.base.stats import Estimate, plus_minus, spread
from ad_jax.data import Problem, Truth, load, parse
from ad_jax.evaluate.pools import member_aurocs, seed_aurocs
from ad_jax.pool import program
from ad_jax.report.figures import charts
from ad_jax.report.table import render
from ad_jax.selection import rules, search
from ad_jax.selection.selection import choose
from ad_jax.store import Record, keep_compilations, kept

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SOURCES = {
    "bottle": "mvtec_bottle,size=32",
    "fashion 8": "fashion_mnist.npz,normal=8,limit=1000,size=16",
    "digit 3": "digits,normal=3",
}
SIZES = (5, 10, 20, 50, 200)
SEEDS = (0, 1, 2)
CONTROL = "raw_nearest_neighbour"


def measure(
    problem: Problem, labels: Callable[[], dict[str, int]], smoke: bool, record: Record
) -> dict[str, Any]:
    """What the families make of a problem: raw rows, or why there are none.

    Args:
      problem: its normals vary.
      labels: hash of a target sample -> label; asked when all is trained.
      smoke: a network and a pool that are small.
      record: of the trainings.
    """
    families = SHELF["FAMILIES"][2 : 4 if smoke else None]
    settings = search.grid(problem.shape, SHELF["AREAS"], families)
    config = program.Config(60, 8) if smoke else program.Config()
    seeds = SEEDS[:2] if smoke else SEEDS
    (choice,) = choose([problem], settings, seeds, config=config, record=record)
    label_of = labels()
    anomalous = np.array([label_of[h] for h in problem.sample_hashes])
    pool = choice.pool
    (control,) = [c for c in pool.controls() if c.augmentation == CONTROL]
    return {
        "auroc": {key: own.tolist() for key, own in seed_aurocs(pool, anomalous).items()},
        "pick": choice.pick.key,
        "control": member_aurocs(pool, anomalous)[pool.rows(control)].tolist(),
        "held out": int(pool.held_out_scores.shape[2]),
        "trust": choice.trust.verdict,
    }


def labels_of(problem: Problem, truth: Truth, reason: str) -> dict[str, int]:
    """Hash of a target sample -> whether it is an anomaly."""
    anomalous = np.asarray(truth.open(reason).anomalous).tolist()
    return dict(zip(problem.sample_hashes, anomalous, strict=True))


def few(name: str, size: int, smoke: bool, record: Record) -> dict[str, Any]:
    """One row: a task with so many normals."""
    source, given = parse(SOURCES[name])
    problem, truth = load(source, **given)
    about = {"task": name, "normals": str(min(size, len(problem.train)))}
    try:
        small = Problem(train=problem.train[:size], target=problem.target)
        labels = lambda: labels_of(problem, truth, "limited data study")
        return about | measure(small, labels, smoke, record)
    except InputError as error:
        return about | {"refused": str(error)}


def summary(row: dict[str, Any]) -> dict[str, Estimate]:
    """AUROC of what is compared: means over seeds, and their deviations."""
    means = {key: float(np.mean(own)) for key, own in row["auroc"].items()}
    return {
        "pick": spread(row["auroc"][row["pick"]]),
        "oracle": spread(row["auroc"][max(means, key=means.__getitem__)]),
        "random setting": Estimate(float(np.mean(list(means.values())))),
        "raw pixels": spread(row["control"]),
    }


def tell(rows: Sequence[dict[str, Any]], across: str, picture: Path | None) -> None:
    """Prints the table of rows that differ in `across`, and draws it."""
    lines: list[list[object]] = []
    panels: dict[str, dict[str, dict[str, Estimate]]] = {}
    for row in rows:
        if "refused" in row:
            print(f"{row['task']}, {row[across]} {across}: {row['refused']}")
            continue
        own = summary(row)
        panels.setdefault(row["task"], {})[row[across]] = own
        picked, oracle, random = (own[c].value for c in ("pick", "oracle", "random setting"))
        gain = (picked - random) / (oracle - random) if oracle > random else float("nan")
        about = [row["task"], row[across], row["held out"]]
        lines.append([*about, *map(plus_minus, own.values()), gain, row["trust"]])
    print(f"rule {rules.DEFAULT}; raw pixels: {CONTROL}; AUROC, ± standard deviation over seeds")
    columns = ("pick", "oracle", "random setting", "raw pixels")
    print(render(["task", across, "held out", *columns, "gain", "trust"], lines))
    if picture:
        charts.lines(picture, across, "AUROC", panels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--picture", type=Path, help="PNG of AUROC by number of normals")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    record, smoke = Record(options.out / "record"), options.smoke
    rows = [
        kept(options.out / f"{name}-{size}.json", lambda n=name, s=size: few(n, s, smoke, record))  # type: ignore[misc]
        for name in (["digit 3"] if smoke else options.only)
        for size in ((5, 20) if smoke else SIZES)
    ]
    tell(rows, "normals", options.picture)


if __name__ == "__main__":
    in_one_line(main)
