"""CSV files: cells that a spreadsheet would run are guarded, and come back as they were."""

import ast
import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_run import write

from ad_jax import cli
from ad_jax.cli.detector import Row, _writer
from ad_jax.pool import Pool
from ad_jax.pool import external as foreign
from ad_jax.report import shelf
from ad_jax.runs import run
from ad_jax.store import tables

PACKAGE = Path(tables.__file__).parent.parent
FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\tx", "\r\nx", "'=1", "''=1", "=cmd|' /C calc'!A0"]
PLAIN = ["a.png", "it's", "'quoted'", "-1.5", "+3", "-inf", "1e-3", "a=b", "a-b", "", " x", "ö,;"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_guarded_and_come_back(text):
    assert tables.guarded(text) == f"'{text}" and tables.unguarded(f"'{text}") == text


@pytest.mark.parametrize("cell", [*PLAIN, -1.5, np.float32(-2), -3, None, float("-inf")])
def test_numbers_and_plain_text_stay_as_they_are(cell):
    assert tables.guarded(cell) is cell
    if isinstance(cell, str):
        assert tables.unguarded(cell) == cell


@given(st.text(alphabet="'=+-@\t1.e xö", max_size=6))
def test_every_text_comes_back_and_none_begins_a_formula(text):
    cell = tables.guarded(text)
    assert tables.unguarded(cell) == text
    assert tables.is_number(cell) or not cell.startswith(tables.FORMULA)


def test_tables_are_read_back_as_written(tmp_path):
    path, names = tmp_path / "t.csv", [*FORMULAS, *PLAIN]
    rows = [[str(i), name] for i, name in enumerate(names)]
    path.write_bytes(tables.written(["row", "=name"], rows).encode())
    assert [cells for _, cells in tables.rows(path)] == [["row", "=name"], *rows]
    assert tables.records(path) == [{"row": a, "=name": b} for a, b in rows]


def test_old_files_are_read_as_they_stand(tmp_path):
    """Files of earlier versions have no guards."""
    path = tmp_path / "samples.csv"
    path.write_text("row,name\n0,=a.png\n1,-b.png\n")
    assert run.sample_names(tmp_path) == ["=a.png", "-b.png"]


def test_only_one_file_writes_csv():
    """A second one reads it, block by block: tables of people, which may be large."""
    reads = PACKAGE / "data" / "frame.py"
    assert "csv.writer" not in reads.read_text()
    for path in PACKAGE.rglob("*.py"):
        imported = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert ("csv" in imported) == (path in (Path(tables.__file__), reads)), path


def test_labels_join_a_run_whose_names_are_formulas(tmp_path, capsys):
    folder, path = tmp_path / "run", tmp_path / "labels.csv"
    labels = write(folder)
    names = [f"{'=+-@'[i % 4]}{i}.png" for i in range(len(labels))]
    written = tables.written(["row", "name"], enumerate(names))
    (folder / "samples.csv").write_text(written, newline="")
    assert not any(
        cells[1].startswith(tables.FORMULA) for cells in csv.reader(io.StringIO(written))
    )
    said = []
    for copy in (tables.guarded, str):  # names as in samples.csv, and as the files are called
        lines = [f"{copy(name)},{label}" for name, label in zip(names, labels)]
        path.write_text("\n".join(["name,label", *lines]))
        assert cli.main(["audit", str(folder), "--json", "--labels", str(path)]) == 0
        said.append(capsys.readouterr().out.split('"log"')[0])
    assert said[0] == said[1]


def test_rules_and_losses_and_scores_hold_no_formula(tmp_path):
    scores = np.random.default_rng(0).normal(size=(3, 30))
    settings = ["=HYPERLINK(A1)", "+knn", "-1"]
    pool = Pool.from_scores(scores, settings)
    shelf.write(tmp_path, pool, shelf.shelf(pool))
    out = io.StringIO(newline="")
    _writer(out, False)(Row("-dir/=a.png", -1.5, 0.5), False)
    text = [out.getvalue(), *((tmp_path / f"{n}.csv").read_text() for n in ("rules", "losses"))]
    for table in text:
        for cells in csv.reader(io.StringIO(table)):
            for cell in cells:
                assert tables.is_number(cell) or not cell.startswith(tables.FORMULA)
    assert "-1.5" in text[0] and "'-dir/=a.png" in text[0]
    found = [row["setting"] for row in tables.records(tmp_path / "losses.csv")]
    assert found == [s.label for s in pool.settings] == settings
    assert foreign.sample_names(tmp_path / "rules.csv") == ["rule", "pick", "loss", "tied"]
