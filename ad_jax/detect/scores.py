"""Anomaly scores: `fit(embedding) -> state`, `score(state, embedding) -> [n]`; high = strange."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.base.numerics import HIGHEST, rowwise, safe_sqrt, squared_distances


class Score(NamedTuple):
    """A score as two pure functions of embeddings `[n, d]`."""

    fit: Callable[[jax.Array], Any]
    score: Callable[[Any, jax.Array], jax.Array]


class Density(NamedTuple):
    """Gaussian density: `mean [d]` and `precision [d, d]` of the normals' embeddings."""

    mean: jax.Array
    precision: jax.Array


def ledoit_wolf(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Covariance `[d, d]` of `x [n, d]` shrunk to a multiple of the identity, and the shrinkage.

    Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 2004, equations 14 and on.
    """
    count, width = x.shape
    x = x - x.mean(0)
    covariance = jnp.matmul(x.T, x, precision=HIGHEST) / count
    level = jnp.trace(covariance) / width
    dispersion = ((covariance - level * jnp.eye(width)) ** 2).sum() / width
    fourth = ((x**2).sum(1) ** 2).mean()
    error = (fourth - (covariance**2).sum()) / count / width
    # Its square is no denormal, so that the gradient of dead embeddings stays finite.
    shrinkage = jnp.clip(error / jnp.maximum(dispersion, 1e-18), 0.0, 1.0)
    shrunk = (1.0 - shrinkage) * covariance + shrinkage * level * jnp.eye(width)
    return shrunk, shrinkage


def fit_density(embedding: jax.Array) -> Density:
    # A common scale first: float32 inverts a matrix of unit trace whatever the network's units.
    covariance, _ = ledoit_wolf(embedding)
    width = covariance.shape[0]
    scale = jnp.maximum(jnp.trace(covariance) / width, 1e-12)
    precision = jnp.linalg.inv(covariance / scale + 1e-6 * jnp.eye(width)) / scale
    return Density(embedding.mean(0), (precision + precision.T) / 2.0)


def score_density(state: Density, embedding: jax.Array) -> jax.Array:
    """Mahalanobis distance (DSV's detector; CutPaste's GDE is its square)."""
    offset = embedding - state.mean
    return safe_sqrt((jnp.matmul(offset, state.precision, precision=HIGHEST) * offset).sum(-1))


def score_neighbour(normals: jax.Array, embedding: jax.Array) -> jax.Array:
    """Euclidean distance to the nearest normal."""
    return rowwise(
        lambda rows: safe_sqrt(squared_distances(rows, normals).min(1)), embedding, block=256
    )


def coreset(x: jax.Array, count: int) -> jax.Array:
    """Rows `[count]` of `x [m, d]` such that no row is far from all of them (greedy k-centre).

    The first is row 0, every next the one farthest from those before (Gonzalez 1985; the choice of
    PatchCore, there on random projections). It seeks outliers: a few defective "normals" stay in.
    """

    def away(row: jax.Array) -> jax.Array:
        return ((x - x[row]) ** 2).sum(-1)

    def body(i: jax.Array, carried: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        chosen, nearest = carried
        row = jnp.argmax(nearest)
        return chosen.at[i].set(row), jnp.minimum(nearest, away(row))

    chosen = jnp.zeros(count, jnp.int32)
    return jax.lax.fori_loop(1, count, body, (chosen, away(jnp.int32(0))))[0]


class Kernels(NamedTuple):
    """Kernel density: a Gaussian of standard deviation `bandwidth` on each of `normals [n, d]`."""

    normals: jax.Array
    bandwidth: jax.Array


def fit_kernels(normals: jax.Array) -> Kernels:
    """Scott's rule on the pooled spread: `h = n^(-1 / (d + 4)) sqrt(mean_j var_j)`.

    One bandwidth for all directions (Scott, "Multivariate density estimation", 1992, chapter 6),
    from the mean over the `d` columns of their population variances. scikit-learn's
    `bandwidth="scott"` leaves the spread out and expects columns of unit variance. In many
    dimensions the factor tends to 1 (.96 at n = 100, d = 96), which is local all the same:
    distances of normals are about `sqrt(2 d) h`.
    """
    count, width = normals.shape
    spread = jnp.sqrt(jnp.maximum(normals.var(0).mean(), 1e-12))  # the floor: collapsed networks
    return Kernels(normals, spread * count ** (-1.0 / (width + 4)))


def score_kernels(state: Kernels, embedding: jax.Array) -> jax.Array:
    """Minus the log density of Gaussian kernels (Parzen windows)."""
    count, width = state.normals.shape
    centre = state.normals.mean(0)  # distances of small numbers: float32 cancels less
    normals = (state.normals - centre) / state.bandwidth
    volume = jnp.log(float(count)) + width * (
        jnp.log(state.bandwidth) + 0.5 * math.log(2.0 * math.pi)
    )

    def block(rows: jax.Array) -> jax.Array:
        squares = squared_distances((rows - centre) / state.bandwidth, normals)
        return volume - jax.nn.logsumexp(-0.5 * squares, axis=1)

    return rowwise(block, embedding, block=256)


class Subspace(NamedTuple):
    """Principal subspace: `mean [d]`, `directions [k, d]`."""

    mean: jax.Array
    directions: jax.Array


def fit_subspace(x: jax.Array, share: float = 0.95) -> Subspace:
    """Principal directions that hold `share` of the variance; the others are zeroed."""
    mean = x.mean(0)
    _, values, directions = jnp.linalg.svd(x - mean, full_matrices=False)
    held = jnp.cumsum(values**2) / jnp.maximum((values**2).sum(), 1e-12)
    kept = jnp.concatenate([jnp.ones(1, bool), held[:-1] < share])
    return Subspace(mean, directions * kept[:, None])


def score_subspace(state: Subspace, x: jax.Array) -> jax.Array:
    """Reconstruction error of a principal-component model."""
    offset = x - state.mean
    inside = jnp.matmul(offset, state.directions.T, precision=HIGHEST)
    return safe_sqrt(
        ((offset - jnp.matmul(inside, state.directions, precision=HIGHEST)) ** 2).sum(-1)
    )


SCORES: dict[str, Score] = {
    "density": Score(fit_density, score_density),
    "neighbour": Score(lambda embedding: embedding, score_neighbour),
    "subspace": Score(fit_subspace, score_subspace),
    "kernel_density": Score(fit_kernels, score_kernels),
}
