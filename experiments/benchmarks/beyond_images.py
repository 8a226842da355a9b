"""Time and memory of scoring many rows and a long series, beside scikit-learn.

    python -m experiments.benchmarks.beyond_images            # 20,000 of each, a smoke test
    taskset -c 0 python -m experiments.benchmarks.beyond_images --rows 1000000 --points 10000000

1. Rows of 50 numbers, made block by block, so that never more than a block is held.
2. A series of one channel in a `.npz`, read and cut as `ad-jax score` does: a window of 64 points
   at every eighth point. Only the values are held whole.

In each part a detector of this library (the pick, and the ensemble of a small pool) and two of
scikit-learn's, fitted to the same normals, score the same blocks in turn: an isolation forest of
100 trees, and the distance to the fifth nearest normal (of a series: of windows as rows). Seconds
are of CPU (on one core they are seconds, however busy it is); the rate is that of the median block.
Whoever is slow scores every so many-th block, and the table says how many samples it scored; what
all of them take is then computed from the rate. Training is not measured: networks learn for a few
steps, which does not change how fast they score, and no label exists.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import jax
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

import ad_jax
from ad_jax.base.devices import peak_memory_mb
from ad_jax.base.errors import in_one_line
from ad_jax.data.series import from_arrays
from ad_jax.data.stream import stream
from ad_jax.report.table import render
from ad_jax.selection import search
from ad_jax.train.setting import Config

COLUMNS = 50
SEASON = 64  # points
NORMALS = 2000  # rows
TRAINING = 4000  # points
WINDOWS = 400  # of them, to train on
BLOCK = 16384  # samples that are scored at once
ROWS = ("neighbour/identity", "subspace/identity", "binary/feature_noise", "binary/feature_swap")
SERIES = ("neighbour/identity", "subspace/identity", "binary/mean_shift")
STEPS = 60


class Contender(NamedTuple):
    """A detector, and that it scores every so many-th block."""

    score: Callable[[np.ndarray], np.ndarray]
    every: int = 1


def of_sklearn(normals: np.ndarray, every: int) -> dict[str, Contender]:
    """Detectors of samples `[n, ...]`, seen as rows."""
    flat: Callable[[np.ndarray], np.ndarray] = lambda x: x.reshape(len(x), -1)
    forest = IsolationForest(random_state=0).fit(flat(normals))
    near = NearestNeighbors(n_neighbors=5).fit(flat(normals))
    return {
        "isolation forest, 100 trees": Contender(lambda x: -forest.score_samples(flat(x)), every),
        "fifth nearest normal": Contender(lambda x: near.kneighbors(flat(x))[0][:, -1], every),
    }


def of_ours(problem: ad_jax.Problem, families: tuple[str, ...], every: int) -> dict[str, Contender]:
    """The pick, and the ensemble of all settings."""
    settings = search.grid(problem.shape, families=families, strengths=1)
    config = Config(STEPS, 64, search.backbone_for(problem.shape))
    found = ad_jax.select(problem, settings=settings, seeds=1, config=config)
    kept = len(found.ensemble.weights_)
    return {
        f"ad_jax, pick ({found.pick.label})": Contender(found.detector.decision_function),
        f"ad_jax, ensemble of {kept}": Contender(found.ensemble.decision_function, every),
    }


def in_turn(blocks: Iterable[np.ndarray], contenders: dict[str, Contender], total: int) -> str:
    """Scores blocks by all contenders in turn: a table of samples a second of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    scored = dict.fromkeys(contenders, 0)
    for i, block in enumerate(blocks):
        for name, (score, every) in contenders.items():
            if i % every:
                continue
            if i == 0:
                score(block)  # compiles
            before = time.process_time()
            found = score(block)
            seconds[name].append(time.process_time() - before)
            assert found.shape == (len(block),) and np.isfinite(found).all()
            rates[name].append(len(block) / max(seconds[name][-1], 1e-9))
            scored[name] += len(block)
    rows = []
    for name in contenders:
        rate = median(rates[name])
        whole = scored[name] == total
        rows.append(
            [name, scored[name], f"{rate:,.0f}", f"{sum(seconds[name]):.1f}" if whole else ""]
            + [f"{total / rate:.0f}"]
        )
    columns = ["detector", "scored", "a second", "seconds, measured", "all, from the rate"]
    return render(columns, rows)


def rows(count: int, seed: int, mixing: np.ndarray) -> np.ndarray:
    """Correlated normal columns `[count, 50]` float32."""
    drawn = np.random.default_rng(seed).standard_normal((count, COLUMNS), np.float32)
    return np.asarray(drawn @ mixing)


def blocks_of_rows(count: int, mixing: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, count, BLOCK):
        yield rows(min(BLOCK, count - start), 1 + start, mixing)


def wave(start: int, stop: int) -> np.ndarray:
    """Points `start` to `stop` of a noisy season, float32."""
    noise = np.random.default_rng(start).standard_normal(stop - start, np.float32)
    season = np.sin(np.arange(start, stop) % SEASON * (2 * np.pi / SEASON))
    return (season + 0.2 * noise).astype(np.float32)


def write_series(path: Path, count: int) -> None:
    values = np.empty(count, np.float32)
    for start in range(0, count, 2**20):
        stop = min(start + 2**20, count)
        values[start:stop] = wave(start, stop)
    np.savez(path, values=values)


def part_of_rows(count: int) -> str:
    mixing = np.random.default_rng(0).standard_normal((COLUMNS, COLUMNS), np.float32) / 7
    normals = rows(NORMALS, 0, mixing)
    problem = ad_jax.Problem(train=normals, target=rows(300, -count % 2**31, mixing))
    contenders = of_ours(problem, ROWS, 1)
    theirs = of_sklearn(normals, 1)
    slow = "fifth nearest normal"
    theirs[slow] = theirs[slow]._replace(every=10)
    return in_turn(blocks_of_rows(count, mixing), {**contenders, **theirs}, count)


def part_of_series(count: int, folder: Path) -> str:
    path = folder / "series.npz"
    write_series(path, count)
    known = wave(0, TRAINING + 1000)
    options = {"train_end": TRAINING, "length": SEASON, "limit": WINDOWS}
    problem, _ = from_arrays(known, **options)  # type: ignore[arg-type]
    contenders = of_ours(problem, SERIES, 20) | of_sklearn(problem.train, 20)
    total = -(-(count - SEASON) // (SEASON // 8)) + 1
    batches = (batch.samples for batch in stream([str(path)], problem.shape, size=BLOCK))
    return in_turn(batches, contenders, total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=20_000)
    options = parser.parse_args()
    print(
        f"jax {jax.__version__} on {jax.default_backend()}; start {peak_memory_mb()} MB", flush=True
    )
    print(f"\n{options.rows:,} rows x {COLUMNS} columns\n")
    print(part_of_rows(options.rows))
    print(f"\npeak memory of the process so far: {peak_memory_mb()} MB", flush=True)
    print(f"\na series of {options.points:,} points, windows of {SEASON} at every eighth point\n")
    with tempfile.TemporaryDirectory() as text:
        print(part_of_series(options.points, Path(text)))
    print(f"\npeak memory of the process: {peak_memory_mb()} MB", flush=True)


if __name__ == "__main__":
    in_one_line(main)
