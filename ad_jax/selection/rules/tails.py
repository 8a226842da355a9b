"""Rules that look at the upper end of the target's scores, where a few anomalies stand.

Definitions and sources at each; where a source leaves something open, what was chosen is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from ad_jax.base import ranks
from ad_jax.pool import Pool
from ad_jax.selection.rules.contract import Rule, groups, judged

TOP = 0.05  # share of samples that the magnitude of a tail is taken over
EARLY = 0.3  # share of the smallest p-values that higher criticism looks at
LATE = 0.2  # share of samples up to which EAG cuts
DISCOVERIES = 0.1  # expected share of false ones among AdaDetect's rejections
HOT, FEWEST = 0.03, 3  # share, and number at least, that other families call anomalous


def _sorted_p_values(held_out: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Conformal p-values `[members, n]` of the target, each row from the smallest on."""
    # Scores in order are looked up several times as fast, and their p-values need no sorting.
    return ranks.p_values_rows(held_out, np.sort(target, axis=1))[:, ::-1]


def _joint_ranks(held_out: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Ranks `[members, n]` of the target among target and held-out normals."""
    both = np.concatenate([target, held_out], axis=1)
    return ranks.rank_rows(both)[:, : target.shape[1]].astype(np.float64)


def order_statistic(held_out: np.ndarray, target: np.ndarray, order: int) -> np.ndarray:
    """Order-k Wilcoxon statistic `[members]` less its mean 1 / (k + 1) where both are alike.

    Mean over the target of `prod_{l < k} (R + l) / (N + 1 + l)`, R the rank among all N samples:
    k = 1 is the AUROC but for a factor, a large k a smooth share above a high quantile (Magnani,
    Sesia & Solari, arXiv 2308.05534: locally most powerful against densities like `u^k`).
    """
    total = held_out.shape[1] + target.shape[1]
    halves = np.arange(2 * total + 1) / 2.0  # all values of a rank: few beside all members' samples
    product = np.ones_like(halves)
    for place in range(order):
        product *= (halves + place) / (total + 1 + place)
    twice = (2.0 * _joint_ranks(held_out, target)).astype(np.int64)
    return product[twice].mean(1) - 1.0 / (order + 1)


def wilcoxon(pool: Pool, order: int) -> np.ndarray:
    """Minus the order-k Wilcoxon statistic `[members]`."""
    target, held_out = pool.own_scores()
    with np.errstate(invalid="ignore"):
        return judged(-order_statistic(held_out, target, order), target, held_out)


def _highest_of_rows(scores: np.ndarray, count: int) -> np.ndarray:
    """The highest values `[members, count]` of each row, in any order."""
    return np.partition(scores, -count, axis=1)[:, -count:]


def _top(scores: np.ndarray) -> np.ndarray:
    """Mean of the highest `TOP` of each row, one at least."""
    count = max(1, round(TOP * scores.shape[1]))
    return np.sort(_highest_of_rows(scores, count), axis=1).mean(1, dtype=np.float64)


def magnitude_tail(pool: Pool) -> np.ndarray:
    """Minus how far the target's top 5 % lie above those of held-out normals, in their spread."""
    target, held_out = pool.own_scores()
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = (_top(target) - _top(held_out)) / held_out.std(1, dtype=np.float64)
    return judged(np.where(np.isfinite(ahead), -ahead, np.inf), target, held_out)


def higher_criticism(pool: Pool) -> np.ndarray:
    """Minus higher criticism (Donoho & Jin, 2004) of the target's conformal p-values `[members]`.

    `max_i (i / n - p_(i)) / sqrt(p_(i) (1 - p_(i)) (1 / n + 1 / m))` over the smallest 30 % of n
    p-values among m held-out normals: both samples are random, hence the last factor.
    """
    target, held_out = pool.own_scores()
    count, kept = target.shape[1], held_out.shape[1]
    p = _sorted_p_values(held_out, _highest_of_rows(target, max(1, int(EARLY * count))))
    expected = np.arange(1, p.shape[1] + 1) / count
    spread = np.sqrt(np.maximum(p * (1 - p), 1e-12) * (1 / count + 1 / kept))
    return judged(-((expected - p) / spread).max(1), target, held_out)


def rtm(pool: Pool) -> np.ndarray:
    """Minus AutoUAD's relative top median: `(mean of the top 5 % - median) / |median|`.

    Needs no held-out normals, and depends on where a score has its zero. The absolute value was
    chosen: scores below 0 would be better the less their top stands out.
    """
    target, _ = pool.own_scores()
    middle = np.median(target, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ahead = (_top(target) - middle) / np.abs(middle)
    return judged(np.where(np.isfinite(ahead), -ahead, np.inf), target)


def eag(pool: Pool) -> np.ndarray:
    """Minus AutoUAD's expected anomaly gap `[members]`; needs no held-out normals.

    Mean over `k = 1 … .2 n` of `k (n - k) (mean_hi - mean_lo)^2 / (n (k var_hi + (n - k) var_lo))`
    of the target's k highest scores and the others.
    """
    target, _ = pool.own_scores()
    count = target.shape[1]
    high = np.arange(1, max(1, int(LATE * count)) + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Centred, as differences of squares cancel less then.
        centred = target - target.mean(1, keepdims=True, dtype=np.float64)
        ordered = np.sort(_highest_of_rows(centred, len(high)), axis=1)[:, ::-1]
        top, top_squares = np.cumsum(ordered, 1), np.cumsum(ordered**2, 1)
        low = centred.sum(1, keepdims=True) - top
        low_squares = (centred**2).sum(1, keepdims=True) - top_squares
        within = (top_squares - top**2 / high) + (low_squares - low**2 / (count - high))
        gap = (top / high - low / (count - high)) ** 2
        value = (high * (count - high) * gap / (count * within)).mean(1)
    return judged(np.where(np.isfinite(value), -value, np.inf), target)


def adadetect(pool: Pool) -> np.ndarray:
    """Minus the share of the target that Benjamini-Hochberg rejects at .1 `[members]`.

    By p-values among every second held-out normal, as the other half belongs to the choice
    (AdaDetect: Marandon, Lei, Mary & Roquain, Annals of Statistics 2024).
    """
    target, held_out = pool.own_scores()
    p = _sorted_p_values(held_out[:, 1::2], target)
    count = p.shape[1]
    below = p <= DISCOVERIES * np.arange(1, count + 1) / count
    rejected = np.where(below, np.arange(1, count + 1), 0).max(1)
    return judged(-rejected / count, target, held_out)


def _highest(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the highest values; of those that tie for the last place the first ones."""
    least = np.partition(values, -count)[-count]
    above = np.flatnonzero(values > least)
    return np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])


def _calls(
    surprise: Mapping[str, np.ndarray], families: Mapping[str, str], trusted: set[str], count: int
) -> dict[str, np.ndarray]:
    """Setting key -> the samples that trusted settings of all other families call anomalous."""
    everybody = np.sum([surprise[key] for key in sorted(trusted)], axis=0)
    of_family: dict[str, list[str]] = {}
    for key in sorted(trusted):
        of_family.setdefault(families[key], []).append(key)
    called: dict[tuple[str, ...], np.ndarray] = {}
    out = {}
    for key in surprise:
        silent = tuple(of_family.get(families[key], ()))
        if len(silent) == len(trusted):  # one family is left: it judges itself
            silent = (key,) if trusted > {key} else ()
        if silent not in called:
            others = everybody - np.sum([surprise[k] for k in silent], axis=0)
            called[silent] = _highest(others.round(9), count)  # a difference blurs ties
        out[key] = called[silent]
    return out


def _called_by_others(pool: Pool, rounds: int) -> np.ndarray:
    """Minus how high a member ranks, among its held-out normals, what other families call strange.

    Their call: the highest 3 % of the target, three samples at least, by the mean surprise of the
    settings of all other families; in a further round of those at or above the median of the round
    before (AutoOD, SIGMOD 2023, iterates so). Infinite where there is one family.
    """
    target, held_out = pool.own_scores()
    out = np.full(len(pool.members), np.inf)
    known = groups(pool)
    surprise = pool.surprise
    families = {s.key: s.family for s in pool.settings if s.key in surprise}
    if len(set(families.values())) < 2:
        return out
    count = min(max(FEWEST, round(HOT * target.shape[1])), target.shape[1])
    trusted = set(surprise)
    for _ in range(rounds):
        value = {}
        for key, called in _calls(surprise, families, trusted, count).items():
            own = known[key]
            p = ranks.p_values_rows(held_out[own], target[own][:, called])
            out[own] = -(1.0 - p).mean(1)
            value[key] = float(np.mean(out[own]))
        middle = np.median(list(value.values()))
        trusted = {key for key, loss in value.items() if loss <= middle}
    return out


RULES: dict[str, Rule] = {
    "wilcoxon_7": Rule(
        partial(wilcoxon, order=7),
        "scores",
        "wilcoxon_7: order-7 Wilcoxon statistic against held-out normals (arXiv 2308.05534)",
    ),
    "wilcoxon_31": Rule(
        partial(wilcoxon, order=31),
        "scores",
        "wilcoxon_31: order-31 Wilcoxon statistic against held-out normals (arXiv 2308.05534)",
    ),
    "magnitude_tail": Rule(
        magnitude_tail, "scores", "magnitude_tail: top 5 % of the target above held-out normals'"
    ),
    "higher_criticism": Rule(
        higher_criticism,
        "scores",
        "higher_criticism: of conformal p-values among held-out normals (Donoho & Jin)",
    ),
    "adadetect": Rule(
        adadetect, "scores", "adadetect: rejections at a false-discovery rate of .1 (AdaDetect)"
    ),
    "other_families": Rule(
        partial(_called_by_others, rounds=1),
        "scores",
        "other_families: ranks high what other families call anomalous",
        2,
    ),
    "other_families_twice": Rule(
        partial(_called_by_others, rounds=2),
        "scores",
        "other_families_twice: the same by the better half of the first round (AutoOD)",
        2,
    ),
    "rtm": Rule(rtm, "target", "rtm: relative top median of the scores (AutoUAD)"),
    "eag": Rule(eag, "target", "eag: expected anomaly gap of the scores (AutoUAD)"),
}
