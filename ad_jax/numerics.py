"""Square roots, norms and distances whose gradients are finite everywhere; float32 throughout."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """`function` as it is without `JAX_ENABLE_X64`, also in a process that has it.

    With it the random draws are others, and so would be every training. It decorates what runs or
    compiles programs; kernels take the precision of who calls them, for twins in float64.
    """

    @functools.wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return inside


def safe_sqrt(x: jax.Array) -> jax.Array:
    """sqrt(max(x, 0)) with gradient 0 where x <= 0 instead of infinity; NaN stays NaN."""
    positive = ~(x <= 0)
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def normalise(z: jax.Array) -> jax.Array:
    """Rows of `[n, d]` at unit length; a zero row stays zero."""
    norm = safe_sqrt((z * z).sum(-1, keepdims=True))
    return z / jnp.where(norm > 0, norm, 1.0)


def squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Squared Euclidean distances `[n, m]` of `[n, d]` and `[m, d]`, never negative."""
    product = jnp.matmul(x, y.T, precision=HIGHEST)
    return jnp.maximum((x * x).sum(-1)[:, None] + (y * y).sum(-1)[None, :] - 2.0 * product, 0.0)


def every(function, rows):
    """`function` of every row of a tree: one after another on CPU, side by side elsewhere."""
    if jax.default_backend() == "cpu":
        return jax.lax.map(function, rows)
    return jax.vmap(function)(rows)


def rowwise(function, rows: jax.Array, block: int = 256):
    """Applies `function: [b, ...] -> tree of [b, ...]` to blocks of rows, in bounded memory.

    A number of rows that is not known yet (`jax.export` with a symbolic size) is one block.
    """
    count = rows.shape[0]
    if not isinstance(count, int):
        return function(rows)
    block = min(block, count)
    blocks = -(-count // block)
    padded = jnp.concatenate([rows, jnp.repeat(rows[:1], blocks * block - count, axis=0)])
    out = jax.lax.map(function, padded.reshape(blocks, block, *rows.shape[1:]))
    return jax.tree.map(lambda x: x.reshape(blocks * block, *x.shape[2:])[:count], out)
