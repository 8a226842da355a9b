"""Which files of a folder are what: normals, target, kinds of anomalies, masks, neither.

No picture is opened here, and no kind is told before the truth opens.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ad_jax.base.errors import DataWarning, InputError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif"),
)
LAYOUTS = "train/good/ with test/<kind>/, train/ with target/, or good/ beside folders of anomalies"
NORMAL = ("good", "ok", "normal")  # folders of normals, in any case
NORMAL_TESTS = ("normal_test", "test_normal", "good_test", "test_good")
MASK_FOLDERS = (
    *("ground_truth", "groundtruth", "ground-truth", "gt", "mask", "masks"),
    *("annotation", "annotations"),
)
_MASK = "_mask"  # ends the name of a mask beside images
_OF_THE_SYSTEM = ("thumbs.db", "desktop.ini")


class Layout(NamedTuple):
    """The files of a problem.

    Attributes:
      files: of "train", "target" and perhaps "held_out".
      labelled: the folder whose subfolders are the kinds of the target; None = unlabelled.
    """

    files: dict[str, list[pathlib.Path]]
    labelled: pathlib.Path | None


class Passed:
    """Files that a walk passed over, for one line about them."""

    def __init__(self) -> None:
        self._others: Counter[str] = Counter()
        self._masks = 0
        self._first_mask = pathlib.Path()

    def note(self, file: pathlib.Path, is_mask: bool) -> None:
        if is_mask:
            self._first_mask = self._first_mask if self._masks else file
            self._masks += 1
        elif file.name.lower() not in _OF_THE_SYSTEM:
            self._others[file.suffix.lower() or "without suffix"] += 1

    def forget_masks(self) -> None:
        """The masks of a labelled target are in use."""
        self._masks = 0

    def text(self) -> str:
        """Counts by suffix and the first mask; "" if nothing was passed over."""
        pieces = [f"{n} {suffix}" for suffix, n in sorted(self._others.items())]
        if self._masks:
            pieces.append(f"{self._masks} masks by name (first {self._first_mask})")
        return ", ".join(pieces)

    def say(self, where: object) -> None:
        """One warning, if anything was passed over."""
        if self.text():
            warnings.warn(f"{where}: files passed over: {self.text()}", DataWarning, stacklevel=3)


def layout_of(root: pathlib.Path, passed: Passed) -> Layout:
    """The layout of a folder.

    Raises:
      InputError: none of `LAYOUTS`.
    """
    if not root.exists():
        raise InputError(f"folder {root} does not exist; give a folder with {LAYOUTS}")
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give a folder with {LAYOUTS}, or a .npz file")
    try:
        inside = {p.name for p in root.iterdir() if p.is_dir()}
    except OSError as error:
        raise InputError(f"folder {root} cannot be read ({error.strerror})") from None
    if "train" not in inside:
        unsplit = _unsplit(root, inside, passed)
        if unsplit is not None:
            return unsplit
        below = sorted(p.parent.name for p in root.glob("*/train") if p.is_dir())
        hint = f"; did you mean {root / below[0]}?" if below else ""
        raise InputError(f"{root} has no train/; it should hold {LAYOUTS}{hint}")
    tests = [name for name in ("test", "test_public") if name in inside][:1]
    if tests and "target" in inside:
        raise InputError(
            f"{root} has both {tests[0]}/ and target/; keep the one to look for anomalies in"
        )
    if not tests and "target" not in inside:
        raise InputError(f"{root} has no test/ or target/; it should hold {LAYOUTS}")
    labelled = root / tests[0] if tests else None
    target = labelled or root / "target"
    files = {"target": list(images_below(target, passed=passed))}
    if labelled:
        passed.forget_masks()
    files = {"train": list(images_below(root / "train", passed=passed)), **files}
    if "held_out" in inside:
        files["held_out"] = list(images_below(root / "held_out", passed=passed))
    if labelled:
        _check_normals(root, files["train"], labelled)
    for name, some in files.items():
        folder = target if name == "target" else root / name
        if not some:
            raise InputError(f"{folder} has no images{_only(passed)}; give {', '.join(SUFFIXES)}")
    loose = [f for f in files["target"] if f.parent == labelled]
    if loose:
        raise InputError(
            f"{name_of(loose[0], root)} lies directly in {tests[0]}/; move it to test/good/ or "
            "test/<kind>/, or name an unlabelled folder target/"
        )
    return Layout(files, labelled)


def _only(passed: Passed) -> str:
    return f", only {passed.text()}" if passed.text() else ""


def _check_normals(root: pathlib.Path, train: list[pathlib.Path], labelled: pathlib.Path) -> None:
    normals = root / "train"
    if not any(p.is_dir() and p.name.lower() in NORMAL for p in normals.iterdir()):
        raise InputError(
            f"{normals} has no good/ beside {labelled}; move the normals to train/good/, "
            "or name the unlabelled folder target/"
        )
    others = [f for f in train if f.relative_to(normals).parts[0].lower() not in NORMAL]
    if others:
        raise InputError(
            f"{normals} holds {len(others)} images outside good/, first "
            f"{name_of(others[0], root)}; train on normals only: move them to good/ or to "
            "test/<kind>/"
        )


def _unsplit(root: pathlib.Path, inside: set[str], passed: Passed) -> Layout | None:
    """Folders of normals and of anomalies side by side, as VisA and anomalib's Folder have them.

    Half of the normals, the first by the content of their files, are trained on, unless others are
    set apart; the rest and the anomalies are the target.
    """
    images = root / "Data" / "Images"
    if not images.is_dir():
        images = root
    if (images.parent / "train").is_dir():  # the test folder of another layout
        return None
    names = sorted(p.name for p in images.iterdir() if p.is_dir() and not p.name.startswith("."))
    known = {"normal": NORMAL, "normal test": NORMAL_TESTS, "mask": MASK_FOLDERS}
    parts: dict[str, list[pathlib.Path]] = {name: [] for name in (*known, "kind", "held_out")}
    for name in names:
        part = next((p for p, some in known.items() if name.lower() in some), "kind")
        if name == "held_out":
            part = name
        if part != "mask":
            parts[part] += images_below(images / name, passed=passed)
    if not parts["normal"] or not parts["kind"]:
        return None
    passed.forget_masks()
    train, tested = parts["normal"], parts["normal test"]
    if not tested:
        by_content = sorted(train, key=lambda f: (hashlib.sha256(f.read_bytes()).digest(), f))
        train, tested = by_content[: len(train) // 2], by_content[len(train) // 2 :]
    files = {"train": train, "target": sorted(tested + parts["kind"])}
    if parts["held_out"]:
        files["held_out"] = parts["held_out"]
    return Layout(files, images)


def images_below(
    folder: pathlib.Path,
    key: Callable[[pathlib.Path], Any] | None = None,
    passed: Passed | None = None,
) -> Iterator[pathlib.Path]:
    """Image files of a folder and its subfolders, each sorted by `key`; hidden ones are left out.

    So are masks: files in folders named as in `MASK_FOLDERS`, and those that end in `_mask`.
    One folder's names are held at a time.
    """
    for path, is_image, is_mask in _walk(folder, key):
        if is_image and not is_mask:
            yield path
        elif passed is not None:
            passed.note(path, is_mask and is_image)


def masks_below(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Masks of a folder and its subfolders."""
    return (path for path, is_image, is_mask in _walk(folder) if is_image and is_mask)


def is_mask_folder(folder: pathlib.Path) -> bool:
    return folder.name.lower() in MASK_FOLDERS


def _walk(
    folder: pathlib.Path,
    key: Callable[[pathlib.Path], Any] | None = None,
    above: tuple[str, ...] = (),
    in_masks: bool = False,
) -> Iterator[tuple[pathlib.Path, bool, bool]]:
    """(file, has the suffix of an image, is a mask by its name), hidden ones left out."""
    real = os.path.realpath(folder)
    if real in above:  # a link back up
        return
    above = above or tuple(map(str, pathlib.Path(real).parents))
    try:
        inside = sorted(folder.iterdir(), key=key)
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read ({error.strerror})") from None
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, key, (*above, real), in_masks or is_mask_folder(path))
        elif path.suffix.lower() in SUFFIXES and (os.path.isfile(path) or not os.path.exists(path)):
            yield path, True, in_masks or path.stem.lower().endswith(_MASK)
        elif os.path.exists(path):  # also a pipe, which would wait for its writer
            yield path, False, in_masks


def kind_of(file: pathlib.Path, labelled: pathlib.Path) -> str:
    """First folder below the labelled one; "" for normals."""
    folder = file.relative_to(labelled).parts[0]
    return "" if folder.lower() in (*NORMAL, *NORMAL_TESTS) else folder


def of_kind(
    root: pathlib.Path, target: list[pathlib.Path], kind: str, labelled: pathlib.Path | None
) -> list[pathlib.Path]:
    """Files of the target that are normal or of a kind.

    Raises:
      InputError: no kinds, or not this one.
    """
    if labelled is None:
        raise InputError(f"kind={kind} needs the folders test/<kind>/, which {root} does not have")
    known = sorted({kind_of(f, labelled) for f in target} - {""})
    if kind not in known:
        raise InputError(f"kind={kind} is not in {labelled}; known: {', '.join(known)}")
    return [f for f in target if kind_of(f, labelled) in ("", kind)]


def name_of(file: pathlib.Path, root: pathlib.Path) -> str:
    """Path below the root, as UTF-8 text."""
    name = file.relative_to(root).as_posix()
    # Names that are not UTF-8 could not be written to samples.csv.
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def pair(
    root: pathlib.Path, labelled: pathlib.Path
) -> tuple[dict[pathlib.Path, list[pathlib.Path]], list[pathlib.Path]]:
    """Masks of each image below the labelled folder, and masks that find no image.

    Masks lie beside the images, or in folders of masks in or beside the labelled folder. A mask
    belongs to the image whose path is the same without suffixes, folders of masks and `_mask`; or
    to the image that its own folder is named after; or, where it lies in no folder of a kind, to
    the image of that name of the only kind.
    """
    images: dict[tuple[str, ...], list[pathlib.Path]] = {}
    for image in images_below(labelled):
        images.setdefault(_key(image, labelled), []).append(image)
    kinds = {kind_of(some[0], labelled) for some in images.values()} - {""}
    masks = [(mask, labelled) for mask in masks_below(labelled)]
    if labelled != root:
        beside = sorted(p for p in labelled.parent.iterdir() if p.is_dir() and is_mask_folder(p))
        masks += [(m, labelled.parent) for f in beside for m, is_image, _ in _walk(f) if is_image]
    found: dict[tuple[str, ...], list[pathlib.Path]] = {}
    lost = []
    for mask, top in masks:
        key = _key(mask, top)
        tried = [(*kinds, *key)] if len(key) == len(kinds) == 1 else [key, key[:-1]]
        match = next((one for one in tried if one in images), None)
        if match is None:
            lost.append(mask)
        else:
            found.setdefault(match, []).append(mask)
    paired = {image: _marked(some) for key, some in found.items() for image in images[key]}
    return paired, lost


def _marked(masks: list[pathlib.Path]) -> list[pathlib.Path]:
    """Of files in folders of masks those whose name ends in `_mask`, if there are such."""
    return [m for m in masks if m.stem.lower().endswith(_MASK)] or masks


def _key(file: pathlib.Path, top: pathlib.Path) -> tuple[str, ...]:
    *folders, name = file.relative_to(top).with_suffix("").parts
    stem = name[: -len(_MASK)] if name.lower().endswith(_MASK) else name
    return (*(f for f in folders if f.lower() not in MASK_FOLDERS), stem)
