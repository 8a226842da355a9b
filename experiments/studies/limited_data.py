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
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import data, program, rules, search
from ad_jax.choice import choose
from ad_jax.data import load, parse
from ad_jax.errors import InputError, in_one_line
from ad_jax.evaluate.pools import member_aurocs, seed_aurocs
from ad_jax.report.figures import charts
from ad_jax.report.page import Estimate
from ad_jax.report.seeds import plus_minus, spread
from ad_jax.report.table import render
from ad_jax.store import Record, keep_compilations, write_whole

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SOURCES = {
    "bottle": "mvtec_bottle,size=32",
    "fashion 8": "fashion_mnist.npz,normal=8,limit=1000,size=16",
    "digit 3": "digits,normal=3",
}
SIZES = (5, 10, 20, 50, 200)
SEEDS = (0, 1, 2)
CONTROL = "raw_nearest_neighbour"


def measure(name: str, size: int, smoke: bool, record: Record) -> dict[str, Any]:
    """One line: a task with so many normals."""
    source, given = parse(SOURCES[name])
    problem, truth = load(source, **given)
    settings = search.grid(
        problem.shape, SHELF["AREAS"], SHELF["FAMILIES"][2 : 4 if smoke else None]
    )
    config = program.Config(60, 8) if smoke else program.Config()
    about: dict[str, Any] = {"task": name, "normals": min(size, len(problem.train))}
    try:
        small = data.Problem(train=problem.train[:size], target=problem.target)
        (choice,) = choose(
            [small], settings, SEEDS[:2] if smoke else SEEDS, config=config, record=record
        )
    except InputError as error:
        return {**about, "refused": str(error)}
    label_of = dict(
        zip(
            problem.sample_hashes,
            np.asarray(truth.open("limited data study").anomalous).tolist(),
            strict=True,
        )
    )
    anomalous = np.array([label_of[h] for h in small.sample_hashes])
    pool = choice.pool
    (control,) = [c for c in pool.controls() if c.augmentation == CONTROL]
    return {
        **about,
        "auroc": {key: own.tolist() for key, own in seed_aurocs(pool, anomalous).items()},
        "pick": choice.pick.key,
        "control": member_aurocs(pool, anomalous)[pool.rows(control)].tolist(),
        "held out": int(pool.held_out_scores.shape[2]),
        "trust": choice.trust.verdict,
    }


def summary(row: dict[str, Any]) -> dict[str, Estimate]:
    """AUROC of what is compared: means over seeds, and their deviations."""
    means = {key: float(np.mean(own)) for key, own in row["auroc"].items()}
    return {
        "pick": spread(row["auroc"][row["pick"]]),
        "oracle": spread(row["auroc"][max(means, key=means.__getitem__)]),
        "random setting": Estimate(float(np.mean(list(means.values())))),
        "raw pixels": spread(row["control"]),
    }


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
    rows: list[list[object]] = []
    panels: dict[str, dict[str, dict[str, Estimate]]] = {}
    for name in ["digit 3"] if options.smoke else options.only:
        for size in (5, 20) if options.smoke else SIZES:
            path = options.out / f"{name}-{size}.json"
            if not path.is_file():
                found = measure(name, size, options.smoke, Record(options.out / "record"))
                write_whole(path, json.dumps(found, indent=1).encode())
                print(path.stem, file=sys.stderr, flush=True)
            found = json.loads(path.read_text())
            if "refused" in found:
                print(f"{name}, {size} normals: {found['refused']}")
            else:
                own = summary(found)
                panels.setdefault(name, {})[str(found["normals"])] = own
                picked, oracle, random = (
                    own[c].value for c in ("pick", "oracle", "random setting")
                )
                gain = (picked - random) / (oracle - random) if oracle > random else float("nan")
                about = [name, found["normals"], found["held out"]]
                rows.append([*about, *map(plus_minus, own.values()), gain, found["trust"]])
    print(f"rule {rules.DEFAULT}; raw pixels: {CONTROL}; AUROC, ± standard deviation over seeds")
    columns = list(next(iter(next(iter(panels.values())).values())))
    print(render(["task", "normals", "held out", *columns, "gain", "trust"], rows))
    if options.picture:
        charts.lines(options.picture, "normals", "AUROC", panels)


if __name__ == "__main__":
    in_one_line(main)
