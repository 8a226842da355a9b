"""One scale for all images: how rare a pixel's score is among pixels of held-out normals.

A *decade* is -log10 of the share of held-out normals' pixels that score at least as high: 3 means
one in a thousand. Pixels of one image depend on each other, so this is no p-value of a test; what a
whole image may reach by chance is what held-out images reach (`alarm`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError

KNOTS = 512
PIXELS = 2**23  # most pixels that are sorted; of more, every k-th (k odd, so all columns)
_TAIL = 100  # the highest of so many pixels set the slope beyond all of them


class Scale(NamedTuple):
    """A monotone table from scores to decades.

    Attributes:
      scores: `[k]` of held-out pixels, ascending.
      decades: `[k]` theirs; the last is log10(pixels + 1).
      slope: decades per unit of score above the last.
      maxima: `[m]` highest decade of every held-out image, in the order of these.
    """

    scores: jax.Array
    decades: jax.Array
    slope: jax.Array
    maxima: jax.Array


def fit_scale(held_out: jax.Array) -> Scale:
    """The scale of scores `[m, ...]` of held-out normals' pixels.

    The r-th highest of N pixels is at log10((N + 1) / r) decades, read off at `KNOTS` ranks that
    are evenly spaced in decades and interpolated linearly. Above the highest pixel it goes on
    linearly, an exponential tail with the mean excess of the highest hundredth (as
    `ranks.surprise` does with the highest quarter of images): what lies there is extrapolated.
    """
    skip = -(-held_out.size // PIXELS)
    values = jnp.sort(held_out.reshape(-1)[:: skip + (skip > 1 and skip % 2 == 0)])
    count = values.shape[0]
    ranks = np.unique(np.round(np.geomspace(1, count, min(KNOTS, count))).astype(np.int64))[::-1]
    knots = values[count - ranks]
    decades = jnp.float32(np.log10((count + 1) / ranks))
    top = values[count - math.ceil(count / _TAIL) :]
    excess = jnp.maximum((top - top[0]).mean(), 0.05 * values.std())
    slope = 1.0 / (math.log(10.0) * jnp.maximum(excess, 1e-12))
    scale = Scale(knots, decades, slope, jnp.zeros(0))
    highest = held_out.reshape(held_out.shape[0], -1).max(1)
    return scale._replace(maxima=to_decades(scale, highest))


def to_decades(scale: Scale, scores: jax.Array) -> jax.Array:
    """Decades of scores of any shape; about 0 below all pixels of held-out normals."""
    inside = jnp.interp(scores.reshape(-1), scale.scores, scale.decades).reshape(scores.shape)
    return inside + scale.slope * jnp.maximum(scores - scale.scores[-1], 0.0)


def alarm(scale: Scale, share: float = 0.05) -> float:
    """Decades that at most `share` of new normal images reach anywhere (split conformal).

    Infinite with fewer than `1 / share - 1` held-out normals: nothing can be promised then.

    Raises:
      InputError: a share that is not between 0 and 1.
    """
    if not 0.0 < share < 1.0:
        raise InputError(f"share={share:g} is not between 0 and 1; give one like 0.05")
    maxima = np.sort(scale.maxima)
    rank = math.ceil((len(maxima) + 1) * (1.0 - share) - 1e-9)
    return float(maxima[rank - 1]) if rank <= len(maxima) else math.inf
