"""The shelf of selection rules: pool -> loss per member, lower is better. A rule sees no labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import alignment, ranks
from ad_jax.alignment import Parts
from ad_jax.errors import InputError
from ad_jax.pool import Pool, Setting, per_setting


class Rule(NamedTuple):
    """A selection rule.

    Attributes:
      loss: `(pool) -> [members]`.
      needs: "parts" (alignment parts), "scores" (of target and held-out normals) or "training".
      about: one line with the source.
    """

    loss: Callable[[Pool], np.ndarray]
    needs: str
    about: str


def _each(function: Callable[[Parts], jax.Array], parts: Parts | None) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(function))(jax.tree.map(jnp.asarray, parts)))


def _on_parts(function: Callable[[Parts], jax.Array], about: str) -> dict[str, Rule]:
    """A loss on the target, and the same minus its value with held-out normals in its place."""
    name = about.split(":")[0]

    def calibrated(pool: Pool) -> np.ndarray:
        return _each(function, pool.parts) - _each(function, pool.held_out_parts)

    return {
        name: Rule(lambda pool: _each(function, pool.parts), "parts", about),
        f"calibrated_{name}": Rule(
            calibrated, "parts", f"calibrated_{name}: {name} minus its value on held-out normals"
        ),
    }


def _on_scores(function: Callable[..., jax.Array], about: str) -> Rule:
    def loss(pool: Pool) -> np.ndarray:
        target, held_out = pool.own_scores()
        return np.asarray(jax.jit(jax.vmap(lambda t, h: -function(h, t)))(target, held_out))

    return Rule(loss, "scores", about)


def _dsv(form: str) -> Callable[[Parts], jax.Array]:
    return lambda part: alignment.dsv_from_parts(part, form).loss


def _mmd_calibrated(pool: Pool) -> np.ndarray:
    return np.asarray(pool.mmd) - np.asarray(pool.held_out_mmd)


def _rank_mean(*names: str) -> Callable[[Pool], np.ndarray]:
    def loss(pool: Pool) -> np.ndarray:
        losses = [np.asarray(ranks.average_ranks(RULES[name].loss(pool))) for name in names]
        return np.mean(losses, axis=0) / len(pool.members)

    return loss


RULES: dict[str, Rule] = {
    **_on_parts(_dsv("code"), "dsv_code: DSV as published, halved distances, cap 1/2"),
    **_on_parts(_dsv("uncapped"), "dsv_uncapped: DSV without the cap"),
    **_on_parts(_dsv("formula"), "dsv_formula: DSV with the paper's full distances, cap 1/2"),
    **_on_parts(alignment.discordance, "discordance: first term of DSV alone"),
    **_on_parts(
        lambda part: -jnp.minimum(alignment.separability(part), alignment.CAP),
        "separability: minus the second term of DSV alone, capped",
    ),
    **_on_parts(
        lambda part: -alignment.separability(part),
        "separability_uncapped: minus the second term of DSV alone, no cap",
    ),
    **_on_parts(alignment.base, "base: mean distance of [train; augmented] to the target"),
    **_on_parts(alignment.std, "std: minus the spread of those distances"),
    "mmd": Rule(lambda pool: np.asarray(pool.mmd), "parts", "mmd: linear-kernel MMD"),
    "calibrated_mmd": Rule(_mmd_calibrated, "parts", "calibrated_mmd: mmd minus held-out's"),
    "tail_share": _on_scores(
        ranks.tail_share, "tail_share: target above the 95 % quantile of held-out normals"
    ),
    "auroc_held_out": _on_scores(
        ranks.auroc, "auroc_held_out: AUROC of the target against held-out normals"
    ),
    "tail_and_auroc": Rule(
        _rank_mean("tail_share", "auroc_held_out"),
        "scores",
        "tail_and_auroc: mean rank of tail_share and auroc_held_out",
    ),
    "train_loss": Rule(
        lambda pool: np.array([member.train_loss for member in pool.members]),
        "training",
        "train_loss: final training loss",
    ),
}

DEFAULT = "tail_and_auroc"  # on the evidence in experiments/results/development.txt


def get(name: str) -> Rule:
    """The rule of that name.

    Raises:
      InputError: an unknown name; the message lists the known ones.
    """
    if name not in RULES:
        raise InputError(f"no rule {name!r}; known: {', '.join(RULES)}")
    return RULES[name]


def by_setting(pool: Pool, per_member: np.ndarray) -> dict[str, float]:
    """Loss per setting (key -> loss), mean over its trained seeds; infinite = cannot be picked."""
    settings: list[Setting] = pool.settings
    values = per_setting(pool, per_member, settings)
    return {s.key: float(v) for s, v in zip(settings, values, strict=True)}


def losses(pool: Pool, name: str) -> dict[str, float]:
    """Loss per setting by the rule of that name."""
    return by_setting(pool, get(name).loss(pool))
