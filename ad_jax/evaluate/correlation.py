"""Rank correlations of losses with AUROC over settings, with bootstrap intervals."""

from __future__ import annotations

import numpy as np
from scipy.stats import kendalltau, spearmanr

from ad_jax.base.ranks import spearman_rows
from ad_jax.base.stats import Estimate
from ad_jax.evaluate.pools import varied

DRAWS = 1000
MOST = 500  # settings; of more, the interval is that of so many drawn without replacement


def _kendall(x: np.ndarray, y: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """tau-b of x and y `[n]` at every draw `[draws, n]` of rows, as quadratic forms of counts."""
    signs = [np.sign(v[:, None] - v[None]) for v in (x, y)]
    counts = np.stack([np.bincount(row, minlength=len(x)) for row in drawn]).astype(float)
    form = lambda matrix: ((counts @ matrix) * counts).sum(1)
    spread = np.sqrt(form(signs[0] ** 2) * form(signs[1] ** 2))
    concordance = form(signs[0] * signs[1])
    return np.divide(concordance, spread, out=np.full(len(drawn), np.nan), where=spread > 0)


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
    pickable = np.isfinite(loss) & np.isfinite(auroc)
    loss, auroc = loss[pickable], auroc[pickable]
    if len(loss) <= 2 or not varied(loss, auroc):
        return Estimate(float("nan")), Estimate(float("nan"))
    whole = float(spearmanr(loss, auroc).statistic), float(kendalltau(loss, auroc).statistic)
    generator = np.random.default_rng(seed)
    if len(loss) > MOST:
        kept = generator.permutation(len(loss))[:MOST]
        loss, auroc = loss[kept], auroc[kept]
    drawn = generator.integers(0, len(loss), (draws, len(loss)))
    correlation = spearman_rows(loss[drawn], auroc[drawn]), _kendall(loss, auroc, drawn)
    rho, tau = (
        Estimate(value, *map(float, np.nanquantile(values, [0.025, 0.975])))
        for value, values in zip(whole, correlation, strict=True)
    )
    return rho, tau
