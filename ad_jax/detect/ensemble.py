"""A detector of many settings: the weighted mean of their surprise, calibrated like any other.

Every seed of every setting scores by itself; what is comparable over them is how surprising a
sample is among the held-out normals of each (`ranks.surprise`). Heads of one kind run as one
program, and a frozen encoder looks at a sample once for all of them. Heatmaps are joined alike: the
weighted mean of the decades of every seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.base.numerics import in_float32
from ad_jax.data import Problem
from ad_jax.detect import localising, saving
from ad_jax.detect.calibration import check_level
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.fitting import networks_of
from ad_jax.detect.networks import Networks
from ad_jax.detect.normals import Normals
from ad_jax.detect.state import Loading, Localised, State, Tiling, TrainedSeeds, seeds_of
from ad_jax.detect.tiles import Plan, tiled
from ad_jax.features import Eyes
from ad_jax.store import write_whole
from ad_jax.train import pretexts
from ad_jax.train.setting import Config, Setting

JSON = "ensemble.json"
FORMAT = 1
NAMED = 5  # settings that a notebook shows
ROOM = 2**28  # bytes of localisers, from which on no further setting gets any


class EnsembleState(NamedTuple):
    """What an ensemble is: the states of its parts, and a setting and a weight for every row.

    A part holds the seeds of all settings whose networks are alike.

    Attributes:
      parts: states; their seeds, one after the other, are the rows of the ensemble.
      settings: of every row.
      weights: of every row; they sum to 1.
      highest: `[N]` highest decade of every held-out image's joined heatmap, by the rows that held
        it out; empty without a localiser.
    """

    parts: tuple[State, ...]
    settings: tuple[Setting, ...]
    weights: tuple[float, ...]
    highest: tuple[float, ...] = ()

    @property
    def setting(self) -> Setting:
        """The setting of the largest weight."""
        return max(self.by_setting, key=lambda one: one[1])[0]

    @property
    def by_setting(self) -> list[tuple[Setting, float]]:
        """Every setting and its weight, in the order of rows."""
        found: dict[str, tuple[Setting, float]] = {}
        for one, weight in zip(self.settings, self.weights, strict=True):
            found[one.key] = (one, found.get(one.key, (one, 0.0))[1] + weight)
        return list(found.values())

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parts[0].shape

    @property
    def dtype(self) -> str:
        return self.parts[0].dtype

    @property
    def config(self) -> Config:
        return self.parts[0].config

    @property
    def tiling(self) -> Tiling | None:
        return self.parts[0].tiling

    @property
    def score(self) -> str:
        return self.parts[0].score

    @property
    def localised(self) -> Localised | None:
        """Of the first part that has one."""
        return next((part.localised for part in self.parts if part.localised), None)

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(seed for part in self.parts for seed in part.seeds)

    @property
    def folds(self) -> tuple[int, ...]:
        return tuple(fold for part in self.parts for fold in part.folds)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Held-out scores `[rows, m]` alone: networks differ between parts."""
        return {"held_out": np.concatenate([part.arrays["held_out"] for part in self.parts])}


class Committee:
    """The networks of an ensemble, as `Networks` are those of one setting."""

    def __init__(self, state: EnsembleState) -> None:
        self.state = state
        self.parts = [Networks(part) for part in state.parts]
        self.weights = np.array(state.weights)

    @property
    def plan(self) -> Plan | None:
        return self.parts[0].plan

    @property
    def tiles(self) -> int:
        """Tiles a sample; 1 where it is seen whole."""
        return self.parts[0].tiles

    @property
    def bulk(self) -> int:
        """Samples of a full block."""
        return self.parts[0].bulk

    @in_float32
    def raw(self, samples: Any) -> np.ndarray:
        """Every row's own score `[rows, n]`; see `Networks.raw`."""
        return self.parts[0].block_by_block(
            samples, len(self.weights), lambda block: np.concatenate(list(self._scored(block)))
        )

    def of_parts(self, rows: np.ndarray) -> list[np.ndarray]:
        """Values of every row `[rows, ...]`, part by part."""
        sizes = np.cumsum([len(part.state.seeds) for part in self.parts])[:-1]
        return np.split(rows, sizes)

    def _scored(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """Scores of every part; parts that look at the same see it once."""
        seen: dict[Any, np.ndarray] = {}
        for part in self.parts:
            if part.pretext.shown not in seen:
                seen[part.pretext.shown] = part.look_at(block)
            yield part.scored(seen[part.pretext.shown])

    @in_float32
    def surprise(self, raw: np.ndarray) -> np.ndarray:
        """Surprise `[rows, n]` of scores among each row's own held-out normals."""
        each = zip(self.parts, self.of_parts(raw), strict=True)
        return np.concatenate([part.surprise(own) for part, own in each])


class Ensemble(FittedDetector):
    """Scores samples by all settings of a pool; higher = more anomalous.

    Everything of a `FittedDetector`. Heatmaps are the weighted mean over the settings whose
    networks have positions; pretexts on embeddings of whole images are left out, and the weights of
    the others sum to 1. Densities of frozen features are the same whatever the heads have learned,
    and are kept once for every fold of the normals: of the localisers `head` alone shows what the
    settings tell apart. Networks that were trained from scratch have a localiser each, the heaviest
    settings first, until these take 256 MiB (`ROOM`): a training takes up to 17 MB of `position`
    (half of that in files), .5 of `neighbour`, .02 of `texture`.
    """

    state_: EnsembleState  # type: ignore[assignment]

    _compiled = Committee

    @classmethod
    def of_members(
        cls,
        problem: Problem,
        members: Sequence[TrainedSeeds],
        weights: Mapping[str, float],
        config: Config,
        tiling: Tiling | None = None,
    ) -> Ensemble:
        """The ensemble of settings and their trained seeds.

        Args:
          problem: that they were trained on.
          members: of every setting; those without a weight are left out.
          weights: setting key -> weight above 0; a setting's is shared by its seeds.
          config: of the trainings.
          tiling: of the images that the problem's samples were cut from.

        Raises:
          InputError: no setting has a weight.
        """
        cuts = None if tiling is None else tiled(problem, tiling.plan(problem.shape))
        normals = Normals.of(problem, cuts)
        alike: dict[Any, list[TrainedSeeds]] = {}
        for one in members:
            if weights.get(one.setting.key, 0.0) > 0.0 and one.seeds:
                # Single held-out normals are compared over one setting's seeds (`State.among`).
                alone = one.setting.key if one.held_out.shape[1] == 1 else ""
                alike.setdefault((alone, *_network_of(one.setting)), []).append(one)
        if not alike:
            raise InputError("no setting of the ensemble has a weight; give one at least")
        states, settings, shares = [], [], []
        for some in alike.values():
            joined = TrainedSeeds(
                some[0].setting,
                tuple(seed for one in some for seed in one.seeds),
                tuple(trained for one in some for trained in one.trained),
                np.concatenate([one.held_out for one in some]),
            )
            states.append(networks_of(normals, joined, config, tiling).state)
            for one in some:
                settings += [one.setting] * len(one.seeds)
                shares += [weights[one.setting.key] / len(one.seeds)] * len(one.seeds)
        shares = (np.array(shares) / np.sum(shares)).tolist()
        return cls(Committee(EnsembleState(tuple(states), tuple(settings), tuple(shares))))  # type: ignore[arg-type]

    @property
    def weights_(self) -> list[tuple[Setting, float]]:
        """Every setting and its weight."""
        return self.state_.by_setting

    def members(self) -> dict[str, TrainedSeeds]:
        """The trained seeds of every setting by its key."""
        parts, rows = self.state_.parts, self.rows()
        settings = {one.key: one for one in self.state_.settings}
        return {
            key: seeds_of(settings[key], parts[own[0][0]], [row for _, row in own])
            for key, own in rows.items()
        }

    def rows(self) -> dict[str, list[tuple[int, int]]]:
        """The part, and the row in it, of every seed of every setting by its key."""
        places = [(i, row) for i, p in enumerate(self.state_.parts) for row in range(len(p.seeds))]
        found: dict[str, list[tuple[int, int]]] = {}
        for one, place in zip(self.state_.settings, places, strict=True):
            found.setdefault(one.key, []).append(place)
        return found

    def shares(self) -> dict[str, float]:
        """The weight of every setting by its key."""
        return {one.key: weight for one, weight in self.weights_}

    def __repr__(self) -> str:
        return f"Ensemble({len(self.weights_)} settings, {len(self.state_.seeds)} trainings)"

    def _told(self) -> list[tuple[str, str]]:
        ordered = sorted(self.weights_, key=lambda one: -one[1])
        named = [(one.label, f"{100 * weight:.0f} % of the weight") for one, weight in ordered]
        more = [("others", str(len(named) - NAMED))] if len(named) > NAMED else []
        return named[:NAMED] + more + super()._told()[1:]

    def _mapping(self) -> list[localising.Part]:
        parts: list[Networks] = self._networks.parts
        weights = self._networks.of_parts(self._networks.weights)  # type: ignore[attr-defined]
        return [
            localising.Part(networks, state.localised, own)
            for networks, state, own in zip(parts, self.state_.parts, weights, strict=True)
            if state.localised is not None
        ]

    def _localise(self, method: str, normals: Normals, eyes: Eyes) -> None:
        fittings: list[localising.Fitting | None] = []
        refused = None
        for networks in self._networks.parts:
            try:
                fittings.append(localising.Fitting(networks, method, normals, eyes))
            except InputError as error:
                fittings.append(None)
                refused = error
        placed = [one for one in fittings if one is not None]
        if not placed and refused is not None:
            raise refused
        rows = self.rows()
        for setting, _ in sorted(self.weights_, key=lambda one: -one[1]):
            if sum(one.size for one in placed) >= ROOM:
                break
            for part, row in rows[setting.key]:
                fitting = fittings[part]
                if fitting is not None:
                    fitting.add(row)
        parts = tuple(
            part._replace(localised=None if one is None else one.localised())
            for part, one in zip(self.state_.parts, fittings, strict=True)
        )
        self.state_ = self.state_._replace(parts=parts)
        self._use(self._networks)
        highest = tuple(self._localised().highest(normals, eyes).tolist())
        self.state_ = self.state_._replace(highest=highest)

    def save(self, path: str | Path) -> None:
        """Writes a folder for every part, then `ensemble.json`."""
        folder, state, alpha = Path(path), self.state_, check_level("alpha", self.alpha)
        for i, part in enumerate(state.parts):
            saving.write(folder / f"part-{i}", part, alpha, self.loading)
        about = {
            "format": FORMAT,
            "parts": len(state.parts),
            "settings": [one._asdict() for one in state.settings],
            "weights": list(state.weights),
            "highest": list(state.highest),
        }
        write_whole(folder / JSON, json_text(about, indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> Ensemble:
        """Reads a saved ensemble; scores are bit-equal to the saved one's.

        Raises:
          InputError: none there, damaged files, a newer format.
        """
        folder = Path(path)
        try:
            about = json.loads((folder / JSON).read_bytes())
            if about["format"] > FORMAT:
                raise InputError(
                    f"{folder} has ensemble format {about['format']}, this version reads up to "
                    f"{FORMAT}"
                )
            settings = tuple(Setting(**one).checked() for one in about["settings"])
            weights = tuple(float(one) for one in about["weights"])
            highest = tuple(float(one) for one in about.get("highest", ()))
            count = int(about["parts"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder} holds no readable ensemble ({error})") from None
        saved = [saving.read(folder / f"part-{i}") for i in range(count)]
        state = EnsembleState(tuple(one.state for one in saved), settings, weights, highest)
        if not len(settings) == len(weights) == len(state.seeds):
            raise InputError(f"{folder} is damaged: its parts and weights do not belong together")
        loading: Loading | None = saved[0].loading
        return cls(Committee(state), saved[0].alpha, loading)  # type: ignore[arg-type]


def _network_of(setting: Setting) -> tuple[str, str]:
    """What settings share whose networks are alike, so that one program runs them all."""
    return (setting.pretext, setting.augmentation if setting.pretext in pretexts.APART else "")
