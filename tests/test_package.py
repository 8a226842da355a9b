"""What a package index would hold: the sdist builds the wheel, and the wheel holds all of it."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ad_jax

ROOT = Path(__file__).parent.parent
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, sys.argv[1])('.'))"
COPIED = ("ad_jax", "experiments", "tests")  # beside the files at the top


def build(what, folder):
    """One step of PEP 517 with the setuptools that is installed: nothing is downloaded."""
    command = [sys.executable, "-c", BUILD, what]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that is built from the sdist, which is built from a copy of this repository."""
    pytest.importorskip("setuptools", "77")
    top = tmp_path_factory.mktemp("package")
    for name in COPIED:
        shutil.copytree(ROOT / name, top / "copy" / name)
    for path in ROOT.glob("*"):
        if path.is_file():
            shutil.copy(path, top / "copy")
    with tarfile.open(build("build_sdist", top / "copy")) as sdist:
        sdist.extractall(top, filter="data")
    with zipfile.ZipFile(build("build_wheel", top / f"ad_jax-{ad_jax.__version__}")) as archive:
        yield archive


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ad_jax").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    described = f"ad_jax-{ad_jax.__version__}.dist-info/"
    held = {name for name in wheel.namelist() if not name.startswith(described)}
    assert held == files
    assert "ad_jax/py.typed" in held and any(name.endswith(".css") for name in held)


def test_the_wheel_says_version_extras_and_command(wheel):
    described = f"ad_jax-{ad_jax.__version__}.dist-info/"
    said = importlib.metadata.PathDistribution(zipfile.Path(wheel, described))
    assert said.version == ad_jax.__version__
    (command,) = said.entry_points
    assert (command.name, command.value) == ("ad-jax", "ad_jax.cli:main")
    page = (ROOT / "docs" / "installation.md").read_text()
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    assert explained == set(said.metadata.get_all("Provides-Extra"))


def test_the_version_can_be_asked_for(capsys):
    from ad_jax import cli

    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"ad_jax {ad_jax.__version__}\n"
