"""What people hold of samples, as arrays: lists of image files, and frames.

Arrays of any library stay as they are: `data.samples` takes them.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.modality import modality
from ad_jax.data import columns, pictures
from ad_jax.data.folder import read_all
from ad_jax.data.frame import table_of
from ad_jax.data.pictures import Picture, Reading
from ad_jax.data.samples import sides_of
from ad_jax.detect.state import Loading


def files_of(value: Any) -> list[pathlib.Path]:
    """Files of a list, tuple or array of paths; nothing of any other value."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "U" and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return []
    if not all(isinstance(one, str | os.PathLike) for one in value):
        return []
    return [pathlib.Path(one).expanduser().absolute() for one in value]


def is_frame(value: Any) -> bool:
    """Whether a value has named columns, as frames of pandas and polars do."""
    named = getattr(value, "columns", None)
    return named is not None and not callable(named) and hasattr(value, "__getitem__")


def normals_of(name: str, value: Any, size: int | str, series: bool) -> tuple[Any, Loading | None]:
    """Normals as an array, and how further samples become alike.

    Args:
      name: of the value, for errors.
      value: an array, which stays as it is; a list of image files; a frame.
      size: side of the samples of image files in px, or `HEIGHTxWIDTH`.
      series: whether these are series, of which a frame holds one a row and no columns of a kind.

    Raises:
      InputError: files or columns that cannot be used.

    Returns:
      The array, and None if it was one.
    """
    if files := files_of(value):
        root = _root(files)
        seen, reading = read_all(root, {"train": files}, Reading(sides_of(size)), skip_bad=None)
        grey = all(seen[file].pixels.shape[2] == 1 for file in files)
        return _stacked([seen[file] for file in files], grey), Loading(reading.fit, reading.range)
    if is_frame(value) and not series:
        known = columns.fit(table_of(value, name))
        return known.encode(value, name), Loading(columns=known)
    return value, None


def samples_of(
    name: str, value: Any, loading: Loading | None, shape: tuple[int, ...], dtype: str
) -> Any:
    """Further samples as an array, brought to what the normals are.

    Args:
      name: of the value, for errors.
      value: an array, which stays as it is; a list of image files; a frame.
      loading: how files and frames of the normals became arrays, None if not known.
      shape: of one sample.
      dtype: of the normals.

    Raises:
      InputError: files or columns that cannot be used, or files where samples are no images.
    """
    if files := files_of(value):
        if modality(shape) != "image":
            raise InputError(
                f"{name} is a list of files and samples have shape {shape}; give an array"
            )
        return _read(name, files, loading or Loading(), shape, dtype)
    if is_frame(value) and loading is not None and loading.columns is not None:
        return loading.columns.encode(value, name)
    return value


def _read(
    name: str, files: list[pathlib.Path], loading: Loading, shape: tuple[int, ...], dtype: str
) -> np.ndarray:
    reading = Reading((shape[0], shape[1]), loading.fit, loading.range, dtype)
    with pictures.threads() as pool:
        found = pictures.in_threads(pool, partial(pictures.read, reading=reading), files)
    bad = [f"{file} ({why})" for file, why in zip(files, found) if isinstance(why, str)]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InputError(f"{name}: {bad[0]}{more} cannot be read; mend or leave out")
    return _stacked([one for one in found if isinstance(one, Picture)], shape[2] == 1)


def _stacked(seen: Sequence[Picture], grey: bool) -> np.ndarray:
    return np.stack([pictures.in_colour(one.pixels, grey) for one in seen])


def _root(files: Sequence[pathlib.Path]) -> pathlib.Path:
    """The folder that holds all of them: what is said of several files names it once."""
    return pathlib.Path(os.path.commonpath([file.parent for file in files]))
