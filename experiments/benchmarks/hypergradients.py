"""What an estimator of the hypergradient costs, in plain trainings of the same length.

    python experiments/benchmarks/hypergradients.py            # about 10 minutes on 2 CPU cores
    python experiments/benchmarks/hypergradients.py --quick    # horizons 2 and 4 only
    python experiments/benchmarks/hypergradients.py --features # a head on frozen features

On the embedded textures (32 px, the default encoder, CutDiff): for every horizon T the milliseconds
of T plain training steps, and for every estimator the ratio to them, the scratch memory of its
program and the compile time. One look at the outer loss is in every estimate. `finite_difference`
is measured with one, two and four tuned hyperparameters; the others do not depend on that. Two ways
to make the second order cheaper that the library does not offer stand beside: reverse mode through
the last three steps only (more bias), and forward mode, which pays once per hyperparameter. All
programs of a horizon take turns in one run; the least of several rounds counts. With `--features`
a head on EfficientNet-Lite0's grids of the same textures at 64 px, tuned by one number for each of
152 channels, by the estimators that do not pay for each of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ad_jax import features
from ad_jax.data import load
from ad_jax.pool import program
from ad_jax.report.table import render
from ad_jax.selection import search, tuning
from ad_jax.selection.tuning import estimators, loop
from ad_jax.train import pretexts as pretext
from ad_jax.train.trainer import seed_keys

LAST = 3
BACKBONE = "efficientnet_lite0"
NAMES = ("area", "aspect", "strength", "angle")


def truncated(problem: estimators.Bilevel, state: Any, theta: jax.Array, steps: int) -> Any:
    """Second order through the last `LAST` steps; the ones before count as given."""
    state = jax.lax.stop_gradient(estimators.train(problem, state, theta, max(steps - LAST, 0)))
    return estimators.unrolled(problem, state, theta, min(LAST, steps))


def forward(problem: estimators.Bilevel, state: Any, theta: jax.Array, steps: int) -> Any:
    """The same derivative by one pass per hyperparameter."""

    def whole(t: jax.Array) -> jax.Array:
        return problem.outer(estimators.train(problem, state, t, steps), t)[0]

    return jax.lax.map(lambda d: jax.jvp(whole, (theta,), (d,)), jnp.eye(theta.shape[0]))


TunerOf = Callable[[int], tuple[tuning.TunedSpace, loop.Tuner]]


def on_images() -> tuple[TunerOf, loop.Data]:
    """The tuner of so many hyperparameters of CutDiff, and what it sees."""
    problem, _ = load("textures:brick-defect")
    backbone = program.network(program.Config(), problem.shape, pretext.make("binary", "cutdiff"))

    def tuner_of(count: int) -> tuple[tuning.TunedSpace, loop.Tuner]:
        space = tuning.make_space("cutdiff", problem.shape, NAMES[:count])
        return space, loop.make_tuner(backbone, space, tuning.Plan(warm_up=1))

    return tuner_of, loop.Data(*map(jnp.asarray, (*problem.split(0), problem.target)))


def on_features() -> tuple[TunerOf, loop.Data]:
    """The tuner of a number for every channel, whatever the count, and the grids that it sees."""
    problem, _ = load("textures:brick-defect", size=64, limit=100)
    eyes = features.Eyes(BACKBONE)
    data = loop.Data(*(jnp.asarray(eyes.see(x)) for x in (*problem.split(0), problem.target)))
    space = tuning.make_space("feature_noise:channel", data.train.shape[1:])
    task = pretext.on_features("binary", space.augmentation)
    backbone = program.network(search.defaults(BACKBONE).config, data.train.shape[1:], task)
    plan = tuning.ON_FEATURES._replace(warm_up=1)
    return lambda count: (space, loop.make_tuner(backbone, space, plan, task)), data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--horizons", type=int, nargs="*", default=(10, 50))
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tuner_of, data = on_features() if options.features else on_images()
    keys = seed_keys(0, 0)
    rows: list[list[object]] = []

    def case(count: int, horizon: int, function: Callable[..., Any]) -> tuple[Any, tuple]:
        """A function of state and theta, and its arguments, for `count` tuned hyperparameters."""
        space, tuner = tuner_of(count)
        hyper, theta = loop.training(space), jnp.zeros(space.size)
        outer = jax.jit(tuner.init)(keys, hyper, theta, data)
        bilevel = tuner.problem(keys, hyper, data, jnp.int32(0))
        return (lambda state, t: function(bilevel, state, t, horizon)), (outer.inner, theta)

    for horizon in (2, 4) if options.quick else options.horizons:
        runs = {
            "plain": case(4, horizon, lambda b, s, t, n: estimators.train(b, s, t, n).params),
            "first order": case(4, horizon, estimators.first_order),
            "second order, checkpoint": case(4, horizon, estimators.unrolled),
            "second order, all stored": case(
                4, horizon, lambda b, s, t, n: estimators.unrolled(b, s, t, n, False)
            ),
        }
        runs[f"second order, last {LAST} steps"] = case(4, horizon, truncated)
        runs["implicit"] = case(4, horizon, estimators.implicit)
        for count in () if options.features else (1, 2):
            runs[f"forward mode, {count} tuned"] = case(count, horizon, forward)
        for count in () if options.features else (1, 2, 4):
            name = f"finite difference, {count} tuned"
            runs[name] = case(count, horizon, estimators.finite_difference)
        compiled, built, memory = {}, {}, {}
        for name, (function, arguments) in runs.items():
            start = time.perf_counter()
            compiled[name] = jax.jit(function).lower(*arguments).compile()
            built[name] = time.perf_counter() - start
            analysis = compiled[name].memory_analysis()
            memory[name] = getattr(analysis, "temp_size_in_bytes", 0) / 1e6
        least = dict.fromkeys(runs, float("inf"))
        for _ in range(options.rounds + 1):
            for name, (_, arguments) in runs.items():
                start = time.perf_counter()
                jax.block_until_ready(compiled[name](*arguments))
                least[name] = min(least[name], time.perf_counter() - start)
        for name, seconds in least.items():
            ratio = seconds / least["plain"]
            rows.append([f"T={horizon} {name}", 1e3 * seconds, ratio, memory[name], built[name]])
            print(f"{rows[-1]}", flush=True)
    header = ["estimator", "ms", "ratio to plain", "scratch MB", "compile s"]
    print(f"{jax.default_backend()}, least of {options.rounds + 1} rounds")
    print(render(header, rows))


if __name__ == "__main__":
    main()
