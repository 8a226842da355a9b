"""What is known, without labels, of every member: the only thing a selection rule sees."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ad_jax import foreign
from ad_jax.alignment import Parts
from ad_jax.augment import CATALOGUE
from ad_jax.errors import InputError
from ad_jax.foreign import Named
from ad_jax.parameters import real, word

HEADS = ("density", "neighbour", "kernel_density", "head")


class Setting(NamedTuple):
    """One choice of pretext, augmentation and hyperparameters.

    Attributes:
      pretext, augmentation: names; together the family. Detectors of other libraries have the
        pretext "external", and their name stands for the augmentation.
      hyper: physical hyperparameters of the augmentation, all of them.
      learning_rate, weight_decay, jitter: of training.
    """

    pretext: str
    augmentation: str
    hyper: dict[str, float]
    learning_rate: float = 5e-4
    weight_decay: float = 1e-3
    jitter: float = 0.1

    def checked(self) -> Setting:
        """The same as plain numbers and text.

        Raises:
          InputError: what is no number or name.
        """
        names = ("learning_rate", "weight_decay", "jitter")
        return Setting(
            word("pretext", self.pretext),
            word("augmentation", self.augmentation),
            {word("hyper", name): real(name, value) for name, value in self.hyper.items()},
            *(real(name, getattr(self, name)) for name in names),
        )

    @property
    def family(self) -> str:
        external = self.pretext == "external"
        return self.augmentation if external else f"{self.pretext}/{self.augmentation}"

    @property
    def strength(self) -> float | None:
        """Value of the hyperparameter that a grid moves; None for families without one.

        Of an external setting its only hyperparameter.
        """
        if self.pretext == "external":
            return next(iter(self.hyper.values())) if len(self.hyper) == 1 else None
        entry = CATALOGUE.get(self.augmentation)  # control members are not in it
        return None if entry is None or entry.strength is None else self.hyper[entry.strength]

    @property
    def label(self) -> str:
        """Short name for tables."""
        if self.pretext == "external":
            return " ".join([self.augmentation, *(f"{k}={v:g}" for k, v in self.hyper.items())])
        return self.family if self.strength is None else f"{self.family} {self.strength:.3g}"

    @property
    def key(self) -> str:
        return json.dumps(self._asdict(), sort_keys=True)


def checked_settings(settings: Iterable[Setting]) -> list[Setting]:
    """Settings as plain numbers and text, `Setting.checked`.

    Raises:
      InputError: what is no list of settings; says how one is made.
    """
    how = "; give a list such as [ad_jax.setting('binary', 'cutpaste', area=0.1)]"
    if not isinstance(settings, Iterable):
        raise InputError(f"{settings!r} is no list of settings{how}")
    out = []
    for one in settings:
        if not isinstance(one, Setting):
            raise InputError(f"{one!r} is no setting{how}")
        out.append(one.checked())
    return out


class Member(NamedTuple):
    """A setting trained with one seed, and what came of it.

    Attributes:
      setting: its setting; for control members the pretext is "control".
      seed: of initialisation, order, augmentation and fold.
      status: "ok", "untrained" (training loss or held-out discrimination at chance), "failed" (not
        finite), or "stopped": a search dropped its setting before the last step, so that all that
        is known of it is of an earlier one.
      train_loss: mean over the last tenth of the steps.
      discrimination: AUROC of held-out normals against their augmentations, by the network.
      seconds: share of its chunk's run time.
    """

    setting: Setting
    seed: int
    status: str
    train_loss: float
    discrimination: float
    seconds: float


@dataclass(frozen=True)
class Pool:
    """All members of a sweep on one problem; no labels, names or paths.

    Attributes:
      members: one per row of the arrays.
      scores: `[members, heads, n]` of the target, heads as in `HEADS`; NaN where there is none.
      held_out_scores: `[members, heads, m]`; the held-out normals differ between seeds; m = 0 if
        there are none.
      parts, held_out_parts: alignment parts `[members, n]` / `[members, m]` (`between` `[members]`)
        of target and held-out normals; None for pools made from scores.
      mmd, held_out_mmd: `[members]`; None for pools made from scores, as all that follows.
      mean_distance, held_out_mean_distance: `[members]` (ST-SSAD).
      sinkhorn, held_out_sinkhorn: `[members]` (TSAP).
      generated_scores: `[members, heads, k]` of samples drawn around the normals (AutoUAD).
      default_head: per member the index of the score its pretext names.
    """

    members: tuple[Member, ...]
    scores: np.ndarray
    held_out_scores: np.ndarray
    parts: Parts | None = None
    held_out_parts: Parts | None = None
    mmd: np.ndarray | None = None
    held_out_mmd: np.ndarray | None = None
    mean_distance: np.ndarray | None = None
    held_out_mean_distance: np.ndarray | None = None
    sinkhorn: np.ndarray | None = None
    held_out_sinkhorn: np.ndarray | None = None
    generated_scores: np.ndarray | None = None
    default_head: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    @classmethod
    def from_scores(
        cls,
        scores: Any,
        settings: Sequence[Named] | None = None,
        held_out: Any = None,
        seeds: Sequence[int] | None = None,
    ) -> Pool:
        """A pool of detectors from any library.

        Rows with NaN, infinite or constant scores are left out, with a warning that names them.

        Args:
          scores: `[members, samples]` of the target, higher = more anomalous.
          settings: per member a name, or a dict with a `name` and hyperparameters; rows are
            numbered without.
          held_out: `[members, m]` scores of normals that no member was fitted on; without them
            rules that compare with held-out normals are left out.
          seeds: tell members of one setting apart; counted without.

        Raises:
          InputError: shapes that do not fit, a repeated member, fewer than 2 members or 3 samples.

        Example:
          >>> scores = [[0.1, 0.2, 0.9, 0.3], [0.0, 0.1, 0.8, 0.2], [0.5, 0.1, 0.2, 0.3]]
          >>> pool = Pool.from_scores(scores, [{"name": "knn", "k": 5}, "pca", "iforest"])
          >>> [setting.label for setting in pool.settings]
          ['knn k=5', 'pca', 'iforest']
        """
        found = foreign.checked(scores, settings, held_out, seeds)
        nothing = float("nan")
        members = tuple(
            Member(Setting("external", name, hyper, 0.0, 0.0, 0.0), seed, "ok", *3 * [nothing])
            for name, hyper, seed in zip(found.names, found.hypers, found.seeds, strict=True)
        )
        return cls(
            members,
            found.scores[:, None],
            found.held_out[:, None],
            default_head=np.zeros(len(members), int),
        )

    @property
    def settings(self) -> list[Setting]:
        """Settings in the order of their first member, controls left out."""
        return [s for s, _ in self._by_key.values() if s.pretext != "control"]

    def rows(self, setting: Setting, trained: bool = False) -> list[int]:
        """Rows of a setting's members; with `trained` only those of status "ok"."""
        _, rows = self._by_key.get(setting.key, (setting, []))
        return [i for i in rows if not trained or self.members[i].status == "ok"]

    def pickable(self, setting: Setting) -> bool:
        """Whether at least half of a setting's seeds are of status "ok"; no rule picks others."""
        trained = len(self.rows(setting, trained=True))
        return trained > 0 and 2 * trained >= len(self.rows(setting))

    @cached_property
    def stopped(self) -> list[Setting]:
        """Settings that a search dropped before the last step; neither picked nor judged."""
        return [
            s
            for s in self.settings
            if any(self.members[i].status == "stopped" for i in self.rows(s))
        ]

    @cached_property
    def untrained(self) -> list[Setting]:
        """Settings that learned nothing: trained to the last step, but with too few seeds."""
        stopped = {s.key for s in self.stopped}
        return [s for s in self.settings if s.key not in stopped and not self.pickable(s)]

    def controls(self) -> list[Setting]:
        return [s for s, _ in self._by_key.values() if s.pretext == "control"]

    @cached_property
    def _by_key(self) -> dict[str, tuple[Setting, list[int]]]:
        """Setting key -> setting and its rows: looked up once, pools may hold 100,000 members."""
        found: dict[str, tuple[Setting, list[int]]] = {}
        for i, member in enumerate(self.members):
            found.setdefault(member.setting.key, (member.setting, []))[1].append(i)
        return found

    def own_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of target `[members, n]` and held-out `[members, m]` by each member's head."""
        rows = np.arange(len(self.members))
        return self.scores[rows, self.default_head], self.held_out_scores[rows, self.default_head]

    def own_generated(self) -> np.ndarray:
        """Scores of generated samples `[members, k]` by each member's head.

        Raises:
          InputError: the pool has none.
        """
        if self.generated_scores is None:
            raise InputError("the pool holds no scores of generated samples; train it with ad_jax")
        return self.generated_scores[np.arange(len(self.members)), self.default_head]


def per_setting(pool: Pool, per_member: np.ndarray, settings: Sequence[Setting]) -> np.ndarray:
    """Mean of a member's loss over the trained seeds of each setting `[settings]`.

    A setting that cannot be picked (`Pool.pickable`) is infinite.
    """
    out = np.full(len(settings), np.inf)
    for i, setting in enumerate(settings):
        if pool.pickable(setting):
            values = per_member[pool.rows(setting, trained=True)]
            out[i] = float(np.mean(values)) if np.isfinite(values).all() else np.inf
    return out


def describe(setting: Setting) -> dict[str, Any]:
    """A flat row for tables and files."""
    return {
        "pretext": setting.pretext,
        "augmentation": setting.augmentation,
        **{f"hyper.{k}": v for k, v in setting.hyper.items()},
        "learning_rate": setting.learning_rate,
        "weight_decay": setting.weight_decay,
        "jitter": setting.jitter,
    }
