"""Tables of studies that train, from rows whose answer is known."""

import numpy as np
import pytest

from ad_jax.base.stats import Estimate
from experiments.studies import (
    bias,
    ensemble_false_positives,
    failures,
    false_positives,
    limited_data,
    shift,
    spread,
    tuning,
)


def test_limited_data_table():
    base = {"task": "t", "held out": 5, "trust": "low", "control": [0.6, 0.8], "pick": "b"}
    auroc = {"a": [0.9, 0.9], "b": [0.8, 0.6], "c": [0.2, 0.2]}
    rows = [{"task": "t", "normals": "5", "refused": "too few"}]
    rows.append({**base, "normals": "20", "auroc": auroc})
    found = limited_data.table(rows)
    assert found.blocks[0] == "t, 5 normals: too few"
    (line,) = found.tables[0].rows
    assert [one.value for one in line[3:7]] == pytest.approx([0.7, 0.9, 0.6, 0.7])
    assert line[7] == pytest.approx(1 / 3) and "0.700 ± 0.141" in str(found)


def test_shift_table():
    auroc = {"a": [0.9], "b": [0.5]}
    rows = [
        {
            "task": "t",
            "shift": how,
            "auroc": one,
            "deployed": "a",
            "picked there": there,
            "found": f,
        }
        for how, one, there, f in (
            ("none", auroc, "a", False),
            ("blur of 1 px", {"a": [0.6], "b": [0.8]}, "b", True),
        )
    ]
    found = shift.table(rows)
    each, means = found.tables
    assert [[one.value for one in row[2:6]] for row in each.rows] == [
        pytest.approx([0.9, 0.9, 0.9, 0.7]),
        pytest.approx([0.6, 0.8, 0.8, 0.7]),
    ]
    assert [row[6] for row in each.rows] == [None, "degrades"]
    assert means.column("fall of the pick")["blur of 1 px"].value == pytest.approx(0.3)
    assert "picking again there changes AUROC by +0.200" in str(found)
    assert found.blocks[-1] == "unshifted halves said to degrade: 0 of 1"


def test_tuning_table():
    def row(seed, best):
        values = dict.fromkeys(tuning.METHODS, 0.5 + 0.1 * seed) | {"grid": best}
        auroc = {name: {"6": value} for name, value in values.items()}
        about = {"default": 0.4, "best by labels": 0.9, "task": "t", "seed": seed}
        return {**about, "auroc": auroc, "starts": ["ok"]}

    found = tuning.table([row(0, 0.7), row(1, 0.9)])
    table = found.tables[0]
    assert table.column("6")["grid"].value == pytest.approx(0.8)
    assert table.column("6")["halving"] == pytest.approx(Estimate(0.55, 0.4793, 0.6207), abs=1e-4)
    assert table.column("6: - random search")["grid"] == "+0.250 [+0.152, +0.348]"
    assert found.blocks[-1] == "starts: {'ok': 2}"


def test_failures_table():
    def row(provoked, *shown):
        signs = {sign: [on, 0.5] for sign, on in zip(failures.SIGNS, shown, strict=True)}
        return {"source": "s", "provoked": provoked, "verdict": "low", "signatures": signs}

    rows = [
        row("healthy", 1, 0, 0, 0),
        row("wrong families", 1, 0, 1, 0),
        row("wide pool", 0, 1, 0, 0),
    ]
    rows.append({"source": "s", "provoked": "tiny budget", "error": "nothing learned"})
    each, summary = failures.table(rows).tables
    assert each.column("poor everywhere") and each.rows[3] == [
        "s",
        "tiny budget",
        None,
        None,
        None,
        "refused",
        "no pick",
    ]
    assert list(summary.rows) == [
        ["poor everywhere", "1 of 1", "1 of 1", "0 of 2"],
        ["large spread over augmentations", "1 of 1", "0 of 1", "0 of 2"],
        ["degrades on the second set", "0 of 0", "0 of 1", "1 of 3"],
        ["search beyond its budget", "1 of 1", "0 of 1", "0 of 2"],
    ]


def test_false_positives_table():
    rates = {way: [None, 0.02 + i / 10, 0.2] for i, way in enumerate(false_positives.WAYS)}
    rows = [{"task": "t", "rates": rates, "held_out": 9, "fresh": 50} for _ in range(2)]
    rows.append({"task": "t", "lost": "nothing learned"})
    found = false_positives.table(rows)
    assert found.blocks[0] == "t: 1 of 3 splits learned nothing and are left out"
    assert list(found.tables[0].rows[1]) == [
        *("t: mean", 2, 9, "", "0.120 [0.120, 0.120]", "0.200 [0.200, 0.200]")
    ]
    one_lost = false_positives.realised([0.1, None])
    assert one_lost == "0.100 [0.100, 0.100], 1 splits"


@pytest.mark.parametrize("photographs", [1, 5])
def test_an_object_is_given_or_of_the_target_or_measures(photographs):
    owner = np.repeat(np.arange(120), photographs)
    total = min(len(owner), ensemble_false_positives.MOST)
    sides = [ensemble_false_positives.parts(owner, split) for split in range(5)]
    for given, seen, measured in sides:
        assert len(given) == int(0.6 * total) and len(seen) == int(0.2 * total)
        assert len(measured) > 0.2 * total - 2 * photographs
        objects = [set(owner[rows]) for rows in (given, seen, measured)]
        assert len(set.union(*objects)) == sum(map(len, objects))
        assert len({*given, *seen, *measured}) == len(given) + len(seen) + len(measured)
    assert set(sides[0][0]) != set(sides[1][0])


def test_spread_lines():
    deep = {"base": {"base": [0.6, 0.8]}, "area": {"0.02": [0.5, 0.5], "0.64": [0.9, 0.9]}}
    row = {"task": "t", "deep": deep, "shallow": {"knn": {"1": 0.5, "5": 0.7}}}
    lines = {line[1]: line[2:] for line in spread.lines_of(row)}
    assert lines["seed"] == [2, 0.6, 0.8, pytest.approx(0.1 * 2**0.5)]
    assert lines["area"] == [3, 0.5, 0.9, pytest.approx(np.std([0.5, 0.9, 0.7]))]
    assert lines["knn: its hyperparameter"] == [2, 0.5, 0.7, pytest.approx(0.1)]
    assert lines["shallow detector"] == [1, 0.6, 0.6, 0.0]


def test_bias_table():
    found = {
        "unsupervised": {"shirt": [0.1], "bag": [0.5]},
        **{
            f"{name}, {head}": {"shirt": [0.7], "bag": [0.5 if head == "density" else 0.4]}
            for name in bias.TRAINED_ON
            for head in ("density", "log-odds")
        },
    }
    result = bias.table([{"tpr": found}])
    table = result.tables[0]
    assert table.column("on shirt, log-odds") == {"shirt": "0.70 (+)", "bag": "0.40 (-)"}
    assert table.column("on sneaker, density")["bag"] == "0.50 (=)"
    assert table.column("published, on sneaker")["bag"] == "0.49 -> 0.80 (+)"
