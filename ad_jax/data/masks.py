"""Masks of a folder's target: which file belongs to which image, and what in it is defective.

Looked at when the truth opens, never before.
"""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Callable

import numpy as np

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import layout, pictures
from ad_jax.data.samples import mask_of
from ad_jax.data.truth import Labels

FEW = 16  # values of a mask that count as classes or instances; more are shades of grey
_ASPECT = 0.02  # relative difference of aspect ratios that rounding of sizes may leave
_LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF")


def label_reader(
    root: pathlib.Path,
    labelled: pathlib.Path,
    target: list[pathlib.Path],
    reading: pictures.Reading,
) -> Callable[[], Labels]:
    """Labels from folder names and masks from files, read when the truth is opened."""

    def read() -> Labels:
        kinds = [layout.kind_of(f, labelled) for f in target]
        anomalous = np.array([kind != "" for kind in kinds], np.uint8)
        paired, lost = layout.pair(root, labelled)
        _say(root, lost, "find no image (a mask is named as its image is) and are not used")
        wanted = [f for f, kind in zip(target, kinds, strict=True) if kind]
        _say(
            root,
            [mask for f in wanted for mask in paired.get(f, []) if not _alike(f, mask)],
            "have another aspect ratio than their image; they are stretched to it",
        )
        if not paired and not lost:
            return Labels(anomalous, kinds)

        def masks(row: int) -> np.ndarray | None:
            if not kinds[row]:
                return np.zeros(reading.sides, np.uint8)
            files = paired.get(target[row])
            if not files:
                return None
            return np.max([read_mask(file, reading) for file in files], axis=0)

        return Labels(anomalous, kinds, masks)

    return read


def read_mask(file: pathlib.Path, reading: pictures.Reading) -> np.ndarray:
    """A mask as `[*sides]` uint8, fitted as the images are.

    Every value but the background is defective. Of more than `FEW` values, and in lossy formats,
    it is those from half of the largest on: the others are blurred edges.

    Raises:
      InputError: a file that does not read.
    """
    from PIL import Image

    try:
        with pictures.without_limit():
            values, lossy = _values(file, reading.max_pixels)
            most = values.max()
            blurred = lossy or len(np.unique(values)) > FEW
            defect = values >= most / 2 if blurred and most > 0 else values > 0
            image = Image.fromarray(defect.astype(np.uint8) * 255)
            small = pictures.fitted(image, reading.sides, reading.fit, Image.Resampling.BOX)
    except (OSError, ValueError) as error:
        raise InputError(f"mask {file} cannot be read ({error}); mend or remove it") from None
    return mask_of(np.asarray(small) / np.float32(255))


def _values(file: pathlib.Path, max_pixels: int) -> tuple[np.ndarray, bool]:
    """Values `[h, w]` of a mask, 0 in the background, and whether its format blurs edges.

    Of colours the largest channel counts. A palette that does not use black has its background in
    entry 0.
    """
    from PIL import ImageOps

    with pictures.opened(file, max_pixels) as image:
        lossy = image.format in _LOSSY
        if image.mode == "P":
            entries = np.asarray(ImageOps.exif_transpose(image))
            if np.asarray(image.convert("RGB")).any(axis=2).all():
                return entries, lossy
    pixels = np.asarray(pictures.decoded(file, max_pixels))
    return (pixels if pixels.ndim == 2 else pixels.max(axis=2)), lossy


def _alike(image: pathlib.Path, mask: pathlib.Path) -> bool:
    """Whether two files have one aspect ratio; True where one does not read, which shows later."""
    try:
        with pictures.without_limit():
            (width, height), (own_width, own_height) = map(pictures.upright_size, (image, mask))
    except (OSError, ValueError):
        return True
    longest = max(width * own_height, own_width * height)
    slack = _ASPECT * longest + max(width, height, own_width, own_height)
    return abs(width * own_height - own_width * height) <= slack


def _say(root: pathlib.Path, masks: list[pathlib.Path], what: str) -> None:
    """One warning that names masks, if there are any."""
    if masks:
        named = ", ".join(layout.name_of(mask, root) for mask in masks[:5])
        more = f" and {len(masks) - 5} more" if len(masks) > 5 else ""
        warnings.warn(
            f"{len(masks)} mask(s) of {root} {what}: {named}{more}", DataWarning, stacklevel=4
        )
