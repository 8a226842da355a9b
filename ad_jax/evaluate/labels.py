"""Files of labels: one reader, whoever asks; joined by name where both sides have names."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import Labels, Truth
from ad_jax.store import tables

SEPARATORS = ",;\t"
VALUES = {"0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}  # in any case


class _File(NamedTuple):
    """What a file of labels holds, line by line.

    Attributes:
      names: of the samples, None if no column says.
      labels: 0 normal, 1 anomalous.
      numbers: of the lines in the file.
      others: title -> cells of the columns that are neither.
    """

    names: list[str] | None
    labels: list[int]
    numbers: list[int]
    others: dict[str, list[str]]


def labels_file(
    path: str | Path, shape: tuple[int, int], names: Sequence[str] | None = None
) -> Truth:
    """Sealed labels of the samples of scores.

    The file is a CSV in UTF-8 (a byte-order mark may stand first), its cells parted by `,`, `;` or
    tabs. With a header, the column `label` holds the labels and a column `name` says whose they
    are, other columns are left alone; without one there is one label per line. A label is 0 or
    false (normal), 1 or true (anomalous), also 0.0, 1.0 and in capitals.

    Where the file and the scores both name the samples they are joined by name, in whatever order
    they stand: every sample needs a label, a label whose sample is not there is left alone, and a
    sample may stand twice with one label. Their names under another title than `name` are refused.
    Else line by line. Scores whose columns are only numbered (0, 1, 2 …, as pandas does) count as
    named if the file has such names.

    Args:
      path: of the file; read when the truth is opened.
      shape: `(members, samples)` of the scores.
      names: `[samples]`, None if the scores name none.

    Raises:
      InputError: at opening; a file that does not read, other values, another number of them, a
        sample without a label or with two.
    """
    members, samples = shape

    def read() -> Labels:
        given = _read(path)
        if given.names is not None and names is not None:
            if not (_numbered(names) and _matching(given.names, names) == 0):
                return _joined(path, given, names)
        elif given.names is not None:
            warnings.warn(
                f"--labels {path}: the scores name no samples, so its names are not used and "
                "labels are taken line by line",
                DataWarning,
                stacklevel=3,
            )
        elif names is not None and not _numbered(names):
            _refuse_names_elsewhere(path, given, names)
        if len(given.labels) != samples:
            side = " (that is the number of members: the scores lie on their side)"
            raise InputError(
                f"--labels {path} holds {len(given.labels)} labels for scores of shape {shape} = "
                f"[members, samples]{side if len(given.labels) == members else ''}; give {samples}"
            )
        return _labels(given.labels)

    return Truth([f"sample {i}" for i in range(samples)] if names is None else names, read)


def labels_by_name(path: str | Path, names: Sequence[str]) -> Truth:
    """Sealed labels of samples that have names, from a file that names them; see `labels_file`.

    Args:
      path: of the file; read when the truth is opened.
      names: `[n]` of the samples.

    Raises:
      InputError: at opening; as `labels_file`, and a file without a column `name`.
    """

    def read() -> Labels:
        given = _read(path)
        if given.names is None:
            raise InputError(f"--labels {path}: no column `name`; give the columns name,label")
        return _joined(path, given, names)

    return Truth(names, read)


def _read(path: str | Path) -> _File:
    try:
        lines = [(n, c) for n, c in tables.rows(path, SEPARATORS) if any(map(str.strip, c))]
    except InputError as error:
        raise InputError(f"--labels {error}") from None
    header = [cell.strip().lower() for cell in lines[0][1]] if lines else []
    if "label" not in header and len(header) > 1:
        raise InputError(f"--labels {path}: no column `label` in {', '.join(header)}")
    for word in ("label", "name"):
        if header.count(word) > 1:
            raise InputError(f"--labels {path}: {header.count(word)} columns `{word}`; leave one")
    lines = lines[1:] if "label" in header else lines
    column = header.index("label") if "label" in header else 0
    labels = [_label(path, number, cells, column) for number, cells in lines]
    numbers = [number for number, _ in lines]
    others = {
        title: [_cell(cells, i) for _, cells in lines]
        for i, title in enumerate(header)
        if "label" in header and title not in ("label", "name")
    }
    if "name" not in header:
        return _File(None, labels, numbers, others)
    place = header.index("name")
    lacking = [number for number, cells in lines if not _cell(cells, place)]
    if lacking:
        raise InputError(f"--labels {path}: line {lacking[0]} names no sample")
    return _File([_cell(cells, place) for _, cells in lines], labels, numbers, others)


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _label(path: str | Path, number: int, cells: Sequence[str], column: int) -> int:
    text = _cell(cells, column)
    if text.lower() in VALUES:
        return VALUES[text.lower()]
    what = repr(text) if text else "an empty label"
    raise InputError(
        f"--labels {path}: line {number}: {what} is neither 0 (normal) nor 1 (anomalous)"
    )


def _numbered(names: Sequence[str]) -> bool:
    """Whether columns are only counted, from 0 or 1."""
    return any(list(names) == [str(i + first) for i in range(len(names))] for first in (0, 1))


def _key(name: str) -> str:
    """What is compared of a name: systems compose accents differently, tables add blanks."""
    return unicodedata.normalize("NFC", name.strip())


def _matching(given: Sequence[str], names: Sequence[str]) -> int:
    return len({_key(name) for name in given} & {_key(name) for name in names})


def _refuse_names_elsewhere(path: str | Path, given: _File, names: Sequence[str]) -> None:
    """A table of names under another title is not taken line by line."""
    for title, cells in given.others.items():
        if _matching(cells, names):
            raise InputError(
                f"--labels {path}: column {title!r} holds names of samples; call it `name`, which "
                "labels are joined by"
            )


def _joined(path: str | Path, given: _File, names: Sequence[str]) -> Labels:
    """Labels of `names` in their order."""
    assert given.names is not None
    # A disk may hold two files whose names only compose an accent differently.
    several = len({_key(name) for name in names}) < len({name.strip() for name in names})
    key = str.strip if several else _key
    label_of: dict[str, tuple[int, int]] = {}
    for name, label, number in zip(given.names, given.labels, given.numbers, strict=True):
        first, line = label_of.setdefault(key(name), (label, number))
        if first != label:
            raise InputError(
                f"--labels {path}: {name!r} is {first} in line {line} and {label} in line "
                f"{number}; leave one"
            )
    missing = [name for name in names if key(name) not in label_of]
    if missing:
        there = f"; its names are such as {given.names[0]!r}" if given.names else ""
        raise InputError(
            f"--labels {path}: no label for {missing[0]!r} ({len(missing)} of {len(names)} "
            f"samples lack one){there}"
        )
    return _labels([label_of[key(name)][0] for name in names])


def _labels(values: Sequence[int]) -> Labels:
    return Labels(np.array(values, int), ["anomaly" if value else "" for value in values])
