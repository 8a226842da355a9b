"""Ours against what people would use instead: one table of ratios, both sides in one run.

    pip install -e ".[bench]"                           # PyTorch, torchvision, faiss
    python -m experiments.benchmarks                    # the lines
    python -m experiments.benchmarks encoder neighbour  # some of them
    python -m experiments.benchmarks all                # all; with nothing else running
    python -m experiments.benchmarks all --quick        # do they run? the figures say nothing
    python -m experiments.benchmarks all --limit 40     # on a GPU: 8 minutes at most

All sides of a line take turns. The table gives medians over the rounds, the median of the ratio of
ours to the fastest other (under 1: ours is faster) with its quartiles, the aim for two CPU cores,
and who the other is, or why it was not measured. With `--limit` every line is a process of its own,
whose table is printed when it has ended, and that is stopped after so many seconds; so
experiments/results/against_others.txt is made. On a busy machine `--clock cpu` counts seconds of
the processor in all threads of this process, which leaves out lines that start others.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType

import jax

from ad_jax.base.errors import in_one_line
from experiments.benchmarks.timing import CLOCKS, Plan, Row, machine, table, timed

# A line is a module with `rows(plan) -> [Row]`; its text begins with what it compares.
LINES = {
    "folder": "folder_to_detector",
    "encoder": "encoder_forward",
    "neighbour": "nearest_patch",
    "decode": "score_folder",
    "step": "step",
    "study": "sweep",
    "kernels": "kernels",
    "hypergradients": "hypergradients",
    "compile": "compile",
    "start": "start",
    "rules": "rules",
    "scaling": "scaling",
    "roofline": "roofline",
}


def module(name: str) -> ModuleType:
    """The module of a line."""
    return importlib.import_module(f"experiments.benchmarks.{LINES[name]}")


def listing() -> str:
    """Every line with its sentence."""
    wide = max(map(len, LINES))
    told = {name: (module(name).__doc__ or "").split("\n\n")[0] for name in LINES}
    return "\n".join(f"{name:{wide}}  {' '.join(text.split())}" for name, text in told.items())


def apart(name: str, options: Sequence[str], limit: float, plan: Plan) -> str:
    """A line's command and table, from a process that is stopped after `limit` seconds."""
    words = ["-m", "experiments.benchmarks", name, *options]
    told = " ".join(["# python", *words])
    try:
        done = subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            timeout=limit,
            env=plan.environment,
        )
    except subprocess.TimeoutExpired:
        return f"{told}\n# not measured: it had not ended after {limit:g} s"
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return f"{told}\n# not measured: it failed: {last}"
    _, _, found = done.stdout.partition("\n\n")  # behind what the machine is
    return f"{told}\n{found.rstrip()}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", choices=[*LINES, "all", []], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="say what the lines are")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, one round")
    parser.add_argument("--rounds", type=int, default=Plan().rounds, help="timed rounds of a line")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="of each line")
    given = parser.parse_args()
    if given.list or not given.names:
        print(listing())
        return
    plan = Plan(given.quick, given.rounds, CLOCKS[given.clock])
    names = list(LINES) if "all" in given.names else given.names
    if given.limit:
        options = ["--rounds", str(given.rounds), "--clock", given.clock]
        print(f"# {machine()}", flush=True)
        for name in names:
            text = apart(name, options + ["--quick"] * given.quick, given.limit, plan)
            print(f"\n{text}", flush=True)
        return
    if plan.quick:
        jax.config.update("jax_disable_most_optimizations", True)
    before = machine()
    found: list[Row] = []
    for name in names:
        seconds = timed(lambda name=name: found.extend(module(name).rows(plan)))  # type: ignore[misc]
        print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(f"before: {before}\nafter:  {machine()}\n\n{table(found)}")


if __name__ == "__main__":
    in_one_line(main)
