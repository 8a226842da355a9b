"""Alignment of `D_in + D_aug` with unlabelled data: DSV and the losses it is compared with."""

from ad_jax.alignment.dsv import (
    CAP,
    FORMS,
    TOGETHER,
    Dsv,
    Parts,
    base,
    between,
    discordance,
    dsv,
    dsv_from_parts,
    mean_distances,
    mmd,
    parts,
    separability,
    std,
)

__all__ = [
    "CAP",
    "FORMS",
    "TOGETHER",
    "Dsv",
    "Parts",
    "base",
    "between",
    "discordance",
    "dsv",
    "dsv_from_parts",
    "mean_distances",
    "mmd",
    "parts",
    "separability",
    "std",
]
