"""What the unlabelled set does for a pick: a disjoint half instead, and fewer or more anomalies.

Both ask the rule again on part of the target and judge its new pick by labels. That needs a rule
that follows from scores of single samples; what a run's folder does not hold (embeddings) cannot be
cut afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.ranks import auroc_rows
from ad_jax.base.stats import Estimate
from ad_jax.evaluate.halves import half_aurocs, split
from ad_jax.pool import Pool
from ad_jax.selection import rules
from ad_jax.selection.rules import Rule
from ad_jax.selection.trust import RESAMPLED, Rows

RATES = (0.0, 0.01, 0.05, 0.1, 0.25)
DRAWS = 20
LEAST = 8  # samples that a rule is asked on
BUDGET = 4_000_000  # scores that are looked at in all draws; larger pools get fewer


class Halves(NamedTuple):
    """AUROC on one half of the target, mean over splits and both ways.

    Attributes:
      seen: of the pick by that same half, unlabelled (as in transduction).
      unseen: of the pick by the other half: the rule never saw the samples that it is judged on.
      bought: seen minus unseen, split by split.
      random, oracle: expected random setting and best setting on that half, of those trained to
        the end.
      splits: how many.
    """

    seen: Estimate
    unseen: Estimate
    bought: Estimate
    random: float
    oracle: float
    splits: int


class Rate(NamedTuple):
    """The pick by an unlabelled set of this share of anomalies, judged on the whole target.

    Attributes:
      share: as it came out in whole samples.
      samples: how many the rule saw.
      auroc: mean over draws [2.5 and 97.5 % quantiles of the draws].
      gain: (AUROC - expected random) / (oracle - expected random), of the mean.
    """

    share: float
    samples: int
    auroc: Estimate
    gain: float


class Unlabelled(NamedTuple):
    """Both checks of one task; `lacking` says why there are none."""

    halves: Halves | None
    rates: list[Rate]
    lacking: str


def _spread(values: np.ndarray) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


class _Groups:
    """Members by setting, looked up once: means over trained seeds of any figures of members."""

    def __init__(self, pool: Pool):
        settings = pool.settings
        self.rows = [pool.rows(s, trained=True) for s in settings]
        self.member = np.concatenate([np.array(r, int) for r in self.rows])
        self.setting = np.repeat(np.arange(len(settings)), [len(r) for r in self.rows])
        self.count = np.array([len(r) for r in self.rows])
        self.pickable = np.array([pool.pickable(s) for s in settings])

    def means(self, per_member: np.ndarray) -> np.ndarray:
        """`[..., members]` to `[..., settings]`; NaN without a trained seed."""
        flat = per_member.reshape(-1, per_member.shape[-1])[:, self.member]
        count = np.where(self.count > 0, self.count, np.nan)
        out = [np.bincount(self.setting, row, len(self.count)) / count for row in flat]
        return np.stack(out).reshape(*per_member.shape[:-1], -1)

    def losses(self, pool: Pool, rule: Rule, draws: Sequence[Rows]) -> np.ndarray:
        """Losses of every setting on each of the draws, `[draws, settings]`; infinite: no pick."""
        out = self.means(np.stack([rule.loss(pool.take(*rows)) for rows in draws]))
        return np.where(self.pickable & np.isfinite(out), out, np.inf)


def _picked(losses: np.ndarray, auroc: np.ndarray) -> np.ndarray:
    """AUROC of the lowest loss in every row; settings that tie share the pick."""
    best = losses == losses.min(1, keepdims=True)
    best &= np.isfinite(auroc)
    return np.where(best, auroc, 0.0).sum(1) / np.maximum(best.sum(1), 1)


def unlabelled(pool: Pool, rule: str, anomalous: np.ndarray, seed: int = 0) -> Unlabelled:
    """Both checks of one pool.

    Args:
      pool: of scores; read back from a run's folder.
      rule: that picked.
      anomalous: `[n]` labels.
      seed: of splits and draws.
    """
    try:
        served = rules.served(rule, pool)
    except InputError as error:
        return Unlabelled(None, [], str(error))
    if served.needs not in RESAMPLED:
        return Unlabelled(None, [], f"rule {rule} is no function of single samples")
    own, _ = pool.own_scores()
    trained = np.array([m.status == "ok" for m in pool.members])
    if not np.isfinite(own[trained]).all():
        return Unlabelled(None, [], "some trained members have no finite scores")
    own = np.where(trained[:, None], own, 0.0)  # the others are in no setting's mean
    generator = np.random.default_rng(seed)
    asked = _Asked(
        pool,
        served,
        _Groups(pool),
        own,
        anomalous,
        np.arange(pool.held_out_scores.shape[2]),
        int(np.clip(BUDGET // max(own.size, 1), 2, DRAWS)),
        generator,
    )
    return Unlabelled(_halves(asked), _rates(asked), "")


class _Asked(NamedTuple):
    """A pool, its rule, its members by setting, their own scores, labels, and how often to ask."""

    pool: Pool
    rule: Rule
    groups: _Groups
    own: np.ndarray
    anomalous: np.ndarray
    held_out: np.ndarray
    draws: int
    generator: np.random.Generator


def _halves(asked: _Asked) -> Halves | None:
    first, _ = split(asked.anomalous, asked.draws, asked.generator)
    if not len(first) or min(first.sum(1).min(), (~first).sum(1).min()) < LEAST:
        return None
    groups = asked.groups
    auroc = groups.means(half_aurocs(asked.own, asked.anomalous, first))  # [2, splits, settings]
    losses = [
        groups.losses(
            asked.pool,
            asked.rule,
            [Rows(np.flatnonzero(half), asked.held_out) for half in sides],
        )
        for sides in (first, ~first)
    ]
    seen = np.concatenate([_picked(losses[i], auroc[i]) for i in (0, 1)])
    unseen = np.concatenate([_picked(losses[1 - i], auroc[i]) for i in (0, 1)])
    return Halves(
        _spread(seen),
        _spread(unseen),
        _spread(seen - unseen),
        float(np.nanmean(auroc)),
        float(np.nanmax(auroc, axis=2).mean()),
        len(first),
    )


def _rates(asked: _Asked) -> list[Rate]:
    pool, rule, groups, own, anomalous, held_out, draws, generator = asked
    normal, odd = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    auroc = groups.means(auroc_rows(own[:, normal], own[:, odd]))
    random, oracle = float(np.nanmean(auroc)), float(np.nanmax(auroc))
    out: list[Rate] = []
    known: set[tuple[int, int]] = set()
    for rate in sorted({*RATES, float(anomalous.mean())}):
        ours = rate == float(anomalous.mean())
        normals = len(normal)
        if rate > 0 and rate / (1 - rate) * normals > len(odd):
            normals = round(len(odd) * (1 - rate) / rate)
        count = len(odd) if ours else max(round(rate / (1 - rate) * normals), int(rate > 0))
        if min(normals, len(normal)) < LEAST or count > len(odd) or (count, normals) in known:
            continue
        known.add((count, normals))  # small targets round several rates to one
        once = ours or count == 0
        drawn = [
            Rows(
                np.concatenate(
                    [generator.permutation(normal)[:normals], generator.permutation(odd)[:count]]
                ),
                held_out,
            )
            for _ in range(1 if once else draws)
        ]
        values = _picked(groups.losses(pool, rule, drawn), np.repeat(auroc[None], len(drawn), 0))
        spread = Estimate(float(values.mean())) if once else _spread(values)
        gain = (spread.value - random) / (oracle - random) if oracle > random else float("nan")
        share = count / (count + normals)
        out.append(Rate(share, normals + count, spread, gain))
    return out
