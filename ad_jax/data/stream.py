"""Samples to score, a batch at a time: images, single files, a `.npz`, a table or a series.

Pictures are loaded by the code that loads a folder for training (`ad_jax.data.pictures`).
"""

from __future__ import annotations

import os
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data import pictures
from ad_jax.data.arrays import _keys, _read
from ad_jax.data.columns import Columns, say_missing
from ad_jax.data.frame import ENDINGS, Table, chunks
from ad_jax.data.layout import Passed, images_below
from ad_jax.data.pictures import MAX_PIXELS, Picture, Reading, in_colour
from ad_jax.data.samples import as_samples, resize
from ad_jax.data.scale import Tally
from ad_jax.data.series_tables import gaps, read_table
from ad_jax.data.windows import as_values, at, starts_between

BATCH = 256  # samples read at a time
ARRAYS = ("target", "images", "X")  # of a .npz, the first that it holds


class Line(NamedTuple):
    """A long series that is scored window by window.

    Attributes:
      path: as shown.
      points, length: of it, and of a window, in points.
      stamps: cells `[points]` of its column of time, as of a `frame.Table`; None without.
    """

    path: str
    points: int
    length: int
    stamps: np.ndarray | None


class Batch(NamedTuple):
    """Some samples, and what did not read.

    Attributes:
      names: of the samples.
      samples: `[n, h, w, c]`, `[n, t, c]` or `[n, d]`; n may be 0.
      bad: (name, reason) of the files that did not read.
      line: the series that the samples are windows of, the same object in all of its batches.
      starts: `[n]` first point of each of these windows.
    """

    names: list[str]
    samples: np.ndarray
    bad: list[tuple[str, str]]
    line: Line | None = None
    starts: np.ndarray | None = None


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts `a2` before `a10`.

    >>> sorted(["a10", "a2", "b"], key=natural)
    ['a2', 'a10', 'b']
    """
    return [
        (0, int(piece)) if piece.isascii() and piece.isdigit() else (1, piece)
        for piece in re.split(r"([0-9]+)", name)
        if piece
    ]


def _in_order(path: pathlib.Path) -> tuple[Any, str]:
    return natural(path.name), path.name


def stream(
    sources: Iterable[str | None],
    shape: tuple[int, ...],
    fit: str = "stretch",
    size: int = BATCH,
    *,
    range: tuple[float, float] | None = None,
    dtype: str = "uint8",
    max_pixels: int = MAX_PIXELS,
    columns: Columns | None = None,
) -> Iterator[Batch]:
    """Samples of `shape` from folders (any layout), images, `.npz` files and tables, in order.

    Of a `.npz` the first of the arrays target, images, X is read, resized like
    `ad_jax.load(…, size=)` does; labels in it stay unread. Tables (`.csv`, `.parquet`) are read a
    batch at a time; columns that training did not have are passed over. Where samples are series, a
    table or a `.npz` of `values` is one long series: its windows are scored, every eighth of a
    window, none across a gap in time. Folders of masks, and files whose name ends in `_mask`, are
    passed over unless they are named themselves. At the end a warning each says what was passed
    over, clipped or missing, and which pictures have another depth than the normals.

    Args:
      sources: paths; they are taken one at a time, so the list may be endless. None among them
        ends a batch early: no other path has come yet.
      shape: `(h, w, c)`, `(t, c)` or `(d,)` of a sample.
      fit: how a picture gets the sample's sides.
      size: samples a batch.
      range: values of files of more than 8 bits that become black and white, as for the normals.
      dtype: of the normals: "uint8", or "float32" in [0, 1].
      max_pixels: largest image that is decoded.
      columns: how columns of a table become numbers, as for the normals.

    Raises:
      InputError: a folder, `.npz` or table that cannot be used, or pictures where samples are rows.
    """
    sides = (shape[0], shape[1]) if len(shape) == 3 else (1, 1)  # rows: no picture is read
    reading = Reading(sides, fit, range, dtype, max_pixels)
    reading.check()
    passed, tally = Passed(), Tally(reading)
    with pictures.threads() as pool:
        for files in _batches(_files(sources, passed), size):
            if len(shape) == 2 and _is_series(files[0]):
                yield from _of_series(files[0], shape, size)
                continue
            if _of_arrays(files[0]) and os.path.lexists(files[0]):
                if _is_npz(files[0]):
                    yield from _of_npz(files[0], shape, size)
                else:
                    yield from _of_table(files[0], columns, size)
                continue
            if not _of_arrays(files[0]):
                _check_pictures(shape)
            found = pictures.in_threads(pool, partial(pictures.read, reading=reading), files)
            both = list(zip(map(_shown, files), found, strict=True))
            good = [(name, one) for name, one in both if isinstance(one, Picture)]
            kept = [in_colour(one.pixels, shape[2] == 1) for _, one in good]
            samples = np.stack(kept) if kept else np.zeros((0, *shape), dtype)
            bad = [(name, one) for name, one in both if isinstance(one, str)]
            tally.count(one for _, one in good)
            yield Batch([name for name, _ in good], samples, bad)
    passed.say("scored folders")
    tally.say("scored images")


def _files(sources: Iterable[str | None], passed: Passed) -> Iterator[pathlib.Path | None]:
    for text in sources:
        path = None if text is None else pathlib.Path(os.path.expanduser(text))
        if path is not None and os.path.isdir(path):  # false of any name, however long
            yield from images_below(path, _in_order, passed)
        else:
            yield path


def _is_npz(path: pathlib.Path) -> bool:
    return path.suffix.lower() == ".npz"


def _is_table(path: pathlib.Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _of_arrays(path: pathlib.Path) -> bool:
    """Whether a file holds many samples, not one picture."""
    return _is_npz(path) or _is_table(path)


def _is_series(path: pathlib.Path) -> bool:
    """Whether a file holds one long series."""
    return _is_table(path) or (_is_npz(path) and os.path.lexists(path) and "values" in _keys(path))


def _batches(files: Iterable[pathlib.Path | None], size: int) -> Iterator[list[pathlib.Path]]:
    """Up to `size` pictures, or one file of many samples."""
    some: list[pathlib.Path] = []
    for path in files:
        if some and (path is None or _of_arrays(path)):
            yield some
            some = []
        if path is None:
            continue
        some.append(path)
        if _of_arrays(path) or len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _shown(path: pathlib.Path) -> str:
    """A path as UTF-8 text."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")


def _check_pictures(shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise InputError(
            f"the detector takes samples of shape {shape}, which pictures are not loaded as; "
            "give a .npz with target, images or X, or a table"
        )


def _of_series(path: pathlib.Path, shape: tuple[int, ...], size: int) -> Iterator[Batch]:
    """Windows of one long series, in their order."""
    length, channels = shape
    if _is_table(path):
        table = read_table(path)
        values, breaks, stamps = table.values, gaps(table.times), table.stamps
    else:
        values = as_values(f"values of {_shown(path)}", _read(path, "values"))
        breaks, stamps = [], None
    if values.shape[1] != channels:
        raise InputError(
            f"{_shown(path)} has {values.shape[1]} channels, and the detector takes {channels}"
        )
    starting = starts_between(0, len(values), length, max(1, length // 8), breaks)
    if not len(starting):
        raise InputError(f"{_shown(path)} holds no window of {length} points without a gap")
    line = Line(_shown(path), len(values), length, stamps)
    for start in range(0, len(starting), size):
        some = starting[start : start + size]
        names = [f"{_shown(path)}:values[{i}:{i + length}]" for i in some]
        yield Batch(names, at(values, some, length), [], line, some)


def _of_npz(path: pathlib.Path, shape: tuple[int, ...], size: int) -> Iterator[Batch]:
    keys = _keys(path)
    name = next((one for one in ARRAYS if one in keys), None)
    if name is None:
        raise InputError(
            f"{path} holds {', '.join(keys[:8]) or 'no arrays'}; give one of: {', '.join(ARRAYS)}"
        )
    samples = _read(path, name)
    if samples.ndim == 3 and len(shape) == 3:
        samples = samples[..., None]
    if samples.ndim == 4 and len(shape) == 3 and samples.shape[1:3] != shape[:2]:
        samples = resize(as_samples(name, samples), *shape[:2])
    for start in range(0, len(samples), size):
        block = samples[start : start + size]
        yield Batch([f"{_shown(path)}:{name}[{start + i}]" for i in range(len(block))], block, [])


def _of_table(path: pathlib.Path, columns: Columns | None, size: int) -> Iterator[Batch]:
    if columns is None:
        raise InputError(
            f"{path} is a table, and the detector knows no columns, as it was trained on none; "
            "give a .npz with X, or train on a table"
        )
    missing: Counter[str] = Counter()
    for table, ragged in chunks(path, size):
        bad = [(f"{_shown(path)}:line {line}", reason) for line, reason in ragged]
        good, rows = _encoded(table, columns, bad, missing)
        names = [f"{_shown(path)}:{table.place} {place}" for place in table.places[good]]
        yield Batch(names, rows, bad)
    say_missing(str(path), missing)


def _encoded(
    table: Table, columns: Columns, bad: list[tuple[str, str]], missing: Counter[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of a table can be used, and their numbers; the others are added to `bad`."""
    everything = np.arange(len(table))
    try:
        rows, counts = columns.numbers_of(table)
        missing.update(counts)
        return everything, rows
    except InputError:
        columns.check(table)
    good, found, where = [], [], _shown(pathlib.Path(table.name))
    for i in everything:
        try:
            row, counts = columns.numbers_of(table.take([i]))
        except InputError as error:
            reason = str(error).removeprefix(f"{table.name}: ")
            bad.append((f"{where}:{table.place} {table.places[i]}", reason))
        else:
            missing.update(counts)
            good.append(i)
            found.append(row)
    width = len(columns.labels)
    return np.array(good, int), np.concatenate(found or [np.zeros((0, width), np.float32)])
