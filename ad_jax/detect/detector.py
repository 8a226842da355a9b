"""A fitted detector: scores, p-values, thresholds, heatmaps, files. It knows no search."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.html import as_table
from ad_jax.base.modality import modality
from ad_jax.base.parameters import numbered
from ad_jax.data import Problem
from ad_jax.data.samples import as_samples
from ad_jax.detect import exporting, localise, localising, saving, tiles
from ad_jax.detect.calibration import (
    SLACK,
    calibrate,
    check_false_discovery,
    check_level,
    false_discovery_cut,
)
from ad_jax.detect.fitting import networks_of
from ad_jax.detect.given import samples_of
from ad_jax.detect.networks import Networks
from ad_jax.detect.normals import Normals
from ad_jax.detect.prevalence import Share, anomaly_share
from ad_jax.detect.state import Loading, State, Tiling, Trained, TrainedSeeds, seeds_of
from ad_jax.features import Eyes
from ad_jax.train.setting import Config, Setting


class FittedDetector:
    """Scores samples; higher = more anomalous. Thresholds come from held-out normals alone.

    Every seed scores by itself (density of the embedding, or the pretext's own head); a sample's
    score is the mean over seeds of its surprise among that seed's held-out normals
    (`ranks.surprise`), since raw distances of two networks have nothing in common. P-values and
    what they promise: `ad_jax.detect.calibration`.

    Args:
      networks: the trained seeds.
      alpha: asked false-positive rate of `predict`, in (0, 1).
      loading: how image files become samples (`ad-jax score`), None if not known.

    Attributes:
      state_: everything it knows.
      setting_: what was trained.
      calibration_: of scores to p-values and thresholds.
      decision_scores_: scores of the N held-out normals; where `ad_jax.Detector` was fitted, of all
        its normals.
      labels_: 1 where those are above the threshold, else 0.
      threshold_: the score above which a sample is flagged, at `alpha`.
    """

    state_: State
    decision_scores_: np.ndarray
    alpha: float
    loading: Loading | None

    _compiled: Any = Networks  # what makes networks of a state

    def __init__(
        self, networks: Networks, alpha: float = 0.05, loading: Loading | None = None
    ) -> None:
        self.alpha, self.loading = alpha, loading
        self._take(networks)

    @classmethod
    def of_networks(
        cls, networks: Networks, alpha: float = 0.05, loading: Loading | None = None
    ) -> Self:
        """The detector of trained seeds."""
        return cls(networks, alpha, loading)

    @classmethod
    def of(
        cls,
        problem: Problem,
        setting: Setting,
        trained: Sequence[Trained],
        held_out: np.ndarray,
        config: Config,
        seeds: Sequence[int] | None = None,
        tiling: Tiling | None = None,
    ) -> Self:
        """The detector of a setting's members and their own held-out scores `[seeds, m]`.

        `seeds` are those of the members, 0, 1, … if not said. With `tiling` the members were
        trained on tiles of the problem (`tiles.tiled`), and whole images are scored anew.
        """
        config, setting = config.checked(), setting.checked()
        numbers = numbered(len(trained) if seeds is None else seeds)
        members = TrainedSeeds(setting, numbers, tuple(trained), np.asarray(held_out))
        cuts = None if tiling is None else tiles.tiled(problem, tiling.plan(problem.shape))
        return cls.of_networks(networks_of(Normals.of(problem, cuts), members, config, tiling))

    def trained_seeds(self) -> TrainedSeeds:
        """What it was made of."""
        return seeds_of(self.setting_, self.state_, range(len(self.state_.seeds)))

    def _repr_html_(self) -> str | None:
        """What notebooks show; nothing but the text of an unfitted one."""
        return None if "state_" not in self.__dict__ else as_table(repr(self), self._told())

    def _told(self) -> list[tuple[str, str]]:
        """Titles and values of what a notebook shows."""
        known = self.calibration_
        threshold = f"needs {known.needed(self.alpha)} held-out normals"
        if len(known.scores) >= known.needed(self.alpha):
            threshold = f"{self.threshold_:.3f}"
        return [
            ("setting", self.setting_.label),
            ("trainings", str(len(self.state_.seeds))),
            ("samples", f"{' x '.join(map(str, self.shape))}, {self.dtype}"),
            ("held-out normals", str(len(known.scores))),
            ("smallest false-positive rate", f"{known.smallest():.3g}"),
            (f"threshold at {self.alpha:g}", threshold),
        ]

    def __repr__(self) -> str:
        return f"FittedDetector({self.setting_.label}, seeds={self.state_.seeds})"

    def __getstate__(self) -> dict[str, Any]:
        compiled = ("_networks", "_heatmaps")
        return {name: value for name, value in self.__dict__.items() if name not in compiled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "state_" in state:
            self._use(self._compiled(self.state_))

    def _use(self, networks: Networks) -> None:
        self._networks = networks
        parts = self._mapping()
        self._heatmaps = localising.Heatmaps(parts) if parts else None

    def _mapping(self) -> list[localising.Part]:
        """What heatmaps are drawn by; nothing without a localiser."""
        localised, count = self.state_.localised, len(self.state_.seeds)
        if localised is None:
            return []
        return [localising.Part(self._networks, localised, np.full(count, 1.0 / count))]

    def _take(self, networks: Networks) -> None:
        state = networks.state
        self.state_, self.setting_ = state, state.setting
        self._use(networks)
        inside = networks.surprise(state.arrays["held_out"])
        self.calibration_, self._by_fold = calibrate(
            state.arrays["held_out"], inside, state.folds, networks.weights
        )
        self.decision_scores_ = np.concatenate(list(self._by_fold.values()))

    @property
    def networks(self) -> Networks:
        """The trained networks, for what reads more of them than a score."""
        return self._networks

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.state_.shape

    @property
    def score(self) -> str:
        """The score of every seed: "density" or "head"."""
        return self.state_.score

    @property
    def dtype(self) -> str:
        """Of the normals it was trained on."""
        return self.state_.dtype

    @property
    def config(self) -> Config:
        """Of the training."""
        return self.state_.config

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """See `State`."""
        return self.state_.arrays

    # Scores and thresholds

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores `[n]` of samples `[n, h, w, c]` or `[n, h, w]` (uint8 or float in [0, 1]).

        X is an array of any library, a list of image files, or of rows a frame whose columns are
        found by name (`loading` says how both become samples). In fixed memory beyond X itself, and
        without compiling anew for other n. Scores depend on the batch by rounding only.

        Raises:
          InputError: not fitted, or samples that cannot be scored; names the first.
        """
        return self.combine(self._raw(X))

    def _samples(self, X: Any, name: str = "X") -> Any:
        """Files and frames as arrays, brought to what the normals were."""
        return samples_of(name, X, self.loading, self.shape, self.dtype)

    def _raw(self, X: Any) -> np.ndarray:
        """The seeds' own scores `[seeds, n]`."""
        return self._networks.raw(self._samples(X))

    def combine(self, raw: np.ndarray) -> np.ndarray:
        """One score per sample `[n]` from the seeds' own scores `[seeds, n]`."""
        return np.average(self._networks.surprise(raw), 0, self._networks.weights)

    def p_values(self, X: Any, proven: bool = False) -> np.ndarray:
        """Conformal p-values `[n]`: small = anomalous; normals fall below alpha at a rate alpha.

        Exact with one seed: P(p <= alpha) <= alpha. With several seeds this is measured, not
        proven; with `proven`, P(p <= alpha) <= alpha holds whatever the seeds' dependence, at the
        price of power and of twice the held-out normals (`ad_jax.detect.calibration`).

        Returns:
          Values in `[1 / (N + 1), 1]` for N held-out normals; without `proven` they fall with the
          score, and `p <= alpha` where `predict` says 1.
        """
        raw = self._raw(X)
        return self.calibration_.proven(raw) if proven else self.p_values_of(self.combine(raw))

    def p_values_of(self, scores: np.ndarray) -> np.ndarray:
        """The p-values `[n]` of scores `[n]` that `decision_function` gave."""
        return self.calibration_.p_values(scores)

    @property
    def threshold_(self) -> float:
        return self.calibration_.threshold(self.alpha)

    @property
    def labels_(self) -> np.ndarray:
        return (self.decision_scores_ > self.threshold_).astype(int)

    def set_threshold(self, alpha: float) -> Self:
        """Asks for another false-positive rate, without training anew.

        Raises:
          InputError: a rate that so few held-out normals cannot attain; says how many it needs.
        """
        self.alpha = self.calibration_.check(alpha)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """1 for samples above `threshold_`, else 0, `[n]`; about `alpha` of normals get a 1."""
        threshold = self.threshold_  # unattainable: said before anything is scored
        return (self.decision_function(X) > threshold).astype(int)

    def flags(
        self, X: Any, false_discovery: float | None = None, proven: bool = False
    ) -> np.ndarray:
        """1 for samples flagged as a batch, else 0, `[n]`.

        Args:
          X: samples as in `decision_function`.
          false_discovery: at most this share of the flagged is expected to be normal
            (Benjamini-Hochberg over the batch; see `calibration.false_discovery_cut` for when that
            is proven). None flags `p <= alpha` one by one.
          proven: by the p-values of that name.

        Raises:
          InputError: a rate or share that so few held-out normals cannot attain.
        """
        if false_discovery is None:
            cut = self.calibration_.check(self.alpha, proven) + SLACK
        else:
            share = check_false_discovery(self.calibration_, false_discovery, proven)
        p = self.p_values(X, proven)
        if false_discovery is not None:
            values, counts = np.unique(p, return_counts=True)
            levels = dict(zip(values.tolist(), counts.tolist(), strict=True))
            cut = false_discovery_cut(levels, share)
        return (p <= cut).astype(int)

    def anomaly_share(self, X: Any, seed: int = 0) -> Share:
        """Share of anomalies among unlabelled samples, with a 95 % bootstrap interval.

        Too low where anomalies look like normals. Without any, the interval reaches 0 in 96 of 100
        targets or more (unless the same samples chose the setting, which flatters them), while
        `value`, cut at 0, is .02 to .06 on the mean. See `ad_jax.detect.prevalence`.
        """
        raw = self._raw(X)
        state, weights = self.state_, self._networks.weights
        return anomaly_share(state.arrays["held_out"], raw, state.folds, seed, weights)

    # Heatmaps

    def fit_localiser(
        self,
        X: Any,
        method: str = localise.DEFAULT,
        *,
        held_out: Any = None,
        groups: Sequence[Hashable] | None = None,
    ) -> Self:
        """Adds a localiser to a trained detector, or another one; trains nothing.

        Costs a forward pass over the normals, a density and one compilation. What a frozen encoder
        sees of the normals is held in memory meanwhile, as in training. Densities of its features
        ask no head: seeds that hold out the same normals share one.

        Args:
          X, held_out, groups: the normals of the fit, in any order, or the problem as X alone.
          method: see `localiser`.

        Raises:
          InputError: other normals than those it was trained on, a network without positions.
        """
        state, networks, eyes = self.state_, self._networks, Eyes(self.config.backbone)
        localising.check(method, state.config, state.shape, networks.plan)
        if isinstance(X, Problem):
            problem = X
        else:
            series = modality(state.shape) == "series"
            samples = as_samples("X", self._samples(X), series)
            problem = Problem(
                train=samples,
                target=samples[:1],
                held_out=self._samples(held_out, "held_out"),
                groups=groups,  # type: ignore[arg-type]
                series=series,
            )
        cuts = None if networks.plan is None else tiles.tiled(problem, networks.plan)
        normals = Normals.of(problem, cuts)
        for part in networks.parts:
            localising.check_normals(part, normals, eyes)
        self._localise(method, normals, eyes)
        return self

    def _localise(self, method: str, normals: Normals, eyes: Eyes) -> None:
        localised = localising.fit_localised(self._networks, method, normals, eyes)
        self.state_ = self.state_._replace(localised=localised)
        self._use(self._networks)

    def heatmaps(self, X: Any) -> np.ndarray:
        """Where samples `[n, h, w, c]` are strange: `[n, h, w]` float32 in decades.

        3 means that one in a thousand of held-out normals' pixels scores as high (one scale for
        all images; see `localise.scale`); the mean over seeds, of an ensemble by weights. In fixed
        memory beyond X and the result. Outside a region of interest 0.

        Raises:
          InputError: no localiser was fitted, or samples that cannot be looked at; names the first.
        """
        return self._localised()(self._samples(X))

    def heatmap_alarm(self, share: float = 0.05) -> float:
        """Decades that about `share` of new normal images reach anywhere: a threshold for heatmaps.

        Split-conformal over the highest points of held-out images, each by the seeds that held it
        out; at most `share` is proven with one seed. Infinite where there are too few images. Of a
        held-out image an ensemble counts the highest point of the joined heatmap of these seeds.

        Raises:
          InputError: no localiser was fitted, or a share out of (0, 1).
        """
        self._localised()
        return localising.alarm(self.state_, check_level("share", share))

    def heatmap_ends(self) -> np.ndarray:
        """Decades `[k]` of the highest held-out pixel of every localiser; beyond is extrapolated.

        Raises:
          InputError: no localiser was fitted.
        """
        return self._localised().ends

    def _localised(self) -> localising.Heatmaps:
        if self._heatmaps is None:
            raise InputError(
                "the detector has no localiser (one saved in format 3 is left out: its maps lay "
                "off); call fit_localiser(X) with its normals (nothing is trained), or fit with "
                "Detector(localiser='position')"
            )
        return self._heatmaps

    # Files

    def export(self, path: str | Path) -> None:
        """Writes one `.npz` that scores with jax and numpy alone: see `detector.exporting`.

        Raises:
          InputError: an alpha that so few held-out normals cannot attain.
        """
        exporting.write(
            path, self._networks, self.calibration_, self.calibration_.check(self.alpha)
        )

    def save(self, path: str | Path) -> None:
        """Writes `detector.json` and `arrays.safetensors`: networks, held-out scores, alpha.

        With its tiles, region and localiser; the target and the normals are not in it.
        """
        saving.write(path, self.state_, check_level("alpha", self.alpha), self.loading)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a saved detector; scores are bit-equal to the saved one's.

        Raises:
          InputError: no detector there, damaged files, a newer format, or no device to score on.
          OSError: of the disk, or a folder that may not be read.
        """
        saved = saving.read(path)
        return cls.of_networks(Networks(saved.state), saved.alpha, saved.loading)
