"""The alignment losses by name, and what a pool stores so that each of them follows from it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ad_jax.alignment.contract import Alignment, Measure, Sets
from ad_jax.alignment.distances import DISTANCES
from ad_jax.alignment.dsv import DSV
from ad_jax.alignment.transport import shares

ALIGNMENTS: dict[str, Alignment] = {**DSV, **DISTANCES}
MEASURES: dict[str, Measure] = {one.measure.name: one.measure for one in ALIGNMENTS.values()}


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


def sampled(sets: Sets, rows: int) -> Sets:
    """The sets on at most so many rows each, by equal strides; the target's weights are needed.

    Samples stand in the order of their content's hash, so that equal strides are a sample which no
    label can move. Problems that hold the same rows get the same ones, alone or with others. The
    fewer the rows, the more their sampling adds to a divergence; held-out normals are often fewer
    than the target. Augmented samples stand in the order of the samples they were made from.
    """
    assert sets.target_weights is not None
    count = len(sets.train)
    strides = jnp.round(jnp.linspace(0, count - 1, min(rows, count))).astype(int)
    chosen, masses = systematic(sets.target_weights, rows)
    return Sets(
        sets.train[strides], sets.augmented[strides], sets.target[chosen], target_weights=masses
    )


def measure(sets: Sets, held_out: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a pool stores of a target and of held-out normals in its place, by name.

    Args:
      sets: a target of several problems, with weights `[problems, m]` that sum to 1 for each.
      held_out: `[l, d]` embeddings.

    Returns:
      of the target: arrays `[m]` where `per_sample`, else `[problems]`; of the held-out normals:
      arrays `[l]`, else scalars.
    """
    assert sets.target_weights is not None
    single = {name: one for name, one in MEASURES.items() if one.per_sample}
    of_target, of_held_out = (
        {name: one.of(Sets(sets.train, sets.augmented, z)) for name, one in single.items()}
        for z in (sets.target, held_out)
    )
    count, more = len(sets.target), len(held_out)
    both = jnp.concatenate([sets.target, held_out])
    # Held-out normals are one more problem: everything is compiled once.
    masses = jnp.pad(sets.target_weights, ((0, 1), (0, more))).at[-1, count:].set(1.0 / more)

    def of_problem(mass: jax.Array) -> dict[str, Any]:
        problem = Sets(sets.train, sets.augmented, both, target_weights=mass)
        return {
            name: one.of(problem if one.rows is None else sampled(problem, one.rows))
            for name, one in MEASURES.items()
            if not one.per_sample
        }

    whole = jax.lax.map(of_problem, masses)
    of_target |= jax.tree.map(lambda x: x[:-1], whole)
    of_held_out |= jax.tree.map(lambda x: x[-1], whole)
    return of_target, of_held_out
