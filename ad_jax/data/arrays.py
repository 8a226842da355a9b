"""Problems from a `.npz` file: images, rows or a series, with labels for all, some or none."""

import contextlib
import os
import pathlib
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from ad_jax.base.errors import InputError, of_machine
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import as_samples, content_hashes, resize, sides_of
from ad_jax.data.truth import Labels, Truth, unlabelled
from ad_jax.data.windows import Cut, Points, as_values, cut_series, end_of_training

LAYOUTS = (
    "X, y (0 = normal); images, labels, split (0 = train, 1 = test); "
    "train, target (held_out, labels optional); or values, train_end (labels optional)"
)


def load_npz(
    path: str | os.PathLike[str],
    *,
    size: int | str | None = None,
    limit: int | None = None,
    normal: str | int | None = None,
    kind: str | None = None,
    length: int | None = None,
    stride: int | None = None,
    train_end: str | float | None = None,
) -> tuple[Problem, Truth]:
    """Read a `.npz` file with one of four sets of arrays.

    - `X`, `y`: rows or images; `y == 0` is normal, any other value a kind of anomaly. Half the
      normals, the first by content, train; the others and all anomalies are the target.
    - `images`, `labels`, `split` (optional `class_names`): the train images of class `normal`
      train, all test images are the target.
    - `train`, `target` (optional `held_out`, and `labels` of the target, 0 = normal).
    - `values`, `train_end` (optional `labels`, 0 = normal): a series `[t]` or `[t, c]`, its first
      `train_end` points normal; its windows are the samples (`windows.cut_series`).

    Args:
      path: the file. Pickled objects in it are not read.
      size: images are resized to this side in px, or to `HEIGHTxWIDTH` (area average,
        or linear where it enlarges).
      limit: the first so many, by content, of train, held-out and target.
      normal: the normal class, by name or number; for `images`, `labels`, `split` only.
      kind: only the anomalies of this kind (class) in the target, beside its normals; for studies.
      length, stride: of the windows of a series, in points.
      train_end: how many first points of a series train, or their share, instead of the file's.

    Returns:
      Problem and its truth; only that of a series has masks.

    Raises:
      InputError: file, layout or option that cannot be used.
    """
    path = pathlib.Path(path)
    keys = set(_keys(path))
    of_series = {"length": length, "stride": stride, "train_end": train_end}
    if "values" in keys and not {"X", "images", "train"} & keys:
        refuse(path, "holds a series", {"size": size, "normal": normal, "kind": kind})
        return _load_series(path, keys, Cut(length, stride, limit), train_end)
    refuse(path, "holds no series (values, train_end)", of_series)
    if {"images", "labels", "split"} <= keys and not {"train", "target"} <= keys:
        return _load_classes(path, keys, size, limit, normal, kind)
    if normal is not None:
        raise InputError(
            f"normal={normal} suits a file with images, labels, split; leave it out for {path}"
        )
    if {"train", "target"} <= keys:
        return _load_parts(path, keys, size, limit, kind)
    if {"X", "y"} <= keys:
        return _load_labelled(path, size, limit, kind)
    found = sorted(keys)
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    raise InputError(
        f"{path} holds {', '.join(found[:8]) or 'no arrays'}{more}; accepted: {LAYOUTS}"
    )


def refuse(path: pathlib.Path, holds: str, options: Mapping[str, object]) -> None:
    """Refuses options that do not suit what a file holds.

    Raises:
      InputError: names the first that is given.
    """
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{path} {holds}, which {name}={value} does not suit; leave it out")


def _load_series(
    path: pathlib.Path, keys: set[str], cut: Cut, train_end: str | float | None
) -> tuple[Problem, Truth]:
    values = as_values(f"values of {path}", _read(path, "values"))
    if train_end is None and "train_end" not in keys:
        raise InputError(f"{path} has no train_end; give train_end=, how many first points train")
    end = end_of_training(_read(path, "train_end") if train_end is None else train_end, len(values))
    unread = unlabelled(str(path))
    if "labels" in keys and _shape(path, "labels") != (len(values),):
        raise InputError(
            f"labels in {path} has shape {_shape(path, 'labels')} for a series of {len(values)} "
            "points; give one label per point"
        )

    def read() -> Points:
        if "labels" not in keys:
            unread()
        return points_of(f"labels in {path}", _read(path, "labels"))

    return cut_series(values, end, read, cut)


def _load_parts(
    path: pathlib.Path, keys: set[str], size: int | str | None, limit: int | None, kind: str | None
) -> tuple[Problem, Truth]:
    parts = {
        name: _sized(name, _read(path, name), size)
        for name in ("train", "target", "held_out")
        if name in keys
    }
    target = parts["target"]
    read = unlabelled(str(path))
    if "labels" in keys:
        # The labels stay on disk until the truth opens; a wrong number of them shows now.
        shape = _shape(path, "labels")
        if shape != (len(target),):
            raise InputError(
                f"labels in {path} has shape {shape} for {len(target)} target samples; "
                "give one label per target sample"
            )

        def read() -> Labels:
            return labels_of(f"labels in {path}", _read(path, "labels"))

    elif kind is not None:
        raise InputError(f"kind={kind} needs labels, which {path} does not have")
    keep = np.arange(len(target))
    if kind is not None:
        keep = _rows_of_kind(path, read().kinds, kind)

    def read_kept() -> Labels:
        return _take(read(), keep)

    return sealed(
        train=parts["train"],
        target=target[keep],
        held_out=parts.get("held_out"),
        names=[f"target[{i}]" for i in keep],
        read=read_kept,
        limit=limit,
        kind=kind,
    )


def _load_classes(
    path: pathlib.Path,
    keys: set[str],
    size: int | str | None,
    limit: int | None,
    normal: str | int | None,
    kind: str | None,
) -> tuple[Problem, Truth]:
    wanted_keys = keys & {"images", "labels", "split", "class_names"}
    arrays = {key: _read(path, key) for key in wanted_keys}
    images, labels, split = arrays["images"], arrays["labels"], arrays["split"]
    for name in ("labels", "split"):
        if arrays[name].shape != images.shape[:1]:
            raise InputError(
                f"{name} in {path} has shape {arrays[name].shape} for {len(images)} images; "
                "give one value per image"
            )
        if arrays[name].dtype.kind not in "bui":
            raise InputError(f"{name} in {path} has dtype {arrays[name].dtype}; give integers")
    if not np.isin(split, (0, 1)).all():
        raise InputError(f"split in {path} holds values beside 0 (train) and 1 (test)")
    class_names = [str(c) for c in np.atleast_1d(arrays.get("class_names", []))]
    numbers = [int(v) for v in np.unique(labels)]
    names = {v: class_names[v] if 0 <= v < len(class_names) else str(v) for v in numbers}
    wanted = _class_number(path, "normal", normal, names)
    is_target = split == 1
    if kind is not None:
        other = _class_number(path, "kind", kind, names)
        if other == wanted:
            raise InputError(f"kind={kind} is the normal class; give another one")
        is_target &= (labels == wanted) | (labels == other)
    target_rows = np.flatnonzero(is_target)
    target_labels = labels[target_rows]

    def read() -> Labels:
        kinds = ["" if v == wanted else names[int(v)] for v in target_labels]
        return Labels((target_labels != wanted).astype(np.uint8), kinds)

    train_rows = np.flatnonzero((split == 0) & (labels == wanted))
    return sealed(
        train=_sized("images", images[train_rows], size),
        target=_sized("images", images[target_rows], size),
        names=[f"images[{i}]" for i in target_rows],
        read=read,
        limit=limit,
        normals={"train": [f"images[{i}]" for i in train_rows]},
        kind=kind,
    )


def _load_labelled(
    path: pathlib.Path, size: int | str | None, limit: int | None, kind: str | None
) -> tuple[Problem, Truth]:
    samples, y = _sized("X", _read(path, "X"), size), _read(path, "y")
    if y.shape != (len(samples),):
        raise InputError(
            f"y in {path} has shape {y.shape} for {len(samples)} samples in X; "
            "give one label per sample"
        )
    labels = labels_of(f"y in {path}", y)
    hashes = content_hashes(samples)
    normals = sorted(np.flatnonzero(labels.anomalous == 0).tolist(), key=hashes.__getitem__)
    train = normals[: len(normals) // 2]
    target = np.setdiff1d(np.arange(len(samples)), train)
    if kind is not None:
        target = target[_rows_of_kind(path, [labels.kinds[i] for i in target], kind)]
    return sealed(
        train=samples[train],
        target=samples[target],
        names=[f"X[{i}]" for i in target],
        read=lambda: _take(labels, target),
        limit=limit,
        normals={"train": [f"X[{i}]" for i in train]},
        kind=kind,
    )


def _keys(path: pathlib.Path) -> list[str]:
    """Names of the arrays in the file."""
    with _readable(path), open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        return list(arrays.files)


def _read(path: pathlib.Path, key: str) -> np.ndarray:
    """One array of the file."""
    # Opened here: left to numpy, a file that fails to load would stay open.
    with (
        _readable(path, key),
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return arrays[key]


@contextlib.contextmanager
def _readable(path: pathlib.Path, key: str | None = None) -> Iterator[None]:
    """Turn what numpy and zip say about a file that cannot be read into one line for its owner."""
    what = f"array {key} of {path}" if key else str(path)
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a .npz file or a folder") from None
    except KeyError:
        raise InputError(f"{path} no longer holds {key}; give the file as it was") from None
    except Exception as error:  # numpy and zip raise anything: encrypted, of an odd compression, …
        if of_machine(error):
            raise
        text = " ".join(str(error).split())[:200]
        if "pickle" in text:  # numpy takes what it does not know for a pickle, which is not read
            text = "objects, or no .npz file"
        raise InputError(f"{what} cannot be read ({text}); save numbers with numpy.savez") from None


def _shape(path: pathlib.Path, key: str) -> tuple[int, ...]:
    """Shape of one array from its header alone: the values stay unread."""
    with (
        _readable(path, key),
        zipfile.ZipFile(path) as archive,
        archive.open(f"{key}.npy") as member,
    ):
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        return read(member)[0]


def _sized(name: str, array: np.ndarray, size: int | str | None) -> np.ndarray:
    samples = as_samples(name, array)
    if size is None:
        return samples
    if samples.ndim != 4:
        raise InputError(f"size={size} suits images only, but {name} holds rows; leave it out")
    return resize(samples, *sides_of(size))


def labels_of(name: str, values: np.ndarray) -> Labels:
    """Labels from one value per sample; 0 is normal."""
    whole = values.dtype.kind in "bui" or (
        values.dtype.kind == "f"
        and bool(((abs(values) < 2.0**63) & (values == np.floor(values))).all())
    )
    if not whole:
        raise InputError(f"{name} has values that are not whole; give 0 for normal, else 1")
    values = values.astype(np.int64)
    several = len(np.unique(values[values != 0])) > 1
    kinds = ["" if v == 0 else str(v) if several else "anomaly" for v in values]
    return Labels((values != 0).astype(np.uint8), kinds)


def points_of(name: str, values: np.ndarray) -> Points:
    """Labels of the points of a series from one value each; 0 is normal."""
    labels = labels_of(name, values)
    return Points(labels.anomalous, labels.kinds)


def _rows_of_kind(path: pathlib.Path, kinds: list[str], kind: str) -> np.ndarray:
    known = sorted(set(kinds) - {""})
    if str(kind) not in known:
        raise InputError(f"kind={kind} is not in {path}; known: {', '.join(known)}")
    return np.array([i for i, k in enumerate(kinds) if k in ("", str(kind))])


def _class_number(
    path: pathlib.Path, option: str, value: str | int | None, names: dict[int, str]
) -> int:
    known = ", ".join(n if n == str(v) else f"{v} ({n})" for v, n in names.items())
    if value is None:
        raise InputError(f"{path} holds classes; give {option}=<class>, one of: {known}")
    for number, name in names.items():
        if name == str(value):
            return number
    for number in names:
        if str(number) == str(value):
            return number
    raise InputError(f"{option}={value} is no class of {path}; known: {known}")


def _take(labels: Labels, rows: np.ndarray) -> Labels:
    return Labels(labels.anomalous[rows], [labels.kinds[i] for i in rows])
