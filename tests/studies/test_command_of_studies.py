"""The command `python -m experiments`: what it does, writes and refuses; the scripts beside it."""

import shlex
import sys
from pathlib import Path

import pytest

from ad_jax import cli
from ad_jax.base.errors import InputError
from ad_jax.report.catalogue import page
from experiments import __main__ as command
from experiments.result import Result, Table
from experiments.studies import (
    STUDIES,
)
from experiments.study import Axis, Options, grid

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"


def said(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["experiments", *map(str, words)])
    command.main()
    return capsys.readouterr().out


def test_the_catalogue_page_is_in_step():
    assert (ROOT / "docs" / "catalogue.md").read_text() == page()


def test_every_study_is_one_command(monkeypatch, capsys):
    lines = said(monkeypatch, capsys, "all", "--report", "--dry-run").splitlines()
    assert len(lines) == len(set(lines))
    own = [line for line in lines if line.startswith(command.PROGRAM)]
    for line in set(lines) - set(own):
        assert line.startswith("ad-jax ") and cli.parser().parse_args(line.split()[1:]).out
    assert {line.split()[3] for line in own} == set(STUDIES)
    for name, study in STUDIES.items():
        for words in study.tables:
            given = command.parser().parse_args([name, *shlex.split(words)])
            assert set(command.only(study.axes, given.only or ())) <= set(study.axes)


def test_results_name_the_commands_that_make_them():
    """Every committed table of a study stands below a command that its parser takes."""
    named = set()
    for path in RESULTS.glob("*.txt"):
        for line in path.read_text().splitlines():
            if line.startswith(f"# {command.PROGRAM} "):
                words = shlex.split(line.partition("  ")[0].removeprefix("# "))[3:]
                given = command.parser().parse_args(words)
                command.only(STUDIES[given.names[0]].axes, given.only or ())
                assert given.names == [path.stem]
                named.add(path.stem)
    assert named == set(STUDIES)


def toy(tmp_path):
    made = []

    def make(size, seed, options):
        made.append((size, seed))
        return {"size": size, "seed": seed, "value": 10 * size + seed, "small": options.smoke}

    def table(rows):
        values = [[f"{r['size']}-{r['seed']}", r["value"]] for r in rows]
        return Result([Table(["case", "value"], values)], lambda path: path.write_text("drawn"))

    axes = {"size": Axis((1, 2), others=None), "seed": Axis((0, 1), (1,))}
    return grid(axes, make, table, tables=("", "--only size=2")), made


def test_a_grid_keeps_its_rows(tmp_path):
    study, made = toy(tmp_path)
    first = study.result(Options(tmp_path, only={"size": [2]}))
    assert first.tables[0].column("value") == {"2-0": 20, "2-1": 21} and made == [(2, 0), (2, 1)]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["2-0.json", "2-1.json"]
    assert str(study.result(Options(tmp_path, tables=True))) == str(first)  # what is there
    whole = study.result(Options(tmp_path))
    assert list(whole.tables[0].column("value").values()) == [10, 11, 20, 21] and len(made) == 4
    small = study.result(Options(tmp_path / "small", smoke=True))
    assert small.tables[0].column("value") == {"1-1": 11}
    with pytest.raises(InputError, match="no rows"):
        study.result(Options(tmp_path / "nothing", tables=True))


def test_a_study_as_it_stands_writes_its_results(monkeypatch, capsys, tmp_path):
    study, made = toy(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "STUDIES", {"rules": study})
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    out = said(monkeypatch, capsys, "rules")
    text = (tmp_path / "results" / "rules.txt").read_text()
    assert text == out and text.startswith("# python -m experiments rules\n\ncase  value\n")
    assert "\n\n# python -m experiments rules --only size=2\n\n" in text
    assert (tmp_path / "results" / "rules.png").read_text() == "drawn"
    before = len(made)
    other = said(monkeypatch, capsys, "rules", "--only", "size=3", "--picture", tmp_path / "x.png")
    assert "3-0" in other and len(made) == before + 2 and (tmp_path / "x.png").is_file()
    assert (tmp_path / "results" / "rules.txt").read_text() == text


def test_wrong_axes_are_one_line():
    axes = {"size": Axis((1, 2)), "steps": Axis((800,), others=None)}
    assert command.only(axes, ["size=2", "steps=9", "steps=8"]) == {"size": [2], "steps": [9, 8]}
    for word, text in (
        ("depth=1", "--only depth=1: no axis 'depth'; known: size, steps"),
        ("size=3", "--only size=3: no value '3'; known: 1, 2"),
        ("steps=few", "--only steps=few: no value 'few'; known: 800"),
    ):
        with pytest.raises(InputError) as refused:
            command.only(axes, [word])
        assert str(refused.value) == text


@pytest.mark.parametrize(
    "name, only",
    [
        ("worth", {}),
        (
            "worth",
            {
                "task": ["planted", "cookie"],
                "space": ["4"],
                "ways": ["density-transport-dsv-late-refine"],
            },
        ),
        ("stress", {}),
        ("recovery", {"problem": [1]}),
        ("recovery", {"problem": [3, 5]}),
        ("recovery", {"problem": [0, 2, 4]}),
        ("recovery", {"problem": [1], "outer": ["held_out_density"]}),
    ],
)
def test_committed_tables_come_again_from_committed_rows(name, only):
    found = STUDIES[name].result(Options(RESULTS / name, only=only, tables=True))
    assert str(found) in (RESULTS / f"{name}.txt").read_text()
