"""Images as grids of features: a frozen encoder's stages on one set of positions.

Two stages of an encoder, each averaged over 3 x 3 positions, the deeper one interpolated at the
positions of the shallower one (PatchCore, arXiv 2106.08265; there by area, here by where the
positions are centred). What an image becomes is kept by its content and the encoder's weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.modality import CALLED, mask_shape, modality
from ad_jax.data.samples import content_hashes
from ad_jax.features.contract import Encoder
from ad_jax.features.placing import Grid, on_grid
from ad_jax.store import Record, digest
from ad_jax.train.backbones.contract import Cells, as_unit

PIXELS = 2**22  # a forward pass: about 1 GB on the way through
FORM = 1  # of what is kept; another number is encoded again


class Features(NamedTuple):
    """What a frozen encoder sees in images.

    Attributes:
      grid: `[n, gh, gw, d]`, float16 of images.
      embedding: `[n, k]` float32 of whole images.
    """

    grid: np.ndarray
    embedding: np.ndarray


def cells(encoder: Encoder, side: int) -> Cells:
    """Where the grid's positions lie along a side of so many px."""
    return encoder.cells(side)[encoder.layers[0]]


def make_grids(
    encoder: Encoder, shape: tuple[int, ...]
) -> Callable[[object, jax.Array], tuple[jax.Array, jax.Array]]:
    """`(params, images [n, h, w, c] in [0, 1]) -> (grid [n, gh, gw, d], embedding [n, k])`.

    Grey images are seen as grey images in colour. Series `[n, t, c]` and rows `[n, d]` likewise, by
    encoders that see these.

    Args:
      encoder: frozen.
      shape: `(h, w, c)` of one image.

    Raises:
      InputError: a sample that is no image, other channels, or a side that is too small.
    """
    if not encoder.learned:
        return _of_plain(encoder, shape)
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise InputError(
            f"{encoder.name} sees images of 1 or 3 channels, these are {shape}; give grey or RGB"
        )
    if min(shape[:2]) < encoder.smallest:
        raise InputError(
            f"{encoder.name} needs {encoder.smallest} px a side, these are {shape[0]} x "
            f"{shape[1]}; load larger images (size=), or take larger tiles"
        )
    down, across = (encoder.cells(side) for side in shape[:2])
    first = encoder.layers[0]

    def grids(params: object, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        colours = jnp.broadcast_to(images, (*images.shape[:3], 3))
        maps = encoder.apply(params, colours)
        _, height, width, _ = maps.stages[first].shape
        grid = Grid((height, width), (down[first], across[first]))
        found = [on_grid(maps.stages[i], (down[i], across[i]), grid) for i in encoder.layers]
        return jnp.concatenate(found, axis=-1), maps.embedding

    return grids


def _of_plain(
    encoder: Encoder, shape: tuple[int, ...]
) -> Callable[[object, jax.Array], tuple[jax.Array, jax.Array]]:
    if modality(shape) not in encoder.sees:
        raise InputError(
            f"{encoder.name} sees {' or '.join(CALLED[one] for one in encoder.sees)}, these are "
            f"{shape}; take another backbone"
        )

    def grids(params: object, samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        maps = encoder.apply(params, samples)
        return maps.stages[encoder.layers[0]], maps.embedding

    return grids


@functools.lru_cache(maxsize=8)
def program(encoder: Encoder, shape: tuple[int, ...]) -> Callable:
    """`make_grids` compiled, of images as they are kept; grids are float16."""
    grids = make_grids(encoder, shape)

    def run(params: object, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        grid, embedding = grids(params, as_unit(images))
        return grid.astype(jnp.float16) if encoder.learned else grid, embedding

    return jax.jit(run)


def in_blocks(encoder: Encoder, images: np.ndarray, block: int | None = None) -> Iterator[Features]:
    """Features of images `[n, h, w, c]`, uint8 or float in [0, 1], block by block; or of others.

    Every block has one shape, so that one program serves them all: the last is filled up.
    """
    run = program(encoder, images.shape[1:])
    block = encoder.block if block is None else block
    block = max(1, min(block, PIXELS // math.prod(mask_shape(images.shape[1:]))))
    for start in range(0, len(images), block):
        rows = np.minimum(np.arange(start, start + block), len(images) - 1)
        grid, embedding = run(encoder.params, jnp.asarray(images[rows]))
        count = min(block, len(images) - start)
        yield Features(np.asarray(grid)[:count], np.asarray(embedding)[:count])


def _names(encoder: Encoder, images: np.ndarray) -> list[str]:
    about = {"features": FORM, "weights": encoder.digest, "layers": list(encoder.layers)}
    return [digest({**about, "image": one}) for one in content_hashes(images)]


def encode(
    encoder: Encoder,
    images: np.ndarray,
    record: Record | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Features:
    """Features of images; what a record holds is not computed again.

    Args:
      encoder: frozen.
      images: `[n, h, w, c]` uint8 or float32 in [0, 1].
      record: keeps every block when it is done; None keeps nothing.
      report: called with the images done and the images in all, after every block.

    Raises:
      InputError: images that the encoder cannot see.
    """
    names = _names(encoder, images)
    found: dict[str, Features] = {}
    for name in names if record else ():
        row = record.get(name) if record and name not in found else None
        if row is not None:
            found[name] = Features(row["grid"], row["embedding"])
    lacking = [i for i, name in enumerate(names) if name not in found]
    lacking = list({names[i]: i for i in lacking}.values())  # equal images once
    done = 0
    for block in in_blocks(encoder, images[lacking]) if lacking else ():
        own = [names[i] for i in lacking[done : done + len(block.grid)]]
        found |= {name: Features(*one) for name, one in zip(own, zip(*block), strict=True)}
        if record:
            record.put({name: found[name]._asdict() for name in own}, durable=False)
        done += len(own)
        if report:
            report(len(images) - len(lacking) + done, len(images))
    return Features(*(np.stack(arrays) for arrays in zip(*(found[name] for name in names))))
