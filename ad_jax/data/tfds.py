"""Problems from TensorFlow Datasets: images in classes, one of them normal.

Prepared data sets are read by random access (`array_record`), for which TensorFlow is not needed;
preparing most of them does need it. Nothing is ever downloaded here.
"""

import contextlib
import difflib
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import as_samples, resize, sides_of
from ad_jax.data.truth import Labels, Truth

_NAME = re.compile(r"\w+(/[\w.+-]+)?(:\d+\.\d+\.\d+)?")  # no namespace: those lie on the network
_BLOCK = 256  # images decoded at a time


def load_tfds(
    name: str,
    *,
    normal: str | int | None = None,
    size: int | str | None = None,
    limit: int | None = None,
    data_dir: str | None = None,
) -> tuple[Problem, Truth]:
    """Read a prepared data set with the features `image` and `label` and splits train and test.

    The train images of class `normal` train, all test images are the target. The labels of the
    test images are not looked at before the truth is opened.

    Args:
      name: as TFDS has it: `name`, `name/config`, `name:version`.
      normal: the normal class, by name or number.
      size: images are resized to this side in px, or to `HEIGHTxWIDTH` (area average,
        or linear where it enlarges); without it they keep theirs, which must be one for all.
      limit: the first so many, by content, of train and of target.
      data_dir: where the data set was prepared; else what TFDS takes: the environment variable
        TFDS_DATA_DIR, or a folder in the home folder.

    Returns:
      Problem with samples `[h, w, c]`, uint8 if the data set's are, and its truth, without masks.

    Raises:
      InputError: a data set that is unknown, not prepared or of another kind, or a wrong class.
    """
    builder = _builder(name, data_dir)
    classes = _classes(name, builder)
    wanted = _class(name, normal, classes)
    labels = _Column(builder, "train", "label")
    train_rows = [i for i, label in enumerate(labels.all()) if int(label) == wanted]
    train, target = _Column(builder, "train", "image"), _Column(builder, "test", "image")
    n_target = len(target)

    def read() -> Labels:
        found = np.array([int(v) for v in _Column(builder, "test", "label").all()])
        kinds = ["" if v == wanted else classes.get(v, str(v)) for v in found.tolist()]
        return Labels((found != wanted).astype(np.uint8), kinds)

    return sealed(
        train=_images(name, train, train_rows, size),
        target=_images(name, target, range(n_target), size),
        names=[f"test[{i}]" for i in range(n_target)],
        read=read,
        limit=limit,
    )


class _Column:
    """One feature of one split; the other features of a record are left as they are stored."""

    def __init__(self, builder: Any, split: str, feature: str):
        import tensorflow_datasets as tfds

        others = {
            key: tfds.decode.SkipDecoding() for key in builder.info.features if key != feature
        }
        self._source = builder.as_data_source(split=split, decoders=others)
        self._feature = feature

    def __len__(self) -> int:
        return len(self._source)

    def blocks(self, rows: Sequence[int]) -> Iterator[list[Any]]:
        for start in range(0, len(rows), _BLOCK):
            records = self._source.__getitems__(list(rows[start : start + _BLOCK]))
            yield [record[self._feature] for record in records]

    def all(self) -> Iterator[Any]:
        for block in self.blocks(range(len(self))):
            yield from block


def _builder(name: str, data_dir: str | None) -> Any:
    """The builder of a data set that is prepared for random access."""
    import tensorflow_datasets as tfds

    if not _NAME.fullmatch(name):
        raise InputError(f"tfds:{name} is no name of a data set; give one like tfds:cifar10")
    if data_dir is not None and not pathlib.Path(os.path.expanduser(data_dir)).is_dir():
        raise InputError(f"data_dir={data_dir} is no folder; give where {name} was prepared")
    where = {} if data_dir is None else {"data_dir": pathlib.Path(os.path.expanduser(data_dir))}
    to = "" if data_dir is None else f" --data_dir={data_dir}"
    prepare = f"tfds build {name} --file_format=array_record{to}"
    with _quiet():
        try:
            builder = tfds.builder(name, **where)
        except tfds.core.DatasetNotFoundError:
            raise InputError(f"tfds:{name} is unknown{_close(name)}") from None
        except Exception as error:  # noqa: BLE001  (a builder's own code may raise anything)
            text = " ".join(str(error).split())[:500]
            raise InputError(
                f"tfds:{name} cannot be set up ({text}); give name, name/config or name:version"
            ) from None
        if not builder.is_prepared():
            raise InputError(
                f"tfds:{name} is not prepared (no {builder.data_path}); do so once, with "
                f"TensorFlow installed: {prepare}"
            )
        try:
            for split in ("train", "test"):
                if split not in builder.info.splits:
                    known = ", ".join(builder.info.splits)
                    raise InputError(
                        f"tfds:{name} has no split {split}, only {known}; give another data set"
                    )
                builder.as_data_source(split=split)
        except NotImplementedError:
            raise InputError(
                f"tfds:{name} is prepared in {builder.data_path} as "
                f"{builder.info.file_format.value}, without random access; prepare it elsewhere "
                f"and give data_dir=: {prepare.removesuffix(to)} --data_dir=FOLDER"
            ) from None
    return builder


def _close(name: str) -> str:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    close = difflib.get_close_matches(re.split("[/:]", name)[0], known)
    return f"; did you mean {', '.join(close)}?" if close else "; give one that TFDS lists"


def _classes(name: str, builder: Any) -> dict[int, str]:
    """Class number -> name."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    missing = [key for key in ("image", "label") if key not in (features or {})]
    if missing:
        known = ", ".join(features or {}) or "none"
        raise InputError(
            f"tfds:{name} has no feature {missing[0]}, only {known}; give images in classes"
        )
    image, label = features["image"], features["label"]
    if len(image.shape or ()) not in (2, 3):
        raise InputError(f"tfds:{name} has images {image}; give a data set of single images")
    if isinstance(label, tfds.features.ClassLabel) and label.names:
        return dict(enumerate(label.names))
    if label.shape != () or np.dtype(label.np_dtype).kind not in "iu":
        raise InputError(f"tfds:{name} has labels {label}; give a data set of one class an image")
    numbers = sorted({int(v) for v in _Column(builder, "train", "label").all()})
    return {v: str(v) for v in numbers}


def _class(name: str, normal: str | int | None, classes: dict[int, str]) -> int:
    shown = [n if n == str(v) else f"{v} ({n})" for v, n in list(classes.items())[:20]]
    known = ", ".join(shown) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    if normal is None:
        raise InputError(f"tfds:{name} holds classes; give normal=<class>, one of: {known}")
    for number, text in classes.items():
        if text == str(normal):
            return number
    for number in classes:
        if str(number) == str(normal):
            return number
    raise InputError(f"normal={normal} is no class of tfds:{name}; known: {known}")


def _images(name: str, column: _Column, rows: Sequence[int], size: int | str | None) -> np.ndarray:
    """Images `[n, h, w, c]` of some rows, each resized if a size is given."""
    parts: list[np.ndarray] = []
    with _quiet():
        for block in column.blocks(rows):
            sizes = {image.shape for image in block}
            if size is None and len(sizes | {parts[0].shape[1:]} if parts else sizes) > 1:
                raise InputError(f"tfds:{name} holds images of unequal sizes; give size=, like 64")
            if size is None:
                parts.append(np.stack(block))
            elif len(sizes) == 1:
                parts.append(resize(as_samples("image", np.stack(block)), *sides_of(size)))
            else:
                one = (as_samples("image", image[None]) for image in block)
                parts.append(np.concatenate([resize(image, *sides_of(size)) for image in one]))
    if not parts:
        raise InputError(f"tfds:{name} has no image to use; give another class or data set")
    return np.concatenate(parts)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS logs advice through absl; errors alone pass."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
