"""All that labels say of a run's pick, for a report: the audit, and what follows from its rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.base.stats import Estimate, Quality, mean, share
from ad_jax.data import Truth
from ad_jax.evaluate.audit import Audit
from ad_jax.evaluate.bought import SPLITS
from ad_jax.evaluate.correlation import correlations
from ad_jax.evaluate.runs import audit_run, truth_of
from ad_jax.evaluate.stages import FALSE_POSITIVES, best_thresholds, quality_at
from ad_jax.evaluate.unlabelled import Unlabelled, unlabelled
from ad_jax.pool import Pool
from ad_jax.runs import run
from ad_jax.selection import rules
from ad_jax.train.setting import Setting

DEFAULT = "default_setting"


class Cut(NamedTuple):
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


class Worth(NamedTuple):
    """What labels say of a run.

    Attributes:
      audit: of the run; the default setting is judged in it where the pool can tell.
      quality: AUROC and average precision of every member.
      auroc: of the pick, and its interval over seeds, cut to [0, 1].
      average_precision: likewise.
      regret: oracle minus pick, seed by seed, so that what seeds share cancels.
      spearman, kendall: of the rule's loss with AUROC over settings, bootstrap over settings.
      cuts: the pick at a label-free threshold and at those that labels like best; none without
        held-out normals.
      unlabelled: disjoint halves and shares of anomalies.
    """

    audit: Audit
    quality: Quality
    auroc: Estimate
    average_precision: Estimate
    regret: Estimate
    spearman: Estimate
    kendall: Estimate
    cuts: list[Cut]
    unlabelled: Unlabelled

    @property
    def gain(self) -> float:
        """(pick - expected random) / (oracle - expected random); NaN where all are equal."""
        across = self.audit.across
        bought = across.oracle - across.expected_random
        won = self.auroc.value - across.expected_random
        return won / bought if bought > 0 else float("nan")

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
        known = {k: v for k, v in self.audit.baselines.items() if np.isfinite(v)}
        name = max(known, key=lambda k: known[k])
        return name.replace("_", " "), known[name]


def _cuts(pool: Pool, pick: Setting, anomalous: np.ndarray) -> list[Cut]:
    rows = pool.rows(pick, trained=True)
    own, held_out = (scores[rows] for scores in pool.own_scores())
    if not held_out.shape[1]:
        return []
    everything = np.ones(own.shape, bool)
    bound = np.quantile(held_out, 1 - FALSE_POSITIVES, axis=1, keepdims=True)
    free = quality_at(own > bound, anomalous, everything)
    best = best_thresholds(own, anomalous, everything)
    known = [quality_at(own >= best[i][:, None], anomalous, everything)[i] for i in (0, 1)]
    alarms = (own > bound)[:, anomalous == 0].mean(1)
    name = f"flags {100 * FALSE_POSITIVES:.0f} % of held-out normals"
    f1, balanced, alarmed = (share(mean(v)) for v in (*free, alarms))
    oracle_f1, oracle_balanced = (share(mean(v)) for v in known)
    nothing = Estimate(float("nan"))
    return [
        Cut(name, False, f1, balanced, alarmed),
        Cut("best by labels", True, oracle_f1, oracle_balanced, nothing),
    ]


def worth(
    folder: Path, truth: Truth | None = None, seed: int = 0, splits: int = SPLITS
) -> tuple[run.Run, Worth]:
    """Opens the labels of a run's target, logs that in its manifest, and measures.

    Args:
      folder: that `ad-jax select` or `tune` wrote.
      truth: of the same target; by default that of the run's source.
      seed, splits: of the snooping audit; the seed also of bootstrap and draws.

    Raises:
      InputError: as of `audit_run`.
    """
    one = run.read(folder)
    truth = truth_of(one) if truth is None else truth
    further = {}
    if DEFAULT not in one.losses and DEFAULT not in rules.left_out(one.pool):
        further[DEFAULT] = rules.get(DEFAULT).loss  # a run of before it was a rule
    anomalous = np.asarray(truth.open("report: picks by part of the target").anomalous)
    audited, one = audit_run(folder, "report: audit", truth, seed, splits, further)
    quality = Quality(np.array(audited.member_auroc), np.array(audited.member_average_precision))
    across, pool = audited.across, one.pool
    by_key = {s.key: s for s in pool.settings}
    best = by_key[across.settings[int(np.argmax(across.auroc))]]
    seeds = {
        name: {pool.members[r].seed: quality.auroc[r] for r in pool.rows(setting, trained=True)}
        for name, setting in (("oracle", best), ("pick", one.pick))
    }
    both = [s for s in seeds["oracle"] if s in seeds["pick"]]
    regret = mean([seeds["oracle"][s] - seeds["pick"][s] for s in both])
    loss = np.array([one.losses[one.rule][key] for key in across.settings])
    spearman, kendall = correlations(loss, np.array(across.auroc), seed)
    measured = Worth(
        audited,
        quality,
        share(mean(audited.pick["auroc"])),
        share(mean(audited.pick["average_precision"])),
        regret._replace(value=across.oracle - audited.pick["mean"]),
        spearman,
        kendall,
        _cuts(pool, one.pick, anomalous),
        unlabelled(pool, one.rule, anomalous, seed),
    )
    return one, measured
