"""One sweep on other devices: the same numbers, or at least the same distribution over seeds?

    python experiments/studies/parity.py --out runs/parity              # 12 minutes on 2 CPU cores
    python experiments/studies/parity.py --out runs/parity --smoke

Ten seeds of two CutPaste areas, trained in full on one device, on eight virtual devices, in two
processes of one `jax.distributed` job over loopback, and as four shards; a plain `ad-jax select`
gathers the last two. Prints, per layout against one device and per area: the largest difference of
a score in units of its standard deviation over the target (training amplifies rounding, so that two
layouts can be two draws of the same training), the mean paired difference over seeds of rules on
scores with a 95 % t interval, both standard deviations over seeds, and the p-value of the
two-sample Kolmogorov-Smirnov test. No label is opened. Resumable.
"""

from __future__ import annotations

import argparse
import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from ad_jax.base.errors import InputError, in_one_line
from ad_jax.base.stats import over_seeds
from ad_jax.report.table import render

ALONE = "one device"
RULES = ("auroc_held_out", "tail_share")
SELECT = "import sys; from ad_jax import cli; sys.exit(cli.main(sys.argv[1:]))"


def layouts() -> dict[str, tuple[int, list[list[str]]]]:
    """Name -> virtual devices, and the options of workers that run side by side."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return {
        ALONE: (1, [[]]),
        "eight devices": (8, [[]]),
        "two processes": (1, [["--distributed", f"{address},{i}/2"] for i in (1, 2)]),
        "four shards": (1, [["--shard", f"{i}/4"] for i in (1, 2, 3, 4)]),
    }


def start(arguments: list[str], devices: int) -> subprocess.Popen[bytes]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-c", SELECT, *arguments]
    return subprocess.Popen(command, env={**os.environ, "XLA_FLAGS": flags})


def run(command: list[str], devices: int, workers: list[list[str]]) -> None:
    """All workers side by side, then what gathers."""
    some = [start([*command, *own], devices) for own in workers]
    if any([one.wait() for one in some]):
        raise InputError("a worker failed; what it said stands above")
    if any(workers) and start(command, devices).wait():
        raise InputError("the gathering select failed; what it said stands above")


def read(out: Path) -> tuple[list[dict[str, str]], np.ndarray]:
    """Rows of the trained members and their scores `[members, heads, samples]`."""
    with open(out / "members.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(out / "scores.npz") as file:
        scores = file["scores"]
    fine = [row["status"] == "ok" and row["pretext"] != "control" for row in rows]
    trained = np.flatnonzero(fine)
    return [rows[i] for i in trained], scores[trained]


def member(row: dict[str, str]) -> tuple[str, str]:
    return row["hyper.area"], row["seed"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", default="digits,normal=3")
    parser.add_argument("--smoke", action="store_true", help="few steps and seeds")
    options = parser.parse_args()
    small = ["--steps", "60", "--width", "8", "--seeds", "2"]
    command = ["select", options.source, "--families", "binary/cutpaste", "--areas", ".04,.16"]
    command += [*(small if options.smoke else ["--seeds", "10"])]
    found = {}
    for name, (devices, workers) in layouts().items():
        out = options.out / name.replace(" ", "-")
        if not (out / "pick.json").is_file():
            run([*command, "--out", str(out)], devices, workers)
        found[name] = read(out)
    rows, scores = found[ALONE]
    table: list[list[object]] = []
    for name, (others, other) in found.items():
        if name == ALONE:
            continue
        if [(r["augmentation"], r["seed"]) for r in others] != [
            (r["augmentation"], r["seed"]) for r in rows
        ]:
            raise InputError(f"{name}: other members learned than on {ALONE}; train longer")
        for area in dict.fromkeys(row["hyper.area"] for row in rows):
            own = [i for i, row in enumerate(rows) if row["hyper.area"] == area]
            heads = np.isfinite(scores[own]).all((0, 2))  # that all have
            mine, theirs = scores[own][:, heads], other[own][:, heads]
            spread = np.maximum(mine.std(axis=-1, keepdims=True), 1e-12)
            apart = float(np.max(np.abs(theirs - mine) / spread))
            for rule in RULES:
                a, b = (
                    np.array([float(some[i][f"loss.{rule}"]) for i in own])
                    for some in (rows, others)
                )
                low, high = over_seeds(list(b - a))
                table.append(
                    [
                        *(name, area, len(own), "equal" if apart == 0.0 else f"{apart:.1e}", rule),
                        f"{(b - a).mean():+.4f} [{low:+.4f}, {high:+.4f}]",
                        ", ".join(f"{x.std(ddof=1):.4f}" if len(x) > 1 else "-" for x in (a, b)),
                        float(ks_2samp(a, b).pvalue) if len(a) > 1 else float("nan"),
                    ]
                )
    header = ["layout", "CutPaste area", "seeds", "scores differ by", "rule", "mean difference"]
    print(render([*header, "std over seeds", "KS p"], table))


if __name__ == "__main__":
    in_one_line(main)
