"""`ad-jax select`: train a pool, pick a setting by the unlabelled target; or one shard of it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NamedTuple

from ad_jax.base.errors import InputError, MembersFailed
from ad_jax.base.json_text import json_text
from ad_jax.cli.answer import of_one, of_several, promised
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
from ad_jax.cli.progress import Steps
from ad_jax.cli.streams import say, say_wrapped

WIDE = "wide"  # stands for `search.Defaults.wide`


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "select",
        select,
        "train on normals, weigh settings by unlabelled samples",
        (
            "ad-jax select parts --out runs/parts  # has train/ (good) and target/",
            "ad-jax select parts,size=160 --seeds 2 --dry-run  # what would it cost?",
        ),
    )
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
    one.add_argument(
        "--verbose",
        action="store_true",
        help="also say all reasons for the trust, signs of failure and duplicates (on stderr)",
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
        f"about {total.minutes:.1f} minutes: {total.members} trainings, {total.member_steps} steps "
        f"in all\n{total.memory_mb:.0f} MB of memory more than after the start, "
        f"{total.compilations} programs to compile"
    )


def _say_duplicates(job: Job) -> None:
    duplicates = job.problem.duplicates()
    if duplicates.exact or duplicates.near:
        say(
            f"  {job.text}: {len(duplicates.exact)} exact and {len(duplicates.near)} near "
            "duplicates between normals and target"
        )


def _say_details(job: Job, chosen: Any) -> None:
    """All that speaks for and against a pick."""
    say_wrapped(f"{job.text}: false alarms: {promised(job.problem, chosen)}", 2)
    say_wrapped(f"{job.text}: trust in {chosen.pick.label} is {chosen.trust.verdict}", 2)
    for reason in chosen.trust.reasons:
        say_wrapped(reason, 4)
    for signature in chosen.signatures:
        if signature.found:
            say_wrapped(f"{signature.name}: {signature.advice}", 4)


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
    spec, kept = groups[0].spec, record(arguments)
    plan.write(Path(arguments.out), parts, spec.search, arguments.record)
    if arguments.plan:
        return
    results: list[tuple[Job, Path, Any]] = []
    left, failures = 0, []
    for number, group in enumerate(groups, 1):
        titles = ", ".join(job.text for job in group.jobs)
        say(f"training set {number}/{len(groups)}: {titles}")
        if arguments.verbose:
            for job in group.jobs:
                _say_duplicates(job)
        try:
            with Steps() as steps:
                runtime = Runtime(kept, steps, shard)
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
    if failures:
        raise MembersFailed("; ".join(failures))
    if shard:
        say_shard(shard, left, "members", arguments)
    else:
        _print(arguments, results)


def _print(arguments: argparse.Namespace, results: list[tuple[Job, Path, Any]]) -> None:
    """What was found: as JSON, or as one screen; details on stderr if they are asked for."""
    for job, _, chosen in results if arguments.verbose else []:
        _say_details(job, chosen)
    if arguments.json:
        print(json_text([_result(*result) for result in results]))
    elif len(results) == 1:
        print("\n".join(of_one(*results[0])))
    else:
        print("\n".join(of_several(Path(arguments.out), results)))
