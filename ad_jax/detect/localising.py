"""Where a sample is strange: localisation by a detector's own networks.

Every seed's localiser is fitted on the normals that this seed trained on, and scaled by those that
it held out, so nothing but a forward pass over the normals and a density is paid for.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import features
from ad_jax.base.errors import InputError
from ad_jax.base.numerics import in_float32
from ad_jax.detect import localise
from ad_jax.detect.calibration import by_fold
from ad_jax.detect.look import network, pretext_of
from ad_jax.detect.networks import Networks, refuse_infinite
from ad_jax.detect.normals import Normals
from ad_jax.detect.state import Localised, State
from ad_jax.detect.tiles import Plan
from ad_jax.features import frozen, seen_shape
from ad_jax.train.backbones import Backbone
from ad_jax.train.setting import Config, Setting

BLOCK = 16  # images (or tiles) a program run


def check(method: object, config: Config, shape: tuple[int, ...], plan: Plan | None) -> None:
    """Refuses a localiser that cannot be, before anything is trained.

    Raises:
      InputError: an unknown method, samples that are no images, a network without positions.
    """
    seen = shape if plan is None else (plan.tile, plan.tile, *shape[2:])
    pretext = pretext_of(config, Setting("binary", "cutpaste", {}))
    backbone = network(config, seen_shape(config.backbone, seen), pretext)
    if not isinstance(method, str):
        raise InputError(f"localiser={method!r} is no name; known: {', '.join(localise.METHODS)}")
    localise.make_localiser(_read(config, backbone, seen, method), shape, method, plan)


def _read(config: Config, backbone: Backbone, seen: tuple[int, ...], method: str) -> localise.Read:
    """What is looked at: a network's own stages, or a frozen encoder's grid."""
    if not frozen(config.backbone):
        if method == localise.HEAD:
            raise InputError(
                f"localisation {method!r} is of heads on frozen features, which tell every "
                f"position; take one of {', '.join(localise.METHODS)}"
            )
        return localise.network_maps(backbone, seen)
    encoder = features.get(config.backbone)
    rows, columns = (features.cells(encoder, side) for side in seen[:2])
    return localise.grid_maps(backbone, (rows, columns), method == localise.HEAD)


def _localiser(networks: Networks, method: str) -> localise.Localiser:
    """Of one seed."""
    state = networks.state
    read = _read(state.config, networks.backbone, state.seen, method)
    return localise.make_localiser(read, state.shape, method, networks.plan)


def _block(networks: Networks) -> int:
    """Samples a program run."""
    return max(1, BLOCK // networks.tiles)


@in_float32
def fit_localised(networks: Networks, method: str, normals: Normals) -> Localised:
    """Fits every seed's localiser.

    A density is fitted, and its scale set, on at most 256 MiB of features each: on equal strides
    through the normals where there are more.
    """
    one = _localiser(networks, method)
    read = jax.jit(lambda flat, x: one.features(networks.unravel(flat), x))
    fit = jax.jit(one.fit)

    def seen(flat: jax.Array, samples: np.ndarray) -> np.ndarray:
        shape = jax.eval_shape(read, flat, networks.look_at(samples[:1])).shape[1:]
        samples = samples[localise.fitted_on(len(samples), shape)]
        found = [
            np.asarray(read(flat, networks.look_at(block)))[: stop - start]
            for start, stop, block in networks.batches(samples, (_block(networks),))
        ]
        return np.concatenate(found)

    fitted = [
        fit(*(seen(flat, samples) for samples in normals.split(seed)))
        for seed, flat in zip(networks.state.seeds, networks.arrays["params"], strict=True)
    ]
    return Localised(method, jax.tree.map(lambda *leaves: np.stack(leaves), *fitted))


class Heatmaps:
    """Heatmaps by all seeds, in fixed memory beyond samples and heatmaps."""

    @in_float32
    def __init__(self, networks: Networks, localised: Localised) -> None:
        self._networks = networks
        self._fitted = jax.device_put(localised.fitted)
        one = _localiser(networks, localised.method)

        def every(params: jax.Array, fitted: localise.Fitted, samples: jax.Array) -> jax.Array:
            def own(seed: tuple[jax.Array, localise.Fitted]) -> jax.Array:
                return one.look(networks.unravel(seed[0]), seed[1], samples)

            return jax.lax.map(own, (params, fitted)).mean(0)

        self._look = jax.jit(every)

    @in_float32
    def __call__(self, samples: Any) -> np.ndarray:
        """Heatmaps `[n, h, w]` in decades of samples `[n, h, w, c]`, the mean over seeds.

        Raises:
          InputError: samples that cannot be looked at; names the first.
        """
        networks = self._networks
        samples = networks.of_shape(samples)
        out = np.empty((len(samples), *networks.state.shape[:2]), np.float32)
        for start, stop, block in networks.batches(samples, (_block(networks),)):
            looked_at = networks.look_at(block)
            found = self._look(networks.arrays["params"], self._fitted, looked_at)
            out[start:stop] = np.asarray(found)[: stop - start]
            refuse_infinite(out[start:stop], start, "heatmap")
        return out


def check_normals(networks: Networks, normals: Normals) -> None:
    """Refuses normals that are not those the networks were trained on.

    Others would be known normals in the seeds' training where they stand for unknown ones. Each
    seed's scores of its held-out normals are the ones it keeps, but for rounding.

    Raises:
      InputError: says so.
    """
    for i, (seed, kept) in enumerate(
        zip(networks.state.seeds, networks.state.arrays["held_out"], strict=True)
    ):
        held_out = normals.split(seed).held_out
        if len(held_out) == len(kept):
            found = networks.raw(held_out)[i]
            spread = kept.std() if len(kept) > 1 else networks.state.among.std()
            if np.abs(found - kept).mean() <= 0.1 * spread + 1e-4 * np.abs(kept).mean():
                continue
        raise InputError(
            "these are not the normals that the detector was trained on (seed "
            f"{seed} held out others); give the X, held_out and groups of its fit"
        )


@in_float32
def alarm(state: State, share: float) -> float:
    """Decades that a share of new normal images reach anywhere, `localise.alarm` over all seeds.

    An image that several seeds held out counts once, by the mean of its highest points: the highest
    point of the mean heatmap is never above it.

    Raises:
      InputError: a share out of (0, 1).
    """
    assert state.localised is not None
    scale = state.localised.fitted.scale
    images = by_fold(np.asarray(scale.maxima), state.folds)
    return localise.alarm(scale._replace(maxima=jnp.concatenate(list(images.values()))), share)
