"""What runs cost, and what made them: versions, data, seeds, label openings, commands."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

from ad_jax.base.json_text import json_text
from ad_jax.report.page import Block, Code, Fold, Prose, Section, Table, field, tabulated
from ad_jax.report.page.content import known
from ad_jax.report.parts.task import Task


def cost(tasks: Sequence[Task]) -> Section:
    """Trainings, time with compilation apart, device."""
    spent = {  # by training set: seconds of training, of the last sweep, trainings
        t.run.manifest["train_fingerprint"]: (
            _training(t),
            float(t.run.manifest["cost"]["seconds"]),
            t.run.manifest["cost"]["total"],
        )
        for t in tasks
    }
    trained, ran, members = (sum(values) for values in zip(*spent.values(), strict=True))
    sets = "1 training set" if len(spent) == 1 else f"{len(spent)} training sets"
    text = (
        f"{members} trainings on {sets} took {trained / 60:.1f} minutes, summed "
        f"over members; the sweeps that wrote these runs took {ran / 60:.1f} minutes, and what "
        "stood in a record was not trained again. Tasks of one training set share its trainings, "
        "which are counted once here."
    )
    measured = all(_peak_memory(t) > 0 for t in tasks)
    lacking = "" if measured else "peak memory is not in the manifests of these runs"
    return Section("cost", "Cost", [Prose([text]), _table(tasks)], {14: lacking})


def _training(task: Task) -> float:
    """Seconds over all members."""
    return float(sum(m.seconds for m in task.run.pool.members))


def _peak_memory(task: Task) -> float:
    return known(task.run.manifest["cost"].get("peak_memory_mb"))


def _milliseconds(task: Task) -> float:
    """Of a member-step, compilation left out; NaN where all stood in a record."""
    cost = task.run.manifest["cost"]
    fresh = cost["member_steps"] * (1 - cost["skipped"] / max(cost["total"], 1))
    running = cost["seconds"] - cost["compile_seconds"]
    return 1000 * running / fresh if fresh >= 1 else math.nan


def _table(tasks: Sequence[Task]) -> Table:
    spent = lambda name: lambda t: t.run.manifest["cost"][name]
    seconds = lambda name: lambda task: float(task.run.manifest["cost"][name])
    record = "finished before this run began, and not trained again"
    memory = "of the process, on the host; this task and those before it"
    wall = "wall time of the sweep that wrote the run"
    return tabulated(
        "Cost",
        [
            field("task", lambda t: t.name),
            field("settings", lambda task: len(task.run.pool.settings)),
            field("seeds", lambda task: len(task.run.manifest["seeds"])),
            field("members", spent("total"), "trainings of the sweep"),
            field("from a record", spent("skipped"), record),
            field("member-steps", spent("member_steps"), "training steps over all members"),
            field("training (s)", _training, "sum over members, whenever they were trained", 0),
            field("this run (s)", seconds("seconds"), wall, 1),
            field("compiling (s)", seconds("compile_seconds"), "of that", 1),
            field("programs", spent("compilations"), "compiled"),
            field("ms a member-step", _milliseconds, "compilation left out", 2),
            field("peak memory (MB)", _peak_memory, memory, 0),
            field("device", lambda t: t.run.manifest["device"]),
        ],
        tasks,
    )


def manifest(tasks: Sequence[Task], command: str) -> Section:
    """What made the runs, and the command that makes this report again."""
    blocks: list[Block] = [Code("The command that makes this report again", command)]
    commands = [t.run.manifest.get("command") or _unknown(t.run.manifest, t.name) for t in tasks]
    blocks.append(Code("The commands that made the runs", "\n".join(dict.fromkeys(commands))))
    blocks.append(_runs(tasks))
    blocks.append(
        Fold(
            "Manifests and logs of label openings",
            [Code(t.name, json_text(t.run.manifest, indent=1)) for t in tasks],
        )
    )
    lacking = (
        []
        if all(t.run.manifest.get("command") for t in tasks)
        else ["runs of an earlier version hold no command line"]
    )
    return Section("manifest", "Manifest", blocks, {16: "; ".join(lacking)})


def _runs(tasks: Sequence[Task]) -> Table:
    samples = lambda name: lambda t: t.run.manifest["samples"][name]

    def duplicates(task: Task) -> str:
        count = task.run.manifest["duplicates"]
        return f"{count['exact']} exact, {count['near']} near"

    def opened(task: Task) -> str:
        openings = task.run.manifest["label_access"]
        return f"{openings[-1][1]}, {openings[-1][0]}" if openings else "never"

    return tabulated(
        "Runs",
        [
            field("task", lambda t: t.name),
            field("data fingerprint", lambda t: t.run.manifest["fingerprint"][:12]),
            field("of the normals", lambda t: t.run.manifest["train_fingerprint"][:12]),
            field("normals", samples("train")),
            field("target", samples("target")),
            field("duplicates", duplicates),
            field("seeds", lambda task: ", ".join(map(str, task.run.manifest["seeds"]))),
            field("steps", lambda t: t.run.manifest["config"]["steps"]),
            field("written", lambda t: t.run.manifest["written"]),
            field("labels opened", lambda task: len(task.run.manifest["label_access"])),
            field("last opened for", opened),
        ],
        tasks,
    )


def _unknown(manifest: dict[str, Any], task: str) -> str:
    """What is known of the command of a run that does not hold it, as a comment."""
    options = [f"{k}={v}" for k, v in manifest["options"].items()]
    config = manifest["config"]
    source = shlex.quote(",".join([manifest["source"], *options]))
    return (
        f"# {task}: the manifest holds no command; what it tells is\n"
        f"# ad-jax select {source} --steps {config['steps']} --width {config['width']} "
        f"--backbone {config['backbone']} --seed {config['root']} --seeds {len(manifest['seeds'])}"
    )
