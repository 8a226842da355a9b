"""`ad-jax tune`: descend alignment through training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ad_jax.base.errors import InputError
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
    number,
    pairs,
    record,
    say_shard,
    seeds_of,
    training,
)
from ad_jax.cli.jobs import add_tiles, job_of, other_target, write_run
from ad_jax.cli.streams import say, say_wrapped

NUMBERS = (  # option, its type, and what it is; in brackets the default, on frozen features another
    ("--outer-steps", int, "steps of the hyperparameters, at most (80; on features 40)"),
    ("--horizon", int, "training steps between them (10)"),
    ("--warm-up", int, "training steps before the first (200; on features 400)"),
    ("--batch", int, "samples of each set in one look (64; on features 32)"),
    ("--rate", float, "learning rate of the hyperparameters (.1; on features .05)"),
    ("--prior", float, "pull towards the start, in noise of the loss (0; on features 1)"),
)


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "tune",
        tune,
        "tune an augmentation by gradient, through its training",
        (
            "ad-jax tune parts --augmentation cutdiff --out runs/tuned",
            "ad-jax tune parts --starts 2 --outer-steps 20 --dry-run",
        ),
    )
    one.add_argument("source")
    add_training(one, "runs/tune")
    add_localiser(one)
    add_tiles(one)
    add_shard(one, "descend every N-th start from the I-th, and train its end")
    one.add_argument(
        "--augmentation",
        help="family, or a mixture like a+b (cutdiff); on frozen features feature_noise:channel, "
        "a number for every channel, or feature_noise:8 for 8 bands of them",
    )
    one.add_argument("--tune", type=names, help="hyperparameters; default: all with a gradient")
    one.add_argument("--bounds", help="NAME=LOW:HIGH,…")
    one.add_argument("--fix", help="NAME=VALUE,… of what is not tuned")
    one.add_argument(
        "--starts", type=int, help="how many (4; on features one a seed), the first at the defaults"
    )
    one.add_argument("--start", action="append", help="NAME=VALUE,… of one start; may be repeated")
    one.add_argument("--outer", help="outer loss, or NAME=WEIGHT,…; an unknown name lists them")
    one.add_argument("--estimator", help="unrolled (default); an unknown name lists them")
    for name, kind, about in NUMBERS:
        one.add_argument(name, type=kind, help=about)
    one.add_argument("--tune-on", help="SOURCE whose target is tuned on instead")
    one.add_argument("--memory", type=float, help="refuse programs that need more MB than this")


def _bounds(text: str | None) -> dict[str, tuple[float, float]]:
    out = {}
    for name, value in pairs("--bounds", text).items():
        low, colon, high = value.partition(":")
        if not colon:
            raise InputError(f"--bounds {name}={value!r} is no LOW:HIGH")
        out[name] = (number("--bounds", low), number("--bounds", high))
    return out


def _plan(arguments: argparse.Namespace, backbone: str) -> Any:
    """The checked `Plan` of the options."""
    from ad_jax.features import frozen
    from ad_jax.selection import tuning
    from ad_jax.selection.tuning import losses

    plan = tuning.ON_FEATURES if frozen(backbone) else tuning.Plan()
    given = {
        name: getattr(arguments, name)
        for name in ("estimator", "outer_steps", "horizon", "warm_up", "batch", "rate", "prior")
        if getattr(arguments, name) is not None
    }
    weights = losses.parse(arguments.outer) if arguments.outer else dict(plan.outer)
    plan = plan._replace(outer=tuple(sorted(weights.items())), **given)
    tuning.check(plan)
    return plan


def _starts(arguments: argparse.Namespace) -> Any:
    """How many, or their hyperparameters."""
    if arguments.start:
        return [
            {k: number("--start", v) for k, v in pairs("--start", text).items()}
            for text in arguments.start
        ]
    return arguments.starts


def _spec(arguments: argparse.Namespace) -> Any:
    """What decides the numbers, up to what is tuned on."""
    from ad_jax.selection import rules, tuning

    choices = choices_of(arguments)
    config, seeds = training(choices), seeds_of(choices)
    return tuning.TuneSpec(
        augmentation=arguments.augmentation,
        tune=arguments.tune,
        bounds=_bounds(arguments.bounds),
        fixed={k: number("--fix", v) for k, v in pairs("--fix", arguments.fix).items()},
        starts=_starts(arguments),
        plan=_plan(arguments, config.backbone),
        seeds=seeds,
        rule=choices["rule"] or rules.DEFAULT,
        config=config,
        memory_mb=arguments.memory,
    ).checked()


def _cost(spec: Any, space: Any) -> dict[str, Any]:
    from ad_jax.features import frozen

    count = spec.starts if isinstance(spec.starts, int) else len(spec.starts)
    final = (1 + count) * len(spec.seeds)
    if frozen(spec.config.backbone):  # a start of every seed, and only the default is trained
        count = final = len(spec.seeds)
    sizes = {name: f" ({one.size} numbers)" if one.size else "" for name, one in space.free.items()}
    return {
        "tuned": [*(name + size for name, size in sizes.items()), *space.weights],
        "starts": count,
        "training_steps": count * spec.plan.steps,
        "final_trainings": final,
        "final_steps": final * spec.config.steps,
    }


def _say_step(step: Any) -> None:
    from ad_jax.base.values import owner

    shown: dict[str, list[Any]] = {}
    for name, values in step.values.items():  # of a vector the mean of its numbers
        shown.setdefault(owner(name), []).append(values)
    moved = "; ".join(
        f"{name} {' '.join(f'{v:.3g}' for v in sum(some) / len(some))}"
        for name, some in shown.items()
    )
    lost = " ".join(f"{v:.3f}" for v in step.loss)
    soon = f", about {step.left:.0f} s left" if step.done < step.total else ""
    starts = "by start" if len(step.loss) > 1 else "with"
    say_wrapped(f"step {step.done}/{step.total}{soon}; {starts} loss {lost}; {moved}", 2)


def _say_training(progress: Any) -> None:
    say(f"  final trainings: {progress.done}/{progress.total}, {progress.seconds:.0f} s")


def _say_reasons(reasons: Sequence[str]) -> None:
    """What to know of the end: of the descent, and below a line of its own of the choice."""
    from ad_jax.selection.tuning.tuned import AMONG

    of_choice = [reason.removeprefix(AMONG) for reason in reasons if reason.startswith(AMONG)]
    for reason in reasons:
        if not reason.startswith(AMONG):
            say_wrapped(reason, 2)
    if of_choice:
        say("  the choice among the default and the ends of the descents:")
    for reason in of_choice:
        say_wrapped(reason, 4)


def _result(folder: Path, outcome: Any) -> dict[str, Any]:
    """What `--json` prints."""
    best = outcome.descent.starts[outcome.descent.best]
    return {
        "folder": str(folder),
        "hyper": outcome.hyper,
        "picked": outcome.picked,
        "loss": best.loss,
        "status": best.status,
        "reasons": outcome.reasons,
    }


def tune(arguments: argparse.Namespace) -> None:
    from ad_jax.report import tuning as report_tuning
    from ad_jax.report.table import render
    from ad_jax.runs import run
    from ad_jax.runs import tuning as tuning_files
    from ad_jax.selection import Runtime, tuning

    spec, shard = _spec(arguments), check_shard(arguments)
    job = job_of(arguments, arguments.source)
    check_localiser(arguments.localiser, spec.config, job.problem.shape, job.tiling)
    space = spec.space(job.task.shape)
    out = Path(arguments.out)
    run.refuse_changes(out, job.problem, spec.config)
    if arguments.dry_run:
        cost = _cost(spec, space)
        print(json_text(cost) if arguments.json else cost)
        return
    tune_on, read_for_tuning = other_target(job, arguments.tune_on)
    spec = spec._replace(tune_on=tune_on)
    runtime = Runtime(record(arguments), _say_training, shard)
    if shard:
        left = tuning.work(job.task, spec, runtime, _say_step)
        say_shard(shard, left, "starts", arguments)
        return
    outcome = tuning.tuned(job.task, spec, runtime, _say_step)
    tuning_files.write(out, outcome)
    out.mkdir(parents=True, exist_ok=True)
    report_tuning.picture(outcome, job.task).save(out / "tuning.png")
    write_run(arguments, out, job, outcome.selection, spec, read_for_tuning)
    _say_reasons(outcome.reasons)
    if arguments.json:
        print(json_text(_result(out, outcome)))
    else:
        print(render(*report_tuning.table(outcome)))
        print(f"\nwritten to {out} (see tuning.png); with labels: ad-jax audit {out}")
