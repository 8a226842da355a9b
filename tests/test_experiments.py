"""The experiments' commands on their smallest settings: they run and say what they promise."""

import os
import runpy
import sys
from pathlib import Path

import pytest

from ad_jax import cli
from ad_jax.report.catalogue import page
from ad_jax.runs import plan, run

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"


pytestmark = pytest.mark.usefixtures("relaxed")


def command(monkeypatch, script, *arguments):
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(EXPERIMENTS / script), run_name="__main__")


def drawn(monkeypatch, folder, script, *arguments):
    """Runs a study with a picture."""
    picture = folder / "pictures" / f"{Path(script).stem}.png"
    command(monkeypatch, script, *arguments, "--picture", picture)
    assert picture.stat().st_size > 10_000


def test_the_catalogue_page_is_in_step():
    assert (ROOT / "docs" / "catalogue.md").read_text() == page("catalogue.png")


def test_every_study_is_reproduced_by_one_command(monkeypatch, capsys):
    command(monkeypatch, "reproduce.py", "all", "--report", "--dry-run")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(set(lines))
    for line in lines:
        program, *arguments = line.split()
        if program == "ad-jax":
            assert cli.parser().parse_args(arguments).out
            continue
        assert (ROOT / arguments[0]).is_file()
        with pytest.raises(SystemExit) as refused:  # it knows its options, and no other
            command(monkeypatch, arguments[0].removeprefix("experiments/"), *arguments[1:], "--x")
        assert refused.value.code == 2
        assert capsys.readouterr().err.endswith("error: unrecognized arguments: --x\n")


def test_planted_study(monkeypatch, tmp_path, capsys):
    config = f"{EXPERIMENTS / 'configs' / 'planted.py'}:smoke"
    assert cli.main(["select", "--config", config, "--width", "8", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    runs = sorted(path for path in tmp_path.iterdir() if path.name != "record")
    command(monkeypatch, "studies/planted.py", *runs)
    said = capsys.readouterr().out
    assert "2 problems" in said and "tail_and_auroc" in said and "labels (AUROC)" in said


def test_halving_study(monkeypatch, tmp_path, capsys):
    base = ["select", "digits,normal=3,limit=60", "--steps", "9", "--width", "8", "--seeds", "1"]
    for name, extra in (("full", []), ("halved", ["--search", "halving"])):
        out = str(tmp_path / name / "digits")
        assert cli.main([*base, "--areas", ".05,.2", "--out", out, *extra]) == 0
    capsys.readouterr()
    command(monkeypatch, "studies/halving.py", tmp_path / "full", tmp_path / "halved")
    said = capsys.readouterr().out
    assert "1 tasks of 1 training sets" in said and "share of the member-steps: 0." in said
    assert cli.main(["audit", str(tmp_path / "halved")]) == 0
    said = capsys.readouterr().out
    assert "0 of them learned nothing" in said and "settings tried were stopped early" in said


def test_a_halved_run_read_back_is_judged_as_it_was(tmp_path, capsys):
    """Stopped members are found in the record at the stage they reached."""
    out = tmp_path / "run"
    small = ["--steps", "9", "--width", "8", "--seeds", "2", "--areas", ".05,.2"]
    source = "digits,normal=3,limit=60"
    assert cli.main(["select", source, *small, "--search", "halving", "--out", str(out)]) == 0
    assert "learned nothing" not in capsys.readouterr().err
    one = run.read(out)
    again = plan.judged_anew(out, one)
    assert one.pool.stopped and again.pool.parts is not None
    assert again.pick == one.pick and again.trust["reasons"] == tuple(one.trust["reasons"])
    assert again.losses[one.rule] == pytest.approx(one.losses[one.rule])
    moved = plan.judged_anew(out, one._replace(pick=one.pool.stopped[0], pick_scores=None))
    assert moved.pick_scores == pytest.approx(one.pick_scores, rel=1e-4)  # as its detector says


def test_halved_trust_study(monkeypatch, capsys):
    command(monkeypatch, "studies/halved_trust.py", "--smoke")
    said = capsys.readouterr().out
    assert "Verdicts on 4 equally good settings" in said and "stage to stage" in said
    rows = [line.split() for line in said.splitlines() if line.startswith("halving")]
    assert rows == [["halving", "0", *rows[0][2:]]]  # never highly trusted


def test_recovery_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/recovery.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "cutdiff on digits" in said and "found (of the starts" in said


def test_rules_benchmark(monkeypatch, capsys):
    command(monkeypatch, "benchmarks/rules.py", "--quick")
    said = capsys.readouterr().out
    assert "model_centrality" in said and "scikit-learn" in said and "peak memory" in said


def test_record_benchmark(monkeypatch, capsys):
    command(monkeypatch, "benchmarks/record.py", "--members", "40")
    said = capsys.readouterr().out
    assert "40 members, 10 chunks" in said and "ad-jax merge" in said


def test_pyod_study(monkeypatch, capsys):
    pytest.importorskip("pyod")
    command(monkeypatch, "studies/pyod_pool.py", "--smoke")
    said = capsys.readouterr().out
    assert "auroc_held_out" in said and "expected random" in said


def test_pyod_study_says_what_it_needs(monkeypatch):
    for name in ("pyod", "pyod.models.ecod"):  # the latter may be loaded already
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit, match="pip install"):
        command(monkeypatch, "studies/pyod_pool.py", "--smoke")


def test_studies_say_what_is_missing(monkeypatch, tmp_path):
    for arguments in (("studies/planted.py", tmp_path), ("studies/halving.py", tmp_path, tmp_path)):
        with pytest.raises(SystemExit, match="no run"):
            command(monkeypatch, *arguments)


def test_worth_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/worth.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    for name in ("random search", "second order, by the rule", "hard kernel, tuned", "halving"):
        assert name in said
    assert len(list(tmp_path.glob("planted-1-0.json"))) == 1


def test_stress_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/stress.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "10 %, 5 % of the normals are not" in said and "outer loss fell" in said


def test_rules_study(monkeypatch, tmp_path, capsys):
    config = f"{EXPERIMENTS / 'configs' / 'shelf.py'}:smoke"
    assert cli.main(["select", "--config", config, "--width", "8", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    command(monkeypatch, "studies/rules.py", tmp_path)
    said = capsys.readouterr().out
    assert "semantic, across families" in said and "label pick" in said and "verdict" in said
    command(monkeypatch, "studies/sensitivity.py", tmp_path)
    said = capsys.readouterr().out
    assert "four draws" in said and "0.25 of the target" in said and "stage 1" in said
    drawn(monkeypatch, tmp_path, "studies/geometric_vs_local.py", tmp_path)
    said = capsys.readouterr().out
    assert "best mean" in said and "local - geometric" in said and "alignment, AUROC" in said
    drawn(monkeypatch, tmp_path, "studies/selection.py", tmp_path)
    said = capsys.readouterr().out
    assert "semantic, within families" in said and "disjoint" in said
    drawn(monkeypatch, tmp_path, "studies/another_product.py", tmp_path)
    assert "its own pick" in capsys.readouterr().out
    drawn(monkeypatch, tmp_path, "studies/contamination.py", tmp_path)
    said = capsys.readouterr().out
    assert "semantic: gain" in said and "the null stands" in said
    config = f"{EXPERIMENTS / 'configs' / 'geometric_vs_local.py'}:smoke"
    assert cli.main(["select", "--config", config, "--dry-run"]) == 0


def test_tuning_study(monkeypatch, tmp_path, capsys):
    drawn(monkeypatch, tmp_path, "studies/tuning.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "gradient, lowest loss" in said and "best by labels" in said
    command(monkeypatch, "studies/tuning.py", "--out", tmp_path, "--smoke", "--report")
    assert capsys.readouterr().out in said  # from what was kept


def test_failures_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/failures.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "degrades on the second set" in said and "on healthy pools" in said


def test_false_positives_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/false_positives.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "digits: score" in said and "asked 0.05" in said
    assert len(list(tmp_path.glob("digits-*.json"))) == 2
    command(monkeypatch, "studies/false_positives.py", "--out", tmp_path, "--smoke")
    assert capsys.readouterr().out == said  # from what was kept


def test_localise_study(monkeypatch, tmp_path, capsys):
    source = "textures:brick-defect,size=16"
    command(monkeypatch, "studies/localise.py", source, "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    for name in ("whole: trained, neighbour", "whole: untrained, position", "raw pixels"):
        assert name in said
    assert "AUPRO" in said and "defects" in said
    assert (tmp_path / "strangest.png").is_file() and (tmp_path / "rows.json").is_file()


def test_spread_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/spread.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "learning rate" in said and "shallow detector" in said and "seed" in said


@pytest.mark.processes
@pytest.mark.slow
def test_parity_study(monkeypatch, tmp_path, capsys):
    command(monkeypatch, "studies/parity.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith(("two", "four", "eight"))]
    assert len(rows) % 6 == 0 and rows  # an area that learned nothing has none
    assert all("equal" in row for row in rows if not row.startswith("eight"))


def test_shift_study(monkeypatch, tmp_path, capsys):
    drawn(monkeypatch, tmp_path, "studies/shift.py", "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    assert "blur of 1 px" in said and "unshifted halves said to degrade" in said


def test_limited_data_study(monkeypatch, tmp_path, capsys):
    """It also stands for all: its tables come again from its rows, and from half of the record."""

    def table():
        drawn(monkeypatch, tmp_path, "studies/limited_data.py", "--out", tmp_path, "--smoke")
        return capsys.readouterr().out

    first = table()
    assert "digit 3, 5 normals: " in first and "trust" in first and table() == first
    for rows in tmp_path.glob("*.json"):
        rows.unlink()
    chunks = sorted((tmp_path / "record").rglob("*.safetensors"))
    assert len(chunks) > 1
    for chunk in chunks[::2]:
        chunk.unlink()
    assert table() == first


def test_contaminated_training_study(monkeypatch, tmp_path, capsys):
    study = "studies/contaminated_training.py"
    drawn(monkeypatch, tmp_path, study, "--out", tmp_path, "--smoke")
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines() if line.startswith("digit 3")]
    assert [line[2] for line in lines] == ["0%", "10%"] and int(lines[1][3]) > int(lines[0][3])


def test_published_study(monkeypatch, tmp_path, capsys):
    config = f"{EXPERIMENTS / 'configs' / 'published.py'}:smoke"
    assert cli.main(["select", "--config", config, "--width", "8", "--out", str(tmp_path)]) == 0
    drawn(monkeypatch, tmp_path, "studies/published.py", tmp_path)
    said = capsys.readouterr().out
    assert "cutpaste, 3 areas" in said and "0.884" in said and "oracle" in said


@pytest.mark.skipif("AD_JAX_DATA" not in os.environ, reason="needs Fashion-MNIST in AD_JAX_DATA")
def test_bias_study(monkeypatch, tmp_path, capsys):
    run = str(tmp_path / "run")
    source = "fashion_mnist.npz,normal=0,limit=100,size=16"
    small = ["--steps", "9", "--width", "8", "--seeds", "1", "--families", "binary/cutpaste"]
    assert cli.main(["select", source, *small, "--areas", ".05", "--out", run]) == 0
    drawn(monkeypatch, tmp_path, "studies/bias.py", "--out", tmp_path, "--smoke", "--runs", run)
    said = capsys.readouterr().out
    assert "on shirt, log-odds" in said and "binary/cutpaste" in said and "Ankle boot" in said
