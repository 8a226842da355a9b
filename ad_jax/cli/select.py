"""`ad-jax select`: train a pool, pick a setting by the unlabelled target; or one shard of it."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from ad_jax.cli.common import (
    Adder,
    add_training,
    choices_of,
    load,
    names,
    numbers,
    record,
    say,
    training,
)
from ad_jax.errors import InputError, MembersFailed

WIDE = "wide"  # stands for the families of `search.WIDE`


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about)`."""
    one = adder("select", select, "train a pool, pick a setting by the unlabelled target")
    one.add_argument("source", nargs="*", help="SOURCE[,key=value…]; default: embedded textures")
    add_training(one, "runs/select")
    one.add_argument("--config", help="FILE.py or FILE.py:argument with get_config(argument)")
    one.add_argument(
        "--families", type=names, help="PRETEXT/AUGMENTATION,…, or `wide`; default: three of them"
    )
    one.add_argument("--areas", type=numbers, help="patch areas of the grid, e.g. .02,.04,.08")
    one.add_argument("--random", type=int, help="so many random settings instead of the grid")
    one.add_argument("--search", help="all (default), or halving: drop settings early")
    one.add_argument("--shard", help="I/N: do every N-th chunk from the I-th, I = 1 … N; no pick")
    one.add_argument(
        "--distributed",
        help="auto, or HOST:PORT,I/N: each process of a jax.distributed job does its shard",
    )
    one.add_argument(
        "--plan", action="store_true", help="like --dry-run, and write what `ad-jax status` counts"
    )
    one.add_argument("--second", help="SOURCE whose target is a second set: would it pick alike?")


def make_settings(choices: dict[str, Any], shape: tuple[int, ...]) -> list[Any]:
    from ad_jax import search

    families = choices["families"] or search.FAMILIES
    if families == [WIDE]:
        families = search.WIDE
    if choices["random"]:
        return search.draw(shape, choices["random"], families, choices["root"])
    return search.grid(shape, choices["areas"] or search.AREAS, families)


def slug(source: str) -> str:
    """Folder name of a source: paths in it, options included, are cut to their last part."""
    last = re.sub(r"[^,:=]*/(?=[^/,])", "", source.rstrip("/"))
    return re.sub(r"[^A-Za-z0-9=.]+", "-", last).strip("-.")


def check_shard(arguments: argparse.Namespace, search: str) -> Any:
    """The shard of a select, None without; refused where it cannot be."""
    from ad_jax import devices, plan
    from ad_jax.chunks import Shard

    if arguments.shard and arguments.distributed:
        raise InputError("--shard and --distributed both say which part to do; give one")
    found = plan.shard(arguments.shard)
    option = "--shard" if arguments.shard else "--distributed"
    if (found or arguments.distributed) and search != "all":
        raise InputError(
            f"{option} with --search {search}: what is dropped depends on all members of a stage; "
            "start plain `ad-jax select` several times on one --record instead"
        )
    return Shard(*devices.join(arguments.distributed)) if arguments.distributed else found


def say_shard(text: str, left: int, as_json: bool) -> None:
    """The end of a shard's work: there is no pick yet."""
    if as_json:
        print(json.dumps({"shard": text, "left": left}))
        return
    print(f"shard {text} is done; {left} members are left for other shards")
    print("when all are done: the same `ad-jax select` without --shard picks")


def select(arguments: argparse.Namespace) -> None:
    from ad_jax import choice, chunks, estimate, plan, rules, run, selection
    from ad_jax.report.table import render

    choices = choices_of(arguments)
    rule = choices["rule"] or rules.DEFAULT
    rules.get(rule)
    config, seeds = training(choices)
    choice.check(rule, seeds, choices["search"])
    shard = check_shard(arguments, choices["search"])
    loaded = [(*load(text, arguments.skip_bad), text) for text in choices["sources"]]
    out = Path(arguments.out)
    slugs = [slug(text) for *_, text in loaded]
    if len(set(slugs)) != len(slugs):
        raise InputError(f"two sources share the folder name {slugs}; give them different options")
    folders = {
        text: out if len(loaded) == 1 else out / slug
        for (*_, text), slug in zip(loaded, slugs, strict=True)
    }
    groups: dict[str, list[Any]] = {}
    for problem, *rest in loaded:
        run.refuse_changes(folders[rest[-1]], problem, config)
        groups.setdefault(problem.train_fingerprint, []).append((problem, *rest))
    settings_of = {}
    for name, group in groups.items():
        shape = group[0][0].shape
        settings_of[name] = make_settings(choices, shape)
        chunks.check_settings(settings_of[name], shape, config)
    if arguments.dry_run or arguments.plan:
        costs = [
            estimate.estimate(
                [one[0] for one in group],
                settings_of[name],
                seeds,
                config,
                choices["search"],
            )
            for name, group in groups.items()
        ]
        total = estimate.total(costs)
        if arguments.json:
            print(json.dumps(total._asdict()))
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
    second = load(arguments.second)[0].target if arguments.second else None
    parts = [
        plan.Part(
            {one[-1]: one[0] for one in group},
            choice.targets([one[0] for one in group], second),
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
        problems = [one[0] for one in group]
        say(f"training set {number}/{len(groups)}: {', '.join(one[-1] for one in group)}")
        for one in group:
            duplicates = one[0].duplicates()
            if duplicates.exact or duplicates.near:
                say(
                    f"  {one[-1]}: {len(duplicates.exact)} exact and {len(duplicates.near)} near "
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

        common = (seeds, config, finished, report)
        try:
            if shard:
                left += choice.work(problems, settings_of[name], shard, *common, second)
                continue
            selections = selection.select_all(
                problems,
                settings_of[name],
                *(seeds, rule, *common[1:], choices["search"]),
                second=second,
            )
        except MembersFailed as error:  # other training sets go on
            failures.append(str(error))
            continue
        for (problem, truth, source, options, text), chosen in zip(group, selections, strict=True):
            run.write(folders[text], chosen, problem, truth.names, source, options, config, seeds)
            loss = chosen.losses[chosen.rule][chosen.pick.key]
            rows.append([text, chosen.pick.label, loss, chosen.trust.verdict])
            results.append(
                {
                    "source": text,
                    "folder": str(folders[text]),
                    "rule": chosen.rule,
                    "pick": chosen.pick._asdict(),
                    "trust": chosen.trust._asdict(),
                    "signatures": [one._asdict() for one in chosen.signatures],
                }
            )
            say(f"  {text}: trust in {chosen.pick.label} is {chosen.trust.verdict}")
            for reason in chosen.trust.reasons:
                say(f"    {reason}")
            for one in chosen.signatures:
                if one.found:
                    say(f"    {one.name}: {one.advice}")
    if failures:
        raise MembersFailed("; ".join(failures))
    if shard:
        say_shard(f"{shard.number}/{shard.workers}", left, arguments.json)
    elif arguments.json:
        print(json.dumps(results))
    else:
        print(render(["source", "pick", rule, "trust"], rows))
        print(f"\nwritten to {out}; with labels: ad-jax audit {out}")
