"""From trained seeds to networks that score, and the scores of the normals themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ad_jax.detect.look import pretext_of
from ad_jax.detect.networks import Networks
from ad_jax.detect.normals import Normals
from ad_jax.detect.state import State, Tiling, Trained, TrainedSeeds
from ad_jax.train.setting import Config


def networks_of(
    normals: Normals, members: TrainedSeeds, config: Config, tiling: Tiling | None = None
) -> Networks:
    """The networks of a setting's trained seeds.

    Those that see tiles score whole held-out samples here: the tiles' own scores calibrate nothing.
    """
    setting = members.setting
    arrays = {
        name: np.stack([getattr(one, name) for one in members.trained]) for name in Trained._fields
    }
    arrays["held_out"] = np.asarray(members.held_out)
    state = State(
        setting,
        pretext_of(config, setting).score,
        tuple(normals.train.shape[1:]),
        str(normals.train.dtype),
        config,
        tuple(members.seeds),
        tuple(normals.fold(seed) for seed in members.seeds),
        arrays,
        tiling,
    )
    networks = Networks(state)
    if tiling is not None:
        by_fold = {
            fold: networks.raw(normals.split(seed).held_out)
            for fold, seed in dict(zip(state.folds, state.seeds, strict=True)).items()
        }
        arrays["held_out"] = np.stack([by_fold[fold][i] for i, fold in enumerate(state.folds)])
    return networks


def scores_of_normals(
    networks: Networks,
    by_fold: Mapping[int, np.ndarray],
    normals: Normals,
) -> np.ndarray:
    """Scores `[n]` of the normals of a fit, in the order of content.

    Those of the calibration where a normal was held out. Others (folds are cut to one size) are
    scored by the seeds of their fold, and where there are none by all, which trained on them.
    """
    scores = np.full(len(normals.train), np.nan, np.float32)
    folds = np.full(len(normals.train), -1) if normals.folds is None else normals.folds
    if normals.folds is not None:
        for fold, own in by_fold.items():
            scores[normals.rows(fold)] = own
    left = np.flatnonzero(np.isnan(scores))
    if len(left):
        surprise = networks.surprise(networks.raw(normals.train[left]))
        unseen = np.array(networks.state.folds)[:, None] == folds[left][None]  # [seeds, n]
        unseen[:, ~unseen.any(axis=0)] = True
        scores[left] = (surprise * unseen).sum(axis=0) / unseen.sum(axis=0)
    return scores
