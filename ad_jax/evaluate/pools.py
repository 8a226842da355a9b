"""Audits of pools that came as scores: what was every rule's pick worth?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.data import Truth
from ad_jax.pool import Pool


class PoolAudit(NamedTuple):
    """What labels say of a pool.

    Attributes:
      share: anomalies in the target.
      auroc: setting key -> AUROC, mean over its seeds.
      expected_random, oracle: mean and best over settings.
      best: label of the oracle's setting.
      picks: rule -> AUROC of its pick; settings of one loss share the pick.
      spearman: rule -> rank correlation of its loss with AUROC over settings; NaN if either is
        constant or a loss infinite.
    """

    share: float
    auroc: dict[str, float]
    expected_random: float
    oracle: float
    best: str
    picks: dict[str, float]
    spearman: dict[str, float]


def of_members(
    scores: np.ndarray,
    anomalous: np.ndarray,
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray] = ranks.auroc_rows,
) -> np.ndarray:
    """A measure of every member `[members]`, NaN where a score is not finite.

    Args:
      scores: `[members, n]`.
      anomalous: `[n]` labels.
      measure: of rows of normals and of anomalies.
    """
    fine = np.isfinite(scores).all(1)
    out = np.full(len(scores), np.nan)
    out[fine] = measure(scores[fine][:, anomalous == 0], scores[fine][:, anomalous == 1])
    return out


def member_aurocs(pool: Pool, anomalous: np.ndarray) -> np.ndarray:
    """AUROC of every member `[members]` against labels `[n]`; NaN where a score is not finite."""
    return of_members(pool.own_scores()[0], anomalous)


def seed_aurocs(pool: Pool, anomalous: np.ndarray) -> dict[str, np.ndarray]:
    """AUROCs `[seeds that learned]` of every setting that was trained, by its key."""
    per_member = member_aurocs(pool, anomalous)
    rows = {s.key: pool.rows(s, trained=True) for s in pool.settings}
    return {key: per_member[own] for key, own in rows.items() if own}


def setting_aurocs(pool: Pool, anomalous: np.ndarray) -> dict[str, float]:
    """AUROC of every setting that was trained, by its key: mean over its seeds that learned."""
    return {key: float(own.mean()) for key, own in seed_aurocs(pool, anomalous).items()}


def audit_pool(
    pool: Pool,
    losses: Mapping[str, Mapping[str, float]],
    truth: Truth,
    reason: str = "audit of scores",
) -> PoolAudit:
    """Opens the truth and measures every rule's pick.

    Args:
      pool: any pool.
      losses: rule -> setting key -> loss.
      truth: sealed labels of its target.
      reason: goes into the truth's log.

    Raises:
      InputError: labels of one class, or that do not fit.
    """
    count = pool.scores.shape[-1]
    if len(truth) != count:
        raise InputError(
            f"labels of {len(truth)} samples do not fit scores of {count}; give one per sample"
        )
    anomalous = np.asarray(truth.open(reason).anomalous)
    if anomalous.min() == anomalous.max():
        raise InputError("all labels are equal, so AUROC is undefined; audit needs both classes")
    by_setting = setting_aurocs(pool, anomalous)
    auroc = np.array(list(by_setting.values()))
    picks, spearman = {}, {}
    for name, by_key in losses.items():
        loss = np.array([by_key[key] for key in by_setting])
        picks[name] = float(auroc[loss == loss.min()].mean())
        varied = np.isfinite(loss).all() and np.ptp(loss) > 0 and np.ptp(auroc) > 0
        correlation = np.corrcoef(ranks.rank_rows(np.stack([loss, auroc])))[0, 1] if varied else 0
        spearman[name] = float(correlation) if varied else float("nan")
    best = max(by_setting, key=by_setting.__getitem__)
    return PoolAudit(
        float(anomalous.mean()),
        by_setting,
        float(auroc.mean()),
        float(auroc.max()),
        next(s.label for s in pool.settings if s.key == best),
        picks,
        spearman,
    )
