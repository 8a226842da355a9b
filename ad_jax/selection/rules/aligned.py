"""Rules that compare embeddings: every alignment loss, as it is and calibrated."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.alignment import ALIGNMENTS, Alignment
from ad_jax.pool import Pool, View
from ad_jax.selection.rules.contract import Rule


@functools.cache
def _compiled(loss: Callable[[Any], jax.Array]) -> Callable[[Any], jax.Array]:
    return jax.jit(jax.vmap(loss))  # once: trust asks for it hundreds of times


def _losses(alignment: Alignment, view: View) -> np.ndarray:
    measured = view.alignment[alignment.measure.name]
    if alignment.measure.kind is None:  # one number a member
        return np.asarray(measured)
    return np.asarray(_compiled(alignment.loss)(jax.tree.map(jnp.asarray, measured)))


def _rules(name: str, alignment: Alignment) -> dict[str, Rule]:
    """A loss on the target, and the same minus its value with held-out normals in its place."""
    needs = "parts" if alignment.measure.per_sample else "whole"

    def plain(pool: Pool) -> np.ndarray:
        return _losses(alignment, pool.target)

    def calibrated(pool: Pool) -> np.ndarray:
        return _losses(alignment, pool.target) - _losses(alignment, pool.held_out)

    return {
        name: Rule(plain, needs, f"{name}: {alignment.about}"),
        f"calibrated_{name}": Rule(
            calibrated,
            needs,
            f"calibrated_{name}: {name} minus its value on held-out normals",
        ),
    }


RULES: dict[str, Rule] = {}
for _name, _alignment in ALIGNMENTS.items():
    RULES |= _rules(_name, _alignment)
