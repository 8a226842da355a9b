"""How much every setting of a pool says: a prior that evidence moves as far as it beats noise.

The prior gives a share to the default setting, where a pool holds one, and the rest to the
families, each the same, and in a family to every setting. Evidence is the order-31 Wilcoxon
statistic of target against held-out normals (`rules.tails`): a setting's lead over the prior's
mean, in standard errors of a bootstrap that draws target and held-out normals for all settings at
once. Its weight grows by `exp(pull gate z)`. The gate opens from 0 to 1 as the largest statistic of
any setting grows from `closed` to `open` of its own standard errors: where no setting finds the
target stranger than held-out normals, the prior stands as it is, to the bit. A target that differs
from held-out normals for another reason, another day or another place, opens it, too. Where the
normals come in groups, standard errors count by how much one half of the groups differs from the
other more than halves at random do; without groups that cannot be told from anomalies.

Constants were chosen on development tasks, and what they are worth on halves of the training sets
that did not choose them is in experiments/results/ensemble.txt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.augment import SERIES
from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.pool import Pool
from ad_jax.selection.resampling import draw
from ad_jax.selection.rules.tails import order_statistic
from ad_jax.selection.search import (
    default_on_features,
    default_on_series,
    default_on_windows,
    default_setting,
)
from ad_jax.train.setting import Setting

ORDER = 31
MOST = 10.0  # standard errors that count: no weight grows or falls by more than e^3 at a pull of .3
DRAWS = 60
FEWEST_GROUPS = 4  # of held-out normals, to say anything about how groups differ


class Constants(NamedTuple):
    """How weights are made.

    Attributes:
      default: share of the prior that the default setting has; 0 to 1.
      pull: of one standard error, on the log weight.
      closed, open: standard errors of the strongest statistic between which the gate opens.
    """

    default: float = 0.5
    pull: float = 0.3
    closed: float = 2.0
    open: float = 6.0


CONSTANTS = Constants()


def finished(pool: Pool) -> list[Setting]:
    """Settings that may have a weight: those that can be picked."""
    return [setting for setting in pool.settings if pool.pickable(setting)]


def defaults(pool: Pool) -> list[str]:
    """Keys of the finished settings that stand for the default: none, it, or the nearest.

    Of its pretext and augmentation, by the logarithm of the strength, whatever its sign; both where
    two are as near.
    """
    known = finished(pool)
    names = {s.augmentation for s in known}
    windows = [s.key for s in known if s.family == default_on_windows().family]
    if windows and names & set(SERIES):  # images have another default beside that family
        return windows
    others = (default_on_features(), default_on_series())
    wanted = next((one for one in others if one.augmentation in names), default_setting())
    own = {s.key: abs(s.strength) for s in known if s.family == wanted.family and s.strength}
    away = {key: abs(np.log(value / (wanted.strength or 1.0))) for key, value in own.items()}
    return [key for key, far in away.items() if far <= min(away.values()) + 1e-9]


def prior(pool: Pool, share: float = CONSTANTS.default) -> dict[str, float]:
    """Weight of every finished setting by its key; they sum to 1.

    Args:
      pool: whose settings they are.
      share: that the default setting has before families share the rest; where the pool holds no
        setting of its kind families share all.
    """
    settings = finished(pool)
    families = [setting.family for setting in settings]
    trusted = defaults(pool)
    left = (1.0 - share if trusted else 1.0) / max(1, len(set(families)))
    return {
        s.key: left / families.count(s.family) + (share / len(trusted) if s.key in trusted else 0.0)
        for s in settings
    }


class Evidence(NamedTuple):
    """What a target says of a pool's settings.

    Attributes:
      statistic: setting key -> order-31 Wilcoxon statistic.
      drawn: `[draws, settings]` the same of draws of the target and of held-out normals, moved by
        as much as groups of normals differ (`_between_groups`).
    """

    statistic: dict[str, float]
    drawn: np.ndarray

    def leads(self, before: Mapping[str, float]) -> dict[str, float]:
        """How far every setting is ahead of the mean by some weights, in standard errors."""
        share = np.array([before[key] for key in self.statistic])
        own = np.array(list(self.statistic.values()))
        noise = self.drawn - (self.drawn @ share)[:, None]
        return dict(zip(self.statistic, _in_errors(own - own @ share, noise).tolist(), strict=True))

    @property
    def strongest(self) -> float:
        """Largest statistic of a setting, in its own standard errors."""
        return float(_in_errors(np.array(list(self.statistic.values())), self.drawn).max())


def _in_errors(values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Values `[settings]` in the spread of their draws; 0 where they do not vary."""
    spread = drawn.std(0)
    out = np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)
    return np.clip(out, -MOST, MOST)


def evidence(pool: Pool, seed: int = 0) -> Evidence:
    """What the target says of every finished setting, and how much of it is noise.

    Args:
      pool: whose target and held-out normals are drawn anew, for all settings at once.
      seed: of the bootstrap.
    """
    settings = finished(pool)
    members = [pool.rows(setting, trained=True) for setting in settings]
    target, held_out = pool.own_scores()
    generator = np.random.default_rng(seed)

    def statistic(some: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        values = order_statistic(held_out[:, some[1]], target[:, some[0]], ORDER)
        return np.array([values[rows].mean() for rows in members])

    everyone = (np.arange(target.shape[1]), np.arange(held_out.shape[1]))
    own = statistic(everyone).tolist()
    drawn = np.stack([statistic(draw(pool, generator)) for _ in range(DRAWS)])
    if pool.groups is not None:
        values = _between_groups(held_out, pool.groups, generator)
        drawn = drawn + np.stack([values[:, rows].mean(1) for rows in members], axis=1)
    return Evidence(dict(zip((s.key for s in settings), own, strict=True)), drawn)


def _between_groups(
    held_out: np.ndarray, groups: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """What groups of normals add to the noise of the statistic, `[DRAWS, members]` around 0.

    The statistic of the normals in half of the groups against those in the others, for `DRAWS`
    choices of the half. Each member's values are shrunk by the share of their variance that halves
    drawn without regard to groups do not have; all of it is 0 with fewer than 4 groups, and for a
    member whose groups are alike.

    Args:
      held_out: scores `[members, m]`.
      groups: `[members, m]`; members of one seed hold out the same normals.
      generator: of the choices.
    """
    out = np.zeros((DRAWS, len(held_out)))
    for own in np.unique(groups, axis=0):
        rows, names = np.flatnonzero((groups == own).all(1)), np.unique(own)
        if len(names) < FEWEST_GROUPS:
            continue
        values = np.zeros((2, DRAWS, len(rows)))  # by groups, and at random
        for i in range(DRAWS):
            chosen = np.isin(own, generator.permutation(names)[: len(names) // 2])
            for kind, half in enumerate((chosen, generator.permutation(chosen))):
                apart = held_out[rows]
                values[kind, i] = order_statistic(apart[:, ~half], apart[:, half], ORDER)
        grouped, at_random = values.var(1)
        excess = np.divide(
            grouped - at_random, grouped, out=np.zeros_like(grouped), where=grouped > at_random
        )
        out[:, rows] = np.sqrt(excess) * (values[0] - values[0].mean(0))
    return out


def weights(pool: Pool, seed: int = 0, constants: Constants = CONSTANTS) -> dict[str, float]:
    """Weight of every finished setting by its key; they sum to 1.

    Args:
      pool: without held-out normals, or without evidence, the prior comes back as it is.
      seed: of the bootstrap.
      constants: of prior, pull and gate.
    """
    before = prior(pool, constants.default)
    if len(before) < 2 or not pool.held_out_scores.shape[2]:
        return before
    return followed(before, evidence(pool, seed), constants)


def followed(
    before: dict[str, float], found: Evidence, constants: Constants = CONSTANTS
) -> dict[str, float]:
    """Weights by setting key, moved from those before as far as the evidence goes."""
    closed, opened = constants.closed, constants.open
    gate = float(np.clip((found.strongest - closed) / (opened - closed), 0.0, 1.0))
    if not gate:
        return before
    leads = found.leads(before)
    moved = {
        key: value * float(np.exp(constants.pull * gate * leads[key]))
        for key, value in before.items()
    }
    total = sum(moved.values())
    return {key: value / total for key, value in moved.items()}


def safe_pick(pool: Pool, errors: float = 3.0, seed: int = 0) -> str:
    """Key of the default setting, or of one that the target says is clearly ahead of it.

    Args:
      pool: with held-out normals; one that holds no default has none to be safe with.
      errors: standard errors that the lead over the default has to exceed; 3 of one side leave
        the best of 18 settings that are all alike .02 to do so.
      seed: of the bootstrap.

    Returns:
      the setting whose statistic leads most; where it does not lead by so many standard errors of
      the difference, the default's (of two that are as near, the first).

    Raises:
      InputError: the pool holds no finished setting of the default's kind.
    """
    trusted = defaults(pool)
    if not trusted:
        raise InputError(
            "the pool holds no setting of the default's kind to fall back on; add one "
            "(search.default_setting(), on frozen features search.default_on_features())"
        )
    return ahead_of(evidence(pool, seed), trusted, errors)


def ahead_of(found: Evidence, trusted: Sequence[str], errors: float) -> str:
    """The key that leads some others' mean by more than so many errors, else the first of them."""
    leads = found.leads({key: (key in trusted) / len(trusted) for key in found.statistic})
    best = max(leads, key=leads.__getitem__)
    return best if leads[best] > errors else trusted[0]


def surprises(pool: Pool) -> dict[str, np.ndarray]:
    """Surprise `[n]` of the target by every finished setting, the mean over its trained seeds."""
    target, held_out = pool.own_scores()
    out = {}
    for setting in finished(pool):
        rows = pool.rows(setting, trained=True)
        among = held_out[rows]
        if among.shape[1] == 1:  # as a detector does, `State.among`
            among = np.repeat(np.unique(among)[None], len(rows), axis=0)
        own = [np.asarray(ranks.surprise(a, target[i])) for a, i in zip(among, rows, strict=True)]
        out[setting.key] = np.mean(own, axis=0)
    return out


def mixed(own: Mapping[str, np.ndarray], some: Mapping[str, float]) -> np.ndarray:
    """Weighted mean `[n]` of the settings' surprise by their keys."""
    return np.sum([weight * own[key] for key, weight in some.items()], axis=0)


def mean_surprise(pool: Pool, some: Mapping[str, float]) -> np.ndarray:
    """Weighted mean surprise `[n]` of the target."""
    return mixed(surprises(pool), some)


def keep(pool: Pool, some: Mapping[str, float], count: int) -> dict[str, float]:
    """The weights of `count` settings whose mean surprise is nearest to that of all.

    Forward selection by the squared difference over the target; no label and no order of settings
    has a say in it. The weight of a setting that is left out goes to the kept one whose surprise is
    nearest to its own, so the weights sum to 1.
    """
    own = surprises(pool)
    keys = [key for key, weight in some.items() if weight > 0]
    each, share = np.stack([own[key] for key in keys]), np.array([some[key] for key in keys])
    whole, length = share @ each, (each**2).sum(1)
    apart = length[:, None] + length - 2.0 * each @ each.T

    def passed_on(kept: list[int]) -> np.ndarray:
        """Weight of every kept setting `[kept]`, with those of the settings nearest to it."""
        return np.bincount(apart[:, kept].argmin(1), share, len(kept))

    kept: list[int] = []
    while len(kept) < min(count, len(keys)):
        left = [i for i in range(len(keys)) if i not in kept]
        away = [passed_on([*kept, i]) @ each[[*kept, i]] - whole for i in left]
        kept.append(left[int(np.argmin([(one**2).sum() for one in away]))])
    return dict(zip((keys[i] for i in kept), passed_on(kept).tolist(), strict=True))


def crossed(pool: Pool, seed: int = 0) -> np.ndarray:
    """`mean_surprise` `[n]` where no sample of the target is judged by weights that it moved.

    The target is cut in two; each half is scored by the weights of the other one.
    """
    count, kept = pool.scores.shape[2], np.arange(pool.held_out_scores.shape[2])
    order = np.random.default_rng(seed).permutation(count)
    halves = order[::2], order[1::2]
    out = np.empty(count)
    for shown, scored in (halves, halves[::-1]):
        some = weights(pool.take(np.sort(shown), kept), seed)
        out[scored] = mean_surprise(pool.take(scored, kept), some)
    return out
