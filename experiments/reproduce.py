"""One command a study: trains what it needs, then writes its table and its picture.

    python experiments/reproduce.py selection            # resumable: finished work is kept
    python experiments/reproduce.py selection --report   # and pages of the runs that it read
    python experiments/reproduce.py selection --tables    # table and picture, of runs made before
    python experiments/reproduce.py all --dry-run        # only the commands

Writes experiments/results/NAME.txt and NAME.png; trainings, raw rows and reports go to runs/. Run
in the repository's root, with AD_JAX_DATA naming the folder of the development data.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ad_jax.base.errors import in_one_line
from ad_jax.store import write_whole

RESULTS = Path("experiments/results")
SELECT = "ad-jax select --config experiments/configs"


class Study(NamedTuple):
    """A study of experiments/studies.

    Attributes:
      arguments: of its command.
      trainings: commands whose runs it reads, or whose trainings it shares.
      runs: folder of runs for `ad-jax report`, "" if it writes rows of its own.
    """

    arguments: str
    trainings: tuple[str, ...] = ()
    runs: str = ""


def shelf(*parts: str) -> tuple[str, ...]:
    return tuple(f"{SELECT}/shelf.py:{part} --out runs/shelf/{part}" for part in parts)


PARTS = ("textures", "bottle", "cookie", "tile", "fashion", "digits")
WIDER = tuple(
    f"{SELECT}/geometric_vs_local.py:{part} --record runs/shelf/{part}/record "
    f"--out runs/geometric_vs_local/{part}"
    for part in PARTS[:-1]
)
PUBLISHED = (f"{SELECT}/published.py:mvtec_bottle --out runs/published/bottle",)

STUDIES = {
    "geometric_vs_local": Study(
        "runs/geometric_vs_local", shelf(*PARTS[:-1]) + WIDER, "runs/geometric_vs_local"
    ),
    "bias": Study(
        "--out runs/bias --runs runs/shelf/tile runs/shelf/bottle", shelf("tile", "bottle")
    ),
    "selection": Study("runs/shelf", shelf(*PARTS), "runs/shelf"),
    "tuning": Study("--out runs/tuning"),
    "shift": Study("--out runs/shift --shelf runs/shelf", shelf(*PARTS)),
    "another_product": Study("runs/shelf", shelf(*PARTS)),
    "contamination": Study("runs/shelf", shelf(*PARTS), "runs/shelf"),
    "contaminated_training": Study(
        "--out runs/contaminated --shelf runs/shelf", shelf("bottle", "fashion", "digits")
    ),
    "limited_data": Study("--out runs/limited_data"),
    "published": Study("runs/published", PUBLISHED, "runs/published"),
}


def commands(name: str, tables: bool, report: bool) -> list[str]:
    """What reproduces a study, in order: trainings unless `tables`, the study, its report."""
    study = STUDIES[name]
    picture = f"--picture {RESULTS / name}.png"
    out = [] if tables else list(study.trainings)
    out.append(f"python experiments/studies/{name}.py {study.arguments} {picture}")
    if report and study.runs:
        out.append(f"ad-jax report {study.runs} --audit --out runs/reports/{name}")
    return out


def run(command: str, out: Path | None) -> None:
    """Runs a command; what it prints goes to a file whole, below the command, or not at all."""
    first, *rest = shlex.split(command)
    program = sys.executable if first == "python" else Path(sys.executable).with_name(first)
    done = subprocess.run([program, *rest], stdout=subprocess.PIPE if out else None, text=True)
    if done.returncode:
        raise SystemExit(f"{command}: exit status {done.returncode}")
    if out:
        write_whole(out, f"# {command}\n\n{done.stdout}".encode())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=[*STUDIES, "all"], metavar="NAME")
    parser.add_argument("--tables", action="store_true", help="no trainings of other commands")
    parser.add_argument("--report", action="store_true", help="pages of runs, labels opened")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    options = parser.parse_args()
    done: set[str] = set()  # studies share trainings
    for name in STUDIES if "all" in options.names else options.names:
        for command in commands(name, options.tables, options.report):
            if command in done:
                continue
            done.add(command)
            print(command, file=None if options.dry_run else sys.stderr, flush=True)
            if not options.dry_run:
                own = command.startswith("python")
                run(command, RESULTS / f"{name}.txt" if own else None)


if __name__ == "__main__":
    in_one_line(main)
