"""Looks at all sets through a network in training: what outer losses are computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.selection.tuning import losses
from ad_jax.selection.tuning.space import TunedSpace, relaxed
from ad_jax.train.backbones import Backbone, strangest
from ad_jax.train.pretexts import Pretext

POSITIONS = 512  # normal positions in a look at grids, and as many made of them


class Data(NamedTuple):
    """What a start sees: normals to train on, held-out normals, the unlabelled target."""

    train: jax.Array
    held_out: jax.Array
    target: jax.Array


Look = Callable[[Any, jax.Array, jax.Array, Data], losses.Embedded]  # (params, theta, key, data)


def _told(normal: jax.Array, augmented: jax.Array, weight: jax.Array) -> jax.Array:
    """Loss of telling normals from augmented ones, by the log-odds of either `[n]`."""
    told = jax.nn.softplus(normal).mean() + (weight * jax.nn.softplus(-augmented)).mean()
    return told / 2.0


def make_look(backbone: Backbone, pretext: Pretext, space: TunedSpace, batch: int) -> Look:
    """`(params, theta, key, data) -> Embedded` of a batch of every set.

    The same rows and draws whatever theta is.
    """

    def look(params: Any, theta: jax.Array, key: jax.Array, data: Data) -> losses.Embedded:
        order, draw = jax.random.split(key)
        rows = [
            jax.random.randint(k, (batch,), 0, len(one))
            for k, one in zip(jax.random.split(order, 3), data, strict=True)
        ]
        train, held_out, target = (
            backbone.enter(params, one[r]) for one, r in zip(data, rows, strict=True)
        )
        pseudo = relaxed(space, theta, draw, train, jnp.roll(train, 1, axis=0))
        inputs = jnp.concatenate([train, pseudo.sample, target, held_out])
        outputs = backbone.apply(params, inputs)
        z = jnp.split(outputs.embedding, 4)
        odds = jnp.split(pretext.strangeness(outputs, inputs), 4)
        z_train, z_augmented, z_target, z_held_out = z
        return losses.Embedded(
            z_train,
            z_augmented,
            z_target,
            z_held_out,
            pseudo.weight,
            odds[2],
            odds[3],
            _told(odds[0], odds[1], pseudo.weight) / pretext.chance(train),
        )

    return look


def make_position_look(backbone: Backbone, pretext: Pretext, space: TunedSpace, batch: int) -> Look:
    """The same on grids of features, where a sample is seen by its strangest positions.

    Which they are is found without a gradient, and only they are seen with one; it is the gradient
    of the mean over them all the same. Normals and what is made of them are single positions, as
    in training.
    """

    def of_images(params: Any, grids: jax.Array) -> Any:
        count, channels = grids.shape[0], grids.shape[-1]
        (odds,) = backbone.apply(jax.lax.stop_gradient(params), grids).stages
        (chosen,) = strangest(
            odds.reshape(count, -1), grids.reshape(count, -1, channels), mean=False
        )
        outputs = backbone.apply(params, chosen.reshape(-1, 1, 1, channels))

        def mean(x: jax.Array) -> jax.Array:
            return x.reshape(count, -1, x.shape[-1]).mean(1)

        odds = pretext.strangeness(outputs._replace(logits=mean(outputs.logits)), grids)
        return mean(outputs.embedding), odds, chosen.reshape(-1, channels)

    def look(params: Any, theta: jax.Array, key: jax.Array, data: Data) -> losses.Embedded:
        order, draw = jax.random.split(key)
        first, *others = jax.random.split(order, 3)
        pieces = backbone.pieces(data.train)
        rows = jax.random.randint(first, (POSITIONS,), 0, len(pieces))
        train = backbone.enter(params, pieces[rows])
        (z_held_out, odds_held_out, held_out), (z_target, odds_target, target) = (
            of_images(
                params, backbone.enter(params, one[jax.random.randint(k, (batch,), 0, len(one))])
            )
            for k, one in zip(others, (data.held_out, data.target), strict=True)
        )
        pseudo = relaxed(space, theta, draw, train, jnp.roll(train, 1, axis=0))
        inputs = jnp.concatenate([train, pseudo.sample])
        outputs = backbone.apply(params, inputs)
        z_train, z_augmented = jnp.split(outputs.embedding, 2)
        odds = jnp.split(pretext.strangeness(outputs, inputs), 2)
        return losses.Embedded(
            z_train,
            z_augmented,
            z_target,
            z_held_out,
            pseudo.weight,
            odds_target,
            odds_held_out,
            _told(odds[0], odds[1], pseudo.weight) / pretext.chance(train),
            losses.Positions(target, held_out, pseudo.sample.reshape(-1, target.shape[-1])),
        )

    return look
