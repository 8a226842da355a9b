"""How well pseudo-anomalies meet the true ones: what DSV estimates without labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ad_jax.errors import InputError
from ad_jax.pool import Pool


class TrueAlignment(NamedTuple):
    """Of every member `[members]`; perfect at discordance 0 and separability 1; NaN without parts.

    Attributes:
      discordance: `h_d`, 0 where the anomalies lie on the way from normals to augmented ones.
      separability: `h_s`, how far along the way they lie, in units of its length.
    """

    discordance: np.ndarray
    separability: np.ndarray


def true_alignment(pool: Pool, anomalous: np.ndarray) -> TrueAlignment:
    """`h_d` and `h_s` of DSV's theory (arXiv 2307.06534), by the full mean distance `d`.

    `h_d = (d(Z_trn, A) + d(Z_aug, A)) / d(Z_trn, Z_aug) - 1` and `h_s = p / d(Z_trn, Z_aug)`, where
    `A` are the target's true anomalies and `p` the mean projection of `A - mean(Z_trn)` on the
    directions to the augmented samples.

    Args:
      pool: with parts.
      anomalous: `[n]` labels of the target, 0 or 1.

    Raises:
      InputError: a pool without parts, or no anomaly.
    """
    if pool.parts is None:
        raise InputError("true alignment needs a pool with alignment parts; scores alone have none")
    some = np.asarray(anomalous) == 1
    if not some.any():
        raise InputError("no anomaly among the labels, so there is nothing to be aligned with")
    to_train, to_augmented, projection = (
        np.asarray(part)[:, some].mean(1)
        for part in (pool.parts.to_train, pool.parts.to_augmented, pool.parts.projection)
    )
    with np.errstate(invalid="ignore"):
        between = np.where(pool.parts.between > 0, pool.parts.between, np.nan)  # halved
        apart = (to_train + to_augmented) / between
        return TrueAlignment(apart - 1.0, projection / (2.0 * between))
