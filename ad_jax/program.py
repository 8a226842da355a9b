"""One compiled program: train -> embed -> align -> score, for a chunk of members.

On CPU the members of a chunk run one after another inside the program (`lax.map`: bit-equal for any
chunk); on accelerators side by side (`vmap`). No host round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax import alignment, ranks, scores
from ad_jax import augment as augmentations
from ad_jax.alignment import Parts
from ad_jax.backbone import BACKBONES, Backbone, Outputs
from ad_jax.errors import InputError
from ad_jax.numerics import rowwise
from ad_jax.pretext import Pretext
from ad_jax.train import Hyper, Keys, as_unit, make_train

CHUNK = 4  # members a program run; small, so that progress shows and a kill costs little
EMBED_BLOCK = 256  # samples a forward pass


class Config(NamedTuple):
    """Static choices of a sweep: another value is another compiled program.

    Attributes:
      steps: training steps per member.
      width: channels of the encoder's first stage.
      backbone: name of the network.
      root: root of all random keys.
    """

    steps: int = 800
    width: int = 24
    backbone: str = "encoder"
    root: int = 0


class Measured(NamedTuple):
    """What the program returns per member."""

    params: jax.Array  # [p] flattened
    mean: jax.Array  # [d] of the Gaussian density of the training embeddings
    precision: jax.Array  # [d, d]
    train_loss: jax.Array
    discrimination: jax.Array
    scores: jax.Array  # [heads, n]
    held_out_scores: jax.Array  # [heads, m]
    parts: Parts
    held_out_parts: Parts
    mmd: jax.Array  # [problems]
    held_out_mmd: jax.Array


class Trained(NamedTuple):
    """What a detector needs of one member."""

    params: np.ndarray  # [p] flattened
    mean: np.ndarray  # [d]
    precision: np.ndarray  # [d, d]


def network(config: Config, shape: tuple[int, ...], classes: int) -> Backbone:
    """The backbone of a config.

    Raises:
      InputError: an unknown name or a shape it cannot take.
    """
    if config.backbone not in BACKBONES:
        raise InputError(f"no backbone {config.backbone!r}; known: {', '.join(BACKBONES)}")
    return BACKBONES[config.backbone](shape, classes, config.width)


def embed(
    backbone: Backbone, params: Any, pretext: Pretext, samples: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Embedding `[n, d]` and logits of all views `[n, v, classes]`, in bounded memory.

    The first view of every pretext is the sample itself: its embedding is the sample's.
    """

    def block(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        views = jax.vmap(pretext.views)(as_unit(rows))  # [b, v, h, w, c]
        count = views.shape[1]
        outputs: Outputs = backbone.apply(params, views.reshape(-1, *views.shape[2:]))
        return (
            outputs.embedding.reshape(-1, count, outputs.embedding.shape[-1])[:, 0],
            outputs.logits.reshape(-1, count, outputs.logits.shape[-1]),
        )

    return rowwise(block, samples, EMBED_BLOCK)


def head_scores(
    pretext: Pretext,
    density: scores.Density,
    z_train: jax.Array,
    embedding: jax.Array,
    logits: jax.Array,
) -> jax.Array:
    """Scores `[heads, n]` of one member, in the order of `HEADS`."""
    return jnp.stack(
        [
            scores.score_density(density, embedding),
            scores.score_neighbour(z_train, embedding),
            pretext.head(logits),
        ]
    )


def make_member(
    config: Config, shape: tuple[int, ...], pretext: Pretext, families: tuple[str, ...]
) -> Callable[..., Measured]:
    """`(keys, hyper, train, held_out, target, weights [problems, n]) -> Measured`."""
    backbone = network(config, shape, pretext.classes)

    def augment(hyper: Hyper, key: jax.Array, sample: jax.Array, donor: jax.Array) -> jax.Array:
        return augmentations.switch(families, hyper.family, key, hyper.augmentation, sample, donor)[
            0
        ]

    trainer = make_train(backbone, pretext, augment)

    def member(
        keys: Keys,
        hyper: Hyper,
        train: jax.Array,
        held_out: jax.Array,
        target: jax.Array,
        weights: jax.Array,
    ) -> Measured:
        state, info = trainer.train(keys, hyper, train, config.steps)
        draw_train, draw_held_out = jax.random.split(keys.evaluation)

        def augmented(key: jax.Array, samples: jax.Array) -> jax.Array:
            keyed = jax.random.split(key, samples.shape[0])
            donors = jnp.roll(samples, 1, axis=0)

            def block(rows: jax.Array) -> jax.Array:
                one = lambda r: augment(hyper, keyed[r], as_unit(samples[r]), as_unit(donors[r]))  # noqa: E731
                return jax.vmap(one)(rows)

            return rowwise(block, jnp.arange(samples.shape[0]), EMBED_BLOCK)

        def look(samples: jax.Array) -> tuple[jax.Array, jax.Array]:
            return embed(backbone, state.params, pretext, samples)

        z_train, _ = look(train)
        density = scores.fit_density(z_train)
        z_augmented, _ = look(augmented(draw_train, train))
        z_held_out, held_out_logits = look(held_out)
        _, shifted_logits = look(augmented(draw_held_out, held_out))
        z_target, target_logits = look(target)
        return Measured(
            params=ravel_pytree(state.params)[0],
            mean=density.mean,
            precision=density.precision,
            train_loss=info.loss[-max(1, config.steps // 10) :].mean(),
            discrimination=ranks.auroc(
                pretext.normality(held_out_logits[:, 0]), pretext.normality(shifted_logits[:, 0])
            ),
            scores=head_scores(pretext, density, z_train, z_target, target_logits),
            held_out_scores=head_scores(pretext, density, z_train, z_held_out, held_out_logits),
            parts=alignment.parts(z_train, z_augmented, z_target),
            held_out_parts=alignment.parts(z_train, z_augmented, z_held_out),
            mmd=jax.vmap(lambda w: alignment.mmd(z_train, z_augmented, z_target, weights=w))(
                weights
            ),
            held_out_mmd=alignment.mmd(z_train, z_augmented, z_held_out),
        )

    return member


def make_program(
    config: Config, shape: tuple[int, ...], pretext: Pretext, families: tuple[str, ...]
) -> Callable[..., Measured]:
    """The same over a chunk: keys, hyper and folds carry a leading axis `[CHUNK]`.

    The family index is one number for the chunk, so its switch never runs two branches. Padding
    members (`valid` false) are skipped on CPU.
    """
    member = make_member(config, shape, pretext, families)

    def program(
        keys: Keys,
        hyper: Hyper,
        valid: jax.Array,
        fold: jax.Array,
        folds: tuple[jax.Array, jax.Array],
        target: jax.Array,
        weights: jax.Array,
    ) -> Measured:
        def one(arguments: tuple[Keys, Any, jax.Array, jax.Array]) -> Measured:
            own_keys, rest, own_valid, own_fold = arguments
            own = Hyper(hyper.family, *rest)
            train, held_out = folds[0][own_fold], folds[1][own_fold]

            def run() -> Measured:
                return member(own_keys, own, train, held_out, target, weights)

            def blank() -> Measured:
                return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(run))

            return jax.lax.cond(own_valid, run, blank)

        every = (keys, tuple(hyper)[1:], valid, fold)
        if jax.default_backend() == "cpu":
            return jax.lax.map(one, every)
        return jax.vmap(one)(every)

    return program
