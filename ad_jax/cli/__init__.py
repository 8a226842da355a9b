"""The `ad-jax` command. Results on stdout, progress on stderr, both in UTF-8.

Exit status: 0 ok, 1 failed (a disk, an image that does not read, members that raised: the rest is
kept and the same command goes on), 2 wrong use (one line says what and how to mend it), 130
interrupted (Ctrl-C), 141 the reader of the output is gone (`| head`).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from ad_jax.base.errors import DataWarning, InputError, MembersFailed
from ad_jax.cli.streams import end_on_interrupt, flush, open_closed, say, speak_utf8

INTERRUPTED, UNREAD = 130, 141  # what shells show for programs that SIGINT and SIGPIPE ended
_INTERRUPTED = "ad-jax: interrupted; what is finished is kept, and the same command goes on"
_SWITCHES = (  # of JAX, under which it stops where it would go on
    *("JAX_DEBUG_", "JAX_DISABLE_JIT", "JAX_CHECK_", "JAX_ENABLE_CHECKS", "JAX_NUMPY_"),
    *("JAX_TRANSFER_GUARD", "JAX_DEFAULT_MATMUL_PRECISION"),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    import ad_jax
    from ad_jax.cli import audit, demo, detector, preview, record, report, rules, select, tune
    from ad_jax.cli import completion as completions

    top = argparse.ArgumentParser(
        prog="ad-jax",
        description="Choose an augmentation for anomaly detection without labels. "
        "`ad-jax COMMAND --help` explains a command and has two examples of it.",
    )
    version = f"ad_jax {ad_jax.__version__}"
    top.add_argument("-V", "--version", action="version", version=version, help="print it")
    commands = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands, the most used first"
    )

    def adder(
        name: str, function: Any, about: str, examples: tuple[str, str]
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog="\n  ".join(["examples:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="machine-readable result")
        return command

    most_used = (demo.add, select.add, detector.add_score, report.add, audit.add)
    others = (tune.add, preview.add, rules.add, detector.add, record.add, completions.add)
    for add in most_used + others:
        add(adder)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; the exit status.

    Without `argv` it is the program itself, which an interrupt ends on the spot.
    """
    open_closed()
    try:
        if argv is None:
            end_on_interrupt(_INTERRUPTED, INTERRUPTED)
        speak_utf8()
        try:
            return _run(argv)
        finally:
            flush()
    except KeyboardInterrupt:
        say(_INTERRUPTED)
        return INTERRUPTED
    except BrokenPipeError:
        if argv is None:  # the interpreter's shutdown would try to write once more
            os._exit(UNREAD)
        return UNREAD


def _run(argv: Sequence[str] | None) -> int:
    from ad_jax import store  # here: an interrupt of the import is one line, too

    arguments = parser().parse_args(argv)
    for name in ("out", "record", "into"):  # shells leave `--out=~/runs` as it is
        if getattr(arguments, name, None):
            setattr(arguments, name, os.path.expanduser(getattr(arguments, name)))
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
    except BrokenPipeError:
        raise
    except MemoryError as error:
        say(f"ad-jax: out of memory: {error or 'take a smaller size or fewer samples at a time'}")
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""  # none of stdout
        say(f"ad-jax: {place}{error.strerror or error}")
        return 1
    except Exception as error:
        reason = _environment(error)
        if not reason:
            raise
        say(f"ad-jax: {reason}")
        return 1


def _environment(error: Exception) -> str:
    """What of the environment, not of this library, explains an error; "" if nothing does."""
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    for name in os.environ:
        if name.startswith("JAX_") and repr(name) in said:
            return f"{name}={os.environ[name]} cannot be used ({said}); correct or unset it"
    switches = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(_SWITCHES)]
    if switches:
        return f"JAX stopped under {' '.join(switches)} ({said}); unset it to go on"
    from ad_jax.base.devices import check_backend

    try:
        check_backend()
    except InputError as told:
        return str(told)
    return ""
