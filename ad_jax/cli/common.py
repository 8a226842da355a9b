"""What several commands share: choices of a training, sources, progress, kinds of arguments."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.base.parameters import ROOT_MOST, real, whole, word

LEAST = (("steps", 1), ("seeds", 1), ("width", 8), ("random", 1), ("strengths", 1))

Adder = Callable[  # name, function, what it does, two examples
    [str, Callable[[argparse.Namespace], int | None], str, tuple[str, str]], argparse.ArgumentParser
]
DEFAULT_SOURCES = ("textures:brick-defect,size=64,limit=120",)  # large enough for frozen features
FIELDS: dict[
    str, Any
] = {  # of a config file, with what holds when neither it nor the command line says anything
    "sources": list(DEFAULT_SOURCES),
    "steps": None,
    "width": None,
    "backbone": None,
    "seeds": None,
    "families": None,
    "areas": None,
    "strengths": None,
    "random": None,
    "search": "all",
    "rule": None,
    "root": 0,
}


def _read_config(argument: str | None) -> dict[str, Any]:
    """Fields of `FILE` or `FILE:argument`: a Python file with `get_config(argument)`."""
    if argument is None:
        return {}
    path, _, word = argument.partition(":")
    if not Path(path).is_file():
        raise InputError(f"--config {path!r} is no file; see experiments/configs")
    spec = importlib.util.spec_from_file_location("ad_jax_config", path)
    if spec is None or spec.loader is None:
        raise InputError(f"--config {path!r} is no Python file; see experiments/configs")
    module = importlib.util.module_from_spec(spec)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
            spec.loader.exec_module(module)
            made = getattr(module, "get_config", None)
            config = made(word) if callable(made) else None
            config = getattr(config, "to_dict", lambda: config)()
    except (Exception, SystemExit) as error:  # the file's own code may raise anything
        said = " ".join(str(error).split())
        raise InputError(f"--config {path} raises {type(error).__name__}: {said}") from None
    if not callable(made):
        raise InputError(f"--config {path} has no function get_config(argument)")
    if not isinstance(config, dict):
        raise InputError(
            f"--config {path}: get_config returns a {type(config).__name__}; let it return a "
            "ConfigDict or a dict"
        )
    unknown = [name for name in config if name not in FIELDS]
    if unknown:
        raise InputError(f"{path}: unknown field {unknown[0]!r}; known: {', '.join(FIELDS)}")
    return config


def choices_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Command line over config over defaults."""
    config = {**FIELDS, **_read_config(getattr(arguments, "config", None))}
    for name in FIELDS:
        if getattr(arguments, name, None) is not None:
            config[name] = getattr(arguments, name)
    if getattr(arguments, "source", None):
        given = arguments.source
        config["sources"] = [given] if isinstance(given, str) else given
    for name, least in LEAST:
        if config[name] is not None:
            config[name] = whole(name, config[name])
            if config[name] < least:
                raise InputError(f"{name}={config[name]} is too small; take at least {least}")
    config["root"] = whole("seed", config["root"], 0, ROOT_MOST)
    for name in ("backbone", "search", "rule"):
        config[name] = config[name] and word(name, config[name])
    for name, check in (("sources", word), ("families", word), ("areas", real)):
        if isinstance(config[name], str) or not isinstance(config[name], Iterable | None):
            raise InputError(
                f"{name}={config[name]!r} is no list; give one like [{config[name]!r}]"
            )
        config[name] = config[name] and [check(name, one) for one in config[name]]
    if not config["sources"]:
        raise InputError("sources is empty; give a source, such as a folder")
    if config["width"] is not None and config["width"] % 8:
        raise InputError(f"width={config['width']} is no multiple of 8; take 24 or 32")
    return config


def training(choices: dict[str, Any], shape: tuple[int, ...] = ()) -> Any:
    """The training's `Config`; what nobody says becomes what fits samples of a shape."""
    from ad_jax.selection import search

    backbone = choices["backbone"] or None
    return search.config_for(shape, backbone, choices["steps"], choices["width"], choices["root"])


def seeds_of(choices: dict[str, Any]) -> tuple[int, ...]:
    """Numbers of the seeds."""
    from ad_jax import selection

    return tuple(range(choices["seeds"])) if choices["seeds"] else selection.SEEDS


def add_training(command: argparse.ArgumentParser, folder: str) -> None:
    """Options of everything that trains."""
    command.add_argument("--out", default=folder, help=f"folder of the run ({folder})")
    command.add_argument("--record", help="folder or bucket of finished work, to share")
    command.add_argument("--seed", type=int, dest="root", help="root of all random keys (0)")
    command.add_argument("--dry-run", action="store_true", help="say what it would cost")
    command.add_argument("--skip-bad", action="store_true", help="leave out unreadable images")
    command.add_argument(
        "--steps", type=int, help="training steps per member (800; on a frozen network 400)"
    )
    command.add_argument("--width", type=int, help="channels of the first stage (24)")
    command.add_argument(
        "--backbone", help="network (encoder; frozen: efficientnet_lite0); an unknown one lists all"
    )
    command.add_argument("--seeds", type=int, help="trainings per setting (3)")
    command.add_argument("--rule", help="selection rule; an unknown name lists them")


def add_shard(command: argparse.ArgumentParser, what: str) -> None:
    """Options by which several workers share a command; `what` a worker does."""
    command.add_argument("--shard", help=f"I/N: {what}, I = 1 … N; no pick")
    command.add_argument(
        "--distributed",
        help="auto, or HOST:PORT,I/N: each process of a jax.distributed job does its shard",
    )


def check_shard(arguments: argparse.Namespace, search: str = "all") -> Any:
    """The shard that was asked for, None without; refused where it cannot be."""
    from ad_jax.base import devices
    from ad_jax.pool.chunks import Shard
    from ad_jax.runs import plan

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


def say_shard(shard: Any, left: int, what: str, arguments: argparse.Namespace) -> None:
    """The end of a shard's work: there is no pick yet."""
    text = f"{shard.number}/{shard.workers}"
    if arguments.json:
        print(json_text({"shard": text, "left": left}))
        return
    print(f"shard {text} is done; {left} {what} are left for other shards")
    print(f"when all are done: the same `ad-jax {arguments.command}` without --shard picks")


def add_localiser(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--localiser",
        nargs="?",
        const="position",
        help="for `score --heatmaps`: position (if nothing follows), neighbour, texture, or on "
        "frozen features head, the one that tells an ensemble's settings apart",
    )


def check_localiser(method: str | None, config: Any, shape: tuple[int, ...], tiling: Any) -> None:
    """Refuses a localiser that cannot be fitted, before anything is trained."""
    from ad_jax.detect import localising

    if method is not None:
        localising.check(method, config, shape, None if tiling is None else tiling.plan(shape))


def record(arguments: argparse.Namespace) -> Any:
    from ad_jax.store import Record

    return Record(arguments.record or Path(arguments.out) / "record")


def load(text: str, skip_bad: bool = False) -> tuple[Any, Any, str, dict[str, Any]]:
    from ad_jax.data import load, parse

    source, options = parse(text)
    if skip_bad:
        options["skip_bad"] = True
    problem, truth = load(source, **options)
    return problem, truth, source, options


def labels_of(folder: Path, path: str) -> Any:
    """The truth of a run by a file of labels that names its samples."""
    from ad_jax import evaluate
    from ad_jax.runs import run

    return evaluate.labels_by_name(path, run.sample_names(folder))


def numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like .02,.04") from None


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def pairs(option: str, text: str | None) -> dict[str, str]:
    """`name=value,name=value` as a dict."""
    out = {}
    for piece in (text or "").split(","):
        name, equals, value = piece.partition("=")
        if piece and not (name and equals and value):
            raise InputError(f"{option} {piece!r} is no NAME=VALUE")
        if piece:
            out[name.strip()] = value
    return out


def number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is no number") from None
