"""Crash-proof record of finished chunks: one immutable file each, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULT_VERSION = 5  # bumped by hand when the same settings would give other numbers


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
    """A folder of finished chunks, one immutable file each; a chunk holds rows, found by key.

    Files that do not read are left alone and their rows done again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._place: dict[str, tuple[Path, int]] = {}  # row key -> file and number in it
        self._open: tuple[Path | None, dict[str, np.ndarray]] = (None, {})
        for path in sorted(self.folder.glob("*.npz")):
            self._index(path)

    def _index(self, path: Path) -> None:
        keys = _arrays(path, ("keys",)).get("keys", ())
        self._place |= {str(key): (path, i) for i, key in enumerate(keys)}

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """One row; None if it is not there or does not read."""
        if key not in self._place:
            return None
        path, i = self._place[key]
        if self._open[0] != path:
            self._open = (path, _arrays(path))
        arrays = self._open[1]
        return {name: array[i] for name, array in arrays.items() if name != "keys"} or None

    def put(self, rows: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Writes one chunk: rows with the same fields."""
        names = list(next(iter(rows.values())))
        arrays = {name: np.stack([row[name] for row in rows.values()]) for name in names}
        path = self.folder / f"{digest(list(rows))}.npz"
        write_arrays(path, {"keys": np.array(list(rows)), **arrays})
        self._index(path)


def _arrays(path: Path, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a `.npz`; empty if it is missing or damaged."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in (only or file.files)}
    except (FileNotFoundError, zipfile.BadZipFile, ValueError, EOFError, KeyError):
        return {}


def keep_compilations() -> None:
    """Compiled programs outlive the process, in the user's cache folder; commands call this."""
    import jax  # a record is read without it

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(cache) / "ad_jax"))
