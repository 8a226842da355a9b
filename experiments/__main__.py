"""One command a study: trains what it needs, prints its tables and draws its picture.

    python -m experiments selection              # resumable: finished work is kept
    python -m experiments selection --report     # and a page of the runs that it read
    python -m experiments selection --tables     # nothing is trained: tables of what is there
    python -m experiments shift --smoke          # the smallest variant of a study
    python -m experiments shift --only task=cookie --picture shift.png
    python -m experiments all --dry-run          # only the commands

A study as it stands writes experiments/results/NAME.txt, and NAME.png if it draws; with other runs,
axes or folders, and with --smoke, it only prints. Trainings, raw rows and reports go to runs/. Run
in the repository's root, with AD_JAX_DATA naming the folder of the development data.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ad_jax.base.errors import InputError, in_one_line
from ad_jax.store import write_whole
from experiments.configs.shelf import SEMANTIC
from experiments.result import Result
from experiments.studies import STUDIES
from experiments.study import Axis, Options

RESULTS = Path("experiments/results")
PROGRAM = "python -m experiments"
OF_ONE = ("only", "runs", "out", "picture")  # options of one study at a time


def parser() -> argparse.ArgumentParser:
    lines = []
    for name, study in STUDIES.items():
        doc = sys.modules[f"experiments.studies.{name}"].__doc__ or ""
        lines += [f"  {name}: {doc.splitlines()[0]}"]
        lines += [f"    axes: {', '.join(study.axes)}"] if study.axes else []
    out = argparse.ArgumentParser(
        prog=PROGRAM,
        description=__doc__,
        epilog="\n".join(["studies:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = out.add_argument
    add("names", nargs="+", choices=[*STUDIES, "all"], metavar="NAME")
    add("--tables", action="store_true", help="nothing is trained: tables of what is there")
    add("--report", action="store_true", help="a page of the runs that were read, labels opened")
    add("--smoke", action="store_true", help="the smallest variant; says nothing")
    add("--dry-run", action="store_true", help="print the commands")
    add("--only", nargs="+", metavar="AXIS=VALUE", help="not all values of an axis")
    add("--runs", nargs="*", type=Path, help="to read instead of the study's own")
    add("--out", type=Path, help="folder of what it makes (runs/NAME or runs/smoke/NAME)")
    add("--picture", type=Path, help="PNG to draw")
    add("--semantic", metavar="PATTERN", help=f"in names of semantic tasks ({SEMANTIC})")
    return out


def only(axes: Mapping[str, Axis], words: Sequence[str]) -> dict[str, list[object]]:
    """Axis -> the values asked for.

    Raises:
      InputError: no such axis or value.
    """
    out: dict[str, list[object]] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in axes:
            raise InputError(f"--only {word}: no axis {name!r}; known: {', '.join(axes) or 'none'}")
        try:
            out.setdefault(name, []).append(axes[name].read(value))
        except InputError as error:
            raise InputError(f"--only {word}: {error}") from None
    return out


def result(name: str, given: argparse.Namespace) -> Result:
    """Does a study as the command line asks for it."""
    study = STUDIES[name]
    runs = [Path(path) for path in study.runs if not given.smoke]
    return study.result(
        Options(
            given.out or Path("runs/smoke" if given.smoke else "runs") / name,
            runs if given.runs is None else given.runs,
            only(study.axes, given.only or ()),
            given.smoke,
            given.tables,
            given.semantic or SEMANTIC,
        )
    )


def call(command: str, dry: bool) -> None:
    """Says another command of this environment and, unless dry, runs it."""
    print(command, file=None if dry else sys.stderr, flush=True)
    first, *rest = shlex.split(command)
    if not dry:
        done = subprocess.run([Path(sys.executable).with_name(first), *rest])
        if done.returncode:
            raise SystemExit(f"{command}: exit status {done.returncode}")


def write(name: str, given: argparse.Namespace) -> None:
    """The study as it stands: its file of results, whole or not at all, and its picture."""
    texts: list[str] = []
    for arguments in STUDIES[name].tables:
        words = [name, *shlex.split(arguments), *(["--tables"] if given.tables else [])]
        found = result(name, parser().parse_args(words))
        if found.picture and not texts:
            found.picture(RESULTS / f"{name}.png")
        texts.append(f"# {f'{PROGRAM} {name} {arguments}'.strip()}\n\n{found}\n")
    write_whole(RESULTS / f"{name}.txt", "\n".join(texts).encode())
    print(*texts, sep="\n", end="")


def show(name: str, given: argparse.Namespace) -> None:
    """Another variant of a study: printed, and drawn where that is asked for."""
    found = result(name, given)
    print(found)
    if given.picture:
        if found.picture is None:
            raise InputError(f"--picture {given.picture}: {name} draws nothing")
        found.picture(given.picture)


def main() -> None:
    given = parser().parse_args()
    names = list(STUDIES) if "all" in given.names else given.names
    own = [f"--{field}" for field in OF_ONE if getattr(given, field) is not None]
    if own and len(names) > 1:
        raise InputError(f"{', '.join(own)}: give it to one study at a time")
    done: set[str] = set()  # studies share trainings
    for name in names:
        study = STUDIES[name]
        needs = () if given.tables or given.smoke or given.runs is not None else study.needs
        for command in needs:
            if command not in done:
                done.add(command)
                call(command, given.dry_run)
        if given.dry_run:
            print(*(f"{PROGRAM} {name} {words}".strip() for words in study.tables), sep="\n")
        else:
            (show if own or given.smoke or given.semantic else write)(name, given)
        if given.report and study.reported:
            runs = " ".join(map(str, given.runs or study.runs))
            call(f"ad-jax report {runs} --audit --out runs/reports/{name}", given.dry_run)


if __name__ == "__main__":
    in_one_line(main)
