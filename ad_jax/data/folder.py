"""Problems from folders of images: the MVTec layout, or plain `train/` and `target/`.

How a file becomes a sample:

1. decoded (first frame only), turned as its EXIF orientation says;
2. brought to 8 bits: 16-bit grey is divided by 257, 32-bit integers likewise if they fit 16 bits,
   float grey must lie in [0, 1] and is multiplied by 255; palettes and CMYK become RGB;
   transparency is composited on black;
3. fitted to a square (`fit`) and resized with PIL's bicubic filter, which widens when it reduces
   and so does not alias;
4. colour: pictures whose channels are equal everywhere count as grey; luma is ITU-R 601.
"""

import concurrent.futures
import os
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import mask_of
from ad_jax.data.truth import Labels, Truth, unlabelled
from ad_jax.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FITS = ("stretch", "crop", "pad")
COLOURS = ("auto", "grey", "rgb")
LAYOUTS = "train/good/ with test/<kind>/, or train/ with target/"

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # by content: no other decoder runs on a misnamed file
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 1/65536, as PIL computes it


def load_folder(
    path: str | os.PathLike[str],
    *,
    size: int = 64,
    limit: int | None = None,
    kind: str | None = None,
    group: str | None = None,
    fit: str = "stretch",
    colour: str = "auto",
    skip_bad: bool = False,
) -> tuple[Problem, Truth]:
    """Read a folder of PNG, JPEG, BMP or TIFF images of any sizes.

    MVTec layout: `train/good`, `test/good`, `test/<kind>`, masks in
    `ground_truth/<kind>/<name>_mask.png`. Plain layout: `train/` and `target/`, whose subfolders
    mean nothing; such a target has no labels. Either may have `held_out/`, normals kept from
    training. Hidden files and files of other kinds are passed over.

    Args:
      path: the folder.
      size: side of the samples in px.
      limit: the first so many, by content, of train, held-out and target.
      kind: only the anomalies of this kind in the target, beside all its normals; for studies.
      group: regular expression searched in the file name of each normal; its first group, or the
        whole match, says which normals belong together (photographs of one object).
      fit: how a picture becomes square: `stretch`, `crop` (the centre) or `pad` (with black).
      colour: `grey` or `rgb`; `auto` is grey if all images used are.
      skip_bad: leave out unreadable images, with a warning, instead of stopping.

    Returns:
      Problem with samples `[size, size, 1 or 3]` uint8, and its truth; masks are
      `[size, size]`, fitted as the images are.

    Raises:
      InputError: layout, option or image that cannot be used.
    """
    root = pathlib.Path(path)
    for name, value, known in (("fit", fit, FITS), ("colour", colour, COLOURS)):
        if value not in known:
            raise InputError(f"{name}={value!r} is unknown; known: {', '.join(known)}")
    files, labelled = _layout(root)
    if kind is not None:
        files["target"] = _of_kind(root, files["target"], kind, labelled)
    pictures = _read_all(root, files, size, fit, skip_bad)
    files = {name: [f for f in some if f in pictures] for name, some in files.items()}
    for name, some in files.items():
        least = 1 if name == "target" else 2
        if len(some) < least:
            raise InputError(
                f"{root} has {len(some)} {name} image(s) to use; give at least {least}"
            )
    groups = None
    if group is not None:
        groups = _groups(files["train"], group)
        shared = set(groups) & set(_groups(files.get("held_out", []), group))
        if shared:
            raise InputError(
                f"held_out/ shares group {min(shared)!r} with train; move all of a group to "
                "one of them, or remove held_out/ to have groups split for you"
            )
    to_grey = colour == "grey" or (
        colour == "auto" and all(p.shape[2] == 1 for p in pictures.values())
    )
    arrays = {
        name: np.stack([_in_colour(pictures[f], to_grey) for f in some])
        for name, some in files.items()
    }
    target = files["target"]
    read = unlabelled(str(root))
    if labelled:
        read = _label_reader(root, target, size, fit)
    return sealed(
        train=arrays["train"],
        target=arrays["target"],
        held_out=arrays.get("held_out"),
        names=[_name(f, root) for f in target],
        read=read,
        groups=groups,
        limit=limit,
        kind=kind,
    )


def _layout(root: pathlib.Path) -> tuple[dict[str, list[pathlib.Path]], bool]:
    """Image files per part of the problem, and whether the folders of the target label it."""
    if not root.exists():
        raise InputError(f"folder {root} does not exist; give a folder with {LAYOUTS}")
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give a folder with {LAYOUTS}, or a .npz file")
    try:
        inside = {p.name for p in root.iterdir() if p.is_dir()}
    except OSError as error:
        raise InputError(f"folder {root} cannot be read ({error.strerror})") from None
    if "train" not in inside:
        below = sorted(p.parent.name for p in root.glob("*/train") if p.is_dir())
        hint = f"; did you mean {root / below[0]}?" if below else ""
        raise InputError(f"{root} has no train/; it should hold {LAYOUTS}{hint}")
    if {"test", "target"} <= inside:
        raise InputError(
            f"{root} has both test/ and target/; keep the one to look for anomalies in"
        )
    labelled = "test" in inside
    if not labelled and "target" not in inside:
        raise InputError(f"{root} has no test/ or target/; it should hold {LAYOUTS}")
    normals = root / "train"
    if labelled:
        if not (normals / "good").is_dir():
            raise InputError(
                f"{normals} has no good/ beside {root / 'test'}; move the normals to train/good/, "
                "or name the unlabelled folder target/"
            )
        others = [f for f in images_below(normals) if f.relative_to(normals).parts[0] != "good"]
        if others:
            raise InputError(
                f"{normals} holds {len(others)} images outside good/, first "
                f"{_name(others[0], root)}; train on normals only: move them to good/ or to "
                "test/<kind>/"
            )
    files = {
        "train": list(images_below(normals)),
        "target": list(images_below(root / ("test" if labelled else "target"))),
    }
    if "held_out" in inside:
        files["held_out"] = list(images_below(root / "held_out"))
    for name, some in files.items():
        folder = root / ("test" if name == "target" and labelled else name)
        if not some:
            raise InputError(f"{folder} has no images; give {', '.join(SUFFIXES)} files")
    loose = [f for f in files["target"] if labelled and f.parent == root / "test"]
    if loose:
        raise InputError(
            f"{_name(loose[0], root)} lies directly in test/; move it to test/good/ or "
            "test/<kind>/, or name an unlabelled folder target/"
        )
    return files, labelled


def images_below(
    folder: pathlib.Path,
    key: Callable[[pathlib.Path], Any] | None = None,
    above: tuple[str, ...] = (),
) -> Iterator[pathlib.Path]:
    """Image files of a folder and its subfolders, each sorted by `key`; hidden ones are left out.

    One folder's names are held at a time.
    """
    real = os.path.realpath(folder)
    if real in above:  # a link back up
        return
    try:
        inside = sorted(folder.iterdir(), key=key)
    except OSError as error:
        raise InputError(f"folder {folder} cannot be read ({error.strerror})") from None
    for path in inside:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from images_below(path, key, (*above, real))
        elif path.suffix.lower() in SUFFIXES:
            yield path


def _of_kind(
    root: pathlib.Path, target: list[pathlib.Path], kind: str, labelled: bool
) -> list[pathlib.Path]:
    if not labelled:
        raise InputError(f"kind={kind} needs the folders test/<kind>/, which {root} does not have")
    known = sorted({_kind(f, root) for f in target} - {""})
    if kind not in known:
        raise InputError(f"kind={kind} is not in {root / 'test'}; known: {', '.join(known)}")
    return [f for f in target if _kind(f, root) in ("", kind)]


def _kind(file: pathlib.Path, root: pathlib.Path) -> str:
    """First folder below test/; "" for good."""
    folder = file.relative_to(root / "test").parts[0]
    return "" if folder == "good" else folder


def _name(file: pathlib.Path, root: pathlib.Path) -> str:
    name = file.relative_to(root).as_posix()
    # Names that are not UTF-8 could not be written to samples.csv.
    return os.fsencode(name).decode("utf-8", "backslashreplace")


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


def _read_all(
    root: pathlib.Path,
    files: dict[str, list[pathlib.Path]],
    size: int,
    fit: str,
    skip_bad: bool,
) -> dict[pathlib.Path, np.ndarray]:
    """Decode all files in threads (PIL lets go of the interpreter lock), `[size, size, 1 or 3]`."""
    from PIL import Image

    Image.init()  # its lazy registration of formats is not made for threads

    def read(file: pathlib.Path) -> np.ndarray | str:
        try:
            return _read_picture(file, size, fit)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  (decoders raise anything on damaged files)
            return _why_bad(file, error)

    wanted = [file for some in files.values() for file in some]
    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
        results = dict(zip(wanted, threads.map(read, wanted), strict=True))
    bad = [f"{_name(f, root)} ({r})" for f, r in results.items() if isinstance(r, str)]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        found = f"{len(bad)} of {len(wanted)} images in {root} cannot be read: "
        found += ", ".join(bad[:5]) + more
        if not skip_bad:
            raise InputError(f"{found}; mend or remove them, or give skip_bad=True")
        warnings.warn(f"{found}; skipped", stacklevel=4)
    return {f: r for f, r in results.items() if isinstance(r, np.ndarray)}


def _fitted_picture(file: pathlib.Path, size: int, fit: str, to_grey: bool) -> np.ndarray | str:
    """One file as `[size, size, 1 or 3]` uint8, or why it does not read."""
    from PIL import Image

    Image.init()
    try:
        return _in_colour(_read_picture(file, size, fit), to_grey)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (decoders raise anything on damaged files)
        return "no such file" if not os.path.lexists(file) else _why_bad(file, error)


def _why_bad(file: pathlib.Path, error: Exception) -> str:
    """Why a file did not read, in a few words."""
    from PIL import Image

    if not file.exists():
        return "broken link"
    if file.stat().st_size == 0:
        return "empty file"
    text = str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        text = f"no {', '.join(_FORMATS)} image"
    return " ".join(text.split()) or type(error).__name__


def _read_picture(file: pathlib.Path, size: int, fit: str) -> np.ndarray:
    """One file as `[size, size, c]` uint8, with one channel if its channels are equal."""
    from PIL import Image, ImageOps

    with Image.open(file, formats=_FORMATS) as opened:
        image = _to_8_bits(ImageOps.exif_transpose(opened))
    pixels = np.asarray(_fitted(image, size, fit, Image.Resampling.BICUBIC))
    if pixels.ndim == 2:
        return pixels[..., None]
    if (pixels == pixels[..., :1]).all():
        return pixels[..., :1]
    return pixels


def _to_8_bits(image: "Image.Image") -> "Image.Image":
    """Mode L or RGB, by the rules at the top of this module."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"32-bit values {values.min()} to {values.max()}; save it as 16-bit")
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):  # also not a number
            raise ValueError(f"float values {values.min()} to {values.max()}; scale to [0, 1]")
        return Image.fromarray(np.floor(values * 255 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _fitted(image: "Image.Image", size: int, fit: str, method: "Image.Resampling") -> "Image.Image":
    """The image as a square of `size` px."""
    from PIL import Image

    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
        return image.crop(box).resize((size, size), method)  # not `box=`: it looks outside
    if fit == "pad":
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = Image.new(image.mode, (size, size))
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        square.paste(image.resize(inner, method), corner)
        return square
    return image.resize((size, size), method)


def _in_colour(picture: np.ndarray, to_grey: bool) -> np.ndarray:
    """`[h, w, 1 or 3]` to `[h, w, 1]` if `to_grey`, else `[h, w, 3]`."""
    if not to_grey:
        return np.broadcast_to(picture, (*picture.shape[:2], 3))
    if picture.shape[2] == 1:
        return picture
    return (((picture @ _LUMA) + 0x8000) >> 16).astype(np.uint8)[..., None]


def _label_reader(
    root: pathlib.Path, target: list[pathlib.Path], size: int, fit: str
) -> Callable[[], Labels]:
    """Labels from folder names, read when the truth is opened."""

    def read() -> Labels:
        kinds = [_kind(f, root) for f in target]
        anomalous = np.array([kind != "" for kind in kinds], np.uint8)
        truth = root / "ground_truth"
        if not truth.is_dir():
            return Labels(anomalous, kinds)
        found = {f.relative_to(truth).with_suffix("").as_posix(): f for f in images_below(truth)}

        def masks(row: int) -> np.ndarray | None:
            if not kinds[row]:
                return np.zeros((size, size), np.uint8)
            stem = target[row].relative_to(root / "test").with_suffix("").as_posix()
            file = found.get(f"{stem}_mask", found.get(stem))
            return None if file is None else _read_mask(file, size, fit)

        return Labels(anomalous, kinds, masks)

    return read


def _read_mask(file: pathlib.Path, size: int, fit: str) -> np.ndarray:
    """A mask as `[size, size]` uint8; every pixel that is not black is defective."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=_FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
            deep = image.mode[0] in "IF"  # kept deep: a 1 among 16 bits is not black
            pixels = np.asarray(image if deep else _to_8_bits(image))
    except OSError as error:
        raise InputError(f"mask {file} cannot be read ({error}); mend or remove it") from None
    defect = pixels > 0 if pixels.ndim == 2 else (pixels > 0).any(axis=2)
    shares = _fitted(
        Image.fromarray(defect.astype(np.uint8) * 255), size, fit, Image.Resampling.BOX
    )
    return mask_of(np.asarray(shares) / np.float32(255))
