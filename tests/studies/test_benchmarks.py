"""`python -m experiments.benchmarks`: its lines run, and its table says what it should."""

import runpy
import sys

import numpy as np
import pytest

from ad_jax import cli
from experiments.benchmarks import __main__ as command
from experiments.benchmarks import timing
from experiments.benchmarks.timing import OURS, Plan, Row

SECONDS = ("neighbour", "start", "rules")  # that need no training and little compilation


def said(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    command.main()
    return capsys.readouterr().out


def of_module(monkeypatch, capsys, name, *words):
    monkeypatch.setattr(sys, "argv", [name, *words])
    runpy.run_module(f"experiments.benchmarks.{name}", run_name="__main__")
    return capsys.readouterr().out


def test_every_line_is_listed_with_what_it_compares(monkeypatch, capsys):
    lines = said(monkeypatch, capsys).splitlines()
    assert [line.split()[0] for line in lines] == list(command.LINES)
    assert all(len(line.split()) > 6 and line.endswith(".") for line in lines)
    assert said(monkeypatch, capsys, "--list").splitlines() == lines


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in SECONDS else pytest.mark.studies)
        for name in command.LINES
    ],
)
def test_every_line_runs_at_its_smallest(name):
    found = command.module(name).rows(Plan(quick=True))
    assert found
    for row in found:
        assert row.ours is None or (np.isfinite(row.ours).all() and len(row.ours) == 1)
        assert row.other is not None or row.against.startswith("not measured: ")
    assert len(timing.table(found).splitlines()) == 2 + len(found)


def test_the_command_prints_the_load_and_a_table(monkeypatch, capsys):
    out = said(monkeypatch, capsys, "neighbour", "--quick", "--clock", "cpu")
    assert out.count("load over 1, 5 and 15 minutes") == 2
    assert "nearest of 200 patches" in out and "scikit-learn" in out


def test_calls_take_turns_and_the_first_round_is_not_counted():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    ticks = iter(range(100))
    seconds = timing.in_turn(calls, Plan(rounds=2, clock=lambda: next(ticks)))
    assert order == ["a", "b"] * 3
    assert {name: list(own) for name, own in seconds.items()} == {"a": [1, 1], "b": [1, 1]}


def test_a_row_is_held_against_the_fastest_other_and_its_aim():
    seconds = {OURS: np.array([1.0, 3.0, 2.0]), "slow": np.full(3, 9.0), "fast": np.full(3, 2.0)}
    row = timing.against_best("x", 0.9, seconds)
    assert row.against == "fast; slow 9 s"
    np.testing.assert_allclose(row.ratios, [0.5, 1.5, 1.0])
    cells = timing.table([row]).splitlines()[-1].split()
    assert cells[:9] == ["x", "2", "s", "2", "s", "1.00", "0.75", "to", "1.25"]
    assert cells[9:11] == ["0.9", "no"]
    assert timing.table([row._replace(aim=1.0)]).splitlines()[-1].split()[10] == "yes"


def test_what_is_not_there_is_said_and_not_judged():
    alone = timing.against_best("x", 1.0, {OURS: np.ones(1)}, timing.missing("no_such_package"))
    assert alone.against.startswith("not measured: no_such_package is not installed")
    assert timing.table([alone]).splitlines()[-1].split()[3:7] == ["-", "-", "-", "1"]
    limit = timing.against_limit("y", 0.5, np.array([0.25]))
    assert isinstance(limit, Row) and limit.ratios == [0.5] and "0.5 s" in limit.against


def test_record_benchmark(monkeypatch, capsys):
    out = of_module(monkeypatch, capsys, "record", "--members", "40")
    assert "40 members, 10 chunks" in out and "ad-jax merge" in out


@pytest.mark.studies
@pytest.mark.usefixtures("relaxed")
def test_ensemble_benchmark(monkeypatch, capsys, tmp_path):
    source = "digits,normal=3,limit=40,size=32"
    small = "--backbone efficientnet_lite0 --steps 3 --width 8 --seeds 2 --strengths 2"
    families = "--families neighbour/identity,binary/feature_noise"
    words = ["select", source, *small.split(), *families.split(), "--out", str(tmp_path)]
    assert cli.main(words) == 0
    capsys.readouterr()
    out = of_module(monkeypatch, capsys, "ensemble", str(tmp_path))
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert lines["ensemble, 3 kept"][-3] == lines["ensemble, all 3"][-3] == "6"  # trainings
    pick = next(words for name, words in lines.items() if name.startswith("pick, "))
    assert pick[-3] == "2" and all(float(rate) > 0 for rate in pick[-2:])
    assert "loading the ensemble" in out and {"head", "neighbour"} <= set(lines)


def test_a_line_of_a_process_of_its_own_is_stopped_at_its_limit(monkeypatch, capsys):
    whole = said(monkeypatch, capsys, "neighbour", "--quick", "--limit", "100")
    assert "# python -m experiments.benchmarks neighbour --rounds 5" in whole
    assert "nearest of 200 patches" in whole and "before:" not in whole
    cut = said(monkeypatch, capsys, "neighbour", "--quick", "--limit", "0.01")
    assert cut.endswith("--quick\n# not measured: it had not ended after 0.01 s\n")
