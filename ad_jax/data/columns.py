"""How the columns of a table become the numbers of a row: learned from the training rows alone.

Numbers are measured from the training rows' mean in units of their standard deviation; yes and no
are 1 and 0; text is one number for every category, 1 where it is the row's. What is missing is
filled, and where training rows miss it, too, a column says so.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data.frame import TRUTHS, Table, levels, numbers, table_of, texts

CATEGORIES = 32  # of a column of text; all others count as one, "other"
CONSTANT = 1e-9  # of the largest value: numbers that differ by less do so by rounding
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2})( .*)?")


class Column(NamedTuple):
    """What the training rows say of one column.

    Attributes:
      name: by which it is found again.
      kind: "number", "flag" (yes or no) or "category".
      fill: stands for a missing number: the median, of a flag the more frequent one.
      mean, spread: of the numbers; 0 and 1 of a flag, and 1 where all are equal.
      missing: whether one more number says that it is missing: it is so in a training row.
      levels: the categories, the most frequent first; "" is a missing one.
    """

    name: str
    kind: str
    fill: float = 0.0
    mean: float = 0.0
    spread: float = 1.0
    missing: bool = False
    levels: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """Names of the numbers that it becomes."""
        if self.kind == "category":
            named = [level or "(missing)" for level in self.levels]
            return [f"{self.name}={level}" for level in (*named, "(other)")]
        return [self.name, *([f"{self.name} missing"] if self.missing else [])]

    def encode(self, table: Table) -> tuple[np.ndarray, int]:
        """Numbers `[n, k]` of a table's column, and how many were missing that never were before.

        Raises:
          InputError: a cell that is no number where one is due; its place and value are named.
        """
        cells = table.columns[self.name]
        if self.kind == "category":
            known = {level: i for i, level in enumerate(self.levels)}
            places = [known.get(text, len(known)) for text in levels(cells)]
            return np.eye(len(known) + 1)[places], 0
        values, bad = numbers(cells)
        if bad.any():
            _refuse(table, self.name, int(np.argmax(bad)), "holds numbers")
        absent = np.isnan(values)
        scaled = (np.where(absent, self.fill, values) - self.mean) / self.spread
        if self.missing:
            return np.stack([scaled, absent], 1), 0
        return scaled[:, None], int(absent.sum())


class Columns(NamedTuple):
    """All columns of a table, in the order of a row's numbers; see `fit`."""

    columns: tuple[Column, ...]

    @property
    def labels(self) -> list[str]:
        """Names `[d]` of a row's numbers."""
        return [label for column in self.columns for label in column.labels]

    def check(self, table: Table) -> None:
        """Refuses a table without one of these columns.

        Raises:
          InputError: one line that names them.
        """
        lacking = [one.name for one in self.columns if one.name not in table.columns]
        if lacking:
            raise InputError(
                f"{table.name} lacks {_named(lacking)}, which the training rows have; add it, or "
                "drop= it and train again"
            )

    def numbers_of(self, table: Table) -> tuple[np.ndarray, dict[str, int]]:
        """Rows `[n, d]` float32, and per column how many cells are missing only here.

        Columns are found by name, in any order; others are passed over.

        Raises:
          InputError: a column is lacking, or a cell is no number where one is due.
        """
        self.check(table)
        blocks, missing = [], {}
        for column in self.columns:
            block, count = column.encode(table)
            blocks.append(block)
            if count:
                missing[column.name] = count
        with np.errstate(over="ignore"):  # what is not finite is refused by who takes the rows
            return np.concatenate(blocks, 1).astype(np.float32), missing

    def encode(self, frame: Any, name: str = "frame") -> np.ndarray:
        """Rows `[n, d]` float32 of a frame (see `frame.table_of`), as a detector takes them.

        `name` is what errors call it.

        Raises:
          InputError: as `numbers_of`.
        """
        table = table_of(frame, name)
        rows, missing = self.numbers_of(table)
        say_missing(table.name, missing)
        return rows

    def as_data(self) -> list[dict[str, Any]]:
        """As what JSON holds."""
        return [column._asdict() for column in self.columns]

    @classmethod
    def from_data(cls, data: Iterable[Mapping[str, Any]]) -> Columns:
        """The way back from `as_data`."""
        return cls(tuple(Column(**{**one, "levels": tuple(one["levels"])}) for one in data))


def fit(table: Table, category: Sequence[str] = ()) -> Columns:
    """Learns from training rows how a table's columns become numbers.

    A column whose cells are all numbers is one of numbers, all `true` or `false` one of flags; any
    other text is a category. Columns without any value are left out, with a warning.

    Args:
      table: the rows that are trained on, and no others.
      category: columns that hold categories although they look like numbers.

    Raises:
      InputError: dates; text in a column of numbers; no column that can be used.
    """
    for name in category:
        table.column(name, "category")
    found = {name: _column(table, name, name in category) for name in table.columns}
    empty = [name for name, column in found.items() if column is None]
    if empty:
        _warn(f"{table.name}: {_named(empty)} without any value in the training rows: left out")
    columns = tuple(column for column in found.values() if column is not None)
    if not columns:
        raise InputError(f"{table.name} has no column with values; give one at least")
    return Columns(columns)


def say_missing(name: str, missing: Mapping[str, int]) -> None:
    """Warns of values that are missing where none was in the training rows."""
    if missing:
        counts = ", ".join(f"{count} in {column!r}" for column, count in missing.items())
        _warn(
            f"{name}: values are missing that no training row misses, filled by the training "
            f"rows' median: {counts}"
        )


def _column(table: Table, name: str, category: bool) -> Column | None:
    """What the training rows say of a column; None where they have no value."""
    cells = table.columns[name]
    if cells.dtype.kind in "Mm":
        raise InputError(_dates(table, name, str(cells[0])))
    text = texts(cells) if category or cells.dtype.kind == "O" else None
    if text is None:
        return _of_numbers(name, "flag" if cells.dtype.kind == "b" else "number", cells, table)
    present = [one for one in text.tolist() if one]
    if not present:
        return None
    dates = [one for one in present if _DATE.fullmatch(one)]
    if len(dates) > len(present) / 2 and not category:
        raise InputError(_dates(table, name, dates[0]))
    if not category and {one.lower() for one in present} <= set(TRUTHS):
        return _of_numbers(name, "flag", text, table)
    bad = int(numbers(text)[1].sum())
    if not category and bad < len(present) / 2:
        return _of_numbers(name, "number", text, table)
    return _of_categories(table, name, levels(text))


def _of_numbers(name: str, kind: str, cells: np.ndarray, table: Table) -> Column | None:
    values, bad = numbers(cells)
    if bad.any():
        said = f"holds numbers in {int((~bad).sum())} of {len(bad)} rows"
        _refuse(table, name, int(np.argmax(bad)), said)
    present = values[~np.isnan(values)]
    if not len(present):
        return None
    absent = len(present) < len(values)
    fill = float(np.median(present))
    if kind == "flag":
        return Column(name, kind, float(fill >= 0.5), missing=absent)
    mean, spread = float(present.mean()), float(present.std())
    if not spread > CONSTANT * np.abs(present).max():
        mean, spread = fill, 1.0
    return Column(name, kind, fill, mean, spread, absent)


def _of_categories(table: Table, name: str, cells: list[str]) -> Column:
    counts = Counter(cells)
    ordered = sorted(counts, key=lambda level: (-counts[level], level))
    kept = ordered[:CATEGORIES]
    covered = sum(counts[level] for level in kept)
    if covered < len(cells) / 2:
        _warn(
            f"{table.name}: column {name!r} has {len(counts)} categories in {len(cells)} training "
            f"rows, of which the {CATEGORIES} kept are {covered}; if it names rows, drop={name}"
        )
    return Column(name, "category", levels=tuple(kept))


def _refuse(table: Table, name: str, row: int, said: str) -> None:
    value = texts(table.columns[name])[row]
    raise InputError(
        f"{table.name}: column {name!r} {said}, but {value!r} in {table.place} "
        f"{table.places[row]}; mend it, drop={name}, or category={name} where it is no number"
    )


def _dates(table: Table, name: str, value: str) -> str:
    return (
        f"{table.name}: column {name!r} holds dates ({value!r}), which have no scale; drop={name}, "
        "or make numbers of them"
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"column{'s' * (len(names) > 1)} {', '.join(map(repr, names[:5]))}{more}"


def _warn(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=2)
