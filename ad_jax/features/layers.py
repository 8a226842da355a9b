"""What several encoders share: normalisation inside convolutions, and how images are scaled."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours in [0, 1]


def folded(
    tensors: Mapping[str, np.ndarray], kernel: str, norm: str, epsilon: float
) -> dict[str, jax.Array]:
    """A convolution `kernel [h, w, in, out]` and `bias [out]`, its BatchNorm inside them.

    Args:
      tensors: in float32, under PyTorch's names and in its order `[out, in, h, w]`.
      kernel: name of the convolution's tensor.
      norm: of the normalisation, without `.weight`, `.bias`, `.running_mean` and `.running_var`.
      epsilon: of the normalisation.
    """
    mean, variance, weight, bias = (
        tensors[f"{norm}.{part}"].astype(np.float64)
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    scale = weight / np.sqrt(variance + epsilon)
    return {
        "kernel": jnp.asarray(
            tensors[kernel].astype(np.float64).transpose(2, 3, 1, 0) * scale, jnp.float32
        ),
        "bias": jnp.asarray(bias - mean * scale, jnp.float32),
    }


def norm_shapes(norm: str, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the four tensors of a BatchNorm over `size` channels."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{norm}.{part}": (size,) for part in parts}


def standardised(images: jax.Array) -> jax.Array:
    """Images `[..., 3]` in [0, 1], with ImageNet's mean 0 and standard deviation 1."""
    return (images - jnp.float32(MEAN)) / jnp.float32(STD)
