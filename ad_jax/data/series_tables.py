"""Series from tables, CSV or Parquet: a column of time, a column of labels, the others channels."""

import datetime
import os
import pathlib
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data import frame
from ad_jax.data.arrays import load_npz, points_of
from ad_jax.data.frame import Table, numbers, texts
from ad_jax.data.problem import Problem
from ad_jax.data.truth import Truth
from ad_jax.data.windows import Cut, Points, as_values, cut_series, end_of_training

TIMES = ("time", "timestamp", "datetime", "date", "ds")  # titles of the column of time
LABELS = ("label", "labels", "anomaly", "is_anomaly")  # and of that of labels, in any case
GAP = 1.5  # median steps: a longer one is a gap
ISO = "ISO 8601 (2014-07-01 00:30:00)"


class Read(NamedTuple):
    """What a table says of a series.

    Attributes:
      values: `[t, c]` float32; times: `[t]` seconds, or numbers as they stand; None without.
      labels: the table of that column alone, not looked at yet; None without.
      dated: whether the times are dates.
      stamps: cells `[t]` of the column of time as they stand; None without.
    """

    values: np.ndarray
    times: np.ndarray | None
    labels: Table | None
    dated: bool
    stamps: np.ndarray | None


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

    A CSV file is UTF-8, has a line of titles, and its cells are parted by `,`, `;` or tabs; Parquet
    needs pyarrow, pandas or polars. Every column is a channel, but those of time and labels, which
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
        return points_of(f"labels in {path}", _labels(found.labels))

    return cut_series(found.values, end, read, Cut(length, stride, limit, gaps(found.times)))


def read_table(path: pathlib.Path, time: str | None = None, label: str | None = None) -> Read:
    """A table's series, its times and labels; see `load_table`."""
    if path.suffix.lower() not in frame.ENDINGS:
        known = ", ".join(frame.ENDINGS)
        raise InputError(f"{path} is a file of an unknown kind; give one of {known}")
    table = frame.read_table(path)
    if any(_is_number(title) for title in table.columns):
        raise InputError(f"{path} has no line of titles; let its first line name the columns")
    when = _title(table, "time", time, TIMES)
    label = _title(table, "label", label, LABELS)
    if when is None:
        others = table.without([label or ""]).columns.items()
        when = next((title for title, cells in others if _dated(cells)), None)
    rest = [title for title in table.columns if title not in (when, label)]
    if not rest:
        raise InputError(f"{path} has no column of values beside {', '.join(table.columns)}")
    wrong = "no number; mend it, or name it: time= or label="
    values = np.stack([_numbers(table, title, wrong) for title in rest], 1)
    times, dated = (None, False) if when is None else _times(table, when)
    labels = None if label is None else table.without(set(table.columns) - {label})
    stamps = None if when is None else table.columns[when]
    return Read(as_values(f"{path}", values), times, labels, dated, stamps)


def gaps(times: np.ndarray | None) -> list[int]:
    """Rows before which time is missing: a step of more than 1.5 median steps."""
    if times is None or len(times) < 2:
        return []
    steps = np.diff(times)
    return (np.flatnonzero(steps > GAP * np.median(steps)) + 1).tolist()


def _title(table: Table, option: str, given: str | None, usual: tuple[str, ...]) -> str | None:
    """Title of the column of time or labels: the one named, else a usual one."""
    if given is not None:
        table.column(given, option)
        return given
    found = [title for title in table.columns if title.lower() in usual]
    if len(found) > 1:
        raise InputError(
            f"{table.name} has {len(found)} columns for {option}, {', '.join(found)}; "
            f"give {option}="
        )
    return found[0] if found else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _date(text: str) -> datetime.datetime | None:
    """A text as a time, None if it is no date; one without a zone counts as UTC."""
    if len(text) < 10 or text.isdigit():  # 20140701 is a number
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def _dated(cells: np.ndarray) -> bool:
    """Whether a column begins with a date; one of numbers alone is no text."""
    return cells.dtype.kind in "OM" and _date(texts(cells[:1])[0]) is not None


def _place(table: Table, row: int) -> str:
    return f"{table.name}: {table.place} {table.places[row]}"


def _numbers(table: Table, title: str, wrong: str) -> np.ndarray:
    """A column of numbers `[t]` float64; the first cell that is none is named.

    `wrong` says what is wrong with text, and the fix.
    """
    column = table.columns[title]
    values, no_number = numbers(column)
    bad = np.flatnonzero(~np.isfinite(values))
    if not len(bad):
        return values
    place, cell = _place(table, bad[0]), texts(column[bad[:1]])[0]
    if not no_number[bad[0]]:
        raise InputError(
            f"{place} has no value in column {title!r}; fill it, or leave the line out, which is a "
            "gap if there are times"
        )
    wrong = wrong if np.isnan(values[bad[0]]) else "not finite; fill it"
    raise InputError(f"{place} holds {cell[:40]!r} in column {title!r}, {wrong}")


def _times(table: Table, title: str) -> tuple[np.ndarray, bool]:
    """Times `[t]` in seconds or as numbers, strictly ascending, and whether they are dates."""
    column = table.columns[title]
    dated = _dated(column)
    if dated:
        dates = [_date(cell) for cell in texts(column).tolist()]
        if None in dates:
            row = dates.index(None)
            raise InputError(
                f"{_place(table, row)} holds {texts(column)[row][:40]!r} in column {title!r}, no "
                f"time; give {ISO}"
            )
        times = np.array([one.timestamp() for one in dates if one])
    else:
        times = _numbers(table, title, f"neither a number nor {ISO}")
    bad = np.flatnonzero(np.diff(times) <= 0)
    if len(bad):
        before, now = texts(column[bad[0] : bad[0] + 2])
        what = "repeats the time" if now == before else f"({now}) is earlier than"
        raise InputError(
            f"{_place(table, bad[0] + 1)} {what} of the {table.place} before ({before}); sort the "
            f"lines by {title!r}, and keep one of each time"
        )
    return times, dated


def _end(path: pathlib.Path, found: Read, given: str | float) -> int:
    """How many points train, by a number, a share or a time."""
    asked = _date(str(given).strip())
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


def _labels(table: Table) -> np.ndarray:
    """Labels `[t]` as numbers."""
    (column,) = table.columns.values()
    values, _ = numbers(column)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        cell = texts(column[bad[:1]])[0]
        said = f"the label {cell!r}" if cell else "no label"
        raise InputError(f"{_place(table, bad[0])} has {said}; give 0 (normal) or 1")
    return values
