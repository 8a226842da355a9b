"""Thresholds without anomalies: p-values by rank among held-out normals, and what they promise.

**The p-value.** A detector's score is the mean over its seeds of the surprise among each seed's
own held-out normals. Its p-value is the split-conformal one (Vovk, Gammerman & Shafer 2005):
`(1 + calibration scores at least as high) / (N + 1)` among the scores of N held-out normals, each
by those seeds that did not train on it. So it falls with the score, `p <= alpha` is the same as a
score above `threshold(alpha)`, and levels below `1 / (N + 1)` cannot be attained.

**What is proven.** A normal sample that is exchangeable with the held-out ones (a fresh sample, and
held-out normals that were not used to choose the setting) has

- one seed: `P(p <= alpha) <= alpha`, for every N;
- several seeds, `proven`: twice the mean of the seeds' own p-values has `P <= alpha` however the
  seeds depend on each other (Rüschendorf 1982; Vovk & Wang 2020); the mean itself only
  `P <= 2 alpha`. It needs `2 / (m + 1) <= alpha` for m held-out normals a seed, and one seed that
  is blind to an anomaly hides it;
- several seeds, as they are: nothing is proven. Held-out scores come from fewer seeds than a new
  sample's score, so they spread more, and the realised rate is mostly at or below alpha: in
  simulations over tails (normal, heavy, skewed, bimodal, ties) and dependences of seeds
  (tests/test_calibration.py) .00 to .06 at alpha = .05 with ten held-out normals a seed or more
  (.065 with ties, .07 where the seeds' scores are bimodal and independent), while the mean of
  p-values gives .00 to .04 and twice it .00 to .02. Where 20 normals, five a seed, just attain .05
  it is .04 to .07 (there .08): five are too few for the tails by which the seeds are joined.

**One held-out normal a seed** (fewer than 8 normals): it tells no scale, so every score is compared
with the held-out ones of all seeds, as if seeds scored in one unit. Nothing is proven; with N
held-out normals in all no p-value is below `1 / (N + 1)`, so that .05 takes 19 normals. In
simulations at that smallest level (normal and Cauchy, seeds independent or not; tests/test_few.py)
.38 of normals were flagged where .33 were asked for (two normals), .13 to .20 at .25 (three), .11
to .16 at .20 (four), .13 to .17 at .17 (five), .04 to .11 at .13 (seven).

**Anomalies among the normals** raise the held-out scores: fewer samples are flagged, not more.
**A target that chose the setting** by the same held-out normals flatters it: the more settings, the
more p-values of normals lie below alpha; `experiments/studies/false_positives.py` measures it.
**An ensemble**, whose weights the target moved, is flattered in its scores alone: no weight enters
`proven` (docs/guide/ensemble.md; `experiments/studies/ensemble_false_positives.py` measures it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.errors import InputError

SLACK = 1e-9  # rounding of alpha (N + 1)


class Calibration(NamedTuple):
    """Scores of held-out normals, and the seeds' own scores of them.

    Attributes:
      scores: `[N]` ascending: every held-out normal once.
      held_out: `[seeds, m]` ascending, of each seed alone.
    """

    scores: np.ndarray
    held_out: np.ndarray

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """P-values `[n]` of scores `[n]`, in `[1 / (N + 1), 1]`."""
        return ranks.p_values_rows(self.scores[None], scores[None])[0]

    def seed_p_values(self, raw: np.ndarray) -> np.ndarray:
        """P-values `[seeds, n]` of each seed alone, from the seeds' own scores `[seeds, n]`."""
        return ranks.p_values_rows(self.held_out, raw)

    def proven(self, raw: np.ndarray) -> np.ndarray:
        """P-values `[n]` with `P(p <= alpha) <= alpha` whatever the seeds' dependence.

        Twice the mean over seeds, at most 1; with one seed its own.
        """
        own = self.seed_p_values(raw)
        return own[0] if len(own) == 1 else np.minimum(2.0 * own.mean(axis=0), 1.0)

    def needed(self, alpha: float, proven: bool = False) -> int:
        """Held-out normals (with `proven` a seed) that the level alpha needs."""
        return needed(alpha, self._factor(proven))

    def smallest(self, proven: bool = False) -> float:
        """The smallest attainable alpha."""
        return self._factor(proven) / (self._count(proven) + 1)

    def _factor(self, proven: bool) -> int:
        """By what the mean of the seeds' p-values is multiplied."""
        return 2 if proven and len(self.held_out) > 1 else 1

    def _count(self, proven: bool) -> int:
        """Held-out normals, with `proven` of one seed."""
        return self.held_out.shape[1] if proven else len(self.scores)

    def check(self, alpha: float, proven: bool = False) -> float:
        """Refuses levels out of (0, 1) or below the smallest attainable one.

        Raises:
          InputError: names the held-out normals that alpha needs.
        """
        return self.check_attainable("alpha", alpha, proven)

    def check_attainable(self, name: str, value: object, proven: bool = False) -> float:
        """`check` of a level of another name."""
        level = check_level(name, value)
        if level < self.smallest(proven) - SLACK:
            factor, count = self._factor(proven), self._count(proven)
            raise InputError(unattainable(name, level, count, factor, " a seed" * proven))
        return level

    def threshold(self, alpha: float) -> float:
        """The score above which p is at most alpha.

        Raises:
          InputError: an alpha that so few held-out normals cannot attain.
        """
        alpha = self.check(alpha)
        above = math.floor(alpha * (len(self.scores) + 1) + SLACK) - 1
        return float(self.scores[len(self.scores) - 1 - min(above, len(self.scores) - 1)])


def rounded_up(level: float) -> float:
    """A level to four digits, never below it: what is said to be attainable has to be."""
    return math.ceil(1e4 * level) / 1e4


def needed(level: float, factor: int = 1) -> int:
    """Held-out normals of which `factor / (n + 1)` attains the level."""
    return max(math.ceil(factor / level - 1 - SLACK), 1)


def unattainable(name: str, level: float, count: int, factor: int = 1, a_seed: str = "") -> str:
    """The one line that says so of `count` held-out normals, and what can be attained."""
    least = rounded_up(factor / (count + 1))
    return (
        f"{name}={level:g} is unattainable: it needs n = {needed(level, factor)} held-out "
        f"normals{a_seed} and there are {count}; take {name}={least:g} or more, or give more "
        "normals"
    )


def check_level(name: str, value: object) -> float:
    """A number above 0 and below 1.

    Raises:
      InputError: anything else.
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{name}={value!r} is no number; give one like 0.05") from None
    if not 0.0 < number < 1.0:
        raise InputError(f"{name}={number:g} is out of range; give one above 0 and below 1")
    return number


def left_out(held_out: np.ndarray) -> np.ndarray:
    """Surprise `[m]` of each of `held_out [m]` among the others, as `ranks.surprise` has it.

    Below three samples there are too few others: then among all.
    """
    order = np.argsort(held_out, kind="stable")
    x = np.asarray(held_out, np.float64)[order]
    count = len(x)
    if count < 3:
        out = -np.log((count - np.arange(count)) / (count + 1.0))
    else:
        out = np.empty(count)
        place = np.arange(1, count - 1)
        low, high = -np.log((count - place) / count), -np.log((count - 1 - place) / count)
        width = x[2:] - x[:-2]
        share = np.divide(x[1:-1] - x[:-2], width, out=np.ones_like(width), where=width > 0)
        out[1:-1] = low + share * (high - low)
        out[0] = -np.log((count - 1) / count) - (x[1] - x[0]) / ranks.tail_scale(x[1:])
        out[-1] = np.log(count) + (x[-1] - x[-2]) / ranks.tail_scale(x[:-1])
    back = np.empty(count)
    back[order] = out
    return back


def _left_out(held_out: np.ndarray, folds: Sequence[int]) -> np.ndarray:
    """`left_out` `[seeds, m]` of every seed's; where each has one, among those of all folds."""
    if held_out.shape[1] > 1:
        return np.stack([left_out(own) for own in held_out])
    each = by_fold(held_out, folds)
    alone = dict(zip(each, left_out(np.concatenate(list(each.values()))), strict=True))
    return np.array([[alone[fold]] for fold in folds])


def by_fold(
    values: np.ndarray, folds: Sequence[int], weights: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """Per fold the mean `[m]` over its seeds of `values [seeds, m]`: every held-out normal once.

    With `weights [seeds]` the weighted mean.
    """
    out = {}
    for fold in dict.fromkeys(folds):
        rows = [i for i, f in enumerate(folds) if f == fold]
        out[fold] = np.average(values[rows], 0, None if weights is None else weights[rows])
    return out


def calibrate(
    held_out: np.ndarray,
    inside: np.ndarray,
    folds: Sequence[int],
    weights: np.ndarray | None = None,
) -> tuple[Calibration, dict[int, np.ndarray]]:
    """Calibration of a detector.

    A held-out normal is scored like a new sample: among the others. It never scores less than a new
    sample with its values would, so that ties count against flagging. With one seed all that
    matters is the order, which is exact as it stands.

    Args:
      held_out: `[seeds, m]` scores of each seed's own held-out normals.
      inside: `[seeds, m]` their surprise among all of them.
      folds: per seed, which normals these are.
      weights: per seed; None for all alike.

    Returns:
      The calibration, and per fold the scores `[m]` of its normals in their own order.
    """
    scored = np.asarray(inside, np.float64)
    if len(folds) > 1:
        scored = np.maximum(scored, _left_out(held_out, folds))
    means = by_fold(scored, folds, weights)
    each = {fold: own.astype(np.float32) for fold, own in means.items()}
    return Calibration(np.sort(np.concatenate(list(each.values()))), np.sort(held_out)), each


def check_false_discovery(calibration: Calibration, share: object, proven: bool = False) -> float:
    """Refuses shares of false discoveries that no batch could attain.

    Raises:
      InputError: names the held-out normals that it needs.
    """
    return calibration.check_attainable("false_discovery", share, proven)


def false_discovery_cut(counts: Mapping[float, int], share: float) -> float:
    """Largest p-value that Benjamini & Hochberg (1995) reject; 0 if they reject none.

    With p-values of one seed, which all stand against the same held-out normals and so depend
    positively (PRDS: Bates, Candès, Lei, Romano & Sesia, Annals of Statistics 2023), the expected
    share of normals among the flagged is at most `share`. For several seeds this is not proven, as
    their p-values themselves are not. Few levels of p make it blunt: to flag any of n samples, at
    least `n / (share (N + 1))` of them must stand above all N held-out normals.

    Args:
      counts: p-value -> how many samples have it.
      share: expected share of false ones among the flagged, in (0, 1).
    """
    total = sum(counts.values())
    cut, seen = 0.0, 0
    for p in sorted(counts):
        seen += counts[p]
        if p <= share * seen / total + 1e-12:
            cut = p
    return cut
