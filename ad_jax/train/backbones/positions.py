"""A small head on frozen features: the same dense layers at every position of a grid."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ad_jax.base.errors import InputError
from ad_jax.train.backbones.contract import Backbone, Cells, Outputs, check_classes

TOP = 0.05  # share of a sample's positions that speak for it
TINY = 1e-6  # least spread of a channel that changes


class Units(NamedTuple):
    """Mean and spread `[d]` of the normals' positions."""

    mean: jax.Array
    spread: jax.Array

    def __call__(self, features: jax.Array) -> jax.Array:
        """Features `[..., d]` in units of the normals' spread."""
        return (features.astype(jnp.float32) - self.mean) / self.spread


def units_of(normals: jax.Array) -> Units:
    """Of the positions of normals `[n, ..., d]`.

    A channel that never changes among them keeps its own unit: it is 0, and a change shows, but
    does not drown all others.
    """
    positions = normals.reshape(-1, normals.shape[-1]).astype(jnp.float32)
    constant = (positions == positions[:1]).all(0)  # a spread would tell it from rounding only
    mean = jnp.where(constant, positions[0], positions.mean(0))
    return Units(mean, jnp.where(constant, 1.0, jnp.maximum(positions.std(0), TINY)))


def strangest(odds: jax.Array, *maps: jax.Array, mean: bool = True) -> tuple[jax.Array, ...]:
    """Means `[n, d]` of maps `[n, p, d]` over the positions of the highest `odds [n, p]`.

    Those are the top `TOP` share, at least one; without `mean` what is there, `[n, k, d]`.
    """
    if odds.shape[1] == 1:  # nothing to choose: no sort, and no gather in training
        return tuple(m[:, 0] if mean else m for m in maps)
    count = max(1, round(TOP * odds.shape[1]))
    _, places = jax.lax.top_k(odds, count)
    found = (jnp.take_along_axis(m, places[..., None], axis=1) for m in maps)
    return tuple(one.mean(1) if mean else one for one in found)


class Head(nn.Module):
    """A perceptron at every position: what its hidden layer and its last one say of each.

    Attributes:
      outputs: number of values, such as logits.
      width: of the hidden layer.
    """

    outputs: int
    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        # As one matrix: of grids XLA would copy the gradients turned round, a third of a step.
        rows = x.reshape(-1, x.shape[-1])
        hidden = nn.gelu(nn.Dense(self.width)(rows))
        last = nn.Dense(self.outputs)(hidden)
        return hidden.reshape(*x.shape[:-1], -1), last.reshape(*x.shape[:-1], -1)


def _told(hidden: jax.Array, logits: jax.Array) -> Outputs:
    """Outputs of `[n, gh, gw, ...]`: means over the strangest positions, by the log-odds."""
    count, width = hidden.shape[0], hidden.shape[-1]
    odds = jax.nn.logsumexp(logits[..., 1:], axis=-1) - logits[..., 0]
    flat = (hidden.reshape(count, -1, width), logits.reshape(count, -1, logits.shape[-1]))
    embedding, told = strangest(odds.reshape(count, -1), *flat)
    return Outputs(embedding, told, (odds[..., None],))


def _restored(hidden: jax.Array, made: jax.Array, samples: jax.Array) -> Outputs:
    """Outputs of a network that restores features: its strangest are those restored worst."""
    count, width = hidden.shape[0], hidden.shape[-1]
    errors = ((made - samples) ** 2).mean(-1)
    (embedding,) = strangest(errors.reshape(count, -1), hidden.reshape(count, -1, width))
    return Outputs(embedding, jnp.zeros((count, 0)), (errors[..., None],), made)


def patch_head(
    shape: tuple[int, ...], classes: int, width: int = 128, decode: bool = False
) -> Backbone:
    """A perceptron for every position of grids `[gh, gw, d]` of features.

    Features are standardised by mean and spread of the normals' positions, which training takes
    from them at its start and leaves alone. What counts for a sample is the mean over the top 5 %
    of its positions, by the log-odds of being no normal (AnomalyDINO, arXiv 2405.14529, takes 1 %).

    Args:
      shape: `(gh, gw, d)`.
      classes: number of logits, 2 or more; 0 with `decode`.
      width: of the hidden layer.
      decode: restores features instead; what counts then are the positions restored worst.

    Raises:
      InputError: samples that are no grids, nothing to train.
    """
    if len(shape) != 3:
        raise InputError(f"a head takes grids [h, w, d] of features, got a sample of shape {shape}")
    check_classes(classes, decode)
    network = Head(shape[-1] if decode else classes, width)

    def apply(params: Any, samples: jax.Array) -> Outputs:
        found: Any = network.apply({"params": params["learned"]}, samples)
        hidden, last = found
        return _restored(hidden, last, samples) if decode else _told(hidden, last)

    return in_units(network, shape, apply)._replace(cells=(Cells(),), pieces=positions_of)


def whole_head(
    shape: tuple[int, ...], classes: int, width: int = 128, decode: bool = False
) -> Backbone:
    """A perceptron for embeddings `[v, 1, k]` of an image's views, standardised as positions are.

    It looks at the first view, the image as it is; each is a sample of its own for pretexts that
    tell them apart.

    Args:
      shape: `(v, 1, k)`.
      classes: number of logits, 2 or more.
      width: of the hidden layer.
      decode: not offered.

    Raises:
      InputError: samples of another shape, nothing to train, a decoder.
    """
    if len(shape) != 3 or shape[1] != 1:
        raise InputError(f"a head takes embeddings [v, 1, k] of views, got a sample of {shape}")
    if decode:
        raise InputError("a head on whole images restores nothing; take prediction or pooled")
    check_classes(classes, decode)
    network = Head(classes, width)

    def apply(params: Any, samples: jax.Array) -> Outputs:
        found: Any = network.apply({"params": params["learned"]}, samples[:, 0, 0])
        hidden, logits = found
        return Outputs(hidden, logits, (hidden,))

    return in_units(network, shape, apply)


def in_units(network: nn.Module, shape: tuple[int, ...], apply: Any) -> Backbone:
    """A network whose inputs are in units of the normals' spread, which training leaves alone."""

    def init(key: jax.Array) -> Any:
        learned = network.init(key, jnp.zeros((1, *shape)))["params"]
        return {"learned": learned, "mean": jnp.zeros(shape[-1]), "spread": jnp.ones(shape[-1])}

    def enter(params: Any, samples: jax.Array) -> jax.Array:
        return Units(params["mean"], params["spread"])(samples)

    def fit(params: Any, normals: jax.Array) -> Any:
        return {**params, **units_of(normals)._asdict()}

    return Backbone(init, apply, (), enter, fit, fixed=("mean", "spread"))


def positions_of(samples: jax.Array) -> jax.Array:
    """Every position of grids `[n, gh, gw, d]` as a grid of its own `[n gh gw, 1, 1, d]`."""
    return samples.reshape(-1, 1, 1, samples.shape[-1])
