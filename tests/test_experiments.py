"""The experiments: what they compute where the answer is known, and their smallest variants."""

import dataclasses
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ad_jax import cli
from ad_jax.base.errors import InputError
from ad_jax.base.stats import Estimate
from ad_jax.pool import Member, Pool
from ad_jax.report.catalogue import page
from ad_jax.runs import plan, run
from ad_jax.selection import rules, search
from experiments import __main__ as command
from experiments.result import Result, Table
from experiments.studies import (
    STUDIES,
    another_product,
    bias,
    contamination,
    failures,
    false_positives,
    geometric_vs_local,
    limited_data,
    planted,
    published,
    selection,
    shift,
    spread,
    tuning,
)
from experiments.study import Axis, Options, grid
from experiments.tasks import Task, Won, counted, gains, kind_of

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "experiments" / "configs"
RESULTS = ROOT / "experiments" / "results"

pytestmark = pytest.mark.usefixtures("relaxed")


def smoke(name, out, **options):
    """The smallest variant of a study."""
    return STUDIES[name].result(Options(out, smoke=True, **options))


def drawn(found, path):
    found.picture(path)
    assert path.stat().st_size > 10_000


def said(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["experiments", *map(str, words)])
    command.main()
    return capsys.readouterr().out


def test_the_catalogue_page_is_in_step():
    assert (ROOT / "docs" / "catalogue.md").read_text() == page("catalogue.png")


# The command


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


# Studies of runs, on pools whose answer is known

GOOD, NOISE, BAD = (search.setting("binary", "cutpaste", area=area) for area in (0.04, 0.08, 0.16))
AUROC = {GOOD.key: 1.0, NOISE.key: 0.5, BAD.key: 0.0}  # a third of the expected gain each way


class Planted(Task):
    """A task whose pool is given."""

    def whole_pool(self):
        return self.run.pool


def task(name="planted", kind="defects", group="a", order=(GOOD, NOISE, BAD), losses=None):
    """Of three settings the first sees the anomalies, the second nothing, the third inverts them.

    Normals of held-out and target are alike; the training loss is lowest for the last.
    """
    anomalous = np.arange(80) % 4 == 0
    normals, held_out = np.linspace(0, 1, 60), np.linspace(0, 1, 41)
    target = np.zeros((3, 80))
    target[:, ~anomalous] = normals
    target[:, anomalous] = np.array([3.0, 0.5, -3.0])[:, None] + np.linspace(-0.45, 0.45, 20)
    members = tuple(
        Member(setting, 0, "ok", loss, 0.9, 1.0)
        for setting, loss in zip(order, (0.3, 0.2, 0.1), strict=True)
    )
    pool = Pool(
        members,
        target[:, None].astype(np.float32),
        np.tile(held_out, (3, 1))[:, None].astype(np.float32),
        default_head=np.zeros(3, int),
    )
    found = SimpleNamespace(pool=pool, losses=losses or {})
    return Planted(name, kind, group, found, anomalous.astype(np.uint8))


def test_kinds_come_from_names():
    manifest = {"source": "/data/digits", "options": {"normal": 3}}
    assert kind_of(manifest) == "semantic" and kind_of(manifest, "texture") == "defects"


def test_gains_are_of_what_was_possible():
    rows = [
        Won(f"t{i}", "defects", g, ("r",), w, p)
        for i, (g, w, p) in enumerate([("a", 0.1, 0.2), ("b", 0.0, 0.1), ("b", 0.2, 0.3)])
    ]
    assert gains(rows)["r",].value == pytest.approx(0.5)
    assert counted(rows) == "3 tasks of 2 training sets"


def test_another_product_carries_the_pick():
    """Good on the defect task is bad on the semantic ones, whose settings are in reverse."""
    losses = {rules.DEFAULT: {GOOD.key: 0.0, NOISE.key: 1.0, BAD.key: 2.0}}
    defects = task(losses=losses)
    semantic = [task(f"s{i}", "semantic", f"g{i}", (BAD, NOISE, GOOD), losses) for i in range(2)]
    rows = [row for one in (defects, *semantic) for row in another_product.rows(one)]
    found = another_product.table(rows)
    names = {"defects": "1 tasks (defects) of 1 training sets"}
    names["semantic"] = "2 tasks (semantic) of 2 training sets"
    table = found.tables[0]
    own, carried = table.column("its own pick"), table.column("carried from defects")
    assert own[names["defects"]].value == pytest.approx(1.0)
    assert own[names["semantic"]].value == pytest.approx(-1.0)
    assert carried[names["defects"]] is None
    assert carried[names["semantic"]].value == pytest.approx(-1.0)
    assert table.column("carried from semantic")[names["defects"]].value == pytest.approx(1.0)
    assert [row[3] for row in table.rows] == [None, "1.00"]  # worse than random there


def test_contamination_needs_anomalies():
    rows = contamination.rows(task())
    assert [row.share for row in rows] == ["0%", "1%", "5%", "10%", "25%"]
    table = contamination.table(rows).tables[0]
    assert table.column("25%")["auroc_held_out"].value == pytest.approx(1.0)
    none = table.column("0%")
    assert none["auroc_held_out"].value == pytest.approx(0.0)  # all settings look alike
    last = "(the null stands, share of draws)"
    assert none[last] == "1.00" and table.column("25%")[last] == "0.00"


def test_selection_tells_what_a_rule_sees():
    found = selection.table(selection.rows(task()))
    across, within = found.tables
    for table in (across, within):
        transductive, inductive = table.column("transductive"), table.column("inductive")
        assert transductive["auroc_held_out"].value == pytest.approx(1.0)
        assert table.column("disjoint")["auroc_held_out"].value == pytest.approx(1.0)
        assert inductive["auroc_held_out"] is None
        assert inductive["train_loss"].value == pytest.approx(-1.0)  # it picks the worst
        assert transductive["train_loss"] is None


def test_families_and_groups_are_compared():
    families = np.array(["binary/cutpaste", "binary/cutpaste", "binary/quarter_turns"])
    apart = np.array([0.1, 0.3, 0.2])
    losses = {name: apart if "code" in name else -apart for name in geometric_vs_local.LOSSES}
    rows = [
        geometric_vs_local.Settings(
            f"t{i}",
            "defects",
            f"g{i}",
            families,
            np.array([0.9, 0.7, 0.8 - 0.1 * i]),
            apart,
            losses,
        )
        for i in range(3)
    ]
    by_task, by_family, groups, alignment = geometric_vs_local.table(rows).tables
    assert by_task.rows[0] == ["t0", "0.800 (0.900)", "0.800 (0.800)", "binary/cutpaste"]
    means = by_family.column("defects, 3 tasks: mean of its settings")
    assert means["binary/cutpaste"].value == pytest.approx(0.8)
    best = by_family.column("defects, 3 tasks: best setting, in hindsight")
    assert best["binary/cutpaste"] == pytest.approx(Estimate(0.9, 0.9, 0.9))
    assert means["binary/quarter_turns"].value == pytest.approx(0.7)
    assert groups.column("local - geometric")["defects"].value == pytest.approx(0.1)
    assert alignment.column("dsv_code, misalignment")["defects"].value == pytest.approx(1.0)
    assert alignment.column("dsv_formula, misalignment")["defects"].value == pytest.approx(-1.0)


def test_published_columns_are_of_their_rules():
    worst = {BAD.key: 0.0, NOISE.key: 1.0, GOOD.key: 2.0}
    best = {GOOD.key: 0.0, NOISE.key: 1.0, BAD.key: 2.0}
    losses = {rule: worst for rule in published.COLUMNS.values()}
    losses |= {"dsv_code": best, rules.DEFAULT: best}
    (row,) = published.rows(task(losses=losses))
    assert row.augmentation == "cutpaste" and row.areas == 3
    picks = {name: one.value for name, one in row.picks.items()}
    assert picks["mean of grid"] == pytest.approx(0.5) and picks["DSV"] == picks["ours"] == 1.0
    assert picks["HITS"] == picks["MMD"] == 0.0 and picks["oracle"] == 1.0
    table = published.table([row]).tables[0]
    assert table.column("DSV") == {"cutpaste, 3 areas": Estimate(1.0), "  published": 0.884} or (
        table.column("DSV")["  published"] == 0.884
    )


def test_planted_ranks_the_generator():
    places = {("good", "across"): (1, 8), ("good", "within"): (2, 4), ("poor", "across"): (8, 8)}
    rows = [
        planted.Problem("tile", "binary/cutpaste 0.1", 0.9, 0.95, places),
        planted.Problem("tile-1", "binary/blur", None, 0.6, {}),
    ]
    found = planted.table(rows)
    first, second = found.tables
    assert list(first.rows) == [("tile", "binary/cutpaste 0.1", 0.9, 0.95)]
    assert "left out: tile-1: binary/blur learned nothing" in found.blocks
    assert list(second.rows) == [
        ["good", 0.0, 0.5, 1.0, 0.125],
        ["poor", None, None, 0.0, 1.0],
    ]
    with pytest.raises(InputError, match="no run"):
        planted.table(rows[1:])


def selected(tmp_path, config, *more):
    words = ["select", "--config", f"{CONFIGS / config}:smoke", "--width", "8", *more]
    assert cli.main([*words, "--out", str(tmp_path)]) == 0


def test_studies_of_runs(monkeypatch, tmp_path, capsys):
    """All that read the shelf, on one run: the figures of one are those of another."""
    selected(tmp_path, "shelf.py")
    options = Options(tmp_path / "out", [tmp_path])
    found = {
        name: STUDIES[name].result(options)
        for name in (
            *("rules", "sensitivity", "geometric_vs_local", "selection", "another_product"),
            "contamination",
        )
    }
    of_rules = found["rules"].tables[0].column("gain")
    assert float(of_rules[rules.DEFAULT].split()[0]) == pytest.approx(
        found["another_product"].tables[0].rows[0][1].value, abs=0.006
    )
    see = found["selection"].tables[0].column("transductive")
    for name in ("auroc_held_out", "dsv_code"):
        gained = float(of_rules[name].split()[0])
        assert see[name].value == pytest.approx(gained, abs=0.006)
        rows = found["sensitivity"].tables[0].rows
        if name == "dsv_code":
            (own,) = [r for r in rows if r[:2] == [name, "as published"]]
            assert own[2:4] == [1, 0.0] and own[5] == pytest.approx(gained, abs=0.006)
    variants = {row[1] for row in found["sensitivity"].tables[0].rows}
    assert {"four draws", "0.25 of the target", "stage 1", "alpha 0.75"} <= variants
    assert set(found["contamination"].tables[0].header[1:]) == set(contamination.NAMES)
    families = found["geometric_vs_local"].tables[0]
    assert families.header == ["task", "binary/cutpaste", "best mean"]
    for name in ("geometric_vs_local", "selection", "another_product", "contamination"):
        drawn(found[name], tmp_path / f"{name}.png")
    selected(tmp_path, "geometric_vs_local.py", "--dry-run")
    capsys.readouterr()
    out = said(monkeypatch, capsys, "another_product", "--runs", tmp_path, "--tables")
    assert out == f"{found['another_product']}\n"


def test_planted_study(tmp_path):
    selected(tmp_path / "digits", "planted.py")
    first, second = STUDIES["planted"].result(Options(runs=[tmp_path])).tables
    assert [row[0] for row in first.rows] == ["digits", "digits"]
    assert all(own <= oracle for *_, own, oracle in first.rows)
    own = {row[0]: row[1:] for row in second.rows}
    assert {"tail_and_auroc", planted.LABELS} <= set(own)
    assert all(0.0 < own[name][1] <= 1.0 for name in own)


def test_published_study(tmp_path):
    selected(tmp_path, "published.py")
    found = STUDIES["published"].result(Options(runs=[tmp_path]))
    table = found.tables[0]
    picks = {row[0]: row[1:] for row in table.rows}
    assert picks["  published"][8] == 0.884
    for one in picks["cutpaste, 3 areas"][1:]:
        assert one.value <= table.column("oracle")["cutpaste, 3 areas"].value
    drawn(found, tmp_path / "published.png")


def test_halving_study(tmp_path, capsys):
    base = ["select", "digits,normal=3,limit=60", "--steps", "9", "--width", "8", "--seeds", "1"]
    for name, extra in (("full", []), ("halved", ["--search", "halving"])):
        out = str(tmp_path / name / "digits")
        assert cli.main([*base, "--areas", ".05,.2", "--out", out, *extra]) == 0
    capsys.readouterr()
    options = Options(runs=[tmp_path / "full", tmp_path / "halved"])
    per_task, summary = STUDIES["halving"].result(options).tables
    ((name, full, halved, oracle, _, share),) = per_task.rows
    assert name == "digits" and full <= oracle and 0.0 < share < 1.0
    steps = summary.column("member-steps")
    assert steps["halved"] / steps["full"] == pytest.approx(share)
    assert summary.column("mean AUROC of the pick") == {"full": full, "halved": halved}
    assert cli.main(["audit", str(tmp_path / "halved")]) == 0
    out = capsys.readouterr().out
    assert "0 of them learned nothing" in out and "settings tried were stopped early" in out
    for name in ("planted", "halving"):
        with pytest.raises(InputError, match="no run"):
            STUDIES[name].result(Options(runs=[tmp_path / "none"] * 2))


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


# Studies of grids: tables of rows whose answer is known


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


def test_spread_lines():
    deep = {"base": {"base": [0.6, 0.8]}, "area": {"0.02": [0.5, 0.5], "0.64": [0.9, 0.9]}}
    row = {"task": "t", "deep": deep, "shallow": {"knn": {"1": 0.5, "5": 0.7}}}
    lines = {line[1]: line[2:] for line in spread.lines_of(row)}
    assert lines["seed"] == [2, 0.6, 0.8, pytest.approx(0.1 * 2**0.5)]
    assert lines["area"] == [3, 0.5, 0.9, pytest.approx(np.std([0.5, 0.9, 0.7]))]
    assert lines["knn: its hyperparameter"] == [2, 0.5, 0.7, pytest.approx(0.1)]
    assert lines["shallow detector"] == [1, 0.6, 0.6, 0.0]


def test_bias_tables():
    found = {
        "unsupervised": {"shirt": [0.1], "bag": [0.5]},
        **{
            f"{name}, {head}": {"shirt": [0.7], "bag": [0.5 if head == "density" else 0.4]}
            for name in bias.TRAINED_ON
            for head in ("density", "log-odds")
        },
    }
    result = bias.table([found])
    table = result.tables[0]
    assert table.column("on shirt, log-odds") == {"shirt": "0.70 (+)", "bag": "0.40 (-)"}
    assert table.column("on sneaker, density")["bag"] == "0.50 (=)"
    assert table.column("published, on sneaker")["bag"] == "0.49 -> 0.80 (+)"
    one = task()._replace(
        kinds=["good" if i % 4 else ("dent", "hole")[i % 8 > 0] for i in range(80)]
    )
    control = dataclasses.replace(
        one.run.pool,
        members=tuple(
            m._replace(
                setting=m.setting._replace(pretext="control", augmentation=bias.UNSUPERVISED)
            )
            if m.setting == NOISE
            else m
            for m in one.run.pool.members
        ),
    )
    analogue = bias.analogue(one._replace(run=SimpleNamespace(pool=control)))
    assert analogue.header == ["trained on", "dent", "hole"]
    assert analogue.rows[0][0] == "(unsupervised)" and analogue.rows[1][0] == "binary/cutpaste"


# Studies of grids: their smallest variants


def test_limited_data_study(tmp_path):
    """It also stands for all: its tables come again from its rows, and from half of the record."""
    first = smoke("limited_data", tmp_path)
    assert str(first.blocks[0]).startswith("digit 3, 5 normals: ")
    line = first.tables[0].rows[0]
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
    assert rows["whole: trained, pooled"][2:] == ["-", "-"]  # no heatmap
    assert (tmp_path / "strangest.png").is_file() and (tmp_path / "rows.json").is_file()


def test_halved_trust_study(tmp_path):
    verdicts, null = smoke("halved_trust", tmp_path).tables
    assert verdicts.column("high")["halving"] == 0  # never highly trusted
    assert sum(verdicts.rows[0][1:]) == 2 and null.header[2] == "stage to stage"


def test_pyod_study(tmp_path):
    pytest.importorskip("pyod")
    summary = smoke("pyod_pool", tmp_path).tables[0]
    picks = summary.column("AUROC of its pick")
    assert "auroc_held_out" in picks and all(0.0 <= value <= 1.0 for value in picks.values())


def test_pyod_study_says_what_it_needs(monkeypatch, tmp_path):
    for name in ("pyod", "pyod.models.ecod"):  # the latter may be loaded already
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install"):
        smoke("pyod_pool", tmp_path)


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


# Benchmarks


def benchmark(monkeypatch, capsys, name, *words):
    import runpy

    monkeypatch.setattr(sys, "argv", [name, *words])
    path = ROOT / "experiments" / "benchmarks" / f"{name}.py"
    runpy.run_path(str(path), run_name="__main__")
    return capsys.readouterr().out


def test_rules_benchmark(monkeypatch, capsys):
    out = benchmark(monkeypatch, capsys, "rules", "--quick")
    assert "model_centrality" in out and "scikit-learn" in out and "peak memory" in out


def test_record_benchmark(monkeypatch, capsys):
    out = benchmark(monkeypatch, capsys, "record", "--members", "40")
    assert "40 members, 10 chunks" in out and "ad-jax merge" in out
