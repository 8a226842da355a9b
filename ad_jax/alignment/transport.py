"""Distances between sets that ST-SSAD and TSAP descend: mean distance and Sinkhorn divergence."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.numerics import HIGHEST, safe_sqrt, squared_distances

EPSILON = 0.0025  # entropic regularisation: blur 0.05, squared (arXiv 2404.02865)
ROUNDS = 100  # between two sets, epsilon falling from the largest cost
OWN_ROUNDS = 30  # of a set against itself
RELAXATION = 1.8  # of the rounds after that fall; rounds converge below 2
SAMPLED = 256  # rows of each set that a pool's Sinkhorn divergence is measured on, at most


def shares(count: int, weights: jax.Array | None = None) -> jax.Array:
    """Masses `[count]` that sum to 1; `weights` are relative, equal by default."""
    if weights is None:
        return jnp.full(count, 1.0 / count)
    return weights / weights.sum()


def normalise_together(
    sets: list[jax.Array],
    masses: list[jax.Array] | None = None,
    count: float | jax.Array | None = None,
) -> list[jax.Array]:
    """Sets `[n_i, d]` around their common mean, scaled to a mean squared norm of 1.

    Total pairwise squared distance normalisation (arXiv 2306.12033): the mean squared distance of
    a pair is then 2. The mean over rows is weighted by `masses`, which sum to `count`, by default
    the number of rows.
    """
    rows = jnp.concatenate(sets)
    count = len(rows) if count is None else count
    weights = jnp.ones(len(rows)) if masses is None else jnp.concatenate(masses)
    centred = rows - (weights[:, None] * rows).sum(0) / count
    norm = safe_sqrt((weights[:, None] * centred**2).sum() / count)
    centred = centred / jnp.maximum(norm, 1e-12)
    ends = [0]
    for one in sets:
        ends.append(ends[-1] + len(one))
    return [centred[a:b] for a, b in zip(ends, ends[1:])]


def _together(
    sets: list[jax.Array], weights: jax.Array | None, target_weights: jax.Array | None
) -> list[jax.Array]:
    """`normalise_together` of train, augmented and target by their weights.

    A target with weights counts as many rows as have one, as if the others were not there.
    """
    if weights is None and target_weights is None:
        return normalise_together(sets)
    masses = [jnp.ones(len(one)) for one in sets]
    count: float | jax.Array = float(sum(map(len, sets)))
    if weights is not None:
        masses[1] = weights
    if target_weights is not None:
        present = (target_weights > 0).sum()
        masses[2] = present * shares(len(sets[2]), target_weights)
        count = len(sets[0]) + len(sets[1]) + present
    return normalise_together(sets, masses, count)


def mean_distance(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    weights: jax.Array | None = None,
    target_weights: jax.Array | None = None,
) -> jax.Array:
    """ST-SSAD's loss (arXiv 2306.12033): mean distance of the target to both sets' means.

    Args:
      z_train, z_augmented, z_target: `[n, d]` embeddings, not normalised.
      weights: `[k]` of the augmented samples, 1 on average; equal by default.
      target_weights: `[n]` of the target samples, summing to 1; equal by default. Samples without
        weight do not count at all.
    """
    train, augmented, target = _together([z_train, z_augmented, z_target], weights, target_weights)
    mass_target = shares(len(target), target_weights)
    total = jnp.float32(0.0)
    for one, mass in ((train, None), (augmented, weights)):
        centre = jnp.matmul(shares(len(one), mass), one, precision=HIGHEST)
        total = total + (mass_target * safe_sqrt(((target - centre) ** 2).sum(-1))).sum()
    return total / 2.0


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


def sinkhorn(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    alpha: float | jax.Array = 0.5,
    weights: jax.Array | None = None,
    target_weights: jax.Array | None = None,
) -> jax.Array:
    """TSAP's loss: divergence between `[train; augmented]` and the target, normalised together.

    Args:
      z_train, z_augmented, z_target: `[n, d]` embeddings, not normalised.
      alpha: share of the augmented set in `[train; augmented]`.
      weights: `[k]` of the augmented samples, 1 on average; equal by default. They do not enter the
        normalisation.
      target_weights: `[n]` of the target samples, summing to 1; equal by default. A sample without
        weight must be the copy of one that has some: its mass is tiny, not zero.
    """
    train, augmented, target = _together([z_train, z_augmented, z_target], None, target_weights)
    masses = jnp.concatenate(
        [(1.0 - alpha) * shares(len(train)), alpha * shares(len(augmented), weights)]
    )
    return sinkhorn_divergence(jnp.concatenate([train, augmented]), target, masses, target_weights)


class Distances(NamedTuple):
    """Of `[train; augmented]` to the target of every problem `[problems]`, and to held-out normals.

    Scalars for the latter.
    """

    mean_distance: jax.Array
    held_out_mean_distance: jax.Array
    sinkhorn: jax.Array
    held_out_sinkhorn: jax.Array


def systematic(weights: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Rows `[count]` of a weighted set `[n]` and their masses, without chance.

    A set of at most `count` rows with weight is taken whole, with its weights; spare places repeat
    a row, at no mass. Of a larger one the rows at the quantiles (i + 1/2) / count of the cumulative
    weight are taken, at equal mass: each as often as its weight asks for, to within one.
    """
    present = weights > 0
    held, places = present.sum(), jnp.arange(count)
    last = len(weights) - 1
    nth = jnp.where(places < held, places, 0) + 1  # which of the rows with weight
    whole = jnp.minimum(jnp.searchsorted(jnp.cumsum(present), nth), last)
    share = shares(len(weights), weights)
    strides = jnp.minimum(jnp.searchsorted(jnp.cumsum(share), (places + 0.5) / count), last)
    fits = held <= count
    rows = jnp.where(fits, whole, strides)
    masses = jnp.where(fits, (places < held) * share[whole], 1.0 / count)
    return rows, masses


def distances(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    z_held_out: jax.Array,
    weights: jax.Array,
) -> Distances:
    """Both distances of a trained member, problem by problem, in bounded memory.

    Sinkhorn sees at most `SAMPLED` rows of each set, `systematic` ones: samples stand in the order
    of their content's hash, so that equal strides are a sample which no label can move. Problems
    that hold the same rows get the same ones, alone or with others. The fewer the rows, the more
    their sampling adds to the divergence; held-out normals are often fewer than the target.

    Args:
      z_train, z_augmented, z_target, z_held_out: `[n, d]` embeddings, not normalised; augmented
        ones in the order of the samples they were made from.
      weights: `[problems, n]` of the target samples, each summing to 1.
    """
    count, more = len(z_target), len(z_held_out)
    rows_of = jnp.concatenate([z_target, z_held_out])
    # held-out normals are one more problem: everything is compiled once
    masses = jnp.pad(weights, ((0, 1), (0, more))).at[-1, count:].set(1.0 / more)
    strides = jnp.round(jnp.linspace(0, len(z_train) - 1, min(SAMPLED, len(z_train)))).astype(int)
    normal, made = z_train[strides], z_augmented[strides]

    def one(own: jax.Array) -> tuple[jax.Array, jax.Array]:
        some, mass = systematic(own, SAMPLED)
        return (
            mean_distance(z_train, z_augmented, rows_of, target_weights=own),
            sinkhorn(normal, made, rows_of[some], target_weights=mass),
        )

    mean, divergence = jax.lax.map(one, masses)
    return Distances(mean[:-1], mean[-1], divergence[:-1], divergence[-1])
