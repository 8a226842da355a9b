"""What the unlabelled set does for a pick: a disjoint half instead, and fewer or more anomalies.

Both ask the rule again on part of the target and judge its new pick by labels. That needs a rule
that follows from scores of single samples; what a run's folder does not hold (embeddings) cannot be
cut afterwards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ad_jax import rules
from ad_jax.errors import InputError
from ad_jax.evaluate.halves import half_aurocs, split
from ad_jax.pool import Pool
from ad_jax.ranks import auroc_rows
from ad_jax.report.page import Estimate
from ad_jax.trust import RESAMPLED, Rows, resampled

RATES = (0.0, 0.01, 0.05, 0.1, 0.25)
DRAWS = 20
LEAST = 8  # samples that a rule is asked on
BUDGET = 40_000_000  # scores that are cut in all; larger pools get fewer draws


class Halves(NamedTuple):
    """AUROC on one half of the target, mean over splits and both ways.

    Attributes:
      seen: of the pick by that same half, unlabelled (as in transduction).
      unseen: of the pick by the other half: the rule never saw the samples that it is judged on.
      random, oracle: expected random setting and best setting on that half.
      splits: how many.
    """

    seen: Estimate
    unseen: Estimate
    random: float
    oracle: float
    splits: int


class Rate(NamedTuple):
    """The pick by an unlabelled set of this share of anomalies, judged on the whole target.

    Attributes:
      wanted, share: as asked for, and as it came out in whole samples.
      samples: how many the rule saw.
      auroc: mean over draws [2.5 and 97.5 % quantiles of the draws].
      gain: (AUROC - expected random) / (oracle - expected random), of the mean.
    """

    wanted: float
    share: float
    samples: int
    auroc: Estimate
    gain: float


class Unlabelled(NamedTuple):
    """Both checks of one task; `lacking` says why there are none."""

    halves: Halves | None
    rates: list[Rate]
    lacking: str


def _spread(values: np.ndarray) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def _settings(pool: Pool, per_member: np.ndarray) -> np.ndarray:
    """Mean over trained seeds `[..., settings]` of `[..., members]`; NaN without any."""
    out = [
        per_member[..., rows].mean(-1) if rows else np.full(per_member.shape[:-1], np.nan)
        for rows in (pool.rows(s, trained=True) for s in pool.settings)
    ]
    return np.stack(out, axis=-1)


def _picked(losses: np.ndarray, auroc: np.ndarray) -> np.ndarray:
    """AUROC of the lowest loss in every row; settings that tie share the pick."""
    best = losses == losses.min(1, keepdims=True)
    best &= np.isfinite(auroc)
    return np.where(best, auroc, 0.0).sum(1) / np.maximum(best.sum(1), 1)


def unlabelled(pool: Pool, rule: str, anomalous: np.ndarray, seed: int = 0) -> Unlabelled:
    """Both checks of one pool.

    Args:
      pool: of scores; read back from a run's folder.
      rule: that picked.
      anomalous: `[n]` labels.
      seed: of splits and draws.
    """
    try:
        served = rules.served(rule, pool)
    except InputError as error:
        return Unlabelled(None, [], str(error))
    if served.needs not in RESAMPLED:
        return Unlabelled(None, [], f"rule {rule} is no function of single samples")
    own, _ = pool.own_scores()
    trained = np.array([m.status == "ok" for m in pool.members])
    if not np.isfinite(own[trained]).all():
        return Unlabelled(None, [], "some trained members have no finite scores")
    own = np.where(trained[:, None], own, 0.0)  # the others are in no setting's mean
    generator = np.random.default_rng(seed)
    draws = int(np.clip(BUDGET // max(pool.scores.size, 1), 2, DRAWS))
    held_out = np.arange(pool.held_out_scores.shape[2])
    return Unlabelled(
        _halves(pool, rule, own, anomalous, held_out, draws, generator),
        _rates(pool, rule, own, anomalous, held_out, draws, generator),
        "",
    )


def _halves(
    pool: Pool,
    rule: str,
    own: np.ndarray,
    anomalous: np.ndarray,
    held_out: np.ndarray,
    draws: int,
    generator: np.random.Generator,
) -> Halves | None:
    first, _ = split(anomalous, draws, generator)
    if not len(first) or min(first.sum(1).min(), (~first).sum(1).min()) < LEAST:
        return None
    auroc = _settings(pool, half_aurocs(own, anomalous, first))  # [2, splits, settings]
    losses = [
        resampled(pool, rule, [Rows(np.flatnonzero(half), held_out) for half in sides])
        for sides in (first, ~first)
    ]
    seen = np.concatenate([_picked(losses[i], auroc[i]) for i in (0, 1)])
    unseen = np.concatenate([_picked(losses[1 - i], auroc[i]) for i in (0, 1)])
    return Halves(
        _spread(seen),
        _spread(unseen),
        float(np.nanmean(auroc)),
        float(np.nanmax(auroc, axis=2).mean()),
        len(first),
    )


def _rates(
    pool: Pool,
    rule: str,
    own: np.ndarray,
    anomalous: np.ndarray,
    held_out: np.ndarray,
    draws: int,
    generator: np.random.Generator,
) -> list[Rate]:
    normal, odd = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    auroc = _settings(pool, auroc_rows(own[:, normal], own[:, odd]))
    random, oracle = float(np.nanmean(auroc)), float(np.nanmax(auroc))
    out = []
    for rate in sorted({*RATES, float(anomalous.mean())}):
        ours = rate == float(anomalous.mean())
        normals = len(normal)
        if rate > 0 and rate / (1 - rate) * normals > len(odd):
            normals = round(len(odd) * (1 - rate) / rate)
        count = len(odd) if ours else max(round(rate / (1 - rate) * normals), int(rate > 0))
        if min(normals, len(normal)) < LEAST or count > len(odd):
            continue
        once = ours or count == 0
        drawn = [
            Rows(
                np.concatenate(
                    [generator.permutation(normal)[:normals], generator.permutation(odd)[:count]]
                ),
                held_out,
            )
            for _ in range(1 if once else draws)
        ]
        values = _picked(resampled(pool, rule, drawn), np.repeat(auroc[None], len(drawn), 0))
        spread = Estimate(float(values.mean())) if once else _spread(values)
        gain = (spread.value - random) / (oracle - random) if oracle > random else float("nan")
        share = count / (count + normals)
        out.append(Rate(rate, share, normals + count, spread, gain))
    return out
