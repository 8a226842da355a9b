"""The sealed labels of a target: read late, opened for a reason, every opening logged."""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.errors import InputError


class Labels(NamedTuple):
    """Opened labels of a target of n samples, in the order of `Problem.target`."""

    anomalous: np.ndarray  # [n] uint8, 1 = anomalous
    kinds: list[str]  # [n], "" for normals
    masks: Callable[[int], np.ndarray | None] | None = None  # row -> [h, w] uint8, None = unknown
    facts: Mapping[str, object] = {}  # what else tells how the anomalies came about


class Truth:
    """Sealed labels of a target, in the order of `Problem.target`.

    Args:
      names: `[n]`, row -> name of the sample (for folders the path below the source). Readable at
        any time: writing files needs names. They may give a label away, so nothing that trains,
        aligns or selects takes a `Truth`.
      read: called at the first opening, never before; returns the labels.
    """

    def __init__(self, names: Sequence[str], read: Callable[[], Labels]):
        self.names = list(names)
        self.log: list[tuple[str, str]] = []  # (UTC time, reason) of every opening
        self._read = read
        self._labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Truth({len(self)} samples, opened {len(self.log)} times)"

    def open(self, reason: str) -> Labels:
        """Break the seal: the labels, for a reason that goes into `log` with the time.

        Raises:
          InputError: no reason, no labels, or labels that do not fit the target.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise InputError(f"truth opened with reason {reason!r}; say in words what for")
        if self._labels is None:
            self._labels = self._checked(self._read())
        self.note(reason)
        return self._labels

    def note(self, reason: str) -> None:
        """Log that labels were read outside the seal, by a loader whose option asks for it."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.log.append((now, reason.strip()))

    def _checked(self, labels: Labels) -> Labels:
        anomalous = np.asarray(labels.anomalous)
        kinds = list(labels.kinds)
        if anomalous.shape != (len(self),) or len(kinds) != len(self):
            raise InputError(
                f"labels of shape {anomalous.shape} with {len(kinds)} kinds do not fit a target of "
                f"{len(self)} samples; give one label per sample"
            )
        if not np.isin(anomalous, (0, 1)).all():
            raise InputError(
                f"labels hold {_first_few(np.unique(anomalous))}; give 0 (normal) or 1 (anomalous)"
            )
        return labels._replace(anomalous=anomalous.astype(np.uint8), kinds=kinds)


def unlabelled(source: str) -> Callable[[], Labels]:
    """A `read` for a `Truth` whose target has no labels: opening it says so."""

    def read() -> Labels:
        raise InputError(f"the target of {source} has no labels; give --labels FILE")

    return read


def _first_few(values: Iterable[object], most: int = 5) -> str:
    texts = [str(v) for v in values]
    more = "" if len(texts) <= most else f" and {len(texts) - most} more"
    return ", ".join(texts[:most]) + more
