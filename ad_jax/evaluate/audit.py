"""Audit of a selection: AUROC of the pick beside everything it should be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.data import Truth
from ad_jax.evaluate.bought import SPLITS, Snooping, measure
from ad_jax.evaluate.intervals import over_training_sets
from ad_jax.evaluate.pools import of_members
from ad_jax.pool import Pool
from ad_jax.train.setting import Setting

TOP = (3, 5)  # settings of the ensembles
OF_SURVIVORS = ("pick.rank", "pick.settings", "ensembles", "across", "within", "snooping")


def quality(scores: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """AUROC and average precision of scores `[n]` against labels `[n]`."""
    low, high = scores[anomalous == 0], scores[anomalous == 1]
    return float(ranks.auroc(low, high)), float(ranks.average_precision(low, high))


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
      ensembles: AUROC and AP of the mean rank of all trained members, and of those of the best
        settings by the rule.
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


def _mean(values: np.ndarray) -> float:
    """Of what is finite; NaN if nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _ensembles(
    pool: Pool, losses: Mapping[str, float], own: np.ndarray, anomalous: np.ndarray
) -> dict[str, dict[str, float]]:
    """AUROC and AP of mean ranks: of all trained members, of those of the rule's best settings."""
    finite = np.isfinite(own).all(1)
    best = [
        s for s in sorted(pool.settings, key=lambda s: losses[s.key]) if np.isfinite(losses[s.key])
    ]
    groups = {"all members": pool.settings}
    groups |= {f"the best {k} settings by the rule": best[:k] for k in TOP if k <= len(best)}
    out = {}
    for name, settings in groups.items():
        rows = [i for s in settings for i in pool.rows(s, trained=True) if finite[i]]
        ranked = ranks.rank_rows(own[rows]).mean(0, dtype=float)
        out[name] = dict(zip(("auroc", "average_precision"), quality(ranked, anomalous)))
    return out


def _label_pick(values: np.ndarray) -> float:
    """Mean over seeds of the best setting on the other seeds; values `[settings, seeds]`."""
    if values.shape[1] < 2:
        return float("nan")
    out = []
    for seed in range(values.shape[1]):
        others = np.delete(values, seed, axis=1)
        means = np.array([_mean(row) for row in others])
        order = np.argsort(-np.nan_to_num(means, nan=-1.0))
        chosen = next((i for i in order if np.isfinite(values[i, seed])), order[0])
        out.append(values[chosen, seed])
    return _mean(np.array(out))


def _scope(
    pool: Pool, settings: Sequence[Setting], per_member: np.ndarray, losses: Mapping[str, Any]
) -> Scope | None:
    """None if no setting was trained with at least half of the seeds."""
    stopped = len({s.key for s in settings} & {s.key for s in pool.stopped})
    seeds = sorted({m.seed for m in pool.members})
    values = np.full((len(settings), len(seeds)), np.nan)
    for i, setting in enumerate(settings):
        for row in pool.rows(setting, trained=True):
            values[i, seeds.index(pool.members[row].seed)] = per_member[row]
    enough = np.array([2 * np.isfinite(v).sum() >= len(seeds) for v in values])
    if not enough.any():
        return None
    settings = [s for s, e in zip(settings, enough, strict=True) if e]
    values = values[enough]
    auroc = np.nanmean(values, axis=1)
    picks, correlation = {}, {}
    for name, by_key in losses.items():
        loss = np.array([by_key[s.key] for s in settings])
        best = np.flatnonzero(loss == loss.min())  # ties share the pick
        picks[name] = float(auroc[best].mean())
        varied = np.isfinite(loss).all() and np.ptp(loss) > 0 and np.ptp(auroc) > 0
        correlation[name] = float(ranks.spearman(loss, auroc)) if varied else float("nan")
    constants = {}
    for family in dict.fromkeys(s.family for s in settings):
        rows = sorted(
            (i for i, s in enumerate(settings) if s.family == family),
            key=lambda i: settings[i].strength or 0.0,
        )
        if len(rows) == 1:
            constants[f"always {family}"] = float(auroc[rows[0]])
        else:
            where = {"smallest": rows[0], "middle": rows[len(rows) // 2], "largest": rows[-1]}
            for word, i in where.items():
                constants[f"always {family} {word}"] = float(auroc[i])
            for i in rows:
                constants[f"always {settings[i].label}"] = float(auroc[i])
    return Scope(
        [s.key for s in settings],
        [float(v) for v in auroc],
        float(auroc.mean()),
        float(auroc.max()),
        float(auroc.min()),
        _label_pick(values),
        picks,
        constants,
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
        some = [s for s in pool.settings if s.family == family]
        if len(some) >= 3:
            scope = _scope(pool, some, per_member, losses)
            if scope is not None:
                within[family] = scope
    return across, within


def audit(
    pool: Pool,
    losses: Mapping[str, Mapping[str, float]],
    rule: str,
    pick: Setting,
    pick_scores: np.ndarray,
    truth: Truth,
    brightness: np.ndarray,
    reason: str = "audit",
    seed: int = 0,
    splits: int = SPLITS,
) -> Audit:
    """Opens the truth and measures what the pick was worth.

    Args:
      pool, losses, rule, pick: of a `Selection`, or read back from its folder.
      pick_scores: `[n]` of the picked detector.
      truth: sealed labels of the same target.
      brightness: `[n]` mean grey of every target sample, the most trivial baseline.
      reason: goes into the log of openings.
      seed, splits: of the snooping audit.

    Raises:
      InputError: labels of a single class (AUROC is undefined), a pick without finite scores.
    """
    labels = truth.open(reason)
    anomalous = np.asarray(labels.anomalous)
    if anomalous.min() == anomalous.max():
        raise InputError("all labels are equal, so AUROC is undefined; audit needs both classes")
    own, _ = pool.own_scores()
    per_member = of_members(own, anomalous)
    precision = of_members(own, anomalous, ranks.average_precision_rows)
    picked = pool.rows(pick, trained=True)
    across, within = scopes(pool, per_member, losses)
    trained = [i for i, m in enumerate(pool.members) if m.setting.pretext != "control"]
    states = [pool.members[i].status for i in trained]
    tried = Tried(len(pool.settings), len(pool.stopped), len(pool.untrained))
    bright = quality(brightness, anomalous)[0]
    baselines = {c.augmentation: _mean(per_member[pool.rows(c)]) for c in pool.controls()}
    baselines["mean brightness"] = bright
    baselines["minus mean brightness"] = 1.0 - bright
    by_seed = [float(per_member[i]) for i in picked]
    if pick.key not in across.settings or not np.isfinite(pick_scores).all():
        raise InputError(
            f"the pick {pick.label} has no finite scores for half of its seeds; rerun "
            "`ad-jax select`"
        )
    own_mean = across.auroc[across.settings.index(pick.key)]
    order = sorted(across.auroc, reverse=True)
    whole = quality(pick_scores, anomalous)
    return Audit(
        float(anomalous.mean()),
        {
            "setting": pick.label,
            "rule": rule,
            "auroc": by_seed,
            "mean": own_mean,
            "average_precision": [float(precision[i]) for i in picked],
            "rank": 1 + order.index(own_mean),
            "settings": len(order),
        },
        {"auroc": whole[0], "average_precision": whole[1]},
        _ensembles(pool, losses[rule], own, anomalous),
        baselines,
        across,
        within,
        tried,
        len(trained),
        sum(state in ("untrained", "failed") for state in states),
        states.count("stopped"),
        measure(pool, pick, anomalous, seed, splits),
        [float(v) for v in per_member],
        [float(v) for v in precision],
        list(OF_SURVIVORS) if tried.stopped else [],
        list(truth.log),
    )


def gain(scopes: Sequence[Scope], values: Sequence[float]) -> float:
    """Sum over tasks of (pick - expected random) over the sum of (oracle - expected random)."""
    won = sum(v - s.expected_random for s, v in zip(scopes, values, strict=True))
    bought = sum(s.oracle - s.expected_random for s in scopes)
    return won / bought if bought > 0 else float("nan")


def _interval(
    scopes: Sequence[Scope], values: Sequence[float], groups: Sequence[str]
) -> tuple[float, float]:
    """95 % bootstrap interval of the gain over training sets."""
    return over_training_sets(
        groups, lambda rows: gain([scopes[i] for i in rows], [values[i] for i in rows])
    )


def summary(audits: Mapping[str, Audit], trainings: Mapping[str, str]) -> dict[str, Any]:
    """Rules and constants over several tasks: gain, share below random, Spearman.

    Args:
      audits: task -> audit.
      trainings: task -> training-set fingerprint; tasks that share one are not independent.

    Returns:
      scope ("across" or a family) -> rule -> numbers; constants have names "always ...". Of the
      tasks in "stopped_early" these are of the settings that a search left.
    """
    members = {trainings[task]: one.members for task, one in audits.items()}
    out: dict[str, Any] = {
        "tasks": len(audits),
        "training_sets": len(members),
        "trainings": sum(members.values()),
        "stopped_early": [task for task, one in audits.items() if one.tried.stopped],
    }
    names: dict[str, list[str]] = {"across": list(audits)}
    for task, one in audits.items():
        for family in one.within:
            names.setdefault(family, []).append(task)
    for name, tasks in names.items():
        scopes = [audits[t].across if name == "across" else audits[t].within[name] for t in tasks]
        groups = [trainings[t] for t in tasks]
        rows: dict[str, Any] = {}
        judged = set.intersection(*(set(s.picks) for s in scopes))  # one seed allows fewer rules
        candidates: dict[str, list[float]] = {
            "label pick": [s.label_pick for s in scopes],
            **{r: [s.picks[r] for s in scopes] for r in scopes[0].picks if r in judged},
        }
        shared = set.intersection(*(set(s.constants) for s in scopes))
        candidates |= {
            c: [s.constants[c] for s in scopes] for c in scopes[0].constants if c in shared
        }
        for rule, values in candidates.items():
            low, high = _interval(scopes, values, groups)
            rho = [s.spearman.get(rule, np.nan) for s in scopes]
            below = np.mean([v < s.expected_random for v, s in zip(values, scopes, strict=True)])
            rows[rule] = {
                "gain": gain(scopes, values),
                "low": low,
                "high": high,
                "below_random": float(below),
                "auroc": float(np.mean(values)),
                "spearman": float(np.nanmean(rho)) if np.isfinite(rho).any() else float("nan"),
            }
        out[name] = rows
    return out
