"""Frozen features: what a pretrained encoder sees in images, computed once and kept."""

from ad_jax.features.contract import Encoder, Maps
from ad_jax.features.encoders import ENCODERS, get
from ad_jax.features.grids import Features, cells, encode, make_grids

__all__ = ["ENCODERS", "Encoder", "Features", "Maps", "cells", "encode", "get", "make_grids"]
