"""The comparison with other libraries: everybody scores the same target, whoever is installed."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import ad_jax

ROOT = Path(__file__).parent.parent


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments" / "benchmarks"))
    import peers

    yield peers
    sys.modules.pop("peers")


def rows():
    draw = np.random.default_rng(0)
    target = np.concatenate([draw.normal(size=(40, 3)), draw.normal(6.0, size=(10, 3))])
    return ad_jax.Problem(train=draw.normal(size=(60, 3)), target=target)


def far(problem):
    return problem.target.mean(1) > 3.0


def test_who_is_not_installed_is_left_out(peers, monkeypatch):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert set(peers.methods(rows(), quick=True)) == {
        "ad_jax, default setting",
        "ad_jax, neighbour/identity",
    }
    assert "ad_jax, ensemble" in peers.methods(rows(), quick=False)


def test_pyods_detectors_find_what_is_far(peers):
    pytest.importorskip("pyod", reason="PyOD is not installed")
    problem = rows()
    for name in peers.PYOD:
        scores, flags = peers.by_pyod(problem, name)
        assert scores[far(problem)].min() > scores[~far(problem)].max(), name
        assert flags[far(problem)].all(), name


@pytest.mark.whole
def test_patchcore_finds_what_is_far(peers):
    pytest.importorskip("anomalib", reason="anomalib is not installed")
    draw = np.random.default_rng(0)
    target = draw.integers(0, 60, (6, 64, 64, 3), np.uint8)
    target[:2, 16:48, 16:48] = 255
    problem = ad_jax.Problem(train=draw.integers(0, 60, (12, 64, 64, 3), np.uint8), target=target)
    scores, flags = peers.by_patchcore(problem)
    bright = problem.target.mean((1, 2, 3)) > 60
    assert flags is None and scores[bright].min() > scores[~bright].max()


@pytest.mark.whole
@pytest.mark.usefixtures("relaxed")
def test_the_table_is_printed(peers, capsys):
    peers.main(["sklearn:iris", "--quick"])
    said = capsys.readouterr().out
    assert said.startswith(f"ad_jax {ad_jax.__version__}, jax ") and "\nsklearn:iris\n" in said
    (line,) = re.findall(r"^ad_jax, neighbour/identity +(.*)$", said, re.M)
    auroc, normals, anomalies, seconds, cpu_seconds = map(float, line.split())
    assert auroc > 0.9 and normals <= anomalies <= 1.0 and seconds > 0.0 and cpu_seconds > 0.0
