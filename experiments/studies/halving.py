"""Successive halving against the full grid: what dropping settings early costs.

    for part in brick gravel bottle cookie tile fashion digits; do
      ad-jax select --config experiments/configs/development.py:$part --out runs/development/$part
      ad-jax select --config experiments/configs/development.py:$part --search halving \
        --out runs/halving/$part
    done
    python experiments/studies/halving.py runs/development runs/halving

Prints, per task and over all of them, the AUROC of both picks, the gain of both (against expected
random and oracle of the full grid) and the member-steps of both. Opens the labels, and logs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.evaluate import Scope, audit_run, gain
from ad_jax.report.table import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("full", type=Path, help="folder of runs over the full grid")
    parser.add_argument("halved", type=Path, help="folder of the same runs with --search halving")
    options = parser.parse_args()
    rows: list[list[object]] = []
    scopes: list[Scope] = []
    values: dict[str, list[float]] = {"full": [], "halved": []}
    steps: dict[str, tuple[int, int]] = {}  # per training set
    for path in sorted(options.full.glob("**/manifest.json")):
        other = options.halved / path.relative_to(options.full)
        if not other.is_file():
            continue
        full, whole_run = audit_run(path.parent, "halving")
        halved, halved_run = audit_run(other.parent, "halving")
        manifest, twin = whole_run.manifest, halved_run.manifest
        if manifest["fingerprint"] != twin["fingerprint"]:
            raise SystemExit(f"{path.parent} and {other.parent} hold runs on different data")
        picks = [float(np.mean(result.pick["auroc"])) for result in (full, halved)]
        scopes.append(full.across)
        for name, value in zip(values, picks, strict=True):
            values[name].append(value)
        whole = manifest["cost"]["total"] * manifest["config"]["steps"]
        spent = whole, twin["cost"]["member_steps"]
        steps[manifest["train_fingerprint"]] = spent
        rows.append(
            [
                str(path.parent.relative_to(options.full)),
                *picks,
                full.across.oracle,
                full.across.expected_random,
                spent[1] / spent[0],
            ]
        )
    if not rows:
        raise SystemExit(f"no run stands in both {options.full} and {options.halved}")
    print(render(["task", "full grid", "halving", "oracle", "random", "share of steps"], rows))
    full_steps, halved_steps = np.sum(list(steps.values()), axis=0)
    print(f"\n{len(rows)} tasks of {len(steps)} training sets")
    summary = [
        [name, float(np.mean(values[name])), gain(scopes, values[name]), spent]
        for name, spent in (("full", full_steps), ("halved", halved_steps))
    ]
    print(render(["", "mean AUROC of the pick", "gain", "member-steps"], summary))
    print(f"share of the member-steps: {halved_steps / full_steps:.2f}")


if __name__ == "__main__":
    in_one_line(main)
