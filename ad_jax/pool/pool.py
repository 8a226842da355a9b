"""What is known, without labels, of every member: the only thing a selection rule sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base import ranks, stats
from ad_jax.pool import external as foreign
from ad_jax.pool.external import Named
from ad_jax.pool.view import View
from ad_jax.train.setting import Setting

HEADS = ("density", "neighbour", "kernel_density", "head")


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
      target, held_out: what they see of the target and of their held-out normals. These differ
        between seeds; there may be none of them (n = 0).
      default_head: `[members]` index in `HEADS` of the score that a member's pretext names.
      generated: scores alone, of samples drawn around the normals (AutoUAD).
      groups: `[members, m]` group of each held-out normal (photographs of one object), None where
        nobody said which belong together.
    """

    members: tuple[Member, ...]
    target: View
    held_out: View
    default_head: np.ndarray
    generated: View | None = None
    groups: np.ndarray | None = None

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
            View(found.scores[:, None]),
            View(found.held_out[:, None]),
            np.zeros(len(members), int),
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

    @property
    def scores(self) -> np.ndarray:
        """`[members, heads, n]` of the target."""
        return self.target.scores

    @property
    def held_out_scores(self) -> np.ndarray:
        """`[members, heads, m]`."""
        return self.held_out.scores

    def of_own_heads(self, view: View) -> np.ndarray:
        """Scores `[members, n]` by each member's default head; of one head no copy."""
        if view.scores.shape[1] == 1:
            return view.scores[:, 0]
        return view.scores[np.arange(len(self.members)), self.default_head]

    def own_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of target `[members, n]` and held-out `[members, m]` by each member's head."""
        return self._own_scores

    @cached_property
    def _own_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Kept, as every rule asks for them."""
        return self.of_own_heads(self.target), self.of_own_heads(self.held_out)

    @cached_property
    def finite(self) -> np.ndarray:
        """Whether all of a member's scores of the target are finite, `[members]`."""
        return np.isfinite(self.own_scores()[0]).all(axis=1)

    @cached_property
    def choices(self) -> dict[str, list[int]]:
        """Setting key -> rows of its trained members, for settings that can be picked."""
        return {s.key: self.rows(s, trained=True) for s in self.settings if self.pickable(s)}

    @cached_property
    def surprise(self) -> dict[str, np.ndarray]:
        """Setting key -> mean `ranks.surprise` `[n]` of its members, for settings in `choices`.

        Of those alone whose scores are all finite.
        """
        target, held_out = self.own_scores()
        return {
            key: ranks.surprise_rows(held_out[rows], target[rows]).mean(0)
            for key, rows in self.choices.items()
            if self.finite[rows].all() and np.isfinite(held_out[rows]).all()
        }

    @cached_property
    def auroc_held_out(self) -> np.ndarray:
        """AUROC of the target against held-out normals, `[members]`."""
        target, held_out = self.own_scores()
        return ranks.auroc_rows(held_out, target)

    def take(self, target: np.ndarray, held_out: np.ndarray) -> Pool:
        """The pool on some samples of the target `[k]` and of the held-out normals `[l]`.

        They may repeat. What a rule knows as one number of the whole target (MMD, transport) stays
        as it was. Held-out normals differ between seeds, so the same rows are other samples there.
        """
        groups = None if self.groups is None else self.groups[:, held_out]
        some = self.held_out.at(held_out)
        return replace(self, target=self.target.at(target), held_out=some, groups=groups)


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


def estimates_by_setting(
    pool: Pool, per_member: np.ndarray, settings: Sequence[Setting]
) -> list[stats.Estimate]:
    """Mean of a figure of every member `[members]` over the trained seeds of each setting."""
    return [stats.mean(per_member[pool.rows(s, trained=True)]) for s in settings]
