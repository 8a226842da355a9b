"""`ad-jax status` and `ad-jax merge`: records of runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ad_jax import store
from ad_jax.base.json_text import json_text
from ad_jax.cli.common import Adder


def add(adder: Adder) -> None:
    """Adds the commands with `adder(name, function, about, examples)`."""
    one = adder(
        "status",
        status,
        "how far is a run? also while it goes on",
        ("ad-jax status runs/parts", "ad-jax status runs/parts --json"),
    )
    one.add_argument("run", help="the --out of an `ad-jax select`")

    one = adder(
        "merge",
        merge,
        "join the records of several runs",
        (
            "ad-jax merge runs/a runs/b --into runs/both/record",
            "ad-jax merge worker-1/record worker-2/record --into record --json",
        ),
    )
    one.add_argument("run", nargs="+", help="runs, or records")
    one.add_argument("--into", required=True, help="record to write, which may hold some already")


def status(arguments: argparse.Namespace) -> None:
    from ad_jax.runs import plan

    told = plan.status(Path(arguments.run))
    if arguments.json:
        print(json_text(told._asdict()))
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


def _record_of(text: str) -> str:
    """The record of a run, or the record itself."""
    from ad_jax.runs import plan

    folder = Path(text)
    if "://" in text:
        return text
    if (folder / plan.PLAN).exists():
        return plan.record_of(folder)
    return str(folder / "record" if (folder / "record").is_dir() else folder)


def merge(arguments: argparse.Namespace) -> None:
    done = store.merge([_record_of(text) for text in arguments.run], arguments.into)
    if arguments.json:
        print(json_text(done._asdict()))
        return
    print(
        f"{done.chunks} chunks with {done.rows} rows copied to {arguments.into}, {done.known} rows "
        f"were there already, {done.damaged} damaged files left out"
    )
