"""Does tuning by gradient earn its place on frozen features, where a head trains in a second?

A head on EfficientNet-Lite0's grids (defects at 160 px, textures at 64) learns from feature noise.
Its strength is tuned by gradient through ten training steps at a time, with one number for all
channels, for bands of them, or for every channel (152), and so is a step of every channel
(`feature_step`); after 400 steps at the default, 40 outer steps. The tuned head counts as it is in
the end (the mean over the last third), not one retrained. Beside it, with as many training steps
or as many seconds:

- the default (noise of .8) with the usual 400 steps, with as many steps as the tuned head, and the
  mean over the last third of the latter;
- a grid of 5 strengths and random search over all channels, picked by the default rule;
- a head that tells the target from the normals directly (`pool.transductive`);
- the ceiling: the same tuning with an outer loss that is shown the target's anomalies alone, by
  their labels. It is no method. It says what there is to gain by moving these numbers.

How many numbers are tuned, the ceilings, and one half of the target tuned on and the other scored
are measured with the first seed alone.

Targets hold all normals of a set's own and as many anomalies as make a share; AUROC is over the
whole target, and over the half that was not tuned on where it says so. Opens labels to draw.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import features
from ad_jax.base.numerics import in_float32
from ad_jax.base.stats import Estimate
from ad_jax.detect.look import make_look, network, pretext_of
from ad_jax.pool import Pool
from ad_jax.pool.transductive import transductive_scores
from ad_jax.report.figures import charts
from ad_jax.selection import search, tuning
from ad_jax.store import Record
from ad_jax.train.setting import Config, Setting
from experiments import trainings
from experiments.result import Cell, Panels, Result, Table
from experiments.studies.frozen import BACKBONE, DEFAULT, DEFECTS, SOURCES
from experiments.study import Axis, Options, Row, grid

SHARES = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
SHARES_OF_STEPS = (0.05, 0.25, 0.5)
SHOWN = 0.25  # share at which what is costly is shown alone
FREE: dict[str, Any] = {"outer": (("held_out_auroc", 1.0),), "prior": 0.0}
RANDOM, GRID = 6, 5  # trainings of 400 steps: about as many seconds as one tuning
DRAWS = (1, 2, 4, 6)  # of random search, in the picture over seconds
SECONDS_OF = "channels, held"
FIRST_SEED = 0
SEARCHED = "random search, by the rule"
CONTROLS = ("same steps", "same steps, mean of the last")  # the latter averages as tuning does


class Way(NamedTuple):
    """What is tuned, and what it changes of the plan."""

    augmentation: str
    plan: Mapping[str, Any]


CHANNELS = Way("feature_noise:channel", {})
STEPS = "steps, held"
STEPS_HELD = Way("feature_step:channel", {})
BY_COUNT = {
    "channels, free": Way("feature_noise:channel", FREE),
    "1 number": Way("feature_noise", FREE),
    "2 bands": Way("feature_noise:2", FREE),
    "4 bands": Way("feature_noise:4", FREE),
    "8 bands": Way("feature_noise:8", FREE),
}
CEILINGS = {
    "ceiling of channels (labels)": Way("feature_noise:channel", FREE),
    "ceiling of steps (labels)": Way("feature_step:channel", FREE),
}
STILL = Way(  # nothing is tuned: the same steps, and the mean over the last third of them
    "feature_noise",
    {"estimator": "first_order", "outer": (("calibrated_dsv_uncapped", 1.0),), "rate": 1e-9},
)


@functools.lru_cache(maxsize=2)
def judge(config: Config, shape: tuple[int, ...]) -> Any:
    """`(params, grids) -> scores` of a head that tells normal from augmented."""
    pretext = pretext_of(config, DEFAULT)
    return jax.jit(make_look(network(config, shape, pretext), pretext).judge)


class Bench(NamedTuple):
    """One set and seed."""

    problem: Any
    config: Config
    plan: tuning.Plan
    seed: int
    grids: np.ndarray  # of the target
    record: Record

    def descended(self, way: Way, target: np.ndarray) -> tuple[Any, Any, float]:
        """A head that was tuned on a target: its parameters, its start, seconds."""
        began = time.perf_counter()
        spec = tuning.TuneSpec(
            way.augmentation,
            starts=1,
            plan=self.plan._replace(**way.plan),
            seeds=(self.seed,),
            config=self.config,
            tune_on=target,
        )
        descent = tuning.descend(spec.job(self.problem), record=self.record)
        seconds = time.perf_counter() - began
        return jax.tree.map(jnp.asarray, descent.networks[0][0]), descent.starts[0], seconds

    def judged(self, params: Any, grids: np.ndarray) -> np.ndarray:
        """Scores `[n]` by a head."""
        run = judge(self.config, self.grids.shape[1:])
        return np.asarray(run(params, jnp.asarray(grids))[1])

    def tuned(self, way: Way, target: np.ndarray) -> tuple[np.ndarray, Any, float]:
        """Scores of the whole target by a head that was tuned on another, its start, seconds."""
        params, start, seconds = self.descended(way, target)
        return self.judged(params, self.grids), start, seconds


def drawn(anomalous: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows of all normals, and of as many anomalies as make a share."""
    good, bad = np.flatnonzero(anomalous == 0), np.flatnonzero(anomalous == 1)
    count = min(round(share / (1.0 - share) * len(good)), len(bad))
    some = np.random.default_rng(seed).choice(bad, count, replace=False)
    return np.sort(np.concatenate([good, some]))


def bench_of(seed: int, source: str, options: Options, study: str) -> tuple[Bench, np.ndarray]:
    """A set and seed, and which of its target is anomalous `[n]`: labels are opened for a study."""
    small = options.smoke
    size = 32 if small else 160 if source in DEFECTS else 64
    problem, truth = trainings.loaded(f"{SOURCES[source]},size={size}")
    record = options.record(".")
    config = Config(8, 8, BACKBONE) if small else search.defaults(BACKBONE).config
    plan = trainings.small_plan(tuning.ON_FEATURES) if small else tuning.ON_FEATURES
    grids = features.Eyes(BACKBONE, record).see(problem.target)
    anomalous = np.asarray(truth.open(f"{study} study: shares are drawn").anomalous)
    return Bench(problem, config, plan, seed, grids, record), anomalous


@in_float32
def make(seed: int, source: str, options: Options) -> Row:
    """All contenders: name -> share -> AUROC; what was tuned; seconds of each tuning."""
    small = options.smoke
    bench, anomalous = bench_of(seed, source, options, "tuning_on_features")
    problem, config, grids = bench.problem, bench.config, bench.grids
    shares = (SHOWN,) if small else SHARES
    rows = {share: drawn(anomalous, share, seed) for share in shares}
    found: dict[str, dict[str, float]] = {}
    ends: dict[str, Any] = {}
    seconds: dict[str, float] = {}

    def take(name: str, way: Way, shown: np.ndarray, text: str) -> np.ndarray:
        scores, start, spent = bench.tuned(way, problem.target[shown])
        found.setdefault(name, {})[text] = trainings.auroc_of(scores, anomalous)
        ends[f"{name} {text}"] = {"end": start.end, "status": start.status}
        seconds[f"{name} {text}"] = spent
        return scores

    for share, own in rows.items():
        take(SECONDS_OF, CHANNELS, own, f"{share:.0%}")
        if share in SHARES_OF_STEPS and not small:
            take(STEPS, STEPS_HELD, own, f"{share:.0%}")
        if share:
            direct = transductive_scores(config, bench_normals(bench), grids[own], seed)
            value = trainings.auroc_of(direct, anomalous[own])
            found.setdefault("direct", {})[f"{share:.0%}"] = value
    still = take(CONTROLS[1], STILL, rows[SHOWN], "all")
    apart = {}
    if seed == FIRST_SEED:
        for name, way in [*BY_COUNT.items()][: 1 if small else None]:
            take(name, way, rows[SHOWN], f"{SHOWN:.0%}")
        for name, way in [*CEILINGS.items()][: 1 if small else None]:
            take(name, way, np.flatnonzero(anomalous), "all")
        half = np.sort(np.random.default_rng(seed).permutation(rows[SHOWN])[::2])
        scores, _, _ = bench.tuned(CHANNELS, problem.target[half])
        rest = np.setdiff1d(np.arange(len(anomalous)), half)
        apart = {
            name: trainings.auroc_of(one[rest], anomalous[rest])
            for name, one in (("tuned", scores), ("same steps", still))
        }
    others, spent = plain(bench, rows, anomalous)
    return {
        "source": source,
        "seed": seed,
        "auroc": found | others,
        "apart": apart,
        "ends": ends,
        "seconds": seconds | spent,
    }


def bench_normals(bench: Bench) -> np.ndarray:
    """Grids of the normals that a seed trains on."""
    train = bench.problem.split(bench.seed).train
    return features.Eyes(BACKBONE, bench.record).see(train)


def plain(
    bench: Bench, rows: Mapping[float, np.ndarray], anomalous: np.ndarray
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """What is trained without a gradient of the strength: AUROC by share, "all" where none.

    And seconds of one training of each length.
    """
    every = tuning.TuneSpec("feature_noise:channel", config=bench.config)
    space = every.space(bench.problem.shape)
    drawn_settings = [
        space.setting(one.hyper) for one in trainings.random_settings(space, RANDOM, bench.seed)
    ]
    strengths = search.grid(
        bench.problem.shape, (), ["binary/feature_noise"], GRID, search.FROZEN_TRAINING
    )
    some = [DEFAULT, *strengths, *drawn_settings]
    spent: dict[str, float] = {}

    def pool_of(name: str, settings: Sequence[Setting], config: Config) -> Pool:
        began = time.perf_counter()
        of_seed, record = (bench.seed,), bench.record
        swept = trainings.swept([bench.problem], settings, of_seed, config, record, controls=False)
        spent[name] = (time.perf_counter() - began) / len(settings)
        return swept.pools[0]

    pool = pool_of("default", some, bench.config)
    longer = pool_of("same steps", [DEFAULT], bench.config._replace(steps=bench.plan.steps))
    out = {
        "default": {"all": trainings.auroc(pool, DEFAULT, anomalous)},
        "same steps": {"all": trainings.auroc(longer, DEFAULT, anomalous)},
    }
    searched = {f"random search of {n}": drawn_settings[:n] for n in DRAWS}
    searched |= {SEARCHED: drawn_settings, "grid, by the rule": strengths}
    kept = np.arange(pool.held_out_scores.shape[2])
    for share, own in rows.items():
        seen = pool.take(own, kept)
        for name, settings in searched.items():
            value = trainings.auroc(pool, trainings.pick(seen, settings), anomalous)
            out.setdefault(name, {})[f"{share:.0%}"] = value
    return out, spent


def at(row: Row, name: str, share: str) -> float:
    """AUROC of a contender at a share; of one that no target moves, the same at all."""
    own = row["auroc"].get(name, {})
    found = own.get(share, own.get("all"))
    return float("nan") if found is None else found


def by_set(rows: Sequence[Row], values: np.ndarray) -> np.ndarray:
    """Mean over the seeds that have a value, for every set; NaN for a set without one."""
    sets = np.array([row["source"] for row in rows])
    own = [values[(sets == one) & ~np.isnan(values)] for one in dict.fromkeys(sets.tolist())]
    return np.array([some.mean() if len(some) else np.nan for some in own])


def of_share(rows: Sequence[Row], share: str, controls: Sequence[str] = CONTROLS) -> Table:
    """Contenders at a share: their sets, mean, and differences to as many steps untuned."""
    lines: list[list[Cell]] = []
    for name in dict.fromkeys(name for row in rows for name in row["auroc"]):
        values = np.array([at(row, name, share) for row in rows])
        means = by_set(rows, values)
        if name.startswith("random search of") or np.isnan(means).any():
            continue
        leads = [
            trainings.normal_interval(
                by_set(rows, values - np.array([at(row, other, share) for row in rows]))
            )
            for other in controls
        ]
        seeds = int((~np.isnan(values)).sum()) // len(means)
        lines.append([name, seeds, *means.tolist(), float(means.mean()), *leads])
    sets = dict.fromkeys(row["source"] for row in rows)
    header = ["", "seeds", *sets, "mean", *(f"- {one}" for one in controls)]
    return Table(header, lines, trainings.signed)


def over_sets(rows: Sequence[Row], name: str, share: str) -> Estimate:
    values = np.array([at(row, name, share) for row in rows])
    return trainings.normal_interval(by_set(rows, values))


def panels(rows: Sequence[Row], shares: Sequence[str]) -> Panels:
    """AUROC over the shares of anomalies, and over the seconds that were spent."""

    def seconds(name: str) -> float:
        return float(np.median([row["seconds"][name] for row in rows if name in row["seconds"]]))

    shown = f"{SHOWN:.0%}"
    spent = {
        "default": ("default", seconds("default")),
        "same steps": ("same steps", seconds("same steps")),
        SECONDS_OF: (SECONDS_OF, seconds(f"{SECONDS_OF} {shown}")),
    }
    spent |= {f"random search of {n}": (SEARCHED, n * seconds("default")) for n in DRAWS}
    over_seconds: dict[str, dict[str, Estimate]] = {}
    for name, (series, own) in sorted(spent.items(), key=lambda item: item[1][1]):
        over_seconds.setdefault(f"{own:.0f}", {})[series] = over_sets(rows, name, shown)
    named = ("default", *CONTROLS, SECONDS_OF, STEPS, SEARCHED, "direct")
    over_shares = {
        share: {
            name: one for name in named if not np.isnan((one := over_sets(rows, name, share)).value)
        }
        for share in shares
    }
    return {
        "mean over sets, by the share of anomalies": over_shares,
        f"by seconds, {shown} anomalous": over_seconds,
    }


def table(rows: Sequence[Row]) -> Result:
    shares = list(rows[0]["auroc"][SECONDS_OF])
    blocks: list[Table | str] = []
    for share in shares:
        blocks += [
            f"\n{share} of the target anomalous: AUROC, mean over seeds; differences to as many "
            "steps untuned with 95 % intervals over sets",
            of_share(rows, share),
        ]
    apart = [row["apart"] for row in rows if row["apart"]]
    spent = [own for row in rows for name, own in row["seconds"].items() if SECONDS_OF in name]
    if apart:
        tuned, still = (np.mean([one[name] for one in apart]) for name in ("tuned", "same steps"))
        blocks.append(
            f"\nTuned on one half of the target ({SECONDS_OF}, first seed), scored on the other: "
            f"{tuned:.3f} (untuned there {still:.3f})"
        )
    blocks.append(
        f"seconds of a tuning, with compiling where it was: {min(spent):.0f} to {max(spent):.0f}, "
        f"median {np.median(spent):.0f}"
    )
    drawing = panels(rows, shares)
    return Result(
        blocks,
        lambda path: charts.lines(
            path, ("anomalies in the target", "seconds on one core"), "AUROC", drawing
        ),
    )


AXES = {"seed": Axis((0, 1, 2, 3, 4)), "source": Axis((*DEFECTS, "brick defects"), ("digit 3",))}
STUDY = grid(AXES, make, table, "{source}-{seed}", runs=("runs/frozen",))
