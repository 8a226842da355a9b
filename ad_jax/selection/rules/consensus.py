"""Rules by agreement: which member says what the others say of the target?

Members that cannot be picked (controls, and settings of which too many seeds learned nothing,
failed or were stopped) have no voice and an infinite loss. Nothing here is quadratic in samples;
`[members, members]` at most, and that once.
Definitions from Ma et al. (arXiv 2104.01422) and the papers they name.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from ad_jax.base import ranks
from ad_jax.pool import Pool
from ad_jax.selection.rules.contract import Rule, groups, voters

ROUNDS, SETTLED = 200, 1e-8  # of the power iteration: at most so many, until a step is this small
BLOCK = 1024  # samples at a time


def _on_voters(pool: Pool, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.full(len(pool.members), np.inf)
    out[rows] = values
    return out


def _standardised_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks of every row, centred, at unit length: Spearman's correlation is their product.

    A constant row is zero: it agrees with nobody.
    """
    centred = ranks.rank_rows(scores) - np.float32((scores.shape[1] + 1) / 2.0)
    length = np.sqrt((centred**2).sum(1, keepdims=True))
    return centred / np.maximum(length, 1e-12)


def _agreement(ranked: np.ndarray) -> np.ndarray:
    """Mean Spearman correlation of each row of `[k, n]` with the others, k >= 2."""
    own = (ranked**2).sum(1)
    return (ranked @ ranked.sum(0) - own) / (len(ranked) - 1)


def model_centrality(pool: Pool) -> np.ndarray:
    """Minus the mean Spearman correlation with the other members (ModelCentrality).

    The sum over the others is one product with the sum of all ranks, so no matrix of pairs.
    Kendall's correlation is as common; Spearman's is the cheaper one.
    """
    rows = voters(pool)
    if len(rows) < 2:
        return _on_voters(pool, rows, np.full(len(rows), np.inf))
    own, _ = pool.own_scores()
    return _on_voters(pool, rows, -_agreement(_standardised_ranks(own[rows])))


def udr(pool: Pool) -> np.ndarray:
    """Minus the mean Spearman correlation with the other seeds of the same setting (UDR).

    After Duan et al. (ICLR 2020), who rank disentangled representations; for scores the agreement
    is a correlation, and the mean over seeds (there: the median over pairs) had to be chosen.
    Settings with one trained seed are infinite.
    """
    own, _ = pool.own_scores()
    out = np.full(len(pool.members), np.inf)
    for rows in groups(pool).values():
        if len(rows) > 1:
            out[rows] = -_agreement(_standardised_ranks(own[rows]))
    return out


def hits(pool: Pool) -> np.ndarray:
    """Minus a member's hubness on the weighted graph of members and samples (HITS).

    Hubs `h = R a` and authorities `a = R' h` by power iteration, each at unit length, from equal
    hubs. Chosen: `R` holds ranks as shares, 1 for the most anomalous sample, so that a hub is a
    member which ranks high what all rank high. The study's code weighs by inverse ranks.
    """
    rows = voters(pool)
    own, _ = pool.own_scores()
    edges = ranks.rank_rows(own[rows]) / np.float32(own.shape[1])
    hubs = np.full(len(rows), max(len(rows), 1) ** -0.5, np.float32)
    for _ in range(ROUNDS):
        authorities = hubs @ edges
        new = edges @ (authorities / np.maximum(np.linalg.norm(authorities), 1e-12))
        new /= np.maximum(np.linalg.norm(new), 1e-12)
        settled = len(rows) == 0 or np.abs(new - hubs).max() < SETTLED
        hubs = new
        if settled:
            break
    return _on_voters(pool, rows, -hubs)


def _unified(scores: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Probability of being an outlier: Gaussian scaling (Kriegel et al., SDM 2011)."""
    apart = np.where(spread > 0, spread, 1.0)[:, None]
    return np.maximum(erf((scores - mean[:, None]) / (apart * np.sqrt(2.0))), 0.0)


def _covariance(scores: np.ndarray) -> np.ndarray:
    """Weighted covariance `[k, k]` of unified scores `[k, n]`, float64, in blocks of samples.

    The weight of a sample is one over its rank in the mean of all, 1 for the most anomalous; equal
    means share their mean rank.
    """
    count = scores.shape[1]
    mean, spread = scores.mean(1, dtype=np.float64), scores.std(1, dtype=np.float64)
    blocks = [slice(i, i + BLOCK) for i in range(0, count, BLOCK)]
    target = np.concatenate([_unified(scores[:, b], mean, spread).mean(0) for b in blocks])
    weights = 1.0 / ranks.rank_rows(-target[None])[0].astype(np.float64)
    weights /= weights.sum()
    first = np.zeros(len(scores))
    second = np.zeros((len(scores), len(scores)))
    for block in blocks:
        unified = _unified(scores[:, block], mean, spread)
        weighted = unified * weights[block]
        first += weighted.sum(1)
        second += weighted @ unified.T
    return second - np.outer(first, first)


def _over(value: np.ndarray, *lengths: np.ndarray) -> np.ndarray:
    """A correlation from an inner product and two lengths; 0 where one has none."""
    product = np.prod(np.broadcast_arrays(*lengths), axis=0)
    return np.where(product > 1e-12, value / np.maximum(product, 1e-12), 0.0)


def _with_ensemble(covariance: np.ndarray) -> np.ndarray:
    """Correlation of each of `k` members with the ensemble that SELECT grows from them."""
    length = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    onto_target = covariance.mean(1)  # the target is the mean of all
    chosen = int(np.argmax(_over(onto_target, length)))
    left = np.ones(len(covariance), bool)
    left[chosen] = False
    with_sum, square = covariance[chosen].copy(), covariance[chosen, chosen]
    reached = onto_target[chosen]
    while left.any():
        close = np.where(left, _over(with_sum, length), -np.inf)
        chosen = int(np.argmax(close))
        left[chosen] = False
        grown = square + 2.0 * with_sum[chosen] + covariance[chosen, chosen]
        better = _over(reached + onto_target[chosen], np.sqrt(max(grown, 0.0)))
        if better > _over(reached, np.sqrt(max(square, 0.0))) + 1e-12:  # more than rounding
            with_sum, square = with_sum + covariance[chosen], grown
            reached += onto_target[chosen]
    return _over(with_sum, length, np.sqrt(max(square, 0.0)))


def select(pool: Pool) -> np.ndarray:
    """Minus the correlation with the ensemble that SELECT builds (vertical selection).

    Rayana & Akoglu (TKDD 2016): scores become probabilities by Gaussian scaling, their mean is the
    pseudo ground truth ("target"), and agreement is Pearson's correlation weighted by one over the
    rank in the target. The ensemble starts with the member closest to the target; then, the
    member closest to the ensemble's mean first, each is kept if it brings the mean closer to the
    target, and dropped for good otherwise. SELECT returns the ensemble, no member: that a member's
    loss is minus its weighted correlation with the final mean had to be chosen, and so had the
    shared ranks of ties. Everything follows from one matrix of weighted covariances.
    """
    rows = voters(pool)
    if len(rows) < 2:
        return _on_voters(pool, rows, np.full(len(rows), np.inf))
    own, _ = pool.own_scores()
    return _on_voters(pool, rows, -_with_ensemble(_covariance(own[rows])))


RULES: dict[str, Rule] = {
    "model_centrality": Rule(
        model_centrality, "target", "model_centrality: mean Spearman with the other members", 2
    ),
    "hits": Rule(hits, "target", "hits: hubness on the graph of members and samples", 2),
    "select": Rule(select, "target", "select: agreement with SELECT's ensemble (TKDD 2016)", 2),
    "udr": Rule(udr, "seeds", "udr: mean Spearman between the seeds of a setting", 2),
}
