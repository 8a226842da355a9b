"""DSV, and losses of its parts.

All of them are functions of `Parts`: a handful of numbers per target sample and one distance
between the training set and its augmentation. Parts add up over samples, so subsets, bootstraps,
other `alpha` and other forms cost nothing after training, and held-out normals take the target's
place by swapping parts.

Reference: DSV, arXiv 2307.06534, sections 4 and 5. Distances are halved Euclidean distances of
L2-normalised embeddings, as in the published code, hence in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.alignment.contract import Alignment, Measure, Sets
from ad_jax.base.errors import InputError, lookup
from ad_jax.base.numerics import HIGHEST, normalise, rowwise, safe_sqrt, squared_distances

CAP = 0.5
# Halved distance below which float32 does not tell two sets of unit vectors apart: rounding moves
# each by about 2^-24 = 6e-8, so that at this limit a distance is known to 6 %. Distances are taken
# around a centre (`mean_distances`); between unit vectors as they are, |x|^2 + |y|^2 - 2 xy would
# cancel to sqrt(2^-22) / 2 = 2.4e-4.
TOGETHER = 1e-6
# form -> (factor on separability's numerator against the halved distance, capped?). The full mean
# distance of the paper's formulas cancels in the discordance and halves the separability.
FORMS = {"code": (1.0, True), "uncapped": (1.0, False), "formula": (0.5, True)}


class Parts(NamedTuple):
    """What alignment needs to know, `n` samples (target or held-out normals).

    Attributes:
      to_train, to_augmented: `[n]` mean halved distance to the training / augmented set.
      to_train_square, to_augmented_square: `[n]` mean squared halved distances.
      projection, projection_square: `[n]` mean and mean square of the projections on the
        directions from the training mean to each augmented sample.
      between: scalar, mean halved distance between training and augmented set.
    """

    to_train: jax.Array
    to_augmented: jax.Array
    to_train_square: jax.Array
    to_augmented_square: jax.Array
    projection: jax.Array
    projection_square: jax.Array
    between: jax.Array


class Dsv(NamedTuple):
    """The loss and its terms (scalars); lower loss = better alignment."""

    loss: jax.Array
    discordance: jax.Array
    separability: jax.Array


def mean_distances(
    x: jax.Array, y: jax.Array, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Per row of `x [n, d]`: mean and mean square of the halved distances to `y [m, d]`.

    `weights [m]` of the rows of `y`, 1 on average; equal by default.
    """
    # Distances of small numbers: float32 cancels less. They do not depend on the centre.
    centre = jax.lax.stop_gradient(y.mean(0))
    x, y = x - centre, y - centre

    def block(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        square = squared_distances(rows, y) / 4.0
        distance = safe_sqrt(square)
        if weights is not None:
            square, distance = weights * square, weights * distance
        return distance.mean(1), square.mean(1)

    return rowwise(block, x)


def between(
    z_train: jax.Array, z_augmented: jax.Array, weights: jax.Array | None = None
) -> jax.Array:
    """Mean halved distance between two sets of normalised embeddings (scalar)."""
    distances = mean_distances(z_augmented, z_train)[0]
    return (distances if weights is None else weights * distances).mean()


def parts(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    weights: jax.Array | None = None,
) -> Parts:
    """Parts of `z_target [n, d]` against `z_train [m, d]` and `z_augmented [k, d]`.

    Embeddings are L2-normalised here. No `n x m` matrix above a block; the projections need only
    the first and second moment of the directions. `weights [k]` of the augmented samples, 1 on
    average; equal by default.
    """
    z_train, z_augmented, z_target = map(normalise, (z_train, z_augmented, z_target))
    to_train, to_train_square = mean_distances(z_target, z_train)
    to_augmented, to_augmented_square = mean_distances(z_target, z_augmented, weights)
    centre = z_train.mean(0)
    directions = normalise(z_augmented - centre)  # [k, d]
    weighted = directions if weights is None else weights[:, None] * directions
    second = jnp.matmul(weighted.T, directions, precision=HIGHEST) / directions.shape[0]
    offset = z_target - centre
    projection = jnp.matmul(offset, weighted.mean(0), precision=HIGHEST)
    square = (jnp.matmul(offset, second, precision=HIGHEST) * offset).sum(-1)
    return Parts(
        to_train,
        to_augmented,
        to_train_square,
        to_augmented_square,
        projection,
        square,
        between(z_train, z_augmented, weights),
    )


def _check_alpha(alpha: float | jax.Array) -> None:
    if isinstance(alpha, (int, float)) and not 0.0 < alpha < 1.0:
        raise InputError(f"alpha={alpha} is no share of the augmented set; take 0 < alpha < 1")


def base(part: Parts, alpha: float | jax.Array = 0.5) -> jax.Array:
    """Mean halved distance of the target to `[train; augmented]`; the latter weighs `alpha`."""
    return (1.0 - alpha) * part.to_train.mean() + alpha * part.to_augmented.mean()


def std(part: Parts, alpha: float | jax.Array = 0.5) -> jax.Array:
    """Minus the standard deviation of those distances (arXiv 2307.06534, baseline STD)."""
    square = (1.0 - alpha) * part.to_train_square.mean() + alpha * part.to_augmented_square.mean()
    return -safe_sqrt(square - base(part, alpha) ** 2)


def _over_between(value: jax.Array, part: Parts, together: float) -> jax.Array:
    """`value` over the distance between the sets; `together` where a dead network left none."""
    apart = part.between > TOGETHER
    return jnp.where(apart, value / jnp.where(apart, part.between, 1.0), together)


def discordance(part: Parts, alpha: float | jax.Array = 0.5) -> jax.Array:
    """`L_dis`: base over the distance between training and augmented set; 1 without a distance."""
    return _over_between(base(part, alpha), part, 1.0)


def separability(part: Parts) -> jax.Array:
    """`L_sep` before its cap: spread of the target along the directions of the augmentation.

    0 where there is no distance between training and augmented set.
    """
    variance = part.projection_square.mean() - part.projection.mean() ** 2
    return _over_between(safe_sqrt(variance), part, 0.0)


def dsv_from_parts(part: Parts, form: str = "code", alpha: float | jax.Array = 0.5) -> Dsv:
    """DSV of stored parts; see `dsv`."""
    factor, capped = lookup(FORMS, form, "DSV form")
    _check_alpha(alpha)
    dis = discordance(part, alpha)
    sep = factor * separability(part)
    sep = jnp.minimum(sep, CAP) if capped else sep
    return Dsv(dis - sep / jnp.maximum(dis, 1e-12), dis, sep)


def dsv(
    z_train: jax.Array,
    z_augmented: jax.Array,
    z_target: jax.Array,
    form: str = "code",
    alpha: float | jax.Array = 0.5,
) -> Dsv:
    """Discordance and separability of a trained detector's embeddings (arXiv 2307.06534).

    `L_dis = d([train; augmented], target) / d(train, augmented)`,
    `L_sep = min(std <z_target - mu_train, u_i> / d(train, augmented), 1/2)`,
    `L = L_dis - L_sep / L_dis`.

    Args:
      z_train, z_augmented, z_target: `[n, d]` embeddings; normalised here.
      form: "code" (published evaluation: halved distances, cap 1/2), "uncapped", or "formula"
        (full distances, cap 1/2).
      alpha: share of the augmented set in `[train; augmented]`, in (0, 1). By counts in the
        published code; an explicit argument here, since counts are an accident of sampling.

    Returns:
      `Dsv(loss, discordance, separability)`; lower = better aligned. Finite gradients everywhere.

    Raises:
      InputError: unknown form, `alpha` outside (0, 1), embeddings of unequal width.

    Example:
      >>> import jax.numpy as jnp
      >>> a, b = jnp.eye(2)[:1].repeat(8, 0), jnp.eye(2)[1:].repeat(8, 0)
      >>> result = dsv(a, b, jnp.concatenate([a, b]))  # half the target exactly where expected
      >>> [round(float(x), 3) for x in result]
      [-0.5, 0.5, 0.5]
    """
    widths = {z.shape[-1] for z in (z_train, z_augmented, z_target)}
    if len(widths) != 1:
        raise InputError(f"embeddings have widths {sorted(widths)}; take them from one network")
    return dsv_from_parts(parts(z_train, z_augmented, z_target), form, alpha)


def _parts_of(sets: Sets) -> Parts:
    return parts(sets.train, sets.augmented, sets.target, sets.weights)


def _dsv_loss(form: str) -> Callable[[Parts], jax.Array]:
    return lambda part: dsv_from_parts(part, form).loss


PARTS = Measure("parts", _parts_of, Parts, per_sample=True)
DSV: dict[str, Alignment] = {
    "dsv_code": Alignment(PARTS, _dsv_loss("code"), "DSV as published, halved distances, cap 1/2"),
    "dsv_uncapped": Alignment(PARTS, _dsv_loss("uncapped"), "DSV without the cap"),
    "dsv_formula": Alignment(
        PARTS, _dsv_loss("formula"), "DSV with the paper's full distances, cap 1/2"
    ),
    "discordance": Alignment(PARTS, discordance, "first term of DSV alone"),
    "separability": Alignment(
        PARTS,
        lambda part: -jnp.minimum(separability(part), CAP),
        "minus the second term of DSV alone, capped",
    ),
    "separability_uncapped": Alignment(
        PARTS, lambda part: -separability(part), "minus the second term of DSV alone, no cap"
    ),
    "base": Alignment(PARTS, base, "mean distance of [train; augmented] to the target"),
    "std": Alignment(PARTS, std, "minus the spread of those distances"),
}
