"""One chunk as bytes: a safetensors file with the rows' keys and a checksum of every byte.

Rows with the same fields stand in one table: tensor `<table>.<field>` is `[rows, ...]`. What else
is known of the chunk (versions, commit, worker) is a note and decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError

RESULT_VERSION = 7  # bumped by hand when the same settings would give other numbers
FORMAT = 1  # of the file; bumped when older readers could not read it
SUFFIX = ".safetensors"
_BLANK = 64 * "?"  # stands where the checksum will
_LONGEST_HEADER = 100_000_000
# What reading JSON or tensors of any other content raises.
_ODD = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)

Fields = Mapping[str, np.ndarray]


class Damaged(ValueError):
    """A file that is not what was written."""


class Head(NamedTuple):
    """What a file says of itself.

    Attributes:
      tables: the rows' keys, table by table.
      about: notes.
      checksum: SHA-256 (hex) of the file with the checksum itself blanked.
      size: bytes that the file should have.
    """

    tables: list[list[str]]
    about: dict[str, Any]
    checksum: str
    size: int


def digest(content: Any) -> str:
    """Short name of JSON-like content, the same on every machine."""
    text = json.dumps([RESULT_VERSION, content], sort_keys=True, default=float)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def encode(rows: Mapping[str, Fields], about: Mapping[str, Any]) -> bytes:
    """Rows by key as the bytes of one file."""
    from safetensors.numpy import save

    tables: dict[tuple, list[str]] = {}
    for key, row in rows.items():
        layout = tuple((name, np.asarray(a).dtype.str, np.shape(a)) for name, a in row.items())
        tables.setdefault(layout, []).append(key)
    arrays = {
        # safetensors writes memory as it lies, and a stack of views keeps their order
        f"{number}.{name}": np.ascontiguousarray(np.stack([rows[key][name] for key in keys]))
        for number, (layout, keys) in enumerate(tables.items())
        for name, *_ in layout
    }
    told = {
        "format": FORMAT,
        "checksum": _BLANK,
        "tables": list(tables.values()),
        "about": dict(about),
    }
    content = save(arrays, {"ad_jax": json.dumps(told)})
    checksum = hashlib.sha256(content).hexdigest()
    return content.replace(_BLANK.encode(), checksum.encode(), 1)


def read_head(handle: BinaryIO, name: object) -> Head:
    """The head alone, without the arrays.

    Raises:
      Damaged: no such file, by its head.
      InputError: a file that a newer version wrote.
    """
    start = handle.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LONGEST_HEADER
    if length >= _LONGEST_HEADER:
        raise Damaged("no head")
    try:
        header = json.loads(handle.read(length))
        told = json.loads(header.pop("__metadata__")["ad_jax"])
        form = told["format"]
        if isinstance(form, int) and form > FORMAT:
            raise InputError(
                f"{name} was written by a newer ad_jax (format {form}, this one reads {FORMAT}); "
                "upgrade, or choose another --record"
            )
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        head = Head(told["tables"], told["about"], told["checksum"], 8 + length + end)
        _refuse_what_was_never_written(form, head, header)
        return head
    except (InputError, Damaged):
        raise
    except _ODD as error:
        raise Damaged(f"head: {repr(error)[:200]}") from None


def _refuse_what_was_never_written(form: object, head: Head, header: Mapping[str, Any]) -> None:
    """A head of other types, or tensors that no table has a row for: nobody need trust a file."""
    wrong = None
    if not isinstance(form, int) or not isinstance(head.about, dict):
        wrong = "notes of another form"
    elif not isinstance(head.checksum, str) or not re.fullmatch("[0-9a-f]{64}", head.checksum):
        wrong = "no checksum"
    elif not isinstance(head.tables, list) or not all(map(_is_names, head.tables)):
        wrong = "tables that are no lists of keys"
    else:
        rows = {str(number): len(keys) for number, keys in enumerate(head.tables)}
        labels = [(label.partition(".")[0], tensor["shape"]) for label, tensor in header.items()]
        if not all(number in rows and shape[0] == rows[number] for number, shape in labels):
            wrong = "tensors beside the tables"
    if wrong:
        raise Damaged(f"head: {wrong}")


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def check(content: bytes, head: Head) -> None:
    """Compares every byte with the checksum.

    Raises:
      Damaged: they differ.
    """
    blanked = content.replace(head.checksum.encode(), _BLANK.encode(), 1)
    if hashlib.sha256(blanked).hexdigest() != head.checksum:
        raise Damaged("the checksum differs")


def decode(content: bytes, head: Head) -> dict[str, dict[str, np.ndarray]]:
    """Rows by key, after `check`.

    Raises:
      Damaged: the content is not what was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    check(content, head)
    rows: dict[str, dict[str, np.ndarray]] = {key: {} for keys in head.tables for key in keys}
    try:
        for label, array in load(content).items():
            table, _, name = label.partition(".")
            for key, value in zip(head.tables[int(table)], array, strict=True):
                rows[key][name] = value
    except (SafetensorError, *_ODD) as error:
        raise Damaged(f"tensors: {repr(error)[:200]}") from None
    return rows
