"""Labels choose, stage by stage: family, hyperparameter, score head, seed, threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.stats import mean_where
from ad_jax.evaluate.best_of_k import DIGITS
from ad_jax.evaluate.pools import trained_rows
from ad_jax.evaluate.split_half import BLOCK
from ad_jax.pool import Pool
from ad_jax.train.setting import Setting

FALSE_POSITIVES = 0.05  # share of held-out normals above the label-free threshold
STAGES = ("no labels", "family", "hyperparameter", "score head", "seed")
METRICS = ("F1", "balanced accuracy")


class Candidates(NamedTuple):
    """What labels can choose from: the settings trained with at least half of the seeds.

    Those that a search stopped early are not among them.

    Attributes:
      settings: in the order of the pool.
      rows: `[settings, seeds]` members, -1 where none was trained.
      default: `[settings]` index of the head that the pretext names.
      usable: `[settings, seeds, heads]`, trained and finite.
      left_out: trained members without finite scores.
    """

    settings: list[Setting]
    rows: np.ndarray
    default: np.ndarray
    usable: np.ndarray
    left_out: int

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(s.family for s in self.settings))

    def by_default(self, values: np.ndarray) -> np.ndarray:
        """Values `[..., settings, seeds, heads]` at the default head `[..., settings, seeds]`."""
        return np.take_along_axis(
            values, self.default.reshape((1,) * (values.ndim - 3) + (-1, 1, 1)), -1
        )[..., 0]

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean over seeds, default head: `[..., settings, seeds, heads]` to `[..., settings]`."""
        return mean_where(self.by_default(values), self.by_default(self.usable))


def candidates(pool: Pool) -> Candidates:
    """The settings of a pool that labels can choose from; may be none."""
    finite = np.isfinite(pool.scores).all(-1)
    rows = trained_rows(pool, pool.settings)
    trained = rows >= 0
    judged = trained & finite[rows, pool.default_head[rows]]
    left_out = int((trained & ~judged).sum())
    enough = 2 * judged.sum(1) >= rows.shape[1]
    judged = judged[enough]
    members = np.where(judged, rows[enough], -1)
    usable = finite[members] & judged[:, :, None]
    usable &= (usable | ~judged[:, :, None]).all(1)[:, None]  # a head has to serve all seeds
    default = pool.default_head[members.max(1, initial=-1)]
    settings = [s for s, kept in zip(pool.settings, enough, strict=True) if kept]
    return Candidates(settings, members, default, usable, left_out)


def _choose(values: np.ndarray, allowed: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Index of the best allowed option of every row `[rows]`; a tie is broken at random."""
    values = np.where(allowed, np.round(values, DIGITS), -np.inf)
    lots = generator.random(values.shape)
    return np.where(values == values.max(1, keepdims=True), lots, -1.0).argmax(1)


class Walk(NamedTuple):
    """Outcome of labels choosing in turn, `rows` times.

    Attributes:
      values: stage -> `[rows]` AUROC by the reporting labels.
      setting, head, seed: `[rows]` what was chosen in the end.
    """

    values: dict[str, np.ndarray]
    setting: np.ndarray
    head: np.ndarray
    seed: np.ndarray


def walk(
    among: Candidates, chosen: np.ndarray, reported: np.ndarray, generator: np.random.Generator
) -> Walk:
    """Labels choose in turn, and what was chosen before stays chosen.

    The family by its mean over settings, then a setting of it by its mean over seeds, then a score
    head by its mean over the setting's seeds, then the seed.

    Args:
      among: candidates.
      chosen: `[rows, settings, seeds, heads]` AUROC by the labels that choose.
      reported: the same by the labels that report.
      generator: consumed by ties.
    """
    here = np.arange(len(chosen))
    place = {name: i for i, name in enumerate(among.families)}
    family = np.array([place[s.family] for s in among.settings])
    member_of = np.eye(len(place))[family]  # [settings, families]
    member_of = member_of / member_of.sum(0)
    by, of = among.means(chosen), among.means(reported)
    values = {"no labels": of.mean(1)}
    best = _choose(by @ member_of, np.ones((1, member_of.shape[1]), bool), generator)
    values["family"] = (of @ member_of)[here, best]
    setting = _choose(by, family[None] == best[:, None], generator)
    values["hyperparameter"] = of[here, setting]
    usable = among.usable[setting]  # [rows, seeds, heads]
    by, of = (np.where(usable, side[here, setting], 0.0) for side in (chosen, reported))
    count = np.maximum(usable.sum(1), 1)
    head = _choose(by.sum(1) / count, usable.any(1), generator)
    values["score head"] = (of.sum(1) / count)[here, head]
    seed = _choose(by[here, :, head], usable[here, :, head], generator)
    values["seed"] = of[here, seed, head]
    return Walk(values, setting, head, seed)


def _metrics(
    true: np.ndarray, false: np.ndarray, anomalies: np.ndarray, normals: np.ndarray
) -> np.ndarray:
    """F1 and balanced accuracy `[2, ...]` from true and false positives and the classes' sizes."""
    f1 = 2 * true / np.maximum(true + false + anomalies, 1)
    return np.stack([f1, (true / anomalies + 1 - false / normals) / 2])


def quality_at(flagged: np.ndarray, anomalous: np.ndarray, where: np.ndarray) -> np.ndarray:
    """F1 and balanced accuracy `[2, rows]` of flags `[rows, n]` on samples `where [rows, n]`."""
    anomalies, normals = where & (anomalous == 1), where & (anomalous == 0)
    true, false = ((flagged & side).sum(1) for side in (anomalies, normals))
    return _metrics(true, false, anomalies.sum(1), normals.sum(1))


def best_thresholds(scores: np.ndarray, anomalous: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Thresholds that maximise F1 and balanced accuracy, the highest of equals.

    Args:
      scores: `[rows, n]`; every one of them is tried as a threshold (flagged: score >= it).
      anomalous: `[n]`.
      where: `[rows, n]` samples whose labels are known.

    Returns:
      `[2, rows]`.
    """
    order = (-scores).argsort(1, kind="stable")
    ordered = np.take_along_axis(scores, order, 1)
    true, false = (np.take_along_axis(where & (anomalous == c), order, 1).cumsum(1) for c in (1, 0))
    values = _metrics(true, false, true[:, -1:], false[:, -1:])
    last = np.ones(scores.shape, bool)  # of those tied with it
    last[:, :-1] = ordered[:, 1:] != ordered[:, :-1]
    best = np.where(last, np.round(values, DIGITS), -1.0).argmax(2)
    return np.take_along_axis(ordered[None], best[..., None], 2)[..., 0]


def thresholds(
    pool: Pool,
    among: Candidates,
    end: Walk,
    anomalous: np.ndarray,
    choosing: np.ndarray,
    reporting: np.ndarray,
) -> np.ndarray:
    """F1 and balanced accuracy of what labels chose, at two thresholds.

    Args:
      pool, among, end: members, and which one was chosen in every row.
      anomalous: `[n]`.
      choosing, reporting: `[rows, n]` samples whose labels choose the threshold, and report it.

    Returns:
      `[threshold, metric, rows]`: at 5 % false positives on held-out normals; chosen by labels.
    """
    member = among.rows[end.setting, end.seed]
    bound = np.quantile(pool.held_out_scores[member, end.head], 1 - FALSE_POSITIVES, axis=1)
    out = np.empty((2, len(METRICS), len(member)))
    for rows in np.array_split(np.arange(len(member)), -(-choosing.size // BLOCK) or 1):
        scores, where = pool.scores[member[rows], end.head[rows]], reporting[rows]
        free = quality_at(scores > bound[rows, None], anomalous, where)
        out[0][:, rows] = np.where(np.isfinite(bound[rows]), free, np.nan)
        for i, best in enumerate(best_thresholds(scores, anomalous, choosing[rows])):
            out[1, i, rows] = quality_at(scores >= best[:, None], anomalous, where)[i]
    return out


def choices(among: Candidates, end: Walk, samples: int) -> Sequence[int]:
    """How many options labels had at every stage of `STAGES`, and for the threshold."""
    setting, head = int(end.setting[0]), int(end.head[0])
    family = among.settings[setting].family
    return (
        0,
        len(among.families),
        sum(s.family == family for s in among.settings),
        int(among.usable[setting].any(0).sum()),
        int(among.usable[setting, :, head].sum()),
        samples,
    )
