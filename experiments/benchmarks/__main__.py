"""Ours against what people would use instead: one table of ratios, both sides in one run.

    pip install -e ".[bench]"                           # PyTorch, torchvision, faiss
    python -m experiments.benchmarks                    # the lines
    python -m experiments.benchmarks encoder neighbour  # some of them
    python -m experiments.benchmarks all                # all; with nothing else running
    python -m experiments.benchmarks all --quick        # do they run? the figures say nothing

All sides of a line take turns. The table gives medians over the rounds, the median of the ratio of
ours to the fastest other (under 1: ours is faster) with its quartiles, the aim for two CPU cores,
and who the other is, or why it was not measured. On a busy machine `--clock cpu` counts seconds of
the processor in all threads of this process, which leaves out lines that start others.
"""

from __future__ import annotations

import argparse
import importlib
import sys
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
}


def module(name: str) -> ModuleType:
    """The module of a line."""
    return importlib.import_module(f"experiments.benchmarks.{LINES[name]}")


def listing() -> str:
    """Every line with its sentence."""
    wide = max(map(len, LINES))
    told = {name: (module(name).__doc__ or "").split("\n\n")[0] for name in LINES}
    return "\n".join(f"{name:{wide}}  {' '.join(text.split())}" for name, text in told.items())


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
    given = parser.parse_args()
    if given.list or not given.names:
        print(listing())
        return
    plan = Plan(given.quick, given.rounds, CLOCKS[given.clock])
    if plan.quick:
        jax.config.update("jax_disable_most_optimizations", True)
    before = machine()
    found: list[Row] = []
    for name in LINES if "all" in given.names else given.names:
        seconds = timed(lambda name=name: found.extend(module(name).rows(plan)))  # type: ignore[misc]
        print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    print(f"before: {before}\nafter:  {machine()}\n\n{table(found)}")


if __name__ == "__main__":
    in_one_line(main)
