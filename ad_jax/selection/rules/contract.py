"""What a rule is, and what a pool must hold to serve it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ad_jax.augment import CATALOGUE, SERIES
from ad_jax.pool import Pool


class Rule(NamedTuple):
    """A selection rule.

    Attributes:
      loss: `(pool) -> [members]`, lower is better; infinite for members it cannot judge.
      needs: a name in `NEEDS`: what the pool must hold.
      about: one line with the source.
      members: how many members that can be picked it takes at least to compare them.
    """

    loss: Callable[[Pool], np.ndarray]
    needs: str
    about: str
    members: int = 0


def comparable(pool: Pool, known: np.ndarray) -> np.ndarray:
    """Rows of the members that a rule compares with each other: those that can be picked.

    They are trained members of settings that can be picked (`Pool.pickable`). What is seen of
    control members, and of members that learned nothing, failed or were stopped, moves no pick.

    Args:
      pool: any pool.
      known: `[members]` whether the rule can judge a member; a setting with one that it cannot
        judge is left out.
    """
    found = (rows for rows in pool.choices.values() if known[rows].all())
    return np.array(sorted(i for rows in found for i in rows), int)


def voters(pool: Pool) -> np.ndarray:
    """Rows of the members whose target scores count: comparable, with finite scores."""
    return comparable(pool, pool.finite)


def groups(pool: Pool) -> dict[str, list[int]]:
    """Setting key -> rows of its voters: the seeds that can be compared."""
    return {key: rows for key, rows in pool.choices.items() if pool.finite[rows].all()}


def judged(values: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """Infinite where a member's scores are not all finite."""
    fine = np.all([np.isfinite(s).all(axis=1) for s in scores], axis=0)
    return np.where(fine, values, np.inf)


def _no_held_out(pool: Pool) -> str:
    return "" if pool.held_out_scores.shape[-1] else "no scores of held-out normals"


def _no_embeddings(pool: Pool) -> str:
    return "" if pool.target.alignment else "no embeddings: only ad_jax trains with them"


def _no_generated(pool: Pool) -> str:
    return _no_held_out(pool) or (
        "" if pool.generated is not None else "no scores of generated samples"
    )


def _no_training(pool: Pool) -> str:
    known = any(np.isfinite(member.train_loss) for member in pool.members)
    return "" if known else "no training losses"


def _no_defaults(pool: Pool) -> str:
    known = any(
        s.augmentation in {**CATALOGUE, **SERIES} and s.pretext != "external" for s in pool.settings
    )
    return "" if known else "no setting of the catalogue, so no defaults"


def _one_seed(pool: Pool) -> str:
    several = any(len(rows) > 1 for rows in groups(pool).values())
    return "" if several else "one trained seed a setting; give two or more"


# what a rule needs -> (pool -> what of it is lacking, "" if nothing)
NEEDS: dict[str, Callable[[Pool], str]] = {
    "settings": lambda pool: "",
    "target": lambda pool: "",
    "scores": _no_held_out,
    "seeds": _one_seed,
    "parts": _no_embeddings,
    "whole": _no_embeddings,  # one number of the whole target
    "generated": _no_generated,
    "training": _no_training,
    "defaults": _no_defaults,
}


def lack(pool: Pool, rule: Rule) -> str:
    """Why a pool cannot serve a rule, in words; "" if it can."""
    count = len(voters(pool))
    if rule.members > count:
        return f"{count} members can be picked and compared; it takes {rule.members}"
    return NEEDS[rule.needs](pool)
