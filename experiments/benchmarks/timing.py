"""How every benchmark times and prints: calls take turns, medians with quartiles, one table."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ad_jax.report.table import render

Call = Callable[[], Any]
Seconds = Mapping[str, np.ndarray]  # who -> seconds of every round
OURS = "ours"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class Plan(NamedTuple):
    """How large and how often.

    Attributes:
      quick: the smallest sizes and one round; the figures say nothing.
      rounds: rounds that are timed, after one that is not.
      clock: seconds; of the processor (all threads) where other work shares the machine.
    """

    quick: bool = False
    rounds: int = 5
    clock: Callable[[], float] = time.perf_counter

    @property
    def environment(self) -> dict[str, str]:
        """Of processes that a line starts: when it is quick, compilation is in a hurry, too."""
        hurry = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} if self.quick else {}
        return {**os.environ, **hurry}


class Row(NamedTuple):
    """One comparison.

    Attributes:
      what: is compared.
      aim: the ratio of ours to the other is to be at most this; None without an aim.
      ours, other: seconds (or another unit) of every round, None where not measured.
      against: who the other is, or why it was not measured.
      unit: of both.
    """

    what: str
    aim: float | None
    ours: np.ndarray | None
    other: np.ndarray | None
    against: str
    unit: str = "s"

    @property
    def ratios(self) -> np.ndarray:
        """Ours over the other's, round by round; NaN where one of them was not measured."""
        if self.ours is None or self.other is None:
            return np.array([np.nan])
        return self.ours / np.maximum(self.other, 1e-9)


@functools.cache
def missing(package: str) -> str:
    """Why a package is not compared with, "" if it is there."""
    if importlib.util.find_spec(package) is None:
        return f'not measured: {package} is not installed; pip install -e ".[bench]"'
    try:
        importlib.import_module(package)
    except (ImportError, OSError, RuntimeError) as error:  # a build for another machine
        return f"not measured: {package} does not load ({' '.join(str(error).split())})"
    return ""


def torch() -> Any:
    """PyTorch, which is an extra: `missing("torch")` says beforehand whether it is there."""
    return importlib.import_module("torch")


def timed(call: Call, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call."""
    before = clock()
    call()
    return clock() - before


def in_turn(calls: Mapping[str, Call], plan: Plan, warm: bool = True) -> dict[str, np.ndarray]:
    """Seconds `[rounds]` of every call; all take turns, so that other work slows all alike.

    Args:
      calls: without arguments; each returns when it is done.
      plan: rounds and clock.
      warm: whether all are called once before the clock starts.
    """
    for call in calls.values() if warm else ():
        call()
    rounds = 1 if plan.quick else plan.rounds
    taken = [{name: timed(call, plan.clock) for name, call in calls.items()} for _ in range(rounds)]
    return {name: np.array([one[name] for one in taken]) for name in calls}


def against_best(what: str, aim: float | None, seconds: Seconds, reason: str = "") -> Row:
    """Ours against the other of the least median; `reason` says why there is none."""
    others = {name: values for name, values in seconds.items() if name != OURS}
    if not others:
        return Row(what, aim, seconds[OURS], None, reason or "not measured: none has it")
    best = min(others, key=lambda name: float(np.median(others[name])))
    rest = "".join(
        f"; {name} {shown(others[name], 's')}" for name in sorted(others) if name != best
    )
    return Row(what, aim, seconds[OURS], others[best], f"{best}{rest}")


def against_limit(what: str, limit: float, ours: np.ndarray) -> Row:
    """Ours against a fixed number of seconds, to be at most once that."""
    return Row(what, 1.0, ours, np.full(len(ours), limit), f"a limit of {limit:g} s")


def shown(values: np.ndarray | None, unit: str) -> str:
    """The median with its unit, "-" without values."""
    if values is None:
        return "-"
    middle = float(np.median(values))
    if unit == "s" and middle < 1.0:
        return f"{1e3 * middle:.3g} ms"
    return f"{middle:.3g} {unit}"


def table(rows: Sequence[Row]) -> str:
    """Medians, the median ratio with its quartiles, the aim and whether it holds."""
    cells: list[list[object]] = []
    for row in rows:
        low, middle, high = np.quantile(row.ratios, (0.25, 0.5, 0.75))
        known = np.isfinite(middle)
        met = "" if row.aim is None or not known else ("yes" if middle <= row.aim else "no")
        cells.append(
            [row.what, shown(row.ours, row.unit), shown(row.other, row.unit)]
            + ([f"{middle:.2f}", f"{low:.2f} to {high:.2f}"] if known else ["-", "-"])
            + ["-" if row.aim is None else f"{row.aim:g}", met or "-", row.against]
        )
    header = ["", "ours", "other", "ratio", "quartiles", "aim", "holds", "against"]
    return render(header, cells)


def machine() -> str:
    """What a table was measured on: versions, cores, and how busy the machine is."""
    versions = [f"jax {jax.__version__} on {jax.default_backend()}"]
    if not missing("torch"):
        versions.append(f"torch {torch().__version__}, {torch().get_num_threads()} threads")
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return f"{'; '.join(versions)}; {cores} CPU cores; load over 1, 5 and 15 minutes {load}"
