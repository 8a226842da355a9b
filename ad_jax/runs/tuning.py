"""The files of a tuning in its run's folder: `tuned.json` and `trajectory.csv`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError, of_machine
from ad_jax.base.json_text import json_text
from ad_jax.runs.run import read_json
from ad_jax.selection.tuning import Tuned
from ad_jax.store import tables, write_whole

TUNED, TRAJECTORY = "tuned.json", "trajectory.csv"


class Traced(NamedTuple):
    """A tuning as its files hold it.

    Attributes:
      about: as in `tuned.json`.
      names: of what was tuned.
      values: `[starts, steps, names]`, physical.
      loss: `[starts, steps]` outer loss, what the gate added included.
      alive: `[starts, steps]`, false from the step on that was not finite.
      steps: `[starts]` steps taken; NaN stands after them.
    """

    about: dict[str, Any]
    names: tuple[str, ...]
    values: np.ndarray
    loss: np.ndarray
    alive: np.ndarray
    steps: np.ndarray


def traced_of(tuned: Tuned) -> Traced:
    """A tuning as its files will hold it, but for their rounding."""
    descent, path = tuned.descent, tuned.descent.trajectory
    about = {
        "augmentation": descent.space.augmentation,
        "tuned": descent.space.bounds(),
        "weights": descent.space.weighted,
        "fixed": descent.space.fixed,
        "plan": descent.plan._asdict(),
        "starts": [start._asdict() for start in descent.starts],
        "best": descent.best,
        "picked": tuned.picked,
        "hyper": tuned.hyper,
        "reasons": tuned.reasons,
    }
    taken = np.arange(path.loss.shape[1]) < np.asarray(path.steps)[:, None]
    return Traced(
        about,
        tuple(path.names),
        np.where(taken[..., None], path.values, np.nan),
        np.where(taken, path.loss + path.gate, np.nan),
        taken & (np.asarray(path.alive) > 0),
        np.asarray(path.steps),
    )


def write(folder: Path, tuned: Tuned) -> None:
    """Writes both; `run.write` of its selection completes the folder."""
    path = tuned.descent.trajectory
    header = ["start", "step", *path.names, "loss", "gate", "gradient", "alive"]
    rows = []
    for i, j in np.ndindex(path.loss.shape):
        if j >= path.steps[i]:
            continue
        numbers = (*path.values[i, j], path.loss[i, j], path.gate[i, j], path.gradient[i, j])
        rows.append([i, j, *(f"{float(x):.6g}" for x in numbers), int(path.alive[i, j])])
    write_whole(folder / TRAJECTORY, tables.written(header, rows).encode())
    write_whole(folder / TUNED, json_text(traced_of(tuned).about, indent=1).encode())


def read(folder: Path) -> Traced | None:
    """What `write` wrote; None where nothing was tuned.

    Raises:
      InputError: damaged files.
    """
    if not (folder / TUNED).exists():
        return None
    about = read_json(folder / TUNED)
    try:
        header, *lines = [cells for _, cells in tables.rows(folder / TRAJECTORY)]
        start, step, *columns = np.array([[float(v) for v in line] for line in lines]).T
        at = start.astype(int), step.astype(int)
        steps = np.bincount(at[0], minlength=len(about["starts"]))
        cells = np.full((len(columns), len(steps), steps.max()), np.nan)
        cells[:, *at] = columns
        by_name = dict(zip(header[2:], cells, strict=True))
        names = tuple(header[2 : header.index("loss")])
        values = np.stack([by_name[name] for name in names], axis=-1)
        loss, alive = by_name["loss"] + by_name["gate"], by_name["alive"] > 0
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        if of_machine(error):
            raise
        message = f"{folder / TRAJECTORY} is damaged ({error}); rerun `ad-jax tune`"
        raise InputError(message) from None
    return Traced(about, names, values, loss, alive, steps)
