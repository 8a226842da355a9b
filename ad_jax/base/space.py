"""Boxes of hyperparameters: named ranges, and every way to take a point of one.

A grid, a random search and a descent are three walks over the same box. In all of them a value
stands at a share in [0, 1] of its range, on the range's own scale, and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError

EDGE = 0.02  # a share this near to 0 or 1 stands on its bound


class Range(NamedTuple):
    """One hyperparameter: of training, or of the distribution that arguments are drawn from.

    Attributes:
      default: value when nothing is said.
      low, high: bounds, both allowed.
      scale: "log" or "linear": how a grid or a search spaces its values.
      unit: what the number counts.
      gradient: whether a gradient flows to it.
      about: one line for people.
    """

    default: float
    low: float
    high: float
    scale: str
    unit: str
    gradient: bool
    about: str

    def at(self, share: Any) -> Any:
        """The value at a share in [0, 1] of the range; a gradient flows from the share.

        >>> Range(0.1, 0.01, 1.0, "log", "px", True, "").at(0.5)
        0.1
        """
        if self.scale == "log":
            return self.low * (self.high / self.low) ** share
        return self.low + share * (self.high - self.low)

    def share(self, value: float) -> float:
        """Where a value stands in the range, as `at` has it: 0 at the low bound, 1 at the high."""
        return self.distance(self.low, value)

    def distance(self, start: float, end: float) -> float:
        """How far it is from one value to another, as a share of the range; negative downwards."""
        if self.scale == "log":
            return math.log(end / start) / math.log(self.high / self.low)
        return (end - start) / (self.high - self.low)


def logit(share: Any) -> np.ndarray:
    """Unconstrained numbers `[n]` of shares; those on a bound are moved inside by a millionth."""
    inside = np.clip(np.asarray(share, np.float64), 1e-6, 1.0 - 1e-6)
    return np.log(inside / (1.0 - inside))


class Space(dict[str, Range]):
    """A box: the range of every hyperparameter by its name. The order is the packed order."""

    def defaults(self) -> dict[str, float]:
        """The point where nothing is said."""
        return {name: one.default for name, one in self.items()}

    def raised(self, lows: Mapping[str, float]) -> Space:
        """The same box with lower bounds that are at least these."""
        return Space(
            {
                name: one._replace(low=max(one.low, lows.get(name, one.low)))
                for name, one in self.items()
            }
        )

    def check(self, owner: str, values: Mapping[str, float]) -> None:
        """Refuses unknown names and values out of range; not all names have to be there.

        Raises:
          InputError: one line with the owner, the value and the range.
        """
        for name, value in values.items():
            if name not in self:
                known = ", ".join(self) or "none"
                raise InputError(f"{owner} has no hyperparameter {name!r}; it has: {known}")
            one = self[name]
            if not (math.isfinite(value) and one.low <= value <= one.high):
                raise InputError(
                    f"{owner}: {name}={value} is out of range; take {one.low} to {one.high}"
                )

    def clip(self, values: Mapping[str, Any]) -> dict[str, float]:
        """The nearest point of the box in plain numbers; float32 can be out by a last digit."""
        return {n: min(max(float(values[n]), one.low), one.high) for n, one in self.items()}

    def grid(self, name: str, count: int) -> list[dict[str, float]]:
        """Points with one hyperparameter spread over its range, inside it; the others default."""
        values = [self[name].at((i + 0.5) / count) for i in range(count)]
        return [{**self.defaults(), name: value} for value in values]

    def sample(self, generator: np.random.Generator) -> dict[str, float]:
        """A random point, uniform on every range's own scale."""
        return {name: float(one.at(generator.uniform())) for name, one in self.items()}

    def pack(self, values: Mapping[str, Any], length: int) -> jax.Array:
        """A point as a vector `[length]`, zeros behind: boxes of any size share one program."""
        packed = [jnp.asarray(values[name], jnp.float32) for name in self]
        return jnp.stack(packed + [jnp.float32(0.0)] * (length - len(packed)))

    def unpack(self, packed: jax.Array) -> dict[str, jax.Array]:
        """The point of a vector `[length]`."""
        chex.assert_rank(packed, 1)
        return {name: packed[i] for i, name in enumerate(self)}

    def constrain(self, theta: jax.Array) -> dict[str, jax.Array]:
        """The point at any real numbers `[size]`, the logits of the shares; with a gradient."""
        chex.assert_shape(theta, (len(self),))
        share = jax.nn.sigmoid(theta)
        return {name: one.at(share[i]) for i, (name, one) in enumerate(self.items())}

    def unconstrain(self, values: Mapping[str, float]) -> np.ndarray:
        """Numbers `[size]` of a point; what it does not name stands in the middle of its range.

        Values on a bound are moved inside by half of `EDGE`: a logit has no number for them.
        """
        share = [one.share(values[n]) if n in values else 0.5 for n, one in self.items()]
        return logit(np.clip(share, EDGE / 2, 1.0 - EDGE / 2)).astype(np.float32)
