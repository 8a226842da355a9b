"""The program's own streams: text in UTF-8 whatever the locale, and paths as they arrive."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator

_READ = 65_536  # bytes, as much as a pipe holds


def say(text: str) -> None:
    """One line on stderr: what would break it, or steer a terminal, in a file's name is escaped."""
    shown = (c if c.isprintable() else repr(c)[1:-1] for c in text)
    print("".join(shown), file=sys.stderr, flush=True)


def say_wrapped(text: str, indent: int) -> None:
    """A line as `say` writes it, indented; on a terminal broken between words at its width."""
    lines = [f"{' ' * indent}{text}"]
    if sys.stderr.isatty():
        lines = textwrap.wrap(
            text,
            shutil.get_terminal_size().columns,
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
    for line in lines:
        say(line)


def open_closed() -> None:
    """Opens the streams that the caller closed (`>&-`, as services do); they hold nothing.

    Left closed, their numbers go to the next files that are opened, and what libraries print would
    be written into those; `print(file=None)` writes to stdout.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # by number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # takes the lowest free number: its own


def speak_utf8() -> None:
    """Names of files, "±" and the tables that other programs read are UTF-8 everywhere."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def flush() -> None:
    """Hands on what is written so far.

    Raises:
      BrokenPipeError: nobody reads it any more.
    """
    if sys.stdout is not None:
        sys.stdout.flush()


def end_on_interrupt(text: str, status: int) -> None:
    """From now on Ctrl-C ends the process at once, with one line, wherever it is.

    A `KeyboardInterrupt` would come late (a compilation takes half a minute) or not at all (inside
    a destructor), and raised inside an extension module that is being imported, or under threads of
    JAX that are at work, it can crash. So a thread of its own waits for the signal. Nothing is half
    written then: files appear whole, and those begun are removed. An interrupt that is ignored
    (`nohup`) stays so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    signal.signal(signal.SIGINT, lambda number, frame: None)

    def wait() -> None:
        while signal.SIGINT not in os.read(heard, 1):
            pass
        places = sys.modules.get("ad_jax.store.places")  # maybe nothing was written yet
        for path in list(places.unfinished) if places else ():
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode())
        os._exit(status)

    threading.Thread(target=wait, daemon=True).start()


def arriving_lines() -> Iterator[str | None]:
    """Lines of stdin; None where all that came is handed on and the writer is still at work.

    A line is a path, so it is decoded as the file system's names are.
    """
    if not isinstance(sys.stdin, io.TextIOWrapper):
        yield from sys.stdin
        return
    begun = b""
    while block := sys.stdin.buffer.read1(_READ):
        *whole, begun = (begun + block).split(b"\n")
        yield from map(os.fsdecode, whole)
        if not select.select([sys.stdin.buffer], [], [], 0.0)[0]:
            yield None
    if begun:
        yield os.fsdecode(begun)
