"""The catalogue of augmentations: one row each, kernels for one sample, `vmap` for the batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp

from ad_jax.augment import geometry, noise, patches, photometric, soft
from ad_jax.augment.compose import chain, mixture, one_of, part_of, sometimes
from ad_jax.augment.contract import Augmentation, Pseudo, fixed, local, smallest_area, whole
from ad_jax.augment.features import BANDED, FEATURES, in_bands
from ad_jax.augment.rows import ROWS
from ad_jax.augment.series import SERIES
from ad_jax.base.errors import InputError, lookup
from ad_jax.base.modality import MODALITIES, mask_shape
from ad_jax.base.space import Range, Space

_SIMPLE: dict[str, Augmentation] = {
    "identity": Augmentation(
        apply=local(lambda sample, _: (sample, jnp.zeros(mask_shape(sample.shape), sample.dtype))),
        group="elementwise",
        source="changes nothing: the control",
        takes=MODALITIES,
    ),
    **geometry.GEOMETRIC,
    **patches.PASTES,
    **soft.PASTES,
    **patches.CUTS,
    **soft.CUTS,
    **noise.NOISY,
    **photometric.COLOUR,
}

CATALOGUE: dict[str, Augmentation] = {
    **_SIMPLE,
    "cutpaste_scar": one_of(
        "local",
        "CutPaste and scar, arXiv 2104.04015 (3-way)",
        cutpaste=_SIMPLE["cutpaste"],
        scar=_SIMPLE["scar"],
    ),
    "simclr": chain(
        "mixed",
        "SimCLR's augmentations (arXiv 2002.05709), its order and probabilities",
        crop=_SIMPLE["resized_crop"],
        flip=sometimes(_SIMPLE["horizontal_flip"], 0.5),
        colour=sometimes(_SIMPLE["colour_jitter"], 0.8),
        grey=sometimes(replace(_SIMPLE["greyscale"], needs=()), 0.2),  # leaves grey images alone
        blur=sometimes(_SIMPLE["blur"], 0.5),
    ),
}

KNOWN: dict[str, Augmentation] = {**CATALOGUE, **FEATURES, **SERIES, **ROWS}
PACKED = max(entry.space.size for entry in KNOWN.values())  # hyperparameters of an entry


@functools.cache
def get(name: str) -> Augmentation:
    """The catalogue's entry of that name; `a+b` is the mixture of two entries, and so on.

    `feature_noise:8` is an entry on features whose strengths are vectors, one number for each of 8
    bands of neighbouring channels (`features.in_bands`).

    Raises:
      InputError: an unknown name (the message lists the known ones), one twice in a mixture, bands
        that an entry does not have.
    """
    names = name.split("+")
    parts = {part: _entry(part) for part in names}
    if len(names) == 1:
        return parts[name]
    if len(set(names)) < len(names):
        raise InputError(f"the mixture {name!r} names a family twice; take each once")
    return mixture(**parts)


def _entry(name: str) -> Augmentation:
    base, banded, count = name.partition(":")
    entry = lookup(KNOWN, base, "augmentation")
    if not banded:
        return entry
    if base not in BANDED:
        raise InputError(f"{base} has no bands of channels; take one of: {', '.join(BANDED)}")
    if not count.isdecimal() or not int(count):
        raise InputError(f"{name}: {count!r} is no number of bands; take {base}:8")
    return in_bands(base, int(count))


def of_features(name: str) -> bool:
    """Whether an augmentation needs no image to be drawn, only features."""
    return all(part.partition(":")[0] in (*FEATURES, "identity") for part in name.split("+"))


def packed_length(families: Sequence[str]) -> int:
    """Length of the packed hyperparameters of a program over these families."""
    return max(PACKED, *(get(name).space.size for name in families))


def switch(
    families: tuple[str, ...],
    family: jax.Array,
    key: jax.Array,
    packed: jax.Array,
    sample: jax.Array,
    donor: jax.Array,
) -> Pseudo:
    """Applies `families[family]` to one sample: several families, one compiled program.

    `family` stays unbatched under `vmap` (one family a chunk), or every branch would run.
    """
    branches = [
        lambda k, p, s, d, entry=get(name): entry.pseudo(k, entry.space.unpack(p), s, d)
        for name in families
    ]
    return jax.lax.switch(family, branches, key, packed, sample, donor)


__all__ = [
    "CATALOGUE",
    "FEATURES",
    "KNOWN",
    "PACKED",
    "ROWS",
    "SERIES",
    "Augmentation",
    "Pseudo",
    "Range",
    "Space",
    "chain",
    "fixed",
    "get",
    "of_features",
    "local",
    "mixture",
    "one_of",
    "packed_length",
    "part_of",
    "smallest_area",
    "sometimes",
    "switch",
    "whole",
]
