"""The four ways a search fails, as a pool shows them without labels, and what to do next.

After the diagnosis table of the position paper (arXiv 2308.14380): poor everywhere, a large spread
over augmentations, a pick that degrades on new data, a search that its budget does not carry.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.pool import Pool
from ad_jax.selection import rules
from ad_jax.selection.trust import RARE, Trust
from ad_jax.train.setting import Setting

SEEN = "auroc_held_out"  # AUROC of the target against held-out normals: 1/2 where nothing is seen
SPREAD = 0.06  # between settings, in that AUROC, seed noise taken away
PLACE = 0.75  # of the pick on a second set; lower means that others would have been picked
MOVED = 0.15  # AUROC of the second target against the first by the pick, from 1/2
LOST = 1 / 3  # of the settings that were trained to the end learned nothing


class Signature(NamedTuple):
    """One failure signature.

    Attributes:
      name: of the signature.
      found: whether the pool shows it.
      value, limit: what was measured and where it counts; NaN where it cannot be told.
      advice: what was seen and what to do next.
    """

    name: str
    found: bool
    value: float
    limit: float
    advice: str


def signatures(
    pool: Pool, rule: str, pick: Setting, trust: Trust, second: Pool | None = None
) -> tuple[Signature, ...]:
    """All signatures that the pool can tell.

    Args:
      pool: of a sweep.
      rule, pick: what picked, and what.
      trust: of the pick.
      second: the same members on a second unlabelled target.
    """
    found = [_poor(trust), _spread(pool), _budget(pool)]
    if second is not None:
        found.append(_degrades(pool, second, rule, pick))
    return tuple(found)


def _poor(trust: Trust) -> Signature:
    seen = trust.null <= RARE and not trust.control
    what = f"the control {trust.control} looks better" if trust.control else "no setting tells them"
    return Signature(
        "poor everywhere",
        not seen,
        trust.null,
        RARE,
        f"target and held-out normals look alike, or {what}: the augmentations do not resemble the "
        "anomalies, or there are none; try other families (--families wide), or keep the control"
        if not seen
        else "some setting tells target and held-out normals apart",
    )


def _seen(pool: Pool) -> np.ndarray:
    """AUROC of the target against held-out normals, `[settings, seeds]`; NaN where untrained."""
    per_member = -rules.get(SEEN).loss(pool)
    seeds = sorted({m.seed for m in pool.members})
    out = np.full((len(pool.settings), len(seeds)), np.nan)
    for i, setting in enumerate(pool.settings):
        for row in pool.rows(setting, trained=True):
            out[i, seeds.index(pool.members[row].seed)] = per_member[row]
    return out


def _spread(pool: Pool) -> Signature:
    values = _seen(pool) if pool.held_out_scores.shape[-1] else np.zeros((0, 0))
    values = values[np.isfinite(values).all(1)]
    if len(values) < 2:
        return Signature(
            "large spread over augmentations",
            False,
            float("nan"),
            SPREAD,
            "too few settings were trained to the end, or no normals held out, to tell",
        )
    between = values.mean(1).var(ddof=1)
    noise = values.var(axis=1, ddof=1).mean() / values.shape[1] if values.shape[1] > 1 else 0.0
    spread = float(np.sqrt(max(between - noise, 0.0)))
    large = spread > SPREAD
    return Signature(
        "large spread over augmentations",
        large,
        spread,
        SPREAD,
        "settings differ a lot in what they see, so much hangs on the choice: give the rule more "
        "target samples and seeds, or leave out families that cannot fit"
        if large
        else "settings see about the same",
    )


def _budget(pool: Pool) -> Signature:
    stopped = {s.key for s in pool.stopped}
    whole = [pool.rows(s) for s in pool.settings if s.key not in stopped]
    lost = [all(pool.members[i].status != "ok" for i in rows) for rows in whole]
    share = float(np.mean(lost)) if lost else float("nan")
    short = share > LOST
    advice = "try fewer settings" + ("" if stopped else ", or drop them early (--search halving)")
    return Signature(
        "search beyond its budget",
        short,
        share,
        LOST,
        f"{100 * share:.0f} % of the settings {'that were not stopped ' if stopped else ''}learned "
        f"nothing in the steps they got: train longer, {advice}"
        if short
        else "most settings learned something",
    )


def _degrades(pool: Pool, second: Pool, rule: str, pick: Setting) -> Signature:
    losses = rules.losses(second, rule)
    finite = np.array([v for v in losses.values() if np.isfinite(v)])
    own = losses[pick.key]
    place = 1.0 - float((finite < own).sum()) / (len(finite) - 1) if len(finite) > 1 else np.nan
    rows = pool.rows(pick, trained=True)
    before, after = pool.own_scores()[0][rows], second.own_scores()[0][rows]
    moved = float(np.mean([ranks.auroc(a, b) for a, b in zip(before, after, strict=True)])) - 0.5
    worse = place < PLACE or abs(moved) > MOVED
    known = np.isfinite(place)
    stands = f"the pick stands at {place:.2f} of the settings (1 = first) and " if known else ""
    return Signature(
        "degrades on the second set",
        worse,
        place,
        PLACE,
        f"on the second set {stands}the scores of the pick moved by {moved:+.2f} in AUROC: pick on "
        "data like those it will see, or on both"
        if worse
        else "the second set would have picked alike"
        if known
        else "the scores moved little on the second set; no other setting to pick was trained",
    )
