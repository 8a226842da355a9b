"""The launcher on a SLURM of one node."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slurm
def test_a_task_that_slurm_cancels_and_requeues():
    """See slurm.py for what happens and what is compared."""
    missing = [tool for tool in ("slurmctld", "slurmd", "munged") if not shutil.which(tool)]
    if missing or os.getuid():
        pytest.skip(f"needs {', '.join(missing) or 'root'} (.ci/slurm installs Debian's)")
    own = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quick = {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, "tests/acceptance/slurm.py"],
        cwd=ROOT,
        env={**os.environ, "PATH": own, **quick},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of 6 chunks done: JobState=CANCELLED" in done.stdout and "Requeuing" in done.stdout
    assert "differ from one undisturbed select: none" in done.stdout
