"""The catalogue of augmentations: one row each, kernels for one sample, `vmap` for the batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ad_jax.augment.contract import Augmentation, Range
from ad_jax.augment.geometry import QUARTER_TURNS, ROTATE
from ad_jax.augment.patches import CUTDIFF, CUTOUT, CUTPASTE
from ad_jax.errors import InputError

IDENTITY = Augmentation(
    lambda key, hyper, shape: (),
    lambda sample, arguments, donor: (sample, jnp.zeros(sample.shape[:2], sample.dtype)),
    {},
    "elementwise",
    None,
    "changes nothing: the control",
)

CATALOGUE: dict[str, Augmentation] = {
    "identity": IDENTITY,
    "quarter_turns": QUARTER_TURNS,
    "rotate": ROTATE,
    "cutpaste": CUTPASTE,
    "cutout": CUTOUT,
    "cutdiff": CUTDIFF,
}

PACKED = max(len(entry.space) for entry in CATALOGUE.values())  # length of packed hyperparameters


def get(name: str) -> Augmentation:
    """The catalogue's entry of that name.

    Raises:
      InputError: an unknown name; the message lists the known ones.
    """
    if name not in CATALOGUE:
        raise InputError(f"no augmentation {name!r}; known: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]


def switch(
    families: tuple[str, ...],
    family: jax.Array,
    key: jax.Array,
    packed: jax.Array,
    sample: jax.Array,
    donor: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Applies `families[family]` to one sample: several families, one compiled program.

    `family` stays unbatched under `vmap` (one family a chunk), or every branch would run.
    """
    branches = [
        lambda k, p, s, d, entry=CATALOGUE[name]: entry.random(k, entry.unpack(p), s, d)
        for name in families
    ]
    return jax.lax.switch(family, branches, key, packed, sample, donor)


__all__ = ["CATALOGUE", "PACKED", "Augmentation", "Range", "get", "switch"]
