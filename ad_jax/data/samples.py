"""Arrays of samples: the form they are kept in, their hashes, their size in pixels."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError

SLACK = 1e-5  # rounding of a resize: images may leave [0, 1] by so much


def as_array(name: str, value: Any, unequal: str) -> np.ndarray:
    """The numpy array of a value: a list, an array of any library, a table.

    Args:
      name: of the value, for errors.
      value: anything.
      unequal: what is wrong, and the fix, where numpy makes no array of a list.

    Raises:
      InputError: no array follows, or a masked one with masked values: what stands below a mask
        would count like any other value.
    """
    if np.ma.is_masked(value):
        count = int(np.ma.getmaskarray(value).sum())
        raise InputError(f"{name} has {count} masked values; fill them, or drop their samples")
    try:
        if callable(getattr(value, "detach", None)):  # a tensor of PyTorch, on any device
            value = value.detach().cpu()
        return np.asarray(value)
    except Exception as error:  # noqa: BLE001  (`__array__` of other libraries raises anything)
        if isinstance(error, ValueError) and not hasattr(value, "__array__"):
            raise InputError(f"{name} {unequal}") from None
        said = " ".join(str(error).split())
        raise InputError(
            f"{name} is a {type(value).__name__} that gives no numpy array ({said}); convert it"
        ) from None


def as_samples(name: str, array: object, series: bool = False) -> np.ndarray:
    """Check one array of samples and bring it to a kept form.

    Args:
      name: of the array, for errors.
      array: images `[n, h, w, c]` (`[n, h, w]` gets a channel axis), or rows `[n, d]`.
      series: these are series `[n, t, c]` (`[n, t]` gets a channel axis), of any finite numbers.

    Raises:
      InputError: no array, or one of other shapes, dtypes or values.

    Returns:
      `[n, h, w, c]` uint8 or float32 in [0, 1], or `[n, d]` or `[n, t, c]` float32; negative
      zeros made positive, for equal samples to have equal bytes.
    """
    if isinstance(array, str | os.PathLike):
        raise InputError(
            f"{name} is the path {str(array)!r}; ad_jax.load reads folders and files, and a "
            "detector takes a list of image files"
        )
    if array is None or isinstance(array, (Mapping, Iterator, set, frozenset, bytes)):
        raise InputError(
            f"{name} is a {type(array).__name__}; give an array of samples, images [n, h, w, c], "
            "rows [n, d] or series [n, t, c]"
        )
    samples = as_array(name, array, "holds samples of unequal shapes; resize them to one")
    if samples.dtype.kind not in "buif":
        raise InputError(
            f"{name} has dtype {samples.dtype}; give uint8 or float numbers (ad_jax.load "
            "reads files, and ad_jax.data.tables.from_frames takes columns of text)"
        )
    if series:
        return _as_series(name, samples)
    if samples.ndim == 3:
        samples = samples[..., None]
    if samples.ndim not in (2, 4):
        raise InputError(
            f"{name} has shape {samples.shape}; give images [n, h, w, c] or rows [n, d]"
        )
    if 0 in samples.shape[1:]:
        raise InputError(f"{name} has shape {samples.shape}, samples without values")
    if samples.ndim == 2:
        return _finite(name, samples)
    if samples.shape[1] in (1, 3, 4) and samples.shape[3] > 4:
        raise InputError(
            f"{name} has shape {samples.shape}, channels first; transpose it to [n, h, w, c]"
        )
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind != "f":
        raise InputError(
            f"{name} holds images of dtype {samples.dtype}; give uint8 or floats in [0, 1]"
        )
    samples = _finite(name, samples)
    if samples.size and (samples.min() < -SLACK or samples.max() > 1 + SLACK):
        raise InputError(
            f"{name} holds images with values {samples.min():g} to {samples.max():g}; "
            "scale them to [0, 1] or give uint8"
        )
    return np.clip(samples, 0, 1)


def _as_series(name: str, samples: np.ndarray) -> np.ndarray:
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.ndim != 3 or 0 in samples.shape[1:]:
        raise InputError(f"{name} has shape {samples.shape}; give series [n, t, c]")
    return _finite(name, samples)


def content_hashes(samples: np.ndarray) -> list[str]:
    """SHA-256 (hex) of the bytes of each sample, `[n, ...] -> [n]`."""
    return [hashlib.sha256(np.ascontiguousarray(s).tobytes()).hexdigest() for s in samples]


def in_content_order(name: str, array: object, series: bool = False) -> np.ndarray:
    """Samples in the order of their hashes, as a problem holds them: no order survives."""
    samples = as_samples(name, array, series)
    hashes = content_hashes(samples)
    return samples[sorted(range(len(samples)), key=hashes.__getitem__)]


def sides_of(size: int | str) -> tuple[int, int]:
    """Height and width that `size=` means: one side for both, or `HEIGHTxWIDTH`.

    >>> sides_of(64), sides_of("96x224")
    ((64, 64), (96, 224))
    """
    height, _, width = str(size).partition("x")
    return int(height), int(width or height)


def size_of(sides: tuple[int, int]) -> int | str:
    """The other way: `size=` of a height and a width."""
    height, width = sides
    return height if height == width else f"{height}x{width}"


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize `[n, h, w, c]` to `[n, height, width, c]`: area average, or linear where it enlarges.

    uint8 stays uint8, halves rounded up; floats give float32.
    """
    rows, columns = (
        resize_matrix(*a) for a in ((images.shape[1], height), (images.shape[2], width))
    )
    out = np.empty((len(images), height, width, images.shape[3]), images.dtype)
    if images.dtype != np.uint8:
        out = out.astype(np.float32)
    block = max(1, 2**22 // max(1, images[:1].size))  # about 32 MB of float64
    for start in range(0, len(images), block):
        part = images[start : start + block].transpose(0, 3, 1, 2).astype(np.float64)
        part = (rows @ part @ columns.T).transpose(0, 2, 3, 1)
        if images.dtype == np.uint8:
            # Rounding in the sum must not decide which way a half goes.
            part = np.clip(np.floor(part + 0.5 + 1e-9), 0, 255)
        out[start : start + block] = part
    return out


def mask_of(coverage: np.ndarray) -> np.ndarray:
    """Mask `[h, w]` uint8 of the share of each pixel that is defective, in [0, 1].

    A pixel counts from one half on. A defect too thin for that keeps its most covered pixels:
    it must not vanish with the resolution.
    """
    threshold = min(0.5, float(coverage.max()))
    return ((coverage >= threshold) & (coverage > 0)).astype(np.uint8)


def resize_matrix(size: int, new: int) -> np.ndarray:
    """Weights `[new, size]` of each old pixel in each new one; rows sum to 1."""
    if new < size:  # overlap of the intervals [i, i + 1) * size / new and [j, j + 1)
        edges = np.arange(new + 1) * size / new
        pixels = np.arange(size)
        overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.clip(overlap, 0, None) * new / size
    centres = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
    return np.clip(1 - np.abs(centres[:, None] - np.arange(size)), 0, None)


def _finite(name: str, samples: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # reported below
        samples = samples.astype(np.float32) + np.float32(0)  # -0 becomes 0
    bad = ~np.isfinite(samples).all(axis=tuple(range(1, samples.ndim)))
    if bad.any():
        raise InputError(
            f"{name} has values that are not finite as float32 in {bad.sum()} of {len(samples)} "
            f"samples, first in row {np.argmax(bad)}; drop or fill them"
        )
    return samples
