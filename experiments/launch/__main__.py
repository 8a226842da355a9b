"""Launches a sweep on a cluster: start it, see its logs, stop it and remove what was created.

python experiments/launch slurm start --name parts --shards 8 -- parts/,size=64 --families wide
python experiments/launch tpu start --dry-run --spot --name parts --shards 8 \\
    --record gs://BUCKET/parts/record --zone us-west4-a --accelerator v5litepod-8 \\
    --runtime v2-alpha-tpuv5-lite --data gs://BUCKET/data/parts -- parts/,size=64
python experiments/launch slurm stop --name parts --shards 8

What stands after `--` is given to `ad-jax select`. An engine turns the sweep into a shell script,
which `--dry-run` prints and nothing else; it runs at the root of the repository, and its exit
status is the launcher's. Wrong use is one line and status 2.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import gke
import skypilot
import slurm
import sweep
import tpu

from ad_jax.base.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINES = {"slurm": slurm, "tpu": tpu, "gke": gke, "skypilot": skypilot}
ACTIONS = ("start", "logs", "stop")
KINDS = ("cpu", "cuda", "tpu")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="python experiments/launch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("engine", help=", ".join(ENGINES))
    add("action", help=", ".join(ACTIONS))
    add("--dry-run", action="store_true", help="print the commands and do nothing")
    add("--name", required=True, help="of the sweep; its jobs are called ad-jax-NAME…")
    add("--shards", required=True, help="tasks or machines")
    add("--out", help="folder of the run (runs/NAME)")
    add("--record", help="folder or bucket that all share; a bucket where no disk is shared")
    add("--spot", action="store_true", help="cheaper machines that may be taken away")
    add("--jax", help=f"what it runs on, should ad-jax be installed: {', '.join(KINDS)}")
    add("--data", help="a bucket's folder, copied to every machine under its own name")
    add(
        "--extra",
        default="",
        help="options for the engine's own command: --extra='--one=1 --two=2'",
    )
    add("--zone", help="tpu, gke")
    add("--accelerator", help="tpu, gke: its type, on one host, e.g. v5litepod-8")
    add("--runtime", help="tpu: version of the VM's software")
    add("--cluster", help="gke: one that is there")
    add("--image", help="gke: name to build and push the image under")
    return parser.parse_args(arguments)


def _known(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"no {what} {value!r}; known: {', '.join(known)}")


def script(arguments: Sequence[str]) -> tuple[str, bool]:
    """The shell script of a command line, and whether it is to be printed only."""
    own = list(arguments)
    cut = own.index("--") if "--" in own else len(own)
    options = _parse(own[:cut])
    _known("engine", options.engine, list(ENGINES))
    _known("action", options.action, ACTIONS)
    engine = ENGINES[options.engine]
    if options.jax is not None:
        _known("--jax", options.jax, KINDS)
    for name in engine.NEEDED:
        if not getattr(options, name):
            raise InputError(f"{options.engine} needs --{name}; see --help")
    try:
        extra = shlex.split(options.extra)
    except ValueError as error:
        raise InputError(f"--extra {options.extra!r}: {error}; mend its quotes") from None
    if not options.shards.isdecimal():
        raise InputError(f"--shards {options.shards!r} is no number of machines; take 1 or more")
    asked = sweep.Sweep(
        name=options.name,
        shards=int(options.shards),
        select=tuple(own[cut + 1 :]),
        out=options.out or f"runs/{options.name}",
        record=options.record and options.record.rstrip("/"),
        spot=options.spot,
        jax=options.jax or engine.JAX,
        data=options.data and options.data.rstrip("/"),
        extra=tuple(extra),
        **{name: getattr(options, name) for name in sweep.Sweep._fields[-5:]},
    )
    sweep.check(asked)
    engine.check(asked)
    return getattr(engine, options.action)(asked), options.dry_run


def main() -> int:
    try:
        commands, only_print = script(sys.argv[1:])
    except InputError as error:
        print(f"launch: {error}", file=sys.stderr)
        return 2
    if only_print:
        print(commands, end="")
        return 0
    return subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
