"""What a network is: two pure functions, and what it returns for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from ad_jax.base.errors import InputError

GROUPS = 8  # of every GroupNorm: channels are multiples of it


def as_unit(samples: jax.Array) -> jax.Array:
    """uint8 0..255 or floats in [0, 1] -> float32 in [0, 1]."""
    if samples.dtype == jnp.uint8:
        return samples.astype(jnp.float32) / 255.0
    return samples.astype(jnp.float32)


class Outputs(NamedTuple):
    """What a network returns for a batch.

    Attributes:
      embedding: `[n, d]` pooled features, not normalised.
      logits: `[n, classes]` of the pretext; `[n, 0]` for a network that only reconstructs.
      stages: feature maps `[n, h_i, w_i, c_i]`, shallow to deep; of series `[n, t_i, 1, c_i]`, of
        rows `[n, c_i]`.
      reconstruction: `[n, h, w, c]` in [0, 1] (a sigmoid), or series `[n, t, c]` and rows `[n, d]`
        without bounds; None for a network built without `decode`.
    """

    embedding: jax.Array
    logits: jax.Array
    stages: tuple[jax.Array, ...]
    reconstruction: jax.Array | None = None


class Cells(NamedTuple):
    """Where positions of a feature map lie along a side: j is centred at `first + j * stride`.

    Attributes:
      stride: px from one centre to the next.
      first: px from the centre of the image's first pixel to that of position 0.
    """

    stride: float = 1.0
    first: float = 0.0

    def count(self, side: int) -> int:
        """Positions whose centre lies on an image of `side` px."""
        return math.floor((side - 1 - self.first) / self.stride) + 1


class Backbone(NamedTuple):
    """A network as two pure functions, and where it looks.

    Attributes:
      init: `(key) -> params`.
      apply: `(params, samples [n, h, w, c] in [0, 1], series [n, t, c] or rows [n, d]) -> Outputs`.
      cells: where every stage's positions lie, along either side, or in time; empty where stages
        are rows.
      enter: `(params, samples as they are kept [n, ...]) -> samples as `apply` takes them`.
      fit: `(params, normals [n, ...]) -> params`: what `enter` takes from the normals.
      fixed: names of the params that `fit` sets and training leaves alone.
      pieces: `(samples [n, ...]) -> [k, ...]`: what a training step draws from, where that is not
        whole samples.
      learns: whether training changes anything; else all that it knows comes from `fit`.
    """

    init: Callable[[jax.Array], Any]
    apply: Callable[[Any, jax.Array], Outputs]
    cells: tuple[Cells, ...] = ()
    enter: Callable[[Any, jax.Array], jax.Array] = lambda params, samples: as_unit(samples)
    fit: Callable[[Any, jax.Array], Any] = lambda params, normals: params
    fixed: tuple[str, ...] = ()
    pieces: Callable[[jax.Array], jax.Array] = lambda samples: samples
    learns: bool = True


class Factory(Protocol):
    """A backbone for samples of a shape; `decode` adds a decoder."""

    def __call__(
        self, shape: tuple[int, ...], classes: int, width: int = ..., decode: bool = ...
    ) -> Backbone: ...


def pure(network: nn.Module, shape: tuple[int, ...], cells: tuple[Cells, ...] = ()) -> Backbone:
    """The two functions of a flax module for samples of `shape`, and the cells of its stages."""

    def init(key: jax.Array) -> Any:
        return network.init(key, jnp.zeros((1, *shape)))["params"]

    def apply(params: Any, samples: jax.Array) -> Outputs:
        return network.apply({"params": params}, samples)  # type: ignore[return-value]

    return Backbone(init, apply, cells)


def check_classes(classes: int, decode: bool) -> None:
    """Refuses a network that would have nothing to train.

    Raises:
      InputError: no logits and no reconstruction.
    """
    if classes < 0 or (classes == 0 and not decode):
        raise InputError(
            f"a network with classes={classes} has nothing to train: give it logits (classes=2 or "
            "more) or let it reconstruct (classes=0 with decode=True)"
        )


def check_images(name: str, shape: tuple[int, ...], width: int, smallest: int) -> None:
    """Refuses what a convolutional network cannot take.

    Raises:
      InputError: samples that are no images, sides below `smallest`, widths that GroupNorm cannot
        split; the message names the value and the way out.
    """
    if len(shape) != 3:
        raise InputError(f"the {name} takes images [h, w, c], got a sample of shape {shape}")
    if min(shape[:2]) < smallest:
        raise InputError(
            f"images of {shape[0]} x {shape[1]} px are smaller than the network's "
            f"{smallest} px: load them with size={smallest} or more, or take larger tiles"
        )
    check_width(name, width)


def check_width(name: str, width: int) -> None:
    """Refuses widths that GroupNorm cannot split.

    Raises:
      InputError: the message names the next one that it can.
    """
    if width < GROUPS or width % GROUPS:
        above = max(1, -(-width // GROUPS)) * GROUPS
        raise InputError(
            f"the {name} takes a width that is a multiple of {GROUPS}, got {width}: take {above}"
        )
