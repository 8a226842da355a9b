"""Hypergradients: how the outer loss after some training steps moves with theta.

One signature, chosen by name. All start from the given inner state and take `steps` steps; random
numbers come from the state's own step count, so that every estimator sees the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

WIDTH = 0.3  # of a finite difference, in units of theta


class Bilevel(NamedTuple):
    """Two nested problems as pure functions.

    Attributes:
      inner: `(state, theta) -> state`: one training step.
      outer: `(state, theta) -> (loss, info)`: what theta should lower after training.
    """

    inner: Callable[[Any, jax.Array], Any]
    outer: Callable[[Any, jax.Array], tuple[jax.Array, Any]]


class Estimate(NamedTuple):
    """Loss, its gradient `[size]` in theta, the info of `outer`, the state after the steps."""

    loss: jax.Array
    gradient: jax.Array
    info: Any
    state: Any


class Estimator(Protocol):
    """Loss and gradient after `steps` inner steps; further choices by name, with defaults."""

    def __call__(self, problem: Bilevel, state: Any, theta: jax.Array, steps: int) -> Estimate: ...


def train(problem: Bilevel, state: Any, theta: jax.Array, steps: int, keep: bool = True) -> Any:
    """State after `steps` inner steps; without `keep`, reverse mode stores no more than states."""
    inner = problem.inner if keep else jax.checkpoint(problem.inner)
    return jax.lax.scan(lambda s, _: (inner(s, theta), None), state, length=steps)[0]


def first_order(problem: Bilevel, state: Any, theta: jax.Array, steps: int) -> Estimate:
    """Only the direct way of theta into the outer loss; the trained network counts as given."""
    state = train(problem, state, theta, steps)
    (loss, info), gradient = jax.value_and_grad(
        lambda t: problem.outer(jax.lax.stop_gradient(state), t), has_aux=True
    )(theta)
    return Estimate(loss, gradient, info, state)


def unrolled(
    problem: Bilevel, state: Any, theta: jax.Array, steps: int, checkpoint: bool = True
) -> Estimate:
    """Second order: reverse mode through the steps as well (arXiv 2306.12033).

    With `checkpoint` memory grows by one state a step instead of one network pass, for about half
    as much time again.
    """

    def whole(t: jax.Array) -> tuple[jax.Array, tuple[Any, Any]]:
        trained = train(problem, state, t, steps, keep=not checkpoint)
        loss, info = problem.outer(trained, t)
        return loss, (info, trained)

    (loss, (info, trained)), gradient = jax.value_and_grad(whole, has_aux=True)(theta)
    return Estimate(loss, gradient, info, trained)


def finite_difference(
    problem: Bilevel, state: Any, theta: jax.Array, steps: int, width: float = WIDTH
) -> Estimate:
    """Central differences between trainings at `theta ± width` in every direction.

    Wide on purpose: chaotic trainings have huge slopes at a point and a calm one across. All probes
    share their random numbers and run in one program, one after another.
    """
    size = theta.shape[0]
    moves = jnp.concatenate([jnp.zeros((1, size)), width * jnp.eye(size), -width * jnp.eye(size)])

    def probe(move: jax.Array) -> tuple[jax.Array, Any, Any]:
        trained = train(problem, state, theta + move, steps)
        loss, info = problem.outer(trained, theta + move)
        return loss, info, trained

    loss, info, trained = probe(moves[0])
    losses = jax.lax.map(lambda move: probe(move)[0], moves[1:])
    gradient = (losses[:size] - losses[size:]) / (2.0 * width)
    return Estimate(loss, gradient, info, trained)


ESTIMATORS: dict[str, Estimator] = {
    "first_order": first_order,
    "unrolled": unrolled,
    "finite_difference": finite_difference,
}
