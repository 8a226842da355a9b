"""Do the failure signatures show what was provoked, and nothing where nothing was?

Five sources, and on each: a healthy pool (turns and three CutPaste areas), whose second unlabelled
set is the other half of the target; a pool of families that resemble none of its anomalies
(brightness, noise, blur); a wide pool; the healthy pool with a second set that was blurred and
darkened; and the healthy pool with a twentieth of its steps. Prints what every signature said of
every run, hits and false alarms. Labels are not opened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from ad_jax import selection
from ad_jax.base.errors import InputError
from ad_jax.data import Problem
from ad_jax.selection import rules, search
from ad_jax.train.setting import Config
from experiments.result import Cell, Result, Table
from experiments.study import Axis, Options, Row, grid
from experiments.trainings import STEPS, loaded

SOURCES = {
    "brick defects": "textures:brick-defect",
    "brick orientation": "textures:brick-orientation",
    "digit 3": "digits,normal=3",
    "fashion 8": "fashion_mnist.npz,normal=8,limit=600,size=16",
    "bottle": "mvtec_bottle,size=32",
}
FAMILIES = ("binary/quarter_turns", "prediction/quarter_turns", "binary/cutpaste")
STRANGE = ("binary/brightness", "binary/gaussian_noise", "binary/blur")
AREAS = (0.02, 0.08, 0.32)
PROVOKED = {  # what was done -> the signature it should show
    "healthy": "",
    "wrong families": "poor everywhere",
    "wide pool": "large spread over augmentations",
    "shifted second set": "degrades on the second set",
    "tiny budget": "search beyond its budget",
}
SIGNS = [sign for sign in PROVOKED.values() if sign]
SEEDS = (0, 1)
FEWER = 20  # the tiny budget has so many times fewer steps


def shifted(samples: np.ndarray) -> np.ndarray:
    """Another camera: a Gaussian blur of 1 px, and 70 % of the light."""
    blurred = gaussian_filter(samples.astype(np.float32), (0, 1, 1, 0))
    return (0.7 * blurred).astype(samples.dtype)


def make(source: str, provoked: str, options: Options) -> Row:
    """One pool; signatures and trust."""
    problem, _ = loaded(SOURCES[source])
    config = Config(9, 8) if options.smoke else Config(STEPS)
    half = np.arange(len(problem.target)) % 2 == 0
    own = Problem(
        train=problem.train,
        held_out=problem.held_out,
        groups=problem.groups,
        target=problem.target[half],
    )
    second = problem.target[~half]
    families = {"wrong families": STRANGE, "wide pool": search.WIDE}.get(provoked, FAMILIES)
    if provoked == "tiny budget":
        config = config._replace(steps=max(1, config.steps // FEWER))
    if provoked == "shifted second set":
        second = shifted(second)
    settings = search.grid(problem.shape, AREAS, families)
    about = {"source": source, "provoked": provoked}
    try:
        chosen = selection.select(
            own, settings, SEEDS, rules.DEFAULT, config, options.record(), second=second
        )
    except InputError as error:  # a pool in which nothing learned has no pick: it says so itself
        return {**about, "error": str(error)}
    return {
        **about,
        "pick": chosen.pick.label,
        "verdict": chosen.trust.verdict,
        "signatures": {one.name: [one.found, one.value] for one in chosen.signatures},
    }


def shows(row: Row, sign: str) -> bool:
    """Whether a run shows a signature; one that is refused shows that its budget was too small."""
    return sign == SIGNS[-1] if "error" in row else row["signatures"][sign][0]


def table(rows: Sequence[Row]) -> Result:
    lines: list[list[Cell]] = []
    for row in rows:
        if "error" in row:
            said: list[Cell] = [*(None for _ in SIGNS[1:]), "refused"]
        else:
            found = [row["signatures"][sign] for sign in SIGNS]
            said = [f"{'FOUND' if shown else '-'} ({value:.2f})" for shown, value in found]
        lines.append([row["source"], row["provoked"], *said, row.get("verdict", "no pick")])
    summary: list[list[Cell]] = []
    for sign in SIGNS:
        groups = (
            [r for r in rows if PROVOKED[r["provoked"]] == sign],
            [r for r in rows if not PROVOKED[r["provoked"]]],
            [r for r in rows if PROVOKED[r["provoked"]] not in ("", sign)],
        )
        shares = [f"{sum(shows(r, sign) for r in some)} of {len(some)}" for some in groups]
        summary.append([sign, *shares])
    return Result(
        [
            Table(["source", "provoked", *SIGNS, "trust"], lines),
            "",
            Table(["signature", "hits", "on healthy pools", "on other failures"], summary),
        ]
    )


AXES = {
    "source": Axis(tuple(SOURCES), ("digit 3",)),
    "provoked": Axis(tuple(PROVOKED), ("healthy", "shifted second set")),
}
STUDY = grid(AXES, make, table)
