"""Entropic optimal transport between weighted sets: Sinkhorn's rounds in the log domain."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ad_jax.base.numerics import squared_distances

EPSILON = 0.0025  # entropic regularisation: blur 0.05, squared (arXiv 2404.02865)
ROUNDS = 100  # between two sets, epsilon falling from the largest cost
OWN_ROUNDS = 30  # of a set against itself
RELAXATION = 1.8  # of the rounds after that fall; rounds converge below 2


def shares(count: int, weights: jax.Array | None = None) -> jax.Array:
    """Masses `[count]` that sum to 1; `weights` are relative, equal by default."""
    if weights is None:
        return jnp.full(count, 1.0 / count)
    return weights / weights.sum()


def _potential(
    cost: jax.Array, other: jax.Array, log_mass: jax.Array, epsilon: float | jax.Array
) -> jax.Array:
    """Soft minimum over columns of `cost [n, m] - other [m]` with masses `exp(log_mass)`."""
    return -epsilon * jax.nn.logsumexp(log_mass + (other - cost) / epsilon, axis=1)


def _log(mass: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(jax.lax.stop_gradient(mass), 1e-30))


def _falling(cost: jax.Array, epsilon: float, passed: jax.Array) -> jax.Array:
    """Epsilon after a share of the rounds: it falls from the largest cost over half of them."""
    start = jnp.maximum(cost.max(), epsilon)
    return start * (epsilon / start) ** jnp.minimum(1.0, 2.0 * passed)


def _dual(
    x: jax.Array,
    y: jax.Array,
    mass_x: jax.Array,
    mass_y: jax.Array,
    potential: jax.Array,
    epsilon: float,
) -> jax.Array:
    """The dual's value at a `potential [m]` of `y`, that of `x` the best one beside it.

    Never above the maximum over potentials, and below it by the square of the potential's error.
    The potential is held fixed, as at the maximum it may be (the envelope theorem), so that the
    gradient costs one round whatever their number; it errs by the potential's error itself.
    """
    potential = jax.lax.stop_gradient(potential)
    best = _potential(squared_distances(x, y) / 2.0, potential, _log(mass_y), epsilon)
    return (mass_x * best).sum() + (mass_y * potential).sum()


def entropic_cost(
    x: jax.Array, y: jax.Array, mass_x: jax.Array, mass_y: jax.Array, epsilon: float = EPSILON
) -> jax.Array:
    """Entropic optimal transport between `x [n, d]` and `y [m, d]`, cost `|x - y|^2 / 2`.

    Sinkhorn in the log domain, epsilon falling geometrically to its value, then over-relaxed
    (Thibault et al., Algorithms 14, 2021). It stops after `ROUNDS`, below the limit and within 1 %
    of it for sets like those of a training; `_dual` says what value and gradient are.
    """
    cost = squared_distances(*jax.lax.stop_gradient((x, y))) / 2.0
    log_x, log_y = _log(mass_x), _log(mass_y)

    def body(i: jax.Array, carried: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        f, g = carried
        now = _falling(cost, epsilon, i / ROUNDS)
        step = jnp.where(i > ROUNDS // 2, RELAXATION, 1.0)
        f = f + step * (_potential(cost, g, log_y, now) - f)
        return f, g + step * (_potential(cost.T, f, log_x, now) - g)

    start = jnp.zeros(len(x)), jnp.zeros(len(y))
    f, _ = jax.lax.fori_loop(0, ROUNDS, body, start)
    return _dual(x, y, mass_x, mass_y, _potential(cost.T, f, log_x, epsilon), epsilon)


def _own_cost(x: jax.Array, mass: jax.Array, epsilon: float) -> jax.Array:
    """`entropic_cost` of `x [n, d]` to itself: one potential, which settles in a few rounds."""
    cost = squared_distances(*jax.lax.stop_gradient((x, x))) / 2.0
    log_mass = _log(mass)

    def body(i: jax.Array, f: jax.Array) -> jax.Array:
        now = _falling(cost, epsilon, i / OWN_ROUNDS)
        return (f + _potential(cost, f, log_mass, now)) / 2.0

    potential = jax.lax.fori_loop(0, OWN_ROUNDS, body, jnp.zeros(len(x)))
    return _dual(x, x, mass, mass, potential, epsilon)


def sinkhorn_divergence(
    x: jax.Array,
    y: jax.Array,
    mass_x: jax.Array | None = None,
    mass_y: jax.Array | None = None,
    epsilon: float = EPSILON,
) -> jax.Array:
    """Debiased entropic transport: 0 for equal sets, never much below.

    Feydy et al., AISTATS 2019, equation 3; as in TSAP (arXiv 2404.02865).
    """
    mass_x, mass_y = shares(len(x), mass_x), shares(len(y), mass_y)
    across = entropic_cost(x, y, mass_x, mass_y, epsilon)
    own_x, own_y = _own_cost(x, mass_x, epsilon), _own_cost(y, mass_y, epsilon)
    return across - own_x / 2.0 - own_y / 2.0
