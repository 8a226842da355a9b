"""What the network is trained to do, and what of its outputs is a score.

A pretext turns normals into a batch of inputs and labels, names the views of a test sample that
its own score needs, and turns their logits into that score. Every pretext makes `BATCH` inputs a
step, so that all of them cost the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ad_jax import augment as augmentations
from ad_jax.errors import InputError

BATCH = 64  # inputs a step: 32 + 32 in arXiv 2307.06534

Augment = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (key, sample, donor) -> sample


class Pretext(NamedTuple):
    """A training task as pure functions.

    Attributes:
      classes: number of logits.
      normals: normals drawn for one step.
      batch: `(key, augment, normals [b, h, w, c]) -> (inputs [BATCH, h, w, c], labels [BATCH])`.
      views: `(sample) -> [v, h, w, c]`, what the head has to see of a test sample.
      head: `(logits [n, v, classes]) -> [n]`, the pretext's own score; higher = stranger.
      normality: `(logits [n, classes]) -> [n]` of single inputs, higher = more augmented; held-out
        normals against their augmentations tell whether anything was learned.
      score: the score of a detector when nothing else is said.
    """

    classes: int
    normals: int
    batch: Callable[..., tuple[jax.Array, jax.Array]]
    views: Callable[[jax.Array], jax.Array]
    head: Callable[[jax.Array], jax.Array]
    normality: Callable[[jax.Array], jax.Array]
    score: str


def augment_all(
    key: jax.Array, augment: Augment, samples: jax.Array, donors: jax.Array
) -> jax.Array:
    """One pseudo-anomaly per sample: `[n, h, w, c]`."""
    return jax.vmap(augment)(jax.random.split(key, samples.shape[0]), samples, donors)


def binary() -> Pretext:
    """Normal against augmented, cross-entropy (DSV arXiv 2307.06534, CutPaste arXiv 2104.04015)."""

    def batch(key: jax.Array, augment: Augment, normals: jax.Array) -> tuple[jax.Array, jax.Array]:
        augmented = augment_all(key, augment, normals, jnp.roll(normals, 1, axis=0))
        labels = jnp.arange(BATCH) // (BATCH // 2)
        return jnp.concatenate([normals, augmented]), labels

    def margin(logits: jax.Array) -> jax.Array:
        return logits[..., 1] - logits[..., 0]

    return Pretext(
        2, BATCH // 2, batch, lambda x: x[None], lambda z: margin(z[:, 0]), margin, "density"
    )


def prediction(augmentation: str) -> Pretext:
    """Which of the family's transformations was applied (Golan & El-Yaniv, NeurIPS 2018).

    The score is the mean over views of -log p(its transformation | view).

    Raises:
      InputError: a family without a finite list of transformations.
    """
    entry = augmentations.get(augmentation)
    if entry.views is None:
        fitting = [name for name, other in augmentations.CATALOGUE.items() if other.views]
        raise InputError(
            f"pretext 'prediction' needs finitely many transformations, {augmentation!r} has none; "
            f"take one of: {', '.join(fitting)}"
        )
    classes = jax.eval_shape(entry.views, jnp.zeros((16, 16, 1))).shape[0]
    views = entry.views

    def batch(key: jax.Array, augment: Augment, normals: jax.Array) -> tuple[jax.Array, jax.Array]:
        del key, augment  # all transformations of each normal: nothing is drawn
        inputs = jax.vmap(views)(normals)  # [b, classes, h, w, c]
        labels = jnp.tile(jnp.arange(classes), normals.shape[0])
        return inputs.reshape(-1, *normals.shape[1:]), labels

    def head(logits: jax.Array) -> jax.Array:
        own = jnp.diagonal(jax.nn.log_softmax(logits), axis1=1, axis2=2)  # [n, classes]
        return -own.mean(-1)

    def normality(logits: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(logits)[..., 0]

    return Pretext(classes, BATCH // classes, batch, views, head, normality, "head")


PRETEXTS: dict[str, Callable[[str], Pretext]] = {
    "binary": lambda augmentation: binary(),
    "prediction": prediction,
}


def make(name: str, augmentation: str) -> Pretext:
    """The pretext of that name over one family.

    Raises:
      InputError: an unknown name; the message lists the known ones.
    """
    if name not in PRETEXTS:
        raise InputError(f"no pretext {name!r}; known: {', '.join(PRETEXTS)}")
    return PRETEXTS[name](augmentation)
