"""The `ad-jax` command: preview, select, tune, audit, rules, score, info.

Results on stdout, progress on stderr.

Exit status: 0 ok, 1 failed, 2 wrong use (one line says what and how to mend it).
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import scoring, store
from ad_jax.errors import InputError

DEFAULT_SOURCES = ("textures:brick-defect", "textures:brick-orientation")
FIELDS: dict[
    str, Any
] = {  # of a config file, with what holds when neither it nor the command line says anything
    "sources": list(DEFAULT_SOURCES),
    "steps": 800,
    "width": 24,
    "backbone": "encoder",
    "seeds": None,
    "families": None,
    "areas": None,
    "random": None,
    "search": "all",
    "rule": None,
    "root": 0,
}
WIDE = "wide"  # stands for the families of `search.WIDE`


def _read_config(argument: str | None) -> dict[str, Any]:
    """Fields of `FILE` or `FILE:argument`: a Python file with `get_config(argument)`."""
    if argument is None:
        return {}
    path, _, word = argument.partition(":")
    if not Path(path).is_file():
        raise InputError(f"--config {path!r} is no file; see experiments/configs")
    spec = importlib.util.spec_from_file_location("ad_jax_config", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(word).to_dict()
    unknown = sorted(set(config) - set(FIELDS))
    if unknown:
        raise InputError(f"{path}: unknown field {unknown[0]!r}; known: {', '.join(FIELDS)}")
    return config


def _choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """Command line over config over defaults."""
    config = {**FIELDS, **_read_config(getattr(arguments, "config", None))}
    for name in FIELDS:
        if getattr(arguments, name, None) is not None:
            config[name] = getattr(arguments, name)
    if getattr(arguments, "source", None):
        config["sources"] = arguments.source
    for name, least in (("steps", 1), ("seeds", 1), ("width", 8), ("random", 1)):
        if config[name] is not None and config[name] < least:
            raise InputError(f"{name}={config[name]} is too small; take at least {least}")
    if config["width"] % 8:
        raise InputError(f"width={config['width']} is no multiple of 8; take 24 or 32")
    return config


def _training(choices: dict[str, Any]) -> tuple[Any, tuple[int, ...]]:
    """The training's `Config` and the seeds."""
    from ad_jax import program, selection

    config = program.Config(
        choices["steps"], choices["width"], choices["backbone"], choices["root"]
    )
    return config, tuple(range(choices["seeds"])) if choices["seeds"] else selection.SEEDS


def _record(arguments: argparse.Namespace) -> Any:
    from ad_jax.store import Record

    return Record(Path(arguments.record or Path(arguments.out) / "record"))


def _settings(choices: dict[str, Any], shape: tuple[int, ...]) -> list[Any]:
    from ad_jax import search

    families = choices["families"] or search.FAMILIES
    if families == [WIDE]:
        families = search.WIDE
    if choices["random"]:
        return search.draw(shape, choices["random"], families, choices["root"])
    return search.grid(shape, choices["areas"] or search.AREAS, families)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _slug(source: str) -> str:
    """Folder name of a source: paths in it, options included, are cut to their last part."""
    last = re.sub(r"[^,:=]*/(?=[^/,])", "", source.rstrip("/"))
    return re.sub(r"[^A-Za-z0-9=.]+", "-", last).strip("-.")


def _load(text: str, skip_bad: bool = False) -> tuple[Any, Any, str, dict[str, Any]]:
    from ad_jax.data import load, parse

    source, options = parse(text)
    if skip_bad:
        options["skip_bad"] = True
    problem, truth = load(source, **options)
    return problem, truth, source, options


def select(arguments: argparse.Namespace) -> None:
    from ad_jax import estimate, rules, run, selection, sweep
    from ad_jax.report.table import render

    choices = _choices(arguments)
    rule = choices["rule"] or rules.DEFAULT
    rules.get(rule)
    config, seeds = _training(choices)
    loaded = [(*_load(text, arguments.skip_bad), text) for text in choices["sources"]]
    out = Path(arguments.out)
    slugs = [_slug(text) for *_, text in loaded]
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
        settings_of[name] = _settings(choices, shape)
        sweep.check_settings(settings_of[name], shape, config)
    if arguments.dry_run:
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
        return
    if arguments.second and len(groups) > 1:
        raise InputError(f"--second with {len(groups)} training sets; select them one by one")
    second = _load(arguments.second)[0].target if arguments.second else None
    rows, results = [], []
    for number, (name, group) in enumerate(groups.items(), 1):
        problems = [one[0] for one in group]
        _say(f"training set {number}/{len(groups)}: {', '.join(one[-1] for one in group)}")
        for one in group:
            duplicates = one[0].duplicates()
            if duplicates.exact or duplicates.near:
                _say(
                    f"  {one[-1]}: {len(duplicates.exact)} exact and {len(duplicates.near)} near "
                    "duplicates between normals and target"
                )

        def report(progress: Any) -> None:
            _say(
                f"  {progress.done}/{progress.total} members ({progress.skipped} from the record), "
                f"{progress.seconds:.0f} s of which {progress.compile_seconds:.0f} s compiling "
                f"{progress.compilations} programs, about {progress.left:.0f} s left"
            )

        selections = selection.select_all(
            problems,
            settings_of[name],
            seeds,
            rule,
            config,
            _record(arguments),
            report,
            choices["search"],
            second=second,
        )
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
            _say(f"  {text}: trust in {chosen.pick.label} is {chosen.trust.verdict}")
            for reason in chosen.trust.reasons:
                _say(f"    {reason}")
            for one in chosen.signatures:
                if one.found:
                    _say(f"    {one.name}: {one.advice}")
    if arguments.json:
        print(json.dumps(results))
    else:
        print(render(["source", "pick", rule, "trust"], rows))
        print(f"\nwritten to {out}; with labels: ad-jax audit {out}")


def _pairs(option: str, text: str | None) -> dict[str, str]:
    """`name=value,name=value` as a dict."""
    out = {}
    for piece in (text or "").split(","):
        name, equals, value = piece.partition("=")
        if piece and not (name and equals and value):
            raise InputError(f"{option} {piece!r} is no NAME=VALUE")
        if piece:
            out[name.strip()] = value
    return out


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is no number") from None


def _bounds(text: str | None) -> dict[str, tuple[float, float]]:
    out = {}
    for name, value in _pairs("--bounds", text).items():
        low, colon, high = value.partition(":")
        if not colon:
            raise InputError(f"--bounds {name}={value!r} is no LOW:HIGH")
        out[name] = (_number("--bounds", low), _number("--bounds", high))
    return out


def tune(arguments: argparse.Namespace) -> None:
    from ad_jax import rules, run, tuning
    from ad_jax.report import tuning as report_tuning
    from ad_jax.report.table import render
    from ad_jax.tuning import descent, losses

    choices = _choices(arguments)
    config, seeds = _training(choices)
    problem, truth, source, options = _load(arguments.source, arguments.skip_bad)
    plan = tuning.Plan()
    given = {
        name: getattr(arguments, name)
        for name in ("estimator", "outer_steps", "horizon", "warm_up", "batch", "rate")
        if getattr(arguments, name) is not None
    }
    weights = losses.parse(arguments.outer) if arguments.outer else dict(plan.outer)
    plan = plan._replace(outer=tuple(sorted(weights.items())), **given)
    tuning.check(plan)
    starts: Any = descent.STARTS if arguments.starts is None else arguments.starts
    if arguments.start:
        starts = [
            {k: _number("--start", v) for k, v in _pairs("--start", one).items()}
            for one in arguments.start
        ]
    fixed = {k: _number("--fix", v) for k, v in _pairs("--fix", arguments.fix).items()}
    bounds = _bounds(arguments.bounds)
    space = tuning.make_space(arguments.augmentation, problem.shape, arguments.tune, bounds, fixed)
    out = Path(arguments.out)
    run.refuse_changes(out, problem, config)
    count = starts if isinstance(starts, int) else len(starts)
    if arguments.dry_run:
        cost = {
            "tuned": space.names,
            "starts": count,
            "training_steps": count * plan.steps,
            "final_trainings": 2 * len(seeds),
            "final_steps": 2 * len(seeds) * config.steps,
        }
        print(json.dumps(cost) if arguments.json else cost)
        return
    tune_on = _load(arguments.tune_on)[0].target if arguments.tune_on else None

    def live(step: Any) -> None:
        moved = "; ".join(
            f"{name} {' '.join(f'{v:.3g}' for v in values)}" for name, values in step.values.items()
        )
        lost = " ".join(f"{v:.3f}" for v in step.loss)
        _say(f"  {step.done}/{step.total}: loss {lost}; {moved}; about {step.left:.0f} s left")

    outcome = tuning.tune(
        problem,
        arguments.augmentation,
        arguments.tune,
        bounds,
        fixed,
        starts,
        plan,
        seeds,
        choices["rule"] or rules.DEFAULT,
        config,
        tune_on,
        arguments.memory,
        _record(arguments),
        live,
        lambda p: _say(f"  final trainings: {p.done}/{p.total} members, {p.seconds:.0f} s"),
    )
    run.write_tuning(out, outcome)
    out.mkdir(parents=True, exist_ok=True)
    report_tuning.picture(outcome, problem).save(out / "tuning.png")
    run.write(out, outcome.selection, problem, truth.names, source, options, config, seeds)
    for reason in outcome.reasons:
        _say(f"  {reason}")
    if arguments.json:
        best = outcome.descent.starts[outcome.descent.best]
        result = {
            "folder": str(out),
            "hyper": outcome.hyper,
            "loss": best.loss,
            "status": best.status,
            "reasons": outcome.reasons,
        }
        print(json.dumps(result))
    else:
        print(render(*report_tuning.table(outcome)))
        print(f"\nwritten to {out} (see tuning.png); with labels: ad-jax audit {out}")


def preview(arguments: argparse.Namespace) -> None:
    from ad_jax.report.preview import sheet

    problem, *_ = _load(arguments.source)
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preview.png"
    sheet(problem, arguments.seed or 0).save(path)
    print(json.dumps({"preview": str(path)}) if arguments.json else path)


def _runs(paths: Sequence[str]) -> list[Path]:
    out = []
    for text in paths:
        path = Path(text)
        found = [path] if (path / "manifest.json").is_file() else []
        found = found or sorted(p.parent for p in path.glob("*/manifest.json"))
        if not found:
            raise InputError(f"{text} holds no run; give a folder that `ad-jax select` wrote")
        out += found
    return out


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
    from ad_jax import evaluate
    from ad_jax.evaluate import text
    from ad_jax.evaluate.picture import picture

    folders = _runs(arguments.run)
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
        task = ",".join(
            [manifest["source"].rstrip("/").split("/")[-1]]
            + [f"{k}={v}" for k, v in manifest["options"].items()]
        )
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


def shelf(arguments: argparse.Namespace) -> None:
    from ad_jax import evaluate, foreign
    from ad_jax.pool import Pool
    from ad_jax.report import shelf as report

    pool = Pool.from_scores(**foreign.read(arguments.file, arguments.held_out))
    found = report.shelf(pool)
    shape = (len(pool.members), pool.scores.shape[-1])
    audited = None
    if arguments.labels:
        truth = evaluate.labels_file(arguments.labels, shape)
        audited = evaluate.audit_pool(pool, found.losses, truth, "ad-jax rules")
    auroc = audited.picks if audited else None
    if arguments.out:
        report.write(Path(arguments.out), pool, found, auroc)
    about = {
        "members": shape[0],
        "settings": len(pool.settings),
        "samples": shape[1],
        "held_out": pool.held_out_scores.shape[-1],
    }
    if arguments.json:
        told = {**about, **report.as_json(found)}
        if audited:
            known = {k: v for k, v in audited.spearman.items() if v == v}  # NaN is no JSON
            told["audit"] = audited._replace(spearman=known)._asdict()
        print(json.dumps(told))
        return
    print(", ".join(f"{count} {name.replace('_', '-')}" for name, count in about.items()) + "\n")
    print(report.table(found, auroc))
    if audited:
        print(
            f"\nlabels of {arguments.labels} opened: {100 * audited.share:.1f} % anomalies, AUROC "
            f"of the oracle {audited.oracle:.3f} ({audited.best}), expected of a random setting "
            f"{audited.expected_random:.3f}"
        )


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like .02,.04") from None


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ad-jax", description="Choose an augmentation for anomaly detection without labels."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, function: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="machine-readable result")
        return command

    def add_training(command: argparse.ArgumentParser, folder: str) -> None:
        """Options of everything that trains."""
        command.add_argument("--out", default=folder, help=f"folder of the run ({folder})")
        command.add_argument("--record", help="folder of finished work, to share it between runs")
        command.add_argument("--seed", type=int, dest="root", help="root of all random keys (0)")
        command.add_argument("--dry-run", action="store_true", help="say what it would cost")
        command.add_argument("--skip-bad", action="store_true", help="leave out unreadable images")
        command.add_argument("--steps", type=int, help="training steps per member (800)")
        command.add_argument("--width", type=int, help="channels of the first stage (24)")
        command.add_argument("--backbone", help="network (encoder)")
        command.add_argument("--seeds", type=int, help="trainings per setting (3)")
        command.add_argument("--rule", help="selection rule; an unknown name lists them")

    one = add("select", select, "train a pool, pick a setting by the unlabelled target")
    one.add_argument("source", nargs="*", help="SOURCE[,key=value…]; default: embedded textures")
    add_training(one, "runs/select")
    one.add_argument("--config", help="FILE.py or FILE.py:argument with get_config(argument)")
    one.add_argument(
        "--families", type=_names, help="PRETEXT/AUGMENTATION,…, or `wide`; default: three of them"
    )
    one.add_argument("--areas", type=_numbers, help="patch areas of the grid, e.g. .02,.04,.08")
    one.add_argument("--random", type=int, help="so many random settings instead of the grid")
    one.add_argument("--search", help="all (default), or halving: drop settings early")
    one.add_argument("--second", help="SOURCE whose target is a second set: would it pick alike?")

    one = add("tune", tune, "descend alignment through training, by gradient")
    one.add_argument("source")
    add_training(one, "runs/tune")
    one.add_argument("--augmentation", default="cutdiff", help="family, or a mixture like a+b")
    one.add_argument("--tune", type=_names, help="hyperparameters; default: all with a gradient")
    one.add_argument("--bounds", help="NAME=LOW:HIGH,…")
    one.add_argument("--fix", help="NAME=VALUE,… of what is not tuned")
    one.add_argument("--starts", type=int, help="how many starts (4), the first at the defaults")
    one.add_argument("--start", action="append", help="NAME=VALUE,… of one start; may be repeated")
    one.add_argument("--outer", help="outer loss, or NAME=WEIGHT,…; an unknown name lists them")
    one.add_argument("--estimator", help="unrolled (default), first_order, finite_difference")
    one.add_argument("--outer-steps", type=int, help="steps of the hyperparameters, at most (80)")
    one.add_argument("--horizon", type=int, help="training steps between them (10)")
    one.add_argument("--warm-up", type=int, help="training steps before the first (200)")
    one.add_argument("--batch", type=int, help="samples of each set in one look (64)")
    one.add_argument("--rate", type=float, help="learning rate of the hyperparameters (0.1)")
    one.add_argument("--tune-on", help="SOURCE whose target is tuned on instead")
    one.add_argument("--memory", type=float, help="refuse programs that need more MB than this")

    one = add("preview", preview, "picture sheet of every augmentation on a source")
    one.add_argument("source")
    one.add_argument("--out", default="runs/preview")
    one.add_argument("--seed", type=int)

    one = add("audit", audit, "open the labels of runs: what was the pick worth?")
    one.add_argument("run", nargs="+", help="folder written by select, or a folder of such")
    one.add_argument("--apart", help="pattern: summarise the tasks it matches apart")
    one.add_argument("--picture", help="file of its picture (audit.png in the run's folder)")
    one.add_argument("--splits", type=int, default=200, help="random halves of the target (200)")
    one.add_argument("--seed", type=int, default=0, help="of halves, permutations and draws (0)")
    one.add_argument("--labels", help="CSV with columns name,label instead of the source's own")

    one = add("rules", shelf, "what would every rule pick from the scores of any detectors?")
    one.add_argument("file", help=".npz with `scores` [members, samples], or CSV, a row per member")
    one.add_argument("--held-out", help="scores of held-out normals, in a file of either kind")
    one.add_argument("--labels", help="CSV with a column label, or 0/1 per line: audit the picks")
    one.add_argument("--out", help="folder for rules.csv and losses.csv")

    scoring.add_commands(add)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        store.keep_compilations()
        return arguments.function(arguments) or 0
    except InputError as error:
        _say(f"ad-jax: {error}")
        return 2
    except OSError as error:
        _say(f"ad-jax: {error.filename or ''}: {error.strerror or error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
