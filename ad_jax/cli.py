"""The `ad-jax` command: preview, select, audit. Results on stdout, progress on stderr.

Exit status: 0 ok, 1 failed, 2 wrong use (one line says what and how to mend it).
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.errors import InputError

DEFAULT_SOURCES = ("textures:brick-defect", "textures:brick-orientation")
FIELDS = ("sources", "steps", "width", "seeds", "areas", "rule", "root")


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
    from ad_jax import rules, selection

    config = {
        "sources": list(DEFAULT_SOURCES),
        "steps": 800,
        "width": 24,
        "seeds": len(selection.SEEDS),
        "areas": selection.AREAS,
        "rule": rules.DEFAULT,
        "root": 0,
        **_read_config(arguments.config),
    }
    for name in ("steps", "width", "seeds", "rule", "areas"):
        if getattr(arguments, name) is not None:
            config[name] = getattr(arguments, name)
    if arguments.seed is not None:
        config["root"] = arguments.seed
    if arguments.source:
        config["sources"] = arguments.source
    for name, least in (("steps", 1), ("seeds", 1), ("width", 8)):
        if config[name] < least:
            raise InputError(f"{name}={config[name]} is too small; take at least {least}")
    if config["width"] % 8:
        raise InputError(f"width={config['width']} is no multiple of 8; take 24 or 32")
    return config


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _slug(source: str) -> str:
    return re.sub(r"[^A-Za-z0-9=.]+", "-", source.rstrip("/").split("/")[-1]).strip("-.")


def _load(text: str, skip_bad: bool = False) -> tuple[Any, Any, str, dict[str, Any]]:
    from ad_jax.data import load, parse

    source, options = parse(text)
    if skip_bad:
        options["skip_bad"] = True
    problem, truth = load(source, **options)
    return problem, truth, source, options


def _dry_run(groups: dict[str, list[Any]], choices: dict[str, Any], config: Any) -> dict[str, Any]:
    """Members, minutes, memory and compilations, from a few real steps of each training set."""
    import jax
    import jax.numpy as jnp

    from ad_jax import pretext as pretexts
    from ad_jax import program, selection, sweep
    from ad_jax.train import make_train, seed_keys

    probe = 10
    total = {"members": 0, "minutes": 0.0, "memory_mb": 0.0, "compilations": 0}
    for loaded in groups.values():
        problem = loaded[0][0]
        settings = selection.grid(problem.shape, choices["areas"])
        sweep.check_settings(settings, problem.shape)
        members = len(settings) * choices["seeds"]
        pretext = pretexts.make("binary", "identity")
        backbone = program.network(config, problem.shape, 2)
        trainer = make_train(backbone, pretext, lambda hyper, key, sample, donor: sample)
        hyper = sweep.pack_chunk(sweep.Chunk((settings[-1],), (0,)), (settings[-1].augmentation,))
        one = jax.tree.map(lambda x: x[0] if x.ndim else x, hyper)

        def short(normals: jax.Array, trainer: Any = trainer, one: Any = one) -> Any:
            return trainer.train(seed_keys(0, 0), one, normals, probe)[0].params

        compiled = jax.jit(short).lower(jnp.asarray(problem.split(0).train)).compile()
        start = time.perf_counter()
        jax.block_until_ready(compiled(jnp.asarray(problem.split(0).train)))
        step = (time.perf_counter() - start) / probe
        total["members"] += members
        # embedding and alignment come on top; a tenth covers them at the default steps
        total["minutes"] += members * config.steps * step * 1.1 / 60.0
        total["compilations"] += len({s.pretext for s in settings})
        scratch = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0)
        held = sum(p.train.nbytes * 2 + p.target.nbytes for p, *_ in loaded)
        blocks = program.EMBED_BLOCK * 4 * int(np.prod(problem.shape)) * 9 * 4 * 4
        need = (scratch + held + blocks) / 1e6
        total["memory_mb"] = max(total["memory_mb"], need)
    return total


def select(arguments: argparse.Namespace) -> None:
    from ad_jax import program, rules, run, selection, sweep
    from ad_jax.program import Config
    from ad_jax.report.table import render
    from ad_jax.store import Record

    choices = _choices(arguments)
    config = Config(choices["steps"], choices["width"], root=choices["root"])
    rules.get(choices["rule"])
    loaded = [(*_load(text, arguments.skip_bad), text) for text in choices["sources"]]
    groups: dict[str, list[Any]] = {}
    for one in loaded:
        groups.setdefault(one[0].train_fingerprint, []).append(one)
    if arguments.dry_run:
        cost = _dry_run(groups, choices, config)
        if arguments.json:
            print(json.dumps(cost))
        else:
            print(
                f"{cost['members']} members, about {cost['minutes']:.1f} minutes, "
                f"{cost['memory_mb']:.0f} MB beyond the program's start, "
                f"{cost['compilations']} compilations"
            )
        return
    out = Path(arguments.out)
    slugs = [_slug(text) for *_, text in loaded]
    if len(set(slugs)) != len(slugs):
        raise InputError(f"two sources share the folder name {slugs}; give them different options")
    folders = {
        text: out if len(loaded) == 1 else out / slug
        for (*_, text), slug in zip(loaded, slugs, strict=True)
    }
    for problem, _, _, _, text in loaded:
        sweep.check_settings(selection.grid(problem.shape, choices["areas"]), problem.shape)
        program.network(config, problem.shape, 2)
        run.refuse_changes(folders[text], problem, config)
    seeds = tuple(range(choices["seeds"]))
    rows, results = [], []
    for number, group in enumerate(groups.values(), 1):
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
            selection.grid(problems[0].shape, choices["areas"]),
            seeds,
            choices["rule"],
            config,
            Record(out / "record"),
            report,
        )
        for (problem, truth, source, options, text), chosen in zip(group, selections, strict=True):
            run.write(folders[text], chosen, problem, truth.names, source, options, config, seeds)
            rows.append([text, chosen.pick.label, chosen.losses[chosen.rule][chosen.pick.key]])
            results.append(
                {
                    "source": text,
                    "folder": str(folders[text]),
                    "rule": chosen.rule,
                    "pick": chosen.pick._asdict(),
                    "trust": chosen.trust.reasons,
                }
            )
            for reason in chosen.trust.reasons:
                _say(f"  {text}: {reason}")
    if arguments.json:
        print(json.dumps(results))
    else:
        print(render(["source", "pick", choices["rule"]], rows))
        print(f"\nwritten to {out}; with labels: ad-jax audit {out}")


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
    from ad_jax import evaluate, run
    from ad_jax.data import load

    audits, trainings = {}, {}
    for folder in _runs(arguments.run):
        one = run.read(folder)
        manifest = one.manifest
        task = ",".join(
            [manifest["source"].rstrip("/").split("/")[-1]]
            + [f"{k}={v}" for k, v in manifest["options"].items()]
        )
        if arguments.labels:
            with open(folder / "samples.csv", newline="") as file:
                names = [row["name"] for row in csv.DictReader(file)]
            truth = _labels_file(arguments.labels, names)
        else:
            problem, truth = load(manifest["source"], **manifest["options"])
            if problem.fingerprint != manifest["fingerprint"]:
                raise InputError(
                    f"{manifest['source']} has changed since the run (fingerprint "
                    f"{manifest['fingerprint'][:12]}, now {problem.fingerprint[:12]}); "
                    "rerun `ad-jax select` or give --labels FILE"
                )
        result = evaluate.audit(
            one.pool, one.losses, one.rule, one.pick, one.pick_scores, truth, one.brightness
        )
        run.log_label_access(folder, manifest, result.log)
        task = task if task not in audits else f"{task} ({folder})"
        audits[task], trainings[task] = result, manifest["train_fingerprint"]
        if not arguments.json:
            _print_audit(task, result, manifest)
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
    if arguments.json:
        print(json.dumps({"tasks": {t: asdict(a) for t, a in audits.items()}, "summary": both}))
    else:
        for name, one_summary in both.items():
            _print_summary(name, one_summary)


def _print_audit(task: str, result: Any, manifest: dict[str, Any]) -> None:
    from ad_jax.report.table import render

    pick = result.pick
    across = result.across
    scores = np.array(pick["auroc"])
    half = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else float("nan")
    print(f"\n{task}: {100 * result.share:.1f} % anomalies, {result.members} trainings, ", end="")
    print(f"{result.untrained} of them learned nothing")
    rows: list[list[Any]] = [
        [f"pick by {pick['rule']}: {pick['setting']}", float(scores.mean()), f"± {half:.3f}"],
        ["  its seeds together (the detector)", result.detector["auroc"], ""],
        ["  its average precision", result.detector["average_precision"], ""],
        ["oracle", across.oracle, ""],
        ["label pick (labels on the other seeds)", across.label_pick, ""],
        ["expected random", across.expected_random, ""],
        ["worst", across.worst, ""],
        ["ensemble of all members", result.ensemble, ""],
        *[[f"control: {name}", value, ""] for name, value in result.baselines.items()],
        *[[name, value, ""] for name, value in across.constants.items()],
    ]
    print(render(["", "AUROC", ""], rows))
    print(f"rank of the pick: {pick['rank']} of {pick['settings']}")
    scopes = {"across families": across, **result.within}
    header = ["rule"] + [f"{name}: {what}" for name in scopes for what in ("AUROC", "Spearman")]
    table = [
        [rule, *[v for s in scopes.values() for v in (s.picks[rule], s.spearman[rule])]]
        for rule in across.picks
    ]
    print(render(header, table))
    opened = len(manifest["label_access"]) + len(result.log)
    print(f"labels opened {opened} times, last: {result.log[-1][1]} at {result.log[-1][0]}")


def _print_summary(name: str, both: dict[str, Any]) -> None:
    from ad_jax.report.table import render

    print(
        f"\n{name}: {both['tasks']} tasks of {both['training_sets']} training sets, "
        f"{both['trainings']} trainings (tasks that share a training set are not independent)"
    )
    for scope, rows in both.items():
        if not isinstance(rows, dict):
            continue
        print(f"\nGain {scope if scope == 'across' else 'within ' + scope}")
        table = [
            [n, r["gain"], r["low"], r["high"], r["below_random"], r["auroc"], r["spearman"]]
            for n, r in sorted(rows.items(), key=lambda x: -x[1]["gain"])
        ]
        print(
            render(["rule", "gain", "2.5 %", "97.5 %", "below random", "AUROC", "Spearman"], table)
        )


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like .02,.04") from None


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

    one = add("select", select, "train a pool, pick a setting by the unlabelled target")
    one.add_argument("source", nargs="*", help="SOURCE[,key=value…]; default: embedded textures")
    one.add_argument("--out", default="runs/select", help="folder of the run (runs/select)")
    one.add_argument("--seed", type=int, help="root of all random keys (0)")
    one.add_argument("--config", help="FILE.py or FILE.py:argument with get_config(argument)")
    one.add_argument("--dry-run", action="store_true", help="say what it would cost")
    one.add_argument("--skip-bad", action="store_true", help="leave out unreadable images")
    one.add_argument("--steps", type=int, help="training steps per member (800)")
    one.add_argument("--width", type=int, help="channels of the first stage (24)")
    one.add_argument("--seeds", type=int, help="trainings per setting (3)")
    one.add_argument("--areas", type=_numbers, help="CutPaste areas, e.g. .02,.04,.08")
    one.add_argument("--rule", help="selection rule; an unknown name lists them")

    one = add("preview", preview, "picture sheet of every augmentation on a source")
    one.add_argument("source")
    one.add_argument("--out", default="runs/preview")
    one.add_argument("--seed", type=int)

    one = add("audit", audit, "open the labels of runs: what was the pick worth?")
    one.add_argument("run", nargs="+", help="folder written by select, or a folder of such")
    one.add_argument("--apart", help="pattern: summarise the tasks it matches apart")
    one.add_argument("--labels", help="CSV with columns name,label instead of the source's own")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        arguments.function(arguments)
    except InputError as error:
        _say(f"ad-jax: {error}")
        return 2
    except OSError as error:
        _say(f"ad-jax: {error.filename or ''}: {error.strerror or error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
