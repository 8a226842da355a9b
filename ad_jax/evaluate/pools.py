"""Audits of pools that came as scores: what was every rule's pick worth?"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax import ranks
from ad_jax.data import Labels, Truth
from ad_jax.errors import InputError
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


def labels_file(path: str | Path, shape: tuple[int, int]) -> Truth:
    """Sealed labels from a file: a CSV with a column `label`, or 0 or 1 per line.

    Args:
      path: of the file; read when the truth is opened.
      shape: `(members, samples)` of the scores, for the error message.

    Raises:
      InputError: at opening, a missing file, other values, another number of them.
    """
    members, samples = shape

    def read() -> Labels:
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                lines = [line for line in csv.reader(file) if any(map(str.strip, line))]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"--labels {path} does not read ({error})") from None
        header = [name.strip() for name in lines[0]] if lines else []
        column = header.index("label") if "label" in header else 0
        lines = lines[1:] if "label" in header else lines
        if "label" not in header and len(header) > 1:
            raise InputError(f"--labels {path}: no column `label` in {', '.join(header)}")
        values = [line[column].strip() if column < len(line) else "" for line in lines]
        wrong = next((v for v in values if v not in ("0", "1", "0.0", "1.0")), None)
        if wrong is not None:
            raise InputError(f"--labels {path}: {wrong!r} is neither 0 (normal) nor 1")
        if len(values) != samples:
            side = " (that is the number of members: the scores lie on their side)"
            raise InputError(
                f"--labels {path} holds {len(values)} labels for scores of shape {shape} = "
                f"[members, samples]{side if len(values) == members else ''}; give {samples}"
            )
        anomalous = np.array([float(v) for v in values]).astype(int)
        return Labels(anomalous, ["anomaly" if v else "" for v in anomalous])

    return Truth([f"sample {i}" for i in range(samples)], read)
