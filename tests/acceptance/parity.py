"""One sweep on other devices: the same numbers, or at least the same distribution over seeds?

    python tests/acceptance/parity.py --out runs/parity              # 12 minutes on 2 CPU cores
    python tests/acceptance/parity.py --out runs/parity --smoke

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
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from ad_jax.base.errors import InputError, in_one_line
from ad_jax.base.stats import over_seeds
from ad_jax.report.table import render

ALONE = "one device"
RULES = ("auroc_held_out", "tail_share")
SELECT = "import sys; from ad_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
Trained = tuple[list[dict[str, str]], np.ndarray]  # rows of members.csv, scores


class Difference(NamedTuple):
    """A layout against one device, by area and rule.

    Attributes:
      apart: largest difference of a score, in standard deviations over the target.
      alone, there: `[seeds]` losses on one device and in the layout.
    """

    layout: str
    area: str
    apart: float
    rule: str
    alone: np.ndarray
    there: np.ndarray


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


def read(out: Path) -> Trained:
    """Rows of the trained members and their scores `[members, heads, samples]`."""
    with open(out / "members.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(out / "scores.npz") as file:
        scores = file["scores"]
    fine = [row["status"] == "ok" and row["pretext"] != "control" for row in rows]
    trained = np.flatnonzero(fine)
    return [rows[i] for i in trained], scores[trained]


def compared(out: Path, source: str, small: bool) -> list[Difference]:
    """Trains what is not there yet and compares every layout with one device.

    Raises:
      InputError: a worker failed, or other members learned than on one device.
    """
    few = ["--steps", "60", "--width", "8", "--seeds", "2"] if small else ["--seeds", "10"]
    command = ["select", source, "--families", "binary/cutpaste", "--areas", ".04,.16", *few]
    found = {}
    for name, (devices, workers) in layouts().items():
        folder = out / name.replace(" ", "-")
        if not (folder / "pick.json").is_file():
            run([*command, "--out", str(folder)], devices, workers)
        found[name] = read(folder)
    rows, scores = found.pop(ALONE)
    return [
        one for name, other in found.items() for one in differences(name, (rows, scores), other)
    ]


def differences(name: str, alone: Trained, other: Trained) -> list[Difference]:
    """One layout against one device: by area and rule."""
    (rows, scores), (others, theirs) = alone, other
    members = [[(r["augmentation"], r["seed"]) for r in some] for some in (rows, others)]
    if members[0] != members[1]:
        raise InputError(f"{name}: other members learned than on {ALONE}; train longer")
    out = []
    for area in dict.fromkeys(row["hyper.area"] for row in rows):
        own = [i for i, row in enumerate(rows) if row["hyper.area"] == area]
        heads = np.isfinite(scores[own]).all((0, 2))  # that all have
        mine, their = scores[own][:, heads], theirs[own][:, heads]
        spread = np.maximum(mine.std(axis=-1, keepdims=True), 1e-12)
        apart = float(np.max(np.abs(their - mine) / spread))
        for rule in RULES:
            a, b = (
                np.array([float(some[i][f"loss.{rule}"]) for i in own]) for some in (rows, others)
            )
            out.append(Difference(name, area, apart, rule, a, b))
    return out


def table(found: list[Difference]) -> str:
    lines: list[list[object]] = []
    for one in found:
        low, high = over_seeds(list(one.there - one.alone))
        spreads = [f"{x.std(ddof=1):.4f}" if len(x) > 1 else "-" for x in one[-2:]]
        lines.append(
            [
                *(one.layout, one.area, len(one.alone)),
                *("equal" if one.apart == 0.0 else f"{one.apart:.1e}", one.rule),
                f"{(one.there - one.alone).mean():+.4f} [{low:+.4f}, {high:+.4f}]",
                ", ".join(spreads),
                float(ks_2samp(one.alone, one.there).pvalue) if len(one.alone) > 1 else np.nan,
            ]
        )
    header = ["layout", "CutPaste area", "seeds", "scores differ by", "rule", "mean difference"]
    return render([*header, "std over seeds", "KS p"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--source", default="digits,normal=3")
    parser.add_argument("--smoke", action="store_true", help="few steps and seeds")
    options = parser.parse_args()
    print(table(compared(options.out, options.source, options.smoke)))


if __name__ == "__main__":
    in_one_line(main)
