"""What the network is trained to do, and what of its outputs is a score.

A pretext turns normals into a batch of inputs and targets, measures the network's outputs against
the targets, names the views of a test sample that its own score needs, and turns the outputs for
them into that score. Every pretext makes about `BATCH` inputs a step, so that all cost the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ad_jax import augment as augmentations
from ad_jax.augment import Pseudo
from ad_jax.base.errors import InputError, lookup
from ad_jax.train.backbones import Outputs, strangest

BATCH = 64  # inputs a step: 32 + 32 in arXiv 2307.06534
PATCHES = 2048  # positions of grids a step
WHOLE = 512  # embeddings of images a step

Augment = Callable[[jax.Array, jax.Array, jax.Array], Pseudo]  # (key, samples, donors), or of one
Batch = tuple[jax.Array, jax.Array, jax.Array]  # inputs, targets, weights
Error = Callable[[Any, jax.Array], jax.Array]  # (reconstruction, samples) [n, ...] -> [n]


class Pretext(NamedTuple):
    """A training task as pure functions.

    Attributes:
      classes: number of logits; 0 if the network reconstructs its input instead.
      normals: normals drawn for one step.
      batch: `(key, augment, normals [b, h, w, c]) -> (inputs [n, h, w, c], targets [n, ...],
        weights [n])`; `augment(key, samples [b, ...], donors [b, ...]) -> Pseudo` of a batch.
      loss: `(outputs, targets) -> [n]`.
      chance: `(normals) -> loss of a network that learned nothing`.
      views: `(sample) -> [v, h, w, c]`, what the score has to see of a test sample; the first is
        the sample itself.
      head: `(outputs of all views, arrays [n, v, ...], samples [n, h, w, c]) -> [n]`: the pretext's
        own score; higher = stranger.
      strangeness: `(outputs, samples) -> [n]` of single inputs, higher = more augmented; held-out
        normals against their augmentations tell whether anything was learned.
      score: the score of a detector when nothing else is said.
      jitter: whether inputs are jittered; not where the network has to reproduce them.
      shown: `(image) -> [v, h, w, c]`, what a frozen encoder is shown of an image so that the
        network sees its embeddings `[v, 1, k]`; None: the network sees the image's grid.
      fitted: name of the score that is fitted to the normals in the place of a head that learns.
    """

    classes: int
    normals: int
    batch: Callable[[jax.Array, Augment, jax.Array], Batch]
    loss: Callable[[Outputs, jax.Array], jax.Array]
    chance: Callable[[jax.Array], jax.Array]
    views: Callable[[jax.Array], jax.Array]
    head: Callable[[Outputs, jax.Array], jax.Array]
    strangeness: Callable[[Outputs, jax.Array], jax.Array]
    score: str
    jitter: bool = True
    shown: Callable[[jax.Array], jax.Array] | None = None
    fitted: str = ""

    @property
    def reconstructs(self) -> bool:
        return self.classes == 0


def augment_all(augment: Augment, key: jax.Array, samples: jax.Array, donors: jax.Array) -> Pseudo:
    """One pseudo-anomaly per sample, arrays `[n, ...]`, by `augment(key, sample, donor)`."""
    return jax.vmap(augment)(jax.random.split(key, samples.shape[0]), samples, donors)


def _alone(sample: jax.Array) -> jax.Array:
    return sample[None]


def _cross_entropy(outputs: Outputs, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(outputs.logits, labels)


def _against_normal(kinds: int, size: int) -> Pretext:
    """Normal against `kinds` sorts of pseudo-anomaly, all classes equally large."""
    normal = size // (kinds + 1)

    def batch(key: jax.Array, augment: Augment, normals: jax.Array) -> Batch:
        pseudo = augment(key, normals, jnp.roll(normals, 1, axis=0))
        labels = 1 + jnp.minimum(pseudo.kind, kinds - 1)
        return (
            jnp.concatenate([normals[:normal], pseudo.sample]),
            jnp.concatenate([jnp.zeros(normal, labels.dtype), labels]),
            jnp.concatenate([jnp.ones(normal), pseudo.weight]),
        )

    def strangeness(outputs: Outputs, samples: jax.Array) -> jax.Array:
        """Log-odds of being no normal."""
        logits = outputs.logits
        return jax.nn.logsumexp(logits[..., 1:], axis=-1) - logits[..., 0]

    def head(outputs: Outputs, samples: jax.Array) -> jax.Array:
        return strangeness(outputs, samples)[:, 0]

    return Pretext(
        classes=kinds + 1,
        normals=size - normal,
        batch=batch,
        loss=_cross_entropy,
        chance=lambda normals: jnp.log(kinds + 1.0),
        views=_alone,
        head=head,
        strangeness=strangeness,
        score="density",
    )


def binary(augmentation: str, size: int = BATCH) -> Pretext:
    """Normal against augmented, cross-entropy (DSV arXiv 2307.06534, CutPaste arXiv 2104.04015)."""
    del augmentation  # any will do
    return _against_normal(1, size)


def kinds(augmentation: str, size: int = BATCH) -> Pretext:
    """Which kind of pseudo-anomaly, or none: CutPaste's 3-way task (arXiv 2104.04015).

    Raises:
      InputError: a family of one kind only.
    """
    entry = augmentations.get(augmentation)
    if not entry.parts:
        fitting = [name for name, other in augmentations.KNOWN.items() if other.parts]
        raise InputError(
            f"pretext 'kinds' needs several kinds of pseudo-anomaly, {augmentation!r} makes one; "
            f"take one of: {', '.join(fitting)}"
        )
    return _against_normal(len(entry.parts), size)


def prediction(augmentation: str) -> Pretext:
    """Which of the family's transformations was applied (Golan & El-Yaniv, NeurIPS 2018).

    The score is the mean over views of -log p(its transformation | view). Families of more
    transformations than fit a batch get one transformation per input, drawn at random.

    Raises:
      InputError: a family without a finite list of transformations.
    """
    entry = augmentations.get(augmentation)
    if entry.views is None:
        fitting = [name for name, other in augmentations.KNOWN.items() if other.views]
        raise InputError(
            f"pretext 'prediction' needs finitely many transformations, {augmentation!r} has none; "
            f"take one of: {', '.join(fitting)}"
        )
    views = entry.views
    classes = jax.eval_shape(views, jnp.zeros((16, 16, 1))).shape[0]
    every = BATCH // classes  # normals that show all of their transformations in one batch

    def batch(key: jax.Array, augment: Augment, normals: jax.Array) -> Batch:
        del augment
        if every:
            inputs = jax.vmap(views)(normals)  # [b, classes, h, w, c]
            labels = jnp.tile(jnp.arange(classes), normals.shape[0])
            return inputs.reshape(-1, *normals.shape[1:]), labels, jnp.ones(labels.shape)
        labels = jax.random.randint(key, (BATCH,), 0, classes)
        # Drawn arguments of such a family are the view's number: no need to make all views.
        inputs, _ = jax.vmap(lambda sample, k: entry.apply(sample, k, sample))(normals, labels)
        return inputs, labels, jnp.ones(labels.shape)

    def head(outputs: Outputs, samples: jax.Array) -> jax.Array:
        own = jnp.diagonal(jax.nn.log_softmax(outputs.logits), axis1=1, axis2=2)  # [n, classes]
        return -own.mean(-1)

    def strangeness(outputs: Outputs, samples: jax.Array) -> jax.Array:
        return -jax.nn.log_softmax(outputs.logits)[..., 0]

    return Pretext(
        classes=classes,
        normals=every or BATCH,
        batch=batch,
        loss=_cross_entropy,
        chance=lambda normals: jnp.log(float(classes)),
        views=views,
        head=head,
        strangeness=strangeness,
        score="head",
    )


def _squared(made: Any, samples: jax.Array) -> jax.Array:
    return ((made - samples) ** 2).mean(axis=tuple(range(1, samples.ndim)))


def _of_strangest(made: Any, samples: jax.Array) -> jax.Array:
    """Squared error of grids `[n, gh, gw, d]` at their strangest positions."""
    errors = ((made - samples) ** 2).mean(-1).reshape(samples.shape[0], -1)
    return strangest(errors, errors[..., None])[0][:, 0]


def denoising(augmentation: str, error: Error = _squared) -> Pretext:
    """Reproduces the sample from its augmentation; the score is the squared error of the
    un-augmented sample (arXiv 2208.07734)."""
    del augmentation

    def batch(key: jax.Array, augment: Augment, normals: jax.Array) -> Batch:
        pseudo = augment(key, normals, jnp.roll(normals, 1, axis=0))
        return pseudo.sample, normals, pseudo.weight

    def head(outputs: Outputs, samples: jax.Array) -> jax.Array:
        assert outputs.reconstruction is not None
        return error(outputs.reconstruction[:, 0], samples)

    return Pretext(
        classes=0,
        normals=BATCH,
        batch=batch,
        loss=lambda outputs, clean: error(outputs.reconstruction, clean),
        chance=lambda normals: normals.var(axis=0).mean(),
        views=_alone,
        head=head,
        strangeness=lambda outputs, samples: error(outputs.reconstruction, samples),
        score="head",
        jitter=False,
    )


PRETEXTS: dict[str, Callable[[str], Pretext]] = {
    "binary": binary,
    "kinds": kinds,
    "prediction": prediction,
    "denoising": denoising,
}
APART = ("kinds", "prediction")  # their network depends on the family: one program each


def _pooled(augmentation: str) -> Pretext:
    """`binary` on the whole image's embedding: for anomalies that are nowhere in particular."""
    return binary(augmentation, WHOLE)._replace(shown=_alone)


def _prediction_of_embeddings(augmentation: str) -> Pretext:
    """`prediction` where samples are the embeddings of all views, `[v, 1, k]`."""
    made = prediction(augmentation)
    normals = max(1, WHOLE // made.classes)

    def batch(key: jax.Array, augment: Augment, normals: jax.Array) -> Batch:
        del key, augment
        labels = jnp.tile(jnp.arange(made.classes), normals.shape[0])
        return normals.reshape(-1, 1, 1, normals.shape[-1]), labels, jnp.ones(labels.shape)

    return made._replace(
        batch=batch,
        normals=normals,
        views=lambda sample: sample[:, None],
        shown=augmentations.get(augmentation).views,
    )


def _denoising_of_positions(augmentation: str) -> Pretext:
    """`denoising` of features in units of the normals' spread, position by position.

    Raises:
      InputError: a family that changes images: nothing says what a position was before.
    """
    if not augmentations.of_features(augmentation) or augmentation == "identity":
        raise InputError(
            f"pretext 'denoising' on frozen features restores features, {augmentation!r} changes "
            f"images; take one of: {', '.join(augmentations.FEATURES)}"
        )
    made = denoising(augmentation, _of_strangest)
    return made._replace(
        normals=PATCHES // 2,
        chance=lambda normals: jnp.float32(1.0),  # of features in units of their spread
    )


def _fitted(augmentation: str, name: str) -> Pretext:
    """Nothing is trained: a score of positions, or of whole images, is fitted to the normals.

    Raises:
      InputError: an augmentation, which would change nothing.
    """
    if augmentation != "identity":
        raise InputError(
            f"pretext {name!r} trains nothing, so {augmentation!r} changes nothing; take "
            f"{name}/identity"
        )
    score, shown = FITTED[name]
    return binary(augmentation, WHOLE if shown else PATCHES)._replace(fitted=score, shown=shown)


FITTED: dict[str, tuple[str, Callable[[jax.Array], jax.Array] | None]] = {
    "neighbour": ("neighbour", None),  # score of `detect.scores`, and `Pretext.shown`
    "density": ("density", None),
    "subspace": ("subspace", None),
    "global_neighbour": ("neighbour", _alone),
}
ON_FEATURES: dict[str, Callable[[str], Pretext]] = {
    "binary": partial(binary, size=PATCHES),
    "kinds": partial(kinds, size=PATCHES),
    "denoising": _denoising_of_positions,
    "pooled": _pooled,
    "prediction": _prediction_of_embeddings,
    **{name: partial(_fitted, name=name) for name in FITTED},
}


def on_features(name: str, augmentation: str) -> Pretext:
    """The pretext of that name on what a frozen encoder sees.

    Single positions of grids are told apart or restored, or embeddings of whole images (`pooled`,
    `prediction`). As many a step as are cheap, no jitter, and scored by the head.

    Raises:
      InputError: an unknown name, or a family that it cannot have.
    """
    made = lookup(ON_FEATURES, name, "pretext on frozen features")(augmentation)
    return made._replace(jitter=False, score="head")


def make(name: str, augmentation: str) -> Pretext:
    """The pretext of that name over one family.

    Raises:
      InputError: an unknown name; the message lists the known ones.
    """
    return lookup(PRETEXTS, name, "pretext")(augmentation)
