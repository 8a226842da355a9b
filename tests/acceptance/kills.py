"""Kills workers at random moments and compares what is left with an undisturbed run.

python tests/acceptance/kills.py --kills 20
python tests/acceptance/kills.py --kills 20 --train    # workers train, instead of replaying
python tests/acceptance/kills.py --kills 2 --smoke

Four scenes: one `ad-jax select`; shards 1/4 … 4/4 on one record; four plain selects on one record;
two plain selects on a disk that holds half of the record (a small tmpfs; left out where that cannot
be mounted), which end on "No space left on device" where they are not killed. Every chunk's
write is slowed down, so that many kills (SIGKILL) hit a half-written file.
After each kill every finished chunk must read, rows must only have been added, and none may stand
twice; at the end a plain select must give the same files, bit for bit (members.csv but for the
seconds). The data are made up and training is short: only the bookkeeping is studied. The
undisturbed run trains; without `--train` all others take a member's rows from it when they would
train it, after a short sleep, and everything else is the real command.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax import Config, cli
from ad_jax.base.errors import InputError, in_one_line
from ad_jax.pool import rows, sweep
from ad_jax.report.table import render
from ad_jax.store import Record, places

PAUSE = 0.15  # seconds of a slowed-down write, between the two halves and before the rename
MEMBERS = {True: 8, False: 12}  # seeds of two settings, with and without --smoke


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="in each scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", action="store_true", help="train in every worker")
    parser.add_argument("--smoke", action="store_true", help="fewer members")
    options = parser.parse_args()
    if options.kills < 1:
        raise InputError(f"--kills {options.kills} is too small; take at least 1")
    generator = random.Random(options.seed)
    table = []
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        command = _command(root, MEMBERS[options.smoke])
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(root / "cache"))
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        before = time.perf_counter()
        _finish([*command, "--out", str(root / "calm")])
        replayed = None if options.train else root / "calm" / "record"
        expected = _outputs(root / "calm")
        print(f"undisturbed: {time.perf_counter() - before:.0f} s", flush=True)
        whole = sum(path.stat().st_size for path in (root / "calm/record").glob("*.safetensors"))
        for name, extra, room in (
            ("one select", [[]], None),
            ("4 shards, one record", [["--shard", f"{i}/4"] for i in (1, 2, 3, 4)], None),
            ("4 selects, one record", [[], [], [], []], None),
            ("2 selects, full disk", [[], []], whole // 2),
        ):
            out = root / name.replace(" ", "-")
            shared = ["--out", str(out), "--record", str(out / "record")]
            with _disk(out / "record", room) as enlarge:
                if enlarge is None:
                    print(f"{name}: left out, a small disk cannot be mounted here")
                    continue
                row = _scene(out, command, extra, options.kills, generator, replayed)
                if room:
                    _finish([*command, *shared], replayed, expected=1)
                    enlarge()
                _finish([*command, *shared], replayed)
                differing = [n for n, x in _outputs(out).items() if expected[n] != x]
                row += [", ".join(differing) or "none", _doubled(out)]
            table.append([name, *row])
            print(f"{name}: {row}", flush=True)
    header = ["scene", "kills", "within a write", "rows lost", "files damaged"]
    print(render([*header, "files that differ", "rows doubled"], table))
    if any(row[3] or row[4] or row[5] != "none" or row[6] for row in table):
        raise SystemExit("a kill left a trace")


@contextlib.contextmanager
def _disk(place: Path, room: int | None) -> Iterator[Callable[[], None] | None]:
    """With `room` a disk of so many bytes at a place; yields how to enlarge it (or None)."""
    if room is None:
        yield lambda: None
        return
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return

    def enlarge() -> None:
        subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)

    try:
        yield enlarge
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _command(root: Path, seeds: int) -> list[str]:
    generator = np.random.default_rng(0)
    path = root / "made-up.npz"
    np.savez(
        path,
        train=generator.integers(0, 128, (16, 16, 16, 1), np.uint8),
        target=generator.integers(0, 160, (8, 16, 16, 1), np.uint8),
        labels=np.arange(8) % 2,
    )
    small = ["--steps", "3", "--width", "8", "--seeds", str(seeds)]
    return ["select", str(path), *small, "--families", "binary/cutpaste", "--areas", ".05,.2"]


def _start(arguments: list[str], replayed: Path | None = None, slow: bool = False) -> int:
    """A worker as a process of its own, forked before JAX has started anything."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
        Config.__new__.__defaults__ = (*Config()[:4], 9.0, 0.0)  # a few steps teach nothing
        if replayed is not None:
            _replay(Record(replayed))
        if slow:
            _slow_down()
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        status = cli.main(arguments)
    finally:
        os._exit(status)


def _replay(record: Record) -> None:
    def run(self: sweep.Sweep, chunk: Any, start: int, stop: int, *rest: Any) -> list[rows.Row]:
        time.sleep(PAUSE)
        ledger = rows.Ledger(record, self.config, rows.Data.of(self.problems))
        found = [ledger.get(member, stop, False) for member in zip(*chunk, strict=True)]
        return [row for row in found if row is not None]

    sweep.Sweep._run = run  # type: ignore[method-assign,assignment]


def _slow_down() -> None:
    """Half of a chunk's bytes, a pause, all of them, a pause, and only then its name."""
    write_beside = places._write_beside

    def slowly(path: Path, content: bytes, durable: bool) -> Path:
        if not path.name.endswith(".safetensors"):
            return write_beside(path, content, durable)
        half = path.with_name(f".{path.name}.{os.getpid()}{places.PART}")
        half.parent.mkdir(parents=True, exist_ok=True)
        try:
            half.write_bytes(content[: len(content) // 2])
        except OSError:
            half.unlink(missing_ok=True)
            raise
        time.sleep(PAUSE)
        try:
            beside = write_beside(path, content, durable)
            time.sleep(PAUSE)
        finally:
            half.unlink()  # there as long as the write goes on: its name tells whose it is
        return beside

    places._write_beside = slowly


def _finish(arguments: list[str], replayed: Path | None = None, expected: int = 0) -> None:
    _, status = os.waitpid(_start(arguments, replayed), 0)
    if os.waitstatus_to_exitcode(status) != expected:
        raise SystemExit(f"ad-jax {' '.join(arguments)}: wait status {status}, not {expected}")


def _held(out: Path) -> tuple[set[str], int]:
    """Keys of all rows, and how many files do not read; everything that reads was verified."""
    record = Record(out / "record")
    found = {key for chunk in record.chunks() for key in chunk.keys}
    return found, len(record.damaged)


def _doubled(out: Path) -> int:
    held = [key for chunk in Record(out / "record").chunks() for key in chunk.keys]
    return len(held) - len(set(held))


def _scene(
    out: Path,
    command: list[str],
    workers: list[list[str]],
    kills: int,
    generator: random.Random,
    replayed: Path | None,
) -> list[Any]:
    """Kills, kills within a write, rows lost, files damaged.

    A worker that was killed or has ended is started again; one that finds nothing left to do ends,
    so the record is emptied of some chunks then, as if they had never been.
    """
    running: dict[int, int] = {}  # process -> worker
    within = lost = damaged = 0
    before: set[str] = set()
    record = out / "record"
    for _ in range(kills):
        for number in set(range(len(workers))) - set(running.values()):
            shared = ["--out", str(out), "--record", str(record)]
            running[_start([*command, *workers[number], *shared], replayed, slow=True)] = number
        time.sleep(generator.uniform(0.0, 2 * PAUSE))
        victims = list(running)
        if generator.random() < 0.7:  # within a write, else whenever it is
            until = time.time() + 60
            while time.time() < until and not all(map(_ended, running)):
                writing = [process for process in running if _parts(record, process)]
                if writing:
                    victims = writing
                    time.sleep(generator.uniform(0.0, PAUSE))
                    break
                time.sleep(0.002)
        process = generator.choice(victims)
        mine = _parts(record, process)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        running.pop(process)
        within += any(part.exists() for part in mine)
        found, wrong = _held(out)
        lost, damaged, before = lost + len(before - found), damaged + wrong, before | found
        for process in [process for process in running if _ended(process)]:
            os.waitpid(process, 0)
            running.pop(process)
        if not running and len(found) and generator.random() < 0.5:
            for path in sorted(record.glob("*.safetensors"))[::2]:
                path.unlink()
            before, _ = _held(out)
    for process in running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    return [kills + len(running), within, lost, damaged]


def _parts(record: Path, process: int) -> list[Path]:
    """What a process is writing."""
    return list(record.glob(f".*.{process}{places.PART}"))


def _ended(process: int) -> bool:
    found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None


def _outputs(out: Path) -> dict[str, Any]:
    """Content of the run's files that must not depend on what was killed."""
    with open(out / "members.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    names = ["scores.npz", "pick.json", "samples.csv"]
    names += [f"detector/{p.name}" for p in sorted((out / "detector").iterdir())]
    return {"members.csv": rows} | {name: (out / name).read_bytes() for name in names}


if __name__ == "__main__":
    in_one_line(main)
