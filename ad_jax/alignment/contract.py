"""What an alignment loss is: a measurement of sets of embeddings, and a loss of what it finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Sets(NamedTuple):
    """Embeddings of one network.

    Attributes:
      train: `[n, d]` of the normals trained on; augmented: `[k, d]` of their augmented copies.
      target: `[m, d]` of the unlabelled samples, or of held-out normals in their place.
      weights: `[k]` of the augmented samples, 1 on average; None = equal.
      target_weights: `[m]` of the target samples, summing to 1; None = equal.
    """

    train: jax.Array
    augmented: jax.Array
    target: jax.Array
    weights: jax.Array | None = None
    target_weights: jax.Array | None = None


class Measure(NamedTuple):
    """What a pool stores of a member and a set of samples; several losses may read the same.

    Attributes:
      name: of what is stored.
      of: from `Sets` to a named tuple of arrays, or to one number.
      kind: class of that named tuple; None = one number.
      per_sample: whether arrays `[m]` in it belong to single samples, so that bootstraps and
        subsets cost nothing afterwards; then it reads no `target_weights`.
      rows: of each set that a pool's measurement takes, at most; None = all.
    """

    name: str
    of: Callable[[Sets], Any]
    kind: Any = None
    per_sample: bool = False
    rows: int | None = None


class Alignment(NamedTuple):
    """A loss of how well `[train; augmented]` aligns with a target; lower = better aligned.

    Attributes:
      measure: what it reads.
      loss: from what is measured to a scalar; its gradient is finite everywhere.
      about: one line with the source.
    """

    measure: Measure
    loss: Callable[[Any], jax.Array]
    about: str

    def __call__(self, sets: Sets) -> jax.Array:
        """The loss of embeddings (scalar)."""
        return self.loss(self.measure.of(sets))
