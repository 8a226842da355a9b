"""Seconds until `ad-jax --help` and `import ad_jax` are there, and what a command compiles again.

Each in a process of its own, in turns, against fixed limits. The import counts beyond that of jax,
with the modules behind `load`, `select` and `Detector`, which `import ad_jax` alone leaves for the
first use. A small `ad-jax select` is run twice with a cache of compiled programs of its own; the
second, which trains everything anew, is to find every program there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from experiments.benchmarks.timing import Plan, Row, against_limit, in_turn

HELP, BEYOND_JAX = 0.4, 1.0  # seconds
PROGRAMS = {
    "help": "import sys; from ad_jax.cli import main; sys.argv = ['ad-jax', '--help']; main()",
    "jax": "import jax, jax.numpy",
    "ad_jax": "import jax, jax.numpy, ad_jax; ad_jax.load; ad_jax.select; ad_jax.Detector",
}
SELECT = "select digits,normal=3,limit=60 --areas .05 --seeds 1 --steps 150 --width 8"
COUNTED = """
import sys
from jax import monitoring
missed = []
monitoring.register_event_listener(
    lambda event, **_: missed.append(event) if event.endswith("/cache_misses") else None
)
from ad_jax import cli
status = cli.main(sys.argv[1:])
print(len(missed))
sys.exit(status)
"""


def again(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Programs that were compiled, and seconds, of a command and of the same with warm caches."""
    with tempfile.TemporaryDirectory() as text:
        environment = {**plan.environment, "XDG_CACHE_HOME": str(Path(text, "cache"))}
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        missed, seconds = [], []
        for turn in ("first", "second"):
            command = [sys.executable, "-c", COUNTED, *SELECT.split()]
            command += ["--out", str(Path(text, turn))]
            began = time.perf_counter()
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=environment
            )
            seconds.append(time.perf_counter() - began)
            missed.append(int(done.stdout.splitlines()[-1]))
    return np.array(missed, float), np.array(seconds)


def rows(plan: Plan) -> list[Row]:
    def call(program: str):
        command = [sys.executable, "-c", program]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    calls = {name: call(program) for name, program in PROGRAMS.items()}
    # Children's time is no part of this process's: the clock on the wall, whatever was asked for.
    seconds = in_turn(calls, Plan(plan.quick, plan.rounds))
    missed, spent = again(plan)
    first = "the same for the first time"
    return [
        against_limit("ad-jax --help", HELP, seconds["help"]),
        against_limit("import ad_jax beyond jax", BEYOND_JAX, seconds["ad_jax"] - seconds["jax"]),
        Row("programs that a second select compiles", 0.0, missed[1:], missed[:1], first, ""),
        Row("a second select, which trains anew", None, spent[1:], spent[:1], first),
    ]
