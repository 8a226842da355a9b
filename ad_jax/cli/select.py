"""`ad-jax select`: train a pool, pick a setting by the unlabelled target; or one shard of it."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

from ad_jax.base.errors import InputError, MembersFailed
from ad_jax.base.json_text import json_text
from ad_jax.cli.common import (
    Adder,
    add_localiser,
    add_shard,
    add_training,
    check_localiser,
    check_shard,
    choices_of,
    localise,
    names,
    numbers,
    record,
    say_shard,
    training,
)
from ad_jax.cli.jobs import Job, add_tiles, job_of, other_target
from ad_jax.cli.streams import say

WIDE = "wide"  # stands for the families of `search.WIDE`


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about)`."""
    one = adder("select", select, "train a pool, pick a setting by the unlabelled target")
    one.add_argument("source", nargs="*", help="SOURCE[,key=value…]; default: embedded textures")
    add_training(one, "runs/select")
    add_localiser(one)
    add_tiles(one)
    one.add_argument("--config", help="FILE.py or FILE.py:argument with get_config(argument)")
    one.add_argument(
        "--families", type=names, help="PRETEXT/AUGMENTATION,…, or `wide`; default: three of them"
    )
    one.add_argument("--areas", type=numbers, help="patch areas of the grid, e.g. .02,.04,.08")
    one.add_argument("--strengths", type=int, help="grid values of families without areas (4)")
    one.add_argument("--random", type=int, help="so many random settings instead of the grid")
    one.add_argument("--search", help="all (default), or halving: drop settings early")
    add_shard(one, "do every N-th chunk from the I-th")
    one.add_argument(
        "--plan", action="store_true", help="like --dry-run, and write what `ad-jax status` counts"
    )
    one.add_argument("--second", help="SOURCE whose target is a second set: would it pick alike?")


def make_settings(choices: dict[str, Any], shape: tuple[int, ...]) -> list[Any]:
    from ad_jax.selection import search

    families = choices["families"] or search.FAMILIES
    if families == [WIDE]:
        families = search.WIDE
    if choices["random"]:
        return search.draw(shape, choices["random"], families, choices["root"])
    areas = choices["areas"] or search.AREAS
    return search.grid(shape, areas, families, choices["strengths"] or search.STRENGTHS)


def slug(source: str) -> str:
    """Folder name of a source: paths in it, options included, are cut to their last part."""
    last = re.sub(r"[^,:=]*/(?=[^/,])", "", source.rstrip("/"))
    return re.sub(r"[^A-Za-z0-9=.]+", "-", last).strip("-.")


def _attainable(detector: Any) -> str:
    """Which false-positive rates `score` can be asked for."""
    known, alpha = detector.calibration_, detector.alpha
    count, least = len(known.scores), math.ceil(1e4 * known.smallest()) / 1e4
    said = f"with {count} held-out normals, false-positive rates from {least:g} on are attainable"
    if count >= known.needed(alpha):
        return said
    return (
        f"{said}; {alpha:g}, which `ad-jax score` takes unless told otherwise, needs "
        f"{known.needed(alpha)}: give more normals, or --alpha"
    )


def select(arguments: argparse.Namespace) -> None:
    from ad_jax.pool import chunks
    from ad_jax.report.table import render
    from ad_jax.runs import plan, run
    from ad_jax.selection import cost as estimate
    from ad_jax.selection import rules, selection
    from ad_jax.selection.spec import Runtime, Spec, check

    choices = choices_of(arguments)
    rule = choices["rule"] or rules.DEFAULT
    config, seeds = training(choices)
    check(rule, seeds, choices["search"])
    shard = check_shard(arguments, choices["search"])
    jobs = [job_of(arguments, text) for text in choices["sources"]]
    out = Path(arguments.out)
    slugs = [slug(job.text) for job in jobs]
    if len(set(slugs)) != len(slugs):
        raise InputError(f"two sources share the folder name {slugs}; give them different options")
    folders = {
        job.text: out if len(jobs) == 1 else out / slug
        for job, slug in zip(jobs, slugs, strict=True)
    }
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        run.refuse_changes(folders[job.text], job.problem, config)
        check_localiser(arguments.localiser, config, job.problem.shape, job.tiling)
        groups.setdefault(job.task.train_fingerprint, []).append(job)
    settings_of = {}
    for name, group in groups.items():
        shape = group[0].task.shape
        settings_of[name] = make_settings(choices, shape)
        chunks.check_settings(settings_of[name], shape, config)
    if arguments.dry_run or arguments.plan:
        costs = [
            estimate.estimate(
                [job.task for job in group],
                settings_of[name],
                seeds,
                config,
                choices["search"],
            )
            for name, group in groups.items()
        ]
        total = estimate.total(costs)
        if arguments.json:
            print(json_text(total._asdict()))
        else:
            print(
                f"{total.members} members, {total.member_steps} member-steps, about "
                f"{total.minutes:.1f} minutes, {total.memory_mb:.0f} MB beyond the program's "
                f"start, {total.compilations} compilations"
            )
    if arguments.dry_run:
        return
    if arguments.second and len(groups) > 1:
        raise InputError(f"--second with {len(groups)} training sets; select them one by one")
    second, read_for_second = other_target(jobs[0], arguments.second)
    parts = [
        plan.Part(
            {job.text: job.task for job in group},
            selection.targets([job.task for job in group], second),
            settings_of[name],
            seeds,
        )
        for name, group in groups.items()
    ]
    finished = record(arguments)
    plan.write(out, parts, config, choices["search"], arguments.record)
    if arguments.plan:
        return
    rows, results, left = [], [], 0
    failures: list[str] = []
    for number, (name, group) in enumerate(groups.items(), 1):
        tasks = [job.task for job in group]
        say(f"training set {number}/{len(groups)}: {', '.join(job.text for job in group)}")
        for job in group:
            duplicates = job.problem.duplicates()
            if duplicates.exact or duplicates.near:
                say(
                    f"  {job.text}: {len(duplicates.exact)} exact and {len(duplicates.near)} near "
                    "duplicates between normals and target"
                )

        def report(progress: Any) -> None:
            known = progress.left == progress.left  # NaN before anything ran here
            soon = f", about {progress.left:.0f} s left" if known else ""
            say(
                f"  {progress.done}/{progress.total} members ({progress.skipped} from the record), "
                f"{progress.seconds:.0f} s of which {progress.compile_seconds:.0f} s compiling "
                f"{progress.compilations} programs{soon}"
            )

        spec = Spec(settings_of[name], seeds, rule, choices["search"], config)
        runtime = Runtime(finished, report, shard)
        try:
            if shard:
                left += selection.work(tasks, spec, runtime, second)
                continue
            selections = selection.select_all(tasks, spec, runtime, second)
        except MembersFailed as error:  # other training sets go on
            failures.append(str(error))
            continue
        for job, chosen in zip(group, selections, strict=True):
            chosen = job.chosen(chosen)
            localise(chosen.detector, job.problem, arguments.localiser)
            text, folder = job.text, folders[job.text]
            run.write(
                *(folder, chosen, job.problem, job.truth.names),
                *(job.source, job.options, config, seeds),
                command=arguments.line,
                label_access=[*job.truth.log, *read_for_second],
            )
            loss = chosen.losses[chosen.rule][chosen.pick.key]
            rows.append([text, chosen.pick.label, loss, chosen.trust.verdict])
            results.append(
                {
                    "source": text,
                    "folder": str(folder),
                    "rule": chosen.rule,
                    "smallest_alpha": chosen.detector.calibration_.smallest(),
                    "pick": chosen.pick._asdict(),
                    "trust": chosen.trust._asdict(),
                    "signatures": [one._asdict() for one in chosen.signatures],
                }
            )
            say(f"  {text}: {_attainable(chosen.detector)}")
            say(f"  {text}: trust in {chosen.pick.label} is {chosen.trust.verdict}")
            for reason in chosen.trust.reasons:
                say(f"    {reason}")
            for one in chosen.signatures:
                if one.found:
                    say(f"    {one.name}: {one.advice}")
    if failures:
        raise MembersFailed("; ".join(failures))
    if shard:
        say_shard(shard, left, "members", arguments)
    elif arguments.json:
        print(json_text(results))
    else:
        print(render(["source", "pick", rule, "trust"], rows))
        print(f"\nwritten to {out}; with labels: ad-jax audit {out}")
