"""Where a sample is strange: localisation by a detector's own networks.

Every seed's localiser is fitted on the normals that this seed trained on, and scaled by those that
it held out, so nothing but a forward pass over the normals and a density is paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import features
from ad_jax.base.errors import InputError
from ad_jax.base.modality import mask_shape, sides
from ad_jax.base.numerics import in_float32
from ad_jax.detect import localise
from ad_jax.detect.look import network, pretext_of
from ad_jax.detect.networks import Networks, refuse_infinite
from ad_jax.detect.normals import Normals
from ad_jax.detect.state import Localised, State
from ad_jax.detect.tiles import Plan
from ad_jax.features import Eyes, frozen, seen_shape
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
    rows, columns = (features.cells(encoder, side) for side in sides(seen))
    return localise.grid_maps(backbone, (rows, columns), method == localise.HEAD)


def _localiser(networks: Networks, method: str) -> localise.Localiser:
    """Of one seed.

    Raises:
      InputError: networks without positions.
    """
    state = networks.state
    if frozen(state.config.backbone) and networks.pretext.shown is not None:
        raise InputError(
            f"the pretext {state.setting.pretext} sees one embedding of a whole image and has no "
            "positions, so there is no heatmap; take one on positions, such as binary or neighbour"
        )
    read = _read(state.config, networks.backbone, state.seen, method)
    return localise.make_localiser(read, state.shape, method, networks.plan)


def _block(networks: Networks) -> int:
    """Samples a program run."""
    return max(1, BLOCK // networks.tiles)


class Fitting:
    """The localisers of networks that are alike, as they are fitted seed by seed.

    Densities of frozen features ask no head, so seeds that hold out the same normals share one.

    Args:
      networks: alike.
      method: of localisation.
      normals: of their fit.
      eyes: what they see is encoded once.

    Attributes:
      size: bytes of what was fitted.

    Raises:
      InputError: networks without positions.
    """

    def __init__(self, networks: Networks, method: str, normals: Normals, eyes: Eyes) -> None:
        one = _localiser(networks, method)
        self._networks, self._method, self._normals, self._eyes = networks, method, normals, eyes
        self._features = jax.jit(lambda flat, x: one.features(networks.unravel(flat), x))
        self._fit = jax.jit(one.fit)
        self._shared = frozen(networks.state.config.backbone) and method != localise.HEAD
        self._places: dict[int, int] = {}  # fold or seed -> place among the fitted
        self._rows = [-1] * len(networks.state.seeds)
        self._fitted: list[localise.Fitted] = []
        self.size = 0

    @in_float32
    def add(self, row: int) -> None:
        """Fits the localiser of a seed.

        A density is fitted, and its scale set, on at most 256 MiB of features each: on equal
        strides through the normals where there are more.
        """
        networks = self._networks
        whose = networks.state.folds[row] if self._shared else row
        if whose not in self._places:
            flat = networks.arrays["params"][row]
            split = self._normals.split(networks.state.seeds[row])
            fitted = self._fit(*(self._seen(flat, samples) for samples in split))
            self._places[whose] = len(self._fitted)
            self._fitted.append(jax.tree.map(np.asarray, fitted))
            self.size += sum(leaf.nbytes for leaf in jax.tree.leaves(self._fitted[-1]))
        self._rows[row] = self._places[whose]

    def _seen(self, flat: jax.Array, samples: np.ndarray) -> np.ndarray:
        networks, eyes = self._networks, self._eyes
        first = networks.look_at(samples[:1], eyes)
        shape = jax.eval_shape(self._features, flat, first).shape[1:]
        samples = samples[localise.fitted_on(len(samples), shape)]
        found = [
            np.asarray(self._features(flat, networks.look_at(block, eyes)))[: stop - start]
            for start, stop, block in networks.batches(samples, (_block(networks),))
        ]
        return np.concatenate(found)

    def localised(self) -> Localised | None:
        """All that was fitted; None where nothing was."""
        if not self._fitted:
            return None
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *self._fitted)
        own = self._rows == list(range(len(self._rows)))
        return Localised(self._method, stacked, None if own else tuple(self._rows))


def fit_localised(
    networks: Networks, method: str, normals: Normals, eyes: Eyes | None = None
) -> Localised:
    """Fits every seed's localiser; see `Fitting.add`."""
    fitting = Fitting(networks, method, normals, eyes or Eyes(networks.state.config.backbone))
    for row in range(len(networks.state.seeds)):
        fitting.add(row)
    localised = fitting.localised()
    assert localised is not None
    return localised


class Part(NamedTuple):
    """Networks that are alike, their localisers, and the weight `[seeds]` of each seed's heatmap.

    Weights of a seed that does not look count for nothing; the others' need not sum to 1.
    """

    networks: Networks
    localised: Localised
    weights: np.ndarray


class _Drawing:
    """The heatmaps of one part, added up by weights."""

    def __init__(self, part: Part) -> None:
        networks, localised, self._weights = part
        self._firsts = localised.firsts
        own = range(len(networks.state.seeds))
        self._rows = np.array(own if localised.rows is None else localised.rows)
        self._folds = np.array(networks.state.folds)
        self._fitted = jax.device_put(localised.fitted)
        self._params = networks.arrays["params"][np.array(self._firsts)]
        one = _localiser(networks, localised.method)

        def every(heat: jax.Array, params: Any, fitted: Any, shares: Any, seen: Any) -> jax.Array:
            def own(heat: jax.Array, seed: Any) -> tuple[jax.Array, None]:
                flat, fitted, share = seed

                def added() -> jax.Array:
                    return heat + share * one.look(networks.unravel(flat), fitted, seen)

                return jax.lax.cond(share > 0.0, added, lambda: heat), None

            return jax.lax.scan(own, heat, (params, fitted, shares))[0]

        self._every = jax.jit(every)

    def shares(self, fold: int | None) -> np.ndarray:
        """Weight `[k]` of every one of the fitted; with a fold of its seeds alone."""
        counted = (self._rows >= 0) & ((self._folds == fold) if fold is not None else True)
        return np.bincount(self._rows[counted], self._weights[counted], len(self._firsts))

    def add(self, heat: jax.Array, shares: np.ndarray, seen: np.ndarray) -> jax.Array:
        """Heatmaps `[n, h, w]`, and these in so many shares `[k]`."""
        return self._every(heat, self._params, self._fitted, np.float32(shares), seen)


class Heatmaps:
    """Heatmaps by all localisers, their weighted mean, in fixed memory beyond samples and heatmaps.

    Args:
      parts: that look at the same; one at least.

    Attributes:
      ends: decades `[k]` of the highest held-out pixel of every localiser.
    """

    @in_float32
    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._drawings = [_Drawing(part) for part in parts]
        known = [np.asarray(part.localised.fitted.scale.decades)[:, -1] for part in parts]
        self.ends = np.concatenate(known)

    @in_float32
    def __call__(
        self, samples: Any, eyes: Eyes | None = None, fold: int | None = None
    ) -> np.ndarray:
        """Heatmaps `[n, h, w]` in decades of samples `[n, h, w, c]`; `[n, t]` of series.

        Args:
          samples: as the networks take them; each is encoded once for all parts.
          eyes: what they have seen before is not encoded again.
          fold: the mean over the seeds of this fold alone.

        Raises:
          InputError: samples that cannot be looked at; names the first.
        """
        networks = self._parts[0].networks
        samples = networks.of_shape(samples)
        shares = [one.shares(fold) for one in self._drawings]
        total = sum(own.sum() for own in shares)
        shape = networks.state.shape
        out = np.empty((len(samples), *sides(shape)), np.float32)
        for start, stop, block in networks.batches(samples, (_block(networks),)):
            seen = networks.look_at(block, eyes)
            heat = jnp.zeros((len(block), *out.shape[1:]))
            for one, own in zip(self._drawings, shares, strict=True):
                heat = one.add(heat, own / total, seen)
            out[start:stop] = np.asarray(heat)[: stop - start]
            refuse_infinite(out[start:stop], start, "heatmap")
        return out.reshape(len(out), *mask_shape(shape))

    def highest(self, normals: Normals, eyes: Eyes) -> np.ndarray:
        """Highest decade `[N]` of every held-out normal, by the mean over its fold's seeds."""
        seeds: dict[int, int] = {}
        for part in self._parts:
            places = part.localised.rows or range(len(part.weights))
            for fold, seed, place in zip(
                part.networks.state.folds, part.networks.state.seeds, places, strict=True
            ):
                if place >= 0:
                    seeds.setdefault(fold, seed)
        held_out = {fold: normals.split(seed).held_out for fold, seed in seeds.items()}
        found = [
            self(own, eyes, fold).reshape(len(own), -1).max(1) for fold, own in held_out.items()
        ]
        return np.concatenate(found)


def check_normals(networks: Networks, normals: Normals, eyes: Eyes | None = None) -> None:
    """Refuses normals that are not those the networks were trained on.

    Others would be known normals in the seeds' training where they stand for unknown ones. Each
    seed's scores of its held-out normals are the ones it keeps, but for rounding.

    Raises:
      InputError: says so.
    """
    state = networks.state
    found: dict[int, np.ndarray] = {}  # of every fold
    for i, (seed, kept) in enumerate(zip(state.seeds, state.arrays["held_out"], strict=True)):
        held_out = normals.split(seed).held_out
        if len(held_out) == len(kept):
            fold = normals.fold(seed)
            if fold not in found:
                found[fold] = networks.raw(held_out, eyes)
            own = found[fold][i]
            spread = kept.std() if len(kept) > 1 else state.among.std()
            if np.abs(own - kept).mean() <= 0.1 * spread + 1e-4 * np.abs(kept).mean():
                continue
        raise InputError(
            "these are not the normals that the detector was trained on (seed "
            f"{seed} held out others); give the X, held_out and groups of its fit"
        )


@in_float32
def alarm(state: State, share: float) -> float:
    """Decades that a share of new normal images reach anywhere, `localise.alarm` over all seeds.

    Every held-out image counts once: see `State.highest`.

    Raises:
      InputError: a share out of (0, 1).
    """
    assert state.localised is not None
    scale = state.localised.fitted.scale
    return localise.alarm(scale._replace(maxima=jnp.asarray(state.highest)), share)
