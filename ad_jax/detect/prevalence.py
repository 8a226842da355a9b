"""How much of a target is anomalous, with its uncertainty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks

LEVEL = 0.5  # Storey's lambda: p-values above it count as normals'
DRAWS = 400


class Share(NamedTuple):
    """An estimate in [0, 1], a 95 % interval, and the estimate before it was cut.

    Attributes:
      value: the estimate cut to [0, 1]; where there is nothing it is half of the noise, not 0.
      low, high: 2.5 % and 97.5 % of the bootstrap; a low above 0 says that there are anomalies.
      unclipped: the estimate itself, below 0 as often as above where there is nothing; the one to
        average over targets.
    """

    value: float
    low: float
    high: float
    unclipped: float


def _above(held_out: np.ndarray, scores: np.ndarray) -> float:
    """Share of anomalies by one seed, before it is cut to [0, 1]."""
    count = len(held_out)
    p = ranks.p_values_rows(held_out[None], scores[None])[0]
    expected = 1.0 - np.floor(LEVEL * (count + 1)) / (count + 1)  # of normals: p has few levels
    return 1.0 - float((p > LEVEL).mean()) / expected


def _again(generator: np.random.Generator, count: int) -> np.ndarray:
    return np.asarray(generator.integers(0, count, count))


def anomaly_share(
    held_out: np.ndarray,
    raw: np.ndarray,
    folds: tuple[int, ...],
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> Share:
    """Storey's estimate (JRSS B 2002) of the share of anomalies, mean over seeds.

    Normals have uniform p-values among held-out normals; so those above 1/2 are twice counted as
    the normals. Anomalies with p above 1/2 count as normals too: the estimate before the cut
    (`unclipped`) is too low by the share of anomalies that look like normals, and never too high in
    expectation, except where the same target chose the setting (then by the flattery of that
    choice), or where the target's normals differ from those held out (a shift looks like
    anomalies).

    The cut at 0 leaves only the noise above it. So `value` is too high where there is little or
    nothing, by up to .4 standard errors: in simulations without anomalies it is .02 (4 seeds of 100
    held-out normals, 400 target samples) to .06 (3 of 30, 60) on the mean, and above .05 in 16 to
    42 % of draws, where `low` is above 0 in at most 4 %. To say that there are anomalies takes
    `low`, a mean over targets `unclipped`.

    Args:
      held_out: `[seeds, m]` scores of each seed's held-out normals.
      raw: `[seeds, n]` scores of the target.
      folds: per seed, which held-out normals are its own; those of a fold are drawn together.
      seed: of the bootstrap over target and held-out normals.
      weights: of the seeds; None for all alike.
    """
    generator = np.random.default_rng(seed)
    count, size = held_out.shape[1], raw.shape[1]

    def estimate(rows: np.ndarray, kept: dict[int, np.ndarray]) -> float:
        return float(
            np.average(
                [
                    _above(own[kept[fold]], one[rows])
                    for own, one, fold in zip(held_out, raw, folds, strict=True)
                ],
                weights=weights,
            )
        )

    everything = {fold: np.arange(count) for fold in folds}
    value = estimate(np.arange(size), everything)
    drawn = []
    for _ in range(DRAWS):
        kept = {fold: _again(generator, count) for fold in everything}
        drawn.append(estimate(_again(generator, size), kept))
    low, high = np.quantile(drawn, [0.025, 0.975])
    shown, low, high = (float(np.clip(x, 0.0, 1.0)) for x in (value, low, high))
    return Share(shown, low, high, value)
