"""Rules that compare embeddings: DSV and its rivals, distances between sets."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import alignment
from ad_jax.alignment import Parts
from ad_jax.pool import Pool
from ad_jax.selection.rules.contract import Rule


@functools.cache
def _compiled(function: Callable[[Parts], jax.Array]) -> Callable[[Parts], jax.Array]:
    return jax.jit(jax.vmap(function))  # once: trust asks for it hundreds of times


def _each(function: Callable[[Parts], jax.Array], parts: Parts | None) -> np.ndarray:
    return np.asarray(_compiled(function)(jax.tree.map(jnp.asarray, parts)))


def _calibrated(
    about: str,
    needs: str,
    target: Callable[[Pool], np.ndarray],
    held_out: Callable[[Pool], np.ndarray],
) -> dict[str, Rule]:
    """A loss on the target, and the same minus its value with held-out normals in its place."""
    name = about.split(":")[0]
    return {
        name: Rule(target, needs, about),
        f"calibrated_{name}": Rule(
            lambda pool: target(pool) - held_out(pool),
            needs,
            f"calibrated_{name}: {name} minus its value on held-out normals",
        ),
    }


def _on_parts(function: Callable[[Parts], jax.Array], about: str) -> dict[str, Rule]:
    return _calibrated(
        about,
        "parts",
        lambda pool: _each(function, pool.parts),
        lambda pool: _each(function, pool.held_out_parts),
    )


def _on_field(about: str) -> dict[str, Rule]:
    """Values that the sweep has measured: no sums over samples, so pools keep them whole."""
    name = about.split(":")[0]
    return _calibrated(
        about,
        "whole",
        lambda pool: np.asarray(getattr(pool, name)),
        lambda pool: np.asarray(getattr(pool, f"held_out_{name}")),
    )


def _dsv(form: str) -> Callable[[Parts], jax.Array]:
    return lambda part: alignment.dsv_from_parts(part, form).loss


RULES: dict[str, Rule] = {
    **_on_parts(_dsv("code"), "dsv_code: DSV as published, halved distances, cap 1/2"),
    **_on_parts(_dsv("uncapped"), "dsv_uncapped: DSV without the cap"),
    **_on_parts(_dsv("formula"), "dsv_formula: DSV with the paper's full distances, cap 1/2"),
    **_on_parts(alignment.discordance, "discordance: first term of DSV alone"),
    **_on_parts(
        lambda part: -jnp.minimum(alignment.separability(part), alignment.CAP),
        "separability: minus the second term of DSV alone, capped",
    ),
    **_on_parts(
        lambda part: -alignment.separability(part),
        "separability_uncapped: minus the second term of DSV alone, no cap",
    ),
    **_on_parts(alignment.base, "base: mean distance of [train; augmented] to the target"),
    **_on_parts(alignment.std, "std: minus the spread of those distances"),
    **_on_field("mmd: linear-kernel MMD"),
    **_on_field("mean_distance: to both sets' means (ST-SSAD, arXiv 2306.12033)"),
    **_on_field("sinkhorn: Sinkhorn divergence (TSAP, arXiv 2404.02865)"),
}
