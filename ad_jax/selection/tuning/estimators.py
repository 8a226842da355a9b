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
DAMPING = 1e-3  # of the Hessian, in units of the training loss
ROUNDS = 30  # of conjugate gradients


class Bilevel(NamedTuple):
    """Two nested problems as pure functions.

    Attributes:
      inner: `(state, theta) -> state`: one training step.
      outer: `(state, theta) -> (loss, info)`: what theta should lower after training.
      objective: `(state, theta) -> loss` that training lowers; None where nobody says.
      params: `(state) -> params` that training moves; put: `(state, params) -> state`.
    """

    inner: Callable[[Any, jax.Array], Any]
    outer: Callable[[Any, jax.Array], tuple[jax.Array, Any]]
    objective: Callable[[Any, jax.Array], jax.Array] | None = None
    params: Callable[[Any], Any] = lambda state: state
    put: Callable[[Any, Any], Any] = lambda state, params: params


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


def implicit(
    problem: Bilevel,
    state: Any,
    theta: jax.Array,
    steps: int,
    damping: float = DAMPING,
    rounds: int = ROUNDS,
) -> Estimate:
    """Through the optimum that training arrives at, by the implicit function theorem.

    Where the objective's gradient is 0 in the params, these move with theta as
    `-H^-1 d(gradient)/d(theta)`, H the Hessian: no step is differentiated (Bengio, Neural
    Computation 2000; Lorraine et al., arXiv 1911.02590). `H + damping` is inverted by conjugate
    gradients, so it is exact for strictly convex objectives after enough steps; a head that is
    still on its way, or is not convex, gets an approximation.

    Raises:
      ValueError: a problem without an objective.
    """
    objective = problem.objective
    if objective is None:
        raise ValueError("the implicit gradient needs the objective that training lowers")
    state = train(problem, state, theta, steps)
    params = problem.params(state)

    def outer(params: Any, theta: jax.Array) -> tuple[jax.Array, Any]:
        return problem.outer(problem.put(state, params), theta)

    (loss, info), (slope, direct) = jax.value_and_grad(outer, argnums=(0, 1), has_aux=True)(
        params, theta
    )

    def gradient(params: Any, theta: jax.Array) -> Any:
        return jax.grad(lambda p: objective(problem.put(state, p), theta))(params)

    def curved(vector: Any) -> Any:
        product = jax.jvp(lambda p: gradient(p, theta), (params,), (vector,))[1]
        return jax.tree.map(lambda p, v: p + damping * v, product, vector)

    moved, _ = jax.scipy.sparse.linalg.cg(curved, slope, maxiter=rounds)
    (through,) = jax.vjp(lambda t: gradient(params, t), theta)[1](moved)
    return Estimate(loss, direct - through, info, state)


ESTIMATORS: dict[str, Estimator] = {
    "first_order": first_order,
    "unrolled": unrolled,
    "finite_difference": finite_difference,
    "implicit": implicit,
}
