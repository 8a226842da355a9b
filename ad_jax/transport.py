"""Distances between sets that ST-SSAD and TSAP descend: mean distance and Sinkhorn divergence."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ad_jax.numerics import safe_sqrt, squared_distances

EPSILON = 0.0025  # entropic regularisation: blur 0.05, squared (arXiv 2404.02865)
ROUNDS = 30  # Sinkhorn rounds, epsilon falling from the largest cost


def shares(count: int, weights: jax.Array | None = None) -> jax.Array:
    """Masses `[count]` that sum to 1; `weights` are relative, equal by default."""
    if weights is None:
        return jnp.full(count, 1.0 / count)
    return weights / weights.sum()


def normalise_together(
    sets: list[jax.Array], masses: list[jax.Array] | None = None
) -> list[jax.Array]:
    """Sets `[n_i, d]` around their common mean, scaled to a mean squared norm of 1.

    Total pairwise squared distance normalisation (arXiv 2306.12033): the mean squared distance of
    a pair is then 2. The mean over rows is weighted by `masses`, 1 on average per row.
    """
    rows = jnp.concatenate(sets)
    weights = jnp.ones(len(rows)) if masses is None else jnp.concatenate(masses)
    centred = rows - (weights[:, None] * rows).mean(0)
    norm = safe_sqrt((weights[:, None] * centred**2).sum() / len(rows))
    centred = centred / jnp.maximum(norm, 1e-12)
    ends = [0]
    for one in sets:
        ends.append(ends[-1] + len(one))
    return [centred[a:b] for a, b in zip(ends, ends[1:])]


def mean_distance(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """ST-SSAD's loss (arXiv 2306.12033): mean distance of the target to both sets' means.

    Args:
      z_train, z_augmented, z_target: `[n, d]` embeddings, not normalised.
      weights: `[k]` of the augmented samples, 1 on average; equal by default.
    """
    masses = None
    if weights is not None:
        masses = [jnp.ones(len(z_train)), weights, jnp.ones(len(z_target))]
    train, augmented, target = normalise_together([z_train, z_augmented, z_target], masses)
    total = jnp.float32(0.0)
    for one, mass in ((train, None), (augmented, weights)):
        centre = shares(len(one), mass) @ one
        total = total + safe_sqrt(((target - centre) ** 2).sum(-1)).mean()
    return total / 2.0


def _potential(
    cost: jax.Array, other: jax.Array, log_mass: jax.Array, epsilon: jax.Array
) -> jax.Array:
    """Soft minimum over columns of `cost [n, m] - other [m]` with masses `exp(log_mass)`."""
    return -epsilon * jax.nn.logsumexp(log_mass + (other - cost) / epsilon, axis=1)


def entropic_cost(
    x: jax.Array, y: jax.Array, mass_x: jax.Array, mass_y: jax.Array, epsilon: float = EPSILON
) -> jax.Array:
    """Entropic optimal transport between `x [n, d]` and `y [m, d]`, cost |x - y|^2 / 2.

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
) -> jax.Array:
    """TSAP's loss: divergence between `[train; augmented]` and the target, normalised together.

    Args:
      z_train, z_augmented, z_target: `[n, d]` embeddings, not normalised.
      alpha: share of the augmented set in `[train; augmented]`.
      weights: `[k]` of the augmented samples, 1 on average; equal by default.
    """
    train, augmented, target = normalise_together([z_train, z_augmented, z_target])
    masses = jnp.concatenate(
        [(1.0 - alpha) * shares(len(train)), alpha * shares(len(augmented), weights)]
    )
    return sinkhorn_divergence(jnp.concatenate([train, augmented]), target, masses)
