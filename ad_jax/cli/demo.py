"""`ad-jax demo`: the main job with one seed and fewer settings, its audit and its report."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
from pathlib import Path

from ad_jax.base.json_text import json_text
from ad_jax.cli.common import DEFAULT_SOURCES, Adder
from ad_jax.cli.streams import say

FEW = ("--areas", ".02,.16", "--strengths", "2")  # half of the settings, of every family


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "demo",
        demo,
        "two minutes on photographs: select, audit, report",
        ("ad-jax demo", "ad-jax demo --out runs/first --seeds 3"),
    )
    one.add_argument("--out", default="runs/demo", help="folder of the run (runs/demo)")
    one.add_argument("--seeds", type=int, default=1, help="trainings per setting (1)")


def demo(arguments: argparse.Namespace) -> None:
    out = arguments.out
    few = [*FEW, "--seeds", str(arguments.seeds)]
    _do(["select", *DEFAULT_SOURCES, *few, "--out", out], arguments.json)
    _do(["audit", out], arguments.json)
    _do(["report", out, "--audit"], quiet=True)
    made = {name: str(Path(out) / name) for name in ("report.html", "audit.png")}
    if arguments.json:
        print(json_text({"report": made["report.html"], "picture": made["audit.png"]}))
        return
    print(f"\npicture: {made['audit.png']}\nreport:  {made['report.html']} (open it in a browser)")


def _do(argv: list[str], quiet: bool) -> None:
    """One of the commands, as if it was typed; with `quiet` its result is not shown."""
    from ad_jax.cli import parser

    arguments = parser().parse_args(argv)
    arguments.line = shlex.join(["ad-jax", *argv])
    say(f"$ {arguments.line}")
    with contextlib.ExitStack() as stack:
        if quiet:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        arguments.function(arguments)
