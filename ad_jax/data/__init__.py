"""Sources of problems: `load` turns the name of a source into a problem and its sealed truth."""

import os
import pathlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ad_jax.base.errors import InputError
from ad_jax.base.parameters import whole
from ad_jax.data.arrays import load_npz
from ad_jax.data.duplicates import Duplicates
from ad_jax.data.embedded import load_digits, load_textures
from ad_jax.data.folder import load_folder
from ad_jax.data.frame import ENDINGS
from ad_jax.data.planted import load_planted
from ad_jax.data.problem import Problem, Split
from ad_jax.data.samples import size_of
from ad_jax.data.series import load_series
from ad_jax.data.series_tables import load_table as load_series_table
from ad_jax.data.tables import EXAMPLE, load_sklearn, load_table
from ad_jax.data.tfds import load_tfds
from ad_jax.data.truth import Labels, Truth
from ad_jax.data.turning import MOST

__all__ = [
    "SOURCES",
    "Duplicates",
    "Labels",
    "Problem",
    "Split",
    "Truth",
    "load",
    "parse",
    "paths_of",
    "there",
]

ROOT_VARIABLE = "AD_JAX_DATA"  # relative paths not found here are looked up below its folder


class Source(NamedTuple):
    """One kind of source: its loader, its options, and what the loader takes first.

    That is nothing (""), a "path", or behind the colon of the source a "name" or the path of a
    "file".
    """

    load: Callable[..., tuple[Problem, Truth]]
    options: tuple[str, ...]
    takes: str = ""


_TEXTURE_OPTIONS = ("size", "limit")
_SERIES_OPTIONS = ("length", "stride", "limit")
_FOLDER_OPTIONS = (
    *("size", "limit", "kind", "group", "fit", "colour", "range", "max_pixels", "skip_bad"),
)


def _planted(generator: str, **options: Any) -> tuple[Problem, Truth]:
    return load_planted(generator, load_base=load, **options)


def _table(
    path: pathlib.Path, *, target: str | None = None, **options: Any
) -> tuple[Problem, Truth]:
    other = None if target is None else _existing(target)
    if target is not None and other is None:
        raise InputError(f"target={target} is no path here; give an existing .csv or .parquet file")
    if other is not None and other.suffix.lower() not in ENDINGS:
        raise InputError(f"target={target} is no .csv or .parquet file; give one")
    return load_table(path, target=other, **options)


_TABLE = Source(
    _table,
    ("label", "normal", "split", "target", "drop", "category", "limit"),
    takes="path",
)

SOURCES: dict[str, Source] = {
    "textures:brick-defect": Source(partial(load_textures, "brick-defect"), _TEXTURE_OPTIONS),
    "textures:brick-orientation": Source(
        partial(load_textures, "brick-orientation"), _TEXTURE_OPTIONS
    ),
    "textures:gravel-orientation": Source(
        partial(load_textures, "gravel-orientation"), _TEXTURE_OPTIONS
    ),
    "digits": Source(load_digits, ("normal", "size", "limit", "kind")),
    "FOLDER": Source(load_folder, _FOLDER_OPTIONS, takes="path"),
    "FILE.npz": Source(
        load_npz,
        ("normal", "size", "limit", "kind", "length", "stride", "train_end"),
        takes="path",
    ),
    "FILE.csv": _TABLE,
    "FILE.parquet": _TABLE,
    "table": Source(partial(load_sklearn, EXAMPLE), ("normal", "limit")),
    "sklearn:NAME": Source(load_sklearn, ("normal", "limit"), takes="name"),
    "series": Source(load_series, _SERIES_OPTIONS),
    "series:FILE": Source(
        load_series_table, ("train_end", "time", "label", *_SERIES_OPTIONS), takes="file"
    ),
    "tfds:NAME": Source(load_tfds, ("normal", "size", "limit", "data_dir"), takes="name"),
}
SOURCES = {name: one._replace(options=(*one.options, "turns")) for name, one in SOURCES.items()}
# Those of any base, which refuses what it does not know; its anomalies, so their kind, are unused.
_BASE_OPTIONS = [o for source in SOURCES.values() for o in source.options if o != "kind"]
SOURCES["planted:GENERATOR"] = Source(
    _planted, tuple(dict.fromkeys(["base", "hyper", "share", "seed", *_BASE_OPTIONS])), takes="name"
)

_TEXTS = (
    *("fit", "colour", "group", "kind", "base", "data_dir"),
    *("label", "split", "target", "drop", "category", "time"),
)

# Whole numbers: least and most.
_WHOLE = {
    "size": (8, 2048),
    "limit": (1, None),
    "seed": (0, 2**32 - 1),
    "max_pixels": (1, None),
    "turns": (1, MOST),
    "length": (8, 2**16),
    "stride": (1, None),
}
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def load(source: str | os.PathLike[str], **options: object) -> tuple[Problem, Truth]:
    """Load a problem and its sealed truth.

    Sources, each with the options it takes:

    - `textures:brick-defect`, `textures:brick-orientation`, `textures:gravel-orientation`: crops
      of photographs that scikit-image ships; size (32), limit.
    - `digits`: scikit-learn's digits, one normal; normal (0), size (16), limit, kind.
    - FOLDER: `train/good/` and `test/<kind>/` (MVTec's layout and its relatives), or `train/` and
      `target/`, or `good/` beside folders of anomalies, optionally `held_out/`; size (160), limit,
      kind, group, fit, colour, range, max_pixels, skip_bad.
    - FILE.npz: arrays `X`, `y`; `images`, `labels`, `split`; or `train`, `target`; normal, size,
      limit, kind. Or a series, `values` and `train_end`; length, stride, train_end, limit.
    - FILE.csv, FILE.parquet: a table of named columns; label, normal, split, target, drop,
      category, limit. Half of the normal rows train, or those that split says, or all with another
      file as target. See `ad_jax.data.tables.load_table`.
    - `sklearn:NAME`: a table that scikit-learn ships (breast_cancer, wine, iris, digits), one class
      normal; normal, limit. `table` is the first of them.
    - `series`: a periodic series of two channels with planted anomalies; length, stride, limit.
    - `series:FILE`: a series from a table, such as `series:machine.csv`, one column a channel, CSV
      or Parquet; train_end, time, label, length, stride, limit.
    - `tfds:NAME`: a data set prepared by TensorFlow Datasets, images in classes, such as
      `tfds:cifar10`; normal, size, limit, data_dir. Nothing is downloaded.
    - `planted:GENERATOR`: normals of another source, some of them passed through an augmentation
      of the catalogue, such as `planted:cutpaste`; base, hyper, share, seed, and those of the
      base except kind.

    A relative path that does not exist in the current folder is looked up below the folder that the
    environment variable `AD_JAX_DATA` names. `./digits` is a folder, `digits` the source.

    Options:
      size: side of the images in px, or HEIGHTxWIDTH.
      limit: the first so many samples, by content, of train, held-out and target.
      normal: the normal class, by number or name; of a table the label of normal rows.
      label: the column of a table that says what each row is (0, false, normal or good: normal),
        or of a table's series what each point is.
      split: the column of a table that says `train`, `target` (or `test`) or `held_out`.
      target: another file of the same columns, whose rows are the target.
      drop: columns of a table to leave out, `a;b`.
      category: columns of a table that hold categories although they look like numbers, `a;b`.
      kind: only the anomalies of this kind in the target, beside all its normals; for studies: it
        reads labels, and the truth's log says so.
      group: regular expression; its match in the file name says which normals belong together.
      fit: `stretch` (default), `crop` or `pad` pictures to a square, or to HEIGHTxWIDTH.
      colour: `auto` (default: grey if all images are), `grey` or `rgb`.
      range: `LOW-HIGH`, the values of images of more than 8 bits that become black and white
        (0 to the most of the fewest bits that hold all of `train/`).
      max_pixels: largest image that is decoded (200000000).
      length: points of a window of a series (the period of its training part).
      stride: points between windows (1 to train on, an eighth of a window in the target).
      train_end: how many first points of a series are normal, or their share below 1, or the time
        at which the target begins.
      time: title of a table's column of time, if it has no usual one; of a series.
      skip_bad: leave out unreadable images, with a warning, instead of stopping.
      turns: train on so many copies of every normal, turned by equal parts of a circle (1: as it
        is); for few normals. Of every source.
      data_dir: where TFDS prepared the data set, if not in its usual place.
      base: the source whose normals are used (`textures:brick-defect`); its options beside it.
      hyper: hyperparameters of the generator, `name:value;name:value`; the others keep their
        defaults.
      share: of the planted target that is anomalous, above 0 and below 1 (0.2).
      seed: of the random choices in planting (0).

    Args:
      source: one of the sources above.
      **options: of the source; values may be given as text, as on a command line.

    Returns:
      `(problem, truth)`; the truth's labels are not read before it is opened, but by `kind`.

    Raises:
      InputError: unknown source or option, or data that cannot be used.
    """
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"source is a {type(source).__name__}; give a name or path as text")
    text = os.fspath(source)
    entry, first = _find(text)
    for name in options:
        if name not in entry.options:
            raise InputError(
                f"option {name}= is unknown for {text}; known: {', '.join(entry.options)}"
            )
    checked = {
        name: _checked(name, value)
        for name, value in options.items()
        if value is not None  # None stands for the default
    }
    turns = whole("turns", checked.pop("turns", 1))
    problem, truth = entry.load(*first, **checked)
    if turns != 1:
        problem = problem.turned(turns)
    if problem.held_out is None:
        problem.folds  # noqa: B018  (too few normals should fail here, not at the first training)
    return problem, truth


def parse(text: str) -> tuple[str, dict[str, object]]:
    """Split a command line's `SOURCE,key=value,key=value` into source and options.

    Only a comma before `key=` separates, so that a path or a pattern may hold commas; if a longer
    piece is an existing path, it is the source. Values of number and yes-no options are converted,
    others stay text.

    >>> parse("digits,normal=3,size=16")
    ('digits', {'normal': '3', 'size': 16})
    """
    pieces = re.split(r",(?=[A-Za-z_]\w*=)", text)
    n_source = 1
    for n in range(len(pieces), 1, -1):
        if _existing(",".join(pieces[:n])) is not None:
            n_source = n
            break
    options: dict[str, object] = {}
    for piece in pieces[n_source:]:
        name, value = piece.split("=", 1)
        if name in options:
            raise InputError(f"option {name}= is given twice in {text!r}; keep one")
        options[name] = _checked(name, value)
    return ",".join(pieces[:n_source]), options


def paths_of(source: str, options: Mapping[str, object]) -> dict[str, str]:
    """Absolute paths of those of a source and its options that name a file or folder."""
    named = {"source": source, **options}
    out = {}
    for name in ("source", "base", "target", "data_dir"):
        text = named.get(name)
        if not text or str(text) in SOURCES:
            continue
        prefix, rest = _apart(str(text))
        path = (
            _existing(rest) if name != "data_dir" else pathlib.Path(os.path.expanduser(str(text)))
        )
        if path is not None:
            out[name] = prefix + os.path.abspath(path)
    return out


def there(text: str) -> bool:
    """Whether the file or folder is there that one of `paths_of` names."""
    return os.path.exists(_apart(text)[1])


def _apart(text: str) -> tuple[str, str]:
    """The beginning of a source that goes before a path, and the path."""
    for pattern, source in SOURCES.items():
        prefix = pattern.partition(":")[0] + ":"
        if source.takes == "file" and text.startswith(prefix):
            return prefix, text.removeprefix(prefix)
    return "", text


def _find(text: str) -> tuple[Source, tuple[str | pathlib.Path, ...]]:
    """The kind of source that a text names, and what its loader takes first."""
    if text in SOURCES and not SOURCES[text].takes:
        return SOURCES[text], ()
    for pattern, source in SOURCES.items():
        prefix = pattern.partition(":")[0] + ":"
        if source.takes == "name" and text.startswith(prefix):
            return source, (text.removeprefix(prefix),)
    prefix, rest = _apart(text)
    path = _existing(rest)
    if path is not None and prefix:
        return SOURCES[prefix + "FILE"], (path,)
    if path is None:
        names = [name for name, source in SOURCES.items() if source.takes != "path"]
        root = os.environ.get(ROOT_VARIABLE)
        searched = (
            f"nor below {ROOT_VARIABLE}={root}" if root else f"and {ROOT_VARIABLE} is not set"
        )
        raise InputError(
            f"source {text!r} is no path here {searched}; "
            f"give an existing folder, .npz, .csv or .parquet file, or one of: {', '.join(names)}"
        )
    if path.is_dir():
        return SOURCES["FOLDER"], (path,)
    if path.suffix.lower() == ".npz":
        return SOURCES["FILE.npz"], (path,)
    if path.suffix.lower() in ENDINGS:
        return SOURCES[f"FILE{path.suffix.lower()}"], (path,)
    raise InputError(
        f"source {text!r} is a file of an unknown kind; give a folder or a .npz, .csv or .parquet "
        "file"
    )


def _existing(text: str) -> pathlib.Path | None:
    """The path that a text names here or below the data folder, if there is one."""
    if not text:
        return None
    path = pathlib.Path(os.path.expanduser(text))
    root = os.environ.get(ROOT_VARIABLE)
    places = [path] if path.is_absolute() or not root else [path, pathlib.Path(root, path)]
    for place in places:
        try:
            if place.exists():
                return place
        except (OSError, ValueError):  # too long, or a null byte
            return None
    return None


def _checked(name: str, value: object) -> object:
    """An option's value in its own type."""
    if name == "size":
        return _size(value)
    if name in _WHOLE:
        return _whole(name, value)
    if name == "skip_bad" and not isinstance(value, bool):
        if str(value).lower() not in _YES_NO:
            raise InputError(f"{name}={value!r} is neither yes nor no; give True or False")
        return _YES_NO[str(value).lower()]
    if name == "share":
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise InputError(f"share={value!r} is not a number; give one like 0.2") from None
    if name in ("base", "target", "data_dir") and isinstance(value, os.PathLike):
        return os.fspath(value)
    if name in _TEXTS:
        return str(value)
    return value


def _size(value: object) -> int | str:
    """One side, or `HEIGHTxWIDTH` where the two differ; a pair of numbers says it, too."""
    pair = re.fullmatch(r"(\d+)x(\d+)", value) if isinstance(value, str) else None
    both = pair.groups() if pair else value
    if not isinstance(both, (tuple, list)) or len(both) != 2:
        return _whole("size", value)
    height, width = both
    return size_of((_whole("size", height), _whole("size", width)))


def _whole(name: str, value: object) -> int:
    """A whole number within its bounds."""
    least, most = _WHOLE[name]
    also = ", or HEIGHTxWIDTH" if name == "size" else ""
    try:
        number = int(value) if isinstance(value, str) else value.__index__()  # type: ignore
    except (ValueError, AttributeError):
        raise InputError(
            f"{name}={value!r} is not a whole number; give one like 64{also}"
        ) from None
    if number < least or (most is not None and number > most):
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        raise InputError(f"{name}={number} is out of range; give {bounds}")
    return number
