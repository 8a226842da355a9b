"""Outer losses: what theta should lower, from the embeddings of one look at every set.

All are minimised. Any of them can be calibrated (`calibrated_NAME`): minus the same with held-out
normals in the target's place, which takes away what an augmentation gains on any normals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ad_jax.alignment import ALIGNMENTS, Alignment, Sets, mixture_energy, sinkhorn_of_halves
from ad_jax.base.errors import InputError
from ad_jax.base.numerics import safe_sqrt
from ad_jax.detect import scores

CALIBRATED = "calibrated_"
DETECTABLE = 0.9  # of the loss at chance; above it the gate closes
ORDERS = (7, 31)
GATE = 10.0  # a network that learned nothing pays 1, more than any outer loss can win by collapse


class Positions(NamedTuple):
    """Positions of grids as they enter the head, in the normals' spread: no network lies between.

    Attributes:
      target, held_out: the strangest ones of images, `[n, d]` and `[m, d]`.
      augmented: of normals, augmented, `[k, d]`.
    """

    target: jax.Array
    held_out: jax.Array
    augmented: jax.Array


class Embedded(NamedTuple):
    """One look at every set: embeddings `[n, d]` and log-odds of being augmented `[n]`.

    Attributes:
      train, augmented, target, held_out: embeddings; all of one network.
      weights: `[k]` of the augmented samples, 1 on average.
      odds_target, odds_held_out: log-odds.
      pretext: loss of telling `train` from `augmented`, in units of the loss at chance.
      positions: of grids; None where a sample is no grid.
    """

    train: jax.Array
    augmented: jax.Array
    target: jax.Array
    held_out: jax.Array
    weights: jax.Array
    odds_target: jax.Array
    odds_held_out: jax.Array
    pretext: jax.Array
    positions: Positions | None = None

    def null(self) -> Embedded:
        """The same with held-out normals in the target's place."""
        own = self.positions
        return self._replace(
            target=self.held_out,
            odds_target=self.odds_held_out,
            positions=None if own is None else own._replace(target=own.held_out),
        )


def _smooth_auroc(target: jax.Array, held_out: jax.Array) -> jax.Array:
    """Smooth AUROC of scores against those of held-out normals (scalar).

    The step of a pair is a sigmoid of a quarter of the normals' own spread.
    """
    scale = safe_sqrt(jnp.var(held_out)) / 4.0 + 1e-3
    return jax.nn.sigmoid((target[:, None] - held_out[None, :]) / scale).mean()


def held_out_auroc(sets: Embedded) -> jax.Array:
    """Minus the smooth AUROC of the target against held-out normals, by the log-odds.

    Held-out normals are exchangeable with the target's, so in expectation it is
    `(1 - g) / 2 + g AUROC(anomalies against normals)`, whatever the share g of anomalies: it rises
    with what is wanted and stays at 1/2 where nothing is learned.
    """
    return -_smooth_auroc(sets.odds_target, sets.odds_held_out)


def _smooth_order(target: jax.Array, held_out: jax.Array, order: int) -> jax.Array:
    """Smooth order-k Wilcoxon statistic (scalar), `rules.tails.order_statistic`.

    Mean over the target of `prod_{l < k} (R + l) / (N + 1 + l)`; the step of a pair, of which ranks
    are sums, is a sigmoid of an eighth of the spread of all scores.
    """
    both = jnp.concatenate([target, held_out])
    scale = safe_sqrt(jnp.var(both)) / 8.0 + 1e-3
    rank = 0.5 + jax.nn.sigmoid((target[:, None] - both[None, :]) / scale).sum(1)
    place = jnp.arange(order)
    return jnp.exp(jnp.log((rank[:, None] + place) / (len(both) + 1 + place)).sum(1)).mean()


def wilcoxon(sets: Embedded, order: int) -> jax.Array:
    """Minus the smooth order-k Wilcoxon statistic by the log-odds, times k + 1.

    For a few anomalies in the target: a large k looks at the upper end alone. It is -1 where the
    target is like held-out normals, and at least -(k + 1).
    """
    return -(order + 1) * _smooth_order(sets.odds_target, sets.odds_held_out, order)


def held_out_density(sets: Embedded) -> jax.Array:
    """The same by the Mahalanobis distance to the batch of normals, the score of the detector."""
    fitted = scores.fit_density(sets.train)
    return -_smooth_auroc(
        scores.score_density(fitted, sets.target), scores.score_density(fitted, sets.held_out)
    )


def of_halves(sets: Embedded) -> jax.Array:
    """`alignment.sinkhorn_of_halves`: lowest, in expectation, where the anomalies are the target's.

    So it is if half of the target is anomalous, as half of what it is compared with is augmented.
    """
    return sinkhorn_of_halves(sets.train, sets.augmented, sets.target, sets.weights)


def of_mixture(sets: Embedded) -> jax.Array:
    """`alignment.mixture_energy` of held-out normals, some augmented, and the target.

    On grids of positions, the strangest of every image, with no network between; else of
    embeddings. The share of augmented ones is found, so no count of anomalies is supposed.
    """
    one = sets.positions or Positions(sets.target, sets.held_out, sets.augmented)
    return mixture_energy(one.held_out, one.augmented, one.target, sets.weights)[0]


def _aligned(alignment: Alignment) -> Callable[[Embedded], jax.Array]:
    return lambda sets: alignment(Sets(sets.train, sets.augmented, sets.target, sets.weights))


OUTER: dict[str, Callable[[Embedded], jax.Array]] = {
    **{name: _aligned(alignment) for name, alignment in ALIGNMENTS.items()},
    "sinkhorn_of_halves": of_halves,
    "mixture_energy": of_mixture,
    "held_out_auroc": held_out_auroc,
    "held_out_density": held_out_density,
    **{f"wilcoxon_{order}": partial(wilcoxon, order=order) for order in ORDERS},
}

INDIRECT = (  # theta reaches them through training alone
    "held_out_auroc",
    "held_out_density",
    *(f"wilcoxon_{order}" for order in ORDERS),
)


def gate(sets: Embedded) -> jax.Array:
    """What it costs that the network cannot tell the augmentation: 0 where it can.

    Without it most losses reward embeddings that are all alike: every set is then near every other.
    """
    return GATE * jax.nn.relu(sets.pretext - DETECTABLE)


def parse(text: str) -> dict[str, float]:
    """`name`, or `name=weight,name=weight`, as weights of outer losses.

    Raises:
      InputError: an unknown name or a weight that is no number.
    """
    out = {}
    for piece in text.split(","):
        name, equals, number = piece.partition("=")
        if name.removeprefix(CALIBRATED) not in OUTER:
            raise InputError(
                f"no outer loss {name!r}; known: {', '.join(OUTER)}, and each behind {CALIBRATED!r}"
            )
        try:
            out[name] = float(number) if equals else 1.0
        except ValueError:
            raise InputError(f"outer loss {piece!r} has no number as weight") from None
    return out


def combine(weights: Mapping[str, float]) -> Callable[[Embedded], jax.Array]:
    """The weighted sum of outer losses, without the gate."""

    def loss(sets: Embedded) -> jax.Array:
        total = jnp.float32(0.0)
        for name, weight in weights.items():
            plain = OUTER[name.removeprefix(CALIBRATED)]
            value = plain(sets)
            if name.startswith(CALIBRATED):
                value = value - plain(sets.null())
            total = total + weight * value
        return total

    return loss
