"""The shelf of selection rules: pool -> loss per member, lower is better. A rule sees no labels."""

from __future__ import annotations

import numpy as np

from ad_jax.base.errors import InputError, lookup
from ad_jax.pool import Pool, per_setting
from ad_jax.selection.rules import aligned, consensus, plain, scored, tails
from ad_jax.selection.rules.contract import NEEDS, Rule, lack
from ad_jax.train.setting import Setting

__all__ = [
    "DEFAULT",
    "NEEDS",
    "RULES",
    "Rule",
    "available",
    "by_setting",
    "get",
    "left_out",
    "losses",
    "served",
]

RULES: dict[str, Rule] = {
    **aligned.RULES,
    **scored.RULES,
    **tails.RULES,
    **consensus.RULES,
    **plain.RULES,
}

DEFAULT = "several_tails"  # on the evidence in experiments/results/rules.txt


def get(name: str) -> Rule:
    """The rule of that name.

    Raises:
      InputError: an unknown name; the message lists the known ones.
    """
    return lookup(RULES, name, "rule")


def left_out(pool: Pool) -> dict[str, str]:
    """Rules that a pool cannot serve, each with the reason."""
    reasons = {name: lack(pool, rule) for name, rule in RULES.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def available(pool: Pool) -> dict[str, Rule]:
    """Rules that a pool can serve; `left_out` says why the others are missing."""
    missing = left_out(pool)
    return {name: rule for name, rule in RULES.items() if name not in missing}


def served(name: str, pool: Pool) -> Rule:
    """The rule of that name, if the pool can serve it.

    Raises:
      InputError: an unknown name, or what the pool lacks.
    """
    rule = get(name)
    reason = lack(pool, rule)
    if reason:
        raise InputError(f"rule {name} cannot judge this pool: {reason}; choose another rule")
    return rule


def by_setting(pool: Pool, per_member: np.ndarray) -> dict[str, float]:
    """Loss per setting (key -> loss), mean over its trained seeds; infinite = cannot be picked."""
    settings: list[Setting] = pool.settings
    values = per_setting(pool, per_member, settings)
    return {s.key: float(v) for s, v in zip(settings, values, strict=True)}


def losses(pool: Pool, name: str) -> dict[str, float]:
    """Loss per setting by the rule of that name."""
    return by_setting(pool, get(name).loss(pool))
