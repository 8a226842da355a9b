"""A small head on frozen features: the same dense layers at every position of a grid."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ad_jax.base.errors import InputError
from ad_jax.train.backbones.contract import Backbone, Cells, Outputs, check_classes

TOP = 0.05  # share of a sample's positions that speak for it
TINY = 1e-6  # of a channel's spread: one that never changes is left at 0


class Units(NamedTuple):
    """Mean and spread `[d]` of the normals' positions."""

    mean: jax.Array
    spread: jax.Array

    def __call__(self, features: jax.Array) -> jax.Array:
        """Features `[..., d]` in units of the normals' spread."""
        return (features.astype(jnp.float32) - self.mean) / self.spread


def units_of(normals: jax.Array) -> Units:
    """Of the positions of normals `[n, ..., d]`."""
    positions = normals.reshape(-1, normals.shape[-1]).astype(jnp.float32)
    return Units(positions.mean(0), jnp.maximum(positions.std(0), TINY))


def strangest(odds: jax.Array, *maps: jax.Array) -> tuple[jax.Array, ...]:
    """Means `[n, d]` of maps `[n, p, d]` over the positions of the highest `odds [n, p]`.

    Those are the top `TOP` share, at least one.
    """
    count = max(1, round(TOP * odds.shape[1]))
    _, places = jax.lax.top_k(odds, count)
    return tuple(jnp.take_along_axis(m, places[..., None], axis=1).mean(1) for m in maps)


class Head(nn.Module):
    """A perceptron at every position; a sample's outputs are means over its strangest positions.

    Attributes:
      classes: number of logits.
      width: of the hidden layer.
    """

    classes: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        hidden = nn.gelu(nn.Dense(self.width)(x))
        logits = nn.Dense(self.classes)(hidden)
        odds = jax.nn.logsumexp(logits[..., 1:], axis=-1) - logits[..., 0]
        embedding, told = strangest(odds, hidden, logits)
        return Outputs(embedding, told, (odds[..., None],))


def patch_head(
    shape: tuple[int, ...], classes: int, width: int = 128, decode: bool = False
) -> Backbone:
    """A perceptron for every position of grids `[gh, gw, d]` of features.

    Features are standardised by mean and spread of the normals' positions, which training takes
    from them at its start and leaves alone. What counts for a sample is the mean over the top 5 %
    of its positions, by the log-odds of being no normal (AnomalyDINO, arXiv 2405.14529, takes 1 %).

    Args:
      shape: `(gh, gw, d)`.
      classes: number of logits, 2 or more.
      width: of the hidden layer.
      decode: not offered.

    Raises:
      InputError: samples that are no grids, nothing to train, a decoder.
    """
    if len(shape) != 3:
        raise InputError(f"a head takes grids [h, w, d] of features, got a sample of shape {shape}")
    if decode:
        raise InputError("a head on frozen features reconstructs nothing; take binary or kinds")
    check_classes(classes, decode)
    network = Head(classes, width)

    def init(key: jax.Array) -> Any:
        learned = network.init(key, jnp.zeros((1, *shape)))["params"]
        return {"learned": learned, "mean": jnp.zeros(shape[-1]), "spread": jnp.ones(shape[-1])}

    def apply(params: Any, samples: jax.Array) -> Outputs:
        found: Any = network.apply({"params": params["learned"]}, samples)
        return found._replace(stages=(found.stages[0].reshape(*samples.shape[:3], 1),))

    def enter(params: Any, samples: jax.Array) -> jax.Array:
        return Units(params["mean"], params["spread"])(samples)

    def fit(params: Any, normals: jax.Array) -> Any:
        return {**params, **units_of(normals)._asdict()}

    return Backbone(
        init, apply, (Cells(),), enter, fit, fixed=("mean", "spread"), pieces=positions_of
    )


def positions_of(samples: jax.Array) -> jax.Array:
    """Every position of grids `[n, gh, gw, d]` as a grid of its own `[n gh gw, 1, 1, d]`."""
    return samples.reshape(-1, 1, 1, samples.shape[-1])
