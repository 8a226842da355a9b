"""Pick on one unlabelled set, deploy on another: what it costs, and whether the diagnosis sees it.

    python experiments/studies/shift.py --out runs/shift --shelf runs/shelf    # resumable
    python experiments/studies/shift.py --out runs/smoke --smoke

One half of a task's target chooses among the families of experiments/configs/shelf.py (three seeds,
800 steps; the trainings are those of the shelf if its records are given), the other half is what
the detector then sees: as it is; darker, blurred, noisier or turned, as by another camera; with
other kinds of anomalies (a task's kinds are divided, where it has several); or of other tiles,
where names tell them. Prints AUROC there, mean and standard deviation over seeds, of the deployed
pick, of what the rule would have picked there and of the oracle, and of the expected random
setting; and what `signatures` say of the second set without labels: it should be silent on the
first line and speak where the pick lost. Normals of another product would be anomalies; a setting
carried there: another_product.py. What the study knows of anomalies divides the targets and
measures AUROC.
"""

from __future__ import annotations

import argparse
import re
import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, rotate

from ad_jax import data
from ad_jax.base.errors import in_one_line
from ad_jax.base.stats import Estimate, plus_minus, spread
from ad_jax.data import load, parse
from ad_jax.data.samples import content_hashes
from ad_jax.evaluate.pools import seed_aurocs
from ad_jax.pool import program
from ad_jax.pool.sweep import Sweep
from ad_jax.report.figures import charts
from ad_jax.report.table import render
from ad_jax.selection import failure_modes as signatures
from ad_jax.selection import rules, search, trust
from ad_jax.store import Record, keep_compilations, kept

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SOURCES = {  # name -> part of the shelf, source
    "brick defects": ("textures", "textures:brick-defect"),
    "bottle": ("bottle", "mvtec_bottle,size=32"),
    "cookie": ("cookie", "cookie,size=32"),
    "magnetic tile": ("tile", SHELF["TILE"]),
    "fashion 8": ("fashion", "fashion_mnist.npz,normal=8,limit=1000,size=16"),
    "digit 3": ("digits", "digits,normal=3"),
}
SEEDS = (0, 1, 2)
KINDS, TILES = "other kinds", "other tiles"


def _noisy(images: np.ndarray) -> np.ndarray:
    return images + np.random.default_rng(0).normal(0.0, 0.05, images.shape)


SHIFTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of images [n, h, w, c] in [0, 1]
    "none": lambda images: images,
    "70 % of the light": lambda images: 0.7 * images,
    "blur of 1 px": lambda images: gaussian_filter(images, (0, 1, 1, 0)),
    "noise of .05": _noisy,
    "turned by 10 degrees": lambda images: rotate(
        images, 10.0, axes=(1, 2), reshape=False, order=1, mode="nearest"
    ),
}


def shifted(samples: np.ndarray, how: str) -> np.ndarray:
    """Samples under a shift, of their own dtype."""
    if how == "none":
        return samples
    scale = 255.0 if samples.dtype == np.uint8 else 1.0
    out = np.clip(SHIFTS[how](samples.astype(np.float64) / scale), 0.0, 1.0) * scale
    return (np.round(out) if scale > 1.0 else out).astype(samples.dtype)


def divided(truth: data.Truth, count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows that pick and that are deployed on: halves, and halves without a common kind or tile."""
    labels = truth.open("shift study: to divide the target and to measure")
    half = np.arange(count) % 2 == 0
    out = {"": (np.flatnonzero(half), np.flatnonzero(~half))}
    kinds = sorted({k for k, bad in zip(labels.kinds, labels.anomalous, strict=True) if bad})
    if len(kinds) > 1:
        first = np.isin(labels.kinds, kinds[::2])
        normal = np.asarray(labels.anomalous) == 0
        mine = np.where(normal, half, first)
        out[KINDS] = (np.flatnonzero(mine), np.flatnonzero(~mine))
    tiles = [re.search(r"tile(\d+)", name) for name in truth.names]
    if all(tiles):
        mine = np.array([int(tile[1]) % 2 == 0 for tile in tiles if tile])
        out[TILES] = (np.flatnonzero(mine), np.flatnonzero(~mine))
    return out


def best(losses: dict[str, float], known: Iterable[str]) -> str:
    return min(known, key=lambda key: losses[key])


def summary(row: dict[str, Any]) -> dict[str, Estimate]:
    """AUROC of what is compared: means over seeds, and their deviations."""
    means = {key: float(np.mean(own)) for key, own in row["auroc"].items()}
    chosen = {name: row[name] for name in ("deployed", "picked there")}
    chosen["oracle"] = max(means, key=means.__getitem__)
    out = {name: spread(row["auroc"][key]) for name, key in chosen.items()}
    return {**out, "random setting": Estimate(float(np.mean(list(means.values()))))}


def measure(name: str, smoke: bool, records: Path | None, out: Path) -> list[dict[str, Any]]:
    """All shifts of one task; a row each."""
    part, text = SOURCES[name]
    source, given = parse(text)
    problem, truth = load(source, **given)
    anomalous = np.asarray(truth.open("shift study: to measure").anomalous)
    pairs = divided(truth, len(anomalous))
    label_of: dict[str, int] = {}

    def part_of(rows: np.ndarray, how: str = "none") -> data.Problem:
        samples = shifted(problem.target[rows], how)
        label_of.update(zip(content_hashes(samples), anomalous[rows].tolist(), strict=True))
        return data.Problem(
            train=problem.train, held_out=problem.held_out, groups=problem.groups, target=samples
        )

    targets = {"picks": part_of(pairs[""][0])}
    targets |= {how: part_of(pairs[""][1], how) for how in SHIFTS}
    for how in (KINDS, TILES):
        if how in pairs:
            targets[f"{how}, picks"] = part_of(pairs[how][0])
            targets[how] = part_of(pairs[how][1])
    families = SHELF["FAMILIES"][2:4] if smoke else SHELF["FAMILIES"]
    settings = search.grid(problem.shape, SHELF["AREAS"], families)
    config = program.Config(60, 8) if smoke else program.Config()
    seeds = SEEDS[:1] if smoke else SEEDS
    record = Record(out / "record" if records is None else records / part / "record")
    sweep = Sweep(list(targets.values()), settings, seeds, config, record)
    pools = dict(zip(targets, sweep.finish(search.train_all(sweep)).pools, strict=True))
    rows = []
    for how, pool in pools.items():
        if how.endswith("picks"):
            continue
        first = pools.get(f"{how}, picks", pools["picks"])
        labels = np.array([label_of[h] for h in targets[how].sample_hashes])
        known = seed_aurocs(pool, labels)
        losses = rules.losses(first, rules.DEFAULT)
        picked = best(losses, known)
        pick = next(s for s in first.settings if s.key == picked)
        per_member = rules.get(rules.DEFAULT).loss(first)
        supported = trust.trust(first, rules.DEFAULT, per_member, losses, pick)
        (sign,) = [
            s
            for s in signatures.signatures(first, rules.DEFAULT, pick, supported, pool)
            if s.name == "degrades on the second set"
        ]
        rows.append(
            {
                "task": name,
                "shift": how,
                "auroc": {key: own.tolist() for key, own in known.items()},
                "deployed": picked,
                "picked there": best(rules.losses(pool, rules.DEFAULT), known),
                "found": sign.found,
                "advice": sign.advice,
            }
        )
    return rows


def tell_means(rows: list[dict[str, Any]], every: list[dict[str, Estimate]]) -> None:
    """Prints means over tasks by shift, and what the diagnosis said of sets that lost."""
    before = {
        row["task"]: own["deployed"].value
        for row, own in zip(rows, every, strict=True)
        if row["shift"] == "none"
    }
    fall = [
        before[row["task"]] - own["deployed"].value for row, own in zip(rows, every, strict=True)
    ]
    table = []
    for how in dict.fromkeys(row["shift"] for row in rows):
        here = [i for i, row in enumerate(rows) if row["shift"] == how]
        means = [spread([every[i][name].value for i in here]) for name in every[0]]
        said = sum(rows[i]["found"] for i in here)
        falls = plus_minus(spread([fall[i] for i in here]))
        table.append([how, len(here), *map(plus_minus, means), falls, f"{said} of {len(here)}"])
    print("\nMeans over tasks, ± standard deviation over them")
    print(render(["shift", "tasks", *every[0], "fall of the pick", "said to degrade"], table))
    for word, some in (("said to degrade", True), ("not", False)):
        own = [i for i, r in enumerate(rows) if r["shift"] != "none" and r["found"] == some]
        if own:
            again = [every[i]["picked there"].value - every[i]["deployed"].value for i in own]
            falls = [fall[i] for i in own]
            print(
                f"shifted sets {word}: {len(own)}; the pick falls by {np.mean(falls):.3f} (most "
                f"{max(falls):.3f}); picking again there changes AUROC by {np.mean(again):+.3f} "
                f"({min(again):+.3f} to {max(again):+.3f})"
            )
    quiet = [row["found"] for row in rows if row["shift"] == "none"]
    print(f"unshifted halves said to degrade: {sum(quiet)} of {len(quiet)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shelf", type=Path, help="runs whose records hold the trainings")
    parser.add_argument("--only", nargs="*", choices=list(SOURCES), default=list(SOURCES))
    parser.add_argument("--picture", type=Path, help="PNG of AUROC by task and shift")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    rows = []
    for name in ["digit 3"] if options.smoke else options.only:
        make = lambda n=name: measure(n, options.smoke, options.shelf, options.out)
        rows += kept(options.out / f"{name}.json", make)
    every = [summary(row) for row in rows]
    table = [
        [r["task"], r["shift"], *map(plus_minus, own.values()), "degrades" if r["found"] else "-"]
        for r, own in zip(rows, every, strict=True)
    ]
    print("AUROC on the deployment set, ± standard deviation over seeds")
    print(render(["task", "shift", *every[0], "said without labels"], table))
    tell_means(rows, every)
    if options.picture:
        panels: dict[str, dict[str, dict[str, Estimate]]] = {}
        for row, own in zip(rows, every, strict=True):
            panels.setdefault(row["task"], {})[row["shift"]] = own
        charts.dots(options.picture, "AUROC on the deployment set", panels)


if __name__ == "__main__":
    in_one_line(main)
