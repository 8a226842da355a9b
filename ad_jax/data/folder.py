"""Problems from folders of images: the usual layouts of anomaly detection, or plain folders.

Which file is what: `ad_jax.data.layout`; how it becomes a sample: `ad_jax.data.pictures`; its mask:
`ad_jax.data.masks`.
"""

import os
import pathlib
import re
import warnings
from functools import partial

import numpy as np

from ad_jax.base.errors import DataWarning, InputError, check_name
from ad_jax.data import pictures
from ad_jax.data.folds import first_by_content
from ad_jax.data.layout import Passed, layout_of, name_of, of_kind
from ad_jax.data.masks import label_reader
from ad_jax.data.pictures import MAX_PIXELS, Picture, Reading, Values, in_colour
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import content_hashes, sides_of, size_of
from ad_jax.data.scale import Tally, ends_of, reading_of
from ad_jax.data.truth import Truth, unlabelled

COLOURS = ("auto", "grey", "rgb")
SHRUNK = 16  # times; what is smaller than so many px does not fill one px of the sample
UNEQUAL = 4  # times that one picture is shrunk more than another, or one side more than the other


def load_folder(
    path: str | os.PathLike[str],
    *,
    size: int | str = 160,
    limit: int | None = None,
    kind: str | None = None,
    group: str | None = None,
    fit: str = "stretch",
    colour: str = "auto",
    range: str | tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
    skip_bad: bool = False,
) -> tuple[Problem, Truth]:
    """Read a folder of PNG, JPEG, BMP, TIFF, WebP, GIF, PNM, JPEG 2000 or AVIF images.

    - MVTec AD: `train/good`, `test/good`, `test/<kind>`, masks in `ground_truth/<kind>/` named
      `<name>_mask.png` or as the image is. MVTec AD 2 (`test_public/` with `ground_truth/` in it),
      MVTec LOCO (a folder of masks per image, which are united) and BTAD (`ok` for `good`) are
      variants of it; other folders (`validation/`, `test_private/`) are not read.
    - Plain: `train/` and `target/`, whose subfolders mean nothing; such a target has no labels.
    - Not split: `good/` (or `ok/`, `normal/`) beside folders of anomalies and of masks, as
      anomalib's Folder has them, or VisA's `Data/Images/` and `Data/Masks/`. Half of the normals,
      the first by the content of their files, train, or all where `normal_test/` has others.

    Any of them may have `held_out/`, normals kept from training. Folders named `ground_truth`,
    `gt`, `mask(s)` or `annotation(s)` and files whose name ends in `_mask` are masks and never
    samples. Hidden files are passed over; how many of which other kinds were is said in a warning.

    Args:
      path: the folder.
      size: side of the samples in px, or `HEIGHTxWIDTH`.
      limit: the first so many, by content, of train, held-out and target.
      kind: only the anomalies of this kind in the target, beside all its normals; for studies.
      group: regular expression searched in the file name of each normal; its first group, or the
        whole match, says which normals belong together (photographs of one object).
      fit: how a picture gets these sides: `stretch`, `crop` (the centre) or `pad` (with black).
      colour: `grey` or `rgb`; `auto` is grey if all images used are.
      range: `LOW-HIGH` or a pair, the values of images of more than 8 bits that become black and
        white. By default 0 to the most of the least even number of bits (8, 10, 12, ...) that holds
        all images in `train/`, also those that `limit` drops; 0-1 for floats. Values outside are
        clipped, which is said. No image of the target is looked at for it.
      max_pixels: largest image that is decoded.
      skip_bad: leave out unreadable images, with a warning, instead of stopping.

    Returns:
      Problem with samples `[height, width, 1 or 3]`, and its truth; masks are `[height, width]`,
      fitted as the images are. Samples are uint8, or float32 in [0, 1] where images in `train/`
      have more than 8 bits (not just 8 bits written twice, or in the lower half of 16).

    Raises:
      InputError: layout, option or image that cannot be used.
    """
    root = pathlib.Path(path)
    check_name(COLOURS, colour, "colour")
    reading = Reading(sides_of(size), fit, ends_of(range), max_pixels=max_pixels)
    reading.check()
    passed = Passed()
    files, labelled = layout_of(root, passed)
    passed.say(root)
    if kind is not None:
        files["target"] = of_kind(root, files["target"], kind, labelled)
    seen, reading = read_all(root, files, reading, skip_bad)
    files = {name: [f for f in some if f in seen] for name, some in files.items()}
    _refuse_few(root, files)
    if limit is not None:
        files = {
            name: _first(some, seen, colour, limit, group if name == "train" else None)
            for name, some in files.items()
        }
    used = {f: seen[f] for some in files.values() for f in some}
    _say_sizes(root, used, reading)
    groups = None if group is None else _train_groups(files, group)
    to_grey = colour == "grey" or (
        colour == "auto" and all(p.pixels.shape[2] == 1 for p in used.values())
    )
    arrays = {
        name: np.stack([in_colour(used[f].pixels, to_grey) for f in some])
        for name, some in files.items()
    }
    target = files["target"]
    read = unlabelled(str(root))
    if labelled:
        read = label_reader(root, labelled, target, reading)
    return sealed(
        train=arrays["train"],
        target=arrays["target"],
        held_out=arrays.get("held_out"),
        names=[name_of(f, root) for f in target],
        read=read,
        groups=groups,
        range=reading.range,
        normals={name: [name_of(f, root) for f in some] for name, some in files.items()},
        kind=kind,
    )


def _refuse_few(root: pathlib.Path, files: dict[str, list[pathlib.Path]]) -> None:
    for name, some in files.items():
        least = 2 if name == "held_out" else 1
        if len(some) < least:
            raise InputError(
                f"{root} has {len(some)} {name} image(s) to use; give at least {least}"
            )


def _train_groups(files: dict[str, list[pathlib.Path]], group: str) -> list[str]:
    """Group of every train normal; a group that is held out, too, is refused."""
    groups = _groups(files["train"], group)
    shared = set(groups) & set(_groups(files.get("held_out", []), group))
    if shared:
        raise InputError(
            f"held_out/ shares group {min(shared)!r} with train; move all of a group to "
            "one of them, or remove held_out/ to have groups split for you"
        )
    return groups


def read_all(
    root: pathlib.Path,
    files: dict[str, list[pathlib.Path]],
    reading: Reading,
    skip_bad: bool | None,
) -> tuple[dict[pathlib.Path, Picture], Reading]:
    """All files that read, and how they were read: files of more than 8 bits take two looks.

    Args:
      root: holds all files.
      files: those of "train" say how all of them are read.
      reading: how, as far as it is known before.
      skip_bad: leave out files that do not read, with a warning; None where nobody can ask for it.

    Raises:
      InputError: files that do not read, without `skip_bad`.
    """
    wanted = [file for some in files.values() for file in some]
    with pictures.threads() as pool:
        looks = pictures.in_threads(pool, partial(pictures.look, reading=reading), wanted)
        first = dict(zip(wanted, looks, strict=True))
        deep = {file: one for file, one in first.items() if isinstance(one, Values)}
        train = [deep[f] for f in files["train"] if f in deep]
        reading = reading_of(train, bool(deep), reading, root)
        again = [f for f, one in first.items() if not isinstance(one, str)]
        if reading.dtype == "uint8":  # pictures of 8 bits are as they should be
            again = list(deep)
        second = pictures.in_threads(pool, partial(pictures.read, reading=reading), again)
    results = {**first, **dict(zip(again, second, strict=True))}
    bad = [f"{name_of(f, root)} ({r})" for f, r in results.items() if isinstance(r, str)]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        found = f"{len(bad)} of {len(wanted)} images in {root} cannot be read: "
        found += ", ".join(bad[:5]) + more
        if not skip_bad:
            option = "" if skip_bad is None else ", or give skip_bad=True"
            raise InputError(f"{found}; mend or remove them{option}")
        warnings.warn(f"{found}; skipped", DataWarning, stacklevel=4)
    seen = {f: r for f, r in results.items() if isinstance(r, Picture)}
    tally = Tally(reading)
    tally.count(seen.values())
    tally.say(root)
    return seen, reading


def _first(
    files: list[pathlib.Path],
    seen: dict[pathlib.Path, Picture],
    colour: str,
    limit: int,
    group: str | None,
) -> list[pathlib.Path]:
    """The first files by content; with `colour=auto` no other file has a say in what that is.

    Of equal files in several groups the group's number says which stay, as in a problem.
    """
    kept = [seen[f].pixels for f in files]
    if colour != "auto":
        kept = [in_colour(pixels, colour == "grey") for pixels in kept]
    hashes = [content_hashes(pixels[None])[0] for pixels in kept]
    groups = None if group is None else _groups(files, group)
    return sorted(files[i] for i in first_by_content(hashes, limit, groups))


def _say_sizes(root: pathlib.Path, used: dict[pathlib.Path, Picture], reading: Reading) -> None:
    """One warning about pictures that are much larger than the samples, or very unequal."""
    sides = np.array([(one.width, one.height) for one in used.values()])
    shrunk = sides / reading.sides[::-1]  # [n, 2]
    if reading.fit != "stretch":
        shrunk = shrunk.max(1) if reading.fit == "pad" else shrunk.min(1)
    most, least = float(shrunk.max()), float(shrunk.min())
    if most <= SHRUNK and (most < SHRUNK / 2 or most < UNEQUAL * least):
        return
    small, large = (sides[k] for k in (sides.prod(1).argmin(), sides.prod(1).argmax()))
    sizes = " to ".join(dict.fromkeys(f"{width} x {height}" for width, height in (small, large)))
    factors = f"{most:.3g}" if most < UNEQUAL * least else f"{least:.3g} to {most:.3g}"
    warnings.warn(
        f"{root}: images of {sizes} px are shrunk {factors} times to "
        f"size={size_of(reading.sides)}: a defect of {most:.0f} px becomes one; a larger size=, "
        "and --tile to look at it in pieces, keeps small ones",
        DataWarning,
        stacklevel=3,
    )


def _groups(files: list[pathlib.Path], pattern: str) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"group={pattern!r} is no regular expression ({error})") from None
    groups = []
    for file in files:
        match = compiled.search(file.name)
        if match is None:
            raise InputError(
                f"group={pattern!r} matches nothing in {file.name}; every normal needs one"
            )
        groups.append((match.group(1) if compiled.groups else match.group()) or "")
    return groups
