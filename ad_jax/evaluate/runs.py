"""Audits of run folders: read, open the truth of the same data, measure, log the opening."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.data import Labels, Truth
from ad_jax.evaluate.audit import Audit, Selected, audit
from ad_jax.evaluate.snooping import SPLITS
from ad_jax.pool import Pool
from ad_jax.runs import plan, run
from ad_jax.selection import rules


class Audited(NamedTuple):
    """A run and what labels say of it; `run.manifest` is as it was before this opening."""

    audit: Audit
    run: run.Run


class Opened(NamedTuple):
    """A run and its labels; `run.manifest` is as it was before this opening."""

    run: run.Run
    labels: Labels


def open_run(folder: Path, reason: str) -> Opened:
    """Reads a run, opens the truth of its source, and logs that in its manifest.

    Raises:
      InputError: no run there, damaged files, a source that has changed.
    """
    written = run.read(folder)
    truth = truth_of(written)
    labels = truth.open(reason)
    run.log_label_access(folder, written.manifest, truth.log)
    return Opened(written, labels)


def truth_of(written: run.Run) -> Truth:
    """The sealed truth of a run's target, from the source that the run names.

    Raises:
      InputError: the source has changed since.
    """
    return run.reload(written.manifest)[1]


def audit_run(
    folder: Path,
    reason: str = "audit",
    truth: Truth | None = None,
    seed: int = 0,
    splits: int = SPLITS,
    further: Mapping[str, Callable[[Pool], np.ndarray]] | None = None,
    anew: bool = False,
) -> Audited:
    """Audits a folder that `ad-jax select` wrote and logs every opening in its manifest.

    Args:
      folder: of the run.
      reason: goes into the log.
      truth: of the same target samples; by default that of the run's source.
      seed, splits: of the snooping audit.
      further: rules that are in no registry, name -> (pool -> loss per member); their picks are
        judged beside the others'.
      anew: judge the run's pool by today's rules and trust, not as it was written
        (`plan.judged_anew`).

    Raises:
      InputError: no run there, damaged files, a source that has changed, labels of one class.
    """
    written = run.read(folder)
    if anew:
        written = plan.judged_anew(folder, written)
    losses = {
        name: rules.by_setting(written.pool, loss(written.pool))
        for name, loss in (further or {}).items()
    }
    result = audit(
        Selected(
            written.pool,
            {**written.losses, **losses},
            written.rule,
            written.pick,
            written.pick_scores,
            written.brightness,
        ),
        truth_of(written) if truth is None else truth,
        reason,
        seed,
        splits,
    )
    run.log_label_access(folder, written.manifest, result.log)
    return Audited(result, written)
