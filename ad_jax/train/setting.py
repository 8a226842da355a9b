"""What is trained: settings (pretext, augmentation, hyperparameters) and static choices."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ad_jax import augment
from ad_jax.base.errors import InputError
from ad_jax.base.parameters import ROOT_MOST, real, whole, word
from ad_jax.base.space import Range, Space
from ad_jax.base.values import Value, typical

TRAINING = Space(  # hyperparameters of training; each is a field of `Setting`, too
    learning_rate=Range(5e-4, 1e-5, 1.0, "log", "per step", True, "of Adam, after the warm-up"),
    weight_decay=Range(
        1e-3, 0.0, 1.0, "linear", "share", True, "decoupled, per unit of learning rate"
    ),
    jitter=Range(
        *(0.1, 0.0, 1.0, "linear", "grey values", True),
        "brightness and contrast jitter of every input, so that neither gives a class away",
    ),
)


class Config(NamedTuple):
    """Static choices of a sweep; another value of the first four is another training.

    Attributes:
      steps: training steps per member.
      width: channels of the encoder's first stage.
      backbone: name of the network.
      root: root of all random keys.
      most_loss: a member whose training loss is above this share of the loss at chance is called
        untrained.
      least_auroc: so is one that tells held-out normals from their augmentations no better.
    """

    steps: int = 800
    width: int = 24
    backbone: str = "encoder"
    root: int = 0
    most_loss: float = 0.97
    least_auroc: float = 0.55

    def trained(self, steps: int) -> dict[str, Any]:
        """What decides a training of so many steps; how it is judged afterwards does not."""
        return {"steps": steps, "width": self.width, "backbone": self.backbone, "root": self.root}

    def checked(self) -> Config:
        """The same as plain numbers and text.

        Raises:
          InputError: what is no number or name, a negative one, a root beyond 32 bits.
        """
        return Config(
            whole("steps", self.steps, 0),
            whole("width", self.width, 1),
            word("backbone", self.backbone),
            whole("root", self.root, 0, ROOT_MOST),
            real("most_loss", self.most_loss),
            real("least_auroc", self.least_auroc),
        )


class Setting(NamedTuple):
    """One choice of pretext, augmentation and hyperparameters.

    Attributes:
      pretext, augmentation: names; together the family. Detectors of other libraries have the
        pretext "external", and their name stands for the augmentation.
      hyper: physical hyperparameters of the augmentation, all of them.
      learning_rate, weight_decay, jitter: of training, see `TRAINING`.
    """

    pretext: str
    augmentation: str
    hyper: Mapping[str, Value]
    learning_rate: float = TRAINING["learning_rate"].default
    weight_decay: float = TRAINING["weight_decay"].default
    jitter: float = TRAINING["jitter"].default

    @property
    def training(self) -> dict[str, float]:
        """Hyperparameters of training by their names."""
        return {name: getattr(self, name) for name in TRAINING}

    def checked(self) -> Setting:
        """The same as plain numbers and text.

        Raises:
          InputError: what is no number or name.
        """
        return Setting(
            word("pretext", self.pretext),
            word("augmentation", self.augmentation),
            {word("hyper", name): _plain(name, value) for name, value in self.hyper.items()},
            **{name: real(name, value) for name, value in self.training.items()},
        )

    @property
    def family(self) -> str:
        external = self.pretext == "external"
        return self.augmentation if external else f"{self.pretext}/{self.augmentation}"

    @property
    def strength(self) -> float | None:
        """Value of the hyperparameter that a grid moves; None for families without one.

        The mean of a vector's numbers; of an external setting its only hyperparameter.
        """
        if self.pretext == "external":
            return typical(next(iter(self.hyper.values()))) if len(self.hyper) == 1 else None
        try:
            strength = augment.get(self.augmentation).strength
        except InputError:  # a control, or a record of another version's catalogue
            return None
        return None if strength is None else typical(self.hyper[strength])

    @property
    def label(self) -> str:
        """Short name for tables."""
        if self.pretext == "external":
            own = (f"{name}={typical(value):g}" for name, value in self.hyper.items())
            return " ".join([self.augmentation, *own])
        return self.family if self.strength is None else f"{self.family} {self.strength:.3g}"

    @property
    def key(self) -> str:
        return json.dumps(self._asdict(), sort_keys=True)


def _plain(name: str, value: Any) -> Value:
    """A hyperparameter's value as a plain number, or several of a vector."""
    if np.ndim(value):
        return tuple(real(name, number) for number in np.asarray(value).tolist())
    return real(name, value)


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


def _cell(value: Value) -> Any:
    """A value as a cell of a table: the numbers of a vector in brackets, spaces between them."""
    return f"[{' '.join(map(repr, value))}]" if isinstance(value, (tuple, list)) else value


def of_cell(cell: str) -> Value:
    """The value of a table's cell."""
    if cell.startswith("["):
        return tuple(map(float, cell.strip("[]").split()))
    return float(cell)


def describe(setting: Setting) -> dict[str, Any]:
    """A flat row for tables and files."""
    return {
        "pretext": setting.pretext,
        "augmentation": setting.augmentation,
        **{f"hyper.{k}": _cell(v) for k, v in setting.hyper.items()},
        **setting.training,
    }
