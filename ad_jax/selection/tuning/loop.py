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
from ad_jax.selection.tuning.looks import Data, Look, make_look, make_position_look
from ad_jax.selection.tuning.space import TunedSpace, constrain, relaxed
from ad_jax.train.backbones import Backbone
from ad_jax.train.pretexts import Pretext
from ad_jax.train.pretexts import make as make_pretext
from ad_jax.train.setting import TRAINING
from ad_jax.train.trainer import Hyper, Keys, State, Trainer, make_train

NULL_LOOKS = 16


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
      prior: how strongly theta is held at its start: this times the noise of the outer loss times
        its squared distance is added. The noise is the deviation over looks with held-out normals
        in the target's place, before the first step.
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
    prior: float = 0.0

    @property
    def steps(self) -> int:
        """Training steps of one start."""
        return self.warm_up + self.outer_steps * self.horizon


class Outer(NamedTuple):
    """State of one start.

    Attributes:
      inner: training state.
      theta: `[size]`.
      optimiser: of theta.
      step: outer steps taken.
      start: `[size]` theta at first; noise: of the outer loss, `Plan.prior`.
      mean: network, mean over the last third of the outer steps so far.
      alive: false once anything was not finite; nothing moves any more then.
    """

    inner: State
    theta: jax.Array
    optimiser: Any
    step: jax.Array
    start: jax.Array
    noise: jax.Array
    mean: Any
    alive: jax.Array


class Info(NamedTuple):
    """One outer step: what stands in the trajectory.

    Attributes:
      theta: `[size]` before the step.
      loss: outer loss without the gate.
      gate: what the gate added.
      gradient: its norm before clipping.
      pretext: loss of telling normals from augmented ones, as a share of that at chance.
      alive: whether the start still runs.
    """

    theta: jax.Array
    loss: jax.Array
    gate: jax.Array
    gradient: jax.Array
    pretext: jax.Array
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
      problem: `(keys, hyper, data, step, start=None, noise=0) -> Bilevel` of one outer step, theta
        held at its start where one is given.
    """

    init: Init
    step: Callable[[Outer, Keys, Hyper, Data], tuple[Outer, Info]]
    problem: Callable[..., Bilevel]


def training(space: TunedSpace) -> Hyper:
    """A training where nothing is tuned yet."""
    own = {**TRAINING.defaults(), **space.rest}
    return Hyper(jnp.int32(0), None, jax.tree.map(jnp.float32, own))


def _at(space: TunedSpace, hyper: Hyper, theta: jax.Array) -> Hyper:
    """A training at theta, which travels in `augmentation`."""
    tuned = {name: constrain(space, theta)[name] for name in space.training}
    return hyper._replace(augmentation=theta, training={**hyper.training, **tuned})


def make_problem(
    backbone: Backbone, trainer: Trainer, look: Look, space: TunedSpace, plan: Plan
) -> Callable[..., Bilevel]:
    """`Tuner.problem` of a training and of how its network is looked through."""
    objective = losses.combine(dict(plan.outer))

    def problem(
        keys: Keys,
        hyper: Hyper,
        data: Data,
        step: jax.Array,
        start: jax.Array | None = None,
        noise: Any = 0.0,
    ) -> Bilevel:
        key = jax.random.fold_in(keys.evaluation, step)
        pieces = backbone.pieces(data.train)

        def inner(state: State, theta: jax.Array) -> State:
            return trainer.step(state, keys, _at(space, hyper, theta), pieces)[0]

        def outer(state: State, theta: jax.Array) -> tuple[jax.Array, Any]:
            sets = look(state.params, theta, key, data)
            loss, closed = objective(sets), losses.gate(sets)
            if start is not None:
                loss += plan.prior * noise * ((theta - start) ** 2).sum()
            return loss + closed, (loss, closed, sets.pretext)

        def lowered(state: State, theta: jax.Array) -> jax.Array:
            return trainer.objective(state, keys, _at(space, hyper, theta), pieces)

        return Bilevel(inner, outer, lowered, learned, relearned)

    def learned(state: State) -> Any:
        return {name: p for name, p in state.params.items() if name not in backbone.fixed}

    def relearned(state: State, params: Any) -> State:
        return state._replace(params={**state.params, **params})

    return problem


def make_noise(look: Look, plan: Plan) -> Callable[[Any, Keys, jax.Array, Data], jax.Array]:
    """`(params, keys, theta, data) -> deviation` of the outer loss over looks at held-out normals.

    They stand in the target's place, too: what the loss varies by where there is nothing to find.
    """
    objective = losses.combine(dict(plan.outer))

    def noise_of(params: Any, keys: Keys, theta: jax.Array, data: Data) -> jax.Array:
        null = data._replace(target=data.held_out)

        def one(number: jax.Array) -> jax.Array:
            return objective(look(params, theta, jax.random.fold_in(keys.order, number), null))

        return jax.lax.map(one, jnp.arange(NULL_LOOKS)).std()

    return noise_of


def make_tuner(
    backbone: Backbone, space: TunedSpace, plan: Plan, pretext: Pretext | None = None
) -> Tuner:
    """The tuner of one space.

    Args:
      backbone: its network.
      space: what is tuned.
      plan: how.
      pretext: normal against augmented, as alignment supposes; of positions for a head on grids.
    """
    on_grids = pretext is not None
    pretext = pretext or make_pretext("binary", space.families[0])

    def augment(hyper: Hyper, key: jax.Array, samples: jax.Array, donors: jax.Array) -> Pseudo:
        return relaxed(space, hyper.augmentation, key, samples, donors)

    trainer = make_train(backbone, pretext, augment)
    make = make_position_look if on_grids else make_look
    look = make(backbone, pretext, space, plan.batch)

    problem = make_problem(backbone, trainer, look, space, plan)
    noise_of = make_noise(look, plan)
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
        state = trainer.init(keys, hyper)
        state = state._replace(params=backbone.fit(state.params, data.train))
        state, _ = trainer.go_on(state, keys, hyper, backbone.pieces(data.train), 0, warm_up)
        noise = noise_of(state.params, keys, theta, data) if plan.prior else jnp.float32(0.0)
        mean = jax.tree.map(jnp.zeros_like, state.params)
        return Outer(
            state, theta, move.init(theta), jnp.int32(0), theta, noise, mean, jnp.bool_(True)
        )

    def step(outer: Outer, keys: Keys, hyper: Hyper, data: Data) -> tuple[Outer, Info]:
        start = outer.start if plan.prior else None
        one = problem(keys, hyper, data, outer.step, start, outer.noise)
        found = estimate(one, outer.inner, outer.theta, plan.horizon)
        updates, optimiser = move.update(found.gradient, outer.optimiser, outer.theta)
        theta = optax.apply_updates(outer.theta, updates)
        leaves = jax.tree.leaves((theta, found.loss, found.gradient, found.state.params))
        fine = outer.alive & jnp.stack([jnp.isfinite(x).all() for x in leaves]).all()
        late = jnp.maximum(outer.step + 1 - plan.outer_steps * 2 // 3, 0)
        share = jnp.where(late > 0, 1.0 / jnp.maximum(late, 1), 0.0)
        mean = jax.tree.map(lambda m, p: m + share * (p - m), outer.mean, found.state.params)
        after = outer._replace(
            inner=found.state, theta=theta, optimiser=optimiser, step=outer.step + 1, mean=mean
        )
        # A start that diverged stays where it was last finite, so that others can go on.
        kept = jax.tree.map(lambda new, old: jnp.where(fine, new, old), after, outer)
        loss, closed, told = found.info
        norm = optax.tree.norm(found.gradient)
        return kept._replace(alive=fine), Info(outer.theta, loss, closed, norm, told, fine)

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
