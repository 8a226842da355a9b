"""Distances between sets that ST-SSAD and TSAP descend: mean distance and Sinkhorn divergence."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.numerics import safe_sqrt, squared_distances

EPSILON = 0.0025  # entropic regularisation: blur 0.05, squared (arXiv 2404.02865)
ROUNDS = 30  # Sinkhorn rounds, epsilon falling from the largest cost
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
        centre = shares(len(one), mass) @ one
        total = total + (mass_target * safe_sqrt(((target - centre) ** 2).sum(-1))).sum()
    return total / 2.0


def _potential(
    cost: jax.Array, other: jax.Array, log_mass: jax.Array, epsilon: jax.Array
) -> jax.Array:
    """Soft minimum over columns of `cost [n, m] - other [m]` with masses `exp(log_mass)`."""
    return -epsilon * jax.nn.logsumexp(log_mass + (other - cost) / epsilon, axis=1)


def entropic_cost(
    x: jax.Array, y: jax.Array, mass_x: jax.Array, mass_y: jax.Array, epsilon: float = EPSILON
) -> jax.Array:
    """Entropic optimal transport between `x [n, d]` and `y [m, d]`, cost `|x - y|^2 / 2`.

    Sinkhorn in the log domain, epsilon falling geometrically to its value. The gradient is that of
    the last round with the potentials before it held fixed (the envelope theorem), so it costs one
    round whatever their number.
    """
    still_x, still_y = jax.lax.stop_gradient((x, y))
    fixed = squared_distances(still_x, still_y) / 2.0
    held_x, held_y = (
        jnp.log(jnp.maximum(jax.lax.stop_gradient(mass), 1e-30)) for mass in (mass_x, mass_y)
    )
    start = jnp.maximum(fixed.max(), epsilon)

    def body(i: jax.Array, carried: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        f, g = carried
        # half of the rounds fall, the rest settle
        fall = jnp.minimum(1.0, i / (ROUNDS // 2))
        now = start * (epsilon / start) ** fall
        f_next = _potential(fixed, g, held_y, now)
        g_next = _potential(fixed.T, f, held_x, now)
        return (f + f_next) / 2.0, (g + g_next) / 2.0

    f, g = jax.lax.fori_loop(0, ROUNDS, body, (jnp.zeros(len(x)), jnp.zeros(len(y))))
    f, g = jax.lax.stop_gradient((f, g))
    # Each side's potential moves with its own points; together they are the whole gradient.
    last_f = _potential(squared_distances(x, still_y) / 2.0, g, held_y, jnp.float32(epsilon))
    last_g = _potential(squared_distances(y, still_x) / 2.0, f, held_x, jnp.float32(epsilon))
    return (mass_x * last_f).sum() + (mass_y * last_g).sum()


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
    own_x = entropic_cost(x, x, mass_x, mass_x, epsilon)
    own_y = entropic_cost(y, y, mass_y, mass_y, epsilon)
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
