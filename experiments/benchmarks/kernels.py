"""Every augmentation of the catalogue that torchvision v2, PIL or dm-pix have, against theirs.

    python -m experiments.benchmarks.kernels --only rotate,blur --side 64

Ours draws a hyperparameter for
every sample, returns a mask besides and is jitted over the vmapped batch. The others get a batch in
the layout they like best, conversions not counted, and arguments that are already drawn:
torchvision v2 float images `[n, c, h, w]` and one argument for the whole batch, PIL a list of uint8
images, dm_pix floats `[n, h, w, c]` jitted over the vmapped batch. Results agree inside the image;
what moves in from outside is black in torchvision and PIL. Left out for another definition:
dm_pix's brightness, contrast and saturation. torchvision draws its noise itself, as ours does.
"""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from ad_jax.augment import CATALOGUE, Augmentation
from experiments.benchmarks.timing import (
    OURS,
    Plan,
    Row,
    against_best,
    in_turn,
    machine,
    missing,
    table,
)

ANGLE, SHEAR, SCALE, SHIFT = 20.0, 10.0, 1.1, 0.125  # degrees, degrees, factor, share of the side
CROP = 0.75  # share of the side
PATCH = 0.28  # share of the side
SIGMA, FACTOR, TURN, EXPONENT, STD = 1.0, 1.4, 0.1, 1.5, 0.1
BATCH, SIDE = 64, 256
AIM = 1.2

Run = Callable[[], Any]


class Warp(NamedTuple):
    """What is done to the content about its centre, in this order."""

    scale: float = 1.0
    shear: float = 0.0
    angle: float = 0.0
    shift: float = 0.0

    def matrix(self, side: int) -> np.ndarray:
        """Where a pixel (row, column, 1) is read: `[2, 3]`."""
        turned, slope = math.radians(self.angle), math.tan(math.radians(self.shear))
        turn = np.array([[np.cos(turned), np.sin(turned)], [-np.sin(turned), np.cos(turned)]])
        linear = np.array([[1.0, 0.0], [-slope, 1.0]]) @ turn / self.scale
        centre = np.full(2, (side - 1) / 2)
        return np.column_stack([linear, centre - linear @ (centre + self.shift * side)])


WARPS = {
    "translate": Warp(shift=SHIFT),
    "shear": Warp(shear=SHEAR),
    "affine": Warp(SCALE, SHEAR, ANGLE, SHIFT),
}


def of_pix(images: np.ndarray) -> dict[str, Run]:
    """dm_pix by our names, as calls without arguments that return when done."""
    batch, side = jnp.asarray(images), images.shape[1]
    count = len(images)

    def each(function: Callable[..., jax.Array], value: Any = None) -> Run:
        if value is None:
            compiled = jax.jit(jax.vmap(function))
            return lambda: jax.block_until_ready(compiled(batch))
        values = jnp.broadcast_to(jnp.asarray(value), (count, *np.shape(value)))
        compiled = jax.jit(jax.vmap(function))
        return lambda: jax.block_until_ready(compiled(batch, values))

    def warp(image: jax.Array, matrix: jax.Array) -> jax.Array:
        linear = jnp.eye(3).at[:2, :2].set(matrix[:, :2])
        return dm_pix.affine_transform(image, linear, offset=jnp.append(matrix[:, 2], 0.0))

    size = 2 * max(2, round(0.05 * side)) + 1
    return {
        "quarter_turns": each(dm_pix.rot90),
        "horizontal_flip": each(dm_pix.flip_left_right),
        "vertical_flip": each(dm_pix.flip_up_down),
        "rotate": each(lambda x, angle: dm_pix.rotate(x, angle), math.radians(ANGLE)),
        **{name: each(warp, value.matrix(side)) for name, value in WARPS.items()},
        "blur": each(lambda x, sigma: dm_pix.gaussian_blur(x, sigma, size), SIGMA),
        "hue": each(dm_pix.adjust_hue, TURN),
        "gamma": each(dm_pix.adjust_gamma, EXPONENT),
        "greyscale": each(dm_pix.rgb_to_grayscale),
    }


def of_pil(images: np.ndarray) -> dict[str, Run]:
    """PIL by our names."""
    pictures = [Image.fromarray(image) for image in np.uint8(np.round(255.0 * images))]
    side = images.shape[1]
    linear = Image.Resampling.BILINEAR
    corner, cut = (1 - CROP) / 2 * side, round(PATCH * side)

    def each(function: Callable[[Image.Image], Any]) -> Run:
        return lambda: [function(picture) for picture in pictures]

    def transpose(method: Image.Transpose) -> Run:
        return each(lambda x: x.transpose(method))

    def warp(matrix: np.ndarray) -> Run:
        swapped = matrix[::-1, [1, 0, 2]]  # columns before rows, counted from the pixels' corners
        swapped[:, 2] += 0.5 - 0.5 * swapped[:, :2].sum(1)
        numbers = tuple(swapped.ravel().tolist())
        return each(lambda x: x.transform(x.size, Image.Transform.AFFINE, numbers, linear))

    def erase(picture: Image.Image) -> Image.Image:
        picture = picture.copy()
        picture.paste((0, 0, 0), (2, 2, 2 + cut, 2 + cut))
        return picture

    table = [round(255.0 * (i / 255.0) ** EXPONENT) for i in range(256)] * 3
    window = (corner, corner, side - corner, side - corner)
    return {
        "quarter_turns": transpose(Image.Transpose.ROTATE_90),
        "horizontal_flip": transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "vertical_flip": transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        "rotate": each(lambda x: x.rotate(ANGLE, linear)),
        **{name: warp(value.matrix(side)) for name, value in WARPS.items()},
        "resized_crop": each(lambda x: x.resize(x.size, linear, box=window)),
        "cutout": each(erase),
        "blur": each(lambda x: x.filter(ImageFilter.GaussianBlur(SIGMA))),
        "brightness": each(lambda x: ImageEnhance.Brightness(x).enhance(FACTOR)),
        "contrast": each(lambda x: ImageEnhance.Contrast(x).enhance(FACTOR)),
        "saturation": each(lambda x: ImageEnhance.Color(x).enhance(FACTOR)),
        "gamma": each(lambda x: x.point(table)),
        "greyscale": each(lambda x: x.convert("L").convert("RGB")),
        "invert": each(ImageOps.invert),
    }


def of_torchvision(images: np.ndarray) -> dict[str, Run]:
    """torchvision v2 by our names; empty where it is not installed."""
    if missing("torchvision"):
        return {}
    torch = importlib.import_module("torch")
    v2 = importlib.import_module("torchvision.transforms.v2")
    f, linear = v2.functional, v2.InterpolationMode.BILINEAR
    batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    side = images.shape[1]
    corner, cut, crop = round((1 - CROP) / 2 * side), round(PATCH * side), round(CROP * side)
    size = 2 * max(2, round(0.05 * side)) + 1

    def warp(to: Warp) -> Run:
        by = round(to.shift * side)
        return lambda: f.affine(batch, -to.angle, [by, by], to.scale, [-to.shear, 0.0], linear)

    def jitter() -> Any:
        x = f.adjust_contrast(f.adjust_brightness(batch, FACTOR), FACTOR)
        return f.adjust_hue(f.adjust_saturation(x, FACTOR), TURN)

    return {
        "horizontal_flip": lambda: f.horizontal_flip(batch),
        "vertical_flip": lambda: f.vertical_flip(batch),
        "rotate": lambda: f.rotate(batch, ANGLE, linear),
        **{name: warp(value) for name, value in WARPS.items()},
        "resized_crop": lambda: f.resized_crop(
            batch, corner, corner, crop, crop, [side, side], linear, antialias=False
        ),
        "cutout": lambda: f.erase(batch, 2, 2, cut, cut, torch.zeros(1, 1, 1)),
        "gaussian_noise": lambda: f.gaussian_noise(batch, 0.0, STD, True),
        "blur": lambda: f.gaussian_blur(batch, [size, size], [SIGMA, SIGMA]),
        "brightness": lambda: f.adjust_brightness(batch, FACTOR),
        "contrast": lambda: f.adjust_contrast(batch, FACTOR),
        "saturation": lambda: f.adjust_saturation(batch, FACTOR),
        "hue": lambda: f.adjust_hue(batch, TURN),
        "gamma": lambda: f.adjust_gamma(batch, EXPONENT),
        "colour_jitter": jitter,
        "greyscale": lambda: f.rgb_to_grayscale(batch, 3),
        "invert": lambda: f.invert(batch),
    }


LIBRARIES: Mapping[str, Callable[[np.ndarray], dict[str, Run]]] = {
    "torchvision": of_torchvision,
    "PIL": of_pil,
    "dm_pix": of_pix,
}


def ours(entry: Augmentation, images: np.ndarray) -> Run:
    """One batch through an entry at its defaults: `[n, h, w, c]` and masks `[n, h, w]`."""
    batch, donors = jnp.asarray(images), jnp.roll(jnp.asarray(images), 1, axis=0)
    keys = jax.random.split(jax.random.key(0), len(images))
    hyper = jax.tree.map(jnp.float32, entry.defaults())
    compiled = jax.jit(jax.vmap(entry.random, (0, None, 0, 0)))
    return lambda: jax.block_until_ready(compiled(keys, hyper, batch, donors))


def compare(names: Iterable[str], side: int, plan: Plan) -> list[Row]:
    """Those of the names that another library has, on a batch of images of a side."""
    shape = (4 if plan.quick else BATCH, side, side, 3)
    images = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    libraries = {library: rivals(images) for library, rivals in LIBRARIES.items()}
    found = []
    for name in names:
        others = {library: known[name] for library, known in libraries.items() if name in known}
        if others:
            seconds = in_turn({OURS: ours(CATALOGUE[name], images), **others}, plan)
            what = f"{name}, {shape[0]} images of {side} px"
            found.append(against_best(what, AIM, seconds))
    return found


def rows(plan: Plan) -> list[Row]:
    found = compare(CATALOGUE, 32 if plan.quick else SIDE, plan)
    reason = missing("torchvision")
    return [
        row._replace(against=f"{row.against}; {reason}" if reason else row.against) for row in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--side", type=int, default=SIDE, help="px")
    parser.add_argument("--only", default="", help="names from the catalogue, comma-separated")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name] or list(CATALOGUE)
    unknown = sorted(set(names) - set(CATALOGUE))
    if unknown:
        parser.error(f"no augmentation {', '.join(unknown)}; known: {', '.join(CATALOGUE)}")
    print(f"{machine()}\n\n{table(compare(names, options.side, Plan(rounds=options.rounds)))}")


if __name__ == "__main__":
    main()
