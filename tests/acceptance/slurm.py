"""A sweep on a real SLURM of one node, one task of it cancelled in mid-run and requeued.

python tests/acceptance/slurm.py > experiments/results/slurm.txt

Starts munged, slurmctld and slurmd in a temporary folder, launches a small sweep as an array of two
tasks with a gather after them (`python experiments/launch slurm start`), cancels task 1 once it has
finished a chunk, requeues it, and waits for the gather. Its pick and members.csv (but for the
seconds) must be those of one undisturbed `ad-jax select`. Needs root, and `apt-get install
slurm-wlm munge`.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ad_jax.base.errors import InputError, in_one_line

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("munged", "slurmctld", "slurmd", "sbatch")
SWEEP = "digits,normal=3,limit=60 --steps 150 --width 8 --seeds 12 --families binary/cutpaste"
SWEEP += " --areas .05,.2"  # 24 members, 6 chunks
PATIENCE = 300.0  # seconds for anything to happen
TOLD = (  # lines of slurmctld's log worth keeping
    "submit_batch_job|sched: Allocate|Started JobId|REQUEST_KILL|Requeuing|_job_complete.*WEXIT"
)

# Debian's SLURM in a container: no cgroups, no hosts but this, one user.
CONFIG = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={root}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SlurmdParameters=config_overrides
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=all Nodes=node1 Default=YES
"""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.getuid():
        raise InputError(
            f"{' '.join(missing) or 'root'} is missing; as root: apt-get install slurm-wlm munge"
        )
    with tempfile.TemporaryDirectory() as text, _slurm(Path(text)):
        print("# python tests/acceptance/slurm.py")
        print(f"# {_out('sbatch', '--version')}, one node of 2 CPUs; ad-jax select {SWEEP}\n")
        differing = _scene(Path(text))
        told = re.findall(f".*(?:{TOLD}).*", (Path(text) / "slurmctld.log").read_text())
        print("\nslurmctld.log:", *told, sep="\n")
    print("\nfiles that differ from one undisturbed select:", ", ".join(differing) or "none")
    if differing:
        raise SystemExit(1)


@contextlib.contextmanager
def _slurm(root: Path) -> Iterator[None]:
    """A SLURM that lives in `root`; its commands find it."""
    root.chmod(0o755)  # munge's socket is for all
    for name in ("state", "spool"):
        (root / name).mkdir()
    key = root / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    with contextlib.ExitStack() as free:
        sockets = [free.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("", 0))
        ports = [one.getsockname()[1] for one in sockets]
    config = root / "slurm.conf"
    config.write_text(CONFIG.format(root=root, ports=ports, host=socket.gethostname()))
    os.environ["SLURM_CONF"] = str(config)
    munge = [f"--{name}-file={root}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = (
        ["munged", "--foreground", f"--socket={root}/munge.socket", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D", "-N", "node1"],
    )
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            quiet = subprocess.DEVNULL
            running.append(subprocess.Popen(command, stdout=quiet, stderr=quiet))
            if command[0] == "munged":
                _wait("munge", (root / "munge.socket").exists)
        _wait("an idle node", lambda: "idle" in _out("sinfo", "--noheader", "--format=%T"))
        yield
    finally:
        for daemon in reversed(running):
            daemon.terminate()
            daemon.wait()


def _scene(root: Path) -> list[str]:
    """What differs from the undisturbed run in the end."""
    select = SWEEP.split()
    job = ["bash", str(ROOT / "experiments/launch/job.sh")]
    _run(*job, *select, "--out", str(root / "calm"))
    run = root / "run"
    launch = [sys.executable, "experiments/launch", "slurm"]
    options = ["--spot", "--name", "study", "--shards", "2", "--out", str(run)]
    said = _run(*launch, "start", *options, "--", *select)
    array, gather = re.findall(r"job (\d+)", said)
    print(said, _queue("started"), sep="", end="", flush=True)

    task = f"{array}_1"
    log = run / "logs" / f"{task}.txt"
    _wait("a chunk of task 1", lambda: log.exists() and "members (" in log.read_text())
    _run("scancel", task)
    _wait("the end of task 1", lambda: task not in _queue(""))
    done = len(list((run / "record").glob("*.safetensors")))
    print(
        _queue(f"scancel {task}, with {done} of 6 chunks done: {_state(task)}"), end="", flush=True
    )
    if "is done" in log.read_text():
        raise SystemExit("task 1 ended before it was cancelled; take more steps")

    _run("scontrol", "requeue", task)
    _run("scontrol", "update", f"JobId={task}", "StartTime=now")  # else in two minutes
    print(_queue(f"scontrol requeue {task}"), end="", flush=True)
    _wait("the gather", lambda: gather not in _queue(""))
    print(f"\ngather {gather}: {_state(gather)}")
    print(f"\nlog of {task}:", *re.findall(".*members \\(.*", log.read_text()), sep="\n")
    _run(*launch, "stop", *options)
    calm, disturbed = _outputs(root / "calm"), _outputs(run)
    return [name for name in calm if calm[name] != disturbed.get(name)]


def _outputs(run: Path) -> dict[str, object]:
    """What must not depend on the cancelled task, the seconds left out; empty without a pick."""
    if not (run / "members.csv").exists():
        return {}
    with open(run / "members.csv", newline="") as file:
        members = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    files = [run / "pick.json", run / "samples.csv", run / "scores.npz", *run.glob("detector/*")]
    return {"members.csv": members} | {path.name: path.read_bytes() for path in files}


def _out(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def _state(job: str) -> str:
    return " ".join(re.findall(r"JobState=\w+", _out("scontrol", "show", "job", job)))


def _queue(title: str) -> str:
    return f"\n{title}\n{_out('squeue', '--array', '--format=%8i %12j %10T %r')}\n"


def _wait(what: str, there: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > end:
            raise SystemExit(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    in_one_line(main)
