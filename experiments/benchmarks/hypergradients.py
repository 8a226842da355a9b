"""The hypergradient through T = 10 training steps, against the plain steps.

    python -m experiments.benchmarks hypergradients              # second order alone
    python -m experiments.benchmarks.hypergradients              # all estimators: 10 minutes
    python -m experiments.benchmarks.hypergradients --features   # a head on frozen features

On the embedded textures (32 px, the default encoder, CutDiff): for every horizon T the milliseconds
of T plain training steps, and for every estimator the ratio to them, the scratch memory of its
program and the compile time. One look at the outer loss is in every estimate. `finite_difference`
is measured with one, two and four tuned hyperparameters; the others do not depend on that. Two ways
to make the second order cheaper that the library does not offer stand beside: reverse mode through
the last three steps only (more bias), and forward mode, which pays once per hyperparameter. All
programs of a horizon take turns in one run. With `--features`
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
import numpy as np

from ad_jax import features
from ad_jax.data import load
from ad_jax.features.encoders import PACKAGES
from ad_jax.pool import program
from ad_jax.report.table import render
from ad_jax.selection import search, tuning
from ad_jax.selection.tuning import estimators, loop
from ad_jax.train import pretexts as pretext
from ad_jax.train.trainer import seed_keys
from experiments.benchmarks.timing import OURS, Plan, Row, against_best, in_turn, machine, missing

LAST = 3
HORIZON = 10
AIM_IMAGES, AIM_FEATURES = 3.5, 3.0
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


def on_images(width: int = program.Config().width) -> tuple[TunerOf, loop.Data]:
    """The tuner of so many hyperparameters of CutDiff, and what it sees."""
    problem, _ = load("textures:brick-defect")
    backbone = program.network(
        program.Config(width=width), problem.shape, pretext.make("binary", "cutdiff")
    )

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


def case(
    tuner_of: TunerOf, data: loop.Data, count: int, horizon: int, function: Callable[..., Any]
) -> tuple[Any, tuple[Any, jax.Array]]:
    """A function of state and theta, and its arguments, for `count` tuned hyperparameters."""
    keys = seed_keys(0, 0)
    space, tuner = tuner_of(count)
    hyper, theta = loop.training(space), jnp.zeros(space.size)
    outer = jax.jit(tuner.init)(keys, hyper, theta, data)
    bilevel = tuner.problem(keys, hyper, data, jnp.int32(0))
    return (lambda state, t: function(bilevel, state, t, horizon)), (outer.inner, theta)


def plain(problem: estimators.Bilevel, state: Any, theta: jax.Array, steps: int) -> Any:
    """The training steps alone."""
    return estimators.train(problem, state, theta, steps).params


def all_stored(problem: estimators.Bilevel, state: Any, theta: jax.Array, steps: int) -> Any:
    """Second order without computing steps again."""
    return estimators.unrolled(problem, state, theta, steps, False)


def second_order(what: str, aim: float, tuner_of: TunerOf, data: loop.Data, plan: Plan) -> Row:
    """Reverse mode through all steps, by whichever way is faster, against the plain steps."""
    horizon = 2 if plan.quick else HORIZON
    ways = {"all stored": all_stored, "checkpoint": estimators.unrolled, "plain steps": plain}
    if plan.quick:
        del ways["checkpoint"]
    calls = {}
    for name, function in ways.items():
        whole, arguments = case(tuner_of, data, 1, horizon, function)
        compiled = jax.jit(whole).lower(*arguments).compile()
        calls[name] = lambda run=compiled, given=arguments: jax.block_until_ready(run(*given))
    seconds = in_turn(calls, plan)
    way = min(list(ways)[:-1], key=lambda name: float(np.median(seconds[name])))
    named = f"second order through {horizon} steps, {what} ({way})"
    return against_best(named, aim, {OURS: seconds[way], "plain steps": seconds["plain steps"]})


def rows(plan: Plan) -> list[Row]:
    images = on_images(8) if plan.quick else on_images()
    found = [second_order("on images", AIM_IMAGES, *images, plan)]
    if missing(PACKAGES[BACKBONE][0]):
        reason = f"not measured: the weights of {BACKBONE} are not installed"
        return [*found, Row("second order, on grids", AIM_FEATURES, None, None, reason)]
    if not plan.quick:
        found.append(second_order("on grids", AIM_FEATURES, *on_features(), plan))
    return found


def measured(
    cases: dict[str, tuple[Any, tuple[Any, jax.Array]]], rounds: int
) -> list[list[object]]:
    """Milliseconds, ratio to the first case, scratch memory and compile time of every case."""
    calls, told = {}, {}
    for name, (function, arguments) in cases.items():
        start = time.perf_counter()
        compiled = jax.jit(function).lower(*arguments).compile()
        built = time.perf_counter() - start
        scratch = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0) / 1e6
        told[name] = (scratch, built)
        calls[name] = lambda run=compiled, given=arguments: jax.block_until_ready(run(*given))
    seconds = {
        name: float(np.median(own)) for name, own in in_turn(calls, Plan(False, rounds)).items()
    }
    first = next(iter(seconds.values()))
    return [[name, 1e3 * own, own / first, *told[name]] for name, own in seconds.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--horizons", type=int, nargs="*", default=(HORIZON, 50))
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tuner_of, data = on_features() if options.features else on_images()
    found: list[list[object]] = []
    for horizon in options.horizons:
        ways: list[tuple[str, int, Callable[..., Any]]] = [
            ("plain", 4, plain),
            ("first order", 4, estimators.first_order),
            ("second order, checkpoint", 4, estimators.unrolled),
            ("second order, all stored", 4, all_stored),
            (f"second order, last {LAST} steps", 4, truncated),
            ("implicit", 4, estimators.implicit),
        ]
        if not options.features:  # what pays for every tuned number
            ways += [(f"forward mode, {n} tuned", n, forward) for n in (1, 2)]
            difference = estimators.finite_difference
            ways += [(f"finite difference, {n} tuned", n, difference) for n in (1, 2, 4)]
        cases = {
            f"T={horizon} {name}": case(tuner_of, data, count, horizon, function)
            for name, count, function in ways
        }
        found += measured(cases, options.rounds)
    print(machine())
    print(render(["estimator", "ms", "ratio to plain", "scratch MB", "compile s"], found))


if __name__ == "__main__":
    main()
