"""A trained network as functions of samples, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.errors import lookup
from ad_jax.base.numerics import rowwise
from ad_jax.detect.positions import fitted_head
from ad_jax.features import ENCODERS
from ad_jax.train import pretexts
from ad_jax.train.backbones import BACKBONES, Backbone, patch_head, whole_head
from ad_jax.train.pretexts import Pretext
from ad_jax.train.setting import Config, Setting

EMBED_BLOCK = 256  # samples a forward pass


def network(config: Config, shape: tuple[int, ...], pretext: Pretext) -> Backbone:
    """The backbone of a config for a pretext; on an encoder's grids a head.

    Raises:
      InputError: an unknown name or a shape it cannot take.
    """
    if pretext.fitted:
        return fitted_head(pretext.fitted, shape)
    head = patch_head if pretext.shown is None else whole_head
    known = {**BACKBONES, **dict.fromkeys(ENCODERS, head)}
    factory = lookup(known, config.backbone, "backbone")
    return factory(shape, pretext.classes, config.width, pretext.reconstructs)


def pretext_of(config: Config, setting: Setting) -> Pretext:
    """The pretext of a setting, for the samples that the config's network sees.

    Raises:
      InputError: one that it cannot have.
    """
    make = pretexts.on_features if config.backbone in ENCODERS else pretexts.make
    return make(setting.pretext, setting.augmentation)


class Look(NamedTuple):
    """A trained network as functions of samples `[n, ...]`, in bounded memory.

    Attributes:
      embed: `(params, samples) -> (embedding [n, d], strangeness [n])` of the samples as they are.
      judge: `(params, samples) -> (embedding [n, d], head score [n])`, which sees all views.
    """

    embed: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]
    judge: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]


def make_look(backbone: Backbone, pretext: Pretext) -> Look:
    """The two ways to look at samples through one pretext's network."""

    def embed(params: Any, samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        def block(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            seen = backbone.enter(params, rows)
            outputs = backbone.apply(params, seen)
            return outputs.embedding, pretext.strangeness(outputs, seen)

        return rowwise(block, samples, EMBED_BLOCK)

    def judge(params: Any, samples: jax.Array) -> tuple[jax.Array, jax.Array]:
        count = jax.eval_shape(pretext.views, jnp.zeros(samples.shape[1:])).shape[0]

        def block(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            seen = backbone.enter(params, rows)
            views = jax.vmap(pretext.views)(seen)  # [b, v, ...]
            outputs = backbone.apply(params, views.reshape(-1, *views.shape[2:]))
            size = seen.shape[0]  # symbolic while exporting, which `len` refuses
            outputs = jax.tree.map(lambda x: x.reshape(size, count, *x.shape[1:]), outputs)
            return outputs.embedding[:, 0], pretext.head(outputs, seen)

        return rowwise(block, samples, max(1, EMBED_BLOCK // count))

    return Look(embed, judge)
