"""What is tuned: unconstrained theta outside, physical hyperparameters inside.

Every tuned hyperparameter is a share p in (0, 1) of its range, on its own scale, and theta is the
logit of p. The weights of a mixture are the softmax of their thetas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax.augment import Pseudo, part_of
from ad_jax.base.errors import InputError
from ad_jax.base.parameters import real
from ad_jax.base.space import Range, Space, logit
from ad_jax.base.values import Value
from ad_jax.train.pretexts import augment_all
from ad_jax.train.setting import TRAINING, Setting

WEIGHTS = "weights"  # stands for the weights of a mixture, which are tuned together


class TunedSpace(NamedTuple):
    """A family or a mixture and which of its hyperparameters are tuned.

    Attributes:
      augmentation: name in the catalogue, or `a+b`.
      families: its parts; itself if it is no mixture.
      free: what is tuned besides weights, within its bounds; full names (`scar.width`).
      weighted: whether the weights of the mixture are tuned; they come last in theta.
      fixed: every other hyperparameter of the augmentation.
      rest: hyperparameters of training that are not tuned and no defaults.
    """

    augmentation: str
    families: tuple[str, ...]
    free: Space
    weighted: bool
    fixed: dict[str, Value]
    rest: Mapping[str, float] = {}

    @property
    def size(self) -> int:
        """Length of theta."""
        return self.free.size + (len(self.families) if self.weighted else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """A full name for every number of theta, `std[0]` and so on for those of a vector."""
        return (*self.free.labels, *self.weights)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights of a mixture that are tuned."""
        return tuple(f"{f}.weight" for f in self.families) if self.weighted else ()

    def numbers(self, hyper: Mapping[str, Any]) -> list[float]:
        """Every number of a point that is tuned, in the order of `names`."""
        return [*self.free.numbers(hyper), *(float(hyper[name]) for name in self.weights)]

    @property
    def training(self) -> tuple[str, ...]:
        """What is tuned of training, not of the augmentation."""
        own = augmentations.get(self.augmentation).space
        return tuple(name for name in self.free if name not in own)

    def setting(self, hyper: Mapping[str, Any]) -> Setting:
        """The setting of a point: normal against augmented."""
        own = {name: value for name, value in hyper.items() if name not in self.training}
        training = {**self.rest, **{name: hyper[name] for name in self.training}}
        return Setting("binary", self.augmentation, own, **training)

    def bounds(self) -> list[dict[str, Any]]:
        """What files say of every tuned hyperparameter."""
        return [
            {"name": name, "low": one.low, "high": one.high, "scale": one.scale}
            | ({"size": one.size} if one.size else {})
            for name, one in self.free.items()
        ]


def make_space(
    augmentation: str,
    shape: tuple[int, ...],
    tune: Sequence[str] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, float] | None = None,
    training: Mapping[str, float] = {},
) -> TunedSpace:
    """A space of tuned hyperparameters.

    Args:
      augmentation: name in the catalogue, or `a+b` for a mixture; on features `feature_noise:8`
        has a number for each of 8 bands of channels, `feature_noise:channel` one for every channel.
      shape: of one sample, as the network sees it.
      tune: full names, `weights` for those of a mixture; everything of the augmentation that
        carries a gradient by default. Hyperparameters of training can be named, too.
      bounds: name -> (low, high) inside the catalogue's range.
      fixed: name -> value of hyperparameters that are not tuned, instead of their defaults.
      training: hyperparameters of training that are no defaults.

    Raises:
      InputError: nothing to tune, a name that is unknown or carries no gradient, bounds that are
        reversed or out of range, a fixed value out of range.
    """
    augmentation = augmentation.replace(":channel", f":{shape[-1]}")
    entry = augmentations.get(augmentation)
    families = tuple(augmentation.split("+"))
    if entry.lacks(shape):
        raise InputError(f"{augmentation} needs {entry.lacks(shape)}, these are {shape}")
    carrying = [name for name, one in entry.space.items() if one.gradient]
    fixed = {name: real(name, value) for name, value in (fixed or {}).items()}
    known = [*carrying, *([WEIGHTS] if len(families) > 1 else [])]
    if tune is None:
        tune = [name for name in known if name not in fixed]
    for name in tune:
        if name not in known and (name in entry.space or name not in TRAINING):
            what = "carries no gradient" if name in entry.space else "is unknown"
            raise InputError(
                f"{name!r} of {augmentation} {what}, so it cannot be descended; "
                f"tune: {', '.join(known) or 'nothing here; see docs/catalogue.md'}"
            )
        if name in fixed:
            raise InputError(f"{name!r} is both tuned and fixed; choose one")
    if not tune:
        raise InputError(
            f"{augmentation} has nothing that a gradient reaches; take one that has (cutdiff, "
            "soft_cutpaste, rotate …, see docs/catalogue.md) or a mixture like cutdiff+scar"
        )
    free = Space()
    for name in tune:
        if name != WEIGHTS:
            free[name] = _bounded(augmentation, name, shape, (bounds or {}).get(name))
    strange = set(bounds or {}) - set(free)
    if strange:
        raise InputError(f"bounds of {sorted(strange)[0]!r}, which is not tuned")
    tuned = {*free, *(f"{family}.weight" for family in families if WEIGHTS in tune)}
    others = {k: v for k, v in entry.defaults().items() if k not in tuned}
    for name in fixed:
        if name not in entry.space:
            raise InputError(f"{augmentation} has no {name!r}; it has: {', '.join(entry.space)}")
    others |= fixed
    rest = {k: v for k, v in training.items() if k not in free}
    space = TunedSpace(augmentation, families, free, WEIGHTS in tune, others, rest)
    middle = space.setting(to_hyper(space, np.zeros(space.size)))
    entry.check(augmentation, middle.hyper, shape)
    return space


def _bounded(
    augmentation: str, name: str, shape: tuple[int, ...], bounds: tuple[float, float] | None
) -> Range:
    """The range of one tuned hyperparameter within bounds, without what cannot be seen."""
    space = augmentations.get(augmentation).space
    one = space[name] if name in space else TRAINING[name]
    ends = (one.low, one.high) if bounds is None else bounds
    low, high = (real(name, end) for end in ends)
    if not one.low <= low < high <= one.high:
        raise InputError(
            f"bounds {low} to {high} of {name} are reversed or out of range; take "
            f"{one.low} <= low < high <= {one.high}"
        )
    family, _, own = name.rpartition(".") if "+" in augmentation else (augmentation, "", name)
    visible = augmentations.get(family or augmentation).visible(shape)
    seen = visible[own].low if own in visible else low  # what is smaller changes nothing
    if not seen < high:
        raise InputError(f"bounds {low} to {high} of {name} are too small to be seen at {shape}")
    return one._replace(low=float(max(low, seen)), high=float(high))


def shares(space: TunedSpace, theta: Any) -> jax.Array:
    """Position of every tuned number in its range, `[size]` in (0, 1); weights as they are."""
    count = space.free.size
    inside = jax.nn.sigmoid(theta[:count])
    return jnp.concatenate([inside, jax.nn.softmax(theta[count:])]) if space.weighted else inside


def constrain(space: TunedSpace, theta: Any) -> dict[str, jax.Array]:
    """All hyperparameters at theta `[size]`; a gradient flows through."""
    hyper: dict[str, Any] = {name: jnp.float32(value) for name, value in space.fixed.items()}
    hyper |= space.free.constrain(theta[: space.free.size])
    if space.weighted:
        weights = jax.nn.softmax(theta[space.free.size :])
        hyper |= {name: weights[i] for i, name in enumerate(space.weights)}
    return hyper


def to_hyper(space: TunedSpace, theta: Any) -> dict[str, Value]:
    """The same as plain numbers, inside their bounds to the last digit."""
    hyper = constrain(space, jnp.asarray(theta, jnp.float32))
    weights = {name: float(hyper[name]) for name in space.weights}
    return {**weights, **space.free.clip(hyper), **space.fixed}


def theta_at(space: TunedSpace, share: Any) -> np.ndarray:
    """Theta `[size]` at shares in (0, 1) of every range, and at relative weights; see `shares`."""
    share, count = np.asarray(share, np.float64), space.free.size
    weights = np.log(np.maximum(share[count:], 1e-6))
    return np.concatenate([logit(share[:count]), weights]).astype(np.float32)


def unconstrain(space: TunedSpace, hyper: Mapping[str, Any]) -> np.ndarray:
    """Theta `[size]` of hyperparameters; missing ones stand in the middle of their range.

    Raises:
      InputError: a value outside its bounds, or one that is not tuned.
    """
    strange = set(hyper) - {*space.free, *space.weights}
    if strange:
        raise InputError(
            f"start gives {sorted(strange)[0]!r}, which is not tuned; tuned: "
            f"{', '.join([*space.free, *space.weights])}"
        )
    space.free.check("start", {name: hyper[name] for name in space.free if name in hyper})
    theta = space.free.unconstrain({k: v for k, v in hyper.items() if k in space.free})
    if not space.weighted:
        return theta
    weights = np.array([hyper.get(f"{family}.weight", 1.0) for family in space.families])
    weights = np.log(np.maximum(np.maximum(weights, 1e-3) / weights.sum(), 1e-6))
    return np.concatenate([theta, weights.astype(np.float32)])


def random_starts(space: TunedSpace, count: int, seed: int) -> np.ndarray:
    """Thetas `[count, size]`: shares uniform in 0.1..0.9, weights equal."""
    shares = np.ones((count, space.size))
    shares[:, : space.free.size] = np.random.default_rng(seed).uniform(
        0.1, 0.9, (count, space.free.size)
    )
    return np.stack([theta_at(space, one) for one in shares])


def relaxed(
    space: TunedSpace, theta: Any, key: jax.Array, samples: jax.Array, donors: Any
) -> Pseudo:
    """Pseudo-anomalies of a batch `[n, ...]` with a gradient to every entry of theta.

    A mixture is not drawn but counted: its families share the batch equally and each
    pseudo-anomaly weighs as often as its family should come up: a weighted mean is the expected
    loss.
    """
    hyper = constrain(space, theta)
    if len(space.families) == 1:
        entry = augmentations.get(space.augmentation)
        return augment_all(lambda k, s, d: entry.pseudo(k, hyper, s, d), key, samples, donors)
    keys = jax.random.split(key, len(space.families))
    weights = jnp.stack([hyper[f"{name}.weight"] for name in space.families])
    weights = weights / weights.sum()
    ends = np.linspace(0, samples.shape[0], len(space.families) + 1).astype(int)
    out = []
    for i, (name, start, end) in enumerate(zip(space.families, ends[:-1], ends[1:], strict=True)):
        entry = augmentations.get(name)
        own = part_of(name, {k: v for k, v in hyper.items() if k != f"{name}.weight"})

        def one(
            k: jax.Array, s: jax.Array, d: jax.Array, entry: Any = entry, own: Any = own
        ) -> Any:
            return entry.pseudo(k, own, s, d)

        pseudo = augment_all(one, keys[i], samples[start:end], donors[start:end])
        share = samples.shape[0] / (end - start)
        out.append(
            pseudo._replace(
                kind=jnp.full(end - start, i, jnp.int32),
                weight=jnp.full(end - start, share) * weights[i],
            )
        )
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *out)
