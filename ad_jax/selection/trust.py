"""How far to trust a pick, from the pool alone: a forecast, and what speaks for and against it.

Nothing here sees labels. The forecast is of the AUROC that the ensemble of all settings
(`selection.weights`) has ahead of the pick. It follows from how differently the two order the
target: where they agree there is nothing to lose, and where they do not, the pick was mostly the
worse one. `FORECAST` is what that came to on development tasks, targets drawn with 0 to 50 % of
anomalies; on training sets that were left out it holds as experiments/results/forecast.txt says.
The verdict is a function of the forecast. Noise, stability, agreement, the null and controls stand
beside it: over 34 development tasks none of them told a good pick from a bad one beyond chance
(experiments/results/rules.txt).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ad_jax.base.ranks import spearman_rows
from ad_jax.pool import Pool
from ad_jax.selection import rules
from ad_jax.selection.resampling import RESAMPLED, draw, halves, resampled, sizes
from ad_jax.selection.rules.contract import voters
from ad_jax.selection.weights import finished, mixed, surprises
from ad_jax.train.setting import Setting

DRAWS = 100  # bootstrap draws, and pairs of halves
PERMUTATIONS = 499
NOISE = 2.0  # standard errors within which a runner-up is no worse
RARE = 0.05  # a null that is more likely than this stands
FEWEST = 8  # different target samples that it takes to judge by
LEFT = 3  # settings that a search has to leave: of two equal ones the better often looks clear
ROUNDING = 1e-6  # of a loss: seeds that differ by no more, as rules in float32 make them, agree
ALIKE = 1e-5  # of the spread of a member's scores: samples that differ by no more look alike
FORECAST = (  # disagreement below -> AUROC of the ensemble less the pick's: mean, 10 % and 90 %
    (0.05, 0.005, -0.001, 0.017),
    (0.15, -0.002, -0.030, 0.019),
    (0.35, 0.044, -0.006, 0.062),
    (2.01, 0.107, -0.041, 0.435),
)
HIGH, MEDIUM = 0.01, 0.05  # forecast up to which a pick is trusted highly, and still somewhat
UNRELATED = {  # one rule of every kind: what else could have picked
    "scores": "several_tails",
    "parts": "calibrated_separability_uncapped",
    "target": "model_centrality",
}


class Trust(NamedTuple):
    """How far the pool itself supports the pick.

    Attributes:
      verdict: "high", "medium" or "low" by the forecast; "none" with fewer than two settings that
        can be picked.
      disagreement: 1 - Spearman correlation of pick and ensemble over the target, 0 to 2; NaN
        where one of them is constant.
      regret: forecast of the ensemble's AUROC less the pick's; NaN without a disagreement.
      regret_low, regret_high: between which it was on eight of ten development draws like it.
      margin: loss of the runner-up minus loss of the pick, in standard errors over seeds; NaN with
        one seed, one setting that can be picked, or seeds that agree but for rounding.
      stability: share of bootstrap draws of target and held-out normals in which a setting of
        the pick's family wins; NaN where the rule is no function of single samples, or where all
        settings that can be picked are of one family.
      reliability: Spearman correlation, over settings, of the rule's losses on complementary
        halves of target and held-out normals, mean over pairs; NaN where the rule is no function
        of single samples, with fewer than three settings that can be picked, or without samples
        for both halves.
      agreement: how high rules of other kinds rank the pick, 1 = first, 0 = last, mean over them.
      null: p-value of "target and held-out normals are alike, whichever setting looks", small where
        there is something to find.
      untrained: settings with seeds that learned nothing.
      control: the best control member by the same rule if it beats the pick, else "".
      reasons: the same in plain words, the forecast first. Each begins with what it is: "forecast",
        "limit" (keeps the verdict below what the forecast says), "against it", "for it", or "note".
      stopped: settings that a search dropped early; all of the above but the null is of the others.
    """

    verdict: str
    disagreement: float
    regret: float
    regret_low: float
    regret_high: float
    margin: float
    stability: float
    reliability: float
    agreement: float
    null: float
    untrained: tuple[str, ...]
    control: str
    reasons: tuple[str, ...]
    stopped: int = 0


def null(pool: Pool, seed: int = 0, permutations: int = PERMUTATIONS) -> float:
    """p-value of the null that target and held-out normals are exchangeable.

    The statistic is the target's largest sum of Savage scores over all settings, so that having
    looked at many settings is paid for (Westfall and Young's maximum). Settings that a search
    stopped were looked at, too, and take part with the scores of their last stage; that survivors
    were chosen by this target and trained on is not part of the permutations, so after halving the
    level is measured and not proven (experiments/studies/halved_trust.py). Savage scores (Annals of
    Mathematical Statistics 27, 1956; of the r-th of n it is 1/n + … + 1/(n - r + 1)) weigh the
    upper end, where a few anomalies stand; plain ranks, as in AUROC, hardly see them. Samples
    change sides at random, the same way for every member of a seed. Seeds share the target and are
    not independent: twice the mean of their p-values is valid whatever their dependence (Vovk and
    Wang, Biometrika 2020); a single one is valid as it is. Held-out normals that differ from the
    target's for another reason (another day, another camera) make it small, too.
    """
    from scipy.stats import rankdata  # here: as in `ranks.spearman_rows`

    generator = np.random.default_rng(seed)
    target, held_out = pool.own_scores()
    looked = np.isfinite(target).all(1) & np.isfinite(held_out).all(1)
    looked &= np.array([m.status in ("ok", "stopped") for m in pool.members])
    count, rest = target.shape[1], held_out.shape[1]
    place = np.arange(1, count + rest + 1)
    savage = np.cumsum(1.0 / place[::-1])
    values = []
    for number in sorted({m.seed for m in pool.members}):
        rows = [
            i
            for i, m in enumerate(pool.members)
            if m.seed == number and looked[i] and m.setting.pretext != "control"
        ]
        if not rows:
            continue
        ranks = rankdata(np.concatenate([target[rows], held_out[rows]], axis=1), axis=1)
        weighed = np.interp(ranks, place, savage)
        sides = np.zeros((permutations + 1, count + rest))
        sides[0, :count] = 1.0  # as observed
        for i in range(permutations):
            sides[i + 1, generator.permutation(count + rest)[:count]] = 1.0
        highest = (sides @ weighed.T).max(1)
        values.append(float((highest >= highest[0] - 1e-9).mean()))
    if not values:
        return 1.0
    return min(1.0, (2.0 if len(values) > 1 else 1.0) * float(np.mean(values)))


def _margin(pool: Pool, per_member: np.ndarray, losses: dict[str, float], pick: Setting) -> float:
    others = [v for k, v in losses.items() if k != pick.key and np.isfinite(v)]
    own = per_member[pool.rows(pick, trained=True)]
    if len(own) < 2 or not others:
        return float("nan")
    behind = min(others) - losses[pick.key]
    rounding = ROUNDING * np.abs(own).max()
    if np.ptp(own) <= rounding:  # no noise to measure by, but a tie is one
        return 0.0 if behind <= rounding else float("nan")
    return float(behind / (np.std(own, ddof=1) / np.sqrt(len(own))))


def _stability(
    pool: Pool, rule: str, losses: dict[str, float], pick: Setting, seed: int
) -> tuple[float, float]:
    """Share of draws won by the pick's family, and correlation between halves."""
    stability = reliability = float("nan")
    finished = [s for s in pool.settings if np.isfinite(losses[s.key])]
    if rules.get(rule).needs not in RESAMPLED or len(finished) < 2:
        return stability, reliability
    generator = np.random.default_rng(seed)
    drawn = resampled(pool, rule, [draw(pool, generator) for _ in range(DRAWS)])
    if len({s.family for s in finished}) > 1:
        mine = np.array([s.family == pick.family for s in pool.settings])
        best = drawn == drawn.min(1, keepdims=True)  # settings that tie share a draw
        stability = float(((best & mine).sum(1) / best.sum(1)).mean())
    if len(finished) < 3 or 1 in sizes(pool):
        return stability, reliability
    pairs = [halves(pool, generator) for _ in range(DRAWS // 2)]
    on_halves = resampled(pool, rule, [half for pair in pairs for half in pair])
    usable = np.isfinite(on_halves).all(0)
    if usable.sum() < 3:
        return stability, reliability
    correlation = spearman_rows(on_halves[::2, usable], on_halves[1::2, usable])
    varied = correlation[np.isfinite(correlation)]
    return stability, float(varied.mean()) if len(varied) else reliability


def _agreement(pool: Pool, rule: str, pick: Setting) -> tuple[float, list[str]]:
    """Mean place of the pick by rules of other kinds, and which put it in the lower half."""
    known = rules.available(pool)
    places, against = [], []
    for needs, name in UNRELATED.items():
        if needs == rules.get(rule).needs or name not in known:
            continue
        losses = rules.losses(pool, name)
        finite = [v for v in losses.values() if np.isfinite(v)]
        if len(finite) < 2 or not np.isfinite(losses[pick.key]):
            continue
        below = sum(v < losses[pick.key] for v in finite)
        ties = sum(v == losses[pick.key] for v in finite) - 1
        place = 1.0 - (below + ties / 2) / (len(finite) - 1)
        places.append(place)
        if place < 0.5:
            against.append(name)
    return (float(np.mean(places)) if places else float("nan")), against


class Forecast(NamedTuple):
    """What the ensemble is expected to have ahead of a pick; see `Trust`."""

    disagreement: float
    regret: float
    low: float
    high: float


def forecast(pool: Pool, weights: Mapping[str, float], pick: Setting) -> Forecast:
    """How differently pick and ensemble order the target, and what that came to elsewhere.

    Args:
      pool: with held-out normals; without them nothing is known.
      weights: of the ensemble, by setting key.
      pick: one of its settings.
    """
    unknown = float("nan")
    if not pool.held_out_scores.shape[2] or pick.key not in weights:
        return Forecast(*4 * [unknown])
    own = surprises(pool)
    both = np.stack([own[pick.key], mixed(own, weights)])
    both = np.where(np.ptp(both, axis=1, keepdims=True) > ALIKE, both, 0.0)
    alike = float(spearman_rows(both[:1], both[1:])[0])
    if not np.isfinite(alike):
        return Forecast(*4 * [unknown])
    return Forecast(1.0 - alike, *next(row[1:] for row in FORECAST if 1.0 - alike < row[0]))


def trust(
    pool: Pool,
    rule: str,
    per_member: np.ndarray,
    losses: dict[str, float],
    pick: Setting,
    weights: Mapping[str, float],
    seed: int = 0,
) -> Trust:
    """How far the pool supports a pick.

    Args:
      pool, rule: what was picked from, and by what.
      per_member: the rule's loss `[members]`.
      losses: the rule's loss by setting key.
      pick: the setting.
      weights: of the ensemble of all settings, by setting key.
      seed: of draws, halves and permutations.
    """
    said = _Said()
    margin = _margin(pool, per_member, losses, pick)
    stability, reliability = _stability(pool, rule, losses, pick, seed)
    agreement, others = _agreement(pool, rule, pick)
    _say_noise(said, margin, stability, reliability, others)
    chance, few = _say_null(said, pool, seed)
    control = _control(pool, rule, per_member, losses[pick.key])
    if control:
        said.against.append(f"the control member {control} looks better by the same rule")
    count = int(np.isfinite(list(losses.values())).sum())
    left = _say_stopped(said, pool, count)
    learned_nothing = {m.setting.key for m in pool.members if m.status in ("untrained", "failed")}
    untrained = tuple(s.label for s in pool.settings if s.key in learned_nothing)
    if untrained:
        said.notes.append(f"seeds that learned nothing in {', '.join(untrained)}")
    _say_moved(said, pool, weights)
    told = forecast(pool, weights, pick)
    verdict = _verdict(said, told, count, few, left)
    return Trust(
        verdict,
        *told,
        margin,
        stability,
        reliability,
        agreement,
        chance,
        untrained,
        control,
        said.lines(),
        len(pool.stopped),
    )


@dataclass
class _Said:
    """Reasons in plain words; what decides the verdict is said first."""

    forecast: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    support: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> tuple[str, ...]:
        kinds = {
            "forecast": self.forecast,
            "limit": self.limits,
            "against it": self.against,
            "for it": self.support,
            "note": self.notes,
        }
        return tuple(f"{word}: {line}" for word, lines in kinds.items() for line in lines)


def _verdict(said: _Said, told: Forecast, finished: int, few: str, left: str) -> str:
    """The verdict, and in words what it comes from.

    Args:
      said: gets the forecast and the limits.
      told: the forecast.
      finished: settings that can be picked.
      few: why the target says nothing, in words; "" if it does.
      left: why a search left too little to compare, in words; "" if it did not.
    """
    if finished < 2:
        said.forecast.append("none: no other setting was trained to the end and can be judged")
        return "none"
    if few:
        said.limits.append(f"{few}, which makes it low")
    if np.isnan(told.regret):
        said.forecast.append("none: the pick or the ensemble gives all target samples one score")
        return "low"
    said.forecast.append(_forecast_in_words(told))
    if few:
        return "low"
    if left:
        said.limits.append(f"{left}, which keeps it from high")
    if told.regret <= HIGH and not left:
        return "high"
    return "medium" if told.regret <= MEDIUM else "low"


def _forecast_in_words(told: Forecast) -> str:
    """What to expect of the pick, in which range, and what that follows from."""

    def of_pick(regret: float) -> str:
        return f"{abs(regret):.3f} {'below' if regret > 0.0 else 'above'}"

    expected = "about as well as" if told.regret <= HIGH else "worse than"
    return (
        f"the pick should do {expected} the ensemble: its AUROC is expected to be "
        f"{of_pick(told.regret)} ({of_pick(told.high)} to {of_pick(told.low)} on 8 of 10 similar "
        f"development targets); the two have a rank correlation of {1.0 - told.disagreement:.2f}"
    )


def decisive(reasons: Sequence[str]) -> str:
    """Of the reasons of a `Trust` the one that decides: what limits it, if any, else the forecast.

    >>> decisive(["forecast: none", "against it: noise"])
    'none'
    """
    parts = [line.partition(": ") for line in reasons]
    for kind in ("limit", "forecast"):
        for word, _, line in parts:
            if word == kind:
                return line
    return ""


def _say_noise(
    said: _Said, margin: float, stability: float, reliability: float, others: list[str]
) -> None:
    if np.isfinite(margin):
        change = "might" if margin < NOISE else "would hardly"
        line = (
            f"the runner-up's loss is {margin:.1f} standard errors higher, so other seeds {change} "
            "change the pick"
        )
        (said.against if margin < NOISE else said.support).append(line)
    if np.isfinite(stability):
        share = f"{100 * stability:.0f} %"
        line = f"a setting of the pick's family wins on {share} of bootstrap draws of the samples"
        (said.against if stability < 0.8 else said.support).append(line)
    if np.isfinite(reliability):
        alike = f"with a correlation of {reliability:.2f}"
        line = f"two halves of the samples rank the settings {alike}"
        (said.against if reliability < 0.7 else said.support).append(line)
    if others:
        rank = "rules of other kinds rank" if len(others) > 1 else "a rule of another kind ranks"
        said.against.append(f"{rank} the pick in the lower half: {', '.join(others)}")


def _say_null(said: _Said, pool: Pool, seed: int) -> tuple[float, str]:
    """The null, on the target samples that members tell apart if those are few, and that they are.

    In words; "" if they are not few.
    """
    different, few = _different(pool), ""
    if len(different) < FEWEST:
        looks = "looks" if len(different) == 1 else "look"
        few = (
            f"{len(different)} of {sizes(pool)[0]} target samples {looks} different to the "
            f"settings; it takes {FEWEST} to judge by"
        )
        pool = pool.take(different, np.arange(sizes(pool)[1]))
    chance = null(pool, seed)
    if chance > RARE:
        said.against.append(
            f"target and held-out normals may be alike (p = {chance:.2f}): perhaps no anomalies, "
            "or none that any setting sees"
        )
    else:
        said.support.append(f"target and held-out normals differ (p = {chance:.3f})")
    return chance, few


def _say_stopped(said: _Said, pool: Pool, finished: int) -> str:
    """That a search left too few settings to compare, in words; "" if it did not.

    `finished` of them can be picked.
    """
    stopped = len(pool.stopped)
    if stopped:
        said.against.append(
            f"{stopped} of {len(pool.settings)} settings were stopped early, some of which might "
            "have won; only the comparison with held-out normals includes them"
        )
    few = stopped and finished < LEFT
    return f"the search left {finished} settings to compare" if few else ""


def _say_moved(said: _Said, pool: Pool, weights: Mapping[str, float]) -> None:
    """How much of the target lies above where held-out normals lie, by the weights of settings.

    Storey's estimate of the share of anomalies (`detect.prevalence`): twice the share that the
    target lacks below the median of held-out normals.
    """
    target, held_out = pool.own_scores()
    if not held_out.shape[1]:
        return
    below = (target <= np.median(held_out, axis=1, keepdims=True)).mean(1)
    by_key = {s.key: below[pool.rows(s, trained=True)].mean() for s in finished(pool)}
    moved = 1.0 - 2.0 * sum(weight * by_key[key] for key, weight in weights.items())
    if moved > 0.0:
        said.notes.append(
            f"about {100 * moved:.0f} % of the target lie above where held-out normals lie: "
            "anomalies, or normals of another day or place, which scores cannot tell apart; "
            "held-out normals of the target's day and place can"
        )


def _different(pool: Pool) -> np.ndarray:
    """Rows of target samples that members tell apart, no more than `FEWEST` of them."""
    own, held_out = pool.own_scores()
    rows = voters(pool)
    both = np.concatenate([own, held_out], axis=1)[rows]
    own = own[rows] / np.maximum(np.ptp(both, axis=1, keepdims=True), 1e-30)
    found: list[int] = []
    for i, one in enumerate(own.T):
        if all(np.abs(one - own[:, j]).max(initial=0.0) > ALIKE for j in found):
            found.append(i)
            if len(found) == FEWEST:
                break
    return np.array(found, int)


def _control(pool: Pool, rule: str, per_member: np.ndarray, own: float) -> str:
    """The best control by the same rule if it beats the pick; rules on scores alone can tell."""
    if rules.get(rule).needs not in ("scores", "target") or not pool.controls():
        return ""
    means = {c.augmentation: float(np.mean(per_member[pool.rows(c)])) for c in pool.controls()}
    best = min(means, key=means.__getitem__)
    return best if means[best] < own else ""
