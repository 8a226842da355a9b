"""Figures that labels make of pools: of every member, of every setting, of every rule's pick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.data import Truth
from ad_jax.pool import Pool
from ad_jax.train.setting import Setting


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


def check_both_classes(anomalous: np.ndarray) -> None:
    """Refuses labels of a single class.

    Raises:
      InputError: all labels are equal.
    """
    if anomalous.min() == anomalous.max():
        raise InputError("all labels are equal, so AUROC is undefined; audit needs both classes")


def quality(scores: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """AUROC and average precision of scores `[n]` against labels `[n]`."""
    low, high = scores[anomalous == 0], scores[anomalous == 1]
    return float(ranks.auroc(low, high)), float(ranks.average_precision(low, high))


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
    finite = np.isfinite(scores).all(1)
    out = np.full(len(scores), np.nan)
    out[finite] = measure(scores[finite][:, anomalous == 0], scores[finite][:, anomalous == 1])
    return out


def member_aurocs(pool: Pool, anomalous: np.ndarray) -> np.ndarray:
    """AUROC of every member `[members]` against labels `[n]`; NaN where a score is not finite."""
    return of_members(pool.own_scores()[0], anomalous)


def trained_rows(pool: Pool, settings: Sequence[Setting]) -> np.ndarray:
    """Member of every setting and seed `[settings, seeds]`, -1 where none was trained.

    Seeds are those of the whole pool in ascending order.
    """
    place = {seed: i for i, seed in enumerate(sorted({m.seed for m in pool.members}))}
    out = np.full((len(settings), len(place)), -1)
    for i, setting in enumerate(settings):
        for row in pool.rows(setting, trained=True):
            out[i, place[pool.members[row].seed]] = row
    return out


def on_seeds(per_member: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Figures `[..., members]` as `[..., settings, seeds]` by `trained_rows`; NaN without any."""
    return np.where(rows >= 0, per_member[..., rows], np.nan)


def seed_aurocs(pool: Pool, anomalous: np.ndarray) -> dict[str, np.ndarray]:
    """AUROCs `[seeds that learned]` of every setting that was trained, by its key."""
    per_member = member_aurocs(pool, anomalous)
    rows = {s.key: pool.rows(s, trained=True) for s in pool.settings}
    return {key: per_member[members] for key, members in rows.items() if members}


def setting_aurocs(pool: Pool, anomalous: np.ndarray) -> dict[str, float]:
    """AUROC of every setting that was trained, by its key: mean over its seeds that learned."""
    return {key: float(auroc.mean()) for key, auroc in seed_aurocs(pool, anomalous).items()}


def picked(loss: np.ndarray, auroc: np.ndarray) -> float:
    """AUROC of the setting of the lowest loss `[settings]`; settings that tie share the pick.

    Settings without an AUROC (NaN) are left out.
    """
    return float(auroc[(loss == loss.min()) & ~np.isnan(auroc)].mean())


def varied(loss: np.ndarray, auroc: np.ndarray) -> bool:
    """Whether a rank correlation over settings exists: finite losses, neither constant."""
    return bool(np.isfinite(loss).all() and np.ptp(loss) > 0 and np.ptp(auroc) > 0)


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
    check_both_classes(anomalous)
    by_setting = setting_aurocs(pool, anomalous)
    auroc = np.array(list(by_setting.values()))
    picks, spearman = {}, {}
    for name, by_key in losses.items():
        loss = np.array([by_key[key] for key in by_setting])
        picks[name] = picked(loss, auroc)
        correlation = ranks.spearman_rows(loss[None], auroc[None])[0]
        spearman[name] = float(correlation) if varied(loss, auroc) else float("nan")
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
