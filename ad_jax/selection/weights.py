"""How much every setting of a pool says: a prior that evidence moves as far as it beats noise.

The prior gives every family the same, and in a family every setting. Evidence is the order-31
Wilcoxon statistic of target against held-out normals (`rules.tails`): a setting's lead over the
prior's mean, in standard errors of a bootstrap that draws target and held-out normals for all
settings at once. Its weight grows by `exp(PULL gate z)`. The gate opens from 0 to 1 as the largest
statistic of any setting grows from `CLOSED` to `OPEN` of its own standard errors: where no setting
finds the target stranger than held-out normals, the prior stands as it is, to the bit. A target
that differs from held-out normals for another reason opens it, too.

Order, pull and gate were chosen on the 34 tasks of networks trained from scratch; those of frozen
features were not looked at (experiments/results/ensemble.txt).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.pool import Pool
from ad_jax.selection.rules.tails import order_statistic
from ad_jax.selection.trust import draw
from ad_jax.train.setting import Setting

ORDER = 31
PULL = 0.3  # of one standard error, on the log weight
MOST = 10.0  # standard errors that count: no weight grows or falls by more than e^3
CLOSED, OPEN = 1.0, 4.0
DRAWS = 60


def finished(pool: Pool) -> list[Setting]:
    """Settings that may have a weight: those that can be picked."""
    return [setting for setting in pool.settings if pool.pickable(setting)]


def prior(pool: Pool) -> dict[str, float]:
    """Weight of every finished setting by its key; they sum to 1."""
    settings = finished(pool)
    families = [setting.family for setting in settings]
    share = 1.0 / max(1, len(set(families)))
    return {s.key: share / families.count(s.family) for s in settings}


class Evidence(NamedTuple):
    """What a target says of a pool's settings.

    Attributes:
      leads: setting key -> how far it is ahead of the prior's mean, in standard errors.
      strongest: largest statistic of a setting, in its own standard errors.
    """

    leads: dict[str, float]
    strongest: float

    @property
    def gate(self) -> float:
        """How far the weights follow the leads, 0 to 1."""
        return float(np.clip((self.strongest - CLOSED) / (OPEN - CLOSED), 0.0, 1.0))


def evidence(pool: Pool, seed: int = 0) -> Evidence:
    """Leads of every finished setting, and whether any sees more than noise.

    Args:
      pool: whose target and held-out normals are drawn anew, for all settings at once.
      seed: of the bootstrap.
    """
    before = prior(pool)
    members = [pool.rows(s, trained=True) for s in finished(pool)]
    target, held_out = pool.own_scores()
    generator = np.random.default_rng(seed)

    def statistic(some: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        values = order_statistic(held_out[:, some[1]], target[:, some[0]], ORDER)
        return np.array([values[rows].mean() for rows in members])

    everyone = (np.arange(target.shape[1]), np.arange(held_out.shape[1]))
    own = statistic(everyone)
    drawn = np.stack([statistic(draw(pool, generator)) for _ in range(DRAWS)])
    share = np.array(list(before.values()))
    ahead, noise = own - own @ share, drawn - (drawn @ share)[:, None]
    leads, strong = (
        np.clip(np.divide(x, s, out=np.zeros_like(x), where=s > 0), -MOST, MOST)
        for x, s in ((ahead, noise.std(0)), (own, drawn.std(0)))
    )
    return Evidence(dict(zip(before, leads.tolist(), strict=True)), float(strong.max()))


def weights(pool: Pool, seed: int = 0) -> dict[str, float]:
    """Weight of every finished setting by its key; they sum to 1.

    Args:
      pool: without held-out normals, or without evidence, the prior comes back as it is.
      seed: of the bootstrap.
    """
    before = prior(pool)
    if len(before) < 2 or not pool.held_out_scores.shape[2]:
        return before
    return followed(before, evidence(pool, seed))


def followed(before: dict[str, float], found: Evidence) -> dict[str, float]:
    """Weights by setting key, moved from those before as far as the evidence goes."""
    if not found.gate:
        return before
    pull = PULL * found.gate
    moved = {key: value * float(np.exp(pull * found.leads[key])) for key, value in before.items()}
    total = sum(moved.values())
    return {key: value / total for key, value in moved.items()}


def surprises(pool: Pool) -> dict[str, np.ndarray]:
    """Surprise `[n]` of the target by every finished setting, the mean over its trained seeds."""
    target, held_out = pool.own_scores()
    out = {}
    for setting in finished(pool):
        rows = pool.rows(setting, trained=True)
        among = held_out[rows]
        if among.shape[1] == 1:  # as a detector does, `State.among`
            among = np.repeat(np.unique(among)[None], len(rows), axis=0)
        own = [np.asarray(ranks.surprise(a, target[i])) for a, i in zip(among, rows, strict=True)]
        out[setting.key] = np.mean(own, axis=0)
    return out


def mixed(own: Mapping[str, np.ndarray], some: Mapping[str, float]) -> np.ndarray:
    """Weighted mean `[n]` of the settings' surprise by their keys."""
    return np.sum([weight * own[key] for key, weight in some.items()], axis=0)


def mean_surprise(pool: Pool, some: Mapping[str, float]) -> np.ndarray:
    """Weighted mean surprise `[n]` of the target."""
    return mixed(surprises(pool), some)


def keep(pool: Pool, some: Mapping[str, float], count: int) -> dict[str, float]:
    """The weights of `count` settings whose mean surprise is nearest to that of all.

    Forward selection by the squared difference over the target; no label and no order of settings
    has a say in it. The weights that are left sum to 1.
    """
    own = surprises(pool)
    whole = mixed(own, some)
    kept: dict[str, float] = {}
    total = np.zeros_like(whole)
    while len(kept) < min(count, len(some)):
        far = {
            key: ((total + w * own[key]) / (sum(kept.values()) + w) - whole) ** 2
            for key, w in some.items()
            if key not in kept and w > 0
        }
        if not far:
            break
        best = min(far, key=lambda key: far[key].sum())
        kept[best] = some[best]
        total = total + some[best] * own[best]
    share = sum(kept.values())
    return {key: weight / share for key, weight in kept.items()}


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
