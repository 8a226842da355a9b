"""Joins records: chunks are copied and verified, rows never doubled, contradictions refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.store import places
from ad_jax.store.record import Record

CHANCE_FIELDS = ("seconds",)  # differ between two trainings of one member, and mean nothing
TRAINED = ("params", "stop", "state.")  # what training made, or a prefix of it: the same to the bit
# Everything else is measured by a program that is compiled for the targets it looks at, held-out
# normals and all: their number moves the rounding (2e-6 of a score, more of a quotient of two small
# distances). Another measure, or one of other data, differs by far more.
TOLERANCE = 1e-3  # of a field's largest value


class Merged(NamedTuple):
    """What a merge did.

    Attributes:
      chunks: files written.
      rows: rows in them.
      known: rows that were there already.
      damaged: files left out.
    """

    chunks: int
    rows: int
    known: int
    damaged: int


def merge(sources: Sequence[Any], into: Any) -> Merged:
    """Copies all chunks of `sources` into the record `into`, which may hold some already.

    Everything is checked before anything is written. A row may stand in several of them if its
    numbers are the same: to the bit what training made, within `TOLERANCE` what was measured, of
    which the first is kept. The time it took is none of them.

    Raises:
      InputError: an empty source, a source that is the destination, rows that contradict.
    """
    records = [Record(source) for source in sources]
    target = Record(into)
    for record in records:
        if _same(record.folder, target.folder):
            raise InputError(f"{record.folder} is merged into itself; choose another --into")
        if not len(record):
            raise InputError(f"{record.folder} holds no finished chunk; give a run or its record")
    holders: dict[str, Record] = dict.fromkeys(target.keys(), target)
    for record in records:
        same: set[tuple[Any, Any]] = set()  # pairs of files known to be equal
        for key in list(record.keys()):
            first = holders.setdefault(key, record)
            if first is not record:
                _compare(key, first, record, same)
    chunks = rows = known = 0
    for record in records:
        for chunk in record.chunks():
            new = [key for key in chunk.keys if not target.has(key)]
            known += len(chunk.keys) - len(new)
            if not new:
                continue
            if len(new) == len(chunk.keys):
                name = chunk.path.name.partition(".")[0].partition("-")[0]
                # without waiting for the disk: the sources still stand
                target.put_whole(name, chunk.head, chunk.content, durable=False)
            else:
                target.put({key: chunk.rows[key] for key in new}, durable=False)
            chunks, rows = chunks + 1, rows + len(new)
        _copy_notes(record, target)
    return Merged(chunks, rows, known, sum(len(record.damaged) for record in records))


def _same(one: Any, other: Any) -> bool:
    local = places.is_local(one) and places.is_local(other)
    return one.resolve() == other.resolve() if local else one == other


def _compare(key: str, first: Record, second: Record, same: set[tuple[Any, Any]]) -> None:
    paths = first.path_of(key), second.path_of(key)
    if paths in same:
        return
    if paths[0].name == paths[1].name and paths[0].read_bytes() == paths[1].read_bytes():
        same.add(paths)
        return
    one, other = first.get(key), second.get(key)
    if one is None or other is None:
        return  # damaged, and named as such
    names = (set(one) | set(other)) - set(CHANCE_FIELDS)
    if not all(n in one and n in other and _agree(n, one[n], other[n]) for n in names):
        raise InputError(
            f"row {key} differs between {paths[0]} and {paths[1]}; merge without one of them"
        )


def _agree(name: str, one: np.ndarray, other: np.ndarray) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.tobytes() == other.tobytes():
        return True
    if name.startswith(TRAINED) or one.dtype.kind != "f":
        return False
    largest = float(np.max(np.abs(one), initial=0.0, where=np.isfinite(one)))
    return np.allclose(one, other, rtol=0.0, atol=TOLERANCE * largest, equal_nan=True)


def _copy_notes(record: Record, target: Record) -> None:
    """Logs, and failures of members that nobody did since."""
    for name in places.names(record.folder / "logs", ".jsonl"):
        content = (record.folder / "logs" / name).read_bytes()
        places.create(target.folder / "logs" / name, content, durable=False)
    for key in sorted(record.failed()):
        if not target.has(key):
            content = (record.folder / "failed" / f"{key}.json").read_bytes()
            places.create(target.folder / "failed" / f"{key}.json", content, durable=False)
