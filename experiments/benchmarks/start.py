"""Seconds until `ad-jax --help` and `import ad_jax` are there, against fixed limits.

Each in a process of its own, in turns. The import counts beyond that of jax, with the modules
behind `load`, `select` and `Detector`, which `import ad_jax` alone leaves for their first use.
"""

from __future__ import annotations

import subprocess
import sys

from experiments.benchmarks.timing import Plan, Row, against_limit, in_turn

HELP, BEYOND_JAX = 0.4, 1.0  # seconds
PROGRAMS = {
    "help": "import sys; from ad_jax.cli import main; sys.argv = ['ad-jax', '--help']; main()",
    "jax": "import jax, jax.numpy",
    "ad_jax": "import jax, jax.numpy, ad_jax; ad_jax.load; ad_jax.select; ad_jax.Detector",
}


def rows(plan: Plan) -> list[Row]:
    def call(program: str):
        command = [sys.executable, "-c", program]
        return lambda: subprocess.run(command, check=True, capture_output=True)

    calls = {name: call(program) for name, program in PROGRAMS.items()}
    # Children's time is no part of this process's: the clock on the wall, whatever was asked for.
    seconds = in_turn(calls, Plan(plan.quick, plan.rounds))
    return [
        against_limit("ad-jax --help", HELP, seconds["help"]),
        against_limit("import ad_jax beyond jax", BEYOND_JAX, seconds["ad_jax"] - seconds["jax"]),
    ]
