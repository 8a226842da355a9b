"""A record of many members: writing, opening, `ad-jax status`, `ad-jax merge`, reading every row.

python -m experiments.benchmarks.record              # 100,000 members in 25,000 chunks
python -m experiments.benchmarks.record --members 4000

The rows are made up: two a member (training, measuring), 1.2 kB together. Aim: opening, status and
merge under 10 s each, and memory that does not grow with what the rows hold. Time of the processor
stands beside the clock's, because other work may share the machine.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import store
from ad_jax.base.devices import CHUNK
from ad_jax.base.errors import in_one_line
from ad_jax.data import Problem
from ad_jax.pool.rows import Data, names
from ad_jax.report.table import render
from ad_jax.runs import plan
from ad_jax.selection import search
from ad_jax.store import Record
from ad_jax.train.setting import Config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    options = parser.parse_args()
    count = options.members // CHUNK * CHUNK
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (16, 16, 16, 1), np.uint8)
    problem = Problem(train=images, target=images[::-1] // 2)
    config, settings = Config(), search.draw(problem.shape, count // 1000 or 1)
    seeds = range(count // len(settings))
    table: list[list[object]] = []

    def timed(what: str, work: Callable[[], Any]) -> Any:
        before, own = time.perf_counter(), time.process_time()
        found = work()
        spent, own = time.perf_counter() - before, time.process_time() - own
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table.append([what, f"{spent:.1f}", f"{own:.1f}", f"{memory:.0f}"])
        print(f"{what}: {spent:.1f} s, {own:.1f} s of the processor, {memory:.0f} MB", flush=True)
        return found

    with tempfile.TemporaryDirectory() as text:
        out = Path(text)
        members = [(setting, seed) for setting in settings for seed in seeds]
        part = plan.Part({"made up": problem}, [problem], settings, list(seeds), config)
        timed("plan of all members", lambda: plan.write(out, [part], "all", None))
        data = Data.of([problem])
        keys = [names(config, data, *member, config.steps) for member in members]
        made = {"params": np.zeros(200, np.float32), "seconds": np.array(1.0)}
        seen = {"scores": np.zeros((4, 20), np.float32), "mmd": np.array(0.5)}

        def write() -> None:
            record = Record(out / "record")
            for first in range(0, len(keys), CHUNK):
                rows = {}
                for own in keys[first : first + CHUNK]:
                    rows |= {own.made: made, own.seen[0]: seen}
                record.put(rows, durable=False, look=False)
                line = {"members": CHUNK, "seconds": 1.0, "keys": [k for k in rows][::2]}
                record.log(line)

        timed("writing (fsync left out)", write)
        record = timed("opening", lambda: Record(out / "record"))
        assert len(record) == 2 * len(keys), len(record)
        timed("seeing that nothing is new (before every chunk)", record.refresh)
        told = timed("ad-jax status", lambda: plan.status(out))
        assert told.done == told.total == len(keys), told
        into = out / "merged"
        done = timed("ad-jax merge", lambda: store.merge([out / "record"], into))
        assert done.rows == 2 * len(keys)
        again = timed("the same merge again", lambda: store.merge([out / "record"], into))
        assert again.rows == 0 and again.known == done.rows
        timed("reading and verifying every row", lambda: [record.get(k.made) for k in keys][-1])
        size = sum(path.stat().st_size for path in into.glob("*.safetensors")) / 1e6
    print(f"\n{len(keys)} members, {done.chunks} chunks, {size:.0f} MB\n")
    print(render(["step", "seconds", "of the processor", "peak memory so far, MB"], table))


if __name__ == "__main__":
    in_one_line(main)
