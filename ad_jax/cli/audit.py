"""`ad-jax audit`: open the labels of runs."""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.cli.common import Adder
from ad_jax.errors import InputError


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about)`."""
    one = adder("audit", audit, "open the labels of runs: what was the pick worth?")
    one.add_argument("run", nargs="+", help="folder written by select, or a folder of such")
    one.add_argument("--apart", help="pattern: summarise the tasks it matches apart")
    one.add_argument("--picture", help="file of its picture (audit.png in the run's folder)")
    one.add_argument("--splits", type=int, default=200, help="random halves of the target (200)")
    one.add_argument("--seed", type=int, default=0, help="of halves, permutations and draws (0)")
    one.add_argument("--labels", help="CSV with columns name,label instead of the source's own")


def _labels_file(path: str, names: Sequence[str]) -> Any:
    """A truth from CSV with the columns name, label (0 normal, 1 anomalous)."""
    from ad_jax.data import Labels, Truth

    def read() -> Labels:
        try:
            with open(path, newline="") as file:
                table = {row["name"]: row["label"] for row in csv.DictReader(file)}
        except (OSError, KeyError, UnicodeDecodeError) as error:
            raise InputError(f"--labels {path}: needs columns name,label ({error!r})") from None
        missing = [name for name in names if name not in table]
        if missing:
            raise InputError(f"--labels {path}: no label for {missing[0]!r} ({len(missing)} lack)")
        values = [table[name] for name in names]
        wrong = [v for v in values if v not in ("0", "1")]
        if wrong:
            raise InputError(f"--labels {path}: {wrong[0]!r} is neither 0 (normal) nor 1")
        return Labels(np.array(values, int), [("anomaly" if v == "1" else "") for v in values])

    return Truth(names, read)


def audit(arguments: argparse.Namespace) -> None:
    from ad_jax import evaluate, run
    from ad_jax.evaluate import text
    from ad_jax.evaluate.picture import picture

    folders = run.below(arguments.run)
    if arguments.picture and len(folders) > 1:
        raise InputError(f"--picture {arguments.picture} is one file for {len(folders)} runs")
    if arguments.splits < 1:
        raise InputError(f"--splits {arguments.splits} is too small; take 200")
    audits, trainings = {}, {}
    for folder in folders:
        truth = None
        if arguments.labels:
            with open(folder / "samples.csv", newline="") as file:
                names = [row["name"] for row in csv.DictReader(file)]
            truth = _labels_file(arguments.labels, names)
        result, one = evaluate.audit_run(
            folder, truth=truth, seed=arguments.seed, splits=arguments.splits
        )
        manifest = one.manifest
        task = run.name_of(manifest)
        task = task if task not in audits else f"{task} ({folder})"
        audits[task], trainings[task] = result, manifest["train_fingerprint"]
        path = Path(arguments.picture or folder / "audit.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(task, result).save(path)
        if not arguments.json:
            opened = len(manifest["label_access"])
            print(text.of_audit(task, result, opened))
            print(f"picture: {path}")
    scopes = {"all": list(audits)}
    if arguments.apart:
        matching = [t for t in audits if re.search(arguments.apart, t)]
        others = [t for t in audits if t not in matching]
        scopes |= {f"matching {arguments.apart!r}": matching, "the others": others}
    both = {
        name: evaluate.summary({t: audits[t] for t in tasks}, trainings)
        for name, tasks in scopes.items()
        if len(tasks) > 1
    }
    snooped = {
        name: evaluate.snooping_summary({t: audits[t].snooping for t in scopes[name]}, trainings)
        for name in both
    }
    if arguments.json:
        tasks = {t: asdict(a) for t, a in audits.items()}
        print(json.dumps({"tasks": tasks, "summary": both, "snooping": snooped}))
    else:
        for name, one_summary in both.items():
            print(text.of_summary(name, one_summary))
            print(text.of_snooping_summary(name, snooped[name]))
