"""What runs cost, and what made them: versions, data, seeds, label openings, commands."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

from ad_jax.base.json_text import json_text
from ad_jax.report.page import Block, Code, Column, Fold, Prose, Section, Table
from ad_jax.report.page.content import Cell, known
from ad_jax.report.parts.task import Task


def cost(tasks: Sequence[Task]) -> Section:
    """Trainings, time with compilation apart, device."""
    columns = [
        Column("task"),
        Column("settings"),
        Column("seeds"),
        Column("members", "trainings of the sweep"),
        Column("from a record", "finished before this run began, and not trained again"),
        Column("member-steps", "training steps over all members"),
        Column("training (s)", "sum over members, whenever they were trained", 0),
        Column("this run (s)", "wall time of the sweep that wrote the run", 1),
        Column("compiling (s)", "of that", 1),
        Column("programs", "compiled"),
        Column("ms a member-step", "compilation left out", 2),
        Column("peak memory (MB)", "of the process, on the host; this task and those before it", 0),
        Column("device"),
    ]
    rows: list[list[Cell]] = []
    seen: dict[str, tuple[float, float, int]] = {}
    for task in tasks:
        manifest, pool = task.run.manifest, task.run.pool
        spent = manifest["cost"]
        fresh = spent["member_steps"] * (1 - spent["skipped"] / max(spent["total"], 1))
        running = spent["seconds"] - spent["compile_seconds"]
        training = float(sum(m.seconds for m in pool.members))
        rows.append(
            [
                task.name,
                len(pool.settings),
                len(manifest["seeds"]),
                spent["total"],
                spent["skipped"],
                spent["member_steps"],
                training,
                float(spent["seconds"]),
                float(spent["compile_seconds"]),
                spent["compilations"],
                1000 * running / fresh if fresh >= 1 else math.nan,
                known(spent.get("peak_memory_mb")),
                manifest["device"],
            ]
        )
        seen[manifest["train_fingerprint"]] = (
            training,
            float(spent["seconds"]),
            spent["total"],
        )
    trained, ran, members = (sum(values) for values in zip(*seen.values(), strict=True))
    sets = "1 training set" if len(seen) == 1 else f"{len(seen)} training sets"
    said = (
        f"{members} trainings on {sets} took {trained / 60:.1f} minutes, summed "
        f"over members; the sweeps that wrote these runs took {ran / 60:.1f} minutes, and what "
        "stood in a record was not trained again. Tasks of one training set share its trainings, "
        "which are counted once here."
    )
    lacking = (
        []
        if all(t.run.manifest["cost"].get("peak_memory_mb") for t in tasks)
        else ["peak memory is not in the manifests of these runs"]
    )
    return Section(
        "cost", "Cost", [Prose([said]), Table("Cost", columns, rows)], {14: "; ".join(lacking)}
    )


def manifest(tasks: Sequence[Task], command: str) -> Section:
    """What made the runs, and the command that makes this report again."""
    blocks: list[Block] = [Code("The command that makes this report again", command)]
    commands = [t.run.manifest.get("command") or _unknown(t.run.manifest, t.name) for t in tasks]
    blocks.append(Code("The commands that made the runs", "\n".join(dict.fromkeys(commands))))
    rows: list[list[Cell]] = []
    for task in tasks:
        told = task.run.manifest
        openings = told["label_access"]
        rows.append(
            [
                task.name,
                told["fingerprint"][:12],
                told["train_fingerprint"][:12],
                told["samples"]["train"],
                told["samples"]["target"],
                f"{told['duplicates']['exact']} exact, {told['duplicates']['near']} near",
                ", ".join(map(str, told["seeds"])),
                told["config"]["steps"],
                told["written"],
                len(openings),
                f"{openings[-1][1]}, {openings[-1][0]}" if openings else "never",
            ]
        )
    heads = ["task", "data fingerprint", "of the normals", "normals", "target", "duplicates"]
    heads += ["seeds", "steps", "written", "labels opened", "last opened for"]
    blocks.append(Table("Runs", [Column(h) for h in heads], rows))
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
