"""What an augmentation is: draw arguments, apply them to one sample, say what changed.

A kernel is a plain function of one sample and what was drawn, such as `brightness(image, 1.2)`.
`whole` and `local` make an augmentation of one: the sampler, the mask and the facts around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import chex
import jax
import jax.numpy as jnp

from ad_jax.base.errors import InputError
from ad_jax.base.modality import CALLED, mask_shape, modality
from ad_jax.base.space import Space
from ad_jax.base.values import Value, numbers


class Pseudo(NamedTuple):
    """One pseudo-anomaly.

    Attributes:
      sample: `[h, w, c]`, `[t, c]` or `[d]`.
      mask: `[h, w]`, `[t]` or `[d]`, 1 where it was changed.
      kind: index of its kind, int32.
      weight: how much it counts in a loss, 1 on average; only relaxed mixtures differ from 1.
    """

    sample: jax.Array
    mask: jax.Array
    kind: jax.Array
    weight: jax.Array


class Draw(Protocol):
    """A sampler of arguments."""

    def __call__(self, key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...], /) -> Any:
        """Draws what one application of a kernel takes besides the sample.

        Args:
          key: consumed.
          hyper: scalars named as in the augmentation's space.
          shape: of the sample; few draws depend on it.

        Returns:
          A scalar, an array or a NamedTuple of them.
        """


class Apply(Protocol):
    """The full contract of an operation."""

    def __call__(
        self, sample: jax.Array, arguments: Any, donor: jax.Array, /
    ) -> tuple[jax.Array, jax.Array]:
        """Changes one sample: an image `[h, w, c]` in [0, 1], a series `[t, c]` or a row `[d]`.

        Args:
          sample: what is changed; series in units of the normals' spread, per channel.
          arguments: as drawn.
          donor: another training sample of the same shape, which most operations ignore.

        Returns:
          The augmented sample and its mask in [0, 1] of `base.modality.mask_shape`: what changed.
        """


def nothing(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[()]:
    """The draw of operations that take nothing but the sample."""
    return ()


def everything(sample: jax.Array) -> jax.Array:
    """The mask of an operation on the whole sample."""
    return jnp.ones(mask_shape(sample.shape), sample.dtype)


def whole(kernel: Callable[[jax.Array, Any], jax.Array]) -> Apply:
    """Lifts `kernel(sample, arguments) -> augmented`: no donor, and a mask of ones."""

    def apply(sample: jax.Array, arguments: Any, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
        return kernel(sample, arguments), everything(sample)

    return apply


def fixed(kernel: Callable[[jax.Array], jax.Array]) -> Apply:
    """Lifts `kernel(sample) -> augmented`: nothing drawn, no donor, and a mask of ones."""
    return whole(lambda sample, arguments: kernel(sample))


def local(kernel: Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]) -> Apply:
    """Lifts `kernel(sample, arguments) -> (augmented, mask)`, which needs no donor."""
    return lambda sample, arguments, donor: kernel(sample, arguments)


def both(kernel: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Views of a single transformation: the sample as it is and transformed, `[2, h, w, c]`."""
    return lambda sample: jnp.stack([sample, kernel(sample)])


def smallest_area(shape: tuple[int, ...]) -> float:
    """Share of the image of a patch of 2 x 2 px: anything smaller changes nothing."""
    return 4.0 / (shape[0] * shape[1])


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """A family of pseudo-anomalies: pure functions of one sample.

    Attributes:
      apply: `(sample, arguments, donor) -> (augmented, mask)`.
      group: geometric, local, elementwise, colour or mixed.
      source: where the definition comes from.
      draw: `(key, hyper, shape) -> arguments`.
      space: the range of every hyperparameter.
      strength: name of the hyperparameter that a grid over "strength" moves, None without one.
      example: hyperparameters well inside their ranges, where nothing is clipped and every gradient
        that there is can be seen; `{}` for the defaults.
      views: `(sample) -> [classes, h, w, c]` for families of finitely many transformations (the
        first is the identity): what the pretext `prediction` predicts. None for the others.
      needs: what a sample must be for the operation to change it: "square", "colour", or of
        several "channels".
      takes: what it changes: "image", "series", "row" (`base.modality`). Rows in [0, 1] suit
        operations on images that treat every value by itself.
      parts: names of the kinds of pseudo-anomalies that it makes, if several: what the pretext
        `kinds` tells apart.
      kind: `(arguments) -> index into parts`; None for a single kind.
      smallest: `(shape) -> smallest extent` that changes samples of this shape, None for any.
      extent: name of the hyperparameter that `smallest` speaks of, the strength if nothing is said.
      grid_from: where a grid of strengths begins, if above the low bound: for strengths of both
        signs where every draw takes either.
    """

    apply: Apply
    group: str
    source: str
    draw: Draw = nothing
    space: Space = field(default_factory=Space)
    strength: str | None = None
    example: Mapping[str, Value] = field(default_factory=dict)
    views: Callable[[jax.Array], jax.Array] | None = None
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ("image",)
    parts: tuple[str, ...] = ()
    kind: Callable[[Any], jax.Array] | None = None
    smallest: Callable[[tuple[int, ...]], float] | None = None
    extent: str | None = None
    grid_from: float | None = None

    def random(
        self, key: jax.Array, hyper: Mapping[str, Any], sample: jax.Array, donor: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Draws arguments and applies them to one sample; the key is consumed."""
        pseudo = self.pseudo(key, hyper, sample, donor)
        return pseudo.sample, pseudo.mask

    def pseudo(
        self, key: jax.Array, hyper: Mapping[str, Any], sample: jax.Array, donor: jax.Array
    ) -> Pseudo:
        """`random` with the kind that was drawn."""
        chex.assert_equal_shape([sample, donor])
        arguments = self.draw(key, hyper, sample.shape)
        augmented, mask = self.apply(sample, arguments, donor)
        chex.assert_shape(augmented, sample.shape)
        chex.assert_shape(mask, mask_shape(sample.shape))
        kind = jnp.int32(0) if self.kind is None else self.kind(arguments)
        return Pseudo(augmented, mask, kind, jnp.float32(1.0))

    def defaults(self) -> dict[str, Value]:
        """All hyperparameters where nothing is said."""
        return self.space.defaults()

    def visible(self, shape: tuple[int, ...]) -> Space:
        """The part of the space that changes samples of `shape`."""
        extent = self.extent or self.strength
        if extent is None or self.smallest is None:
            return self.space
        return self.space.raised({extent: self.smallest(shape)})

    def strengths(self, count: int, shape: tuple[int, ...]) -> list[dict[str, Value]]:
        """Hyperparameters at `count` strengths spread over the range, inside its bounds.

        The other hyperparameters keep their defaults; an entry without strength gives one setting.
        """
        if self.strength is None:
            return [self.defaults()]
        space = self.visible(shape)
        if self.grid_from is not None:
            space = space.raised({self.strength: self.grid_from})
        return space.grid(self.strength, count)

    def lacks(self, shape: tuple[int, ...]) -> str:
        """What samples of `shape` lack for this operation, "" if nothing."""
        if modality(shape) not in self.takes:
            return " or ".join(CALLED[one] for one in self.takes)
        if "square" in self.needs and shape[0] != shape[1]:
            return "square images"
        if "colour" in self.needs and shape[-1] != 3:
            return "colour images"
        if "channels" in self.needs and shape[-1] < 2:
            return "series of several channels"
        return ""

    def check(self, name: str, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> None:
        """Refuses unknown names, values out of range and settings that change nothing.

        Raises:
          InputError: one line with the value and the range.
        """
        if self.lacks(shape):
            raise InputError(f"{name} needs {self.lacks(shape)}, these are {shape}; leave it out")
        self.space.check(name, hyper)
        visible = self.visible(shape)
        for key, value in hyper.items():
            if min(numbers(value)) < visible[key].low:
                least = f"take at least {visible[key].low:.3g}"
                if modality(shape) == "series":
                    raise InputError(
                        f"{name}: {key}={value} is under 2 points of {shape[0]}; {least} or give "
                        "longer windows"
                    )
                raise InputError(
                    f"{name}: {key}={value} is under 2 px a side at {shape[0]} x {shape[1]} "
                    f"px; {least} or load larger images (size=)"
                )
