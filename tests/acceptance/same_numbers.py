"""Whether two checkouts come to the same numbers: a run of every pretext, and the main job.

    python tests/acceptance/same_numbers.py OTHER --out runs/same          # every pretext, minutes
    python tests/acceptance/same_numbers.py OTHER --out runs/same --main   # and `ad-jax select`

Runs `ad-jax select` in this checkout and in OTHER, on the same machine, and compares picks, scores
of all members and losses of all rules. Prints the largest difference, relative to 1 + the value,
and what is above 1e-5. Finished runs are kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent.parent.parent
SHORT = ["--steps", "60", "--width", "8", "--seeds", "2", "--areas", ".04,.16", "--strengths", "2"]
JOBS = {
    "binary": ["digits,normal=3", "--families", "binary/cutpaste,binary/rotate", *SHORT],
    "prediction": ["digits,normal=3", "--families", "prediction/quarter_turns", *SHORT],
    "kinds": [
        "textures:brick-defect",
        "--families",
        "kinds/cutpaste_scar",
        *SHORT,
        "--steps",
        "200",
    ],
    "denoising": [
        "digits,normal=3",
        "--families",
        "denoising/pixel_mask",
        *SHORT,
        "--steps",
        "400",
    ],
}


def run(checkout: Path, arguments: list[str], out: Path) -> None:
    """One `ad-jax select` of a checkout, whatever is installed; kept if it is there."""
    if (out / "manifest.json").exists() or list(out.glob("*/manifest.json")):
        return
    code = "import sys; from ad_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "select", *arguments, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(arguments)} failed\n{done.stderr}")


def figures(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Scores and losses of a run by name; the pick as the row numbers of its members."""
    with np.load(folder / "scores.npz") as file:
        for name in ("scores", "held_out", "generated", "pick"):
            if name in file:
                yield name, file[name].astype(float)
    with open(folder / "members.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for name in rows[0]:
        if name.startswith("loss.") or name in ("train_loss", "discrimination"):
            yield name, np.array([float(row[name] or "nan") for row in rows])
    picked = json.loads((folder / "pick.json").read_text())["members"]
    yield "pick's members", np.array(picked, float)


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference; infinite for other shapes, or where only one is finite."""
    if ours.shape != theirs.shape or (np.isfinite(ours) != np.isfinite(theirs)).any():
        return float("inf")
    known = np.isfinite(ours)
    ours, theirs = ours[known], theirs[known]
    return float((np.abs(ours - theirs) / (1.0 + np.abs(theirs))).max(initial=0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--main", action="store_true")
    options = parser.parse_args()
    jobs = {**JOBS, **({"main job": []} if options.main else {})}
    for name, arguments in jobs.items():
        folders = [options.out.resolve() / name.replace(" ", "-") / side for side in ("a", "b")]
        for checkout, folder in zip((HERE, options.other.resolve()), folders, strict=True):
            run(checkout, arguments, folder)
        for ours in sorted(p.parent for p in folders[0].glob("**/manifest.json")):
            theirs = folders[1] / ours.relative_to(folders[0])
            known = dict(figures(theirs))
            found = {k: apart(v, known[k]) for k, v in figures(ours) if k in known}
            moved = {k: v for k, v in found.items() if v > 1e-5}
            near = max(v for k, v in found.items() if k not in moved)
            said = ", ".join(f"{k} {v:.1e}" for k, v in moved.items()) or "none"
            print(
                f"{name} {ours.relative_to(folders[0])}: {len(found)} figures, differences up to "
                f"{near:.1e}; above 1e-5: {said}",
                flush=True,
            )


if __name__ == "__main__":
    main()
