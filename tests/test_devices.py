"""One sweep on one device, on eight, in two processes, in four shards: the same numbers."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from ad_jax.base import devices
from ad_jax.base.errors import InputError

RUN = ["select", "digits", "--steps", "10", "--width", "8", "--seeds", "2"]
RUN += ["--families", "binary/cutpaste,binary/gaussian_noise", "--areas", ".04,.16"]
TOLERANCE = 1e-3  # of scores of about 1 to 20 after 10 steps: rounding, amplified by training
COMMAND = """
import sys
from ad_jax import Config, cli
Config.__new__.__defaults__ = (*Config()[:4], 9.0, 0.0)  # ten steps teach nothing
sys.exit(cli.main(sys.argv[1:]))
"""


def start(out, *more, count=1):
    flags = f"--xla_force_host_platform_device_count={count}"
    kept = os.environ.get("XLA_FLAGS", "")
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *RUN, "--out", str(out), *more],
        env={**os.environ, "XLA_FLAGS": f"{kept} {flags}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    for process in processes:
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, out + err


def scores(out):
    with np.load(out / "scores.npz") as file:
        return file["scores"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    finish(start(out))
    return scores(out)


@pytest.mark.processes
def test_eight_devices_give_what_one_does(alone, tmp_path):
    finish(start(tmp_path, count=8))
    np.testing.assert_allclose(scores(tmp_path), alone, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.processes
def test_two_processes_of_one_job_give_what_one_does(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    finish(*(start(tmp_path, "--distributed", f"{address},{i}/2") for i in (1, 2)))
    gathered = start(tmp_path)
    finish(gathered)
    np.testing.assert_array_equal(scores(tmp_path), alone)


@pytest.mark.processes
def test_four_shards_give_what_one_does(alone, tmp_path):
    finish(*(start(tmp_path, "--shard", f"{i}/4") for i in (1, 2, 3, 4)))
    finish(start(tmp_path))
    np.testing.assert_array_equal(scores(tmp_path), alone)


def test_a_coordinator_that_does_not_answer_is_waited_for_no_longer_than_said():
    before = time.monotonic()
    with pytest.raises(InputError, match="127.0.0.1:9 does not answer after 0.5 s"):
        devices.join("127.0.0.1:9,2/2", wait=0.5)
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("text", ["", "host", "host:1", "host:1,3/2", "host:x,1/2", "host:1,0/2"])
def test_what_is_no_process_of_a_job_is_refused(text):
    with pytest.raises(InputError, match="HOST:PORT,I/N"):
        devices.join(text)
