"""Planted problems: the anomalies are normals passed through a known augmentation.

They are the controlled test of alignment: here the right augmentation is known, and the one equal
to the generator should win on its own kind. Only the normals of another source, the base, enter;
its target and its truth are not looked at.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.modality import modality
from ad_jax.base.values import typical
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import content_hashes, mask_of
from ad_jax.data.truth import Labels, Truth

if TYPE_CHECKING:
    import jax

    from ad_jax.augment import Augmentation

_AS_THEY_ARE = (np.zeros(1, np.float32), np.ones(1, np.float32))  # images: mean, spread of units
PARTS = 3  # of the base's normals: one becomes the target, the others train


def load_planted(
    generator: str,
    *,
    load_base: Callable[..., tuple[Problem, Truth]],
    base: str = "textures:brick-defect",
    hyper: str | Mapping[str, float] = "",
    share: float = 0.2,
    seed: int = 0,
    **options: object,
) -> tuple[Problem, Truth]:
    """Plant anomalies among the normals of a base.

    A third of the base's train normals, by content and in whole groups, becomes the target; the
    others train, and its held-out normals stay as they are. So all planted problems of one base
    share their trainings, whatever the generator. Of a series it is blocks of time that move. In
    the target `round(share * n)` normals (at least one, never all) are replaced by what the
    generator makes of them: the first ones, in a random order, that it changes at all. Where the
    base's held-out normals are of another origin than its train normals (textures: another region),
    they are so here too.

    Args:
      generator: name of an augmentation of samples, or `a+b` for two kinds of anomalies; not
        `identity`, which changes nothing.
      load_base: turns `base` and `options` into a problem (and a truth, which stays sealed).
      base: the other source, of images or of a series.
      hyper: `name:value;name:value` instead of the generator's defaults, or a mapping.
      share: of the target that is anomalous, above 0 and below 1.
      seed: of every random choice: which are replaced, by which draw, with which donor.
      **options: of the base; its `limit` is of the normals before they are divided.

    Returns:
      Problem with samples of the base's shape and dtype (uint8 is rounded; images stay in their
      range; series are changed in units of the base's normals, per channel), and its truth: kinds
      are the generator's name, `facts` hold `generator`, `hyper`, `share`, `seed`, `base`; masks
      say what changed, unless everything did.

    Raises:
      InputError: option out of range, or a base that does not suit.
    """
    family = _family(generator)
    values = {name: typical(one) for name, one in family.defaults().items()} | _given(hyper)
    _check_planting(base, share)
    normals, _ = load_base(base, **options)
    if modality(normals.shape) == "row":
        raise InputError(
            f"base={base} holds rows of shape {normals.shape}; give one of images or of a series"
        )
    family.check(generator, values, normals.shape)
    in_target = _in_target(base, normals)
    train, target = normals.train[~in_target], normals.train[in_target].copy()
    units = _units(normals.train) if normals.series else _AS_THEY_ARE
    augmented, masks, order = _augment(generator, values, target, train, units, seed)
    changed = (augmented != target).reshape(len(target), -1).any(axis=1)
    rows = _planted_rows(generator, share, order[changed[order]], len(target))
    target[rows] = augmented[rows]
    anomalous = np.zeros(len(target), np.uint8)
    anomalous[rows] = 1

    facts = {"generator": generator, "hyper": values, "share": share, "seed": seed, "base": base}

    def read() -> Labels:
        return _labels(anomalous, masks, facts)

    # Names by content: the order of the base would tell which of them moved.
    rank = np.argsort(np.argsort(content_hashes(target), kind="stable"), kind="stable")
    try:
        return sealed(
            train=train,
            held_out=normals.held_out,
            target=target,
            names=[f"planted-{i:0{len(str(len(rank)))}d}" for i in rank],
            read=read,
            groups=None if normals.groups is None else normals.groups[~in_target].tolist(),
            range=normals.range,
            series=normals.series,
            distinct=normals.distinct,
        )
    except InputError as error:
        raise InputError(f"with a third of base={base} in the target, {error}") from None


def _labels(anomalous: np.ndarray, masks: np.ndarray, facts: Mapping[str, object]) -> Labels:
    """Labels of a target `[n]`; masks `[n, ...]` of what the generator changed or would have."""

    def mask(row: int) -> np.ndarray:
        return mask_of(masks[row]) if anomalous[row] else np.zeros(masks.shape[1:], np.uint8)

    everything = bool((masks[anomalous == 1] == 1).all())
    kinds = [str(facts["generator"]) if a else "" for a in anomalous]
    return Labels(anomalous, kinds, None if everything else mask, facts)


def _planted_rows(generator: str, share: float, changed: np.ndarray, size: int) -> np.ndarray:
    """The rows that are replaced: the first of those that the generator changes."""
    count = min(max(1, round(share * size)), size - 1)
    if len(changed) < count:
        raise InputError(
            f"planted:{generator} changes only {len(changed)} of {size} normals, fewer than "
            f"the {count} of share={share}; give a smaller share or another hyper"
        )
    return changed[:count]


def _check_planting(base: str, share: float) -> None:
    if not 0 < share < 1:
        raise InputError(f"share={share} is out of range; give a number above 0 and below 1")
    if base.startswith("planted:"):
        raise InputError(f"base={base} is itself planted; give a source of normals like digits")


def _family(generator: str) -> "Augmentation":
    from ad_jax.augment import get, of_features  # loads JAX, which no other source needs

    if generator == "identity":
        raise InputError("planted:identity would change nothing; give a generator like cutpaste")
    try:
        family = get(generator)
    except InputError as error:
        raise InputError(f"planted:{generator} has no such generator: {error}") from None
    for name in generator.split("+"):
        if of_features(name):
            raise InputError(
                f"planted:{generator}: {name} changes no samples; give a generator like cutpaste"
            )
    return family


def _given(hyper: str | Mapping[str, float]) -> dict[str, float]:
    """The values of `name:value;name:value`, or of a mapping."""
    pairs: list[tuple[str, object]]
    if isinstance(hyper, Mapping):
        pairs = list(hyper.items())
    else:
        pieces = [piece.partition(":") for piece in str(hyper).split(";") if piece.strip()]
        pairs = [(name.strip(), value) for name, _, value in pieces]
    values: dict[str, float] = {}
    for name, value in pairs:
        if name in values:
            raise InputError(f"hyper={hyper!r} gives {name} twice; keep one")
        try:
            values[name] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise InputError(
                f"hyper={hyper!r}: {name} has no number; give name:value;name:value"
            ) from None
    return values


def _in_target(base: str, normals: Problem) -> np.ndarray:
    """Which train normals become the target, `[n]` bool."""
    units = int(normals.units.max()) + 1
    if units < PARTS or len(normals.train) < 2 * PARTS:
        raise InputError(
            f"base={base} has {len(normals.train)} train normals, {units} of them independent; "
            f"give one of at least {2 * PARTS}, in at least {PARTS} groups"
        )
    return normals.divide(PARTS) == 0


def _units(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread `[c]` of the channels of series `[n, t, c]`; 1 where one is constant."""
    mean, spread = (np.asarray(f(series, axis=(0, 1), dtype=float)) for f in (np.mean, np.std))
    spread[spread <= 1e-6 * np.abs(series).max((0, 1))] = 1
    return mean.astype(np.float32), spread.astype(np.float32)


def _augment(
    generator: str,
    values: Mapping[str, float],
    samples: np.ndarray,
    donors: np.ndarray,
    units: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each of the samples `[n, ...]` augmented, with a random one of the donors `[m, ...]`.

    `units` are a mean and a spread, in which series are augmented.

    Returns:
      The augmented, of the same dtype; masks float32, as of `mask_shape`; a random order `[n]`.
    """
    import jax

    hyper = {name: np.float32(value) for name, value in values.items()}
    with _on_cpu(), jax.enable_x64(False):  # of other draws there would be another problem
        order_key, donor_key, draw_key = jax.random.split(jax.random.key(seed), 3)
        n = len(samples)
        chosen = np.asarray(jax.random.randint(donor_key, (n,), 0, len(donors)))
        keys = jax.random.split(draw_key, n)
        one_by_one = _one_by_one(generator, samples.dtype == np.uint8, samples.ndim == 4)
        augmented, masks = one_by_one(hyper, units, (keys, samples, donors[chosen]))
        order = jax.random.permutation(order_key, n)
    return np.asarray(augmented), np.asarray(masks, np.float32), np.asarray(order)


@functools.cache
def _one_by_one(
    generator: str, in_bytes: bool, bounded: bool
) -> Callable[..., tuple["jax.Array", "jax.Array"]]:
    """Compiled `(hyper, units, (keys, samples, donors)) -> (augmented, masks)`.

    Not in a batch: that would take longer to compile than it saves. What is `bounded`, as images
    are, stays in [0, 1]; all else is augmented in its units, and unchanged values stay to the bit.
    """
    import jax
    import jax.numpy as jnp

    family = _family(generator)

    def one_of_any(
        hyper: Mapping[str, "jax.Array"],
        units: tuple["jax.Array", "jax.Array"],
        key: "jax.Array",
        sample: "jax.Array",
        donor: "jax.Array",
    ) -> tuple["jax.Array", "jax.Array"]:
        mean, spread = units
        seen, other = ((x - mean) / spread for x in (sample, donor))
        augmented, mask = family.random(key, hyper, seen, other)
        return jnp.where(augmented == seen, sample, augmented * spread + mean), mask

    def one(
        hyper: Mapping[str, "jax.Array"],
        units: object,
        key: "jax.Array",
        sample: "jax.Array",
        donor: "jax.Array",
    ) -> tuple["jax.Array", "jax.Array"]:
        if in_bytes:
            sample, donor = (x.astype(jnp.float32) / 255.0 for x in (sample, donor))
        augmented, mask = family.random(key, hyper, sample, donor)
        augmented = jnp.clip(augmented, 0.0, 1.0)
        if in_bytes:
            augmented = jnp.floor(augmented * 255.0 + 0.5).astype(jnp.uint8)
        return augmented, mask

    each = one if bounded else one_of_any
    return jax.jit(lambda hyper, units, given: jax.lax.map(lambda g: each(hyper, units, *g), given))


def _on_cpu() -> contextlib.AbstractContextManager[object]:
    """The same samples, so the same fingerprint, on a machine with an accelerator."""
    import jax

    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # this process was started without one
        return contextlib.nullcontext()
