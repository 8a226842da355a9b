"""What a frozen encoder is: images to feature maps, by weights that nothing here ever changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from ad_jax.train.backbones.contract import Cells


class Maps(NamedTuple):
    """What an encoder sees in images.

    Attributes:
      stages: `[n, h_i, w_i, c_i]`, shallow to deep.
      embedding: `[n, d]` of whole images.
    """

    stages: tuple[jax.Array, ...]
    embedding: jax.Array


@dataclass(frozen=True, eq=False)  # a key of compiled programs, by itself
class Encoder:
    """A frozen network as a pure function, and where it looks.

    Attributes:
      name: in `ENCODERS`.
      params: of the network, as arrays.
      apply: `(params, images [n, h, w, 3] in [0, 1]) -> Maps`.
      cells: `(side) -> where every stage's positions lie` along a side of so many px.
      layers: indices of the stages that make a grid; the first has the grid's positions.
      digest: of the weights: what they see is kept under it.
      smallest: side in px under which a stage has no second position.
    """

    name: str
    params: Any
    apply: Callable[[Any, jax.Array], Maps]
    cells: Callable[[int], tuple[Cells, ...]]
    layers: Sequence[int]
    digest: str
    smallest: int
