"""Control members: what a detector is worth that learned nothing. They stand in every pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.modality import modality
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.detect import positions, scores
from ad_jax.detect.look import make_look, network
from ad_jax.features import Eyes, frozen
from ad_jax.pool import Member
from ad_jax.pool.program import generate, generation_key
from ad_jax.train import pretexts
from ad_jax.train.backbones import as_unit, units_of
from ad_jax.train.setting import Config, Setting
from ad_jax.train.trainer import seed_keys

# (seed, normals to fit on, several sets) -> scores of each set
Control = Callable[..., tuple[jax.Array, ...]]


def _of_pixels(name: str) -> Control:
    """A score of raw pixels."""
    score = scores.SCORES[name]
    fit, measure = jax.jit(score.fit), jax.jit(score.score)  # compiled once for all seeds

    def pixels(samples: Any) -> jax.Array:
        return as_unit(jnp.asarray(samples)).reshape(len(samples), -1)

    def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        state = fit(pixels(train))
        return tuple(measure(state, pixels(samples)) for samples in looked_at)

    return run


def _untrained(shape: tuple[int, ...], config: Config) -> Control:
    """The density of an untrained network's embedding."""
    pretext = pretexts.make("binary", "identity")
    backbone = network(config, shape, pretext)
    init = jax.jit(backbone.init)
    look = jax.jit(lambda params, x: make_look(backbone, pretext).embed(params, x)[0])
    density = scores.SCORES["density"]
    fit_density, score_density = jax.jit(density.fit), jax.jit(density.score)

    def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        params = init(seed_keys(config.root, seed).initialisation)
        params = backbone.fit(params, jnp.asarray(train))
        state = fit_density(look(params, train))
        return tuple(score_density(state, look(params, samples)) for samples in looked_at)

    return run


def _of_positions(name: str, config: Config, eyes: Eyes) -> Control:
    """A score of a frozen encoder's positions; neighbours are sought in a coreset."""
    score = scores.SCORES[name]
    fit = jax.jit(lambda key, normals: positions.fit(score, key, normals, name == "neighbour"))
    measure = jax.jit(lambda fitted, samples: positions.of_images(score, fitted, samples))

    def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        fitted = fit(seed_keys(config.root, seed).evaluation, jnp.asarray(eyes.see(train)))
        return tuple(measure(fitted, jnp.asarray(eyes.see(samples))) for samples in looked_at)

    return run


def _of_embedding(eyes: Eyes) -> Control:
    """The nearest neighbour of a frozen encoder's embedding of whole images."""
    score = scores.SCORES["neighbour"]

    def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        normals = eyes.embed(train)
        units = units_of(jnp.asarray(normals))
        state = score.fit(units(jnp.asarray(normals)))
        return tuple(
            score.score(state, units(jnp.asarray(eyes.embed(samples)))) for samples in looked_at
        )

    return run


def _of_scikit_learn(name: str) -> Control:
    """A detector of scikit-learn on the columns of rows, or on windows of series as rows.

    The isolation forest (Liu et al., ICDM 2008) has 100 trees, the local outlier factor (Breunig et
    al., SIGMOD 2000) 20 neighbours among columns in units of the normals' spread: both as there.
    """

    def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        from sklearn.ensemble import IsolationForest  # a second to load
        from sklearn.neighbors import LocalOutlierFactor

        flat = np.asarray(train).reshape(len(train), -1)
        units = units_of(jnp.asarray(flat))
        detector = (
            IsolationForest(random_state=seed)
            if name == "isolation_forest"
            else LocalOutlierFactor(min(20, len(flat) - 1), novelty=True)
        )
        detector.fit(np.asarray(units(jnp.asarray(flat))))
        rows = (np.asarray(units(jnp.asarray(x).reshape(len(x), -1))) for x in looked_at)
        return tuple(jnp.asarray(-detector.score_samples(one), jnp.float32) for one in rows)

    return run


def _of_points(name: str) -> Control:
    """One line for series: the largest step between neighbouring points, or from their mean.

    In units of the normals' spread per channel: `difference` is `max |x_t - x_(t-1)|`,
    `moving_z_score` is `max |x_t - mean| / std` over the window itself.
    """

    def score(series: jax.Array) -> jax.Array:
        if name == "difference":
            return jnp.abs(jnp.diff(series, axis=1)).max((1, 2), initial=0.0)
        spread = jnp.maximum(series.std(1, keepdims=True), 1e-3)
        return (jnp.abs(series - series.mean(1, keepdims=True)) / spread).max((1, 2))

    def run(seed: int, train: Any, *looked_at: Any) -> tuple[jax.Array, ...]:
        units = units_of(jnp.asarray(train))
        return tuple(score(units(jnp.asarray(x))) for x in looked_at)

    return run


def _of_rows(config: Config, eyes: Eyes) -> dict[str, Control]:
    return {
        "nearest_neighbour": _of_positions("neighbour", config, eyes),
        "gaussian_density": _of_positions("density", config, eyes),
        "principal_components": _of_positions("subspace", config, eyes),
        "isolation_forest": _of_scikit_learn("isolation_forest"),
        "local_outlier_factor": _of_scikit_learn("local_outlier_factor"),
    }


def _of_series(config: Config, eyes: Eyes) -> dict[str, Control]:
    windows = config._replace(backbone="rows")
    return {
        "window_nearest_neighbour": _of_positions("neighbour", windows, Eyes("rows")),
        "window_principal_components": _of_positions("subspace", windows, Eyes("rows")),
        "window_isolation_forest": _of_scikit_learn("isolation_forest"),
        "point_nearest_neighbour": _of_positions("neighbour", config, eyes),
        "difference": _of_points("difference"),
        "moving_z_score": _of_points("moving_z_score"),
    }


def controls(config: Config, shape: tuple[int, ...], eyes: Eyes) -> dict[str, Control]:
    """What learned nothing, by name: raw values, and the network as it is before any training."""
    if modality(shape) != "image" and frozen(config.backbone):
        return (_of_rows if modality(shape) == "row" else _of_series)(config, eyes)
    raw = {
        "raw_nearest_neighbour": _of_pixels("neighbour"),
        "raw_principal_components": _of_pixels("subspace"),
    }
    if not frozen(config.backbone):
        return {**raw, "untrained_encoder": _untrained(shape, config)}
    return {
        **raw,
        "patch_nearest_neighbour": _of_positions("neighbour", config, eyes),
        "patch_density": _of_positions("density", config, eyes),
        "patch_principal_components": _of_positions("subspace", config, eyes),
        "global_nearest_neighbour": _of_embedding(eyes),
    }


@in_float32
def control_members(
    problem: Problem,
    target: np.ndarray,
    seeds: Sequence[int],
    config: Config,
    eyes: Eyes | None = None,
) -> tuple[list[Member], np.ndarray, np.ndarray, np.ndarray]:
    """Control lines of every seed.

    Returns:
      members, their scores `[members, 1, n]`, and those of held-out normals and of generated
      samples `[members, 1, m]`.
    """
    eyes = Eyes(config.backbone) if eyes is None else eyes
    draw = jax.jit(generate, static_argnums=(2, 3))
    bounded = modality(problem.shape) == "image"
    members: list[Member] = []
    found: list[list[np.ndarray]] = [[], [], []]
    for name, run in controls(config, problem.shape, eyes).items():
        for seed in seeds:
            split = problem.split(seed)
            start = time.perf_counter()
            key = generation_key(seed_keys(config.root, seed))
            made = np.asarray(draw(key, jnp.asarray(split.train), len(split.held_out), bounded))
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
