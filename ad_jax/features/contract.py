"""What a frozen encoder is: samples to feature maps, by weights that nothing here ever changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from ad_jax.train.backbones.contract import Cells


class Maps(NamedTuple):
    """What an encoder sees in samples.

    Attributes:
      stages: `[n, h_i, w_i, c_i]`, shallow to deep.
      embedding: `[n, d]` of whole samples.
    """

    stages: tuple[jax.Array, ...]
    embedding: jax.Array


@dataclass(frozen=True, eq=False)  # a key of compiled programs, by itself
class Encoder:
    """A frozen network as a pure function, and where it looks.

    Attributes:
      name: in `ENCODERS`.
      params: of the network, as arrays.
      apply: `(params, images [n, h, w, 3] in [0, 1]) -> Maps`; of series `[n, t, c]`, of rows
        `[n, d]`.
      cells: `(side) -> where every stage's positions lie` along a side of so many px.
      layers: indices of the stages that make a grid; the first has the grid's positions.
      digest: of the weights: what they see is kept under it.
      smallest: side in px under which a stage has no second position.
      sees: what samples it takes, of `base.modality`.
      block: samples a forward pass, fewer where images are large.
    """

    name: str
    params: Any
    apply: Callable[[Any, jax.Array], Maps]
    cells: Callable[[int], tuple[Cells, ...]]
    layers: Sequence[int]
    digest: str
    smallest: int
    sees: tuple[str, ...] = ("image",)
    block: int = 16

    @property
    def learned(self) -> bool:
        """Whether it has weights: what it sees is worth keeping, and is kept as float16."""
        return "image" in self.sees
