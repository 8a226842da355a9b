"""Networks: the only room that knows flax.

A network maps one batch of samples to `Outputs`: a pooled embedding (what alignment and densities
read), logits (what the pretext trains), every stage's feature map (what localisation reads) and, if
asked for, a reconstruction (what denoising trains). Normalisation is per sample (GroupNorm,
LayerNorm): no state to carry through a differentiated training, and no coupling between normal and
augmented samples of a batch, through which BatchNorm would tell them apart. The nonlinearity is
gelu: gradients through training need second derivatives.

Every factory is `(shape, classes, width, decode=False) -> Backbone`.
"""

from __future__ import annotations

from ad_jax.train.backbones.contract import Backbone, Cells, Factory, Outputs, as_unit
from ad_jax.train.backbones.convolutional import SMALLEST_SIDE, encoder
from ad_jax.train.backbones.dense import mlp
from ad_jax.train.backbones.layers import patches
from ad_jax.train.backbones.positions import Units, patch_head, strangest, units_of, whole_head
from ad_jax.train.backbones.residual import resnet18, resnet18_large
from ad_jax.train.backbones.temporal import SMALLEST_LENGTH, temporal

BACKBONES: dict[str, Factory] = {
    "encoder": encoder,
    "resnet18": resnet18,
    "resnet18_large": resnet18_large,
    "mlp": mlp,
    "temporal": temporal,
}

__all__ = [
    "BACKBONES",
    "SMALLEST_LENGTH",
    "SMALLEST_SIDE",
    "Backbone",
    "Cells",
    "Outputs",
    "Units",
    "as_unit",
    "encoder",
    "mlp",
    "patch_head",
    "patches",
    "resnet18",
    "resnet18_large",
    "strangest",
    "temporal",
    "units_of",
    "whole_head",
]
