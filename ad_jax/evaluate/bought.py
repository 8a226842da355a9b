"""The snooping audit: what labels would have bought, and how much of it is noise.

*Apparent* figures are chosen and reported on the same labels; *honest* ones are chosen on a random
half of the target and reported on the other. Apparent minus honest is the inflation: noise that
was chosen, and that half of the labels choose less surely than all of them do. Trainings are the
same on both halves, so what a lucky seed does for a whole target is not in it: `Scope.label_pick`
has that.

Halves of one target are complements: of settings that are equal on the whole, the better on one half
is the worse on the other. So an honest figure of one target can fall below expected random. Over
targets this evens out (a setting that is lucky on the whole target gains by it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ad_jax.data import Truth
from ad_jax.errors import InputError
from ad_jax.evaluate.halves import aurocs, half_aurocs, split
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.evaluate.stages import METRICS, STAGES, Candidates, candidates, choices, thresholds
from ad_jax.evaluate.stages import walk as walk_stages
from ad_jax.evaluate.tried import expected_best, numbers, reseeded
from ad_jax.pool import Pool, Setting

SPLITS = 200
DRAWS = 1000  # of permuted labels and of reseeded pools


@dataclass(frozen=True)
class Stage:
    """One thing that labels choose, everything before it chosen too.

    Attributes:
      name: what is chosen; "no labels" and the label-free threshold choose nothing.
      metric: "AUROC", "F1" or "balanced accuracy".
      choices: how many options labels had, 0 where nothing is chosen.
      apparent, honest: the metric; honest is NaN where no split can be used.
      inflation: apparent minus honest.
    """

    name: str
    metric: str
    choices: int
    apparent: float
    honest: float
    inflation: float


@dataclass(frozen=True)
class Curve:
    """AUROC of the best of k settings drawn at random, by mean over seeds and default head.

    Attributes:
      tried: numbers k.
      apparent: expected best by all labels, exact.
      honest: best by one half, on the other.
      relabelled: expected best by labels permuted at random; .5 at k = 1, the excess is noise.
      reseeded: expected best of settings that differ by training noise alone (`tried.reseeded`).
    """

    tried: list[int]
    apparent: list[float]
    honest: list[float]
    relabelled: list[float]
    reseeded: list[float]


@dataclass(frozen=True)
class Spread:
    """Mean over splits, and the 2.5 and 97.5 % quantiles of the splits (no confidence interval)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Halves:
    """The best setting by the labels of one half, both ways on every split.

    Attributes:
      splits, skipped: used, and left out since a half held one class.
      own, other: its AUROC on the half that chose it, and on the other.
      inflation: own minus other.
      rule: AUROC of the rule's pick on the same halves.
      bought: other minus rule: what labels honestly buy beyond the rule.
    """

    splits: int
    skipped: int
    own: Spread
    other: Spread
    inflation: Spread
    rule: Spread
    bought: Spread


@dataclass(frozen=True)
class Snooping:
    """What labels would have bought on one task.

    Attributes:
      stages: AUROC, stage by stage.
      thresholds: F1 and balanced accuracy of what the stages chose, at the threshold of 5 % false
        positives on held-out normals and at the one that labels choose.
      curve: by the number of settings tried.
      halves: the split-half check.
      seed: of splits, permutations, draws and ties.
      stratified: whether the halves hold equally many anomalies.
      notes: what is not available and why, a line each.
    """

    stages: list[Stage]
    thresholds: list[Stage]
    curve: Curve
    halves: Halves
    seed: int
    stratified: bool
    notes: list[str] = field(default_factory=list)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _spread(values: np.ndarray) -> Spread:
    if not values.size:
        return Spread(*[float("nan")] * 3)
    low, high = np.quantile(values, [0.025, 0.975])
    return Spread(_mean(values), float(low), float(high))


def _stage(name: str, metric: str, options: int, *sides: np.ndarray) -> Stage:
    apparent, honest = map(_mean, sides)
    return Stage(name, metric, options, apparent, honest, apparent - honest)


def _laid_out(among: Candidates, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Scores `[q, n]` of every usable member and head, and their places in `[settings, …]`."""
    places = np.argwhere(among.usable)
    rows = among.rows[places[:, 0], places[:, 1]]
    return np.asarray(pool.scores[rows, places[:, 2]], np.float32), places


def _scattered(among: Candidates, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`[rows, q]` to `[rows, settings, seeds, heads]`, zero where nothing is usable."""
    out = np.zeros((len(values), *among.usable.shape))
    out[:, *places.T] = values
    return out


def measure(
    pool: Pool,
    pick: Setting,
    anomalous: np.ndarray,
    seed: int = 0,
    splits: int = SPLITS,
    stratified: bool = True,
) -> Snooping:
    """`snooping` on opened labels `[n]`, both classes in them."""
    among = candidates(pool)
    if pick not in among.settings:
        raise InputError(
            f"the pick {pick.label} has no finite scores for half of its seeds; rerun "
            "`ad-jax select`"
        )
    names = ("splits", "permutations", "reseeded", "ties")
    generators = dict(zip(names, np.random.default_rng(seed).spawn(len(names)), strict=True))
    first, skipped = split(anomalous, splits, generators["splits"], stratified)
    scores, places = _laid_out(among, pool)
    whole = _scattered(
        among, places, aurocs(scores, anomalous[None])
    )  # [1, settings, seeds, heads]

    def by_halves() -> np.ndarray:  # [2, splits, settings, seeds, heads]
        both = half_aurocs(scores, anomalous, first)
        return np.stack([_scattered(among, places, side) for side in both])

    halves = by_halves()
    chosen = np.concatenate([halves[0], halves[1]])
    reported = np.concatenate([halves[1], halves[0]])
    in_first = np.concatenate([first, ~first])
    everything = np.ones((max(splits, 1), len(anomalous)), bool)  # ties: a walk for every lot
    repeated = np.broadcast_to(whole, (len(everything), *whole.shape[1:]))
    apparent = walk_stages(among, repeated, repeated, generators["ties"])
    honest = walk_stages(among, chosen, reported, generators["ties"])
    count = choices(among, apparent, len(anomalous))
    stages = [
        _stage(name, "AUROC", n, apparent.values[name], honest.values[name])
        for name, n in zip(STAGES, count, strict=False)
    ]
    tables = [
        thresholds(pool, among, apparent, anomalous, everything, everything),
        thresholds(pool, among, honest, anomalous, in_first, ~in_first),
    ]
    cuts = [
        _stage(name, metric, n, *(table[i, j] for table in tables))
        for j, metric in enumerate(METRICS)
        for i, (name, n) in enumerate([("5 % false positives", 0), ("threshold", count[-1])])
    ]

    by, of = among.means(chosen), among.means(reported)
    tried = numbers(len(among.settings))
    permuted = generators["permutations"].permuted(np.tile(anomalous, (DRAWS, 1)), axis=1)
    own_rows = places[:, 2] == among.default[places[:, 0]]
    null = _scattered(among, places[own_rows], aurocs(scores[own_rows], permuted))
    null = among.means(null)
    noise = reseeded(
        among.by_default(whole[0]), among.by_default(among.usable), DRAWS, generators["reseeded"]
    )
    all_labels = among.means(whole)
    lines = [(all_labels, all_labels), (by, of), (null, null), (noise, noise)]
    curve = Curve(
        tried,
        *([_mean(v) for v in expected_best(chose, told, tried)] for chose, told in lines),
    )

    tops = [expected_best(by, side, [len(among.settings)])[0] for side in (by, of)]
    own, other = (top.reshape(2, -1).mean(0) for top in tops)  # both ways of a split together
    rule = by[:, among.settings.index(pick)].reshape(2, -1).mean(0)
    spreads = [_spread(v) for v in (own, other, own - other, rule, other - rule)]
    return Snooping(
        stages,
        cuts,
        curve,
        Halves(len(first), skipped, *spreads),
        seed,
        stratified,
        _notes(among, anomalous, len(first), skipped),
    )


def _notes(among: Candidates, anomalous: np.ndarray, used: int, skipped: int) -> list[str]:
    notes = ["training step: not available, the pool keeps one training step"]
    rare = int(min(anomalous.sum(), (1 - anomalous.astype(int)).sum()))
    if skipped and rare < 2:
        notes.append("honest figures: not available, one class has a single sample")
    elif skipped:
        notes.append(f"{skipped} of {used + skipped} splits left out: a half held a single class")
    if among.usable.shape[1] < 2:
        notes.append("seed and reseeded line: not available, the pool has one seed")
    if len(among.families) < 2:
        notes.append("family: one only, nothing to choose")
    if len(among.settings) < 2:
        notes.append("best of k: one setting only, nothing to choose")
    if among.left_out:
        notes.append(f"{among.left_out} trained members without finite scores left out")
    return notes


def snooping(
    pool: Pool,
    pick: Setting,
    truth: Truth,
    seed: int = 0,
    splits: int = SPLITS,
    stratified: bool = True,
    reason: str = "snooping audit",
) -> Snooping:
    """Opens the truth and measures what choosing by it would have bought.

    Args:
      pool, pick: of a `Selection`, or read back from its folder.
      truth: sealed labels of the same target.
      seed: of splits, permutations, draws and ties; the same seed gives the same figures.
      splits: random halves of the target, at least 1.
      stratified: halve normals and anomalies apart.
      reason: goes into the log of openings.

    Raises:
      InputError: labels of a single class, or a pick without finite scores.
    """
    if splits < 1:
        raise InputError(f"splits={splits} is too small; take 200")
    anomalous = np.asarray(truth.open(reason).anomalous)
    if anomalous.min() == anomalous.max():
        raise InputError("all labels are equal, so AUROC is undefined; audit needs both classes")
    return measure(pool, pick, anomalous, seed, splits, stratified)


def snooping_summary(tasks: Mapping[str, Snooping], trainings: Mapping[str, str]) -> dict[str, Any]:
    """Means over tasks, with 95 % bootstrap intervals over training sets.

    Args:
      tasks: task -> audit; those without honest figures are left out.
      trainings: task -> training-set fingerprint; tasks that share one are not independent.

    Returns:
      tasks, training_sets; "halves" and "stages": name -> mean, low, high of every figure.
    """
    used = {t: s for t, s in tasks.items() if np.isfinite(s.halves.other.mean)}
    groups = [trainings[t] for t in used]

    def over(values: Sequence[float]) -> dict[str, float]:
        known = np.array(values, float)
        if not np.isfinite(known).any():
            return dict.fromkeys(("mean", "low", "high"), float("nan"))
        low, high = over_training_sets(groups, lambda rows: float(np.nanmean(known[rows])))
        return {"mean": float(np.nanmean(known)), "low": low, "high": high}

    def every(stages: Sequence[Sequence[Stage]]) -> dict[str, Any]:
        return {
            f"{column[0].name}, {column[0].metric}": {
                name: over([getattr(stage, name) for stage in column])
                for name in ("apparent", "honest", "inflation")
            }
            for column in zip(*stages, strict=True)
        }

    return {
        "tasks": len(used),
        "training_sets": len(set(groups)),
        "halves": {
            name: over([getattr(s.halves, name).mean for s in used.values()])
            for name in ("own", "other", "inflation", "rule", "bought")
        },
        "stages": every([[*s.stages, *s.thresholds] for s in used.values()]),
    }
