"""Problems from tables: CSV and Parquet files, frames, and the tables that scikit-learn ships.

A table's rows become rows of numbers by `ad_jax.data.columns`, which learns from the training rows
alone. The problem keeps what was learned (`Problem.columns`) for those who read further rows.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError, lookup
from ad_jax.data import columns as encodings
from ad_jax.data.columns import Columns
from ad_jax.data.frame import Table, levels, read_table, table_of, texts
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.truth import Labels, Truth, unlabelled

NORMAL = ("0", "false", "normal", "good")  # labels of normal rows where nobody says which
PARTS = {"train": "train", "target": "target", "test": "target", "held_out": "held_out"}
SETS = {  # tables inside scikit-learn that have classes, and the one that is normal
    "breast_cancer": "benign",
    "wine": "class_0",
    "iris": "setosa",
    "digits": "0",
}
# The example's choice was made before anything was trained on it: of these four it alone has
# classes of which one is normal in the word's sense, and it has the most rows of one class.
EXAMPLE = "breast_cancer"


def load_table(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    normal: object = None,
    split: str | None = None,
    target: str | os.PathLike[str] | None = None,
    drop: str | Sequence[str] = (),
    category: str | Sequence[str] = (),
    limit: int | None = None,
) -> tuple[Problem, Truth]:
    """Read a `.csv` or `.parquet` file whose columns have names; one of three things says the rest.

    - `target`: another file of the same columns; the rows of `path` train.
    - `split`: the column that says `train`, `target` (or `test`) and perhaps `held_out`.
    - `label` alone: half of the normal rows, the first by content, train; the others and all
      anomalous ones are the target.

    With `label` beside `target` or `split`, only normal rows of the training part train, and the
    labels of the target, where it has that column, go into the sealed truth. Columns are found by
    name; the target's other columns are passed over.

    Args:
      path: the file.
      label: the column of labels; no number is made of it.
      normal: the label of normal rows; by default 0, false, normal or good.
      split: the column of parts; no number is made of it.
      target: the other file.
      drop: columns to leave out, as names or as text, `a;b`.
      category: columns of categories although they look like numbers, likewise.
      limit: the first so many, by content, of train, held-out and target.

    Returns:
      Problem of rows `[d]` float32, encoded as `ad_jax.data.columns.fit` says, and its truth.

    Raises:
      InputError: file, option or cells that cannot be used.
    """
    name = str(path)
    if normal is not None and label is None:
        raise InputError(
            f"normal={normal} needs label=<column>, the column that says what a row is"
        )
    if target is not None and split is not None:
        raise InputError(f"split={split} and target={target} both say what trains; give one")
    left_out, categories = _names(drop), _names(category)
    table = read_table(pathlib.Path(path))
    for one in left_out:
        table.column(one, "drop")
    table = table.without(left_out)
    if target is not None:
        other = read_table(pathlib.Path(target)).without(left_out)
        parts = {"train": table, "target": other}
    elif split is not None:
        parts = _parts(table, split)
    elif label is not None:
        return _halved(table, label, normal, categories, limit)
    else:
        raise InputError(
            f"{name} does not say what trains; give label=<column>, split=<column>, or "
            f"target=<file>; its columns: {', '.join(list(table.columns)[:8])}"
        )
    read = unlabelled(str(target or name))
    if label is not None:
        kept = _are_normal(parts["train"], label, normal)
        parts["train"] = parts["train"].take(np.flatnonzero(kept))
        if label in parts["target"].columns:
            labelled = parts["target"]

            def read() -> Labels:
                return _labels(labelled, label, normal)

        parts = {part: one.without([label]) for part, one in parts.items()}
    return _sealed(parts, read, categories, limit)


def load_sklearn(
    name: str, *, normal: object = None, limit: int | None = None
) -> tuple[Problem, Truth]:
    """A table that comes with scikit-learn: one class is normal, the others are anomalous.

    Half of the normal rows, the first by content, train; the others and all of the other classes
    are the target.

    Args:
      name: one of `SETS`.
      normal: the normal class, by name or number; by default as in `SETS`.
      limit: the first so many, by content, of train and of target.

    Raises:
      InputError: an unknown name or class.
    """
    from sklearn import datasets

    usual = lookup(SETS, name, "table of scikit-learn")
    bunch = getattr(datasets, f"load_{name}")()
    classes = [str(one) for one in bunch.target_names]
    wanted = usual if normal is None else str(normal)
    if wanted not in classes:
        if not wanted.isdecimal() or int(wanted) >= len(classes):
            known = ", ".join(classes)
            raise InputError(f"normal={normal} is no class of sklearn:{name}; known: {known}")
        wanted = classes[int(wanted)]
    label = "class"  # no feature of these has that name
    table = table_of(
        {
            **{str(one): bunch.data[:, i] for i, one in enumerate(bunch.feature_names)},
            label: [classes[i] for i in bunch.target],
        },
        f"sklearn:{name}",
    )
    return _halved(table, label, wanted, (), limit)


def from_frames(
    train: Any,
    target: Any = None,
    *,
    held_out: Any = None,
    drop: Sequence[str] = (),
    category: Sequence[str] = (),
    limit: int | None = None,
) -> tuple[Problem, Columns]:
    """A problem from frames of pandas or polars, structured arrays, or columns by their names.

    Neither library is imported. Labels do not belong here: leave their column out (`drop`).

    Args:
      train: normals to train on.
      target: unlabelled rows; None: the training rows stand in, where there is no target yet.
      held_out: normals kept from training, or None.
      drop: columns to leave out.
      category: columns of categories although they look like numbers.
      limit: the first so many, by content, of train, held-out and target.

    Returns:
      The problem, and how its columns became numbers: `columns.encode(frame)` makes rows of
      further frames, and `Loading(columns=columns)` lets a detector keep it.

    Raises:
      InputError: frames, columns or cells that cannot be used.
    """
    given = {"train": train, "target": train if target is None else target, "held_out": held_out}
    parts = {name: table_of(one, name) for name, one in given.items() if one is not None}
    for one in _names(drop):
        parts["train"].column(one, "drop")
    parts = {name: table.without(_names(drop)) for name, table in parts.items()}
    problem, _ = _sealed(parts, unlabelled("these frames"), _names(category), limit)
    assert problem.columns is not None
    return problem, problem.columns


def _names(text: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns, from `a;b` or a sequence."""
    pieces = text.split(";") if isinstance(text, str) else text
    return tuple(piece.strip() for piece in pieces if piece.strip())


def _parts(table: Table, split: str) -> dict[str, Table]:
    """The rows of each part that a column names."""
    said = texts(table.column(split, "split"))
    named = np.array([PARTS.get(one.lower(), "") for one in said.tolist()])
    if (named == "").any():
        row = int(np.argmax(named == ""))
        raise InputError(
            f"{table.name}: split={split} is {said[row]!r} in {table.place} {table.places[row]}; "
            f"known: {', '.join(PARTS)}"
        )
    rest = table.without([split])
    parts = {
        part: rest.take(np.flatnonzero(named == part)) for part in dict.fromkeys(PARTS.values())
    }
    return {part: one for part, one in parts.items() if len(one) or part != "held_out"}


def _halved(
    table: Table, label: str, normal: object, category: Sequence[str], limit: int | None
) -> tuple[Problem, Truth]:
    """The problem of a table with a label for every row."""
    kept = _are_normal(table, label, normal)
    hashes = table.without([label]).hashes()
    normals = sorted(np.flatnonzero(kept).tolist(), key=hashes.__getitem__)
    train = normals[: len(normals) // 2]
    rest = np.setdiff1d(np.arange(len(table)), train)
    labelled = table.take(rest)
    parts = {"train": table.take(train), "target": labelled}
    return _sealed(
        {part: one.without([label]) for part, one in parts.items()},
        lambda: _labels(labelled, label, normal),
        category,
        limit,
    )


def _classes(table: Table, label: str) -> np.ndarray:
    """Labels `[n]` as text, numbers as they are written shortest.

    Raises:
      InputError: one is missing.
    """
    said = np.array(levels(table.column(label, "label")), object)
    if (said == "").any():
        row = int(np.argmax(said == ""))
        raise InputError(
            f"{table.name}: label={label} is missing in {table.place} {table.places[row]}; give "
            "every row one"
        )
    return said


def _named(normal: object) -> str:
    """The label that an option means, written as `_classes` has it."""
    return levels(np.array([str(normal).strip()], object))[0]


def _are_normal(table: Table, label: str, normal: object) -> np.ndarray:
    """Which rows are normal `[n]`.

    Raises:
      InputError: none is, or a label is missing.
    """
    said = _classes(table, label)
    if normal is None:
        kept = np.array([one.lower() in NORMAL for one in said.tolist()], bool)
        asked = f"none of {', '.join(NORMAL)}; give normal=<value>"
    else:
        kept, asked = said == _named(normal), f"not normal={normal}; give one of these"
    if not kept.any():
        known = sorted(set(said.tolist()))
        more = f" and {len(known) - 8} more" if len(known) > 8 else ""
        raise InputError(f"{table.name}: label={label} holds {', '.join(known[:8])}{more}, {asked}")
    return kept


def _labels(table: Table, label: str, normal: object) -> Labels:
    """The labels of a target; all may be anomalous, or none."""
    said = _classes(table, label).tolist()
    usual = (_named(normal),) if normal is not None else NORMAL
    ok = [(one if normal is not None else one.lower()) in usual for one in said]
    several = len({one for one, fine in zip(said, ok, strict=True) if not fine}) > 1
    kinds = [
        "" if fine else one if several else "anomaly" for one, fine in zip(said, ok, strict=True)
    ]
    return Labels(np.array([not fine for fine in ok], np.uint8), kinds)


def _sealed(
    parts: dict[str, Table],
    read: Callable[[], Labels],
    category: Sequence[str],
    limit: int | None,
) -> tuple[Problem, Truth]:
    """Problem and truth of tables without labels; the training rows alone say what numbers are."""
    for part, table in parts.items():
        if not len(table):
            raise InputError(f"{table.name} holds no row of {part}; give some")
    train = parts["train"]
    if limit is not None:  # rows beyond the limit must not say how columns are encoded
        hashes = train.hashes()
        train = train.take(sorted(range(len(train)), key=hashes.__getitem__)[:limit])
    columns = encodings.fit(train, category)
    rows, named = {}, {}
    for part, table in (parts | {"train": train}).items():
        rows[part], missing = columns.numbers_of(table)
        encodings.say_missing(f"{part} of {table.name}", missing)
        named[part] = [f"{table.place} {place}" for place in table.places]
    target = named.pop("target")
    return sealed(
        train=rows["train"],
        target=rows["target"],
        held_out=rows.get("held_out"),
        names=target,
        read=read,
        limit=limit,
        normals=named,
        distinct=False,  # rows of few categories are equal without being copies
        columns=columns,
    )
