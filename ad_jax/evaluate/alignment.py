"""How well pseudo-anomalies meet the true ones: what DSV estimates without labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ad_jax.alignment import TOGETHER, Parts
from ad_jax.base.errors import InputError


class TrueAlignment(NamedTuple):
    """Of one member or `[members]`; perfect at discordance 0 and separability 1.

    Attributes:
      discordance: `h_d`, 0 where the anomalies lie on the way from normals to augmented ones.
      separability: `h_s`, how far along the way they lie, in units of its length.
    """

    discordance: np.ndarray
    separability: np.ndarray


def true_alignment(parts: Parts, anomalous: np.ndarray) -> TrueAlignment:
    """`h_d` and `h_s` of DSV's theory (arXiv 2307.06534), by the full mean distance `d`.

    `h_d = (d(Z_trn, A) + d(Z_aug, A)) / d(Z_trn, Z_aug) - 1` and `h_s = p / d(Z_trn, Z_aug)`, where
    `A` are the target's true anomalies and `p` the mean projection of `A - mean(Z_trn)` on the
    directions to the augmented samples.

    Args:
      parts: of the target, `[n]` or `[members, n]`; NaN comes out where training and augmented
        set are `TOGETHER`.
      anomalous: `[n]` labels of the target, 0 or 1.

    Raises:
      InputError: no anomaly.
    """
    anomalies = np.asarray(anomalous) == 1
    if not anomalies.any():
        raise InputError("no anomaly among the labels, so there is nothing to be aligned with")
    to_train, to_augmented, projection = (
        np.asarray(part)[..., anomalies].mean(-1)
        for part in (parts.to_train, parts.to_augmented, parts.projection)
    )
    between = np.asarray(parts.between)  # distances in parts are halved
    between = np.where(between > TOGETHER, between, np.nan)
    return TrueAlignment((to_train + to_augmented) / between - 1.0, projection / (2.0 * between))
