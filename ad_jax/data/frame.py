"""Tables as they lie in files and frames: named columns of numbers, of yes and no, or of text.

CSV is read with the standard library. Parquet needs pyarrow, pandas or polars, which are looked for
when a Parquet file is named and never before; frames of any library are known by what they offer.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import hashlib
import itertools
import math
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from ad_jax.base.errors import InputError, of_machine
from ad_jax.data.samples import as_array

SEPARATORS = ",;\t"  # of a CSV: the one that parts its first line into most cells
MISSING = frozenset(("", "na", "n/a", "nan", "nat", "null", "none", "<na>", "?"))
LONGEST = max(map(len, MISSING))
TRUTHS = {"true": 1.0, "false": 0.0}
ENDINGS = (".csv", ".parquet")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Some rows of a table.

    Attributes:
      name: where it comes from, for errors.
      columns: name -> `[n]`: float64 (NaN = missing), bool, datetime64, or objects that are text
        ("" = missing).
      places: `[n]` which line of a file, or which row, each row is.
      place: what the places count: "line" or "row".
    """

    name: str
    columns: dict[str, np.ndarray]
    places: np.ndarray
    place: str = "row"

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: Any) -> Table:
        """Some rows, in the order given."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return dataclasses.replace(self, columns=columns, places=self.places[rows])

    def without(self, names: Iterable[str]) -> Table:
        """All other columns."""
        left = {name: one for name, one in self.columns.items() if name not in set(names)}
        return dataclasses.replace(self, columns=left)

    def column(self, name: str, option: str) -> np.ndarray:
        """The column that an option names.

        Raises:
          InputError: there is none of that name.
        """
        if name not in self.columns:
            raise InputError(
                f"{option}={name} is no column of {self.name}; known: {_few(self.columns)}"
            )
        return self.columns[name]

    def hashes(self) -> list[str]:
        """SHA-256 (hex) of the cells of each row `[n]`.

        Neither the order of the columns nor how a file writes numbers (1, 1.0) enters.
        """
        cells = [_plain(self.columns[name]) for name in sorted(self.columns)]
        return [
            hashlib.sha256("\x1f".join(row).encode("utf-8", "surrogatepass")).hexdigest()
            for row in zip(*cells, strict=True)
        ]


def texts(column: np.ndarray) -> np.ndarray:
    """The cells of a column as text `[n]`, "" where they are missing."""
    if column.dtype.kind == "O":
        return column
    if column.dtype.kind in "Mm":
        column = column.astype(f"{column.dtype.kind}8[us]")  # of nanoseconds Python makes integers
    return np.array([_text(cell) for cell in column.tolist()], object)


def numbers(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cells of a column as numbers `[n]`, NaN where missing, and which are no finite numbers.

    `true` and `false` are 1 and 0. A number has a decimal point.
    """
    if column.dtype.kind in "fb":
        values = column.astype(np.float64)
        return values, np.isinf(values)
    cells = texts(column).tolist()
    fast = _floats(cells)
    if fast is not None:
        return fast, np.isinf(fast)
    found = [_number(cell) for cell in cells]
    values = np.array([np.nan if one is None else one for one in found], np.float64)
    return values, np.array([one is None for one in found], bool) | np.isinf(values)


def levels(column: np.ndarray) -> list[str]:
    """The cells of a column as names of categories `[n]`: 7, 7.0 and 007 are one, True and true."""
    if column.dtype.kind != "O":
        return texts(column).tolist()
    return [_level(cell) for cell in column.tolist()]


def _level(text: str) -> str:
    value = _number(text) if text else None
    if value is None or not math.isfinite(value):
        return text
    return text.lower() if text.lower() in TRUTHS else _text(value)


def _floats(cells: list[str]) -> np.ndarray | None:
    """Cells as numbers where all of them are, NaN where missing; else None."""
    try:
        values = np.array([float(cell or "nan") for cell in cells], np.float64)
    except ValueError:
        return None
    return None if any("_" in cell for cell in cells) else values  # which Python takes in numbers


def _plain(column: np.ndarray) -> list[str]:
    """The cells of a column, every number in one form."""
    values, no_number = numbers(column)
    if not no_number.any():
        return [repr(value) for value in values.tolist()]
    cells = zip(texts(column).tolist(), values.tolist(), no_number.tolist(), strict=True)
    return [text if bad else repr(value) for text, value, bad in cells]


def _number(text: str) -> float | None:
    """The number that a text is; NaN of a missing one, None of other text."""
    if not text:
        return math.nan
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return TRUTHS.get(text.lower())


def _text(cell: Any) -> str:
    """One cell of any library as text, "" where it is missing."""
    if isinstance(cell, str):
        text = cell.strip()
        return "" if len(text) <= LONGEST and text.lower() in MISSING else text
    if isinstance(cell, (bool, np.bool_)):
        return "true" if cell else "false"
    if isinstance(cell, (int, np.integer)):
        return str(int(cell))
    if isinstance(cell, (float, np.floating)):
        whole = math.isfinite(cell) and float(cell).is_integer()
        return "" if math.isnan(cell) else str(int(cell)) if whole else repr(float(cell))
    if isinstance(cell, (datetime.date, datetime.time)) and cell == cell:
        return cell.isoformat()
    return "" if cell is None else _text(str(cell))


def table_of(frame: Any, name: str = "frame") -> Table:
    """The table of a frame: of pandas, of polars, a structured array, or columns by their names.

    Args:
      frame: has `columns` and gives each by its name, or is a structured array or a mapping.
      name: of it, for errors.

    Raises:
      InputError: none of these, a column name twice, or columns of unequal length.
    """
    if isinstance(frame, Table):
        return frame
    fields = getattr(getattr(frame, "dtype", None), "names", None)
    names = list(frame) if isinstance(frame, Mapping) else fields or getattr(frame, "columns", None)
    if names is None or callable(names):
        raise InputError(
            f"{name} is a {type(frame).__name__}; give a frame of pandas or polars, a structured "
            "array, or columns by their names"
        )
    check_names(name, [str(one) for one in names])
    columns = {str(one): _column(f"{name}[{one!r}]", frame[one]) for one in names}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise InputError(f"{name} has columns of {sorted(lengths)} rows; give as many in each")
    return Table(name, columns, np.arange(max(lengths, default=0)))


def _column(name: str, values: Any) -> np.ndarray:
    """One column in a form that `Table` has."""
    column = as_array(name, values, "holds cells of unequal shapes")
    if column.ndim != 1:
        raise InputError(f"{name} has shape {column.shape}; give one value per row")
    if column.dtype.kind in "iuf":
        return column.astype(np.float64)
    if column.dtype.kind in "bMm":
        return column
    return np.array([_text(cell) for cell in column.tolist()], object)


def check_names(name: str, names: Sequence[str]) -> None:
    """Refuses a table without columns, or with one of two meanings.

    Raises:
      InputError: no columns, or a name twice.
    """
    if not names:
        raise InputError(f"{name} has no columns; give one with a line of names and rows below it")
    twice = [one for one, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{name} has {Counter(names)[twice[0]]} columns {twice[0]!r}; rename them")


def read_table(path: pathlib.Path) -> Table:
    """All rows of a file.

    Raises:
      InputError: no readable table, a row of another length, or no row.
    """
    parts = []
    for part, ragged in chunks(path):
        if ragged:
            raise InputError(f"{path}: {ragged[0][1]}; mend it")
        parts.append(_compact(part))
    if not parts or not any(map(len, parts)):
        raise InputError(f"{path} holds no rows; give a line of names and rows below it")
    columns = {}
    for name in parts[0].columns:
        pieces = [part.columns[name] for part in parts]
        if len({piece.dtype.kind for piece in pieces}) > 1:  # a part of it is without a value
            pieces = [texts(piece) for piece in pieces]
        columns[name] = np.concatenate(pieces)
    places = np.concatenate([part.places for part in parts])
    return dataclasses.replace(parts[0], columns=columns, places=places)


def _compact(table: Table) -> Table:
    """The same table, text of numbers alone kept as numbers: a tenth of the memory."""
    columns = {}
    for name, column in table.columns.items():
        values = _floats(column.tolist()) if column.dtype.kind == "O" else None
        columns[name] = column if values is None else values
    return dataclasses.replace(table, columns=columns)


def chunks(path: pathlib.Path, size: int = 2**16) -> Iterator[tuple[Table, list[tuple[int, str]]]]:
    """The rows of a `.csv` or `.parquet` file, `size` at a time.

    Returns:
      Tables, and (line, reason) of lines of another length, which are left out.

    Raises:
      InputError: no readable table, or a library that Parquet needs.
    """
    return _csv(path, size) if path.suffix.lower() == ".csv" else _parquet(path, size)


def _csv(path: pathlib.Path, size: int) -> Iterator[tuple[Table, list[tuple[int, str]]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from _lines(path, file, size)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path} is no readable CSV ({error}); write it again") from None
    except OSError as error:
        if of_machine(error):
            raise
        raise InputError(f"{path} does not read ({error.strerror})") from None


def _lines(
    path: pathlib.Path, file: IO[str], size: int
) -> Iterator[tuple[Table, list[tuple[int, str]]]]:
    blank, first = next(((i, line) for i, line in enumerate(file) if line.strip()), (0, ""))
    apart = max(SEPARATORS, key=lambda s: len(next(csv.reader([first], delimiter=s), [])))
    reader = csv.reader(itertools.chain([first], file), delimiter=apart, strict=True)
    names = [name.strip() for name in next(reader, [])]
    check_names(str(path), names)
    empty = [i for i, name in enumerate(names) if not name]
    if empty:
        raise InputError(
            f"{path}: column {empty[0] + 1} has no name in the first line; give it one"
        )
    rows = ((blank + reader.line_num, row) for row in reader if row)
    while lines := list(itertools.islice(rows, size)):
        ragged = [
            (line, f"line {line} has {len(row)} cells, the first line {len(names)}")
            for line, row in lines
            if len(row) != len(names)
        ]
        whole = [(line, row) for line, row in lines if len(row) == len(names)]
        cells = zip(*(row for _, row in whole), strict=True) if whole else [()] * len(names)
        columns = {
            name: np.array([_text(cell) for cell in column], object)
            for name, column in zip(names, cells, strict=True)
        }
        places = np.array([line for line, _ in whole], np.int64)
        yield Table(str(path), columns, places, "line"), ragged


def _parquet(path: pathlib.Path, size: int) -> Iterator[tuple[Table, list[tuple[int, str]]]]:
    start = 0
    for frame in _frames(path, size):
        table = table_of(frame, str(path))
        yield dataclasses.replace(table, places=table.places + start), []
        start += len(table)


def _frames(path: pathlib.Path, size: int) -> Iterator[Any]:
    """Frames of a Parquet file by the first library that is there."""
    try:
        from pyarrow import parquet
    except ImportError:
        yield _read_by_others(path)
        return
    try:
        for batch in parquet.ParquetFile(path).iter_batches(size):
            check_names(str(path), batch.schema.names)
            yield {
                name: batch.column(i).to_numpy(zero_copy_only=False)
                for i, name in enumerate(batch.schema.names)
            }
    except InputError:
        raise
    except Exception as error:  # libraries raise anything of a file that they do not know
        raise _unreadable(path, error) from None


def _read_by_others(path: pathlib.Path) -> Any:
    for library in ("polars", "pandas"):
        try:
            read = __import__(library).read_parquet
        except ImportError:
            continue
        try:
            return read(os.fspath(path))
        except Exception as error:
            raise _unreadable(path, error) from None
    raise InputError(f"{path} needs pyarrow, pandas or polars: pip install 'ad_jax[tables]'")


def _unreadable(path: pathlib.Path, error: Exception) -> Exception:
    """One line of what a library says of a file; the machine's errors stay as they are."""
    if of_machine(error):
        return error
    said = " ".join(str(error).split())[:200]
    return InputError(f"{path} is no readable Parquet file ({said}); write it again")


def _few(names: Iterable[str], most: int = 8) -> str:
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more
