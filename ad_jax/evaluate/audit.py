"""Audit of a selection: AUROC of the pick beside everything it should be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base import ranks, stats
from ad_jax.base.errors import InputError
from ad_jax.data import Labels, Truth
from ad_jax.evaluate.pools import (
    check_both_classes,
    of_members,
    on_seeds,
    picked,
    quality,
    trained_rows,
    varied,
)
from ad_jax.evaluate.series import Points, audit_points, timeline
from ad_jax.evaluate.snooping import SPLITS, Snooping, measure, no_finite_scores
from ad_jax.pool import Pool
from ad_jax.selection import Selection
from ad_jax.selection.weights import crossed, prior
from ad_jax.train.setting import Setting

TOP = (3, 5)  # settings of the ensembles
OF_SURVIVORS = ("pick.rank", "pick.settings", "ensembles", "across", "within", "snooping")


class Selected(NamedTuple):
    """A selection as an audit asks of it: of a `Selection`, or read back from its folder.

    Attributes:
      pool: of all members.
      losses: rule -> setting key -> loss.
      rule, pick: what was picked, and by which rule.
      pick_scores: `[n]` of the picked detector.
      brightness: `[n]` mean grey of every target sample, the most trivial baseline; None if it is
        not known.
    """

    pool: Pool
    losses: Mapping[str, Mapping[str, float]]
    rule: str
    pick: Setting
    pick_scores: np.ndarray
    brightness: np.ndarray | None = None

    @classmethod
    def of(cls, selection: Selection) -> Selected:
        """What `ad_jax.select` returned."""
        pool, pick = selection.pool, selection.pick
        scores = selection.detector.combine(pool.own_scores()[0][pool.rows(pick, trained=True)])
        return cls(pool, selection.losses, selection.rule, pick, scores)


@dataclass(frozen=True)
class Tried:
    """What a search tried.

    Attributes:
      settings: how many.
      stopped: of these, dropped by the search before the last step.
      untrained: of the others, those that learned nothing.
    """

    settings: int
    stopped: int
    untrained: int

    @property
    def note(self) -> str:
        """What the figures of an audit are of, where that is not all that was tried; else ""."""
        if not self.stopped:
            return ""
        return (
            f"{self.stopped} of the {self.settings} settings tried were stopped early by a search "
            "that saw this target: random, oracle, worst, rank, regret, gain, ensembles, best of k "
            f"and what labels choose are of the {self.settings - self.stopped} that it left"
        )


@dataclass(frozen=True)
class Scope:
    """The same comparison over some settings: one family, or all of them.

    Where a search stopped settings early, all of it is of those that it left.

    Attributes:
      settings: setting keys compared.
      auroc: `[settings]` mean over trained seeds.
      expected_random, oracle, worst, label_pick: AUROC; the label pick is chosen for every seed by
        the labels on the other seeds, and evaluated on that seed.
      picks: rule -> AUROC of its pick.
      constants: constant rule -> AUROC ("smallest", "middle", "largest" strength; each family).
      spearman: rule -> rank correlation of its loss with AUROC over settings.
      stopped: settings of the family, or of all, that a search stopped early; not compared.
    """

    settings: list[str]
    auroc: list[float]
    expected_random: float
    oracle: float
    worst: float
    label_pick: float
    picks: dict[str, float]
    constants: dict[str, float]
    spearman: dict[str, float]
    stopped: int = 0


@dataclass(frozen=True)
class Audit:
    """What labels say of a selection.

    Attributes:
      share: anomalies in the target.
      pick: label, AUROC per trained seed and their mean, AP per seed, rank among the settings that
        are compared.
      detector: AUROC and AP of the picked detector (its seeds together).
      ensembles: AUROC and AP of the weighted mean surprise of all settings (`selection.weights`,
        no sample by weights that it moved), of the mean rank of all trained members, and of those
        of the best settings by the rule.
      baselines: control members and mean brightness, AUROC (mean over seeds).
      across, within: scopes; `within` holds families of at least three settings.
      tried: settings, and what became of them.
      members: number of trainings; `untrained` of them learned nothing, and `stopped` of them ended
        early with their settings.
      snooping: what labels would have bought, stage by stage and by the number tried.
      member_auroc, member_average_precision: `[all members of the pool]`, NaN where a score is not
        finite: the raw rows of all that stands above.
      of_survivors: fields that describe what a search left only; none if it stopped nothing.
      log: every opening of the labels.
      points: of windows of a series, what the scores of its points are worth: of the ensemble, the
        pick and the controls (mean over seeds); empty for all else.
    """

    share: float
    pick: dict[str, Any]
    detector: dict[str, float]
    ensembles: dict[str, dict[str, float]]
    baselines: dict[str, float]
    across: Scope
    within: dict[str, Scope]
    tried: Tried
    members: int
    untrained: int
    stopped: int
    snooping: Snooping
    member_auroc: list[float]
    member_average_precision: list[float]
    of_survivors: list[str]
    log: list[tuple[str, str]] = field(default_factory=list)
    points: dict[str, Points] = field(default_factory=dict)


def _ensembles(
    selected: Selected, scores: np.ndarray, anomalous: np.ndarray
) -> dict[str, dict[str, float]]:
    """AUROC and AP of the mean surprise, and of mean ranks: of all, of the rule's best settings."""
    pool, losses = selected.pool, selected.losses[selected.rule]
    finite = np.isfinite(scores).all(1)
    ordered = sorted(pool.settings, key=lambda s: losses[s.key])
    best = [s for s in ordered if np.isfinite(losses[s.key])]
    groups = {"all members": pool.settings}
    groups |= {f"the best {k} settings by the rule": best[:k] for k in TOP if k <= len(best)}
    out = {}
    if pool.held_out_scores.shape[2] and prior(pool):
        mixed = crossed(pool)
        if np.isfinite(mixed).all():
            found = quality(mixed, anomalous)
            out["weighted mean surprise"] = dict(
                zip(("auroc", "average_precision"), found, strict=True)
            )
    for name, settings in groups.items():
        rows = [i for s in settings for i in pool.rows(s, trained=True) if finite[i]]
        ranked = ranks.rank_rows(scores[rows]).mean(0, dtype=float)
        out[name] = dict(zip(("auroc", "average_precision"), quality(ranked, anomalous)))
    return out


def _label_pick(values: np.ndarray) -> float:
    """Mean over seeds of the best setting on the other seeds; values `[settings, seeds]`."""
    if values.shape[1] < 2:
        return float("nan")
    out = []
    for seed in range(values.shape[1]):
        others = np.delete(values, seed, axis=1)
        means = stats.mean_where(others, np.isfinite(others))
        order = np.argsort(-np.nan_to_num(means, nan=-1.0))
        chosen = next((i for i in order if np.isfinite(values[i, seed])), order[0])
        out.append(values[chosen, seed])
    return stats.mean(out).value


def _constants(settings: Sequence[Setting], auroc: np.ndarray) -> dict[str, float]:
    """Constant rule -> AUROC: every family's strengths, the weakest first."""
    constants = {}
    for family in dict.fromkeys(s.family for s in settings):
        rows = sorted(
            (i for i, s in enumerate(settings) if s.family == family),
            key=lambda i: settings[i].strength or 0.0,
        )
        if len(rows) == 1:
            constants[f"always {family}"] = float(auroc[rows[0]])
            continue
        places = {"smallest": rows[0], "middle": rows[len(rows) // 2], "largest": rows[-1]}
        constants |= {f"always {family} {word}": float(auroc[i]) for word, i in places.items()}
        constants |= {f"always {settings[i].label}": float(auroc[i]) for i in rows}
    return constants


def _scope(
    pool: Pool, settings: Sequence[Setting], per_member: np.ndarray, losses: Mapping[str, Any]
) -> Scope | None:
    """None if no setting was trained with at least half of the seeds."""
    stopped = len({s.key for s in settings} & {s.key for s in pool.stopped})
    values = on_seeds(per_member, trained_rows(pool, settings))
    enough = 2 * np.isfinite(values).sum(1) >= values.shape[1]
    if not enough.any():
        return None
    settings = [s for s, e in zip(settings, enough, strict=True) if e]
    values = values[enough]
    auroc = stats.mean_where(values, np.isfinite(values))
    picks, correlation = {}, {}
    for name, by_key in losses.items():
        loss = np.array([by_key[s.key] for s in settings])
        picks[name] = picked(loss, auroc)
        # In float32, as in every published table: there some AUROC are tied that differ in float64.
        rho = ranks.spearman(loss, auroc) if varied(loss, auroc) else float("nan")
        correlation[name] = float(rho)
    return Scope(
        [s.key for s in settings],
        [float(v) for v in auroc],
        float(auroc.mean()),
        float(auroc.max()),
        float(auroc.min()),
        _label_pick(values),
        picks,
        _constants(settings, auroc),
        correlation,
        stopped,
    )


def scopes(
    pool: Pool, per_member: np.ndarray, losses: Mapping[str, Any]
) -> tuple[Scope, dict[str, Scope]]:
    """All settings, and those of every family of at least three.

    Args:
      pool: of `per_member`, AUROC `[members]`.
      losses: rule -> setting key -> loss.

    Raises:
      InputError: no setting was trained with at least half of its seeds.
    """
    across = _scope(pool, pool.settings, per_member, losses)
    if across is None:
        raise InputError("no setting of the pool was trained to the end; nothing to compare")
    within = {}
    for family in dict.fromkeys(s.family for s in pool.settings):
        settings = [s for s in pool.settings if s.family == family]
        if len(settings) >= 3:
            scope = _scope(pool, settings, per_member, losses)
            if scope is not None:
                within[family] = scope
    return across, within


def audit(
    selected: Selected | Selection,
    truth: Truth,
    reason: str = "audit",
    seed: int = 0,
    splits: int = SPLITS,
) -> Audit:
    """Opens the truth and measures what the pick was worth.

    Args:
      selected: a selection, or what a run's folder holds of one.
      truth: sealed labels of the same target.
      reason: goes into the log of openings.
      seed, splits: of the snooping audit.

    Raises:
      InputError: labels of a single class (AUROC is undefined), a pick without finite scores.
    """
    if isinstance(selected, Selection):
        selected = Selected.of(selected)
    pool, losses, pick = selected.pool, selected.losses, selected.pick
    labels = truth.open(reason)
    anomalous = np.asarray(labels.anomalous)
    check_both_classes(anomalous)
    scores, _ = pool.own_scores()
    auroc = of_members(scores, anomalous)
    precision = of_members(scores, anomalous, ranks.average_precision_rows)
    across, within = scopes(pool, auroc, losses)
    if pick.key not in across.settings or not np.isfinite(selected.pick_scores).all():
        raise no_finite_scores(pick)
    trained = [m.status for m in pool.members if m.setting.pretext != "control"]
    tried = Tried(len(pool.settings), len(pool.stopped), len(pool.untrained))
    return Audit(
        float(anomalous.mean()),
        _pick(selected, auroc, precision, across),
        dict(zip(("auroc", "average_precision"), quality(selected.pick_scores, anomalous))),
        _ensembles(selected, scores, anomalous),
        _baselines(selected, auroc, anomalous),
        across,
        within,
        tried,
        len(trained),
        sum(status in ("untrained", "failed") for status in trained),
        trained.count("stopped"),
        measure(pool, pick, anomalous, seed, splits),
        [float(v) for v in auroc],
        [float(v) for v in precision],
        list(OF_SURVIVORS) if tried.stopped else [],
        list(truth.log),
        _points(selected, scores, truth.names, labels),
    )


def _points(
    selected: Selected, scores: np.ndarray, names: Sequence[str], labels: Labels
) -> dict[str, Points]:
    """What the points of a series tell of ensemble, pick and controls; {} of other samples."""
    line = timeline(names, labels)
    if line is None:
        return {}
    pool = selected.pool
    out = {}
    if pool.held_out_scores.shape[2] and prior(pool):
        out["ensemble: weighted mean surprise"] = audit_points(crossed(pool), line)
    out["pick: its seeds together"] = audit_points(selected.pick_scores, line)
    for control in pool.controls():
        by_seed = [audit_points(scores[row], line) for row in pool.rows(control)]
        means = np.mean(by_seed, axis=0)
        out[f"control: {control.augmentation}"] = Points(*map(float, means))
    return out


def _pick(
    selected: Selected, auroc: np.ndarray, precision: np.ndarray, across: Scope
) -> dict[str, Any]:
    """The pick's figures, seed by seed, and its place among the settings compared."""
    rows = selected.pool.rows(selected.pick, trained=True)
    mean = across.auroc[across.settings.index(selected.pick.key)]
    order = sorted(across.auroc, reverse=True)
    return {
        "setting": selected.pick.label,
        "rule": selected.rule,
        "auroc": [float(auroc[i]) for i in rows],
        "mean": mean,
        "average_precision": [float(precision[i]) for i in rows],
        "rank": 1 + order.index(mean),
        "settings": len(order),
    }


def _baselines(selected: Selected, auroc: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """AUROC of the controls (mean over seeds) and of mean brightness, either way round."""
    pool = selected.pool
    found = {c.augmentation: stats.mean(auroc[pool.rows(c)]).value for c in pool.controls()}
    if selected.brightness is not None:
        brightness = quality(selected.brightness, anomalous)[0]
        found |= {"mean brightness": brightness, "minus mean brightness": 1.0 - brightness}
    return found


def gain(scopes: Sequence[Scope], values: Sequence[float]) -> float:
    """Sum over tasks of (pick - expected random) over the sum of (oracle - expected random)."""
    won = sum(v - s.expected_random for s, v in zip(scopes, values, strict=True))
    possible = sum(s.oracle - s.expected_random for s in scopes)
    return won / possible if possible > 0 else float("nan")
