"""What an augmentation is: draw arguments, apply them to one sample, say what changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.errors import InputError


class Range(NamedTuple):
    """One hyperparameter: a parameter of the distribution that arguments are drawn from.

    Attributes:
      default: value when nothing is said.
      low, high: bounds, both allowed.
      scale: "log" or "linear": how a grid or a search spaces its values.
      unit: what the number counts.
      gradient: whether a gradient flows from the augmented sample to it.
      about: one line for people.
    """

    default: float
    low: float
    high: float
    scale: str
    unit: str
    gradient: bool
    about: str


def at_share(low: float, high: float, scale: str, share: Any) -> Any:
    """The value at a share in [0, 1] of a range; a gradient flows from the share."""
    if scale == "log":
        return low * (high / low) ** share
    return low + share * (high - low)


class Pseudo(NamedTuple):
    """One pseudo-anomaly.

    Attributes:
      sample: `[h, w, c]`.
      mask: `[h, w]`, 1 where it was changed.
      kind: index of its kind, int32.
      weight: how much it counts in a loss, 1 on average; only relaxed mixtures differ from 1.
    """

    sample: jax.Array
    mask: jax.Array
    kind: jax.Array
    weight: jax.Array


def smallest_area(shape: tuple[int, ...]) -> float:
    """Share of the image of a patch of 2 x 2 px: anything smaller changes nothing."""
    return 4.0 / (shape[0] * shape[1])


class Augmentation(NamedTuple):
    """A family of pseudo-anomalies: pure functions of one sample.

    Attributes:
      draw: `(key, hyper, shape) -> arguments`; `hyper` is a dict of scalars named as in `space`.
      apply: `(sample [h, w, c], arguments, donor [h, w, c]) -> (augmented [h, w, c], mask [h, w])`,
        all in [0, 1]; `donor` is another training sample, ignored by most; the mask says what
        changed, all ones for operations on the whole sample.
      space: hyperparameter name -> `Range`; the order is the packed order.
      group: geometric, local, elementwise, colour or mixed.
      strength: name of the hyperparameter that a grid over "strength" moves, None without one.
      source: where the definition comes from.
      views: `(sample) -> [classes, h, w, c]` for families of finitely many transformations (the
        first is the identity): what the pretext `prediction` predicts. None for the others.
      needs: what a sample must be for the operation to change it: "square", "colour".
      rows: whether it takes rows `[d]` in [0, 1], too: it treats every value by itself.
      parts: names of the kinds of pseudo-anomalies that it makes, if several: what the pretext
        `kinds` tells apart.
      kind: `(arguments) -> index into parts`; None for a single kind.
      smallest: `(shape) -> smallest strength` that changes samples of this shape, None for any.
    """

    draw: Callable[..., Any]
    apply: Callable[..., tuple[jax.Array, jax.Array]]
    space: Mapping[str, Range]
    group: str
    strength: str | None
    source: str
    views: Callable[[jax.Array], jax.Array] | None = None
    needs: tuple[str, ...] = ()
    rows: bool = False
    parts: tuple[str, ...] = ()
    kind: Callable[[Any], jax.Array] | None = None
    smallest: Callable[[tuple[int, ...]], float] | None = None

    def random(
        self, key: jax.Array, hyper: Mapping[str, Any], sample: jax.Array, donor: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Draws arguments and applies them to one sample; the key is consumed."""
        return self.apply(sample, self.draw(key, hyper, sample.shape), donor)

    def pseudo(
        self, key: jax.Array, hyper: Mapping[str, Any], sample: jax.Array, donor: jax.Array
    ) -> Pseudo:
        """`random` with the kind that was drawn."""
        arguments = self.draw(key, hyper, sample.shape)
        kind = jnp.int32(0) if self.kind is None else self.kind(arguments)
        return Pseudo(*self.apply(sample, arguments, donor), kind, jnp.float32(1.0))

    def strengths(self, count: int, shape: tuple[int, ...]) -> list[dict[str, float]]:
        """Hyperparameters at `count` strengths spread over the range, inside its bounds.

        The other hyperparameters keep their defaults; an entry without strength gives one setting.
        """
        if self.strength is None:
            return [self.defaults()]
        space, low = self.space[self.strength], self.low(self.strength, shape)
        shares = [(i + 0.5) / count for i in range(count)]
        values = [at_share(low, space.high, space.scale, share) for share in shares]
        return [{**self.defaults(), self.strength: value} for value in values]

    def low(self, name: str, shape: tuple[int, ...]) -> float:
        """Lower bound of a hyperparameter for samples of `shape`."""
        low = self.space[name].low
        if self.smallest is not None and name == self.strength:
            return max(low, self.smallest(shape))
        return low

    def defaults(self) -> dict[str, float]:
        return {name: entry.default for name, entry in self.space.items()}

    def pack(self, hyper: Mapping[str, Any], length: int) -> jax.Array:
        """Hyperparameters as a vector `[length]`, so that families can share one program."""
        values = [jnp.asarray(hyper[name], jnp.float32) for name in self.space]
        return jnp.stack(values + [jnp.float32(0.0)] * (length - len(values)))

    def unpack(self, packed: jax.Array) -> dict[str, jax.Array]:
        return {name: packed[i] for i, name in enumerate(self.space)}

    def lacks(self, shape: tuple[int, ...]) -> str:
        """What samples of `shape` lack for this operation, "" if nothing."""
        if len(shape) != 3 and not self.rows:
            return "images [h, w, c]"
        if "square" in self.needs and shape[0] != shape[1]:
            return "square images"
        if "colour" in self.needs and shape[-1] != 3:
            return "colour images"
        return ""

    def check(self, name: str, hyper: Mapping[str, float], shape: tuple[int, ...]) -> None:
        """Refuses unknown names, values out of range and settings that change nothing.

        Raises:
          InputError: one line with the value and the range.
        """
        if self.lacks(shape):
            raise InputError(f"{name} needs {self.lacks(shape)}, these are {shape}; leave it out")
        for key, value in hyper.items():
            if key not in self.space:
                known = ", ".join(self.space) or "none"
                raise InputError(f"{name} has no hyperparameter {key!r}; it has: {known}")
            entry = self.space[key]
            if not (math.isfinite(value) and entry.low <= value <= entry.high):
                raise InputError(
                    f"{name}: {key}={value} is out of range; take {entry.low} to {entry.high}"
                )
        for key in hyper:
            low = self.low(key, shape)
            if hyper[key] < low:
                raise InputError(
                    f"{name}: {key}={hyper[key]} is under 2 px a side at {shape[0]} x {shape[1]} "
                    f"px; take at least {low:.3g} or load larger images (size=)"
                )
