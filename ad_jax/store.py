"""Crash-proof record of finished chunks: one immutable file each, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

RESULT_VERSION = 2  # bumped by hand when the same settings would give other numbers


def digest(content: Any) -> str:
    """Short name of JSON-like content, the same on every machine."""
    text = json.dumps([RESULT_VERSION, content], sort_keys=True, default=float)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def write_whole(path: Path, content: bytes) -> None:
    """Writes through a neighbour file and a rename: readers see the old file or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a `.npz` whole."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


class Record:
    """A folder of finished chunks: `key -> arrays`."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of a finished chunk; None if it is not there or does not read (redo it)."""
        try:
            with open(self._path(key), "rb") as handle, np.load(handle, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError, KeyError):
            return None

    def put(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        write_arrays(self._path(key), arrays)
