"""`ad-jax audit`: open the labels of runs."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.base.parameters import ROOT_MOST, whole
from ad_jax.cli.common import Adder, labels_of


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "audit",
        audit,
        "open the labels of runs: how good are ensemble and pick?",
        (
            "ad-jax audit runs/parts --labels labels.csv",
            "ad-jax audit runs/parts runs/more --full",
        ),
    )
    one.add_argument("run", nargs="+", help="folder written by select, or a folder of such")
    one.add_argument("--apart", help="pattern: summarise the tasks it matches apart")
    one.add_argument("--picture", help="file of its picture (audit.png in the run's folder)")
    one.add_argument("--splits", type=int, default=200, help="random halves of the target (200)")
    one.add_argument("--seed", type=int, default=0, help="of halves, permutations and draws (0)")
    one.add_argument("--labels", help="CSV with columns name,label instead of the source's own")
    one.add_argument(
        "--full", action="store_true", help="every rule, constant and control, not one screen a run"
    )


def audit(arguments: argparse.Namespace) -> None:
    from ad_jax import evaluate
    from ad_jax.runs import run

    folders = run.below(arguments.run)
    if arguments.picture and len(folders) > 1:
        raise InputError(f"--picture {arguments.picture} is one file for {len(folders)} runs")
    whole("--seed", arguments.seed, 0, ROOT_MOST)
    if arguments.splits < 1:
        raise InputError(f"--splits {arguments.splits} is too small; take 200")
    audits: dict[str, evaluate.Audit] = {}
    trainings: dict[str, str] = {}
    for folder in folders:
        truth = labels_of(folder, arguments.labels) if arguments.labels else None
        audited = evaluate.audit_run(
            folder, truth=truth, seed=arguments.seed, splits=arguments.splits
        )
        manifest = audited.run.manifest
        task = run.name_of(manifest)
        task = task if task not in audits else f"{task} ({folder})"
        audits[task], trainings[task] = audited.audit, manifest["train_fingerprint"]
        path = Path(arguments.picture or folder / "audit.png")
        _show(arguments, task, audited, folder, path)
    scopes = {"all": list(audits)}
    if arguments.apart:
        matching = [t for t in audits if re.search(arguments.apart, t)]
        others = [t for t in audits if t not in matching]
        scopes |= {f"matching {arguments.apart!r}": matching, "the others": others}
    scopes = {name: tasks for name, tasks in scopes.items() if len(tasks) > 1}
    gains, snooped = {}, {}
    for name, tasks in scopes.items():
        gains[name] = evaluate.summary({t: audits[t] for t in tasks}, trainings)
        snoopings = {t: audits[t].snooping for t in tasks}
        snooped[name] = evaluate.snooping_summary(snoopings, trainings)
    if arguments.json:
        summaries = {name: _flat(results) for name, results in gains.items()}
        print(json_text(_plain({"tasks": audits, "summary": summaries, "snooping": snooped})))
        return
    for name, tasks in scopes.items():
        some = {task: audits[task] for task in tasks}
        _show_summary(arguments.full, name, some, trainings, (gains[name], snooped[name]))
    if not arguments.full:
        print(f"all of it: {arguments.line} --full")


def _show(arguments: argparse.Namespace, task: str, audited: Any, folder: Path, path: Path) -> None:
    """Writes the picture of an audit, and prints the audit."""
    from ad_jax.report.judged.audit import audit
    from ad_jax.report.judged.brief import brief
    from ad_jax.report.judged.picture import audit_picture
    from ad_jax.report.page.terminal import terminal

    path.parent.mkdir(parents=True, exist_ok=True)
    audit_picture(task, audited.audit).save(path)
    if arguments.json:
        return
    opened = len(audited.run.manifest["label_access"])
    if arguments.full:
        print(terminal(audit(task, audited.audit, opened)))
    else:
        print(terminal(brief(task, audited, (folder / "ensemble").exists(), opened)))
    print(f"picture: {path}")


def _show_summary(
    full: bool, name: str, audits: dict[str, Any], trainings: dict[str, str], found: tuple[Any, Any]
) -> None:
    """Prints what several runs have in common; `found` are their gains and what was snooped."""
    from ad_jax.report.judged.audit import snooping_summary, summary
    from ad_jax.report.judged.brief import brief_summary
    from ad_jax.report.page.terminal import terminal

    gains, snooped = found
    if full:
        print(terminal(summary(name, gains)))
        print(terminal(snooping_summary(name, snooped)))
    else:
        print(terminal(brief_summary(name, audits, trainings, snooped)))


def _flat(results: Any) -> dict[str, Any]:
    """A summary with its scopes beside its counts, and every gain beside its bounds."""
    out = results._asdict()
    for scope, rules in out.pop("scopes").items():
        out[scope] = {}
        for rule, figures in rules.items():
            interval = dict(zip(("gain", "low", "high"), figures.gain))
            out[scope][rule] = {**interval, **{**figures._asdict(), **interval}}
    return out


def _plain(value: Any) -> Any:
    """Dataclasses and named tuples as dicts; an estimate is a mean with its bounds."""
    from ad_jax.base.stats import Estimate

    if isinstance(value, Estimate):
        return dict(zip(("mean", "low", "high"), value))
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value
