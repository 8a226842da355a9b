"""What every rule of the shelf picks from a pool, and which rules the pool cannot serve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.pool import Pool
from ad_jax.report.table import render
from ad_jax.selection import rules
from ad_jax.store import tables, write_whole
from ad_jax.train.setting import Setting


class Pick(NamedTuple):
    """A rule's pick.

    Attributes:
      setting: the first one of the lowest loss.
      loss: mean over its seeds.
      tied: how many other settings have that loss, too.
    """

    setting: Setting
    loss: float
    tied: int


class Shelf(NamedTuple):
    """All rules on one pool.

    Attributes:
      losses: rule -> setting key -> loss.
      picks: rule -> pick.
      left_out: rule -> why the pool cannot serve it.
    """

    losses: dict[str, dict[str, float]]
    picks: dict[str, Pick]
    left_out: dict[str, str]


def shelf(pool: Pool) -> Shelf:
    """Every available rule's losses and pick.

    Raises:
      InputError: no rule can pick anything.
    """
    losses, picks, left_out = {}, {}, rules.left_out(pool)
    for name in rules.available(pool):
        by_key = rules.losses(pool, name)
        values = np.array(list(by_key.values()))
        if not np.isfinite(values).any():
            left_out[name] = "no setting has a finite loss"
            continue
        losses[name] = by_key
        best = int(values.argmin())
        picks[name] = Pick(
            pool.settings[best], float(values[best]), int((values == values[best]).sum()) - 1
        )
    if not picks:
        raise InputError("no rule can pick from this pool; see that its members are trained")
    return Shelf(losses, picks, left_out)


def table(shelf: Shelf, auroc: Mapping[str, float] | None = None) -> str:
    """Picks as text, with the AUROC of each where labels were opened; then what is left out."""
    header, rows = _rows(shelf, auroc)
    lines = [render(header, rows)]
    because: dict[str, list[str]] = {}
    for name, reason in shelf.left_out.items():
        because.setdefault(reason, []).append(name)
    for reason, names in because.items():
        lines.append(f"\nleft out, {reason}: {', '.join(names)}")
    return "\n".join(lines)


def _rows(shelf: Shelf, auroc: Mapping[str, float] | None) -> tuple[list[str], list[list[Any]]]:
    header = ["rule", "pick", "loss", "tied"] + (["AUROC"] if auroc else [])
    rows = [
        [name, pick.setting.label, pick.loss, pick.tied] + ([auroc[name]] if auroc else [])
        for name, pick in shelf.picks.items()
    ]
    return header, rows


def as_json(shelf: Shelf) -> dict[str, Any]:
    return {
        "rules": {
            name: {
                "pick": pick.setting.label,
                "setting": pick.setting._asdict(),
                "loss": pick.loss,
                "tied": pick.tied,
            }
            for name, pick in shelf.picks.items()
        },
        "left_out": shelf.left_out,
    }


def write(folder: Path, pool: Pool, shelf: Shelf, auroc: Mapping[str, float] | None = None) -> None:
    """Writes `rules.csv` (picks) and `losses.csv` (every setting's loss by every rule)."""
    write_whole(folder / "rules.csv", tables.written(*_rows(shelf, auroc)).encode())
    rows = [
        [setting.label, *(by_key[setting.key] for by_key in shelf.losses.values())]
        for setting in pool.settings
    ]
    write_whole(folder / "losses.csv", tables.written(["setting", *shelf.losses], rows).encode())
