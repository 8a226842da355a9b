"""The record: rows found by key in the files of finished chunks; logs and failures beside them."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import time
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import DataWarning
from ad_jax.base.json_text import json_text
from ad_jax.store import places
from ad_jax.store.files import SUFFIX, Damaged, Fields, Head, decode, digest, encode, read_head

_KEPT_OPEN = 8  # files whose rows stay in memory
_LISTED = 20.0  # seconds between two listings of a bucket
_LOG_LINES = 100  # of one object in a bucket, which cannot be appended to
LIBRARIES = ("ad_jax", "jax", "jaxlib", "numpy")


class Chunk(NamedTuple):
    """One file: `content` has passed its checksum, `rows` by key have been read from it."""

    path: Any
    head: Head
    content: bytes
    rows: dict[str, dict[str, np.ndarray]]

    @property
    def keys(self) -> list[str]:
        return [key for keys in self.head.tables for key in keys]


class Record:
    """A folder of finished chunks that any number of workers read and write, without locks.

    `*.safetensors` hold the rows; `logs/` one file of JSON lines per worker; `failed/` what
    members raised. A file that does not read is left alone, named once in a warning, and its rows
    count as not done.

    Args:
      folder: local, or a bucket's (`gs://`, `s3://`, `az://`).

    Raises:
      InputError: a file that a newer version wrote, or a bucket that cannot be reached.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = places.place(folder)
        self.worker = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.damaged: dict[str, str] = {}  # file -> what is wrong
        self._files: set[str] = set()  # all that were looked at
        self._place: dict[str, str] = {}  # row key -> file
        self._also: dict[str, list[str]] = {}  # the few keys that further files hold, too
        self._open: OrderedDict[str, dict[str, dict[str, np.ndarray]]] = OrderedDict()
        self._lines: list[str] = []
        self._listed = -_LISTED
        self.refresh()

    def __len__(self) -> int:
        return len(self._place)

    def __bool__(self) -> bool:
        return True  # an empty record is a record, too

    # ---- reading ----

    def refresh(self) -> None:
        """Sees what other workers finished since; a listing, and the heads of new files."""
        local = places.is_local(self.folder)
        if not local and time.monotonic() - self._listed < _LISTED:
            return
        self._listed = time.monotonic()
        new = [name for name in places.names(self.folder, SUFFIX) if name not in self._files]
        if local or len(new) < 2:
            heads: Iterator[Head | None] = map(self._head, new)
        else:  # every look into a bucket waits for the network
            with ThreadPoolExecutor(16) as pool:
                heads = iter(list(pool.map(self._head, new)))
        for name, head in zip(new, heads, strict=True):
            self._index(name, head)

    def _head(self, name: str) -> Head | None:
        """None of a damaged file."""
        path = self.folder / name
        try:
            with path.open("rb") as handle:
                head = read_head(handle, path)
                if handle.seek(0, 2) != head.size:
                    raise Damaged(f"{handle.tell()} bytes instead of {head.size}")
        except FileNotFoundError:
            return None
        except Damaged as error:
            self._name_damage(name, str(error))
            return None
        return head

    def _index(self, name: str, head: Head | None) -> None:
        self._files.add(name)
        for keys in head.tables if head else ():
            for key in keys:
                if self._place.setdefault(key, name) != name:
                    self._also.setdefault(key, []).append(name)

    def _name_damage(self, name: str, what: str) -> None:
        if name not in self.damaged:
            self.damaged[name] = what
            path = self.folder / name
            warnings.warn(
                f"{path} is damaged ({what}); it is left alone and its rows are done again",
                DataWarning,
                stacklevel=2,
            )

    def _drop(self, name: str) -> None:
        """Forgets the rows of a damaged file; another file may hold them, too."""
        for key in [key for key, at in self._place.items() if at == name]:
            others = [at for at in self._also.pop(key, []) if at not in self.damaged]
            if others:
                self._place[key] = others[0]
                self._also[key] = others[1:]
            else:
                del self._place[key]

    def has(self, key: str) -> bool:
        """Whether a row is there, by its file's head."""
        return key in self._place

    def keys(self) -> Iterator[str]:
        return iter(self._place)

    def path_of(self, key: str) -> Any:
        """The file that holds a row."""
        return self.folder / self._place[key]

    def read(self, path: Any) -> Chunk:
        """A whole file, after its checksum.

        Raises:
          Damaged: it is not what was written.
        """
        content = path.read_bytes()
        head = read_head(io.BytesIO(content), path)
        return Chunk(path, head, content, decode(content, head))

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """One row; None if it is not there or does not read."""
        while key in self._place:
            name = self._place[key]
            if name not in self._open:
                try:
                    self._open[name] = self.read(self.folder / name).rows
                except (Damaged, FileNotFoundError) as error:
                    self._name_damage(name, str(error))
                    self._drop(name)
                    continue
                while len(self._open) > _KEPT_OPEN:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            return dict(self._open[name][key])
        return None

    def chunks(self) -> Iterator[Chunk]:
        """Every file that reads, one at a time in memory; those that do not are named."""
        for name in sorted(self._files):
            if name in self.damaged:
                continue
            try:
                chunk = self.read(self.folder / name)
            except (Damaged, FileNotFoundError) as error:
                self._name_damage(name, str(error))
                self._drop(name)
                continue
            yield chunk

    # ---- writing ----

    def begin(self) -> None:
        """Says in the log that a worker starts: a folder that cannot be written fails now."""
        places.sweep_up(self.folder)
        self.log({"started": True, **about()})

    def put(self, rows: Mapping[str, Fields], durable: bool = True, look: bool = True) -> None:
        """Writes one chunk; rows that are there already are dropped.

        Args:
          rows: by key.
          durable: whether to wait for the disk.
          look: whether to look first what other workers have written.
        """
        if look:
            self.refresh()
        rows = {key: row for key, row in rows.items() if key not in self._place}
        if rows:
            content = encode(rows, {**about(), "worker": self.worker, "time": _now()})
            head = read_head(io.BytesIO(content), self.folder)
            self.put_whole(digest(list(rows)), head, content, durable)

    def put_whole(self, name: str, head: Head, content: bytes, durable: bool = True) -> bool:
        """Writes the bytes of a chunk's file; False if another worker had written its rows.

        The name of a damaged file stays taken: its rows go to the next one.
        """
        for number in count():
            file = f"{name}{f'-{number}' if number else ''}{SUFFIX}"
            written = places.create(self.folder / file, content, durable)
            if file not in self._files:
                self._index(file, head if written else self._head(file))
            if written or file not in self.damaged:
                return written
        raise AssertionError("unreachable")

    def log(self, line: Mapping[str, Any]) -> None:
        """Adds one JSON line to this worker's log."""
        line = {"time": _now(), "worker": self.worker, **line}
        self._lines.append(json_text(line) + "\n")
        part = ""
        if not places.is_local(self.folder):
            number = (len(self._lines) - 1) // _LOG_LINES
            part, lines = f"-{number}", self._lines[number * _LOG_LINES :]
        else:
            lines = self._lines = self._lines[-1:]
        places.append(self.folder / "logs" / f"{self.worker}{part}.jsonl", lines)

    def logs(self) -> Iterator[dict[str, Any]]:
        """Lines of all workers, worker by worker; what a kill tore is left out."""
        for name in places.names(self.folder / "logs", ".jsonl"):
            for text in (self.folder / "logs" / name).read_bytes().splitlines():
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(line, dict):
                    yield line

    def fail(self, key: str, about: Mapping[str, Any]) -> None:
        """Keeps what a member raised, as `failed/<key>.json`."""
        told = {"key": key, "time": _now(), "worker": self.worker, **about}
        places.write_whole(self.folder / "failed" / f"{key}.json", json_text(told).encode())

    def failed(self) -> set[str]:
        """Keys of members that raised and were not done since."""
        found = {name.removesuffix(".json") for name in self._failures()}
        return {key for key in found if key not in self._place}

    def mend(self, keys: Mapping[str, Any] | list[str]) -> None:
        """Forgets the failures of members that are done now."""
        for name in set(self._failures()) & {f"{key}.json" for key in keys}:
            (self.folder / "failed" / name).unlink(missing_ok=True)

    def _failures(self) -> list[str]:
        return places.names(self.folder / "failed", ".json")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_ABOUT: dict[str, Any] = {}


def about() -> dict[str, Any]:
    """Versions and commit of this process: notes of a chunk, no part of any key."""
    if not _ABOUT:
        for name in LIBRARIES:
            try:
                _ABOUT[name] = version(name)
            except PackageNotFoundError:
                _ABOUT[name] = None
        _ABOUT["commit"] = _commit()
    return _ABOUT


def _commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed, not a checkout
        return None
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
