"""How much every setting of a pool says: a prior that evidence moves as far as it beats noise.

The prior gives every family the same, and in a family every setting. Evidence is a setting's lead
by a rule of scores over the prior's mean, in standard errors of a bootstrap that draws target and
held-out normals for all settings at once; its weight grows by `exp(PULL z)`. So settings that noise
alone tells apart keep about their prior, and where target and held-out normals look alike
(`trust.null`) the prior stands as it is.

On the shelf of networks trained from scratch (34 tasks) the mean surprise by these weights is, on
the mean, never below that by the prior, at no share of anomalies (results/ensemble.txt).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ad_jax.base import ranks
from ad_jax.pool import Pool
from ad_jax.selection import rules
from ad_jax.selection.trust import RARE, draw, null, resampled
from ad_jax.train.setting import Setting

PULL = 0.3  # of one standard error, on the log weight
MOST = 10.0  # standard errors that count: no weight grows or falls by more than e^3
DRAWS = 50
RULE = "several_tails"


def finished(pool: Pool) -> list[Setting]:
    """Settings that may have a weight: those that can be picked."""
    return [setting for setting in pool.settings if pool.pickable(setting)]


def prior(pool: Pool) -> dict[str, float]:
    """Weight of every finished setting by its key; they sum to 1."""
    settings = finished(pool)
    families = [setting.family for setting in settings]
    share = 1.0 / max(1, len(set(families)))
    return {s.key: share / families.count(s.family) for s in settings}


def leads(pool: Pool, seed: int = 0) -> dict[str, float]:
    """How far every finished setting is ahead of the prior's mean, in standard errors.

    Nothing is known (0) of a setting that noise does not tell from the mean.
    """
    before = prior(pool)
    generator = np.random.default_rng(seed)
    own = np.array(list(before.values()))
    known = [s.key in before for s in pool.settings]
    drawn = [draw(pool, generator) for _ in range(DRAWS)]
    losses = np.stack([list(rules.losses(pool, RULE).values()), *resampled(pool, RULE, drawn)])[
        :, known
    ]
    ahead = losses @ own[:, None] - losses  # [1 + draws, settings]
    error = ahead[1:].std(0)
    z = np.divide(ahead[0], error, out=np.zeros_like(error), where=error > 0)
    z = np.clip(np.where(np.isfinite(z), z, 0.0), -MOST, MOST)
    return dict(zip(before, z.tolist(), strict=True))


def weights(pool: Pool, seed: int = 0, unlike: bool | None = None) -> dict[str, float]:
    """Weight of every finished setting by its key; they sum to 1.

    Args:
      pool: of a target that is told by single samples and held-out normals; without evidence, or
        where the null stands, the prior comes back as it is.
      seed: of bootstrap and permutations.
      unlike: whether the null was rejected; None asks it here.
    """
    before = prior(pool)
    if len(before) < 2 or RULE not in rules.available(pool):
        return before
    if not (null(pool, seed) <= RARE if unlike is None else unlike):
        return before
    ahead = leads(pool, seed)
    moved = {key: value * float(np.exp(PULL * ahead[key])) for key, value in before.items()}
    total = sum(moved.values())
    return {key: value / total for key, value in moved.items()}


def surprises(pool: Pool) -> dict[str, np.ndarray]:
    """Surprise `[n]` of the target by every finished setting, the mean over its trained seeds."""
    target, held_out = pool.own_scores()
    return {
        s.key: np.mean(
            [np.asarray(ranks.surprise(held_out[i], target[i])) for i in pool.rows(s, True)], axis=0
        )
        for s in finished(pool)
    }


def mean_surprise(pool: Pool, some: Mapping[str, float]) -> np.ndarray:
    """Weighted mean surprise `[n]` of the target."""
    own = surprises(pool)
    return np.sum([weight * own[key] for key, weight in some.items()], axis=0)


def crossed(pool: Pool, seed: int = 0) -> np.ndarray:
    """`mean_surprise` `[n]` where no sample of the target is judged by weights that it moved.

    The target is cut in two; each half is scored by the weights of the other one.
    """
    count, kept = pool.scores.shape[2], np.arange(pool.held_out_scores.shape[2])
    order = np.random.default_rng(seed).permutation(count)
    halves = order[::2], order[1::2]
    out = np.empty(count)
    for shown, scored in (halves, halves[::-1]):
        some = weights(pool.take(np.sort(shown), kept), seed)
        out[scored] = mean_surprise(pool.take(scored, kept), some)
    return out
