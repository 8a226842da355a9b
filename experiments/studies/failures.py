"""Do the failure signatures show what was provoked, and nothing where nothing was?

    python experiments/studies/failures.py --out runs/failures           # 25 runs; resumable
    python experiments/studies/failures.py --out runs/smoke --smoke      # a minute

Five sources, and on each: a healthy pool (turns and three CutPaste areas), whose second unlabelled
set is the other half of the target; a pool of families that resemble none of its anomalies
(brightness, noise, blur); a wide pool; the healthy pool with a second set that was blurred and
darkened; and the healthy pool with a twentieth of its steps. Prints what every signature said of
every run, hits and false alarms. Labels are not opened.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from ad_jax import data, selection
from ad_jax.base.errors import InputError, in_one_line
from ad_jax.base.json_text import json_text
from ad_jax.data import load
from ad_jax.pool import program
from ad_jax.report.table import render
from ad_jax.selection import rules, search
from ad_jax.store import Record, keep_compilations, write_whole

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "brick defects": ("textures:brick-defect", {}),
    "brick orientation": ("textures:brick-orientation", {}),
    "digit 3": ("digits", {"normal": 3}),
    "fashion 8": ("fashion_mnist.npz", {"normal": 8, "limit": 600, "size": 16}),
    "bottle": ("mvtec_bottle", {"size": 32}),
}
FAMILIES = ("binary/quarter_turns", "prediction/quarter_turns", "binary/cutpaste")
STRANGE = ("binary/brightness", "binary/gaussian_noise", "binary/blur")
AREAS = (0.02, 0.08, 0.32)
PROVOKED = {  # what was done -> the signature it should show
    "healthy": "",
    "wrong families": "poor everywhere",
    "wide pool": "large spread over augmentations",
    "shifted second set": "degrades on the second set",
    "tiny budget": "search beyond its budget",
}
SEEDS = (0, 1)
STEPS = 400
FEWER = 20  # the tiny budget has so many times fewer steps


def shifted(samples: np.ndarray) -> np.ndarray:
    """Another camera: a Gaussian blur of 1 px, and 70 % of the light."""
    blurred = gaussian_filter(samples.astype(np.float32), (0, 1, 1, 0))
    return (0.7 * blurred).astype(samples.dtype)


def run(what: str, problem: data.Problem, config: program.Config, record: Record) -> dict[str, Any]:
    """One pool; signatures and trust."""
    half = np.arange(len(problem.target)) % 2 == 0
    own = data.Problem(
        train=problem.train,
        held_out=problem.held_out,
        groups=problem.groups,
        target=problem.target[half],
    )
    second = problem.target[~half]
    families = {"wrong families": STRANGE, "wide pool": search.WIDE}.get(what, FAMILIES)
    settings = search.grid(problem.shape, AREAS, families)
    if what == "tiny budget":
        config = config._replace(steps=max(1, config.steps // FEWER))
    if what == "shifted second set":
        second = shifted(second)
    try:
        chosen = selection.select(
            own, settings, SEEDS, rules.DEFAULT, config, record, second=second
        )
    except InputError as error:  # a pool in which nothing learned has no pick: it says so itself
        return {"error": str(error)}
    return {
        "pick": chosen.pick.label,
        "verdict": chosen.trust.verdict,
        "signatures": {one.name: [one.found, one.value] for one in chosen.signatures},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    sources, kinds, config = dict(SOURCES), list(PROVOKED), program.Config(STEPS)
    if options.smoke:
        sources = {"digit 3": SOURCES["digit 3"]}
        kinds, config = ["healthy", "shifted second set"], program.Config(9, 8)
    rows = []
    for name, (source, given) in sources.items():
        problem, _ = load(source, **given)
        for what in kinds:
            path = options.out / f"{name}-{what}.json"
            if not path.is_file():
                began = time.perf_counter()
                made = run(what, problem, config, Record(options.out / "record"))
                write_whole(path, json_text(made, indent=1).encode())
                print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)
            rows.append((name, what, json.loads(path.read_text())))
    signs = [name for name in PROVOKED.values() if name]
    table = []
    for name, what, found in rows:
        line: list[object] = [name, what]
        for sign in signs:
            if "error" in found:
                line.append("refused" if sign == signs[-1] else "-")
            else:
                shown, value = found["signatures"][sign]
                line.append(f"{'FOUND' if shown else '-'} ({value:.2f})")
        table.append([*line, found.get("verdict", "no pick")])
    print(render(["source", "provoked", *signs, "trust"], table))
    summary = []
    for sign in signs:
        hits = [f for _, what, f in rows if PROVOKED[what] == sign]
        healthy = [f for _, what, f in rows if what == "healthy"]
        others = [f for _, what, f in rows if PROVOKED[what] not in ("", sign)]

        def count(some: list[dict[str, Any]], sign: str = sign) -> str:
            seen = [
                f["signatures"][sign][0] if "error" not in f else sign == signs[-1] for f in some
            ]
            return f"{sum(seen)} of {len(seen)}"

        summary.append([sign, count(hits), count(healthy), count(others)])
    print()
    print(render(["signature", "hits", "on healthy pools", "on other failures"], summary))


if __name__ == "__main__":
    in_one_line(main)
