"""The snooping audit: what labels would have bought, and how much of it is noise.

*Apparent* figures are chosen and reported on the same labels; *honest* ones are chosen on a random
half of the target and reported on the other. Apparent minus honest is the inflation: noise that
was chosen, and that half of the labels choose less surely than all of them do. Trainings are the
same on both halves, so what a lucky seed does for a whole target is not in it: `Scope.label_pick`
has that.

Halves of one target are complements: of settings that are equal on the whole, the better on one
half is the worse on the other. So an honest figure of one target can fall below expected random.
Over targets this evens out: a setting that is lucky on the whole target gains by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.stats import Estimate, over_draws
from ad_jax.data import Truth
from ad_jax.evaluate.best_of_k import expected_best, numbers, reseeded
from ad_jax.evaluate.label_choices import (
    METRICS,
    STAGES,
    Candidates,
    candidates,
    choices,
    thresholds,
    walk,
)
from ad_jax.evaluate.pools import check_both_classes
from ad_jax.evaluate.split_half import aurocs, half_aurocs, split
from ad_jax.pool import Pool
from ad_jax.train.setting import Setting

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
      reseeded: expected best of settings that differ by training noise alone
        (`best_of_k.reseeded`).
    """

    tried: list[int]
    apparent: list[float]
    honest: list[float]
    relabelled: list[float]
    reseeded: list[float]


@dataclass(frozen=True)
class SplitHalf:
    """The best setting by the labels of one half, both ways on every split.

    Figures are means over splits with the 2.5 and 97.5 % quantiles of the splits, no confidence
    intervals.

    Attributes:
      splits, skipped: used, and left out since a half held one class.
      own, other: its AUROC on the half that chose it, and on the other.
      inflation: own minus other.
      rule: AUROC of the rule's pick on the same halves.
      bought: other minus rule: what labels honestly buy beyond the rule.
    """

    splits: int
    skipped: int
    own: Estimate
    other: Estimate
    inflation: Estimate
    rule: Estimate
    bought: Estimate


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
      stopped: settings that a search dropped early; labels are given the others to choose from.
    """

    stages: list[Stage]
    thresholds: list[Stage]
    curve: Curve
    halves: SplitHalf
    seed: int
    stratified: bool
    notes: list[str] = field(default_factory=list)
    stopped: int = 0


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _stage(
    name: str, metric: str, options: int, apparently: np.ndarray, honestly: np.ndarray
) -> Stage:
    apparent, honest = _mean(apparently), _mean(honestly)
    return Stage(name, metric, options, apparent, honest, apparent - honest)


class _Measured(NamedTuple):
    """AUROC of all candidates, `[…, settings, seeds, heads]`, zero where nothing is usable.

    Attributes:
      among: candidates.
      scores: `[q, n]` of every usable member and head, `places [q, 3]` where they belong.
      whole: `[1, …]` by all labels.
      first: `[splits, n]`, True for half A.
      chosen, reported: `[2 splits, …]` by the half that chooses and the one that reports, half A
        choosing in the first `splits` rows.
    """

    among: Candidates
    scores: np.ndarray
    places: np.ndarray
    whole: np.ndarray
    first: np.ndarray
    chosen: np.ndarray
    reported: np.ndarray


def _scattered(among: Candidates, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.zeros((len(values), *among.usable.shape))
    out[:, *places.T] = values
    return out


def _measured(pool: Pool, among: Candidates, anomalous: np.ndarray, first: np.ndarray) -> _Measured:
    places = np.argwhere(among.usable)
    rows = among.rows[places[:, 0], places[:, 1]]
    scores = np.asarray(pool.scores[rows, places[:, 2]], np.float32)
    whole = _scattered(among, places, aurocs(scores, anomalous[None]))
    a, b = (_scattered(among, places, v) for v in half_aurocs(scores, anomalous, first))
    chosen, reported = np.concatenate([a, b]), np.concatenate([b, a])
    return _Measured(among, scores, places, whole, first, chosen, reported)


def _by_stage(
    pool: Pool, measured: _Measured, anomalous: np.ndarray, generator: np.random.Generator
) -> tuple[list[Stage], list[Stage]]:
    """Stages of AUROC, and of the thresholds."""
    among = measured.among
    draws = max(len(measured.chosen), 1)  # a walk for every lot that ties draw
    everything = np.ones((draws, len(anomalous)), bool)
    whole = np.broadcast_to(measured.whole, (draws, *measured.whole.shape[1:]))
    apparent = walk(among, whole, whole, generator)
    honest = walk(among, measured.chosen, measured.reported, generator)
    options = choices(among, apparent, len(anomalous))
    stages = [
        _stage(name, "AUROC", n, apparent.values[name], honest.values[name])
        for name, n in zip(STAGES, options, strict=False)
    ]
    choosing = np.concatenate([measured.first, ~measured.first])
    tables = [
        thresholds(pool, among, apparent, anomalous, everything, everything),
        thresholds(pool, among, honest, anomalous, choosing, ~choosing),
    ]
    cuts = [
        _stage(name, metric, n, *(table[i, j] for table in tables))
        for j, metric in enumerate(METRICS)
        for i, (name, n) in enumerate([("5 % false positives", 0), ("threshold", options[-1])])
    ]
    return stages, cuts


def _curve(
    measured: _Measured,
    anomalous: np.ndarray,
    permuting: np.random.Generator,
    reseeding: np.random.Generator,
    draws: int,
) -> Curve:
    among = measured.among
    default = measured.places[:, 2] == among.default[measured.places[:, 0]]
    permuted = permuting.permuted(np.tile(anomalous, (draws, 1)), axis=1)
    null = _scattered(among, measured.places[default], aurocs(measured.scores[default], permuted))
    seeds = among.by_default(measured.whole[0])
    noise = reseeded(seeds, among.by_default(among.usable), draws, reseeding)
    tried = numbers(len(among.settings))
    pairs = [(side, side) for side in map(among.means, (measured.whole, null))] + [(noise, noise)]
    pairs.insert(1, (among.means(measured.chosen), among.means(measured.reported)))
    lines = [expected_best(chosen, reported, tried) for chosen, reported in pairs]
    return Curve(tried, *([_mean(values) for values in line] for line in lines))


def _split_half(measured: _Measured, pick: Setting, skipped: int) -> SplitHalf:
    among = measured.among
    chosen, reported = among.means(measured.chosen), among.means(measured.reported)
    everything = [len(among.settings)]

    def both_ways(values: np.ndarray) -> np.ndarray:  # [2 splits] to [splits]
        return values.reshape(2, -1).mean(0)

    apparent, honest = (
        both_ways(expected_best(chosen, side, everything)[0]) for side in (chosen, reported)
    )
    rule = both_ways(chosen[:, among.settings.index(pick)])
    differences = apparent - honest, rule, honest - rule
    estimates = [over_draws(values) for values in (apparent, honest, *differences)]
    return SplitHalf(len(measured.first), skipped, *estimates)


def measure(
    pool: Pool,
    pick: Setting,
    anomalous: np.ndarray,
    seed: int = 0,
    splits: int = SPLITS,
    stratified: bool = True,
    draws: int = DRAWS,
) -> Snooping:
    """`snooping` on opened labels `[n]`, with so many draws of the null lines."""
    if splits < 1:
        raise InputError(f"splits={splits} is too small; take {SPLITS}")
    if len(anomalous) != pool.scores.shape[2]:
        raise InputError(
            f"{len(anomalous)} labels do not fit scores of {pool.scores.shape[2]} samples; give "
            "the truth of the run's target"
        )
    check_both_classes(anomalous)
    among = candidates(pool)
    if pick not in among.settings:
        raise no_finite_scores(pick)
    splitting, permuting, reseeding, ties = np.random.default_rng(seed).spawn(4)
    first, skipped = split(anomalous, splits, splitting, stratified)
    measured = _measured(pool, among, anomalous, first)
    return Snooping(
        *_by_stage(pool, measured, anomalous, ties),
        _curve(measured, anomalous, permuting, reseeding, draws),
        _split_half(measured, pick, skipped),
        seed,
        stratified,
        _notes(pool, among, anomalous, len(first), skipped),
        len(pool.stopped),
    )


def no_finite_scores(pick: Setting) -> InputError:
    """What to raise where a pick cannot be judged."""
    return InputError(
        f"the pick {pick.label} has no finite scores for half of its seeds; rerun `ad-jax select`"
    )


def _notes(
    pool: Pool, among: Candidates, anomalous: np.ndarray, used: int, skipped: int
) -> list[str]:
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
    stopped = len(pool.stopped)
    if stopped:
        notes.append(
            f"{stopped} of the {len(pool.settings)} settings tried were stopped early by the "
            "search: options, best of k and inflation are of those that it left"
        )
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
      InputError: labels of a single class or of another target, a pick without finite scores.
    """
    anomalous = np.asarray(truth.open(reason).anomalous)
    return measure(pool, pick, anomalous, seed, splits, stratified)
