"""Training: `init`, `step`, and a loop of steps. It never receives the target.

The learning rate is constant after a short warm-up: a schedule without a fixed horizon, so that a
training can stop, go on and be differentiated anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from ad_jax import augment as augmentations
from ad_jax.augment import Pseudo
from ad_jax.train.backbones import Backbone
from ad_jax.train.pretexts import Batch, Pretext, augment_all

WARM_UP = 50  # steps


class Hyper(NamedTuple):
    """Everything of a training that may be swept or differentiated (all traced).

    Attributes:
      family: index of the augmentation among the program's families, int32.
      augmentation: packed hyperparameters of the augmentation (`augment.packed_length`), or
        pseudo-anomalies that were drawn before (`pool.drawn.Drawn`).
      training: those of training by their names, all of `setting.TRAINING`.
    """

    family: Any
    augmentation: Any
    training: Mapping[str, Any]


class State(NamedTuple):
    """What the next step needs: network, optimiser, and the number of steps taken."""

    params: Any
    optimiser: Any
    step: jax.Array


class Info(NamedTuple):
    """Diagnostics of one step (scalars)."""

    loss: jax.Array


class Keys(NamedTuple):
    """One key per purpose, the same for all settings of a seed (common random numbers)."""

    initialisation: jax.Array
    order: jax.Array
    augmentation: jax.Array
    evaluation: jax.Array


Augmenter = Callable[
    [Hyper, jax.Array, jax.Array, jax.Array], Pseudo
]  # (hyper, key, samples, donors)


class Trainer(NamedTuple):
    """Training as pure functions.

    Attributes:
      init: `(keys, hyper) -> state`.
      step: `(state, keys, hyper, normals [n, h, w, c]) -> (state, info)`.
      go_on: `(state, keys, hyper, normals, start, stop) -> (state, info over the last tenth)`: the
        same steps with traced bounds, so that one program serves every length; no reverse mode.
      objective: `(state, keys, hyper, normals) -> loss` on the batch of the state's next step,
        weight decay as a penalty: what training lowers.
    """

    init: Callable[[Keys, Hyper], State]
    step: Callable[[State, Keys, Hyper, jax.Array], tuple[State, Info]]
    go_on: Callable[[State, Keys, Hyper, jax.Array, Any, Any], tuple[State, Info]]
    objective: Callable[[State, Keys, Hyper, jax.Array], jax.Array]


USUAL_DRAWS = {  # JAX's own choices, by which records without a word on them were made
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
}


def other_draws() -> dict[str, Any]:
    """What a record's keys say of JAX's options that change every random draw: what is unusual."""
    found = {name: getattr(jax.config, name) for name in USUAL_DRAWS}
    other = {name: value for name, value in found.items() if value != USUAL_DRAWS[name]}
    return {"draws": other} if other else {}


def seed_keys(root: int, seed: jax.Array | int) -> Keys:
    """The keys of one seed: root x seed x purpose."""
    return Keys(*jax.random.split(jax.random.fold_in(jax.random.key(root), seed), 4))


def _jitter(key: jax.Array, samples: jax.Array, amount: jax.Array) -> jax.Array:
    size = (2, samples.shape[0]) + (1,) * (samples.ndim - 1)
    brightness, contrast = amount * jax.random.uniform(key, size, minval=-1.0, maxval=1.0)
    mean = samples.mean(axis=tuple(range(1, samples.ndim)), keepdims=True)
    return jnp.clip((samples - mean) * (1.0 + contrast) + mean + brightness, 0.0, 1.0)


def over(families: tuple[str, ...]) -> Augmenter:
    """Pseudo-anomalies of a batch by `families[hyper.family]`."""

    def augment(hyper: Hyper, key: jax.Array, samples: jax.Array, donors: jax.Array) -> Pseudo:
        def one(key: jax.Array, sample: jax.Array, donor: jax.Array) -> Pseudo:
            return augmentations.switch(
                families, hyper.family, key, hyper.augmentation, sample, donor
            )

        return augment_all(one, key, samples, donors)

    return augment


def make_batch(
    backbone: Backbone, pretext: Pretext, augment: Augmenter
) -> Callable[[State, Keys, Hyper, jax.Array], Batch]:
    """`(state, keys, hyper, normals) -> Batch` of the state's next step."""

    def drawn(state: State, keys: Keys, hyper: Hyper, normals: jax.Array) -> Batch:
        order = jax.random.fold_in(keys.order, state.step)
        draw, jitter = jax.random.split(jax.random.fold_in(keys.augmentation, state.step))
        rows = jax.random.randint(order, (pretext.normals,), 0, normals.shape[0])
        inputs, targets, weights = pretext.batch(
            draw,
            lambda k, s, d: augment(hyper, k, s, d),
            backbone.enter(state.params, normals[rows]),
        )
        if pretext.jitter and inputs.ndim == 4:  # of images: a row has no brightness
            inputs = _jitter(jitter, inputs, hyper.training["jitter"])
        return inputs, targets, weights

    return drawn


def make_loss(backbone: Backbone, pretext: Pretext) -> Callable[[Any, Batch], jax.Array]:
    """`(params, batch) -> loss`, the weighted mean of the pretext's."""

    def loss_of(params: Any, batch: Batch) -> jax.Array:
        inputs, targets, weights = batch
        losses = pretext.loss(backbone.apply(params, inputs), targets)
        chex.assert_equal_shape([weights, losses])  # or the product would broadcast
        return (weights * losses).mean()

    return loss_of


def make_train(backbone: Backbone, pretext: Pretext, augment: Augmenter) -> Trainer:
    """Trainer of one pretext; `augment` makes the pseudo-anomalies of a batch, such as `over`."""

    def optimiser(hyper: Hyper, step: jax.Array) -> optax.GradientTransformation:
        rate = hyper.training["learning_rate"] * jnp.minimum(1.0, (step + 1) / WARM_UP)
        return optax.chain(
            optax.scale_by_adam(eps_root=1e-12),  # finite when Adam itself is differentiated
            optax.add_decayed_weights(hyper.training["weight_decay"]),
            optax.scale_by_learning_rate(rate),
        )

    def init(keys: Keys, hyper: Hyper) -> State:
        params = backbone.init(keys.initialisation)
        return State(params, optimiser(hyper, jnp.int32(0)).init(params), jnp.int32(0))

    drawn, loss_of = make_batch(backbone, pretext, augment), make_loss(backbone, pretext)

    def objective(state: State, keys: Keys, hyper: Hyper, normals: jax.Array) -> jax.Array:
        learned = {name: p for name, p in state.params.items() if name not in backbone.fixed}
        decay = 0.5 * hyper.training["weight_decay"] * optax.tree.norm(learned, squared=True)
        return loss_of(state.params, drawn(state, keys, hyper, normals)) + decay

    def step(state: State, keys: Keys, hyper: Hyper, normals: jax.Array) -> tuple[State, Info]:
        if not backbone.learns:
            return state._replace(step=state.step + 1), Info(jnp.float32(0.0))
        batch = drawn(state, keys, hyper, normals)
        loss, gradient = jax.value_and_grad(loss_of)(state.params, batch)
        updates, moments = optimiser(hyper, state.step).update(
            gradient, state.optimiser, state.params
        )
        if backbone.fixed:  # weight decay would move them, too
            fixed = {name: updates[name] for name in backbone.fixed}
            updates = {**updates, **jax.tree.map(jnp.zeros_like, fixed)}
        params = optax.apply_updates(state.params, updates)
        return State(params, moments, state.step + 1), Info(loss)

    def go_on(
        state: State, keys: Keys, hyper: Hyper, normals: jax.Array, start: Any, stop: Any
    ) -> tuple[State, Info]:
        late = jnp.minimum(jnp.maximum(stop // 10, 1), stop - start)

        def body(i: jax.Array, carried: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            state, total = carried
            state, info = step(state, keys, hyper, normals)
            return state, total + jnp.where(i >= stop - late, info.loss, 0.0)

        state, total = jax.lax.fori_loop(start, stop, body, (state, jnp.zeros(())))
        return state, Info(total / late)

    return Trainer(init, step, go_on, objective)
