"""Does tuning on features name what was planted in them: channels, a direction, a level?

Grids of EfficientNet-Lite0 of the cookie's or the bottle's normals at 160 px. In a quarter of the
target, which holds normals alone, a block of a fifth of the sides is changed, in units of the
normals' spread:

- `channels`: noise of 2 in 10 of the 152 channels; tuned is the noise of every channel. Declared
  beforehand as findable: an outer loss that hears of nothing but these channels should raise them.
- `direction`: a step of 1.5 up or down in 10 channels; tuned is the step of every channel, whose
  sign and place are findable.
- `level`: noise of 2 in all channels; tuned is one number, which begins at .8. Declared as not
  findable to a value by what scores say: weaker noise than the anomalies' also tells them apart. By
  `mixture_energy`, which compares values, it is.

Told are the ten channels that moved most (upwards; of the step, in any direction) and how many of
the planted ones are among them, by chance 0.66; of the direction the cosine with the planted one.
No labels: the planted is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ad_jax import features
from ad_jax.base.numerics import IN_TURN, in_float32
from ad_jax.base.stats import plus_minus, spread
from ad_jax.detect.look import network
from ad_jax.report.figures import charts
from ad_jax.selection import search, tuning
from ad_jax.selection.tuning import loop
from ad_jax.selection.tuning.space import to_hyper
from ad_jax.train import pretexts
from ad_jax.train.backbones import units_of
from ad_jax.train.setting import Config
from ad_jax.train.trainer import seed_keys
from experiments import trainings
from experiments.result import Cell, Panels, Result, Table
from experiments.studies.frozen import BACKBONE, SOURCES
from experiments.study import Axis, Options, Row, grid

PLANTED = 10  # channels
SHARE = 0.25
NOISE, STEP = 2.0, 1.5
SPACES = {
    "channels": "feature_noise:channel",
    "direction": "feature_step:channel",
    "level": "feature_noise",
}
LOSSES = {"auroc": "held_out_auroc", "wilcoxon": "wilcoxon_31", "energy": "mixture_energy"}
# The last one's gradient is of first order, which is cheap: more steps, larger, of more images.
PLANS: dict[str, dict[str, Any]] = {
    "energy": {"estimator": "first_order", "outer_steps": 80, "rate": 0.2, "batch": 64}
}


def planted(
    what: str, grids: np.ndarray, units: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Grids with a block of a quarter of them changed, and the direction `[d]` of the change."""
    out, channels = grids.astype(np.float32), grids.shape[-1]
    direction = np.zeros(channels)
    some = generator.choice(channels, PLANTED, replace=False)
    direction[some] = generator.choice([-1.0, 1.0], PLANTED)
    sides = [max(1, side // 5) for side in grids.shape[1:3]]
    for i in generator.choice(len(grids), round(SHARE * len(grids)), replace=False):
        top, left = (generator.integers(0, n - s + 1) for n, s in zip(grids.shape[1:3], sides))
        noise = generator.normal(size=(*sides, channels))
        change = {
            "channels": NOISE * noise * np.abs(direction),
            "direction": np.broadcast_to(STEP * direction, noise.shape),
            "level": NOISE * noise,
        }[what]
        out[i, top : top + sides[0], left : left + sides[1]] += change * units
    return out.astype(np.float16), direction


@in_float32
def make(source: str, what: str, outer: str, seed: int, options: Options) -> Row:
    small = options.smoke
    problem, _ = trainings.loaded(f"{SOURCES[source]},size={32 if small else 160}")
    eyes = features.Eyes(BACKBONE, options.record("."))
    train, held_out = map(eyes.see, problem.split(seed))
    generator = np.random.default_rng(seed)
    rows = generator.permutation(len(train))
    train, normal = train[rows[len(rows) // 3 :]], train[rows[: len(rows) // 3]]
    spreads = np.asarray(units_of(jnp.asarray(train)).spread)
    target, direction = planted(what, normal, spreads, generator)
    config = Config(8, 8, BACKBONE) if small else search.defaults(BACKBONE).config
    space = tuning.make_space(SPACES[what], train.shape[1:], training=search.FROZEN_TRAINING)
    plan = tuning.ON_FEATURES._replace(
        outer=((LOSSES[outer], 1.0),), prior=0.0, **PLANS.get(outer, {})
    )
    plan = trainings.small_plan(plan) if small else plan
    pretext = pretexts.on_features("binary", space.augmentation)
    tuner = loop.make_tuner(network(config, train.shape[1:], pretext), space, plan, pretext)
    program = loop.make_program(tuner, plan.outer_steps, IN_TURN)
    keys, hyper = seed_keys(0, seed), loop.training(space)
    data = loop.Data(*map(jnp.asarray, (train, held_out, target)))
    start = jnp.asarray(tuning.space.unconstrain(space, space.free.defaults()))[None]
    state = program.init(keys, hyper, start, data, jnp.array([plan.warm_up]))
    state, info = program.run(state, keys, hyper, data, jnp.array([plan.outer_steps]))
    late = np.asarray(info.theta)[0, -max(1, plan.outer_steps // 3) :].mean(0)
    end = to_hyper(space, late)
    return {
        "source": source,
        "what": what,
        "outer": outer,
        "seed": seed,
        "end": end,
        "direction": direction.tolist(),
        "loss": np.asarray(info.loss)[0].tolist(),
    }


def in_planted(row: Row) -> np.ndarray:
    """Which channels were planted, `[d]`."""
    return np.array(row["direction"]) != 0


def in_others(row: Row) -> np.ndarray:
    return ~in_planted(row)


def named(row: Row) -> int:
    """How many of the planted channels are among the ten that moved most."""
    moved = np.array(row["end"]["step" if row["what"] == "direction" else "std"])
    moved = np.abs(moved) if row["what"] == "direction" else moved
    return int(in_planted(row)[np.argsort(-moved)[:PLANTED]].sum())


def cosine(row: Row) -> float:
    step, direction = np.array(row["end"]["step"])[: len(row["direction"])], row["direction"]
    length = float(np.linalg.norm(step) * np.linalg.norm(direction))
    return float(step @ np.array(direction)) / length if length else 0.0


def table(rows: Sequence[Row]) -> Result:
    lines: list[list[Cell]] = []
    cases = dict.fromkeys((row["what"], row["source"], row["outer"]) for row in rows)
    for what, source, outer in cases:
        own = [r for r in rows if (r["what"], r["source"], r["outer"]) == (what, source, outer)]
        fell = spread([np.mean(r["loss"][:5]) - np.mean(r["loss"][-5:]) for r in own])
        line: list[Cell] = [what, source, outer, len(own), fell]
        if what == "level":
            line += ["", "", spread([r["end"]["std"] for r in own])]
        else:
            line += [spread([named(r) for r in own])]
            line += [spread([cosine(r) for r in own]) if what == "direction" else "", ""]
        lines.append(line)
    by_chance = PLANTED**2 / len(rows[0]["direction"])
    header = ["planted", "set", "outer loss", "seeds", "loss fell by", "named of 10", "cosine"]
    panel: Panels = {}
    for what, source, outer in cases:
        if what == "channels":
            own = [r for r in rows if (r["what"], r["source"], r["outer"]) == (what, source, outer)]
            panel.setdefault("noise where tuning ended, mean of the channels", {})[
                f"{source}, {outer}"
            ] = {
                name: spread([np.mean(np.array(r["end"]["std"])[of(r)]) for r in own])
                for name, of in (("the planted ones", in_planted), ("the others", in_others))
            }
    return Result(
        [
            f"Mean and deviation over seeds; by chance {by_chance:.2f} of 10 are named",
            Table([*header, "level (planted 2, start .8)"], lines, plus_minus),
        ],
        (lambda path: charts.lines(path, "set and outer loss", "std", panel)) if panel else None,
    )


AXES = {
    "source": Axis(("cookie", "bottle"), ("digit 3",)),
    "what": Axis(tuple(SPACES), tuple(SPACES)),
    "outer": Axis(tuple(LOSSES)),
    "seed": Axis((0, 1, 2)),
}
STUDY = grid(AXES, make, table, runs=("runs/frozen",))
