"""Does a rule find the augmentation that made the anomalies?

    python experiments/studies/planted.py runs/planted/*/*

Reads runs on `planted:` sources (experiments/configs/planted.py makes them). For every rule: how
often the generator's own setting stands in the top quarter of its family and of the whole grid,
and its mean rank. By chance it would a quarter of the time. No evidence on real anomalies.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.evaluate import audit_run, truth_of
from ad_jax.report.table import render
from ad_jax.runs import run
from ad_jax.selection.search import setting
from ad_jax.train.setting import Setting


def place(losses: dict[str, float], own: str, others: list[Setting]) -> tuple[int, int]:
    """Rank of the own setting (1 = lowest loss, ties count against it) and how many there are."""
    return sum(losses[s.key] <= losses[own] for s in others), len(others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    options = parser.parse_args()
    found: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    problems, missing = [], []
    for folder in options.runs:
        if not (folder / run.MANIFEST).is_file():
            continue
        truth = truth_of(run.read(folder))
        facts = truth.open("planted").facts
        result, one = audit_run(folder, "planted", truth)
        own = setting("binary", facts["generator"], **facts["hyper"])
        by_auroc = {k: -v for k, v in zip(result.across.settings, result.across.auroc, strict=True)}
        trained = [s for s in one.pool.settings if s.key in by_auroc]
        if own.key not in by_auroc:
            missing.append(f"{folder.name}: {own.label} learned nothing")
            continue
        family = [s for s in trained if s.family == own.family]
        problems.append([folder.parent.name, own.label, -by_auroc[own.key], result.across.oracle])
        for rule, losses in {**one.losses, "labels (AUROC)": by_auroc}.items():
            found[rule]["across"].append(place(losses, own.key, trained))
            if len(family) > 1:
                found[rule]["within"].append(place(losses, own.key, family))
    if not problems:
        raise SystemExit("no run on a planted source there; see experiments/configs/planted.py")
    print(render(["base", "generator", "its own AUROC", "oracle"], problems))
    for line in missing:
        print(f"left out: {line}")
    rows = []
    for rule, scopes in found.items():
        row: list[object] = [rule]
        for scope in ("within", "across"):
            places = scopes[scope]
            top = [rank <= math.ceil(count / 4) for rank, count in places]
            row += (
                [float(np.mean(top)), float(np.mean([r / n for r, n in places]))]
                if places
                else ["-", "-"]
            )
        rows.append(row)
    rows.sort(key=lambda row: -float(row[3]))  # type: ignore[arg-type]
    header = [
        "rule",
        "within: top quarter",
        "mean rank / n",
        "across: top quarter",
        "mean rank / n",
    ]
    print(f"\n{len(problems)} problems, the generator's own setting in the top quarter")
    print(render(header, rows))


if __name__ == "__main__":
    in_one_line(main)
