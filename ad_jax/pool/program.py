"""One compiled program: train -> embed -> align -> score, for a chunk of members.

The members of a chunk run one after another inside the program (`lax.map`, for CPU: bit-equal for
any chunk) or side by side (`vmap`, for accelerators). No host round trip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ad_jax import alignment
from ad_jax import augment as augmentations
from ad_jax.alignment import Sets
from ad_jax.augment import Pseudo
from ad_jax.base import ranks
from ad_jax.base.modality import modality
from ad_jax.base.numerics import OverMembers, rowwise
from ad_jax.detect import scores
from ad_jax.detect.look import EMBED_BLOCK, make_look, network
from ad_jax.detect.state import Trained
from ad_jax.features import frozen
from ad_jax.pool.drawn import DRAWN
from ad_jax.pool.view import View
from ad_jax.train.backbones import Backbone, as_unit
from ad_jax.train.pretexts import Pretext
from ad_jax.train.setting import Config
from ad_jax.train.trainer import Hyper, Keys, State, make_train, over


class Measured(NamedTuple):
    """What the program returns per member.

    Attributes:
      network: flattened, and the Gaussian density of its training embeddings.
      train_loss: mean over the last tenth of the steps.
      chance_loss: of a network that learned nothing.
      discrimination: AUROC of held-out normals against their augmentations, by the network.
      target: of all problems, `View.of_problem` cuts one out; held_out: of the held-out normals.
      generated: scores alone, of as many generated samples as held-out normals.
    """

    network: Trained
    train_loss: jax.Array
    chance_loss: jax.Array
    discrimination: jax.Array
    target: View
    held_out: View
    generated: View


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


def generate(key: jax.Array, normals: jax.Array, count: int, bounded: bool = True) -> jax.Array:
    """Samples `[count, ...]` around the normals `[n, ...]`: what AutoUAD's NPD compares with.

    Every value from a normal distribution of its own, with the normals' mean and variance at that
    place, in the normals' dtype; with `bounded`, as images are, clipped to [0, 1].
    """
    seen = as_unit(normals)
    noise = jax.random.normal(key, (count, *normals.shape[1:]))
    made = seen.mean(0) + seen.std(0) * noise
    if not bounded:
        return made.astype(normals.dtype)
    made = jnp.clip(made, 0.0, 1.0)
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

    init: Callable[[Keys, Hyper], State]
    run: Callable[[State, Keys, Hyper, jax.Array, jax.Array, Shared], tuple[State, Measured]]


class Embedded(NamedTuple):
    """Normals as a trained network sees them, as they are and augmented, `[n, ...]` each."""

    embedding: jax.Array
    strangeness: jax.Array
    augmented_embedding: jax.Array
    augmented_strangeness: jax.Array


def make_embed(
    backbone: Backbone, pretext: Pretext, families: tuple[str, ...]
) -> Callable[[Any, Hyper, jax.Array, jax.Array, jax.Array], Embedded]:
    """`(params, hyper, key, train, held_out) -> Embedded` of train, then held-out normals.

    In one walk over the rows: the network and every augmentation are compiled once here, and no
    augmented set is ever held whole.
    """

    def embed(
        params: Any, hyper: Hyper, key: jax.Array, train: jax.Array, held_out: jax.Array
    ) -> Embedded:
        keyed, donors = [], []
        for draw, samples in zip(jax.random.split(key), (train, held_out), strict=True):
            keyed.append(jax.random.split(draw, samples.shape[0]))
            donors.append(jnp.roll(samples, 1, axis=0))
        normals, keys = jnp.concatenate([train, held_out]), jnp.concatenate(keyed)
        others = jnp.concatenate(donors)
        drawn = None
        if families[0] == DRAWN:
            drawn = jnp.concatenate([hyper.augmentation.train, hyper.augmentation.held_out])

        def augment(key: jax.Array, sample: jax.Array, donor: jax.Array) -> Pseudo:
            return augmentations.switch(
                families, hyper.family, key, hyper.augmentation, sample, donor
            )

        def block(rows: jax.Array) -> Embedded:
            samples = backbone.enter(params, normals[rows])
            if drawn is None:
                donors = backbone.enter(params, others[rows])
                augmented = jax.vmap(augment)(keys[rows], samples, donors).sample
            else:
                augmented = backbone.enter(params, drawn[rows])
            inputs = jnp.concatenate([samples, augmented])
            outputs = backbone.apply(params, inputs)
            strangeness = pretext.strangeness(outputs, inputs)
            size = rows.shape[0]
            return Embedded(
                outputs.embedding[:size],
                strangeness[:size],
                outputs.embedding[size:],
                strangeness[size:],
            )

        return rowwise(block, jnp.arange(normals.shape[0]), EMBED_BLOCK // 2)

    return embed


def from_drawn(hyper: Hyper, key: jax.Array, samples: jax.Array, donors: jax.Array) -> Pseudo:
    """Pseudo-anomalies of a batch out of those that were drawn before, `hyper.augmentation`."""
    count = samples.shape[0]
    rows = jax.random.randint(key, (count,), 0, hyper.augmentation.pieces.shape[0])
    mask = jnp.ones(samples.shape[:3])
    kind = hyper.augmentation.kind[rows]
    return Pseudo(hyper.augmentation.pieces[rows], mask, kind, jnp.ones(count))


def make_member(
    config: Config, shape: tuple[int, ...], pretext: Pretext, families: tuple[str, ...]
) -> Member:
    """A member of one pretext over some families (`hyper.family` says which)."""
    backbone = network(config, shape, pretext)
    look = make_look(backbone, pretext)
    embed = make_embed(backbone, pretext, families)
    trainer = make_train(backbone, pretext, from_drawn if families[0] == DRAWN else over(families))

    def run(
        state: State,
        keys: Keys,
        hyper: Hyper,
        train: jax.Array,
        held_out: jax.Array,
        shared: Shared,
    ) -> tuple[State, Measured]:
        state = state._replace(params=backbone.fit(state.params, train))
        pieces, seen = backbone.pieces(train), hyper
        if families[0] == DRAWN:
            drawn = hyper.augmentation
            entered = drawn._replace(pieces=backbone.enter(state.params, drawn.pieces))
            seen = hyper._replace(augmentation=entered)
        state, info = trainer.go_on(state, keys, seen, pieces, shared.start, shared.stop)
        count, kept = train.shape[0], held_out.shape[0]
        told = count if kept > 1 else 0  # one pair alone tells nothing
        normals = embed(state.params, hyper, keys.evaluation, train, held_out)
        z_train = normals.embedding[:count]
        bounded = modality(shape) == "image" and not frozen(config.backbone)
        generated = generate(generation_key(keys), train, kept, bounded)
        samples = jnp.concatenate([held_out, generated, shared.target])
        z, head = look.judge(state.params, samples)
        density = scores.fit_density(z_train)
        scored: Any = head_scores(density, z_train, z, head)
        network: Any = (ravel_pytree(state.params)[0], density.mean, density.precision)
        sets = Sets(
            z_train,
            normals.augmented_embedding[:count],
            z[2 * kept :],
            target_weights=shared.weights,
        )
        of_target, of_held_out = alignment.measure(sets, z[:kept])
        return state, Measured(
            Trained(*network),
            train_loss=info.loss,
            chance_loss=pretext.chance(backbone.enter(state.params, train)),
            discrimination=ranks.auroc(
                normals.strangeness[told:], normals.augmented_strangeness[told:]
            )
            if backbone.learns
            else jnp.float32(1.0),
            target=View(scored[:, 2 * kept :], of_target),
            held_out=View(scored[:, :kept], of_held_out),
            generated=View(scored[:, kept : 2 * kept]),
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
