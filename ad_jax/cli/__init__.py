"""The `ad-jax` command, a file per command. Results on stdout, progress on stderr.

Exit status: 0 ok, 1 failed (a disk, an image that does not read, members that raised: the rest is
kept and the same command goes on), 2 wrong use (one line says what and how to mend it).
"""

from __future__ import annotations

import argparse
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ad_jax import store
from ad_jax.cli import audit, detector, preview, record, report, rules, select, tune
from ad_jax.cli.common import say
from ad_jax.errors import DataWarning, InputError, MembersFailed

COMMANDS = (select, tune, preview, audit, report, rules, detector, record)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ad-jax", description="Choose an augmentation for anomaly detection without labels."
    )
    commands = top.add_subparsers(dest="command", required=True)

    def adder(name: str, function: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about)
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="machine-readable result")
        return command

    for command in COMMANDS:
        command.add(adder)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; the exit status."""
    arguments = parser().parse_args(argv)
    arguments.line = shlex.join(["ad-jax", *(sys.argv[1:] if argv is None else argv)])
    try:
        store.keep_compilations()
        with warnings.catch_warnings():
            warnings.simplefilter("always", DataWarning)
            warnings.showwarning = lambda message, *_: say(f"ad-jax: {message}")
            return arguments.function(arguments) or 0
    except InputError as error:
        say(f"ad-jax: {error}")
        return 2
    except MembersFailed as error:
        say(f"ad-jax: {error}")
        return 1
    except OSError as error:
        say(f"ad-jax: {error.filename or ''}: {error.strerror or error}")
        return 1
