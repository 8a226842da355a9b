"""Rules on scores, member by member: against held-out normals or generated samples, or alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ad_jax.base import ranks
from ad_jax.pool import Pool
from ad_jax.selection.rules.contract import Rule, comparable, judged

LEVELS = (0.8, 0.9, 0.95)  # quantiles of held-out normals
BINS = 32  # of the histogram whose entropy is taken
EPSILON = 1e-12  # keeps NPD finite where both samples of scores are constant


def tail_share(pool: Pool) -> np.ndarray:
    """Minus the share of the target above the 95 % quantile of held-out normals `[members]`."""
    target, held_out = pool.own_scores()
    return judged(-ranks.tail_share_rows(held_out, target), target, held_out)


def auroc_held_out(pool: Pool) -> np.ndarray:
    """Minus the AUROC of the target against held-out normals `[members]`."""
    target, held_out = pool.own_scores()
    return judged(-pool.auroc_held_out, target, held_out)


def _mean_rank(pool: Pool, losses: np.ndarray) -> np.ndarray:
    """Mean rank by several losses `[k, members]` among the members that can be picked `[members]`.

    As a share of these members. Others (controls, say) have the rank that they would have among
    them and move nobody's, so that they can be compared with a pick but do not change it. Infinite
    where a loss is, and where there is nobody to be ranked among.
    """
    known = np.isfinite(losses).all(axis=0)
    among = comparable(pool, known)
    out = np.full(len(known), np.inf)
    if len(among):
        out[known] = ranks.rank_among_rows(losses[:, among], losses[:, known]).mean(0) / len(among)
    return out


def tail_and_auroc(pool: Pool) -> np.ndarray:
    """Mean rank of the two among the members that can be picked, as a share of them `[members]`."""
    return _mean_rank(pool, np.stack([tail_share(pool), auroc_held_out(pool)]))


def several_tails(pool: Pool) -> np.ndarray:
    """Mean rank by the tail shares above three quantiles and by the AUROC `[members]`.

    Ranks are among the members that can be picked, and a share of them.

    One quantile counts few held-out normals and is noisy; the AUROC counts all of them alike and
    misses what only the highest scores show. Written down before the runs that made it the default
    (experiments/results/rules.txt).
    """
    target, held_out = pool.own_scores()
    tails = [ranks.tail_share_rows(held_out, target, level) for level in LEVELS]
    losses = [*(judged(-tail, target, held_out) for tail in tails), auroc_held_out(pool)]
    return _mean_rank(pool, np.stack(losses))


def npd(pool: Pool) -> np.ndarray:
    """Minus the normalised pseudo-discrepancy (AutoUAD, ICLR 2025); needs no target.

    `(mean g - mean v)^2 / (2 (var g + var v) + eps)` of the scores `g` of generated samples and
    `v` of held-out normals. The generated samples are drawn from a normal distribution per input
    value with the training samples' mean and variance; `program.generate` clips them to [0, 1],
    which had to be chosen, and draws as many as there are held-out normals.
    """
    _, held_out = pool.own_scores()
    assert pool.generated is not None
    generated = pool.of_own_heads(pool.generated)
    gap = (generated.mean(1) - held_out.mean(1)) ** 2
    spread = generated.var(1) + held_out.var(1)
    return judged(-gap / (2.0 * spread + EPSILON), held_out, generated)


def _of_scaled(pool: Pool, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    """A measure of each member's target scores, scaled to [0, 1] by their extremes.

    Infinite for constant scores, for those that are not finite, and where the extremes lie further
    apart than their precision reaches. Row by row: no copy of the pool.
    """
    own, _ = pool.own_scores()
    out = np.full(len(own), np.inf)
    for i, row in enumerate(own):
        low, high = row.min(), row.max()
        with np.errstate(over="ignore", invalid="ignore"):
            spread = high - low
        if np.isfinite(spread) and spread > 0:
            out[i] = measure((row - low) / spread)
    return out


def score_variance(pool: Pool) -> np.ndarray:
    """Minus the variance of the target scores, scaled to [0, 1] by their extremes.

    That a high variance is preferred is known of ST-SSAD (arXiv 2306.12033); its exact form is not,
    so the scaling was chosen: without it the unit of a score would decide. A variance of 1/4, half
    of the samples at each end, is the best there is. Constant scores are infinite.
    """
    return _of_scaled(pool, lambda scaled: -float(scaled.var(dtype=np.float64)))


def _entropy(scaled: np.ndarray) -> float:
    bins = np.minimum((scaled * BINS).astype(int), BINS - 1)
    share = np.bincount(bins, minlength=BINS) / len(bins)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / np.log(BINS))


def score_entropy(pool: Pool) -> np.ndarray:
    """Entropy of the histogram of the target scores, in units of that of a flat one: 0 to 1.

    Chosen, as no source defines it: scores scaled to [0, 1] by their extremes, 32 equal bins, and
    low entropy is better (most samples alike, few apart). One extreme sample squeezes the others
    into few bins and so looks good. Constant scores are infinite.
    """
    return _of_scaled(pool, _entropy)


def _rule(loss: Callable[[Pool], np.ndarray], needs: str, about: str) -> dict[str, Rule]:
    return {about.split(":")[0]: Rule(loss, needs, about)}


RULES: dict[str, Rule] = {
    **_rule(tail_share, "scores", "tail_share: target above the 95 % quantile of held-out normals"),
    **_rule(
        auroc_held_out, "scores", "auroc_held_out: AUROC of the target against held-out normals"
    ),
    **_rule(tail_and_auroc, "scores", "tail_and_auroc: mean rank of tail_share and auroc_held_out"),
    **_rule(
        several_tails,
        "scores",
        "several_tails: mean rank of tail shares at .8, .9, .95 and auroc_held_out",
    ),
    **_rule(npd, "generated", "npd: generated samples against held-out normals (AutoUAD)"),
    **_rule(score_variance, "target", "score_variance: minus the variance of scaled scores"),
    **_rule(score_entropy, "target", "score_entropy: entropy of the histogram of scaled scores"),
}
