"""Workers killed at random moments leave a record that reads, and the same run in the end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.kills
def test_kills_leave_no_trace():
    """One worker, shards, plain selects on one record, a full disk; see kills.py.

    In a process of its own: workers are forked before JAX starts.
    """
    done = subprocess.run(
        [sys.executable, "tests/acceptance/kills.py", "--kills", "2", "--smoke"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    scenes = [line for line in done.stdout.splitlines() if line.startswith(("one", "4 s", "2 s"))]
    assert len(scenes) == (7 if "left out" in done.stdout else 8), done.stdout
