"""Folders and buckets, and the few ways in which this library writes there.

A local folder is a `pathlib.Path`. A bucket (`gs://`, `s3://`, `az://`) is an `etils.epath.Path`,
which is imported when one is named and behaves the same.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text

PART = ".part"  # ends the name of a file that is being written
BUCKETS = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}  # kind -> what reaches it
unfinished: set[Path] = set()  # of this process: whoever ends it at once removes them
_STALE = 3600.0  # seconds after which such a file belongs to a killed worker


def place(text: str | os.PathLike[str]) -> Any:
    """The path of a local folder or of a bucket's.

    Raises:
      InputError: a kind of bucket that cannot be reached from here.
    """
    if "://" not in str(text):
        return Path(text)
    if str(text).partition("://")[0] not in BUCKETS:
        known = ", ".join(f"{name}://" for name in BUCKETS)
        raise InputError(f"{text} is no kind of bucket known here; known: {known}")
    from etils import epath

    try:
        path = epath.Path(str(text))
        path.exists()  # what reaches this kind of bucket is imported now
    except (ImportError, ValueError) as error:
        needed = BUCKETS[str(text).partition("://")[0]]
        raise InputError(f"{text} cannot be reached ({error}); pip install {needed}") from None
    return path


def is_local(path: Any) -> bool:
    return type(path) is type(Path())


def _write_beside(path: Path, content: bytes, durable: bool) -> Path:
    """Writes a neighbour file that nobody reads."""
    beside = path.with_name(f".{uuid.uuid4().hex}{PART}")  # no longer than any name may be
    unfinished.add(beside)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except OSError as error:
        _remove(beside)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    return beside


def _remove(beside: Path) -> None:
    beside.unlink(missing_ok=True) if beside.parent.is_dir() else None
    unfinished.discard(beside)


def write_whole(path: Any, content: bytes) -> None:
    """Readers see the old file or all of the new."""
    if not is_local(path):
        path.write_bytes(content)  # an object of a bucket appears whole
        return
    beside = _write_beside(path, content, durable=True)
    try:
        os.replace(beside, path)
    finally:
        _remove(beside)


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Content of a file in JSON, which is made first where there is none; stderr says that it was.

    Args:
      path: of the file.
      make: called without it; returns what JSON can hold.
    """
    if not path.is_file():
        write_whole(path, json_text(make(), indent=1).encode())
        print(path.stem, file=sys.stderr, flush=True)
    return json.loads(path.read_text("utf-8"))


def create(path: Any, content: bytes, durable: bool = True) -> bool:
    """Writes a file that never changes; False if one of that name was there.

    Of several workers one wins. In a bucket two that write at once leave the later one: both hold
    the same rows.
    """
    if not is_local(path):
        if path.exists():
            return False
        path.write_bytes(content)
        return True
    if path.exists():
        return False
    beside = _write_beside(path, content, durable)
    try:
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError:  # no hard links on this file system
            if path.exists():
                return False
            os.replace(beside, path)
    finally:
        _remove(beside)
    return True


def append(path: Any, lines: list[str]) -> None:
    """Adds the last of `lines` to a local file; buckets cannot append and get all of them.

    One worker writes one file, so nothing is torn but the last line of a killed one.
    """
    if not is_local(path):
        path.write_bytes("".join(lines).encode())
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab", buffering=0) as file:
            file.write(lines[-1].encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def names(folder: Any, suffix: str) -> list[str]:
    """Sorted names of the files in a folder that end so; none if there is no folder."""
    try:
        found = os.listdir(folder) if is_local(folder) else [p.name for p in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))


def sweep_up(folder: Any) -> None:
    """Removes half-written files of workers that were killed long ago."""
    if not is_local(folder) or not folder.is_dir():
        return
    for path in folder.glob(f".*{PART}"):
        try:
            if time.time() - path.stat().st_mtime > _STALE:
                path.unlink()
        except OSError:
            pass  # another worker was faster, or the folder is read-only


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a `.npz` whole."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())
