"""Commands about records: `ad-jax status`, `ad-jax merge`, and one shard of `ad-jax select`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ad_jax import store
from ad_jax.errors import InputError


def add(adder: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands with `adder(name, function, about)`."""
    one = adder("status", status, "how far is a run? also while it goes on")
    one.add_argument("run", help="the --out of an `ad-jax select`")

    one = adder("merge", merge, "join the records of several runs")
    one.add_argument("run", nargs="+", help="runs, or records")
    one.add_argument("--into", required=True, help="record to write, which may hold some already")


def status(arguments: argparse.Namespace) -> None:
    from ad_jax import plan

    told = plan.status(Path(arguments.run))
    if arguments.json:
        print(json.dumps(told._asdict()))
        return
    print(
        f"{told.done} of {told.total} members done, {told.failed} failed, {told.left} left"
        + (f"; {told.damaged} damaged files" if told.damaged else "")
    )
    if told.rate is not None:
        print(f"{told.workers} workers now, {told.rate:.3g} members a minute", end="")
        print("" if told.minutes_left is None else f", about {told.minutes_left:.1f} minutes left")
    if told.left or told.failed:
        print("the same `ad-jax select` again does what is left and what failed")


def _record(text: str) -> str:
    """The record of a run, or the record itself."""
    from ad_jax import plan

    folder = Path(text)
    if "://" in text:
        return text
    if (folder / plan.PLAN).exists():
        return plan.record_of(folder)
    return str(folder / "record" if (folder / "record").is_dir() else folder)


def merge(arguments: argparse.Namespace) -> None:
    done = store.merge([_record(text) for text in arguments.run], arguments.into)
    if arguments.json:
        print(json.dumps(done._asdict()))
        return
    print(
        f"{done.chunks} chunks with {done.rows} rows copied to {arguments.into}, {done.known} rows "
        f"were there already, {done.damaged} damaged files left out"
    )


def check_shard(arguments: argparse.Namespace, search: str) -> Any:
    """The shard of a select, None without; refused where it cannot be."""
    from ad_jax import plan

    found = plan.shard(arguments.shard)
    if found and search != "all":
        raise InputError(
            f"--shard {arguments.shard} with --search {search}: what is dropped depends on all "
            "members of a stage; start plain `ad-jax select` several times on one --record instead"
        )
    return found


def say_shard(text: str, left: int, as_json: bool) -> None:
    """The end of a shard's work: there is no pick yet."""
    if as_json:
        print(json.dumps({"shard": text, "left": left}))
        return
    print(f"shard {text} is done; {left} members are left for other shards")
    print("when all are done: the same `ad-jax select` without --shard picks")
