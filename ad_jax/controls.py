"""Control members: what a detector is worth that learned nothing. They stand in every pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import pretext as pretexts
from ad_jax import scores
from ad_jax.data import Problem
from ad_jax.pool import Member, Setting
from ad_jax.program import Config, make_look, network
from ad_jax.train import as_unit, seed_keys


def control_members(
    problem: Problem, target: np.ndarray, seeds: Sequence[int], config: Config
) -> tuple[list[Member], np.ndarray, np.ndarray]:
    """Control lines: raw pixels (nearest neighbour, principal components), untrained encoder.

    Returns:
      members, their scores `[members, 1, n]` and held-out scores `[members, 1, m]`.
    """
    pretext = pretexts.make("binary", "identity")
    backbone = network(config, problem.shape, pretext)

    def pixels(samples: np.ndarray) -> jax.Array:
        return as_unit(jnp.asarray(samples)).reshape(len(samples), -1)

    def of_score(name: str) -> Callable[..., tuple[jax.Array, jax.Array]]:
        score = scores.SCORES[name]
        fit, measure = jax.jit(score.fit), jax.jit(score.score)  # compiled once for all seeds

        def run(seed: int, train: Any, held_out: Any, target: Any) -> tuple[jax.Array, jax.Array]:
            state = fit(pixels(train))
            return measure(state, pixels(target)), measure(state, pixels(held_out))

        return run

    init = jax.jit(backbone.init)
    look = jax.jit(lambda params, x: make_look(backbone, pretext).embed(params, x)[0])
    density = scores.SCORES["density"]
    fit_density, score_density = jax.jit(density.fit), jax.jit(density.score)

    def untrained(seed: int, train: Any, held_out: Any, target: Any) -> tuple[Any, Any]:
        params = init(seed_keys(config.root, seed).initialisation)
        state = fit_density(look(params, train))
        return tuple(score_density(state, look(params, x)) for x in (target, held_out))  # type: ignore[return-value]

    controls = {
        "raw_nearest_neighbour": of_score("neighbour"),
        "raw_principal_components": of_score("subspace"),
        "untrained_encoder": untrained,
    }
    members, target_scores, held_out_scores = [], [], []
    for name, run in controls.items():
        for seed in seeds:
            split = problem.split(seed)
            start = time.perf_counter()
            on_target, on_held_out = run(seed, split.train, split.held_out, target)
            target_scores.append(np.asarray(on_target)[None])
            held_out_scores.append(np.asarray(on_held_out)[None])
            members.append(
                Member(
                    Setting("control", name, {}, 0.0, 0.0, 0.0),
                    seed,
                    "ok",
                    float("nan"),
                    float("nan"),
                    time.perf_counter() - start,
                )
            )
    return members, np.stack(target_scores), np.stack(held_out_scores)
