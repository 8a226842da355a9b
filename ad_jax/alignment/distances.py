"""Distances between `[train; augmented]` and the target as whole sets: MMD, ST-SSAD's, TSAP's.

None of them is a sum over target samples, so a pool stores their values. Sets have weights, so that
one measurement serves several problems that share their normals.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.alignment.contract import Alignment, Measure, Sets
from ad_jax.alignment.transport import entropic_cost, shares, sinkhorn_divergence
from ad_jax.base.numerics import HIGHEST, normalise, safe_sqrt

SAMPLED = 256  # rows of each set that a pool's Sinkhorn divergence is measured on, at most


def mmd(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    alpha: float | jax.Array = 0.5,
    weights: jax.Array | None = None,
    target_weights: jax.Array | None = None,
) -> jax.Array:
    """Linear-kernel MMD (squared) of `[train; augmented]` and the target.

    Unlike the others it is no sum over target samples, so a pool stores its value, not parts.

    Args:
      z_train, z_augmented, z_target: `[n, d]` embeddings; normalised here.
      alpha: share of the augmented set in `[train; augmented]`.
      weights: `[k]` of the augmented samples, 1 on average; equal by default.
      target_weights: `[n]` of the target samples, summing to 1; equal by default.
    """
    z_train, z_augmented, z_target = map(normalise, (z_train, z_augmented, z_target))
    if weights is not None:
        z_augmented = weights[:, None] * z_augmented
    mixed = (1.0 - alpha) * z_train.mean(0) + alpha * z_augmented.mean(0)
    mean = (
        z_target.mean(0)
        if target_weights is None
        else jnp.matmul(target_weights, z_target, precision=HIGHEST)
    )
    return ((mixed - mean) ** 2).sum()


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


def sinkhorn_of_halves(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    weights: jax.Array | None = None,
) -> jax.Array:
    """The Sinkhorn divergence, debiased by halves: of expectation 0 between equal distributions.

    Transport between two small samples of one distribution costs something, and what `sinkhorn`
    subtracts for it, the cost of each sample with itself, is far less: its minimum is moved towards
    sets that lie closer together. Here every set is cut into halves A and B, and
    `(W(x_A, y_A) + W(x_A, y_B) + W(x_B, y_A) + W(x_B, y_B)) / 4 - (W(x_A, x_B) + W(y_A, y_B)) / 2`
    compares independent samples of one size in every term, so that its gradient vanishes in
    expectation where the distributions are equal (the idea of unbiased estimates of MMD, Gretton et
    al., JMLR 2012, lemma 6). It may be below 0.

    Args:
      z_train, z_augmented, z_target: `[n, d]`, `[k, d]`, `[m, d]` embeddings of independent samples
        in random order, not normalised; four at least, of which those beyond a multiple of four
        are left out. Samples that were made of train in its order do not stand beside their own.
      weights: `[k]` of the augmented samples, 1 on average; equal by default.
    """
    train, augmented, target = _together([z_train, z_augmented, z_target], weights, None)
    count = min(len(train), len(augmented), len(target)) // 4 * 4
    ours, theirs = [], []
    for half in (0, 1):  # every other sample, so that parts of a mixture stand in both
        made = slice(half + 2, count, 4)
        of_made = shares(count // 4, None if weights is None else weights[made])
        mass = jnp.concatenate([shares(count // 4), of_made]) / 2.0
        ours.append((jnp.concatenate([train[half:count:4], augmented[made]]), mass))
        theirs.append((target[half:count:2], shares(count // 2)))

    def cost(one: tuple[jax.Array, jax.Array], other: tuple[jax.Array, jax.Array]) -> jax.Array:
        return entropic_cost(one[0], other[0], one[1], other[1])

    across = sum(cost(one, other) for one in ours for other in theirs) / 4.0
    return across - (cost(*ours) + cost(*theirs)) / 2.0


def mixture_energy(
    normal: jax.Array,
    augmented: jax.Array,
    target: jax.Array,
    weights: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Energy distance of the target to normals of which a share is augmented, and that share.

    `2 E|x - y| - E|x - x'| - E|y - y'|` of the target x and the mixture y, for every value by
    itself, and summed over values; of one value it is `2 int (F_x - F_y)^2` (Szekely & Rizzo,
    Journal of Statistical Planning and Inference 2013). The mixture's distribution is
    `(1 - g) F_normal + g F_augmented`, so the distance is a parabola in its share g, which is put
    at the lowest point in [0, 1]: nobody has to say how much of the target is anomalous. Where
    nothing that was added brings normals nearer to the target, the share is 0, and so is the
    gradient in what was added. O(N log N) in samples.

    Args:
      normal, augmented, target: `[n, d]`, `[k, d]`, `[m, d]`, in any unit that values share.
      weights: `[k]` of the augmented samples, 1 on average; equal by default.

    Returns:
      Distance in the values' unit and share, scalars. The share counts as given in the gradient,
      which is that of the lowest point all the same.
    """
    masses = [shares(len(target)), shares(len(normal)), shares(len(augmented), weights)]
    values = jnp.concatenate([target, normal, augmented])
    order = jnp.argsort(jax.lax.stop_gradient(values), axis=0)
    gaps = jnp.diff(jnp.take_along_axis(values, order, axis=0), axis=0)
    own = jnp.asarray(np.repeat(np.arange(3), [len(one) for one in masses]))[order]
    mass = jnp.concatenate(masses)[order]
    seen, as_normal, as_made = (
        jnp.cumsum(jnp.where(own == one, mass, 0.0), axis=0)[:-1] for one in range(3)
    )
    apart, moved = seen - as_normal, as_made - as_normal
    length = (moved**2 * gaps).sum()
    share = (apart * moved * gaps).sum() / jnp.maximum(length, 1e-12)
    share = jax.lax.stop_gradient(jnp.clip(share, 0.0, 1.0))
    return 2.0 * ((apart - share * moved) ** 2 * gaps).sum(), share


def _whole(
    name: str, distance: Callable[..., jax.Array], about: str, rows: int | None = None
) -> dict[str, Alignment]:
    def of(sets: Sets) -> jax.Array:
        return distance(
            sets.train,
            sets.augmented,
            sets.target,
            weights=sets.weights,
            target_weights=sets.target_weights,
        )

    return {name: Alignment(Measure(name, of, rows=rows), jnp.asarray, about)}


DISTANCES: dict[str, Alignment] = {
    **_whole("mmd", mmd, "linear-kernel MMD"),
    **_whole("mean_distance", mean_distance, "to both sets' means (ST-SSAD, arXiv 2306.12033)"),
    **_whole("sinkhorn", sinkhorn, "Sinkhorn divergence (TSAP, arXiv 2404.02865)", SAMPLED),
}
