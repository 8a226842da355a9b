"""The vision transformer of DINOv2 (Oquab et al., arXiv 2304.07193), as it infers.

A side that is no multiple of 14 px is enlarged to the next one, linearly: positions stay spread
evenly over the whole image, and none is made of padding. The embedding of positions is interpolated
as in the original release: bicubic with a = -0.75 and its offset of 0.1, without smoothing, which
`jax.image.resize` (a = -0.5) does not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.features import weights
from ad_jax.features.contract import Maps
from ad_jax.features.layers import standardised
from ad_jax.features.placing import both_ways
from ad_jax.train.backbones.contract import Cells

PATCH = 14
EPSILON = 1e-6  # of LayerNorm
SHARPNESS, OFFSET = -0.75, 0.1  # of the interpolation
LAYERS = (0,)
SMALLEST = PATCH + 1
HUGGING_FACE = (  # parts of its names, and what they are called in the original release
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("embeddings.", ""),
    ("encoder.layer.", "blocks."),
    ("attention.output.dense", "attn.proj"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("layernorm.", "norm."),
)


class Plan(NamedTuple):
    """A transformer.

    Attributes:
      depth: number of blocks.
      width: channels of a token.
      heads: of the attention.
      side: positions a side that have an embedding of their own.
    """

    depth: int
    width: int
    heads: int
    side: int


VITS14 = Plan(12, 384, 6, 37)
Params = dict[str, jax.Array]


def shapes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that features need, by the original release's names."""
    width = plan.width
    linear = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
    out: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + plan.side**2, width),
        "patch_embed.proj.weight": (width, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (width,),
    }
    for block in (f"blocks.{i}." for i in range(plan.depth)):
        for name, shape in linear.items():
            out |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            out[block + name] = (width,)
        out |= {f"{block}ls1.gamma": (width,), f"{block}ls2.gamma": (width,)}
    return {**out, "norm.weight": (width,), "norm.bias": (width,)}


def original(tensors: Mapping[str, np.ndarray]) -> weights.Tensors:
    """Tensors by the original release's names, if they have those of Hugging Face's transformers.

    There query, key and value are three tensors; here they are one. Others are left as they are.
    """
    if "embeddings.cls_token" not in tensors:
        return dict(tensors)
    out = {}
    for name, tensor in tensors.items():
        for theirs, ours in HUGGING_FACE:
            name = name.replace(theirs, ours)
        out[name] = tensor
    for query in [name for name in out if ".attention.attention.query." in name]:
        parts = [query.replace("query", part) for part in ("query", "key", "value")]
        if len({out[part].shape if part in out else None for part in parts}) == 1:
            whole = query.replace("attention.attention.query", "attn.qkv")
            out[whole] = np.concatenate([out.pop(part) for part in parts])
    return out


def named(tensors: Mapping[str, np.ndarray], plan: Plan) -> weights.Tensors:
    """The network's tensors among those of a file, in float32, under either kind of names.

    Raises:
      InputError: names a tensor that lacks, is of another shape, not finite, or too many.
    """
    return weights.named(original(tensors), shapes(plan), unread=("mask_token", "head."))


def fold(tensors: Mapping[str, np.ndarray], plan: Plan) -> Params:
    """Tensors of `shapes`; there is no normalisation to fold into others."""
    return {name: jnp.asarray(tensor) for name, tensor in tensors.items()}


def cubic(old: int, new: int) -> np.ndarray:
    """`[new, old]`: bicubic interpolation along a side, values at the border going on."""
    places = (np.arange(new) + 0.5) * old / (new + OFFSET) - 0.5
    near = np.floor(places).astype(int)[:, None] + np.arange(-1, 3)
    d, a = np.abs(places[:, None] - near), SHARPNESS
    inside = (a + 2) * d**3 - (a + 3) * d**2 + 1
    outside = a * (d**3 - 5 * d**2 + 8 * d - 4)
    out = np.zeros((new, old))
    rows = np.arange(new)[:, None]
    np.add.at(out, (rows, np.clip(near, 0, old - 1)), np.where(d <= 1, inside, outside))
    return out


def _positions(embedding: jax.Array, sides: tuple[int, int], plan: Plan) -> jax.Array:
    """The embedding of positions `[1, 1 + side ** 2, d]` for a grid: `[1, 1 + h * w, d]`."""
    if sides == (plan.side, plan.side):
        return embedding
    own = embedding[:, 1:].reshape(1, plan.side, plan.side, plan.width)
    rows, columns = (cubic(plan.side, side) for side in sides)
    own = both_ways(rows, columns, own)
    return jnp.concatenate([embedding[:, :1], own.reshape(1, -1, plan.width)], axis=1)


def _count(side: int) -> int:
    return -(-side // PATCH)


def maps(params: Params, images: jax.Array, plan: Plan) -> Maps:
    """The last block's patch tokens, normalised, as the only stage; the class token.

    Args:
      images: `[n, h, w, 3]` in [0, 1].
    """

    def linear(x: jax.Array, name: str) -> jax.Array:
        return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]

    def normalised(x: jax.Array, name: str) -> jax.Array:
        scaled = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + EPSILON)
        return scaled * params[f"{name}.weight"] + params[f"{name}.bias"]

    def attention(x: jax.Array, name: str) -> jax.Array:
        split = linear(x, f"{name}.qkv").reshape(*x.shape[:2], 3, plan.heads, -1)
        seen = jax.nn.dot_product_attention(*jnp.moveaxis(split, 2, 0))
        return linear(seen.reshape(x.shape), f"{name}.proj")

    count, (height, width) = images.shape[0], map(_count, images.shape[1:3])
    x = jax.image.resize(images, (count, height * PATCH, width * PATCH, 3), "linear")
    x = standardised(x).reshape(count, height, PATCH, width, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
    kernel = params["patch_embed.proj.weight"].reshape(plan.width, -1).T
    x = x.reshape(count, height * width, -1) @ kernel + params["patch_embed.proj.bias"]
    first = jnp.broadcast_to(params["cls_token"], (count, 1, plan.width))
    x = jnp.concatenate([first, x], axis=1)
    x = x + _positions(params["pos_embed"], (height, width), plan)
    for block in (f"blocks.{i}." for i in range(plan.depth)):
        seen = attention(normalised(x, f"{block}norm1"), f"{block}attn")
        x = x + params[f"{block}ls1.gamma"] * seen
        wide = jax.nn.gelu(linear(normalised(x, f"{block}norm2"), f"{block}mlp.fc1"), False)
        x = x + params[f"{block}ls2.gamma"] * linear(wide, f"{block}mlp.fc2")
    x = normalised(x, "norm")
    return Maps((x[:, 1:].reshape(count, height, width, -1),), x[:, 0])


def cells(side: int, plan: Plan) -> tuple[Cells, ...]:
    """Where the positions lie along a side of so many px: each sees an equal share of it."""
    share = side / _count(side)
    return (Cells(share, (share - 1) / 2),)
