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
from ad_jax.base.stats import Estimate, mean_where, over_draws
from ad_jax.evaluate.pools import on_seeds, picked, trained_rows
from ad_jax.evaluate.split_half import half_aurocs, split
from ad_jax.pool import Pool
from ad_jax.selection import rules
from ad_jax.selection.resampling import RESAMPLED
from ad_jax.selection.rules import Rule

RATES = (0.0, 0.01, 0.05, 0.1, 0.25)
DRAWS = 20
LEAST = 8  # samples that a rule is asked on
BUDGET = 4_000_000  # scores that are looked at in all draws; larger pools get fewer


class DisjointHalves(NamedTuple):
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


class UnlabelledSet(NamedTuple):
    """Both checks of one task; `lacking` says why there are none."""

    halves: DisjointHalves | None
    rates: list[Rate]
    lacking: str


class Judge(NamedTuple):
    """A pool whose rule is asked again on part of the target, and whose new picks are judged.

    Attributes:
      pool, rule: what is asked, and by what.
      scores: `[members, n]` of each member's head; those of untrained members are never looked at.
      anomalous: `[n]` labels.
      rows: `[settings, seeds]`, see `trained_rows`.
      pickable: `[settings]`.
    """

    pool: Pool
    rule: Rule
    scores: np.ndarray
    anomalous: np.ndarray
    rows: np.ndarray
    pickable: np.ndarray

    def by_setting(self, per_member: np.ndarray) -> np.ndarray:
        """Mean over trained seeds: `[..., members]` to `[..., settings]`; NaN without any."""
        return mean_where(on_seeds(per_member, self.rows), self.rows >= 0)

    def losses(self, targets: Sequence[np.ndarray]) -> np.ndarray:
        """Losses `[targets, settings]` on samples of the target; infinite: cannot be picked.

        Held-out normals are all of the pool's. `targets` hold numbers of samples `[k]`.
        """
        held_out = np.arange(self.pool.held_out_scores.shape[2])
        losses = self.by_setting(
            np.stack([self.rule.loss(self.pool.take(t, held_out)) for t in targets])
        )
        return np.where(self.pickable & np.isfinite(losses), losses, np.inf)

    def picks(self, targets: Sequence[np.ndarray], auroc: np.ndarray) -> np.ndarray:
        """`[targets]` AUROC of the pick on each; `auroc` is `[targets, settings]`."""
        pairs = zip(self.losses(targets), auroc, strict=True)
        return np.array([picked(loss, quality) for loss, quality in pairs])


def judge_of(pool: Pool, rule: str, anomalous: np.ndarray) -> Judge:
    """A pool with the rule that is asked again.

    Raises:
      InputError: a rule that the pool cannot serve, or none that follows from single samples, or
        trained members without finite scores.
    """
    served = rules.served(rule, pool)
    if served.needs not in RESAMPLED:
        raise InputError(f"rule {rule} is no function of single samples")
    trained = np.array([m.status == "ok" for m in pool.members])
    scores, _ = pool.own_scores()
    if not np.isfinite(scores[trained]).all():
        raise InputError("some trained members have no finite scores")
    scores = np.where(trained[:, None], scores, 0.0)
    pickable = np.array([pool.pickable(s) for s in pool.settings])
    return Judge(pool, served, scores, anomalous, trained_rows(pool, pool.settings), pickable)


def unlabelled_set(pool: Pool, rule: str, anomalous: np.ndarray, seed: int = 0) -> UnlabelledSet:
    """Both checks of one pool.

    Args:
      pool: of scores; read back from a run's folder.
      rule: that picked.
      anomalous: `[n]` labels.
      seed: of splits and draws.
    """
    try:
        judge = judge_of(pool, rule, anomalous)
    except InputError as error:
        return UnlabelledSet(None, [], str(error))
    draws = int(np.clip(BUDGET // max(judge.scores.size, 1), 2, DRAWS))
    generator = np.random.default_rng(seed)
    first, _ = split(anomalous, draws, generator)
    halves = disjoint_halves(judge, first)
    return UnlabelledSet(halves, shares_of_anomalies(judge, draws, generator), "")


def disjoint_halves(judge: Judge, first: np.ndarray) -> DisjointHalves | None:
    """Picks by one half of the target, judged on the same half and on the other, both ways.

    Args:
      judge: pool, rule and labels.
      first: `[splits, n]`, True for the samples of half A.

    Returns:
      None where a half has fewer than `LEAST` samples, or there is no split.
    """
    if not len(first) or min(first.sum(1).min(), (~first).sum(1).min()) < LEAST:
        return None
    auroc = judge.by_setting(half_aurocs(judge.scores, judge.anomalous, first))
    halves = [[np.flatnonzero(half) for half in side] for side in (first, ~first)]
    seen = np.concatenate([judge.picks(halves[i], auroc[i]) for i in (0, 1)])
    unseen = np.concatenate([judge.picks(halves[1 - i], auroc[i]) for i in (0, 1)])
    return DisjointHalves(
        over_draws(seen),
        over_draws(unseen),
        over_draws(seen - unseen),
        float(np.nanmean(auroc)),
        float(np.nanmax(auroc, axis=2).mean()),
        len(first),
    )


def shares_of_anomalies(judge: Judge, draws: int, generator: np.random.Generator) -> list[Rate]:
    """Picks by sets of the target's samples with each share of `RATES` and with its own.

    Args:
      judge: pool, rule and labels.
      draws: sets of each share; of the whole target and of all normals there is one.
      generator: consumed.
    """
    normals, anomalies = (np.flatnonzero(judge.anomalous == c) for c in (0, 1))
    auroc = judge.by_setting(auroc_rows(judge.scores[:, normals], judge.scores[:, anomalies]))
    random, oracle = float(np.nanmean(auroc)), float(np.nanmax(auroc))
    samples = normals, anomalies
    target_share = float(judge.anomalous.mean())
    out: list[Rate] = []
    sizes: set[tuple[int, int]] = set()
    for share in sorted({*RATES, target_share}):
        size = (len(normals), len(anomalies))
        size = size if share == target_share else sizes_at(share, *size)
        if size[0] < LEAST or size[1] > len(anomalies) or size in sizes:
            continue
        sizes.add(size)  # small targets round several shares to one
        once = share == target_share or size[1] == 0
        targets = [
            np.concatenate([generator.permutation(s)[:k] for s, k in zip(samples, size)])
            for _ in range(1 if once else draws)
        ]
        values = judge.picks(targets, np.repeat(auroc[None], len(targets), 0))
        estimate = Estimate(float(values.mean())) if once else over_draws(values)
        gain = (estimate.value - random) / (oracle - random) if oracle > random else float("nan")
        out.append(Rate(size[1] / sum(size), sum(size), estimate, gain))
    return out


def sizes_at(share: float, normals: int, anomalies: int) -> tuple[int, int]:
    """How many normals and anomalies make a share of anomalies: as many as there are at most.

    >>> sizes_at(0.5, 100, 20), sizes_at(0.1, 90, 20), sizes_at(0.01, 30, 5)
    ((20, 20), (90, 10), (30, 1))
    """
    if share > 0 and share / (1 - share) * normals > anomalies:
        normals = round(anomalies * (1 - share) / share)
    return normals, max(round(share / (1 - share) * normals), int(share > 0))
