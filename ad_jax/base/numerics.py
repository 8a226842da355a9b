"""Square roots, norms and distances whose gradients are finite everywhere; float32 throughout."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

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


class OverMembers(NamedTuple):
    """How one program serves many members (of a sweep, or starts of a tuning).

    Attributes:
      map: `(function, rows) -> results`: the function of every row of a tree `[members, ...]`.
      when: `(predicate, real, blank) -> result` inside that function: `real()` where the member's
        own predicate holds, else `blank()`; both return the same tree.
    """

    map: Callable[[Callable[[Any], Any], Any], Any]
    when: Callable[[jax.Array, Callable[[], Any], Callable[[], Any]], Any]


def _side_by_side(function: Callable[[Any], Any], rows: Any) -> Any:
    return jax.vmap(function)(rows)


def _select(predicate: jax.Array, real: Callable[[], Any], blank: Callable[[], Any]) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(predicate, x, y), real(), blank())


# One after another: bit-equal for any number of members, and a blank member costs nothing.
IN_TURN = OverMembers(jax.lax.map, jax.lax.cond)
# Side by side: blank members are computed and thrown away. A `cond` whose predicate differs between
# members would batch everything it closes over: the family index too, and then the switch between
# augmentations would run every branch for every member.
SIDE_BY_SIDE = OverMembers(_side_by_side, _select)


def over_members() -> OverMembers:
    """What is faster on the default backend: in turn on CPU, side by side elsewhere."""
    return IN_TURN if jax.default_backend() == "cpu" else SIDE_BY_SIDE


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
