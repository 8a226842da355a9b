"""The detector that users hold: fit, score, threshold, save; in PyOD's manners."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import localise, rules, tiles
from ad_jax.choice import Members, choose, train_one
from ad_jax.data import Problem
from ad_jax.data.samples import as_array, as_samples
from ad_jax.detector import exporting, localising, saving
from ad_jax.detector.calibration import (
    SLACK,
    calibrate,
    check_false_discovery,
    check_level,
    false_discovery_cut,
    unattainable,
)
from ad_jax.detector.fitting import default_setting, networks_of, scores_of_normals
from ad_jax.detector.networks import Networks
from ad_jax.detector.normals import Normals
from ad_jax.detector.share import Share, anomaly_share
from ad_jax.detector.state import Loading, NotFitted, State, Tiling
from ad_jax.errors import InputError
from ad_jax.parameters import numbered, real, whole, word
from ad_jax.pool import Setting
from ad_jax.program import Config, Trained
from ad_jax.store import Record
from ad_jax.sweep import Progress
from ad_jax.trust import Trust

STAND_IN = 64  # normals that take the target's place where there is none; it is never trained on
_FITTED = (  # what only a fitted detector has; properties too, whose errors end in `__getattr__`
    "shape",
    "score",
    "dtype",
    "config",
    "arrays",
    "networks",
    "threshold_",
    "labels_",
    "state_",
    "setting_",
    "calibration_",
    "decision_scores_",
    "trust_",
    "anomaly_share_",
    "_networks",
    "_heatmaps",
    "_by_fold",
)


class Detector:
    """Scores samples; higher = more anomalous. Thresholds come from held-out normals alone.

    Every seed scores by itself (density of the embedding, or the pretext's own head); a sample's
    score is the mean over seeds of its surprise among that seed's held-out normals
    (`ranks.surprise`), since raw distances of two networks have nothing in common. P-values and
    what they promise: `ad_jax.detector.calibration`.

    `get_params`, `set_params` and `sklearn.base.clone` work; a changed `alpha` needs no training.

    Args:
      setting: what to train; None lets a target choose, or takes `default_setting` without one.
      settings: what a target chooses among; None is `search.grid`.
      rule: by which it chooses; a name in `rules.RULES`.
      search: "all" or "halving".
      seeds: how many trainings, or their numbers. Four seeds hold out every normal once.
      steps, width, backbone, root: of the training (`program.Config`).
      alpha: asked false-positive rate of `predict`, in (0, 1).
      tile: side in px of the tiles that the networks see in full resolution, for images that would
        be squeezed otherwise; None sees whole images. An image's score is that of its strangest
        tile, thresholds count whole held-out images.
      overlap: share of a tile that neighbours have in common at least, 0 up to below 1.
      localiser: "position", "neighbour" or "texture" (`ad_jax.localise`) for heatmaps. None fits
        none: rows and the `mlp` have no positions, and a localiser can make most of a saved
        detector (`position` up to 8.5 MB a seed, and as much for every tile; `neighbour` .5 MB,
        `texture` 20 kB). `fit_localiser` adds one later, without training.
      record: folder of finished work, so that a killed `fit` goes on.
      report: called with the progress of training.

    Attributes below exist after `fit`, and of a detector that was selected or loaded.

    Attributes:
      decision_scores_: `[n]` scores of the normals in the order given to `fit`, each by the seeds
        that did not train on it where there are such; a copy has that of the one kept. Of a
        detector that was selected or loaded, those of the N held-out normals.
      labels_: `[n]` of these 1 where the score is above the threshold, else 0.
      threshold_: the score above which a sample is flagged, at `alpha`.
      setting_: what was trained.
      state_: everything it knows.
      trust_: how far to trust a choice made by the target, else None.
      anomaly_share_: `Share` of the target given to `fit`, else None.
      loading: how image files become samples (`ad-jax score`), None if not known.
    """

    state_: State
    trust_: Trust | None
    anomaly_share_: Share | None
    decision_scores_: np.ndarray

    def __init__(
        self,
        setting: Setting | None = None,
        *,
        settings: Sequence[Setting] | None = None,
        rule: str = rules.DEFAULT,
        search: str = "all",
        seeds: int | Sequence[int] = 4,
        steps: int = 800,
        width: int = 24,
        backbone: str = "encoder",
        root: int = 0,
        alpha: float = 0.05,
        tile: int | None = None,
        overlap: float = 0.25,
        localiser: str | None = None,
        record: str | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        self.setting, self.settings, self.rule, self.search = setting, settings, rule, search
        self.seeds, self.steps, self.width, self.backbone = seeds, steps, width, backbone
        self.root, self.alpha, self.record, self.report = root, alpha, record, report
        self.tile, self.overlap, self.localiser = tile, overlap, localiser
        self.loading: Loading | None = None

    # Parameters

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the constructor by name."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Detector:
        """Changes parameters. `alpha` holds at once; all others from the next `fit` on.

        Raises:
          InputError: a name that is no parameter.
        """
        for name in params:
            if name not in self._names():
                raise InputError(f"no parameter {name!r}; known: {', '.join(self._names())}")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        default = inspect.signature(type(self).__init__).parameters
        given = [
            f"{name}={value.label if isinstance(value, Setting) else value!r}"
            for name, value in self.get_params().items()
            if value is not default[name].default and value != default[name].default
        ]
        return f"Detector({', '.join(given)})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="outlier_detector",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        compiled = ("_networks", "_heatmaps")
        return {name: value for name, value in self.__dict__.items() if name not in compiled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "state_" in state:
            self._use(Networks(self.state_))

    # Training

    def fit(
        self,
        X: Any,
        y: None = None,
        target: Any = None,
        *,
        held_out: Any = None,
        groups: Sequence[Hashable] | None = None,
        roi: Any = None,
    ) -> Detector:
        """Trains on normals; an unlabelled target chooses what to train, if nothing else does.

        Args:
          X: `[n, h, w, c]` or `[n, h, w]` normals, uint8 or float in [0, 1]; at least 8 of them,
            or 2 with `held_out`. A few anomalies among them cost power, not false alarms. Copies,
            exact or nearly, count once (`Problem`), with a warning.
          y: must be None: no label enters.
          target: `[m, h, w, c]` unlabelled samples that may hold anomalies.
          held_out: `[k, h, w, c]` normals that are never trained on; those that are copies of X are
            left out with a warning. Without them a fold of X is held out by every seed, in turn.
          groups: `[n]`, samples of one group are held out together (photographs of one object).
          roi: `[h, w]`, not zero where it counts (one fixed camera); needs `tile`. Pixels outside
            are black to the networks and 0 in heatmaps, and tiles without any inside are dropped.

        Raises:
          InputError: labels, data or parameters that cannot be used, an alpha that so few normals
            cannot attain, or nothing learned.
        """
        if y is not None:
            raise InputError(
                "fit takes no labels: labels in training would make its scores an upper bound and "
                "no estimate; leave y out, give normals as X and unlabelled samples as target="
            )
        alpha, seeds = check_level("alpha", self.alpha), numbered(self.seeds)
        config = Config(self.steps, self.width, self.backbone, self.root).checked()
        rule, search = word("rule", self.rule), word("search", self.search)
        localiser = None if self.localiser is None else word("localiser", self.localiser)
        samples = as_samples("X", X)
        tiling = self._tiling(roi)
        plan = None if tiling is None else tiling.plan(samples.shape[1:])
        seen = 1 if plan is None else len(plan.corners)
        problem = Problem(
            train=samples,
            target=samples[: -(-STAND_IN // seen)] if target is None else target,
            held_out=held_out,
            groups=groups,  # type: ignore[arg-type]
        )
        if localiser is not None:
            localising.check(localiser, config, problem.shape, plan)
        cuts = None if plan is None else tiles.tiled(problem, plan)
        normals = Normals.of(problem, cuts)
        task = problem if cuts is None else cuts.problem
        count = normals.count(seeds)
        if alpha < 1.0 / (count + 1) - SLACK:
            raise InputError(unattainable("alpha", alpha, count))
        if config.steps < 1:
            raise InputError(f"steps={config.steps} is too small; take at least 1")
        record = Record(Path(self.record)) if self.record else None
        trust = None
        if target is None or self.setting is not None:
            setting = self.setting or default_setting()
            members = train_one(task, setting, seeds, config, record, self.report)
        else:
            (one,) = choose(
                [task],
                self.settings,
                seeds,
                rule,
                config,
                record,
                self.report,
                search,
            )
            members, trust = one.members, one.trust
        networks = networks_of(normals, members, config, tiling)
        if localiser is not None:
            localised = localising.fit_localised(networks, localiser, normals)
            networks.state = networks.state._replace(localised=localised)
        self._take(networks)
        self.trust_ = trust
        scores = scores_of_normals(networks, self._by_fold, normals)
        self.decision_scores_ = scores[problem.rows_of(samples)]
        self.anomaly_share_ = None if target is None else self.anomaly_share(target)
        return self

    def fit_predict(self, X: Any, y: None = None, target: Any = None) -> np.ndarray:
        """`fit`, then `labels_` of the normals."""
        return self.fit(X, y, target).labels_

    def _tiling(self, roi: Any) -> Tiling | None:
        if self.tile is None:
            if roi is not None:
                raise InputError("roi needs tile=; the image's side in px looks at it as one tile")
            return None
        region = None
        if roi is not None:
            mask = as_array("roi", roi, "is no mask; give an array [h, w] of numbers")
            region = (mask != 0).astype(np.uint8)
        return Tiling(whole("tile", self.tile), real("overlap", self.overlap), region)

    # A detector from what was trained elsewhere

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
    ) -> Detector:
        """The detector of a setting's members and their own held-out scores `[seeds, m]`.

        `seeds` are those of the members, 0, 1, … if not said. With `tiling` the members were
        trained on tiles of the problem (`tiles.tiled`), and whole images are scored anew.
        """
        config, setting = config.checked(), setting.checked()
        numbers = numbered(len(trained) if seeds is None else seeds)
        members = Members(setting, numbers, tuple(trained), np.asarray(held_out))
        cuts = None if tiling is None else tiles.tiled(problem, tiling.plan(problem.shape))
        return cls._with(networks_of(Normals.of(problem, cuts), members, config, tiling))

    @classmethod
    def _with(cls, networks: Networks, alpha: float = 0.05) -> Detector:
        state, config = networks.state, networks.state.config
        tiling, localised = state.tiling, state.localised
        detector = cls(
            state.setting,
            seeds=state.seeds,
            steps=config.steps,
            width=config.width,
            backbone=config.backbone,
            root=config.root,
            alpha=alpha,
            tile=None if tiling is None else tiling.tile,
            overlap=0.25 if tiling is None else tiling.overlap,
            localiser=None if localised is None else localised.method,
        )
        detector._take(networks)
        return detector

    def _use(self, networks: Networks) -> None:
        localised = networks.state.localised
        self._networks = networks
        self._heatmaps = None if localised is None else localising.Heatmaps(networks, localised)

    def _take(self, networks: Networks) -> None:
        state = networks.state
        self._use(networks)
        inside = networks.surprise(state.arrays["held_out"])
        self.calibration_, self._by_fold = calibrate(state.arrays["held_out"], inside, state.folds)
        self.state_, self.setting_ = state, state.setting
        self.trust_, self.anomaly_share_ = None, None
        self.decision_scores_ = np.concatenate(list(self._by_fold.values()))

    def __getattr__(self, name: str) -> Any:
        if name in _FITTED and "state_" not in self.__dict__:
            raise NotFitted("the detector is not fitted: call fit(X), or Detector.load(folder)")
        raise AttributeError(f"'Detector' object has no attribute {name!r}")

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

        In fixed memory beyond X itself, and without compiling anew for other n. Scores depend on
        the batch by rounding only.

        Raises:
          InputError: not fitted, or samples that cannot be scored; names the first.
        """
        return self.combine(self._networks.raw(X))

    def combine(self, raw: np.ndarray) -> np.ndarray:
        """One score per sample `[n]` from the seeds' own scores `[seeds, n]`."""
        return self._networks.surprise(raw).mean(axis=0)

    def p_values(self, X: Any, proven: bool = False) -> np.ndarray:
        """Conformal p-values `[n]`: small = anomalous; normals fall below alpha at a rate alpha.

        Exact with one seed: P(p <= alpha) <= alpha. With several seeds this is measured, not
        proven; with `proven`, P(p <= alpha) <= alpha holds whatever the seeds' dependence, at the
        price of power and of twice the held-out normals (`ad_jax.detector.calibration`).

        Returns:
          Values in `[1 / (N + 1), 1]` for N held-out normals; without `proven` they fall with the
          score, and `p <= alpha` where `predict` says 1.
        """
        raw = self._networks.raw(X)
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

    def set_threshold(self, alpha: float) -> Detector:
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
        `value`, cut at 0, is .02 to .06 on the mean. See `ad_jax.detector.share`.
        """
        raw = self._networks.raw(X)
        return anomaly_share(self.state_.arrays["held_out"], raw, self.state_.folds, seed)

    # Heatmaps

    def fit_localiser(
        self,
        X: Any,
        method: str = localise.DEFAULT,
        *,
        held_out: Any = None,
        groups: Sequence[Hashable] | None = None,
    ) -> Detector:
        """Adds a localiser to a trained detector, or another one; trains nothing.

        Costs a forward pass over the normals, a density and one compilation.

        Args:
          X, held_out, groups: the normals of the fit, in any order.
          method: see `localiser`.

        Raises:
          InputError: other normals than those it was trained on, a network without positions.
        """
        state, networks = self.state_, self._networks
        localising.check(method, state.config, state.shape, networks.plan)
        samples = as_samples("X", X)
        problem = Problem(train=samples, target=samples[:1], held_out=held_out, groups=groups)  # type: ignore[arg-type]
        cuts = None if networks.plan is None else tiles.tiled(problem, networks.plan)
        normals = Normals.of(problem, cuts)
        localising.check_normals(networks, normals)
        localised = localising.fit_localised(networks, method, normals)
        self.state_, self.localiser = state._replace(localised=localised), method
        self._heatmaps = localising.Heatmaps(networks, localised)
        return self

    def heatmaps(self, X: Any) -> np.ndarray:
        """Where samples `[n, h, w, c]` are strange: `[n, h, w]` float32 in decades.

        3 means that one in a thousand of held-out normals' pixels scores as high (one scale for
        all images; see `localise.scale`); the mean over seeds. In fixed memory beyond X and the
        result. Outside a region of interest 0.

        Raises:
          InputError: no localiser was fitted, or samples that cannot be looked at; names the first.
        """
        return self._localised()(X)

    def heatmap_alarm(self, share: float = 0.05) -> float:
        """Decades that about `share` of new normal images reach anywhere: a threshold for heatmaps.

        Split-conformal over the highest points of held-out images, each by the seeds that held it
        out; at most `share` is proven with one seed. Infinite where there are too few images.

        Raises:
          InputError: no localiser was fitted, or a share out of (0, 1).
        """
        self._localised()
        return localising.alarm(self.state_, check_level("share", share))

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
    def load(cls, path: str | Path) -> Detector:
        """Reads a saved detector; scores are bit-equal to the saved one's.

        Raises:
          InputError: no detector there, damaged files, a newer format, or no device to score on.
          OSError: of the disk, or a folder that may not be read.
        """
        saved = saving.read(path)
        detector = cls._with(Networks(saved.state), saved.alpha)
        detector.loading = saved.loading
        return detector
