"""A study, and the two shapes that most have: runs to a table, and a grid of cases to a table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ad_jax.base.errors import InputError
from ad_jax.store import Record, keep_compilations, kept
from experiments import tasks
from experiments.configs.shelf import SEMANTIC
from experiments.result import Result

R = TypeVar("R")
Row = dict[str, Any]  # of one case, as JSON holds it
SHELF = "runs/shelf"
PARTS = ("textures", "bottle", "cookie", "tile", "fashion", "digits")


class Axis(NamedTuple):
    """What a grid goes over."""

    values: Sequence[Any]
    smoke: Sequence[Any] = ()  # of the smallest variant; empty for the first value
    others: Sequence[Any] | None = ()  # to be asked for besides; None: any of the first one's type

    def read(self, text: str) -> Any:
        """A value from its text.

        Raises:
          InputError: no such value.
        """
        known = {str(value): value for value in (*self.values, *self.smoke, *(self.others or ()))}
        if text in known:
            return known[text]
        try:
            if self.others is None:
                return type(self.values[0])(text)
        except ValueError:
            pass
        raise InputError(f"no value {text!r}; known: {', '.join(known)}")


class Options(NamedTuple):
    """How a study is run."""

    out: Path = Path("runs")  # folder of what it makes
    runs: Sequence[Path] = ()  # that it reads, or whose records it shares
    only: Mapping[str, Sequence[Any]] = {}  # axis -> the values asked for
    smoke: bool = False  # the smallest variant
    tables: bool = False  # nothing is trained: the rows there are
    semantic: str = SEMANTIC  # pattern in names of semantic tasks

    def values(self, name: str, axis: Axis) -> Sequence[Any]:
        """Values of an axis: those asked for, else the smallest variant's, else all."""
        if name in self.only:
            return self.only[name]
        return (axis.smoke or axis.values[:1]) if self.smoke else axis.values

    def record(self, part: str = "") -> Record:
        """The record of trainings: the study's own, or that of a part of the runs it shares."""
        shared = part and self.runs and not self.smoke
        return Record((self.runs[0] / part if shared else self.out) / "record")


@dataclass(frozen=True)
class Study:
    """What `result` does with options, and what else the command has to know of it."""

    result: Callable[[Options], Result]
    axes: Mapping[str, Axis] = field(default_factory=dict)  # that `--only` knows
    runs: Sequence[str] = ()  # that it reads or shares unless others are given
    needs: Sequence[str] = ()  # commands that make these runs
    reported: bool = False  # whether `--report` writes a page of the runs
    tables: Sequence[str] = ("",)  # arguments of every table of its file of results


def shelf(*parts: str) -> tuple[str, ...]:
    """Commands that make the runs of some parts of the shelf."""
    select = "ad-jax select --config experiments/configs"
    return tuple(f"{select}/shelf.py:{part} --out {SHELF}/{part}" for part in parts)


def from_runs(
    reason: str,
    rows: Callable[[tasks.Task], Sequence[R]],
    table: Callable[[Sequence[R]], Result],
    runs: Sequence[str] = (SHELF,),
    needs: Sequence[str] = shelf(*PARTS),
) -> Study:
    """A study that reads runs: rows of every task, and a table of them all.

    Args:
      reason: goes into the log of the labels' openings.
      rows: of a task.
      table: of all rows.
      runs, needs: as of `Study`.
    """

    def result(options: Options) -> Result:
        found = tasks.read(options.runs, reason, options.semantic)
        return table([row for task in found for row in rows(task)])

    return Study(result, {}, runs, needs, reported=True)


def grid(
    axes: Mapping[str, Axis],
    make: Callable[..., Row | list[Row]],
    table: Callable[[Sequence[Row]], Result],
    stem: str = "",
    **about: Any,
) -> Study:
    """A study that trains a grid of cases: rows of each are kept in a file, and a table of all.

    Args:
      axes: of the grid; the last moves fastest.
      make: called with a value of every axis and the options; rows as JSON.
      table: of all rows.
      stem: of a case's file, with axes in braces; by default all values with "-" between them.
      about: fields of `Study`.
    """
    stem = stem or "-".join(f"{{{name}}}" for name in axes)

    def result(options: Options) -> Result:
        keep_compilations()
        found: list[Row] = []
        for case in itertools.product(*(options.values(n, axis) for n, axis in axes.items())):
            file = stem.format(**dict(zip(axes, case, strict=True))).rstrip("-")
            path = options.out / f"{file}.json"
            if path.is_file() or not options.tables:
                made = kept(path, lambda case=case: make(*case, options))  # type: ignore[misc]
                found += made if isinstance(made, list) else [made]
        if not found:
            raise InputError(f"{options.out} holds no rows of these cases; leave --tables out")
        return table(found)

    return Study(result, axes, **about)
