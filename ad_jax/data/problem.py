"""A problem: what training, alignment and selection may see.

A `Problem` holds samples and nothing else: no labels, names or paths, and no order that a file
system or a class list could have left behind. The labels of its target stand apart, in a `Truth`.
"""

import dataclasses
import functools
import hashlib
import itertools
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.base.parameters import whole
from ad_jax.data.columns import Columns
from ad_jax.data.duplicates import NEAR, Copies, Duplicates, find_duplicates, without_copies
from ad_jax.data.folds import (
    FOLDS,
    MIN_FOLDED,
    Split,
    divide,
    first_by_content,
    number_groups,
    number_of,
    split_rows,
)
from ad_jax.data.samples import as_samples, content_hashes
from ad_jax.data.truth import Labels, Truth
from ad_jax.data.turning import MOST, turned

ONE = (
    "there is 1 normal and turned copies of it are held out: p-values and thresholds promise "
    "nothing; give more normals"
)
_FORMAT = "ad_jax problem 1"  # part of every fingerprint; change it when folds or hashes change


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Normals to train on and an unlabelled target that may hold anomalies.

    Images are `[n, h, w, c]` (`[n, h, w]` gets a channel axis), uint8 or float in [0, 1]; rows are
    `[n, d]` and series, with `series=True`, `[n, t, c]`, any finite numbers. Floats are kept as
    float32. On construction every array is put in the order of the SHA-256 of each sample's bytes,
    so no order of files or classes survives; the arrays are copies and read-only.

    A normal that is a copy of another one tells nothing new, and where both are held out or one is
    trained on, thresholds come out too low. So copies among the normals, exact or nearly
    (`ad_jax.data.duplicates.find_copies`), are left out with a warning: the first by content
    stays, train before held-out. The target keeps its copies.

    Args:
      train: `[n, ...]`, assumed normal.
      target: `[m, ...]`, at least 1 sample, of the same sample shape and kind of dtype.
      held_out: `[k, ...]`, at least 2 normals kept from training. Without it, `split` takes a
        fold of `train`: a quarter, or of fewer than 8 samples one. A single one cannot be held out.
      groups: one hashable per train sample: samples of one group (photographs of the same object)
        never stand on both sides of a split. Kept as integers numbered by content.
      range: values in image files of more than 8 bits that became black and white; None = no such
        files. Kept for those who read further files, by the normals; no part of a fingerprint.
      columns: how the columns of a table became the numbers of rows (`ad_jax.data.columns`); None =
        no table. Kept for those who read further rows, by the normals; no part of a fingerprint.
      distinct: whether copies among the normals are left out. Tiles and values of a few levels are
        equal without being copies: False keeps them, exact ones on one side of a split.
      turns: images are trained on in so many copies, turned by multiples of `360 / turns` degrees
        (`ad_jax.data.turning`). Held-out normals are never turned: copies of one image are no
        several. But of a single normal without `held_out` the copies are the normals, and some of
        them are held out; a warning says that these promise nothing.
      series: whether samples are series of equal length, not images.
      names: per array the names of its samples, for the warning; they are not kept.

    Attributes:
      copies: how many normals were left out.
      copies_held_out: whether what is held out are copies of the only normal.

    Raises:
      InputError: shapes or dtypes disagree, a value is not finite or out of range, too few samples.
    """

    train: np.ndarray
    target: np.ndarray
    held_out: np.ndarray | None = None
    groups: np.ndarray | None = None  # [n] int32
    range: tuple[float, float] | None = None
    columns: Columns | None = None
    distinct: bool = True
    turns: int = 1
    series: bool = False
    names: dataclasses.InitVar[Mapping[str, Sequence[str]] | None] = None
    copies: Copies = dataclasses.field(init=False, default=Copies(0, 0, 0))
    copies_held_out: bool = dataclasses.field(init=False, default=False)
    _hashes: dict[str, list[str]] = dataclasses.field(init=False, repr=False)
    _originals: dict[str, str] = dataclasses.field(init=False, repr=False)

    def __post_init__(self, names: Mapping[str, Sequence[str]] | None) -> None:
        given = {"train": (self.train, 1), "target": (self.target, 1)}
        if self.held_out is not None:
            given["held_out"] = (self.held_out, 2)
        arrays = {name: as_samples(name, array, self.series) for name, (array, _) in given.items()}
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
        object.__setattr__(self, "turns", whole("turns", self.turns, 1, MOST))
        if self.turns > 1 and arrays["train"].ndim != 4:
            raise InputError(f"turns={self.turns} suits images only; leave it out")
        if self.turns > 1 and len(arrays["train"]) == 1 and self.held_out is None:
            arrays["train"] = turned(arrays["train"], self.turns)
            for name, value in (("turns", 1), ("groups", None), ("distinct", False)):
                object.__setattr__(self, name, value)
            object.__setattr__(self, "copies_held_out", True)
            warnings.warn(ONE, DataWarning, stacklevel=3)
        hashes = {name: content_hashes(array) for name, array in arrays.items()}
        group_ids = None
        if self.groups is not None:
            group_ids = number_groups(self.groups, hashes["train"])
        orders = {}
        for name, array in arrays.items():
            # Equal samples can only differ in their group; the group number settles their order.
            ties = group_ids if name == "train" and group_ids is not None else np.zeros(len(array))
            own = hashes[name]
            orders[name] = sorted(range(len(array)), key=lambda i: (own[i], ties[i]))
        copies = Copies(0, 0, 0)
        originals: dict[str, str] = {}
        if self.distinct:
            orders, copies, originals = without_copies(arrays, hashes, orders, names)
        object.__setattr__(self, "copies", copies)
        object.__setattr__(self, "_originals", originals)
        ordered = {name: [hashes[name][i] for i in order] for name, order in orders.items()}
        if group_ids is not None:  # some may have lost samples
            group_ids = number_groups(group_ids[orders["train"]], ordered["train"])
            _set(self, "groups", group_ids)
        for name, array in arrays.items():
            _set(self, name, array[orders[name]])
        object.__setattr__(self, "_hashes", ordered)

    def __repr__(self) -> str:
        held_out = None if self.held_out is None else len(self.held_out)
        return (
            f"Problem(train={len(self.train)}, held_out={held_out}, target={len(self.target)}, "
            + (f"copies_left_out={sum(self.copies)}, " if any(self.copies) else "")
            + f"shape={self.shape}, dtype={self.train.dtype}, fingerprint={self.fingerprint[:12]})"
        )

    def turned(self, turns: int) -> "Problem":
        """The same problem with turned copies of its normals."""
        return Problem(
            train=self.train,
            target=self.target,
            held_out=self.held_out,
            groups=self.groups,
            range=self.range,
            columns=self.columns,
            distinct=False,  # copies were left out already
            turns=turns,
            series=self.series,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: `(h, w, c)`, `(t, c)` or `(d,)`."""
        return self.train.shape[1:]

    @property
    def sample_hashes(self) -> list[str]:
        """SHA-256 (hex) of each target sample, in target order."""
        return list(self._hashes["target"])

    def rows_of(self, samples: np.ndarray) -> np.ndarray:
        """Row of `train` of each of its normals `[n, ...]` as they were given, `[n]`.

        A copy has the row of the one that it is a copy of.
        """
        row = {value: i for i, value in enumerate(self._hashes["train"])}
        own = content_hashes(samples)
        return np.array([row[self._originals.get(value, value)] for value in own])

    @functools.cached_property
    def units(self) -> np.ndarray:
        """What never stands on both sides of a split, numbered by content, `[n]` int32.

        These are the groups; without groups the copies of one sample: a copy is nothing new.
        """
        if self.groups is not None:
            return self.groups
        units = number_groups(self._hashes["train"], self._hashes["train"])
        units.setflags(write=False)
        return units

    @functools.cached_property
    def folds(self) -> np.ndarray:
        """Fold of each train sample, `[n]` int32: `divide` into 4 parts.

        With fewer than 8 samples, or than 4 units, every unit is a part: one is left out at a time.

        Raises:
          InputError: too few normals or groups to divide.
        """
        units = int(self.units.max()) + 1
        if units == 1:
            one = "1 sample" if len(self.train) == 1 else f"samples of 1 of its {self._unit}"
            fix = "turns=8 (turned copies of it), " if len(self.train) == 1 else ""
            raise InputError(
                f"train holds {one}, too few to keep some from training; give {fix}held_out (at "
                "least 2 normals) or more normals"
            )
        few = len(self.train) < MIN_FOLDED or units < FOLDS
        folds = self.divide(units if few else FOLDS)
        filled = np.bincount(folds)
        if not few and (filled.min() < 2 or len(folds) - filled.max() < 2):
            raise InputError(
                f"the {self._unit} of train fill {FOLDS} folds with {filled.tolist()} samples and "
                "each needs 2; give held_out, or more normals of the smaller groups"
            )
        folds.setflags(write=False)
        return folds

    def divide(self, parts: int) -> np.ndarray:
        """Part of each train sample, `[n]` int32 in 0..parts-1, parts of like size.

        Whole `units` stay together, the largest placed first, each into the smallest part so far.

        Raises:
          InputError: fewer units than parts.
        """
        return divide(self.units, parts, self._unit)

    @property
    def _unit(self) -> str:
        return "different samples" if self.groups is None else "groups"

    @property
    def period(self) -> int:
        """Seeds that differ by so much hold out the same normals."""
        return 1 if self.held_out is not None else number_of(self.folds)

    @functools.cached_property
    def copied(self) -> np.ndarray:
        """The normals of `train` with their turned copies, `[n turns, ...]`: see `rows_copied`."""
        out = turned(self.train, self.turns)
        out.setflags(write=False)
        return out

    def rows_copied(self, rows: np.ndarray) -> np.ndarray:
        """Rows `[k turns]` of `copied` of all copies of some rows `[k]` of `train`."""
        return (rows[:, None] * self.turns + np.arange(self.turns)).ravel()

    def split_rows(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of `train` to train on and to hold out, for one seed, when folds are used.

        Both are cut to their smallest size over the folds (the last by content order go), so that
        every seed runs the same compiled shape.

        Returns:
          `(train_rows [n], held_out_rows [m])`, int64, ascending.
        """
        return split_rows(self.folds, seed)

    def held_out_groups(self, seeds: Sequence[int]) -> np.ndarray | None:
        """Group of each normal that seeds hold out, `[seeds, m]`; None without groups or folds."""
        if self.groups is None or self.held_out is not None:
            return None
        return np.stack([self.groups[self.split_rows(seed)[1]] for seed in seeds])

    def split(self, seed: int) -> Split:
        """Train and held-out normals of one seed: those given, or fold `seed % period` held out.

        Those to train on with their turned copies.

        Raises:
          InputError: `held_out` was not given and there are too few normals or groups.
        """
        if self.held_out is not None:
            return Split(self.copied, self.held_out)
        train_rows, held_out_rows = self.split_rows(seed)
        return Split(self.copied[self.rows_copied(train_rows)], self.train[held_out_rows])

    @functools.cached_property
    def train_fingerprint(self) -> str:
        """SHA-256 (hex) of the normals and their grouping; equal ones can share trainings."""
        groups = [] if self.groups is None else [str(g) for g in self.groups.tolist()]
        turns = [] if self.turns == 1 else [f"{self.turns} turns"]
        return _digest(
            [_FORMAT, str(self.train.dtype), str(self.shape), *turns],
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
        brightness are near duplicates by this measure. Found once, then kept.

        Returns:
          `Duplicates(exact, near)`, each a list of (normal row, target row), ascending. Normal rows
          count on through `held_out`: row `len(train) + i` is held-out sample i.
        """
        if near not in self._duplicates:
            normals = self.train
            if self.held_out is not None:
                normals = np.concatenate([self.train, self.held_out])
            self._duplicates[near] = find_duplicates(
                self._hashes["train"] + self._hashes.get("held_out", []),
                self._hashes["target"],
                normals,
                self.target,
                near,
            )
        return self._duplicates[near]

    @functools.cached_property
    def _duplicates(self) -> dict[float, Duplicates]:
        """What `duplicates` found before, by `near`."""
        return {}


def sealed(
    *,
    train: np.ndarray,
    target: np.ndarray,
    names: Sequence[str],
    read: Callable[[], Labels],
    held_out: np.ndarray | None = None,
    groups: Sequence[Hashable] | None = None,
    limit: int | None = None,
    range: tuple[float, float] | None = None,
    normals: Mapping[str, Sequence[str]] | None = None,
    kind: str | int | None = None,
    series: bool = False,
    distinct: bool = True,
    columns: Columns | None = None,
) -> tuple[Problem, Truth]:
    """Make a loader's problem and truth: the one place that knows how the two orders relate.

    Args:
      train: `[n, ...]` normals; `target`: `[m, ...]`; `held_out`: `[k, ...]` or None.
      names: `[m]`, name of each target sample as given.
      read: returns the `Labels` of the target as given; not called here.
      groups: `[n]` or None.
      limit: keep the first `limit` by content order of each array.
      normals: names of `train` and `held_out` as given, to name copies by; or `train[0]`, ….
      kind: the kind of anomalies that the loader chose the target by, if it did; it had to read
        labels for that, and the truth's log says so.
      range, series, distinct, columns: of the problem.
    """
    target = as_samples("target", target, series)
    hashes = content_hashes(target)
    # The name settles the order of equal samples, which does not show in the problem.
    order = [i for _, _, i in sorted(zip(hashes, names, itertools.count()))][:limit]
    named: dict[str, Sequence[str]] = {
        name: [f"{name}[{i}]" for i, _ in enumerate(array)]
        for name, array in (("train", train), ("held_out", held_out))
        if array is not None
    }
    named |= normals or {}
    if limit is not None:
        rows = first_by_content(content_hashes(as_samples("train", train, series)), limit, groups)
        train = np.asarray(train)[rows]
        named["train"] = [named["train"][i] for i in rows]
        groups = None if groups is None else [groups[i] for i in rows]
        if held_out is not None:
            rows = first_by_content(content_hashes(as_samples("held_out", held_out, series)), limit)
            held_out = np.asarray(held_out)[rows]
            named["held_out"] = [named["held_out"][i] for i in rows]
    problem = Problem(
        train=train,
        target=target[order],
        held_out=held_out,
        groups=groups,  # type: ignore[arg-type]
        range=range,
        columns=columns,
        names=named,
        series=series,
        distinct=distinct,
    )
    if held_out is None and len(problem.train) > 1:  # of one there may be copies
        problem.folds  # noqa: B018  (too few normals should fail here, not at the first training)

    truth = Truth([names[i] for i in order], lambda: _in_order(read(), order))
    if kind is not None:
        truth.note(f"kind={kind}: the target holds no anomalies but these")
    return problem, truth


def _in_order(labels: Labels, order: Sequence[int]) -> Labels:
    """Labels of a target as given, in the order of the problem's."""
    masks = labels.masks
    return labels._replace(
        anomalous=np.asarray(labels.anomalous)[order],
        kinds=[labels.kinds[i] for i in order],
        masks=None if masks is None else lambda row: masks(order[row]),
    )


def _set(problem: Problem, name: str, array: np.ndarray) -> None:
    array.setflags(write=False)
    object.__setattr__(problem, name, array)


def _digest(*parts: list[str]) -> str:
    # Lengths first: without them a sample moved from one part to the next would go unseen.
    text = "\n".join(f"{len(part)}\n" + "\n".join(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()
