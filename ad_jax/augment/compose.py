"""Operations made of operations: one after another, one of several, now and then.

Hyperparameters of the parts keep their names behind the part's (`blur.sigma`), so that a composed
family is swept, packed and tuned like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from ad_jax.augment.contract import Augmentation
from ad_jax.base.modality import MODALITIES, mask_shape
from ad_jax.base.space import Range, Space

_WEIGHT = Range(1.0, 0.0, 1.0, "linear", "relative", False, "how often this part is applied")
_CHANCE = Range(0.5, 0.0, 1.0, "linear", "probability", False, "how often it is applied")


def _space(parts: Mapping[str, Augmentation]) -> Space:
    return Space({f"{n}.{k}": one for n, part in parts.items() for k, one in part.space.items()})


def part_of(name: str, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of one part, under their own names."""
    return {
        k.removeprefix(f"{name}."): value for k, value in hyper.items() if k.startswith(f"{name}.")
    }


def _needs(parts: Mapping[str, Augmentation]) -> tuple[str, ...]:
    return tuple(sorted({need for part in parts.values() for need in part.needs}))


def _takes(parts: Mapping[str, Augmentation]) -> tuple[str, ...]:
    return tuple(m for m in MODALITIES if all(m in part.takes for part in parts.values()))


def chain(group: str, source: str, **parts: Augmentation) -> Augmentation:
    """Applies the parts in their order; the mask says where any of them changed something."""

    def draw(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Any, ...]:
        keys = jax.random.split(key, len(parts))
        return tuple(
            part.draw(k, part_of(name, hyper), shape)
            for k, (name, part) in zip(keys, parts.items(), strict=True)
        )

    def apply(
        sample: jax.Array, arguments: tuple[Any, ...], donor: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        mask = jnp.zeros(mask_shape(sample.shape), sample.dtype)
        for part, own in zip(parts.values(), arguments, strict=True):
            sample, changed = part.apply(sample, own, donor)
            mask = jnp.maximum(mask, changed)
        return sample, mask

    return Augmentation(
        draw=draw,
        apply=apply,
        space=_space(parts),
        group=group,
        source=source,
        needs=_needs(parts),
        takes=_takes(parts),
    )


def _choice(
    choose: Callable[[jax.Array, Mapping[str, Any]], jax.Array],
    space: Space,
    group: str,
    source: str,
    parts: Mapping[str, Augmentation],
) -> Augmentation:
    """Applies the part whose index `choose(key, hyper)` draws."""

    def draw(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
        which, *keys = jax.random.split(key, 1 + len(parts))
        return choose(which, hyper), tuple(
            part.draw(k, part_of(name, hyper), shape)
            for k, (name, part) in zip(keys, parts.items(), strict=True)
        )

    def apply(sample: jax.Array, arguments: Any, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
        which, own = arguments
        branches = [
            lambda s, a, d, part=part, i=i: part.apply(s, a[i], d)
            for i, part in enumerate(parts.values())
        ]
        return jax.lax.switch(which, branches, sample, own, donor)

    return Augmentation(
        draw=draw,
        apply=apply,
        space=space,
        group=group,
        source=source,
        needs=_needs(parts),
        takes=_takes(parts),
        parts=tuple(parts),
        kind=lambda arguments: arguments[0],
    )


def one_of(group: str, source: str, **parts: Augmentation) -> Augmentation:
    """Applies one part, each equally often; which one is the pseudo-anomaly's kind."""

    def choose(key: jax.Array, hyper: Mapping[str, Any]) -> jax.Array:
        return jax.random.randint(key, (), 0, len(parts))

    return _choice(choose, _space(parts), group, source, parts)


def mixture(**parts: Augmentation) -> Augmentation:
    """Applies one part, each as often as its `weight` says; which one is the kind.

    Weights are relative; if all are 0 every part is as likely as the others.
    """

    def choose(key: jax.Array, hyper: Mapping[str, Any]) -> jax.Array:
        weights = jnp.stack([jnp.asarray(hyper[f"{name}.weight"]) for name in parts])
        return jax.random.categorical(key, jnp.log(jnp.maximum(weights, 1e-6)))

    space = Space({f"{name}.weight": _WEIGHT for name in parts} | _space(parts))
    return _choice(choose, space, "mixed", "a mixture of families", parts)


def sometimes(part: Augmentation, chance: float = 0.5) -> Augmentation:
    """Applies the part with probability `chance` (its hyperparameter `chance`)."""

    def draw(key: jax.Array, hyper: Mapping[str, Any], shape: tuple[int, ...]) -> Any:
        coin, own = jax.random.split(key)
        inner = {name: value for name, value in hyper.items() if name != "chance"}
        return jax.random.bernoulli(coin, hyper["chance"]), part.draw(own, inner, shape)

    def apply(sample: jax.Array, arguments: Any, donor: jax.Array) -> tuple[jax.Array, jax.Array]:
        applied, own = arguments
        changed, mask = part.apply(sample, own, donor)
        return jnp.where(applied, changed, sample), jnp.where(applied, mask, 0.0)

    space = Space(chance=_CHANCE._replace(default=chance), **part.space)
    return replace(part, draw=draw, apply=apply, space=space, example={}, views=None)
