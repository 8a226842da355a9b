"""What to train, and how far: grids and random draws of settings, all of them or by halving.

Budgets count member-steps (one training step of one member), the sum over every stage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax import augment as augmentations
from ad_jax.base.errors import InputError, check_name
from ad_jax.base.modality import modality
from ad_jax.base.parameters import real, word
from ad_jax.features import ENCODERS, frozen
from ad_jax.pool import Pool
from ad_jax.pool.rows import Row
from ad_jax.pool.sweep import Sweep
from ad_jax.selection import rules
from ad_jax.train.pretexts import ON_FEATURES, PRETEXTS
from ad_jax.train.setting import TRAINING, Config, Setting

AREAS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)  # patch areas of a grid
STRENGTHS = 4  # of any other family in a grid
FAMILIES = ("binary/quarter_turns", "prediction/quarter_turns", "binary/cutpaste")
WIDE = (  # what `--families wide` stands for: every group of the catalogue and every pretext
    *FAMILIES,
    "prediction/vertical_flip",
    "binary/rotate",
    "binary/translate",
    "binary/cutpaste_donor",
    "binary/cutout",
    "binary/scar",
    "kinds/cutpaste_scar",
    "binary/perlin_blend",
    "binary/gaussian_noise",
    "binary/blur",
    "binary/brightness",
    "denoising/pixel_mask",
)
FROZEN = (  # the default on a frozen encoder's features: 19 settings
    "neighbour/identity",
    "global_neighbour/identity",
    "binary/feature_noise",
    "binary/cutpaste",
    "binary/scar",
    "binary/perlin_blend",
    "binary/quarter_turns",
)
FROZEN_WIDE = (
    *FROZEN,
    "density/identity",
    "subspace/identity",
    "binary/feature_mixup",
    "binary/feature_extrapolation",
    "binary/channel_dropout",
    "denoising/feature_noise",
    "pooled/feature_noise",
    "pooled/cutpaste",
    "prediction/quarter_turns",
    "binary/cutpaste_donor",
    "binary/cutout",
    "kinds/cutpaste_scar",
    "binary/gaussian_noise",
    "binary/blur",
    "binary/brightness",
)
OF_ROWS = (  # the default on rows: 19 settings, chosen before any training
    "neighbour/identity",
    "density/identity",
    "subspace/identity",
    "binary/feature_noise",
    "binary/feature_extrapolation",
    "binary/feature_swap",
    "binary/feature_shift",
)
ROWS_WIDE = (
    *OF_ROWS,
    "binary/feature_heavy",
    "binary/feature_uniform",
    "binary/feature_mixup",
    "binary/channel_dropout",
    "denoising/feature_noise",
    "denoising/feature_swap",
    "prediction/affine_views",
)
OF_SERIES = (  # the default on series, chosen before any training
    "neighbour/identity",
    "global_neighbour/identity",
    "subspace/identity",
    "binary/feature_noise",
    "binary/mean_shift",
    "binary/platform",
    "binary/amplitude",
    "binary/segment_cutpaste_donor",
)
SERIES_WIDE = (
    *OF_SERIES,
    "density/identity",
    "binary/trend",
    "binary/extremum",
    "binary/frequency",
    "binary/series_noise",
    "binary/time_warp",
    "binary/segment_cutpaste",
    "binary/feature_extrapolation",
    "binary/feature_swap",
    "denoising/feature_noise",
)
TEMPORAL = (  # the default of networks that see series themselves, chosen before any training
    "binary/mean_shift",
    "binary/platform",
    "binary/amplitude",
    "binary/frequency",
    "binary/segment_cutpaste_donor",
)
TEMPORAL_WIDE = (
    *TEMPORAL,
    "binary/trend",
    "binary/extremum",
    "binary/series_noise",
    "binary/time_warp",
    "binary/segment_cutpaste",
    "binary/reversal",
    "binary/phase_shuffle",
    "binary/channel_swap",
    "denoising/platform",
)
FROZEN_AREAS = (0.01, 0.02, 0.04, 0.16)
FROZEN_TRAINING = {"learning_rate": 3e-3}  # of heads: small networks that train for 400 steps
LARGE = 64  # px a side from which frozen features are the default
REDUCTION = 3  # halving keeps one setting in so many at every stage
STAGES = 3


def setting(pretext: str, augmentation: str, **hyper: Any) -> Setting:
    """A setting with defaults for everything that is not said.

    Args:
      pretext, augmentation: names.
      **hyper: hyperparameters of the augmentation, or of training (learning_rate, weight_decay,
        jitter). Where both have one of that name, it is the augmentation's.
    """
    pretext, augmentation = word("pretext", pretext), word("augmentation", augmentation)
    space = augmentations.get(augmentation).space
    training = {
        k: float(real(k, hyper.pop(k))) for k in tuple(hyper) if k in TRAINING and k not in space
    }
    given = {k: float(real(k, v)) for k, v in hyper.items()}
    return Setting(pretext, augmentation, {**space.defaults(), **given}, **training)


def default_setting() -> Setting:
    """What is trained when nobody says what: CutPaste of area .02, normal against augmented.

    Among the constants tried on the 12 defect tasks of the development data it was the best across
    families (docs/further_results.md), in hindsight. For anomalies that are objects of another kind
    rather than defects, turns were better: give a target, and let it choose.
    """
    return setting("binary", "cutpaste", area=0.02)


def default_on_features() -> Setting:
    """What a head on frozen features is trained on when nobody says what: feature noise of .8.

    Said before any training here (SimpleNet, arXiv 2303.15140, on its features' scale); the rate of
    learning was chosen on five sets of defects (docs/results.md).
    """
    return setting("binary", "feature_noise", std=0.8, **FROZEN_TRAINING)


def default_on_series() -> Setting:
    """What a network for series is trained on when nobody says what: a shift by 2 spreads.

    Either way, in a tenth to four tenths of the window; said before any training here.
    """
    return setting("binary", "mean_shift")


def default_on_windows() -> Setting:
    """What stands for windows of series when nobody says what: their nearest neighbour.

    It trains nothing, as the discords of a matrix profile (Yeh et al., ICDM 2016). Feature noise
    was the default until five series were looked at, where this was better (docs/results.md).
    """
    return setting("global_neighbour", "identity", **FROZEN_TRAINING)


class Defaults(NamedTuple):
    """What holds for a backbone when nobody says anything else.

    Attributes:
      setting: that is trained without a target.
      families, areas: of a grid; wide: of `--families wide`.
      training: hyperparameters of its settings that are no defaults.
      config: with its steps and width.
    """

    setting: Setting
    families: tuple[str, ...]
    wide: tuple[str, ...]
    areas: tuple[float, ...]
    training: Mapping[str, float]
    config: Config

    def grid(self, shape: tuple[int, ...]) -> list[Setting]:
        """The grid for samples of a shape."""
        return grid(shape, self.areas, self.families, training=self.training)


def defaults(backbone: str) -> Defaults:
    """What a backbone takes: heads on frozen features are wider and train half as long."""
    if frozen(backbone):
        config = Config(400, 256, backbone)
        one = default_on_windows() if backbone == "multiscale" else default_on_features()
        families = {"rows": (OF_ROWS, ROWS_WIDE), "multiscale": (OF_SERIES, SERIES_WIDE)}
        few, wide = families.get(backbone, (FROZEN, FROZEN_WIDE))
        return Defaults(one, few, wide, FROZEN_AREAS, FROZEN_TRAINING, config)
    one, few, wide = default_setting(), FAMILIES, WIDE
    if backbone == "temporal":
        one, few, wide = default_on_series(), TEMPORAL, TEMPORAL_WIDE
    return Defaults(one, few, wide, AREAS, {}, Config(backbone=backbone))


def backbone_for(shape: tuple[int, ...]) -> str:
    """The backbone of samples of a shape: frozen features where they are large images.

    Rows and series have encoders without weights (`features.plain`).
    """
    if modality(shape) != "image":
        return {"row": "rows", "series": "multiscale"}[modality(shape)]
    large = len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) >= LARGE
    return next(iter(ENCODERS)) if large else Config().backbone


def config_for(
    shape: tuple[int, ...],
    backbone: str | None = None,
    steps: int | None = None,
    width: int | None = None,
    root: int = 0,
) -> Config:
    """What samples of a shape are trained with; None takes what suits them and the backbone."""
    default = defaults(backbone_for(shape) if backbone is None else backbone).config
    return default._replace(
        steps=default.steps if steps is None else steps,
        width=default.width if width is None else width,
        root=root,
    )


def _split(families: Sequence[str]) -> list[tuple[str, str]]:
    """Pretext and augmentation of every family name.

    Raises:
      InputError: a name without a slash, an unknown pretext or augmentation.
    """
    out = []
    for name in families:
        pretext, slash, augmentation = name.partition("/")
        if not slash:
            raise InputError(f"family {name!r} is no PRETEXT/AUGMENTATION like binary/cutpaste")
        check_name({**PRETEXTS, **ON_FEATURES}, pretext, "pretext")
        augmentations.get(augmentation)
        out.append((pretext, augmentation))
    return out


def _fitting(families: Sequence[str], shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """Pretext and augmentation of the families that samples of a shape can have.

    Raises:
      InputError: none; says what the first lacks, and which augmentations do with these samples.
    """
    split = _split(families)
    out = [one for one in split if not augmentations.get(one[1]).lacks(shape)]
    if split and not out:
        fit = [
            name
            for name, entry in augmentations.KNOWN.items()
            if name != "identity" and not entry.lacks(shape)
        ]
        raise InputError(
            f"no settings for samples of shape {shape}: {families[0]} needs "
            f"{augmentations.get(split[0][1]).lacks(shape)}; augmentations that take these: "
            f"{', '.join(fit) or 'none'}"
        )
    return out


def grid(
    shape: tuple[int, ...],
    areas: Sequence[float] = AREAS,
    families: Sequence[str] = FAMILIES,
    strengths: int = STRENGTHS,
    training: Mapping[str, float] = {},
) -> list[Setting]:
    """Every family at its strengths: patch areas as given, so many values of any other strength.

    `training` holds hyperparameters of training that are no defaults.

    Areas under 2 px a side at this size are left out, and so are families that samples of this
    shape cannot have (turns of images that are not square, patches of rows).

    Raises:
      InputError: an unknown name, an area out of range, or no family that fits the shape.
    """
    out = []
    for pretext, augmentation in _fitting(families, shape):
        entry = augmentations.get(augmentation)
        if entry.strength == "area":
            for area in areas:
                one = setting(pretext, augmentation, area=area, **training)
                if entry.space["area"].low <= area < entry.visible(shape)["area"].low:
                    continue  # too small at this size, not in itself
                entry.check(augmentation, one.hyper, shape)
                out.append(one)
        else:
            hypers = entry.strengths(strengths, shape)
            out += [Setting(pretext, augmentation, hyper, **training) for hyper in hypers]
    return out


def draw(
    shape: tuple[int, ...],
    count: int,
    families: Sequence[str] = FAMILIES,
    seed: int = 0,
    training: Mapping[str, float] = {},
) -> list[Setting]:
    """Random search: `count` settings, families in turn, all hyperparameters drawn on their scale.

    A family without hyperparameters comes once. `training` holds hyperparameters of training that
    are no defaults.
    """
    generator = np.random.default_rng(seed)
    known = _fitting(families, shape)
    out: dict[str, Setting] = {}
    for i in range(100 * count):  # more rounds than settings: repeated ones are dropped
        if len(out) == count:
            break
        pretext, augmentation = known[i % len(known)]
        space = augmentations.get(augmentation).visible(shape)
        one = Setting(pretext, augmentation, space.sample(generator), **training)
        out.setdefault(one.key, one)
    return list(out.values())


def train_all(sweep: Sweep) -> dict[tuple[str, int], Row]:
    """Trains every setting with every seed to the end."""
    return sweep.advance(sweep.members, sweep.config.steps)


def stops(steps: int, reduction: int = REDUCTION, stages: int = STAGES) -> list[int]:
    """Training steps at the end of each stage: `steps`, and a `reduction`-th before each.

    >>> stops(800)
    [89, 267, 800]
    """
    return [max(1, round(steps / reduction**k)) for k in range(stages - 1, -1, -1)]


def _plan(
    settings: int, steps: int, reduction: int, stages: int
) -> tuple[list[int], list[int], int]:
    """Settings alive in each stage, the steps between which it runs, and steps per seed in all."""
    counts = [settings]
    for _ in range(stages - 1):
        counts.append(math.ceil(counts[-1] / reduction))
    marks = [0, *stops(steps, reduction, stages)]
    return counts, marks, sum(n * (b - a) for n, a, b in zip(counts, marks, marks[1:]))


def stage_sizes(search: str, settings: int) -> list[int]:
    """Settings that each stage of a search trains; one stage for "all"."""
    return [settings] if search == "all" else _plan(settings, 1, REDUCTION, STAGES)[0]


def budget(search: str, settings: int, steps: int) -> int:
    """Training steps per seed of a search."""
    return settings * steps if search == "all" else _plan(settings, steps, REDUCTION, STAGES)[2]


def halve(
    sweep: Sweep, rule: str, reduction: int = REDUCTION, stages: int = STAGES
) -> dict[tuple[str, int], Row]:
    """Successive halving on a rule's loss (Jamieson & Talwalkar, AISTATS 2016).

    All settings train for a short first stage; at its end the best `1 / reduction` by the rule go
    on from where they stand, and so on. With several problems, each keeps its own best. A setting
    that has learned nothing yet has no loss: it comes after those that have, by training loss.

    Returns:
      The last row of every member; those of settings that were dropped end early.
    """
    alive = list(sweep.settings)
    counts, marks, budget = _plan(len(alive), sweep.config.steps, reduction, stages)
    sweep.planned = len(sweep.seeds) * budget
    rows: dict[tuple[str, int], Row] = {}
    for keep, stop in zip([*counts[1:], 0], marks[1:], strict=True):
        members = [(s, seed) for s in alive for seed in sweep.seeds]
        last = stop == marks[-1]
        earlier = {(s.key, n): rows[s.key, n] for s, n in members} if rows else None
        here = sweep.advance(members, stop, earlier, keep_state=not last)
        rows |= here
        if not last:
            survivors: dict[str, None] = {}
            for pool in sweep.pools(here, stop):
                survivors |= dict.fromkeys(_best(pool, rule, keep))
            alive = [s for s in alive if s.key in survivors]
    return rows


def _best(pool: Pool, rule: str, keep: int) -> list[str]:
    losses = rules.losses(pool, rule)

    def order(setting: Setting) -> tuple[float, float]:
        training = float(np.mean([pool.members[i].train_loss for i in pool.rows(setting)]))
        return losses[setting.key], training if np.isfinite(training) else np.inf

    return [s.key for s in sorted(pool.settings, key=order)][:keep]


SEARCHES: dict[str, Callable[[Sweep, str], dict[tuple[str, int], Row]]] = {
    "all": lambda sweep, rule: train_all(sweep),
    "halving": halve,
}
