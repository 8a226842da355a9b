"""Series from tables, CSV or Parquet: a column of time, a column of labels, the others channels."""

import csv
import datetime
import importlib.util
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError, of_machine
from ad_jax.data.arrays import load_npz, points_of
from ad_jax.data.problem import Problem
from ad_jax.data.truth import Truth
from ad_jax.data.windows import Cut, Points, as_values, cut_series, end_of_training

TIMES = ("time", "timestamp", "datetime", "date", "ds")  # titles of the column of time
LABELS = ("label", "labels", "anomaly", "is_anomaly")  # and of that of labels, in any case
SEPARATORS = ",;\t"
GAP = 1.5  # median steps: a longer one is a gap
PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", *PARQUET)
_WORDS = {"false": "0", "true": "1"}


class Columns(NamedTuple):
    """A table of a series.

    Attributes:
      titles, cells: of the columns as they stand, cells `[t]` of text, numbers or times.
      first: line of the file that holds the first row, for messages.
    """

    titles: list[str]
    cells: list[Sequence[object]]
    first: int


class Read(NamedTuple):
    """What a table says of a series.

    Attributes:
      values: `[t, c]` float32; times: `[t]` seconds, or numbers as they stand; None without.
      labels: cells `[t]`, not looked at yet; None without.
      dated: whether the times are dates.
    """

    values: np.ndarray
    times: np.ndarray | None
    labels: Sequence[object] | None
    dated: bool


def load_table(
    path: str | os.PathLike[str],
    *,
    time: str | None = None,
    label: str | None = None,
    train_end: str | float | None = None,
    length: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
) -> tuple[Problem, Truth]:
    """The problem of the series in a table, and its sealed truth; a `.npz` is read as such.

    A CSV file is UTF-8, has a line of titles, and its cells are parted by `,`, `;` or tabs. Parquet
    is read if pyarrow is installed. Every column is a channel, but those of time and labels, which
    are found by their titles (`TIMES`, `LABELS`) or named; without such a title, a column whose
    first cell is a date is the time. Times are numbers or ISO 8601 (2014-07-01 00:30:00), strictly
    ascending; where they step by more than 1.5 of their median step, time is missing, and no
    window reaches across. Without times every row is one step.

    Args:
      path: of the file.
      time, label: titles of the columns of time and of labels (0 or false = normal).
      train_end: how many first points train, or their share below 1, or the time that the target
        begins at, if times are dates.
      length, stride, limit: see `series.from_arrays`.

    Raises:
      InputError: a table, time, value or option that cannot be used; the first line is named.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() == ".npz":
        if time is not None or label is not None:
            raise InputError(f"{path} has no columns; leave time= and label= out")
        return load_npz(path, length=length, stride=stride, train_end=train_end, limit=limit)
    found = read_table(path, time, label)
    if train_end is None:
        raise InputError(
            f"{path} does not say what is normal; give train_end=, how many first points train, "
            "their share, or a time"
        )
    end = _end(path, found, train_end)

    def read() -> Points:
        if found.labels is None:
            raise InputError(f"the target of {path} has no labels; give label=, their column")
        return points_of(f"labels in {path}", _labels(path, found.labels))

    return cut_series(found.values, end, read, Cut(length, stride, limit, gaps(found.times)))


def read_table(path: pathlib.Path, time: str | None = None, label: str | None = None) -> Read:
    """A table's series, its times and labels; see `load_table`."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is a file of an unknown kind; give one of {', '.join(SUFFIXES)}")
    table = _parquet(path) if path.suffix.lower() in PARQUET else _csv(path)
    place_of = {"time": _place(path, table, "time", time, TIMES)}
    place_of["label"] = _place(path, table, "label", label, LABELS)
    if place_of["time"] is None:
        place_of["time"] = next(
            (i for i, cells in enumerate(table.cells) if _date(cells[0]) is not None), None
        )
    rest = [i for i in range(len(table.titles)) if i not in place_of.values()]
    if not rest:
        raise InputError(f"{path} has no column of values beside {', '.join(table.titles)}")
    values = np.stack([_numbers(path, table, i) for i in rest], 1)
    times, dated = None, False
    if place_of["time"] is not None:
        times, dated = _times(path, table, place_of["time"])
    labels = None if place_of["label"] is None else table.cells[place_of["label"]]
    return Read(as_values(f"{path}", values), times, labels, dated)


def gaps(times: np.ndarray | None) -> list[int]:
    """Rows before which time is missing: a step of more than 1.5 median steps."""
    if times is None or len(times) < 2:
        return []
    steps = np.diff(times)
    return (np.flatnonzero(steps > GAP * np.median(steps)) + 1).tolist()


def _csv(path: pathlib.Path) -> Columns:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = max(SEPARATORS, key=head.count)
            rows = [row for row in csv.reader(file, delimiter=separator) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if of_machine(error):
            raise
        raise InputError(f"{path} does not read ({error}); give a CSV file in UTF-8") from None
    titles = [cell.strip() for cell in rows[0]] if rows else []
    if len(rows) < 2:
        raise InputError(f"{path} holds no rows below its line of titles")
    if any(_is(float, title) for title in titles):
        raise InputError(f"{path} has no line of titles; let its first line name the columns")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(titles):
            raise InputError(
                f"{path}: line {number} has {len(row)} cells for {len(titles)} columns; mend it"
            )
    return _titled(path, titles, [list(column) for column in zip(*rows[1:], strict=True)])


def _parquet(path: pathlib.Path) -> Columns:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{path} needs pyarrow to be read; install it, or give a CSV file")
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path).to_pydict()
    except (OSError, ArrowException) as error:
        if of_machine(error):
            raise
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{path} does not read ({said}); give a Parquet file") from None
    if not table or not len(next(iter(table.values()))):
        raise InputError(f"{path} holds no rows")
    return _titled(path, list(table), list(table.values()))


def _titled(path: pathlib.Path, titles: list[str], cells: list[Sequence[object]]) -> Columns:
    for title in titles:
        if titles.count(title) > 1:
            raise InputError(f"{path} has {titles.count(title)} columns {title!r}; leave one")
    return Columns(titles, cells, 2)


def _place(
    path: pathlib.Path, table: Columns, option: str, given: str | None, usual: tuple[str, ...]
) -> int | None:
    """Column of time or labels: the one named, else one of a usual title."""
    if given is not None:
        if given not in table.titles:
            raise InputError(
                f"{option}={given} is no column of {path}; known: {', '.join(table.titles)}"
            )
        return table.titles.index(given)
    found = [i for i, title in enumerate(table.titles) if title.lower() in usual]
    if len(found) > 1:
        raise InputError(
            f"{path} has {len(found)} columns for {option}, "
            f"{', '.join(table.titles[i] for i in found)}; give {option}="
        )
    return found[0] if found else None


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _date(cell: object) -> datetime.datetime | None:
    """A cell as a time, None if it is no date; one without a zone counts as UTC."""
    if isinstance(cell, str):
        text = cell.strip()
        if len(text) < 10 or text.isdigit():  # 20140701 is a number
            return None
        try:
            cell = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
    if isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
        cell = datetime.datetime(cell.year, cell.month, cell.day)
    if not isinstance(cell, datetime.datetime):
        return None
    return cell if cell.tzinfo else cell.replace(tzinfo=datetime.UTC)


def _missing(cell: object) -> bool:
    text = str(cell).strip().lower()
    return cell is None or text in ("", "nan", "na", "null", "none")


def _numbers(path: pathlib.Path, table: Columns, column: int) -> np.ndarray:
    """A column of numbers `[t]` float64; the first cell that is none is named."""
    cells, title = table.cells[column], table.titles[column]
    try:
        values = np.array([float(cell) for cell in cells])  # type: ignore[arg-type]
        if np.isfinite(values).all():
            return values
    except (TypeError, ValueError):
        pass
    for line, cell in enumerate(cells, table.first):
        if _missing(cell):
            raise InputError(
                f"{path}: line {line} has no value in column {title!r}; fill it, or leave the line "
                "out, which is a gap if there are times"
            )
        if not (isinstance(cell, (int, float)) or _is(float, str(cell))):
            raise InputError(
                f"{path}: line {line} holds {str(cell)[:40]!r} in column {title!r}, no number; "
                "mend it, or name it: time= or label="
            )
        if not np.isfinite(float(cell)):  # type: ignore[arg-type]
            raise InputError(f"{path}: line {line} holds {cell} in column {title!r}; fill it")
    raise AssertionError(title)


def _times(path: pathlib.Path, table: Columns, column: int) -> tuple[np.ndarray, bool]:
    """Times `[t]` in seconds or as numbers, and whether they are dates; strictly ascending."""
    cells, title = table.cells[column], table.titles[column]
    dates = [_date(cell) for cell in cells]
    dated = dates[0] is not None
    if dated:
        for line, one in enumerate(dates, table.first):
            if one is None:
                raise InputError(
                    f"{path}: line {line} holds {str(cells[line - table.first])[:40]!r} in column "
                    f"{title!r}, no time; give ISO 8601 (2014-07-01 00:30:00)"
                )
        times = np.array([one.timestamp() for one in dates])  # type: ignore[union-attr]
    else:
        if not _missing(cells[0]) and not _is(float, str(cells[0])):
            raise InputError(
                f"{path}: line {table.first} holds {str(cells[0])[:40]!r} in column {title!r}, "
                "neither a number nor ISO 8601 (2014-07-01 00:30:00)"
            )
        times = _numbers(path, table, column)
    bad = np.flatnonzero(np.diff(times) <= 0)
    if len(bad):
        line = int(bad[0]) + table.first + 1
        now, before = cells[line - table.first], cells[line - table.first - 1]
        what = "repeats the time" if now == before else f"({now}) is earlier than"
        raise InputError(
            f"{path}: line {line} {what} of the line before ({before}); sort the lines by "
            f"{title!r}, and keep one of each time"
        )
    return times, dated


def _end(path: pathlib.Path, found: Read, given: str | float) -> int:
    """How many points train, by a number, a share or a time."""
    asked = _date(given)
    if asked is None:
        return end_of_training(given, len(found.values))
    if not found.dated or found.times is None:
        raise InputError(f"train_end={given} is a time, and {path} has no column of dates")
    end = int(np.searchsorted(found.times, asked.timestamp(), side="left"))
    if not 0 < end < len(found.values):
        raise InputError(
            f"train_end={given} leaves {end} of {len(found.values)} points of {path} to train on; "
            "give a time between the first and the last"
        )
    return end


def _labels(path: pathlib.Path, cells: Sequence[object]) -> np.ndarray:
    """Labels `[t]` as numbers."""
    out = np.zeros(len(cells))
    for i, cell in enumerate(cells):
        text = str(cell).strip().lower()
        text = _WORDS.get(text, text)
        if not _is(float, text):
            raise InputError(
                f"{path}: line {i + 2} has the label {str(cell)!r}; give 0 (normal) or 1"
            )
        out[i] = float(text)
    return out
