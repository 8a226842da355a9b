"""The catalogue of augmentations: one row each, kernels for one sample, `vmap` for the batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ad_jax.augment.compose import chain, mixture, one_of, part_of, sometimes
from ad_jax.augment.contract import Augmentation, Pseudo, Range, at_share, smallest_area
from ad_jax.augment.geometry import (
    AFFINE,
    GEOMETRIC_SET,
    HORIZONTAL_FLIP,
    QUARTER_TURNS,
    RESIZED_CROP,
    ROTATE,
    SHEAR,
    TRANSLATE,
    VERTICAL_FLIP,
)
from ad_jax.augment.noise import BLUR, GAUSSIAN_NOISE, PERLIN_BLEND, PIXEL_MASK
from ad_jax.augment.patches import CUTAVG, CUTOUT, CUTPASTE, CUTPASTE_DONOR
from ad_jax.augment.photometric import (
    BRIGHTNESS,
    COLOUR_JITTER,
    CONTRAST,
    GAMMA,
    GREYSCALE,
    HUE,
    INVERT,
    SATURATION,
)
from ad_jax.augment.soft import CUTDIFF, SCAR, SOFT_CUTOUT, SOFT_CUTPASTE
from ad_jax.base.errors import InputError

IDENTITY = Augmentation(
    lambda key, hyper, shape: (),
    lambda sample, arguments, donor: (sample, jnp.zeros(sample.shape[:2], sample.dtype)),
    {},
    "elementwise",
    None,
    "changes nothing: the control",
    rows=True,
)

CATALOGUE: dict[str, Augmentation] = {
    "identity": IDENTITY,
    "quarter_turns": QUARTER_TURNS,
    "horizontal_flip": HORIZONTAL_FLIP,
    "vertical_flip": VERTICAL_FLIP,
    "geometric_set": GEOMETRIC_SET,
    "rotate": ROTATE,
    "translate": TRANSLATE,
    "shear": SHEAR,
    "affine": AFFINE,
    "resized_crop": RESIZED_CROP,
    "cutpaste": CUTPASTE,
    "cutpaste_donor": CUTPASTE_DONOR,
    "scar": SCAR,
    "soft_cutpaste": SOFT_CUTPASTE,
    "cutout": CUTOUT,
    "cutavg": CUTAVG,
    "soft_cutout": SOFT_CUTOUT,
    "cutdiff": CUTDIFF,
    "perlin_blend": PERLIN_BLEND,
    "pixel_mask": PIXEL_MASK,
    "gaussian_noise": GAUSSIAN_NOISE,
    "blur": BLUR,
    "brightness": BRIGHTNESS,
    "contrast": CONTRAST,
    "saturation": SATURATION,
    "hue": HUE,
    "gamma": GAMMA,
    "colour_jitter": COLOUR_JITTER,
    "greyscale": GREYSCALE,
    "invert": INVERT,
    "cutpaste_scar": one_of(
        "local", "CutPaste and scar, arXiv 2104.04015 (3-way)", cutpaste=CUTPASTE, scar=SCAR
    ),
    "simclr": chain(
        "mixed",
        "SimCLR's augmentations (arXiv 2002.05709), its order and probabilities",
        crop=RESIZED_CROP,
        flip=sometimes(HORIZONTAL_FLIP, 0.5),
        colour=sometimes(COLOUR_JITTER, 0.8),
        grey=sometimes(GREYSCALE, 0.2)._replace(needs=()),  # does nothing to grey images
        blur=sometimes(BLUR, 0.5),
    ),
}

PACKED = max(len(entry.space) for entry in CATALOGUE.values())  # hyperparameters of an entry


@functools.cache
def get(name: str) -> Augmentation:
    """The catalogue's entry of that name; `a+b` is the mixture of two entries, and so on.

    Raises:
      InputError: an unknown name (the message lists the known ones), one twice in a mixture.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    names = name.split("+")
    for part in names:
        if part not in CATALOGUE:
            raise InputError(f"no augmentation {part!r}; known: {', '.join(CATALOGUE)}")
    if len(set(names)) < len(names):
        raise InputError(f"the mixture {name!r} names a family twice; take each once")
    return mixture(**{part: CATALOGUE[part] for part in names})


def packed_length(families: Sequence[str]) -> int:
    """Length of the packed hyperparameters of a program over these families."""
    return max(PACKED, *(len(get(name).space) for name in families))


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
        lambda k, p, s, d, entry=get(name): entry.pseudo(k, entry.unpack(p), s, d)
        for name in families
    ]
    return jax.lax.switch(family, branches, key, packed, sample, donor)


__all__ = [
    "CATALOGUE",
    "PACKED",
    "Augmentation",
    "Pseudo",
    "Range",
    "at_share",
    "chain",
    "get",
    "mixture",
    "one_of",
    "packed_length",
    "part_of",
    "smallest_area",
    "sometimes",
    "switch",
]
