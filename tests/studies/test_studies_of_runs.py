"""Studies that read runs, on pools whose answer is known, and on small runs."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ad_jax import cli
from ad_jax.base.errors import InputError
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import audit_run
from ad_jax.pool import Member, Pool, View
from ad_jax.runs import plan, run
from ad_jax.selection import rules, search, weights
from experiments import __main__ as command
from experiments.studies import (
    STUDIES,
    another_product,
    bias,
    contamination,
    ensemble,
    forecast,
    geometric_vs_local,
    keep,
    planted,
    published,
    selection,
)
from experiments.study import Options
from experiments.tasks import Task, Value, Won, counted, gains, kind_of

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "experiments" / "configs"

pytestmark = pytest.mark.usefixtures("relaxed")


def drawn(found, path):
    found.picture(path)
    assert path.stat().st_size > 10_000


GOOD, NOISE, BAD = (search.setting("binary", "cutpaste", area=area) for area in (0.04, 0.08, 0.16))


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
        View(target[:, None].astype(np.float32)),
        View(np.tile(held_out, (3, 1))[:, None].astype(np.float32)),
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


def test_an_ensemble_follows_evidence_and_the_pick_is_judged_against_it():
    """The first setting sees all anomalies; the third ranks them last, and drags the prior down."""
    rows = [row for g in "ab" for row in ensemble.rows(task(f"t{g}", group=g))]
    assert [row.share for row in rows[:7]] == ensemble.NAMES
    many = next(row for row in rows if row.share == "50%").auroc
    assert many["oracle"] == [1.0] and np.mean(many["label pick"]) == 1.0
    assert np.mean(many["pick"]) == np.mean(many["default"]) == np.mean(many["safe pick"]) == 1.0
    assert np.mean(many["uniform"]) < np.mean(many["prior"]) <= np.mean(many["weights"]) <= 1.0
    assert many["mean member"][0] == pytest.approx(0.5, abs=0.02)
    none = next(row for row in rows if row.share == "0%").auroc
    assert "label pick" not in none and none["weights"] == none["prior"]
    for one in rows:  # constants of the default are among the grid
        own = one.by_constants[ensemble.GRID.index(ensemble.CONSTANTS)]
        assert own == pytest.approx(np.mean(one.auroc["weights"]))
    found = ensemble.table(rows)
    shares, worst, constants = found.tables
    assert shares.column("50%")["best constant"].value == 1.0
    assert worst.column("0%")["default"] == 0.0
    assert sum(row[4] for row in constants.rows) == 2 * ensemble.HALVES
    best = max(row[5] for row in constants.rows)
    assert constants.rows[0][5] == best and constants.rows[0][4] > 0


def test_constants_are_never_chosen_by_the_training_sets_they_are_reported_on():
    """Each of two sets likes other constants best: on the other one they are worth nothing."""
    first, last = np.zeros((2, len(ensemble.GRID)))
    first[0], last[-1] = 1.0, 1.0
    rows = [
        ensemble.Found(g, "defects", g, "0%", {"default": [0.5]}, {}, own.tolist())
        for g, own in (("a", first), ("b", last))
    ]
    found, _ = ensemble.halves(rows)
    for one in found:
        assert set(one.auroc[ensemble.CHOSEN]) == {0.0}


def test_a_forecast_is_made_by_other_training_sets():
    own = forecast.rows(task(order=(BAD, NOISE, GOOD)))  # the default ranks upside down
    assert {row.bin for row in own} > {0}
    assert min(row.regret for row in own) < 0.0  # of the pick, where evidence is weak yet
    draws = [
        forecast.Draw(g, "defects", g, bin, regret)
        for g, regret in (("a", 0.1), ("b", 0.3), ("c", 0.5))
        for bin in (0, 3)
    ]
    np.testing.assert_allclose(forecast.foretold(draws), [0.4, 0.4, 0.3, 0.3, 0.2, 0.2])
    assert np.isnan(forecast.foretold(draws[:1])).all()
    found = forecast.table(draws)
    assert found.tables[0].rows[0][5].value == pytest.approx(0.3)
    assert "Spearman" in str(found) and "-1.00" in str(found)  # whoever loses more is told less


def test_few_settings_are_judged_against_all():
    """The first setting sees all anomalies, the third ranks them last: what is kept shows."""
    found = [row for g in "ab" for row in keep.rows(task(f"t{g}", group=g))]
    first = found[0].auroc
    assert found[0].settings == 3 and first["pick"] == 1.0
    assert first["3 kept"] == first["8 kept"] == pytest.approx(first[keep.ALL])
    pool, whole = task().run.pool, weights.weights(task().run.pool)
    (one,) = weights.keep(pool, whole, 1)
    assert first["1 kept"] == {GOOD.key: 1.0, BAD.key: 0.0}.get(one, first["1 kept"])
    (table,) = keep.table(found).tables
    assert table.column("pick")["mean"].value == 1.0
    less = table.column("1 kept")["less that of all"].value
    assert less == pytest.approx(first["1 kept"] - first[keep.ALL])
    assert table.column("1 kept")["the worst of these"] == pytest.approx(less)
    assert table.column(keep.ALL)["less that of all"].value == 0.0


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
    rows = []
    for i in range(3):
        found = {
            ("binary/cutpaste", geometric_vs_local.MEAN): 0.8,
            ("binary/cutpaste", geometric_vs_local.BEST): 0.9,
            ("binary/rotate", geometric_vs_local.MEAN): 0.8 - 0.1 * i,
            ("binary/rotate", geometric_vs_local.BEST): 0.85,
            ("local", geometric_vs_local.GROUP): 0.8,
            ("geometric", geometric_vs_local.GROUP): 0.8 - 0.1 * i,
            (geometric_vs_local.REVERSAL, geometric_vs_local.GROUP): 0.1 * i,
            ("AUROC", geometric_vs_local.ALIGNMENT): 0.5,
            ("dsv_code", geometric_vs_local.ALIGNMENT): 1.0 if i else np.nan,
        }
        rows += [Value(f"t{i}", "defects", f"g{i}", what, v) for what, v in found.items()]
    by_task, by_family, groups, alignment = geometric_vs_local.table(rows).tables
    assert by_task.rows[1] == ["t1", "0.800 (0.900)", "0.700 (0.850)", "binary/cutpaste"]
    mean = by_family.column("defects, 3 tasks: mean of its settings")
    assert mean["binary/rotate"].value == pytest.approx(0.7)
    best = by_family.column("defects, 3 tasks: best setting, in hindsight")
    assert best["binary/cutpaste"] == pytest.approx(Estimate(0.9, 0.9, 0.9))
    assert groups.rows[0][:3] == ["defects", 3, 3]
    assert groups.rows[0][3:5] == pytest.approx([0.8, 0.7])
    assert groups.rows[0][5] == pytest.approx(Estimate(0.1, 0.0, 0.2))
    assert [one.value for one in alignment.rows[0][1:3]] == [0.5, 1.0]
    assert np.isnan(alignment.rows[0][3].value)  # no task knows it


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


def test_bias_of_families_by_kind():
    """The noise stands for the control: it finds no anomaly, one of two settings finds all."""
    one = task()
    control = NOISE._replace(pretext="control", augmentation=bias.UNSUPERVISED)
    members = tuple(
        m._replace(setting=control) if m.setting == NOISE else m for m in one.run.pool.members
    )
    kinds = ["good" if i % 4 else "dent" if i % 8 else "hole" for i in range(80)]
    pool = dataclasses.replace(one.run.pool, members=members)
    found = bias.analogue(one._replace(run=SimpleNamespace(pool=pool), kinds=kinds))
    assert found.header == ["trained on", "dent", "hole"]
    assert found.rows[0] == ["(unsupervised)", "0.00", "0.00"]
    assert found.rows[1] == ["binary/cutpaste", "0.50 ± 0.71  ", "0.50 ± 0.71  "]


def selected(tmp_path, config, *more):
    words = ["select", "--config", f"{CONFIGS / config}:smoke", "--width", "8", *more]
    assert cli.main([*words, "--out", str(tmp_path)]) == 0


@pytest.mark.studies
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
    assert found["another_product"].tables[0].rows[0][1].value <= 1.0  # of the oracle's
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
    words = ["experiments", "another_product", "--runs", str(tmp_path), "--tables"]
    monkeypatch.setattr(sys, "argv", words)
    command.main()
    assert capsys.readouterr().out == f"{found['another_product']}\n"


@pytest.mark.studies
@pytest.mark.parametrize("part", ["rows", "series"])
def test_beyond_images_study(part, tmp_path):
    """On one small run: the ensemble's figures are those of the audit, points of series too."""
    small = "--families neighbour/identity,binary/feature_noise --strengths 2 --steps 20 --seeds 2"
    source = {"rows": "sklearn:wine", "series": "series,limit=60"}[part]
    words = ["select", source, *small.split(), "--out", str(tmp_path / part)]
    assert cli.main(words) == 0
    found = STUDIES["beyond_images"].result(Options(tmp_path / "out", [tmp_path / part]))
    tables = found.tables
    auroc = tables[0].column("mean [95 %]")
    assert auroc["worst"].value <= auroc["mean member"].value <= auroc["oracle"].value
    audited = audit_run(tmp_path / part).audit
    if part == "series":
        own = audited.points["ensemble: weighted mean surprise"]
        assert tables[2].column("mean [95 %]")["ensemble"].value == pytest.approx(own.vus_pr)
        assert auroc["ensemble"].value == pytest.approx(own.auroc)
        assert "difference" in auroc and "isolation_forest" not in auroc
    else:
        own = audited.ensembles["weighted mean surprise"]
        assert auroc["ensemble"].value == pytest.approx(own["auroc"], abs=1e-6)
        assert tables[1].column("mean [95 %]")["ensemble"].value == pytest.approx(
            own["average_precision"], abs=1e-6
        )
    ways = [row[0] for row in tables[2 + (part == "series")].rows]
    assert {"ensemble", "pick", "uniform"} < set(ways) and "oracle" not in ways
    drawn(found, tmp_path / "beyond_images.png")


@pytest.mark.studies
def test_planted_study(tmp_path):
    selected(tmp_path / "digits", "planted.py")
    first, second = STUDIES["planted"].result(Options(runs=[tmp_path])).tables
    assert [row[0] for row in first.rows] == ["digits", "digits"]
    assert all(own <= oracle for *_, own, oracle in first.rows)
    own = {row[0]: row[1:] for row in second.rows}
    assert {"tail_and_auroc", planted.LABELS} <= set(own)
    assert all(0.0 < own[name][1] <= 1.0 for name in own)


@pytest.mark.studies
def test_published_study(tmp_path):
    selected(tmp_path, "published.py")
    found = STUDIES["published"].result(Options(runs=[tmp_path]))
    table = found.tables[0]
    picks = {row[0]: row[1:] for row in table.rows}
    assert picks["  published"][8] == 0.884
    for one in picks["cutpaste, 3 areas"][1:]:
        assert one.value <= table.column("oracle")["cutpaste, 3 areas"].value
    drawn(found, tmp_path / "published.png")


def ensemble_auroc(folder):
    """Of the scores that the run wrote, by its labels."""
    _, truth = run.reload(run.read(folder).manifest)
    labels = truth.open("test").anomalous
    return pytest.approx(roc_auc_score(labels, run.read(folder).ensemble_scores), abs=1e-6)


@pytest.mark.studies
def test_halving_study(tmp_path, capsys):
    base = ["select", "digits,normal=3,limit=60", "--steps", "9", "--width", "8", "--seeds", "1"]
    for name, extra in (("full", []), ("halved", ["--search", "halving"])):
        out = str(tmp_path / name / "digits")
        assert cli.main([*base, "--areas", ".05,.2", "--out", out, *extra]) == 0
    capsys.readouterr()
    options = Options(runs=[tmp_path / "full", tmp_path / "halved"])
    per_task, summary = STUDIES["halving"].result(options).tables
    ((name, full, halved, pooled, left, oracle, _, share),) = per_task.rows
    assert name == "digits" and full <= oracle and 0.0 < share < 1.0
    steps = summary.column("member-steps")
    assert steps["halved"] / steps["full"] == pytest.approx(share)
    assert summary.column("mean AUROC of the pick") == {"full": full, "halved": halved}
    assert summary.column("of the ensemble") == {"full": pooled, "halved": left}
    for folder, found in (("full", pooled), ("halved", left)):
        assert found == ensemble_auroc(tmp_path / folder / "digits")
    assert cli.main(["audit", str(tmp_path / "halved")]) == 0
    out = capsys.readouterr().out
    assert "0 of them learned nothing" in out and "settings tried were stopped early" in out
    for name in ("planted", "halving"):
        with pytest.raises(InputError, match="no run"):
            STUDIES[name].result(Options(runs=[tmp_path / "none"] * 2))


@pytest.mark.studies
def test_a_halved_run_read_back_is_judged_as_it_was(tmp_path, capsys):
    """Stopped members are found in the record at the stage they reached."""
    out = tmp_path / "run"
    small = ["--steps", "9", "--width", "8", "--seeds", "2", "--areas", ".05,.2"]
    source = "digits,normal=3,limit=60"
    assert cli.main(["select", source, *small, "--search", "halving", "--out", str(out)]) == 0
    assert "learned nothing" not in capsys.readouterr().err
    one = run.read(out)
    again = plan.judged_anew(out, one)
    assert one.pool.stopped and again.pool.target.alignment
    assert again.pick == one.pick and again.trust["reasons"] == tuple(one.trust["reasons"])
    assert again.losses[one.rule] == pytest.approx(one.losses[one.rule])
    moved = plan.judged_anew(out, one._replace(pick=one.pool.stopped[0], pick_scores=None))
    assert moved.pick_scores == pytest.approx(one.pick_scores, rel=1e-4)  # as its detector says
