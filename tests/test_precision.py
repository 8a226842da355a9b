"""What is compared between members is computed in full float32 on every platform.

Accelerators multiply matrices in bfloat16 or TF32 unless a program asks for more. Networks may;
alignment, distances between sets, scores and densities may not.
"""

import re

import jax
import jax.numpy as jnp
import pytest

from ad_jax import alignment
from ad_jax.alignment import Sets
from ad_jax.base import ranks
from ad_jax.detect import scores
from ad_jax.detect.localise import densities, features
from ad_jax.features import placing
from ad_jax.selection.tuning import losses
from ad_jax.train.backbones import Cells

WIDTH = 6
ROWS = jax.ShapeDtypeStruct((24, WIDTH), jnp.float32)
MAPS = jax.ShapeDtypeStruct((5, 4, 4, WIDTH), jnp.float32)
GRID = features.grid_of((8, 8), [Cells(2)])  # of 4 x 4 positions
LIST = jax.ShapeDtypeStruct((24,), jnp.float32)
SETS = losses.Embedded(
    ROWS, ROWS, ROWS, ROWS, LIST, LIST, LIST, jax.ShapeDtypeStruct((), jnp.float32)
)


def with_gradient(loss):
    return lambda *given: jax.value_and_grad(loss)(*given)


def fit_and_score(method):
    """Of normals, and of the same scored: both programs in one."""
    return lambda seen: method.score(method.fit(seen), seen)


PROGRAMS = {
    "parts": (alignment.parts, (ROWS, ROWS, ROWS, LIST)),
    "mmd": (alignment.mmd, (ROWS, ROWS, ROWS, 0.5, LIST, LIST)),
    "measure": (
        alignment.measure,
        (Sets(*[ROWS] * 3, target_weights=jax.ShapeDtypeStruct((2, 24), jnp.float32)), ROWS),
    ),
    "auroc": (ranks.auroc, (LIST, LIST)),
    "average_precision": (ranks.average_precision, (LIST, LIST)),
    "spearman": (ranks.spearman, (LIST, LIST)),
    "surprise": (ranks.surprise, (LIST, LIST)),
    "p_values": (ranks.p_values, (LIST, LIST)),
    "to_image": (lambda heat: features.to_image(heat[..., 0], GRID, (9, 9)), (MAPS,)),
    "on_grid": (lambda maps: placing.on_grid(maps, (Cells(2), Cells(2)), GRID), (MAPS,)),
    **{f"score {k}": (fit_and_score(v), (ROWS,)) for k, v in scores.SCORES.items()},
    **{f"density {k}": (fit_and_score(v), (MAPS,)) for k, v in densities.METHODS.items()},
    **{f"outer {k}": (with_gradient(v), (SETS,)) for k, v in losses.OUTER.items()},
}


def imprecise(function, given, platform):
    """Lines of the lowered program that multiply matrices at less than full precision."""
    text = jax.jit(function).trace(*given).lower(lowering_platforms=(platform,)).as_text()
    products = [line for line in text.splitlines() if re.search("dot_general|convolution", line)]
    return [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line]


@pytest.mark.whole
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_product_of_matrices_is_at_default_precision(name, platform):
    assert imprecise(*PROGRAMS[name], platform) == []


def test_a_product_at_default_precision_would_be_seen():
    assert len(imprecise(lambda x: x.T @ x, (ROWS,), "tpu")) == 1
