"""Alignment of `D_in + D_aug` with unlabelled data: DSV and the losses it is compared with.

`ALIGNMENTS` names them. A selection rule and an outer loss of tuning follow from every entry: add
one, and it can be selected by and descended.
"""

from ad_jax.alignment.contract import Alignment, Measure, Sets
from ad_jax.alignment.distances import (
    mean_distance,
    mixture_energy,
    mmd,
    sinkhorn,
    sinkhorn_of_halves,
)
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
    parts,
    separability,
    std,
)
from ad_jax.alignment.measuring import ALIGNMENTS, MEASURES, measure

__all__ = [
    "ALIGNMENTS",
    "CAP",
    "FORMS",
    "MEASURES",
    "TOGETHER",
    "Alignment",
    "Dsv",
    "Measure",
    "Parts",
    "Sets",
    "base",
    "between",
    "discordance",
    "dsv",
    "dsv_from_parts",
    "mean_distance",
    "mean_distances",
    "measure",
    "mixture_energy",
    "mmd",
    "parts",
    "separability",
    "sinkhorn",
    "sinkhorn_of_halves",
    "std",
]
