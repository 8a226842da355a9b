"""Rank correlations of losses with AUROC over settings, with bootstrap intervals."""

from __future__ import annotations

import numpy as np
from scipy.stats import kendalltau, rankdata, spearmanr

from ad_jax.base.stats import Estimate

DRAWS = 1000
MOST = 500  # settings; of more, the interval is that of so many drawn without replacement


def _usable(loss: np.ndarray, auroc: np.ndarray) -> bool:
    return len(loss) > 2 and np.ptp(loss) > 0 and np.ptp(auroc) > 0


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of every row `[draws]`; NaN where one is constant."""
    x, y = (rankdata(v, axis=1) for v in (x, y))
    x, y = (v - v.mean(1, keepdims=True) for v in (x, y))
    spread = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    return np.divide((x * y).sum(1), spread, out=np.full(len(x), np.nan), where=spread > 0)


def _kendall(x: np.ndarray, y: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """tau-b of x and y `[n]` at every draw `[draws, n]` of rows, as quadratic forms of counts."""
    signs = [np.sign(v[:, None] - v[None]) for v in (x, y)]
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(float)
    form = lambda matrix: ((counts @ matrix) * counts).sum(1)
    spread = np.sqrt(form(signs[0] ** 2) * form(signs[1] ** 2))
    both = form(signs[0] * signs[1])
    return np.divide(both, spread, out=np.full(len(drawn), np.nan), where=spread > 0)


def correlations(
    loss: np.ndarray, auroc: np.ndarray, seed: int = 0, draws: int = DRAWS
) -> tuple[Estimate, Estimate]:
    """Spearman's rho and Kendall's tau-b of loss and AUROC, -1 = the lower the loss the better.

    Args:
      loss: `[settings]`; settings that cannot be picked (not finite) are left out.
      auroc: `[settings]`.
      seed, draws: of the bootstrap over settings.

    Returns:
      each with its 95 % interval; NaN with fewer than three settings, or where one is constant.
    """
    fine = np.isfinite(loss) & np.isfinite(auroc)
    loss, auroc = loss[fine], auroc[fine]
    if not _usable(loss, auroc):
        return Estimate(float("nan")), Estimate(float("nan"))
    whole = float(spearmanr(loss, auroc).statistic), float(kendalltau(loss, auroc).statistic)
    generator = np.random.default_rng(seed)
    if len(loss) > MOST:
        some = generator.permutation(len(loss))[:MOST]
        loss, auroc = loss[some], auroc[some]
    drawn = generator.integers(0, len(loss), (draws, len(loss)))
    out = []
    for value, found in zip(
        whole, (_spearman(loss[drawn], auroc[drawn]), _kendall(loss, auroc, drawn)), strict=True
    ):
        low, high = np.nanquantile(found, [0.025, 0.975])
        out.append(Estimate(value, float(low), float(high)))
    return out[0], out[1]
