"""`ad-jax select`: train a pool, pick a setting by the unlabelled target; or one shard of it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NamedTuple

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
    names,
    numbers,
    record,
    say_shard,
    seeds_of,
    training,
)
from ad_jax.cli.jobs import Job, add_tiles, job_of, other_target, write_run
from ad_jax.cli.streams import say

WIDE = "wide"  # stands for `search.Defaults.wide`


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
    one.add_argument("--keep", type=int, help="so many settings in the ensemble (all)")
    add_shard(one, "do every N-th chunk from the I-th")
    one.add_argument(
        "--plan", action="store_true", help="like --dry-run, and write what `ad-jax status` counts"
    )
    one.add_argument("--second", help="SOURCE whose target is a second set: would it pick alike?")


def make_settings(choices: dict[str, Any], backbone: str, shape: tuple[int, ...]) -> list[Any]:
    from ad_jax.selection import search

    default = search.defaults(backbone)
    families = choices["families"] or default.families
    if families == [WIDE]:
        families = default.wide
    if choices["random"]:
        return search.draw(shape, choices["random"], families, choices["root"], default.training)
    areas, strengths = choices["areas"] or default.areas, choices["strengths"] or search.STRENGTHS
    return search.grid(shape, areas, families, strengths, default.training)


def slug(source: str) -> str:
    """Folder name of a source: paths in it, options included, are cut to their last part."""
    last = re.sub(r"[^,:=]*/(?=[^/,])", "", source.rstrip("/"))
    return re.sub(r"[^A-Za-z0-9=.]+", "-", last).strip("-.")


def _attainable(detector: Any) -> str:
    """Which false-positive rates `score` can be asked for."""
    from ad_jax.detect.calibration import rounded_up

    known, alpha = detector.calibration_, detector.alpha
    count, least = len(known.scores), rounded_up(known.smallest())
    said = f"with {count} held-out normals, false-positive rates from {least:g} on are attainable"
    if count >= known.needed(alpha):
        return said
    return (
        f"{said}; {alpha:g}, which `ad-jax score` takes unless told otherwise, needs "
        f"{known.needed(alpha)}: give more normals, or --alpha"
    )


def _promised(problem: Any, chosen: Any) -> str:
    """`_attainable`, where held-out normals promise anything."""
    from ad_jax.data.folds import MIN_FOLDED
    from ad_jax.data.problem import ONE

    if problem.copies_held_out:
        return ONE
    said, seeds = _attainable(chosen.detector), {m.seed for m in chosen.pool.members}
    rotated = len({seed % problem.period for seed in seeds}) == problem.period
    if not rotated and len(problem.train) < MIN_FOLDED:
        said += f"; --seeds {problem.period} hold out every normal once"
    return said


class Group(NamedTuple):
    """Sources that share their normals, and so their trainings.

    Attributes:
      jobs: one per source.
      spec: what decides the numbers.
    """

    jobs: list[Job]
    spec: Any

    @property
    def tasks(self) -> list[Any]:
        return [job.task for job in self.jobs]


def _groups(arguments: argparse.Namespace, choices: dict[str, Any]) -> list[Group]:
    """The sources by training set; everything that cannot run is refused here."""
    from ad_jax.pool import chunks
    from ad_jax.runs import run
    from ad_jax.selection import Spec, rules
    from ad_jax.selection.spec import check

    rule, search = choices["rule"] or rules.DEFAULT, choices["search"]
    seeds = seeds_of(choices)
    check(rule, seeds, search)
    jobs = [job_of(arguments, text) for text in choices["sources"]]
    slugs = [slug(job.text) for job in jobs]
    if len(set(slugs)) != len(slugs):
        raise InputError(f"two sources share the folder name {slugs}; give them different options")
    by_normals: dict[str, list[Job]] = {}
    for job in jobs:
        folder = _folder(arguments, job, len(jobs))
        config = training(choices, job.task.shape)
        run.refuse_changes(folder, job.problem, config)
        check_localiser(arguments.localiser, config, job.problem.shape, job.tiling)
        by_normals.setdefault(job.task.train_fingerprint, []).append(job)
    groups = []
    for some in by_normals.values():
        shape = some[0].task.shape
        config = training(choices, shape)
        settings = make_settings(choices, config.backbone, shape)
        chunks.check_settings(settings, shape, config)
        groups.append(Group(some, Spec(settings, seeds, rule, search, config)))
    return groups


def _folder(arguments: argparse.Namespace, job: Job, jobs: int) -> Path:
    """Where a job's run is written: `--out`, or a folder in it where there are several."""
    out = Path(arguments.out)
    return out if jobs == 1 else out / slug(job.text)


def _say_cost(groups: list[Group], as_json: bool) -> None:
    from ad_jax.selection import cost

    total = cost.total(
        [
            cost.estimate(
                group.tasks,
                group.spec.settings,
                group.spec.seeds,
                group.spec.config,
                group.spec.search,
            )
            for group in groups
        ]
    )
    if as_json:
        print(json_text(total._asdict()))
        return
    print(
        f"{total.members} members, {total.member_steps} member-steps, about "
        f"{total.minutes:.1f} minutes, {total.memory_mb:.0f} MB beyond the program's "
        f"start, {total.compilations} compilations"
    )


def _say_progress(progress: Any) -> None:
    known = progress.left == progress.left  # NaN before anything ran here
    soon = f", about {progress.left:.0f} s left" if known else ""
    say(
        f"  {progress.done}/{progress.total} members ({progress.skipped} from the record), "
        f"{progress.seconds:.0f} s of which {progress.compile_seconds:.0f} s compiling "
        f"{progress.compilations} programs{soon}"
    )


def _say_duplicates(job: Job) -> None:
    duplicates = job.problem.duplicates()
    if duplicates.exact or duplicates.near:
        say(
            f"  {job.text}: {len(duplicates.exact)} exact and {len(duplicates.near)} near "
            "duplicates between normals and target"
        )


def _say_trust(job: Job, chosen: Any) -> None:
    say(f"  {job.text}: {_promised(job.problem, chosen)}")
    say(f"  {job.text}: trust in {chosen.pick.label} is {chosen.trust.verdict}")
    for reason in chosen.trust.reasons:
        say(f"    {reason}")
    for signature in chosen.signatures:
        if signature.found:
            say(f"    {signature.name}: {signature.advice}")


def _result(job: Job, folder: Path, chosen: Any) -> dict[str, Any]:
    """What `--json` prints of a selection."""
    return {
        "source": job.text,
        "folder": str(folder),
        "rule": chosen.rule,
        "smallest_alpha": chosen.detector.calibration_.smallest(),
        "pick": chosen.pick._asdict(),
        "trust": chosen.trust._asdict(),
        "signatures": [signature._asdict() for signature in chosen.signatures],
    }


def select(arguments: argparse.Namespace) -> None:
    from ad_jax.runs import plan
    from ad_jax.selection import Runtime, selection

    choices = choices_of(arguments)
    if arguments.keep is not None and arguments.keep < 1:
        raise InputError(f"--keep {arguments.keep} keeps nothing; take 1 or more, or leave it out")
    shard = check_shard(arguments, choices["search"])
    groups = _groups(arguments, choices)
    if arguments.dry_run or arguments.plan:
        _say_cost(groups, arguments.json)
    if arguments.dry_run:
        return
    if arguments.second and len(groups) > 1:
        raise InputError(f"--second with {len(groups)} training sets; select them one by one")
    second, read_for_second = other_target(groups[0].jobs[0], arguments.second)
    parts = [
        plan.Part(
            {job.text: job.task for job in group.jobs},
            selection.targets(group.tasks, second),
            group.spec.settings,
            group.spec.seeds,
            group.spec.config,
        )
        for group in groups
    ]
    runtime = Runtime(record(arguments), _say_progress, shard)
    spec = groups[0].spec
    plan.write(Path(arguments.out), parts, spec.search, arguments.record)
    if arguments.plan:
        return
    results: list[tuple[Job, Path, Any]] = []
    left, failures = 0, []
    for number, group in enumerate(groups, 1):
        titles = ", ".join(job.text for job in group.jobs)
        say(f"training set {number}/{len(groups)}: {titles}")
        for job in group.jobs:
            _say_duplicates(job)
        try:
            if shard:
                left += selection.work(group.tasks, group.spec, runtime, second)
                continue
            selections = selection.select_all(
                group.tasks, group.spec, runtime, second, arguments.keep
            )
        except MembersFailed as error:  # other training sets go on
            failures.append(str(error))
            continue
        for job, chosen in zip(group.jobs, selections, strict=True):
            folder = _folder(arguments, job, len(choices["sources"]))
            chosen = write_run(arguments, folder, job, chosen, group.spec, read_for_second)
            results.append((job, folder, chosen))
            _say_trust(job, chosen)
    if failures:
        raise MembersFailed("; ".join(failures))
    if shard:
        say_shard(shard, left, "members", arguments)
    else:
        _print(arguments, spec.rule, results)


def _print(arguments: argparse.Namespace, rule: str, results: list[tuple[Job, Path, Any]]) -> None:
    """The picks, as JSON or as a table."""
    from ad_jax.report.table import render

    if arguments.json:
        print(json_text([_result(*result) for result in results]))
        return
    rows = [
        [job.text, chosen.pick.label, chosen.losses[rule][chosen.pick.key], chosen.trust.verdict]
        for job, _, chosen in results
    ]
    print(render(["source", "pick", rule, "trust"], rows))
    print(f"\nwritten to {arguments.out}; with labels: ad-jax audit {arguments.out}")
