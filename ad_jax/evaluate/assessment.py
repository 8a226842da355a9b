"""All that labels say of a run's pick, for a report: the audit, and what follows from its rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base.stats import Estimate, Quality, mean, share
from ad_jax.data import Truth
from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.correlation import correlations
from ad_jax.evaluate.label_choices import FALSE_POSITIVES, best_thresholds, quality_at
from ad_jax.evaluate.pools import on_seeds, trained_rows
from ad_jax.evaluate.runs import audit_run, truth_of
from ad_jax.evaluate.snooping import SPLITS
from ad_jax.evaluate.unlabelled_set import UnlabelledSet, unlabelled_set
from ad_jax.pool import Pool
from ad_jax.runs import run
from ad_jax.selection import rules
from ad_jax.train.setting import Setting

DEFAULT = "default_setting"


class AtThreshold(NamedTuple):
    """The pick at a threshold, mean over its seeds with an interval.

    Attributes:
      name: what the threshold is.
      oracle: whether labels chose it, for each metric apart.
      f1, balanced_accuracy: of anomalies.
      false_positives: share of the target's normals that are flagged; NaN for oracles.
    """

    name: str
    oracle: bool
    f1: Estimate
    balanced_accuracy: Estimate
    false_positives: Estimate


class Assessment(NamedTuple):
    """What labels say of a run.

    Attributes:
      audit: of the run; the default setting is judged in it where the pool can tell.
      quality: AUROC and average precision of every member.
      auroc: of the pick, and its interval over seeds, cut to [0, 1].
      average_precision: likewise.
      regret: oracle minus pick, seed by seed, so that what seeds share cancels.
      spearman, kendall: of the rule's loss with AUROC over settings, bootstrap over settings.
      thresholds: the pick at a label-free threshold and at those that labels like best; none
        without held-out normals.
      unlabelled: disjoint halves and shares of anomalies.
    """

    audit: Audit
    quality: Quality
    auroc: Estimate
    average_precision: Estimate
    regret: Estimate
    spearman: Estimate
    kendall: Estimate
    thresholds: list[AtThreshold]
    unlabelled: UnlabelledSet

    @property
    def gain(self) -> float:
        """(pick - expected random) / (oracle - expected random); NaN where all are equal."""
        across = self.audit.across
        possible = across.oracle - across.expected_random
        won = self.auroc.value - across.expected_random
        return won / possible if possible > 0 else float("nan")

    @property
    def percentile(self) -> float:
        """Share of the other settings that the pick is at least as good as."""
        pick = self.audit.pick
        others = pick["settings"] - 1
        return (pick["settings"] - pick["rank"]) / others if others else float("nan")

    def lines(self) -> dict[str, float]:
        """What a pick is compared with -> AUROC, the best first; NaN where it is not known."""
        across, audit = self.audit.across, self.audit
        return {
            "oracle": across.oracle,
            "label pick": across.label_pick,
            "ensemble of all": audit.ensembles["all members"]["auroc"],
            "expected random": across.expected_random,
            "median setting": float(np.median(across.auroc)),
            "default setting": across.picks.get(DEFAULT, float("nan")),
            "worst setting": across.worst,
            **{f"control: {k.replace('_', ' ')}": v for k, v in audit.baselines.items()},
        }

    @property
    def best_control(self) -> tuple[str, float]:
        """The control that labels like best, and its AUROC."""
        finite = {k: v for k, v in self.audit.baselines.items() if np.isfinite(v)}
        name = max(finite, key=lambda k: finite[k])
        return name.replace("_", " "), finite[name]


def _at_thresholds(pool: Pool, pick: Setting, anomalous: np.ndarray) -> list[AtThreshold]:
    rows = pool.rows(pick, trained=True)
    scores, held_out = (samples[rows] for samples in pool.own_scores())
    if not held_out.shape[1]:
        return []
    everything = np.ones(scores.shape, bool)
    bound = np.quantile(held_out, 1 - FALSE_POSITIVES, axis=1, keepdims=True)
    alarms = (scores > bound)[:, anomalous == 0].mean(1)
    f1, balanced = quality_at(scores > bound, anomalous, everything)
    best_f1, best_balanced = (
        quality_at(scores >= threshold[:, None], anomalous, everything)[metric]
        for metric, threshold in enumerate(best_thresholds(scores, anomalous, everything))
    )
    name = f"flags {100 * FALSE_POSITIVES:.0f} % of held-out normals"
    cuts = [
        (name, False, f1, balanced, alarms),
        ("best by labels", True, best_f1, best_balanced, np.array([])),
    ]
    return [
        AtThreshold(name, oracle, *(share(mean(values)) for values in (f1, balanced, alarms)))
        for name, oracle, f1, balanced, alarms in cuts
    ]


def assess_run(
    folder: Path, truth: Truth | None = None, seed: int = 0, splits: int = SPLITS
) -> tuple[run.Run, Assessment]:
    """Opens the labels of a run's target, logs that in its manifest, and measures.

    Args:
      folder: that `ad-jax select` or `tune` wrote.
      truth: of the same target; by default that of the run's source.
      seed, splits: of the snooping audit; the seed also of bootstrap and draws.

    Raises:
      InputError: as of `audit_run`.
    """
    written = run.read(folder)
    truth = truth_of(written) if truth is None else truth
    further = {}
    if DEFAULT not in written.losses and DEFAULT not in rules.left_out(written.pool):
        further[DEFAULT] = rules.get(DEFAULT).loss  # a run of before it was a rule
    anomalous = np.asarray(truth.open("report: picks by part of the target").anomalous)
    audit, written = audit_run(folder, "report: audit", truth, seed, splits, further)
    across, pool, pick = audit.across, written.pool, written.pick
    quality = Quality(np.array(audit.member_auroc), np.array(audit.member_average_precision))
    by_key = {s.key: s for s in pool.settings}
    best = by_key[across.settings[int(np.argmax(across.auroc))]]
    oracle, picked = on_seeds(quality.auroc, trained_rows(pool, [best, pick]))
    loss = np.array([written.losses[written.rule][key] for key in across.settings])
    spearman, kendall = correlations(loss, np.array(across.auroc), seed)
    assessment = Assessment(
        audit,
        quality,
        share(mean(audit.pick["auroc"])),
        share(mean(audit.pick["average_precision"])),
        mean(oracle - picked)._replace(value=across.oracle - audit.pick["mean"]),
        spearman,
        kendall,
        _at_thresholds(pool, pick, anomalous),
        unlabelled_set(pool, written.rule, anomalous, seed),
    )
    return written, assessment
