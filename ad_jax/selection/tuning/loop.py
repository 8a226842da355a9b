"""The alternating loop: some training steps, one step of theta, again; several starts at once.

Pure functions of an outer state, so that a chunk of outer steps is one compiled program, a killed
run goes on from the last chunk, and starts run side by side on accelerators.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from ad_jax.augment import Pseudo
from ad_jax.base.devices import spread
from ad_jax.base.numerics import OverMembers
from ad_jax.selection.tuning import losses
from ad_jax.selection.tuning.estimators import ESTIMATORS, Bilevel, unrolled
from ad_jax.selection.tuning.space import TunedSpace, constrain, relaxed
from ad_jax.train.backbones import Backbone
from ad_jax.train.pretexts import Pretext
from ad_jax.train.pretexts import make as make_pretext
from ad_jax.train.setting import TRAINING
from ad_jax.train.trainer import Hyper, Keys, State, make_train


class Plan(NamedTuple):
    """Static choices of a tuning: another value is another program.

    Attributes:
      estimator: name in `ESTIMATORS`.
      outer: weights of outer losses, as `losses.parse` gives them.
      outer_steps: steps of theta, at most.
      horizon: training steps between two of them, through which `unrolled` differentiates.
      warm_up: training steps at the start value before the first.
      batch: samples of each set in one look.
      rate: Adam's learning rate of theta.
      clip: largest norm of the gradient.
      checkpoint: whether `unrolled` redoes passes instead of storing them.
    """

    estimator: str = "unrolled"
    outer: tuple[tuple[str, float], ...] = (("held_out_auroc", 1.0),)
    outer_steps: int = 80
    horizon: int = 10
    warm_up: int = 200
    batch: int = 64
    rate: float = 0.1
    clip: float = 1.0
    checkpoint: bool = True

    @property
    def steps(self) -> int:
        """Training steps of one start."""
        return self.warm_up + self.outer_steps * self.horizon


class Data(NamedTuple):
    """What a start sees: normals to train on, held-out normals, the unlabelled target."""

    train: jax.Array
    held_out: jax.Array
    target: jax.Array


class Outer(NamedTuple):
    """State of one start.

    Attributes:
      inner: training state.
      theta: `[size]`.
      optimiser: of theta.
      step: outer steps taken.
      alive: false once anything was not finite; nothing moves any more then.
    """

    inner: State
    theta: jax.Array
    optimiser: Any
    step: jax.Array
    alive: jax.Array


class Info(NamedTuple):
    """One outer step: what stands in the trajectory.

    Attributes:
      theta: `[size]` before the step.
      loss: outer loss without the gate.
      gate: what the gate added.
      gradient: its norm before clipping.
      alive: whether the start still runs.
    """

    theta: jax.Array
    loss: jax.Array
    gate: jax.Array
    gradient: jax.Array
    alive: jax.Array


class Init(Protocol):
    def __call__(
        self, keys: Keys, hyper: Hyper, theta: jax.Array, data: Data, warm_up: Any = ...
    ) -> Outer: ...


class Tuner(NamedTuple):
    """Tuning of one start as pure functions.

    Attributes:
      init: `(keys, hyper, theta, data, warm_up=plan.warm_up) -> Outer`, warmed up.
      step: `(outer, keys, hyper, data) -> (Outer, Info)`.
      problem: `(keys, hyper, data, step) -> Bilevel` of one outer step.
    """

    init: Init
    step: Callable[[Outer, Keys, Hyper, Data], tuple[Outer, Info]]
    problem: Callable[[Keys, Hyper, Data, jax.Array], Bilevel]


def training() -> Hyper:
    """A training where nothing is tuned yet."""
    return Hyper(jnp.int32(0), None, jax.tree.map(jnp.float32, TRAINING.defaults()))


def _at(space: TunedSpace, hyper: Hyper, theta: jax.Array) -> Hyper:
    """A training at theta, which travels in `augmentation`."""
    tuned = {name: constrain(space, theta)[name] for name in space.training}
    return hyper._replace(augmentation=theta, training={**hyper.training, **tuned})


def make_look(
    backbone: Backbone, pretext: Pretext, space: TunedSpace, batch: int
) -> Callable[[Any, jax.Array, jax.Array, Data], losses.Embedded]:
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
        told = jax.nn.softplus(odds[0]).mean() + (pseudo.weight * jax.nn.softplus(-odds[1])).mean()
        z_train, z_augmented, z_target, z_held_out = z
        return losses.Embedded(
            z_train,
            z_augmented,
            z_target,
            z_held_out,
            pseudo.weight,
            odds[2],
            odds[3],
            told / 2.0 / pretext.chance(train),
        )

    return look


def make_tuner(backbone: Backbone, space: TunedSpace, plan: Plan) -> Tuner:
    """The tuner of one space; the pretext is normal against augmented, as alignment supposes."""
    pretext = make_pretext("binary", space.families[0])

    def augment(hyper: Hyper, key: jax.Array, samples: jax.Array, donors: jax.Array) -> Pseudo:
        return relaxed(space, hyper.augmentation, key, samples, donors)

    trainer = make_train(backbone, pretext, augment)
    objective = losses.combine(dict(plan.outer))
    look = make_look(backbone, pretext, space, plan.batch)

    def problem(keys: Keys, hyper: Hyper, data: Data, step: jax.Array) -> Bilevel:
        key = jax.random.fold_in(keys.evaluation, step)

        def inner(state: State, theta: jax.Array) -> State:
            return trainer.step(state, keys, _at(space, hyper, theta), data.train)[0]

        def outer(state: State, theta: jax.Array) -> tuple[jax.Array, Any]:
            sets = look(state.params, theta, key, data)
            loss, closed = objective(sets), losses.gate(sets)
            return loss + closed, (loss, closed)

        return Bilevel(inner, outer)

    move = optax.chain(optax.clip_by_global_norm(plan.clip), optax.adam(plan.rate, b1=0.8))
    estimate = ESTIMATORS[plan.estimator]
    if plan.estimator == "unrolled":
        estimate = functools.partial(unrolled, checkpoint=plan.checkpoint)

    def init(
        keys: Keys,
        hyper: Hyper,
        theta: jax.Array,
        data: Data,
        warm_up: int | jax.Array = plan.warm_up,
    ) -> Outer:
        hyper = _at(space, hyper, theta)
        state, _ = trainer.go_on(trainer.init(keys, hyper), keys, hyper, data.train, 0, warm_up)
        return Outer(state, theta, move.init(theta), jnp.int32(0), jnp.bool_(True))

    def step(outer: Outer, keys: Keys, hyper: Hyper, data: Data) -> tuple[Outer, Info]:
        one = problem(keys, hyper, data, outer.step)
        found = estimate(one, outer.inner, outer.theta, plan.horizon)
        updates, optimiser = move.update(found.gradient, outer.optimiser, outer.theta)
        theta = optax.apply_updates(outer.theta, updates)
        leaves = jax.tree.leaves((theta, found.loss, found.gradient, found.state.params))
        fine = outer.alive & jnp.stack([jnp.isfinite(x).all() for x in leaves]).all()
        after = Outer(found.state, theta, optimiser, outer.step + 1, fine)
        # A start that diverged stays where it was last finite, so that others can go on.
        kept = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, outer)
        loss, closed = found.info
        norm = optax.tree.norm(found.gradient)
        return kept._replace(alive=fine), Info(outer.theta, loss, closed, norm, fine)

    return Tuner(init, step, problem)


class Program(NamedTuple):
    """Tuning of all starts, jitted: `Outer` and `Info` have a leading axis `[starts]`.

    Keys and data are the same for all: their losses differ by theta alone. Starts are divided over
    the local devices.

    Attributes:
      init: `(keys, hyper, thetas, data, warm_up [starts]) -> Outer`, warmed up by so many steps.
      run: `(outer, keys, hyper, data, limit [starts]) -> (Outer, Info [starts, steps, ...])`: outer
        steps; a start's own from its `limit` on do nothing, so that one program serves a shorter
        last chunk, and starts that have ended or are another worker's.
    """

    init: Any
    run: Any


def make_program(tuner: Tuner, steps: int, over: OverMembers) -> Program:
    """`steps` outer steps of every start.

    Side by side, a start beyond its limit goes through the motions and stays where it is.
    """

    def init(keys: Keys, hyper: Hyper, thetas: jax.Array, data: Data, warm_up: jax.Array) -> Outer:
        return over.map(
            lambda one: tuner.init(keys, hyper, one[0], data, one[1]), (thetas, warm_up)
        )

    def run(
        outer: Outer, keys: Keys, hyper: Hyper, data: Data, limit: jax.Array
    ) -> tuple[Outer, Info]:
        def one(of_start: tuple[Outer, jax.Array]) -> tuple[Outer, Info]:
            outer, limit = of_start

            def body(carried: Outer, i: jax.Array) -> tuple[Outer, Info]:
                def real() -> tuple[Outer, Info]:
                    return tuner.step(carried, keys, hyper, data)

                def blank() -> tuple[Outer, Info]:
                    _, info = jax.eval_shape(real)
                    return carried, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), info)

                return over.when(i < limit, real, blank)

            return jax.lax.scan(body, outer, jnp.arange(steps))

        return over.map(one, (outer, limit))

    return Program(
        spread(init, (False, False, True, False, True)),
        spread(run, (True, False, False, False, True)),
    )
