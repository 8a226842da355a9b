"""`ad-jax audit`: open the labels of runs."""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict
from pathlib import Path

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.base.parameters import ROOT_MOST, whole
from ad_jax.cli.common import Adder, labels_of


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about)`."""
    one = adder("audit", audit, "open the labels of runs: what was the pick worth?")
    one.add_argument("run", nargs="+", help="folder written by select, or a folder of such")
    one.add_argument("--apart", help="pattern: summarise the tasks it matches apart")
    one.add_argument("--picture", help="file of its picture (audit.png in the run's folder)")
    one.add_argument("--splits", type=int, default=200, help="random halves of the target (200)")
    one.add_argument("--seed", type=int, default=0, help="of halves, permutations and draws (0)")
    one.add_argument("--labels", help="CSV with columns name,label instead of the source's own")


def audit(arguments: argparse.Namespace) -> None:
    from ad_jax import evaluate
    from ad_jax.report.judged import text
    from ad_jax.report.judged.picture import picture
    from ad_jax.runs import run

    folders = run.below(arguments.run)
    if arguments.picture and len(folders) > 1:
        raise InputError(f"--picture {arguments.picture} is one file for {len(folders)} runs")
    whole("--seed", arguments.seed, 0, ROOT_MOST)
    if arguments.splits < 1:
        raise InputError(f"--splits {arguments.splits} is too small; take 200")
    audits, trainings = {}, {}
    for folder in folders:
        truth = labels_of(folder, arguments.labels) if arguments.labels else None
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
        print(json_text({"tasks": tasks, "summary": both, "snooping": snooped}))
    else:
        for name, one_summary in both.items():
            print(text.of_summary(name, one_summary))
            print(text.of_snooping_summary(name, snooped[name]))
