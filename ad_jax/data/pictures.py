"""One image file as a sample: the same for training and for scoring.

How a file becomes a sample:

1. decoded (first frame only, by the file's content), turned as its EXIF orientation says;
2. brought to one scale. Files of 8 bits are kept as they are; palettes and CMYK become RGB. Files
   of more bits (16-bit grey and colour, 32-bit integers, floats) are scaled by a range: values
   between its ends, and clipped to it. Without a range the ends are 0 and 65535, of floats 0 and 1,
   and nothing may lie outside. Transparency is composited on black; an alpha that is 0 everywhere
   is none;
3. fitted to the samples' sides (`fit`) and resized with PIL's bicubic filter, which widens when it
   reduces and so does not alias;
4. colour: pictures whose channels are equal everywhere count as grey; luma is ITU-R 601.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from ad_jax.base.errors import check_name

if TYPE_CHECKING:
    from PIL import Image

FITS = ("stretch", "crop", "pad")
MAX_PIXELS = 200_000_000  # of one file; its decoding takes up to 4 bytes a pixel, in each thread

_FORMATS = (  # by content: no other decoder runs on a misnamed file
    "PNG",
    "JPEG",
    "BMP",
    "TIFF",
    "WEBP",
    "GIF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "DIB",  # BMP without the header of a file
)
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 1/65536, as PIL computes it
# Raw modes of 16-bit colour, of which PIL keeps one byte in two: the mode that keeps the other.
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

Result = TypeVar("Result")


class Reading(NamedTuple):
    """How image files become samples.

    Attributes:
      sides: height and width of the samples in px.
      fit: how a picture gets these sides: "stretch", "crop" (the centre) or "pad" (with black).
      range: values of files of more than 8 bits that become black and white, None if not known.
      dtype: of the samples: "uint8", or "float32" in [0, 1].
      max_pixels: largest file that is decoded.
    """

    sides: tuple[int, int]
    fit: str = "stretch"
    range: tuple[float, float] | None = None
    dtype: str = "uint8"
    max_pixels: int = MAX_PIXELS

    def check(self) -> None:
        """Refuses an unknown `fit`."""
        check_name(FITS, self.fit, "fit")


class Picture(NamedTuple):
    """One file that was read.

    Attributes:
      pixels: `[*sides, 1 or 3]`, with one channel if its channels are equal.
      width, height: of the file in px.
      deep: the file has more than 8 bits.
      clipped: it holds values outside the range.
    """

    pixels: np.ndarray
    width: int
    height: int
    deep: bool = False
    clipped: bool = False


class Values(NamedTuple):
    """What a file of more than 8 bits holds.

    Attributes:
      low, high: its smallest and largest value.
      whole: its values are integers.
      repeated: they are 8 bits, written twice.
    """

    low: float
    high: float
    whole: bool
    repeated: bool


def in_threads(
    pool: concurrent.futures.Executor,
    look: Callable[[pathlib.Path], Result],
    files: Iterable[pathlib.Path],
) -> list[Result | str]:
    """`look` at every file (PIL lets go of the interpreter lock), or why one does not read."""

    def one(file: pathlib.Path) -> Result | str:
        try:
            return look(file)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  (decoders raise anything on damaged files)
            return _why_bad(file, error)

    with without_limit():
        return list(pool.map(one, files))


def threads() -> concurrent.futures.ThreadPoolExecutor:
    """Threads that decode."""
    return concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1))


def look(file: pathlib.Path, reading: Reading) -> Picture | Values:
    """A file of 8 bits as a picture, of any other the values that it holds."""
    found = decoded(file, reading.max_pixels)
    if not isinstance(found, np.ndarray):
        return _of_bytes(found, reading)
    low, high = float(found.min()), float(found.max())
    if not np.isfinite((low, high)).all():
        raise ValueError("values that are not finite")
    whole = found.dtype.kind != "f"
    return Values(low, high, whole, whole and not (found % 257).any())


def read(file: pathlib.Path, reading: Reading) -> Picture:
    """One file as a picture."""
    found = decoded(file, reading.max_pixels)
    if not isinstance(found, np.ndarray):
        return _of_bytes(found, reading)
    values, clipped = _scaled(found, reading.range)
    height, width = values.shape[:2]
    if reading.dtype == "uint8":
        from PIL import Image

        small = _of_bytes(Image.fromarray(np.floor(values * 255 + 0.5).astype(np.uint8)), reading)
        return small._replace(deep=True, clipped=clipped)
    layers = np.atleast_3d(values).astype(np.float32)
    return Picture(_equal_once(_fitted_floats(layers, reading)), width, height, True, clipped)


def in_colour(picture: np.ndarray, to_grey: bool) -> np.ndarray:
    """`[h, w, 1 or 3]` to `[h, w, 1]` if `to_grey`, else `[h, w, 3]`."""
    if not to_grey:
        return np.broadcast_to(picture, (*picture.shape[:2], 3))
    if picture.shape[2] == 1:
        return picture
    if picture.dtype == np.uint8:
        return (((picture @ _LUMA) + 0x8000) >> 16).astype(np.uint8)[..., None]
    return (picture @ (_LUMA / 65536).astype(np.float32))[..., None]


def fitted(
    image: Image.Image, sides: tuple[int, int], fit: str, method: Image.Resampling
) -> Image.Image:
    """The image with a height and a width of `sides` px."""
    from PIL import Image

    width, height = image.size
    down, across = sides
    if fit == "crop":
        kept = min(width, max(1, round(height * across / down)))
        rows = min(height, max(1, round(width * down / across)))
        left, top = (width - kept) // 2, (height - rows) // 2
        box = (left, top, left + kept, top + rows)
        return image.crop(box).resize((across, down), method)  # not `box=`: it looks outside
    if fit == "pad":
        scale = min(down / height, across / width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        whole = Image.new(image.mode, (across, down))
        whole.paste(image.resize(inner, method), ((across - inner[0]) // 2, (down - inner[1]) // 2))
        return whole
    return image.resize((across, down), method)


@contextlib.contextmanager
def opened(file: pathlib.Path, max_pixels: int) -> Iterator[Image.Image]:
    """An image file, opened and not yet decoded."""
    from PIL import Image

    with Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
        if image.width * image.height > max_pixels:
            raise ValueError(
                f"{image.width} x {image.height} px are more than max_pixels={max_pixels}; "
                f"give max_pixels={image.width * image.height}, or cut it into pieces"
            )
        yield image


def upright_size(file: pathlib.Path) -> tuple[int, int]:
    """Width and height of a file in px as it is to be shown, from its header."""
    with opened(file, 2**62) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations by a quarter
    return (height, width) if turned else (width, height)


def decoded(file: pathlib.Path, max_pixels: int) -> Image.Image | np.ndarray:
    """Mode L or RGB; of more than 8 bits the values `[h, w]` or `[h, w, 3]`."""
    from PIL import ImageOps

    with opened(file, max_pixels) as image:
        raw_mode = _raw_mode(image)
        if ";16" in raw_mode and image.mode in ("RGB", "RGBA"):
            return _deep_colour(file, image, raw_mode)
        upright = ImageOps.exif_transpose(image)
        if upright.mode[0] in "IF":
            return np.asarray(upright)
        return _of_8_bits(upright)


def _raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, in PIL's words; "" where it does not say."""
    bits: Any = getattr(image, "tag_v2", {}).get(258, (8,))  # of each channel of a TIFF
    tiles: Any = getattr(image, "tile", ())
    raw = tiles[0][3] if tiles else ""
    raw = raw if isinstance(raw, str) else str(raw[0]) if raw else ""
    if image.mode in ("RGB", "RGBA") and max(bits) > 8 and ";16" not in raw:
        raise ValueError(f"{max(bits)}-bit colour in this form; save it as PNG")
    return raw


def _deep_colour(file: pathlib.Path, image: Image.Image, raw_mode: str) -> np.ndarray:
    """16-bit colour `[h, w, 3]`, of which PIL decodes one byte in two: decoded twice."""
    from PIL import ImageOps

    def bytes_of(one: Image.Image, raw: str) -> np.ndarray:
        tiles: Any = one.tile  # type: ignore[attr-defined]
        one.tile = [  # type: ignore[attr-defined]
            getattr(tile, "_make", tuple)(  # a plain tuple before Pillow 11
                (*tile[:3], raw if isinstance(tile[3], str) else (raw, *tile[3][1:]))
            )
            for tile in tiles
        ]
        return np.asarray(ImageOps.exif_transpose(one)).astype(np.uint16)

    if raw_mode == "LA;16B":  # both bytes of grey and of alpha, as four channels
        four = bytes_of(image, "RGBA")
        values = four[..., 0::2] * np.uint16(256) + four[..., 1::2]
        values = values[..., [0, 0, 0, 1]]
    else:
        with opened(file, 2**62) as again:
            low = bytes_of(again, raw_mode[:-1] + _OTHER_BYTE[raw_mode[-1]])
        values = bytes_of(image, raw_mode) * np.uint16(256) + low
    if values.shape[2] == 4:
        alpha = values[..., 3:].astype(np.float64) / 65535
        values = values[..., :3]
        if alpha.any():
            values = np.floor(values * alpha + 0.5).astype(np.uint16)
    return values


def _of_8_bits(image: Image.Image) -> Image.Image:
    """Mode L or RGB."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[1] == 0:
            return image.convert("RGB")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _scaled(values: np.ndarray, ends: tuple[float, float] | None) -> tuple[np.ndarray, bool]:
    """Values of a file of more than 8 bits in [0, 1], and whether some were clipped."""
    low, high = ends or ((0, 1) if values.dtype.kind == "f" else (0, 65535))
    least, most = values.min(), values.max()
    if not (np.isfinite(least) and np.isfinite(most)):
        raise ValueError("values that are not finite")
    outside = bool(least < low or most > high)
    if outside and ends is None:
        raise ValueError(
            f"values {least:g} to {most:g} beyond {low} to {high}; give range=LOW-HIGH, what "
            "becomes black and white"
        )
    exact = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.clip((exact - low) / (high - low), 0, 1), outside


def _of_bytes(image: Image.Image, reading: Reading) -> Picture:
    """A picture of an image of mode L or RGB."""
    from PIL import Image

    pixels = np.asarray(fitted(image, reading.sides, reading.fit, Image.Resampling.BICUBIC))
    pixels = _equal_once(np.atleast_3d(pixels))
    if reading.dtype != "uint8":
        pixels = pixels.astype(np.float32) / np.float32(255)
    return Picture(pixels, *image.size)


def _fitted_floats(values: np.ndarray, reading: Reading) -> np.ndarray:
    """`[h, w, c]` in [0, 1] as `[*sides, c]` float32."""
    from PIL import Image

    layers = [
        fitted(
            Image.fromarray(np.ascontiguousarray(values[..., k])),
            reading.sides,
            reading.fit,
            Image.Resampling.BICUBIC,
        )
        for k in range(values.shape[2])
    ]
    return np.clip(np.stack([np.asarray(layer) for layer in layers], axis=2), 0, 1)


def _equal_once(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., :1] if (pixels == pixels[..., :1]).all() else pixels


def _why_bad(file: pathlib.Path, error: Exception) -> str:
    """Why a file did not read, in a few words."""
    from PIL import Image

    if not os.path.lexists(file):
        return "no such file"
    if not file.exists():
        return "broken link"
    if file.stat().st_size == 0:
        return "empty file"
    text = str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        text = f"no {', '.join(_FORMATS)} image"
    return " ".join(text.split()) or type(error).__name__


_users = 0
_limit: int | None = None
_lock = threading.Lock()


@contextlib.contextmanager
def without_limit() -> Iterator[None]:
    """PIL with all formats, and without its own limit of pixels: `opened` has ours.

    PIL applies its limit to crops, too, and keeps it for the whole process.
    """
    from PIL import Image

    global _users, _limit
    Image.init()  # its lazy registration of formats is not made for threads
    with _lock:
        if _users == 0:
            _limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                Image.MAX_IMAGE_PIXELS = _limit
