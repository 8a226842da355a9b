"""Control members: what a detector is worth that learned nothing. They stand in every pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.detect import scores
from ad_jax.detect.look import make_look, network
from ad_jax.pool import Member
from ad_jax.pool.program import generate, generation_key
from ad_jax.train import pretexts
from ad_jax.train.setting import Config, Setting
from ad_jax.train.trainer import as_unit, seed_keys


@in_float32
def control_members(
    problem: Problem, target: np.ndarray, seeds: Sequence[int], config: Config
) -> tuple[list[Member], np.ndarray, np.ndarray, np.ndarray]:
    """Control lines: raw pixels (nearest neighbour, principal components), untrained encoder.

    Returns:
      members, their scores `[members, 1, n]`, and those of held-out normals and of generated
      samples `[members, 1, m]`.
    """
    pretext = pretexts.make("binary", "identity")
    backbone = network(config, problem.shape, pretext)

    def pixels(samples: np.ndarray) -> jax.Array:
        return as_unit(jnp.asarray(samples)).reshape(len(samples), -1)

    def of_score(name: str) -> Callable[..., tuple[jax.Array, ...]]:
        score = scores.SCORES[name]
        fit, measure = jax.jit(score.fit), jax.jit(score.score)  # compiled once for all seeds

        def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
            state = fit(pixels(train))
            return tuple(measure(state, pixels(samples)) for samples in looked_at)

        return run

    init = jax.jit(backbone.init)
    look = jax.jit(lambda params, x: make_look(backbone, pretext).embed(params, x)[0])
    density = scores.SCORES["density"]
    fit_density, score_density = jax.jit(density.fit), jax.jit(density.score)

    def untrained(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        params = init(seed_keys(config.root, seed).initialisation)
        state = fit_density(look(params, train))
        return tuple(score_density(state, look(params, samples)) for samples in looked_at)

    controls = {
        "raw_nearest_neighbour": of_score("neighbour"),
        "raw_principal_components": of_score("subspace"),
        "untrained_encoder": untrained,
    }
    draw = jax.jit(generate, static_argnums=2)
    members: list[Member] = []
    found: list[list[np.ndarray]] = [[], [], []]
    for name, run in controls.items():
        for seed in seeds:
            split = problem.split(seed)
            start = time.perf_counter()
            key = generation_key(seed_keys(config.root, seed))
            made = np.asarray(draw(key, jnp.asarray(split.train), len(split.held_out)))
            for kind, values in zip(
                found, run(seed, split.train, target, split.held_out, made), strict=True
            ):
                kind.append(np.asarray(values)[None])
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
    on_target, on_held_out, on_generated = map(np.stack, found)
    return members, on_target, on_held_out, on_generated
