"""A problem (what training, alignment and selection may see) and its truth (what they may not).

A `Problem` holds samples and nothing else: no labels, names or paths, and no order that a file
system or a class list could have left behind. Its `Truth` keeps the labels of the target sealed
until someone opens it for a stated reason.
"""

import dataclasses
import datetime
import functools
import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.errors import InputError

FOLDS = 4
MIN_FOLDED = 8  # normals needed to take the held-out ones from: two per fold
NEAR = 1 / 255  # mean grey difference below which two pictures count as near duplicates
_NEAR_SIDE = 16
_FORMAT = "ad_jax problem 1"  # part of every fingerprint; change it when folds or hashes change


class Split(NamedTuple):
    """Normals of one seed."""

    train: np.ndarray  # [n, ...]
    held_out: np.ndarray  # [m, ...]


class Duplicates(NamedTuple):
    """Pairs (row among the normals, row of the target); normals are train, then held-out."""

    exact: list[tuple[int, int]]
    near: list[tuple[int, int]]  # without the exact ones


class Labels(NamedTuple):
    """Opened labels of a target of n samples, in the order of `Problem.target`."""

    anomalous: np.ndarray  # [n] uint8, 1 = anomalous
    kinds: list[str]  # [n], "" for normals
    masks: Callable[[int], np.ndarray | None] | None = None  # row -> [h, w] uint8, None = unknown


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Normals to train on and an unlabelled target that may hold anomalies.

    Images are `[n, h, w, c]` (`[n, h, w]` gets a channel axis), uint8 or float in [0, 1]; rows are
    `[n, d]`, any finite numbers. Floats are kept as float32. On construction every array is put
    in the order of the SHA-256 of each sample's bytes, so no order of files or classes survives;
    the arrays are copies and read-only.

    Args:
      train: `[n, ...]`, at least 2 samples, assumed normal.
      target: `[m, ...]`, at least 1 sample, of the same sample shape and kind of dtype.
      held_out: `[k, ...]`, at least 2 normals kept from training. Without it, `split` takes a
        fold of `train`, for which `train` needs at least 8 samples.
      groups: one hashable per train sample: samples of one group (photographs of the same object)
        never stand on both sides of a split. Kept as integers numbered by content.

    Raises:
      InputError: shapes or dtypes disagree, a value is not finite or out of range, too few samples.
    """

    train: np.ndarray
    target: np.ndarray
    held_out: np.ndarray | None = None
    groups: np.ndarray | None = None  # [n] int32
    _hashes: dict[str, list[str]] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = {"train": (self.train, 2), "target": (self.target, 1)}
        if self.held_out is not None:
            given["held_out"] = (self.held_out, 2)
        arrays = {name: as_samples(name, array) for name, (array, _) in given.items()}
        for name, (_, least) in given.items():
            if len(arrays[name]) < least:
                raise InputError(
                    f"{name} holds {len(arrays[name])} sample(s); give at least {least}"
                )
            for what in ("shape", "dtype"):
                ours, other = (
                    (a.shape[1:] if what == "shape" else a.dtype)
                    for a in (arrays["train"], arrays[name])
                )
                if ours != other:
                    raise InputError(
                        f"train has sample {what} {ours} but {name} has {other}; give them alike"
                    )
        hashes = {name: content_hashes(array) for name, array in arrays.items()}
        group_ids = None
        if self.groups is not None:
            group_ids = _number_groups(self.groups, hashes["train"])
        ordered = {}
        for name, array in arrays.items():
            # Equal samples can only differ in their group; the group number settles their order.
            ties = group_ids if name == "train" and group_ids is not None else np.zeros(len(array))
            order = sorted(range(len(array)), key=lambda i: (hashes[name][i], ties[i]))
            ordered[name] = [hashes[name][i] for i in order]
            _set(self, name, array[order])
            if name == "train" and group_ids is not None:
                _set(self, "groups", group_ids[order])
        object.__setattr__(self, "_hashes", ordered)

    def __repr__(self) -> str:
        held_out = None if self.held_out is None else len(self.held_out)
        return (
            f"Problem(train={len(self.train)}, held_out={held_out}, target={len(self.target)}, "
            f"shape={self.shape}, dtype={self.train.dtype}, fingerprint={self.fingerprint[:12]})"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: `(h, w, c)` or `(d,)`."""
        return self.train.shape[1:]

    @property
    def sample_hashes(self) -> list[str]:
        """SHA-256 (hex) of each target sample, in target order."""
        return list(self._hashes["target"])

    @functools.cached_property
    def folds(self) -> np.ndarray:
        """Fold of each train sample, `[n]` int32 in 0..3.

        Whole groups stay together, the largest placed first, each into the smallest fold so far.
        Without groups the copies of one sample make a group: a copy held out would not be new.

        Raises:
          InputError: too few normals or groups to divide.
        """
        if len(self.train) < MIN_FOLDED:
            raise InputError(
                f"train holds {len(self.train)} samples, too few to keep some from training; "
                f"give held_out (at least 2 normals) or at least {MIN_FOLDED} normals"
            )
        groups = self.groups
        what = "groups"
        if groups is None:
            groups = _number_groups(self._hashes["train"], self._hashes["train"])
            what = "different samples"
        sizes = np.bincount(groups)
        if len(sizes) < FOLDS:
            raise InputError(
                f"train holds {len(sizes)} {what}, fewer than the {FOLDS} folds; give held_out, or "
                f"normals of at least {FOLDS} {what}"
            )
        fold_of_group = np.zeros(len(sizes), np.int32)
        filled = np.zeros(FOLDS, np.int64)
        for group in sorted(range(len(sizes)), key=lambda g: (-sizes[g], g)):
            fold_of_group[group] = np.argmin(filled)
            filled[fold_of_group[group]] += sizes[group]
        if filled.min() < 2 or len(groups) - filled.max() < 2:
            raise InputError(
                f"the {what} of train fill {FOLDS} folds with {filled.tolist()} samples and each "
                "needs 2; give held_out, or more normals of the smaller groups"
            )
        folds = fold_of_group[groups]
        folds.setflags(write=False)
        return folds

    def split_rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `train` to train on and to hold out, for one seed, when folds are used.

        Both are cut to their smallest size over the folds (the last by content order go), so that
        every seed runs the same compiled shape.

        Returns:
          `(train_rows [n], held_out_rows [m])`, int64, ascending.
        """
        counts = np.bincount(self.folds, minlength=FOLDS)
        held_out = self.folds == seed % FOLDS
        n_train = len(self.folds) - counts.max()
        return np.flatnonzero(~held_out)[:n_train], np.flatnonzero(held_out)[: counts.min()]

    def split(self, seed: int) -> Split:
        """Train and held-out normals of one seed: those given, or fold `seed % 4` held out.

        Raises:
          InputError: `held_out` was not given and there are too few normals or groups.
        """
        if self.held_out is not None:
            return Split(self.train, self.held_out)
        train_rows, held_out_rows = self.split_rows(seed)
        return Split(self.train[train_rows], self.train[held_out_rows])

    @functools.cached_property
    def train_fingerprint(self) -> str:
        """SHA-256 (hex) of the normals and their grouping; equal ones can share trainings."""
        groups = [] if self.groups is None else [str(g) for g in self.groups.tolist()]
        return _digest(
            [_FORMAT, str(self.train.dtype), str(self.shape)],
            self._hashes["train"],
            self._hashes.get("held_out", []),
            groups,
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all contents and the grouping; names and orders do not enter."""
        return _digest([self.train_fingerprint], self._hashes["target"])

    def duplicates(self, near: float = NEAR) -> Duplicates:
        """Samples that stand among the normals (train, then held-out) and in the target.

        Near duplicates are searched among images only: shrunk by area averaging to at most 16 x 16
        grey pixels, their mean absolute difference is at most `near` (in units of white; the
        default is one step of 255, which a re-saved JPEG stays below). Featureless pictures of one
        brightness are near duplicates by this measure.

        Returns:
          `Duplicates(exact, near)`, each a list of (normal row, target row), ascending. Normal rows
          count on through `held_out`: row `len(train) + i` is held-out sample i.
        """
        normal_hashes = self._hashes["train"] + self._hashes.get("held_out", [])
        rows_of: dict[str, list[int]] = {}
        for row, value in enumerate(normal_hashes):
            rows_of.setdefault(value, []).append(row)
        exact = sorted(
            (row, t)
            for t, value in enumerate(self._hashes["target"])
            for row in rows_of.get(value, [])
        )
        if self.train.ndim != 4:
            return Duplicates(exact, [])
        normals = self.train
        if self.held_out is not None:
            normals = np.concatenate([self.train, self.held_out])
        pairs = _near_pairs(_thumbnails(normals), _thumbnails(self.target), near)
        return Duplicates(exact, sorted(set(pairs) - set(exact)))


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
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.log.append((now, reason.strip()))
        return self._labels

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
        return Labels(anomalous.astype(np.uint8), kinds, labels.masks)


def unlabelled(source: str) -> Callable[[], Labels]:
    """A `read` for a `Truth` whose target has no labels: opening it says so."""

    def read() -> Labels:
        raise InputError(f"the target of {source} has no labels; give --labels FILE")

    return read


def sealed(
    *,
    train: np.ndarray,
    target: np.ndarray,
    names: Sequence[str],
    read: Callable[[], Labels],
    held_out: np.ndarray | None = None,
    groups: Sequence[Hashable] | None = None,
    limit: int | None = None,
) -> tuple[Problem, Truth]:
    """Make a loader's problem and truth: the one place that knows how the two orders relate.

    Args:
      train: `[n, ...]` normals; `target`: `[m, ...]`; `held_out`: `[k, ...]` or None.
      names: `[m]`, name of each target sample as given.
      read: returns the `Labels` of the target as given; not called here.
      groups: `[n]` or None.
      limit: keep the first `limit` by content order of each array.
    """
    target = as_samples("target", target)
    hashes = content_hashes(target)
    # The name settles the order of equal samples, which does not show in the problem.
    order = sorted(range(len(target)), key=lambda i: (hashes[i], names[i]))[:limit]
    if limit is not None:
        rows = _first_by_content("train", train, limit)
        train = np.asarray(train)[rows]
        groups = None if groups is None else [groups[i] for i in rows]
        if held_out is not None:
            held_out = np.asarray(held_out)[_first_by_content("held_out", held_out, limit)]
    problem = Problem(
        train=train,
        target=target[order],
        held_out=held_out,
        groups=groups,  # type: ignore[arg-type]
    )
    if held_out is None:
        problem.folds  # noqa: B018  (too few normals should fail here, not at the first training)

    def read_in_order() -> Labels:
        labels = read()
        masks = labels.masks
        return Labels(
            np.asarray(labels.anomalous)[order],
            [labels.kinds[i] for i in order],
            None if masks is None else lambda row: masks(order[row]),
        )

    return problem, Truth([names[i] for i in order], read_in_order)


def as_samples(name: str, array: object) -> np.ndarray:
    """Check one array of samples and bring it to a kept form.

    Returns:
      `[n, h, w, c]` uint8 or float32 in [0, 1], or `[n, d]` float32; negative zeros made positive,
      for equal samples to have equal bytes.
    """
    try:
        samples = np.asarray(array)
    except ValueError:
        raise InputError(f"{name} holds samples of unequal shapes; resize them to one") from None
    if samples.dtype.kind not in "buif":
        raise InputError(f"{name} has dtype {samples.dtype}; give uint8 or float numbers")
    if samples.ndim == 3:
        samples = samples[..., None]
    if samples.ndim not in (2, 4):
        raise InputError(
            f"{name} has shape {samples.shape}; give images [n, h, w, c] or rows [n, d]"
        )
    if 0 in samples.shape[1:]:
        raise InputError(f"{name} has shape {samples.shape}, samples without values")
    if samples.ndim == 2:
        return _finite(name, samples)
    if samples.shape[1] in (1, 3, 4) and samples.shape[3] > 4:
        raise InputError(
            f"{name} has shape {samples.shape}, channels first; transpose it to [n, h, w, c]"
        )
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype.kind != "f":
        raise InputError(
            f"{name} holds images of dtype {samples.dtype}; give uint8 or floats in [0, 1]"
        )
    samples = _finite(name, samples)
    slack = 1e-5  # rounding of a resize
    if samples.size and (samples.min() < -slack or samples.max() > 1 + slack):
        raise InputError(
            f"{name} holds images with values {samples.min():g} to {samples.max():g}; "
            "scale them to [0, 1] or give uint8"
        )
    return np.clip(samples, 0, 1)


def content_hashes(samples: np.ndarray) -> list[str]:
    """SHA-256 (hex) of the bytes of each sample, `[n, ...] -> [n]`."""
    return [hashlib.sha256(np.ascontiguousarray(s).tobytes()).hexdigest() for s in samples]


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize `[n, h, w, c]` to `[n, height, width, c]`: area average, or linear where it enlarges.

    uint8 stays uint8, halves rounded up; floats give float32.
    """
    rows, columns = (
        _resize_matrix(*a) for a in ((images.shape[1], height), (images.shape[2], width))
    )
    out = np.empty((len(images), height, width, images.shape[3]), images.dtype)
    if images.dtype != np.uint8:
        out = out.astype(np.float32)
    block = max(1, 2**22 // max(1, images[:1].size))  # about 32 MB of float64
    for start in range(0, len(images), block):
        part = images[start : start + block].transpose(0, 3, 1, 2).astype(np.float64)
        part = (rows @ part @ columns.T).transpose(0, 2, 3, 1)
        if images.dtype == np.uint8:
            # Rounding in the sum must not decide which way a half goes.
            part = np.clip(np.floor(part + 0.5 + 1e-9), 0, 255)
        out[start : start + block] = part
    return out


def mask_of(coverage: np.ndarray) -> np.ndarray:
    """Mask `[h, w]` uint8 of the share of each pixel that is defective, in [0, 1].

    A pixel counts from one half on. A defect too thin for that keeps its most covered pixels:
    it must not vanish with the resolution.
    """
    threshold = min(0.5, float(coverage.max()))
    return ((coverage >= threshold) & (coverage > 0)).astype(np.uint8)


def _resize_matrix(size: int, new: int) -> np.ndarray:
    """Weights `[new, size]` of each old pixel in each new one; rows sum to 1."""
    if new < size:  # overlap of the intervals [i, i + 1) * size / new and [j, j + 1)
        edges = np.arange(new + 1) * size / new
        pixels = np.arange(size)
        overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.clip(overlap, 0, None) * new / size
    centres = np.clip((np.arange(new) + 0.5) * size / new - 0.5, 0, size - 1)
    return np.clip(1 - np.abs(centres[:, None] - np.arange(size)), 0, None)


def _finite(name: str, samples: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # reported below
        samples = samples.astype(np.float32) + np.float32(0)  # -0 becomes 0
    bad = ~np.isfinite(samples).all(axis=tuple(range(1, samples.ndim)))
    if bad.any():
        raise InputError(
            f"{name} has values that are not finite as float32 in {bad.sum()} of {len(samples)} "
            f"samples, first in row {np.argmax(bad)}; drop or fill them"
        )
    return samples


def _set(problem: Problem, name: str, array: np.ndarray) -> None:
    array.setflags(write=False)
    object.__setattr__(problem, name, array)


def _number_groups(groups: Iterable[Hashable], hashes: list[str]) -> np.ndarray:
    """Number groups by the contents of their samples, so that their names leave no trace."""
    labels = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    if len(labels) != len(hashes):
        raise InputError(f"groups holds {len(labels)} values for {len(hashes)} train samples")
    contents: dict[Hashable, list[str]] = {}
    try:
        for label, value in zip(labels, hashes, strict=True):
            contents.setdefault(label, []).append(value)
    except TypeError:
        raise InputError(
            "groups holds values that are not hashable; give strings or ints"
        ) from None
    number = {
        label: i for i, label in enumerate(sorted(contents, key=lambda k: sorted(contents[k])))
    }
    return np.array([number[label] for label in labels], np.int32)


def _first_by_content(name: str, array: np.ndarray, limit: int) -> list[int]:
    hashes = content_hashes(as_samples(name, array))
    return sorted(range(len(hashes)), key=hashes.__getitem__)[:limit]


def _digest(*parts: list[str]) -> str:
    # Lengths first: without them a sample moved from one part to the next would go unseen.
    text = "\n".join(f"{len(part)}\n" + "\n".join(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Small grey copies in [0, 1], `[n, h, w, c] -> [n, k]` float32."""
    height, width = (min(_NEAR_SIDE, side) for side in images.shape[1:3])
    scale = np.float32(255 if images.dtype == np.uint8 else 1)
    blocks = []
    for start in range(0, len(images), 1024):
        grey = images[start : start + 1024].mean(axis=3, keepdims=True, dtype=np.float32) / scale
        blocks.append(resize(grey, height, width).reshape(len(grey), -1))
    return np.concatenate(blocks)


def _near_pairs(normals: np.ndarray, target: np.ndarray, near: float) -> list[tuple[int, int]]:
    """Pairs of rows of `[n, k]` and `[m, k]` whose mean absolute difference is at most `near`."""
    # The difference of two means is never above the mean absolute difference: only a window of
    # similar brightness needs looking at.
    order = np.argsort(normals.mean(axis=1), kind="stable")
    brightness = normals.mean(axis=1)[order]
    window = near + 1e-5  # float32 means
    pairs = []
    for row, sample in enumerate(target):
        low, high = np.searchsorted(brightness, (sample.mean() - window, sample.mean() + window))
        for start in range(low, high, 4096):
            some = order[start : min(start + 4096, high)]
            close = np.abs(normals[some] - sample).mean(axis=1) <= near
            pairs += [(int(i), row) for i in some[close]]
    return pairs


def _first_few(values: Iterable[object], most: int = 5) -> str:
    texts = [str(v) for v in values]
    more = "" if len(texts) <= most else f" and {len(texts) - most} more"
    return ", ".join(texts[:most]) + more
