"""Studies that train, on their smallest variants."""

import json
import os
import sys

import pytest

from ad_jax import cli
from ad_jax.base.errors import InputError
from experiments.studies import (
    STUDIES,
    bias,
    false_positives,
    tuning,
    tuning_by_mixture,
)
from experiments.study import Options

pytestmark = [pytest.mark.usefixtures("relaxed"), pytest.mark.studies]


def smoke(name, out, **options):
    """The smallest variant of a study."""
    return STUDIES[name].result(Options(out, smoke=True, **options))


def drawn(found, path):
    found.picture(path)
    assert path.stat().st_size > 10_000


def test_limited_data_study(tmp_path):
    """It also stands for all: its tables come again from its rows, and from half of the record."""
    first = smoke("limited_data", tmp_path)
    few, line = first.tables[0].rows
    assert few[:3] == ["digit 3", "5", 1]
    assert line[:2] == ["digit 3", "20"] and line[3].value <= line[4].value  # at most the oracle
    assert str(smoke("limited_data", tmp_path)) == str(first)
    drawn(first, tmp_path / "limited_data.png")
    for rows in tmp_path.glob("*.json"):
        rows.unlink()
    chunks = sorted((tmp_path / "record").rglob("*.safetensors"))
    assert len(chunks) > 1
    for chunk in chunks[::2]:
        chunk.unlink()
    assert str(smoke("limited_data", tmp_path)) == str(first)


def test_contaminated_training_study(tmp_path):
    found = smoke("contaminated_training", tmp_path)
    first, second = found.tables[0].rows
    assert [first[1], second[1]] == ["0%", "10%"] and second[2] > first[2]
    drawn(found, tmp_path / "contaminated_training.png")


def test_shift_study(tmp_path):
    found = smoke("shift", tmp_path)
    each, means = found.tables
    assert [row[1] for row in each.rows][:2] == ["none", "70 % of the light"]
    assert all(row[2].value <= row[4].value for row in each.rows)  # the oracle's is the highest
    assert means.rows[0][0] == "none" and means.column("fall of the pick")["none"].value == 0.0
    drawn(found, tmp_path / "shift.png")


def test_tuning_study(tmp_path):
    found = smoke("tuning", tmp_path)
    table = found.tables[0]
    assert table.header == ["", "2", "2: - random search"]
    assert set(table.column("2")) == set(tuning.METHODS)
    drawn(found, tmp_path / "tuning.png")


def test_worth_study(tmp_path):
    table = smoke("worth", tmp_path).tables[0]
    rows = {row[0]: row for row in table.rows}
    assert {"second order, by the rule", "hard kernel, tuned", "first order"} <= set(rows)
    assert rows["random search"][2] <= rows["random, best by labels"][2]
    apart = rows["halving"][2] - rows["default"][2]
    assert rows["halving"][3].value == pytest.approx(apart) and rows["halving"][5] == ""
    assert (tmp_path / "planted-1-0.json").is_file()


def test_stress_study(tmp_path):
    found = smoke("stress", tmp_path)
    ((case, default, tuned, _, apart, *_),) = found.tables[0].rows
    assert case == "10 %, 5 % of the normals are not"
    assert apart.value == pytest.approx(tuned - default)


def test_recovery_study(tmp_path):
    found = smoke("recovery", tmp_path)
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == ["cutdiff on digits"] * 4
    assert {(row[1], row[6]) for row in rows} == {("area", 0.1), ("strength", 0.7)}
    assert "found (of the starts" in found.blocks[-1]


def test_failures_study(tmp_path):
    each, summary = smoke("failures", tmp_path).tables
    assert [row[1] for row in each.rows] == ["healthy", "shifted second set"]
    assert summary.column("on healthy pools")["poor everywhere"].endswith("of 1")


def test_false_positives_study(tmp_path):
    found = smoke("false_positives", tmp_path)
    assert [row[:2] for row in found.tables[0].rows] == [
        [f"digits: {way}", 2] for way in false_positives.WAYS
    ]
    assert len(list(tmp_path.glob("digits-*.json"))) == 2
    assert str(smoke("false_positives", tmp_path)) == str(found)  # from what was kept


def test_ensemble_false_positives_study(tmp_path):
    found = smoke("ensemble_false_positives", tmp_path)
    names = [row[0].removeprefix("digit 3: ") for row in found.tables[0].rows]
    ways = false_positives.WAYS
    for name in ("ensemble", "pick", "default"):
        assert {f"{name}, {way}" for way in ways} <= set(names)
    assert len(names) == 3 * len(ways) + 3 and "ensemble, score, its target" in names
    assert all(row[1:3] == [2, 60] for row in found.tables[0].rows)
    rows = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("digit 3-*.json"))]
    assert [row["fresh"] for row in rows] == [20, 20] and rows[0]["rates"] != rows[1]["rates"]
    for row in rows:
        for rates in row["rates"].values():
            known = [rate for rate in rates if rate is not None]
            assert known == sorted(known) and all(0.0 <= rate <= 1.0 for rate in known)
        assert row["rates"]["ensemble, score"][0] is None  # 60 normals attain .05, not .01
        assert row["rates"]["ensemble, score"][1] is not None
    assert str(smoke("ensemble_false_positives", tmp_path)) == str(found)


def test_spread_study(tmp_path):
    lines = {row[1]: row for row in smoke("spread", tmp_path).tables[0].rows}
    assert {"seed", "learning rate", "network", "shallow detector"} <= set(lines)
    assert all(low <= high for _, _, _, low, high, _ in lines.values())


def test_localise_study(tmp_path):
    found = smoke("localise", tmp_path)
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    for name in ("whole: trained, neighbour", "whole: untrained, position"):
        assert all(0.0 <= float(cell) <= 1.0 for cell in rows[name])
    assert rows["whole: raw pixels, position"][0] != "-" and "defects" in found.blocks[-1]
    assert rows["whole: trained, pooled"][2:] == ["-", "-", "-"]  # no heatmap
    assert (tmp_path / "strangest.png").is_file() and (tmp_path / "rows.json").is_file()


def test_frozen_study(tmp_path):
    each, precision, means, pixels, cost = smoke("frozen", tmp_path).tables
    (row,) = each.rows
    assert precision.header == each.header and pixels.rows == []  # digits have no masks
    assert row[:2] == ["digit 3", 32] and len(row) == len(each.header)
    pick, oracle, member = (
        row[each.header.index(c)].value for c in ("pick", "oracle", "mean member")
    )
    assert pick <= oracle and member <= oracle
    assert means.column("32 px").keys() >= {"patch nearest neighbour", "from scratch"}
    assert cost.rows[0][-1] >= 0


def test_few_normals_study(tmp_path):
    (found,) = smoke("few_normals", tmp_path).tables
    assert [row[:2] for row in found.rows] == [["digit 3", 1], ["digit 3", 3]]
    for row in found.rows:
        assert all(0.0 <= cell.value <= 1.0 for cell in row[2:6])
        assert row[6].value == pytest.approx(row[4].value - row[2].value)


def test_transductive_study(tmp_path):
    """Half of the target anomalous, and three quarters: digits of other kinds are told apart."""
    (found,) = smoke("transductive", tmp_path).tables
    assert found.header == ["set", "50%", "75%"]
    assert all(0.0 <= cell.value <= 1.0 for cell in found.rows[0][1:])


def test_halved_trust_study(tmp_path):
    verdicts, null = smoke("halved_trust", tmp_path).tables
    assert verdicts.column("high")["halving"] == 0  # never highly trusted
    assert sum(verdicts.rows[0][1:]) == 2 and null.header[2] == "stage to stage"


def test_pyod_study(tmp_path):
    pytest.importorskip("pyod")
    summary = smoke("pyod_pool", tmp_path).tables[0]
    picks = summary.column("AUROC of its pick")
    assert "auroc_held_out" in picks and all(0.0 <= value <= 1.0 for value in picks.values())


def test_pyod_on_tables_study(tmp_path):
    pytest.importorskip("pyod")
    auroc, precision = smoke("pyod_tables", tmp_path).tables
    assert list(auroc.column("wine")) == ["ECOD", "LOF"] == list(precision.column("wine"))
    assert all(0.5 < value <= 1.0 for value in auroc.column("wine").values())


@pytest.mark.parametrize("name", ["pyod_pool", "pyod_tables"])
def test_pyod_study_says_what_it_needs(monkeypatch, tmp_path, name):
    for module in ("pyod", "pyod.models.ecod"):  # the latter may be loaded already
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="pip install"):
        smoke(name, tmp_path)


@pytest.mark.skipif("AD_JAX_DATA" not in os.environ, reason="needs Fashion-MNIST in AD_JAX_DATA")
def test_bias_study(tmp_path):
    out = tmp_path / "run"
    source = "fashion_mnist.npz,normal=0,limit=100,size=16"
    small = ["--steps", "9", "--width", "8", "--seeds", "1", "--families", "binary/cutpaste"]
    assert cli.main(["select", source, *small, "--areas", ".05", "--out", str(out)]) == 0
    found = smoke("bias", tmp_path, runs=[out])
    by_class, families = found.tables
    assert set(by_class.column("unsupervised")) == set(bias.CLASSES)
    assert "on shirt, log-odds" in by_class.header and "Ankle boot" in families.header
    assert families.rows[1][0] == "binary/cutpaste"
    drawn(found, tmp_path / "bias.png")


def test_tuning_on_features_study(tmp_path):
    found = smoke("tuning_on_features", tmp_path)
    (table,) = found.tables
    names = table.column("digit 3")
    assert {"channels, held", "channels, free", "ceiling of channels (labels)", "direct"} <= set(
        names
    )
    apart = names["channels, held"] - names["same steps"]
    assert table.column("- same steps")["channels, held"].value == pytest.approx(apart)
    drawn(found, tmp_path / "tuning.png")
    assert str(smoke("tuning_on_features", tmp_path)) == str(found)  # from what was kept


def test_tuning_by_mixture_study(tmp_path):
    found = smoke("tuning_by_mixture", tmp_path)
    (one,) = found.tables
    names = one.column("digit 3")
    tuned, untuned = tuning_by_mixture.TUNED, tuning_by_mixture.UNTUNED
    assert {tuned, untuned, tuning_by_mixture.POOLED, tuning_by_mixture.PAIR} == set(names)
    assert one.column(f"- {untuned}")[tuned].value == pytest.approx(names[tuned] - names[untuned])
    drawn(found, tmp_path / "mixture.png")


def test_recovery_on_features_study(tmp_path):
    found = smoke("recovery_on_features", tmp_path)
    rows = {row[0]: row for row in found.tables[0].rows}
    assert set(rows) == {"channels", "direction", "level"}
    assert 0 <= rows["channels"][5].value <= 10 and -1 <= rows["direction"][6].value <= 1
    assert 0.05 <= rows["level"][7].value <= 5.0
    drawn(found, tmp_path / "recovery.png")


def test_recovery_of_series_study(tmp_path):
    found = smoke("recovery_of_series", tmp_path)
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == ["mean_shift"] and rows[0][1:4] == [
        "50%",
        "sinkhorn",
        "unrolled",
    ]
    (kept,) = tmp_path.glob("*.json")
    starts = json.loads(kept.read_text())
    assert [one["start"] for one in starts] == pytest.approx([0.2, 0.6])  # shares .05 and .15
    near = sum(abs(one["end"] - 2.0) <= 0.3 for one in starts)
    assert rows[0][5:8] == [2.0, 2, near] and rows[0][8] == 0
    drawn(found, tmp_path / "series.png")
