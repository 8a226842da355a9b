"""Frozen features: what a pretrained encoder sees in images, computed once and kept."""

from ad_jax.features.contract import Encoder, Maps
from ad_jax.features.encoders import ENCODERS, get
from ad_jax.features.grids import Features, cells, encode, make_grids
from ad_jax.features.seeing import Eyes, frozen, refuse, see, seen, seen_shape, weights_of

__all__ = [
    "ENCODERS",
    "Encoder",
    "Eyes",
    "Features",
    "Maps",
    "cells",
    "encode",
    "frozen",
    "get",
    "make_grids",
    "refuse",
    "see",
    "seen",
    "seen_shape",
    "weights_of",
]
