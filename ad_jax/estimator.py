"""The detector that users hold: fit, score, threshold, save; in PyOD's manners."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError, check_name
from ad_jax.base.modality import modality
from ad_jax.base.parameters import numbered, real, whole, word
from ad_jax.data import Problem
from ad_jax.data.samples import as_array, as_samples
from ad_jax.detect import localise, localising, tiles
from ad_jax.detect.calibration import (
    SLACK,
    check_level,
    unattainable,
)
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.fitting import networks_of, scores_of_normals
from ad_jax.detect.given import normals_of, samples_of
from ad_jax.detect.networks import Networks
from ad_jax.detect.normals import Normals
from ad_jax.detect.prevalence import Share
from ad_jax.detect.state import Loading, NotFitted, State, Tiling
from ad_jax.pool.sweep import Progress
from ad_jax.selection import rules
from ad_jax.selection.search import config_for, defaults
from ad_jax.selection.selection import choose, train_one
from ad_jax.selection.spec import Runtime, Spec
from ad_jax.selection.trust import Trust
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting

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


class Detector(FittedDetector):
    """Scores samples; higher = more anomalous. Thresholds come from held-out normals alone.

    Every seed scores by itself (density of the embedding, or the pretext's own head); a sample's
    score is the mean over seeds of its surprise among that seed's held-out normals
    (`ranks.surprise`), since raw distances of two networks have nothing in common. P-values and
    what they promise: `ad_jax.detect.calibration`.

    `get_params`, `set_params` and `sklearn.base.clone` work; a changed `alpha` needs no training.

    Args:
      setting: what to train; None lets a target choose, or takes the default without one.
      settings: what a target chooses among; None is the grid of `search.defaults`.
      rule: by which it chooses; a name in `rules.RULES`.
      search: "all" or "halving".
      seeds: how many trainings, or their numbers. Four seeds hold out every normal once.
      steps, width, backbone, root: of the training (`ad_jax.Config`). None takes frozen features
        for images of 64 px a side and more, else the small encoder, and what that one takes
        (`search.defaults`).
      alpha: asked false-positive rate of `predict`, in (0, 1).
      tile: side in px of the tiles that the networks see in full resolution, for images that would
        be squeezed otherwise; None sees whole images. An image's score is that of its strangest
        tile, thresholds count whole held-out images.
      overlap: share of a tile that neighbours have in common at least, 0 up to below 1.
      localiser: "position", "neighbour" or "texture" (`ad_jax.detect.localise`) for heatmaps. None
        fits none: rows and the `mlp` have no positions, and a localiser can make most of a saved
        detector (`position` up to 8.5 MB a seed, and as much for every tile; `neighbour` .5 MB,
        `texture` 20 kB). `fit_localiser` adds one later, without training.
      series: whether samples are series `[n, t, c]` (or `[n, t]`) of equal length; else `[n, t, c]`
        are grey images.
      size: side in px, or `HEIGHTxWIDTH`, to which image files are brought.
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
        steps: int | None = None,
        width: int | None = None,
        backbone: str | None = None,
        root: int = 0,
        alpha: float = 0.05,
        tile: int | None = None,
        overlap: float = 0.25,
        localiser: str | None = None,
        series: bool = False,
        size: int | str = 160,
        record: str | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        self.setting, self.settings, self.rule, self.search = setting, settings, rule, search
        self.seeds, self.steps, self.width, self.backbone = seeds, steps, width, backbone
        self.root, self.alpha, self.record, self.report = root, alpha, record, report
        self.tile, self.overlap, self.localiser = tile, overlap, localiser
        self.series, self.size = series, size
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
            check_name(self._names(), name, "parameter")
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
          X: `[n, h, w, c]` or `[n, h, w]` normals, uint8 or float in [0, 1], or rows `[n, d]`; at
            least 2. An array of numpy, JAX or PyTorch, a list of image files (`size`), or a frame
            of pandas or polars, whose columns of numbers and of text become numbers by what stands
            in these rows (`ad_jax.data.columns`). `target` and `held_out` are given alike. A few
            anomalies among the normals cost power, not false alarms. Copies, exact or nearly,
            count once (`Problem`), with a warning.
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
        rule, search = word("rule", self.rule), word("search", self.search)
        localiser = None if self.localiser is None else word("localiser", self.localiser)
        samples, target, held_out = self._arrays(X, target, held_out)
        tiling = self._tiling(roi)
        plan = None if tiling is None else tiling.plan(samples.shape[1:])
        seen = 1 if plan is None else len(plan.corners)
        config = self._config(samples.shape[1:])
        problem = Problem(
            train=samples,
            target=samples[: -(-STAND_IN // seen)] if target is None else target,
            held_out=held_out,
            groups=groups,  # type: ignore[arg-type]
            series=self.series,
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
        runtime = Runtime(Record(Path(self.record)) if self.record else None, self.report)
        trust = None
        if target is None or self.setting is not None:
            setting = self.setting or defaults(config.backbone).setting
            members = train_one(task, setting, seeds, config, runtime)
        else:
            spec = Spec(self.settings, seeds, rule, search, config)
            ((judged, found),) = choose([task], spec, runtime)
            members = found[judged.pick.key]
            trust = judged.trust
        networks = networks_of(normals, members, config, tiling)
        if localiser is not None:
            localised = localising.fit_localised(networks, localiser, normals)
            networks.state = networks.state._replace(localised=localised)
        self._take(networks)
        self.trust_, self.anomaly_share_ = trust, None
        scores = scores_of_normals(networks, self._by_fold, normals)
        self.decision_scores_ = scores[problem.rows_of(samples)]
        self.anomaly_share_ = None if target is None else self.anomaly_share(target)
        return self

    def fit_predict(self, X: Any, y: None = None, target: Any = None) -> np.ndarray:
        """`fit`, then `labels_` of the normals."""
        return self.fit(X, y, target).labels_

    def _arrays(self, X: Any, target: Any, held_out: Any) -> tuple[np.ndarray, Any, Any]:
        """What `fit` is given, as arrays; `loading` is learned from the normals alone."""
        X, loading = normals_of("X", X, self.size, self.series)
        samples = as_samples("X", X, self.series)
        if loading is not None:
            self.loading = loading
        shape, dtype = samples.shape[1:], str(samples.dtype)
        others = {"target": target, "held_out": held_out}
        one, other = (samples_of(n, v, loading, shape, dtype) for n, v in others.items())
        return samples, one, other

    def _config(self, shape: tuple[int, ...]) -> Config:
        """Of the training on samples of a shape."""
        backbone = None if self.backbone is None else word("backbone", self.backbone)
        return config_for(shape, backbone, self.steps, self.width, self.root).checked()

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
    def of_networks(
        cls, networks: Networks, alpha: float = 0.05, loading: Loading | None = None
    ) -> Detector:
        """The detector of trained seeds, with the parameters that would train it again."""
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
            series=modality(state.shape) == "series",
        )
        detector.loading = loading
        detector._take(networks)
        detector.trust_, detector.anomaly_share_ = None, None
        return detector

    def fit_localiser(
        self,
        X: Any,
        method: str = localise.DEFAULT,
        *,
        held_out: Any = None,
        groups: Sequence[Hashable] | None = None,
    ) -> Detector:
        """As `FittedDetector.fit_localiser`; `localiser` becomes the method."""
        super().fit_localiser(X, method, held_out=held_out, groups=groups)
        self.localiser = method
        return self

    def __getattr__(self, name: str) -> Any:
        if name in _FITTED and "state_" not in self.__dict__:
            raise NotFitted("the detector is not fitted: call fit(X), or Detector.load(folder)")
        raise AttributeError(f"'Detector' object has no attribute {name!r}")
