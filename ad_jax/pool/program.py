"""One compiled program: train -> embed -> align -> score, for a chunk of members.

The members of a chunk run one after another inside the program (`lax.map`, for CPU: bit-equal for
any chunk) or side by side (`vmap`, for accelerators). No host round trip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ad_jax import alignment
from ad_jax import augment as augmentations
from ad_jax.alignment import Parts, transport
from ad_jax.augment import Pseudo
from ad_jax.base import ranks
from ad_jax.base.numerics import OverMembers, rowwise
from ad_jax.detect import scores
from ad_jax.detect.look import EMBED_BLOCK, make_look, network
from ad_jax.train.pretexts import Pretext, augment_all
from ad_jax.train.setting import Config
from ad_jax.train.trainer import Hyper, Keys, State, as_unit, make_train


class Measured(NamedTuple):
    """What the program returns per member."""

    params: jax.Array  # [p] flattened
    mean: jax.Array  # [d] of the Gaussian density of the training embeddings
    precision: jax.Array  # [d, d]
    train_loss: jax.Array
    chance_loss: jax.Array  # of a network that learned nothing
    discrimination: jax.Array
    scores: jax.Array  # [heads, n]
    held_out_scores: jax.Array  # [heads, m]
    parts: Parts
    held_out_parts: Parts
    mmd: jax.Array  # [problems]
    held_out_mmd: jax.Array
    mean_distance: jax.Array  # [problems]
    held_out_mean_distance: jax.Array
    sinkhorn: jax.Array  # [problems]
    held_out_sinkhorn: jax.Array
    generated_scores: jax.Array  # [heads, m] of as many generated samples as held-out normals


def head_scores(
    density: scores.Density, z_train: jax.Array, embedding: jax.Array, head: jax.Array
) -> jax.Array:
    """Scores `[heads, n]` of one member, in the order of `HEADS`."""
    kernels = scores.SCORES["kernel_density"]
    return jnp.stack(
        [
            scores.score_density(density, embedding),
            scores.score_neighbour(z_train, embedding),
            kernels.score(kernels.fit(z_train), embedding),
            head,
        ]
    )


def generate(key: jax.Array, normals: jax.Array, count: int) -> jax.Array:
    """Samples `[count, ...]` around the normals `[n, ...]`: what AutoUAD's NPD compares with.

    Every value from a normal distribution of its own, with the normals' mean and variance at that
    place, clipped to [0, 1]; uint8 if the normals are.
    """
    seen = as_unit(normals)
    noise = jax.random.normal(key, (count, *normals.shape[1:]))
    made = jnp.clip(seen.mean(0) + seen.std(0) * noise, 0.0, 1.0)
    return jnp.round(255.0 * made).astype(jnp.uint8) if normals.dtype == jnp.uint8 else made


def generation_key(keys: Keys) -> jax.Array:
    """The key of `generate`: one per seed, so that all settings see the same samples."""
    return jax.random.fold_in(keys.evaluation, 2)  # the augmented sets take 0 and 1


class PerMember(NamedTuple):
    """What the members of a chunk differ in, `[CHUNK, ...]`.

    Attributes:
      keys: of the seed.
      hyper: the fields of `Hyper` without the family.
      valid: false for padding; what comes of those is thrown away.
      fold: row of the folds in `Shared`.
    """

    keys: Keys
    hyper: tuple[Any, ...]
    valid: jax.Array
    fold: jax.Array


class Shared(NamedTuple):
    """What the members of a chunk have in common.

    Attributes:
      family: index of the augmentation among the program's families.
      start, stop: training steps.
      train, held_out: normals of every fold, `[folds, n, ...]` and `[folds, m, ...]`.
      target: `[n, ...]` of all problems; weights: `[problems, n]` of each problem's own.
    """

    family: jax.Array
    start: jax.Array
    stop: jax.Array
    train: jax.Array
    held_out: jax.Array
    target: jax.Array
    weights: jax.Array


class Member(NamedTuple):
    """One member as pure functions.

    Attributes:
      init: `(keys, hyper) -> state`.
      run: `(state, keys, hyper, train, held_out, shared) -> (state, Measured)`: trains on from step
        `shared.start` to `shared.stop`, then measures.
    """

    init: Callable[..., State]
    run: Callable[..., tuple[State, Measured]]


def make_member(
    config: Config, shape: tuple[int, ...], pretext: Pretext, families: tuple[str, ...]
) -> Member:
    """A member of one pretext over some families (`hyper.family` says which)."""
    backbone = network(config, shape, pretext)
    look = make_look(backbone, pretext)

    def augment(hyper: Hyper, key: jax.Array, sample: jax.Array, donor: jax.Array) -> Pseudo:
        return augmentations.switch(families, hyper.family, key, hyper.augmentation, sample, donor)

    def augment_batch(
        hyper: Hyper, key: jax.Array, samples: jax.Array, donors: jax.Array
    ) -> Pseudo:
        return augment_all(functools.partial(augment, hyper), key, samples, donors)

    trainer = make_train(backbone, pretext, augment_batch)

    def both(
        params: Any, hyper: Hyper, key: jax.Array, train: jax.Array, held_out: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Embedding and strangeness of all normals `[n + m, ...]`, as they are and augmented.

        In one walk over the rows: the network and every augmentation are compiled once here, and
        no augmented set is ever held whole.
        """
        keyed, donors = [], []
        for draw, samples in zip(jax.random.split(key), (train, held_out), strict=True):
            keyed.append(jax.random.split(draw, samples.shape[0]))
            donors.append(jnp.roll(samples, 1, axis=0))
        normals, own = jnp.concatenate([train, held_out]), jnp.concatenate(keyed)
        others = jnp.concatenate(donors)

        def block(rows: jax.Array) -> tuple[jax.Array, ...]:
            seen = as_unit(normals[rows])
            made = jax.vmap(functools.partial(augment, hyper))(
                own[rows], seen, as_unit(others[rows])
            ).sample
            inputs = jnp.concatenate([seen, made])
            outputs = backbone.apply(params, inputs)
            strange = pretext.strangeness(outputs, inputs)
            size = rows.shape[0]
            return (
                outputs.embedding[:size],
                strange[:size],
                outputs.embedding[size:],
                strange[size:],
            )

        return rowwise(block, jnp.arange(normals.shape[0]), EMBED_BLOCK // 2)

    def run(
        state: State,
        keys: Keys,
        hyper: Hyper,
        train: jax.Array,
        held_out: jax.Array,
        shared: Shared,
    ) -> tuple[State, Measured]:
        target, weights = shared.target, shared.weights
        state, info = trainer.go_on(state, keys, hyper, train, shared.start, shared.stop)
        count = train.shape[0]
        z, strange, z_made, strange_made = both(
            state.params, hyper, keys.evaluation, train, held_out
        )
        z_train, z_augmented = z[:count], z_made[:count]
        normal, shifted = strange[count:], strange_made[count:]
        kept = held_out.shape[0]
        made = generate(generation_key(keys), train, kept)
        seen, heads = look.judge(state.params, jnp.concatenate([held_out, made, target]))
        z_held_out, z_target = seen[:kept], seen[2 * kept :]
        density = scores.fit_density(z_train)
        scored = head_scores(density, z_train, seen, heads)
        near = transport.distances(z_train, z_augmented, z_target, z_held_out, weights)
        return state, Measured(
            params=ravel_pytree(state.params)[0],
            mean=density.mean,
            precision=density.precision,
            train_loss=info.loss,
            chance_loss=pretext.chance(as_unit(train)),
            discrimination=ranks.auroc(normal, shifted),
            scores=scored[:, 2 * kept :],
            held_out_scores=scored[:, :kept],
            generated_scores=scored[:, kept : 2 * kept],
            parts=alignment.parts(z_train, z_augmented, z_target),
            held_out_parts=alignment.parts(z_train, z_augmented, z_held_out),
            mmd=jax.vmap(lambda w: alignment.mmd(z_train, z_augmented, z_target, weights=w))(
                weights
            ),
            held_out_mmd=alignment.mmd(z_train, z_augmented, z_held_out),
            **near._asdict(),
        )

    return Member(trainer.init, run)


class Program(NamedTuple):
    """A chunk of members as pure functions; `PerMember` and states have an axis `[CHUNK]`.

    Attributes:
      init: `(keys, hyper) -> states`.
      run: `(states, members, shared) -> (states, Measured)`, all `[CHUNK, ...]`.
    """

    init: Callable[[Keys, Hyper], State]
    run: Callable[[State, PerMember, Shared], tuple[State, Measured]]


def make_program(
    config: Config,
    shape: tuple[int, ...],
    pretext: Pretext,
    families: tuple[str, ...],
    over: OverMembers,
) -> Program:
    """The same over a chunk of members of one family.

    The family index is one number for the chunk, so its switch runs one branch.
    """
    member = make_member(config, shape, pretext, families)

    def init(keys: Keys, hyper: Hyper) -> State:
        return jax.vmap(lambda k, rest: member.init(k, Hyper(hyper.family, *rest)))(
            keys, tuple(hyper)[1:]
        )

    def run(states: State, members: PerMember, shared: Shared) -> tuple[State, Measured]:
        def one(arguments: tuple[State, PerMember]) -> tuple[State, Measured]:
            state, own = arguments
            train, held_out = shared.train[own.fold], shared.held_out[own.fold]

            def real() -> tuple[State, Measured]:
                hyper = Hyper(shared.family, *own.hyper)
                return member.run(state, own.keys, hyper, train, held_out, shared)

            def blank() -> tuple[State, Measured]:
                return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(real))

            return over.when(own.valid, real, blank)

        return over.map(one, (states, members))

    return Program(init, run)
