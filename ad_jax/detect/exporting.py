"""A detector as one file that scores without this package: see `write`."""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from ad_jax.base import ranks
from ad_jax.base.json_text import json_text
from ad_jax.base.numerics import in_float32
from ad_jax.data.samples import SLACK
from ad_jax.detect.calibration import Calibration
from ad_jax.detect.networks import Networks
from ad_jax.store import write_whole

PLATFORMS = ("cpu", "cuda", "tpu")
FORMAT = 1


@in_float32
def write(path: str | Path, networks: Networks, calibration: Calibration, alpha: float) -> None:
    """Writes a `.npz` that numpy and jax alone can use.

    - `program`: bytes of a `jax.export` artifact for `PLATFORMS`, the networks inside it, and the
      frozen encoder if there is one: once, also where an ensemble has parts that it shows views
      to. It takes
      a batch `[b, *shape]` of any size b, uint8 or float32 as the normals were, and returns scores
      `[b]`, equal to `decision_function` on a CPU within 1e-4 of a score. Networks multiply as the
      platform does: rounding operands as TF32 does moved scores by up to .007, as bfloat16 does by
      up to .12, without a shift of their mean or of flags (emulated). It cannot refuse: what
      `decision_function` refuses (NaN, images out of [0, 1]) scores infinity, and so is flagged;
      memory grows with b.
    - `held_out`: `[N]` ascending scores of held-out normals; the p-value of a score is
      `(1 + how many of them are at least as high) / (N + 1)`.
    - `threshold`: above it p is at most `alpha`.
    - `about`: JSON text: shape, dtype, alpha, versions, `settings` and their weights, and the
      heaviest of them as `setting`.
    """
    state = networks.state

    def scores(samples: jax.Array) -> jax.Array:
        seen: dict[Any, jax.Array] = {}  # an encoder looks once for all parts that see the same
        every, surprise = [], []
        for part in networks.parts:
            shown = part.pretext.shown
            if shown not in seen:
                seen[shown] = part.seen(samples)
            every.append(part.look(part.arrays, seen[shown]))
            surprise.append(jax.vmap(ranks.surprise)(part.state.among, every[-1]))
        found = jnp.average(jnp.concatenate(surprise), 0, networks.weights)
        good = jnp.isfinite(samples)
        if state.dtype != "uint8" and len(state.shape) == 3:
            good = (samples >= -SLACK) & (samples <= 1.0 + SLACK)
        usable = good.all(range(1, samples.ndim)) & jnp.isfinite(jnp.concatenate(every)).all(0)
        return jnp.where(usable, found, jnp.inf)

    (count,) = jax.export.symbolic_shape("b")
    taken = jax.ShapeDtypeStruct((count, *state.shape), jnp.dtype(state.dtype))
    program = jax.export.export(jax.jit(scores), platforms=PLATFORMS)(taken).serialize()
    about: dict[str, Any] = {
        "format": FORMAT,
        "shape": list(state.shape),
        "dtype": state.dtype,
        "alpha": alpha,
        "platforms": list(PLATFORMS),
        "setting": state.setting.label,
        "settings": [[one.label, weight] for one, weight in state.by_setting],
        "versions": {name: version(name) for name in ("ad_jax", "jax", "jaxlib")},
    }
    content = io.BytesIO()
    np.savez(
        content,
        program=np.frombuffer(program, np.uint8),
        held_out=calibration.scores,
        threshold=np.float32(calibration.threshold(alpha)),
        about=np.array(json_text(about)),
    )
    write_whole(Path(path), content.getvalue())
