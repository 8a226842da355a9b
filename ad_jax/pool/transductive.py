"""The direct control: a head that tells the unlabelled target from the normals.

Where much of the target is anomalous it learns what anomalies look like; where few are it learns
noise. It is trained on one half of the target and scores the other, and the other way round, so
that no sample is scored by a head that it was shown to. It is no detector and never in a pool.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.numerics import in_float32
from ad_jax.detect.look import make_look, network, pretext_of
from ad_jax.pool.drawn import Drawn
from ad_jax.pool.program import from_drawn
from ad_jax.train.setting import TRAINING, Config, Setting
from ad_jax.train.trainer import Hyper, make_train, seed_keys


@functools.lru_cache(maxsize=8)
def _program(config: Config, shape: tuple[int, ...]) -> Any:
    pretext = pretext_of(config, Setting("binary", "identity", {}))
    backbone = network(config, shape, pretext)
    trainer, look = make_train(backbone, pretext, from_drawn), make_look(backbone, pretext)

    def run(keys: Any, rate: Any, normals: jax.Array, shown: jax.Array, scored: Any) -> Any:
        blank = Hyper(jnp.int32(0), None, {**TRAINING.defaults(), "learning_rate": rate})
        state = trainer.init(keys, blank)
        state = state._replace(params=backbone.fit(state.params, normals))
        strange = backbone.pieces(backbone.enter(state.params, shown))
        kind = jnp.zeros(len(strange), jnp.int32)
        hyper = blank._replace(augmentation=Drawn(strange, kind, shown, shown))
        pieces = backbone.pieces(normals)
        state, _ = trainer.go_on(state, keys, hyper, pieces, 0, config.steps)
        return look.judge(state.params, scored)[1]

    return jax.jit(run)


@in_float32
def transductive_scores(
    config: Config,
    normals: np.ndarray,
    target: np.ndarray,
    seed: int = 0,
    learning_rate: float = 3e-3,
) -> np.ndarray:
    """Scores `[n]` of the target, each by a head that was trained on the other half of it.

    Args:
      config: with a frozen encoder.
      normals: `[m, gh, gw, d]` grids, `features.Eyes.see`.
      target: `[n, gh, gw, d]`, at least 2.
      seed: of the halves and of the trainings.
      learning_rate: of the heads.
    """
    run = _program(config, normals.shape[1:])
    order = np.random.default_rng(seed).permutation(len(target))
    halves = order[::2], order[1::2]
    out = np.empty(len(target), np.float32)
    for i, (shown, scored) in enumerate((halves, halves[::-1])):
        keys = seed_keys(config.root, 2 * seed + i)
        out[scored] = run(keys, jnp.float32(learning_rate), normals, target[shown], target[scored])
    return out
