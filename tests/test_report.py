"""The report: it equals the raw rows, in every format, without labels too, and offline."""

import csv
import io
import json
import math
import re
import warnings

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kendalltau, spearmanr, wilcoxon
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)
from small_run import write, write_labels

from ad_jax import cli
from ad_jax.base.stats import Estimate
from ad_jax.cli import report
from ad_jax.evaluate.comparison import holm
from ad_jax.evaluate.correlation import correlations
from ad_jax.evaluate.pairs import pairwise
from ad_jax.evaluate.unlabelled_set import unlabelled_set
from ad_jax.report.figures import parallel, points, theme
from ad_jax.report.page import (
    FORMATS,
    Column,
    Document,
    Figure,
    Figures,
    Prose,
    Section,
    Table,
    field,
    tabulated,
    written,
)
from ad_jax.report.page.content import number
from ad_jax.report.page.html import IN_PAGE
from ad_jax.report.page.picture import picture
from ad_jax.report.page.terminal import terminal
from ad_jax.report.parts.checklist import RULES, checklist
from ad_jax.runs import run
from ad_jax.runs import tuning as tuning_files

TASKS = 5


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Five tasks of four training sets, their labels by folder, and a file of all labels."""
    root = tmp_path_factory.mktemp("runs")
    labels = {}
    for i in range(TASKS):
        folder = root / f"task{i}"
        labels[folder] = write(folder, seed=i, training_set=f"set{min(i, 3)}", told=i > 0, n=40)
    return labels, write_labels(root / "labels.csv", labels)


@pytest.fixture(scope="module")
def audited(runs, tmp_path_factory):
    """The folder of a report on all tasks in every format, labels opened."""
    labels, file = runs
    out = tmp_path_factory.mktemp("audited")
    told = ["--audit", "--labels", str(file), "--splits", "4", "--out", str(out)]
    arguments = cli.parser().parse_args(["report", *map(str, labels), *told])
    document = report.document(arguments, list(labels))
    for name, (ending, _) in FORMATS.items():
        (out / f"report.{ending}").write_bytes(written(document, name))
    return out


@pytest.fixture(scope="module")
def told(audited):
    """The report as JSON: section -> table -> rows as dicts."""
    document = json.loads((audited / "report.json").read_text())
    return {
        section["key"]: {
            table["name"]: [
                dict(zip(table["columns"], row, strict=True))
                for row in [*table["rows"], *table["foot"]]
            ]
            for table in section["tables"]
        }
        for section in document["sections"]
    } | {"summary": document["summary"]}


def member_aurocs(folder, labels):
    """AUROC and AP of every member, by scikit-learn."""
    pool = run.read(folder).pool
    own, _ = pool.own_scores()
    return (
        pool,
        [roc_auc_score(labels, s) for s in own],
        [average_precision_score(labels, s) for s in own],
    )


def settings_of(folder, labels):
    """AUROC of every setting and of the pick, by scikit-learn."""
    pool, auroc, _ = member_aurocs(folder, labels)
    means = {s.key: np.mean([auroc[i] for i in pool.rows(s)]) for s in pool.settings}
    return means, means[run.read(folder).pick.key]


def value(cell):
    return cell["value"] if isinstance(cell, dict) else cell


# ---- figures against the raw rows ----


def test_picks_equal_the_raw_rows(runs, told):
    rows = {row["task"]: row for row in told["picks"]["The picks"]}
    won = bought = 0.0
    for i, (folder, labels) in enumerate(runs[0].items()):
        row = rows[f"task-{i},size=16"]
        means, pick = settings_of(folder, labels)
        pool, auroc, precision = member_aurocs(folder, labels)
        picked = pool.rows(run.read(folder).pick)
        oracle, random = max(means.values()), np.mean(list(means.values()))
        assert value(row["AUROC"]) == pytest.approx(pick)
        assert row["std"] == pytest.approx(np.std([auroc[r] for r in picked], ddof=1))
        assert value(row["AP"]) == pytest.approx(np.mean([precision[r] for r in picked]))
        assert value(row["regret"]) == pytest.approx(oracle - pick)
        assert row["gain"] == pytest.approx((pick - random) / (oracle - random))
        assert row["rank"] == 1 + sum(v > pick + 1e-12 for v in means.values())
        assert row["anomalies"] == pytest.approx(labels.mean())
        won, bought = won + pick - random, bought + oracle - random
    foot = rows["mean over tasks (gain: of sums)"]
    assert foot["gain"]["value"] == pytest.approx(won / bought)
    assert foot["gain"]["low"] <= foot["gain"]["value"] <= foot["gain"]["high"]
    regrets = [value(rows[f"task-{i},size=16"]["regret"]) for i in range(TASKS)]
    assert foot["regret"]["value"] == pytest.approx(np.mean(regrets))
    assert rows["worst task"]["regret"] == pytest.approx(max(regrets))


def test_intervals_over_seeds_are_paired(runs, told):
    """The regret's interval is that of the differences seed by seed."""
    from scipy.stats import t

    rows = {row["task"]: row for row in told["picks"]["The picks"]}
    for i, (folder, labels) in enumerate(runs[0].items()):
        pool, auroc, _ = member_aurocs(folder, labels)
        means, _ = settings_of(folder, labels)
        best = max(pool.settings, key=lambda s: means[s.key])
        pairs = zip(pool.rows(best), pool.rows(run.read(folder).pick), strict=True)
        d = np.array([auroc[a] - auroc[b] for a, b in pairs])
        half = t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
        row = rows[f"task-{i},size=16"]["regret"]
        assert row["low"] == pytest.approx(d.mean() - half, abs=1e-9)
        assert row["high"] == pytest.approx(d.mean() + half, abs=1e-9)


def test_thresholds_of_the_pick(runs, told):
    """At the label-free threshold, by scikit-learn; labels can only do better."""
    rows = told["audit"]["The pick at a threshold"]
    for i, (folder, labels) in enumerate(runs[0].items()):
        pool = run.read(folder).pool
        own, held_out = pool.own_scores()
        found = []
        for r in pool.rows(run.read(folder).pick):
            flagged = own[r] > np.quantile(held_out[r], 0.95)
            found.append(
                [f1_score(labels, flagged), balanced_accuracy_score(labels, flagged)]
                + [flagged[labels == 0].mean()]
            )
        free, oracle = (row for row in rows if row["task"] == f"task-{i},size=16")
        names = ("F1", "balanced accuracy", "false positives")
        assert [value(free[n]) for n in names] == pytest.approx(np.mean(found, axis=0).tolist())
        assert free["chosen"] == "label-free" and "oracle" in oracle["chosen"]
        assert all(value(oracle[n]) >= value(free[n]) for n in names[:2])


def test_correlations_equal_scipys(runs, told):
    rows = {row["task"]: row for row in told["against"]["Rank correlation of loss with AUROC"]}
    for i, (folder, labels) in enumerate(runs[0].items()):
        one = run.read(folder)
        means, _ = settings_of(folder, labels)
        loss = [one.losses[one.rule][key] for key in means]
        row = rows[f"task-{i},size=16"]
        assert row["Spearman"]["value"] == pytest.approx(
            spearmanr(loss, list(means.values())).statistic
        )
        assert row["Kendall"]["value"] == pytest.approx(
            kendalltau(loss, list(means.values())).statistic
        )
        assert row["Kendall"]["low"] <= row["Kendall"]["value"] <= row["Kendall"]["high"]


def test_every_table_of_picks_has_lines_to_compare_with(told):
    lines = {"oracle", "expected random", "median setting", "worst setting", "ensemble of all"}
    lines |= {"default setting", "control: raw nearest neighbour", "control: untrained encoder"}
    (beside,) = [t for n, t in told["picks"].items() if n.startswith("AUROC of the picks")]
    assert lines <= set(beside[0])
    assert all(row[name] is not None for row in beside[:TASKS] for name in lines)
    every = {row["rule"] for row in told["rules"]["AUROC of every rule's pick"]}
    assert lines <= every
    assert lines <= {row["setting"] for row in told["settings"]["Settings of task-0,size=16"]}


def test_raw_rows_hold_every_member(runs, audited):
    rows = list(csv.DictReader(io.StringIO((audited / "report.csv").read_text())))
    folder, labels = next(iter(runs[0].items()))
    pool, auroc, precision = member_aurocs(folder, labels)
    mine = [row for row in rows if row["task"] == "task-0,size=16"]
    assert len(mine) == len(pool.members)
    np.testing.assert_allclose([float(r["auroc"]) for r in mine], auroc)
    np.testing.assert_allclose([float(r["average_precision"]) for r in mine], precision)
    assert {"seed", "status", "train_loss", "loss.tail_and_auroc", "hyper.area"} <= set(rows[0])


def test_summary_says_the_same_as_the_tables(told):
    said = " ".join(told["summary"])
    foot = next(r for r in told["picks"]["The picks"] if r["task"].startswith("mean over"))
    assert f"gain {number(foot['gain']['value'], 2)}" in said
    assert f"mean AUROC of {number(foot['AUROC']['value'])}" in said


# ---- pairs, correlations, what the unlabelled set does: slow twins ----


def test_pairs_equal_their_definitions():
    generator = np.random.default_rng(0)
    names, groups = list("abcd"), [f"set {i // 2}" for i in range(16)]
    values = {n: generator.uniform(0.5, 1.0, 16) + 0.1 * k for k, n in enumerate(names)}
    values["d"] = values["a"].copy()
    found = pairwise(values, groups)
    sets = sorted(set(groups))
    mean = {
        n: np.array([np.mean([v for v, g in zip(values[n], groups) if g == s]) for s in sets])
        for n in names
    }
    both = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    p = [
        float("nan") if (mean[a] == mean[b]).all() else wilcoxon(mean[a] - mean[b]).pvalue
        for a, b in both
    ]
    for (a, b), adjusted in zip(both, holm(p), strict=True):
        pair, back = found.pairs[a, b], found.pairs[b, a]
        np.testing.assert_allclose(pair.p, adjusted)
        assert pair.difference == pytest.approx((mean[a] - mean[b]).mean())
        assert (pair.wins, pair.losses) == (back.losses, back.wins)
        assert pair.wins == (mean[a] > mean[b]).sum()
        np.testing.assert_allclose(found.effect[a, b], -found.effect[b, a])
    assert found.sets == 8
    order = sorted(names, key=lambda n: found.ranks[n])
    for group in found.joined:
        assert group == [n for n in order if n in group]
        assert all(not found.pairs[a, b].p < 0.05 for a in group for b in group if a != b)
    assert sum(found.ranks.values()) == pytest.approx(len(names) * (len(names) + 1) / 2)


def test_few_training_sets_are_not_tested():
    found = pairwise({"a": [0.5, 0.6], "b": [0.7, 0.9]}, ["x", "y"])
    assert math.isnan(found.pairs["a", "b"].p) and found.joined == [["b", "a"]]
    assert found.effect["b", "a"] == 1.0


def test_bootstrap_of_tau_equals_scipys():
    """The quadratic forms of counts give scipy's tau-b of the drawn rows, ties and all."""
    from ad_jax.base.ranks import spearman_rows
    from ad_jax.evaluate.correlation import _kendall

    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 6, 15).astype(float), generator.normal(size=15)
    drawn = generator.integers(0, 15, (20, 15))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tau = [kendalltau(x[rows], y[rows]).statistic for rows in drawn]
        rho = [spearmanr(x[rows], y[rows]).statistic for rows in drawn]
    np.testing.assert_allclose(_kendall(x, y, drawn), tau)
    np.testing.assert_allclose(spearman_rows(x[drawn], y[drawn]), rho)


def test_correlations_of_nothing_are_nan():
    for loss in (np.zeros(5), np.full(5, np.inf), np.arange(2.0)):
        rho, tau = correlations(loss, np.linspace(0, 1, len(loss)))
        assert math.isnan(rho.value) and math.isnan(tau.value)
    rho, tau = correlations(np.arange(20.0), -np.arange(20.0), draws=50)
    assert (rho, tau) == (Estimate(-1.0, -1.0, -1.0), Estimate(-1.0, -1.0, -1.0))


def test_what_the_unlabelled_set_does(runs):
    folder, labels = next(iter(runs[0].items()))
    one = run.read(folder)
    found = unlabelled_set(one.pool, one.rule, labels)
    means, _ = settings_of(folder, labels)
    loss = np.array([one.losses[one.rule][k] for k in means])
    auroc = np.array(list(means.values()))
    whole = found.rates[-1]
    assert whole.share == pytest.approx(labels.mean()) and whole.samples == len(labels)
    assert whole.auroc.value == pytest.approx(auroc[loss == loss.min()].mean())
    assert found.rates[0].share == 0.0 and found.rates[0].samples == (labels == 0).sum()
    for rate in found.rates:
        assert abs(rate.share * rate.samples - round(rate.share * rate.samples)) < 1e-9
    assert len({(rate.share, rate.samples) for rate in found.rates}) == len(found.rates)
    half = found.halves
    assert half.bought.value == pytest.approx(half.seen.value - half.unseen.value)
    assert half.random < half.unseen.value < half.oracle
    lacking = unlabelled_set(one.pool, "dsv_code", labels)
    assert lacking.halves is None and "no embeddings" in lacking.lacking


# ---- the page ----


def html_of(folder):
    return (folder / "report.html").read_text()


def test_page_is_valid_and_asks_for_nothing(audited):
    import html5lib

    text = html_of(audited)
    html5lib.HTMLParser(strict=True).parse(text)
    assert not re.findall(r"https?://|//cdn|@import|url\((?!#)", text)
    assert "default-src 'none'" in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    used = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)}
    assert used <= set(ids)
    assert text.count("<svg") > 4 * TASKS and "<script src" not in text


def test_words_and_columns_are_explained(audited, told):
    """What a head says by a tooltip stands in the page, too: phones and keyboards show none."""
    words = {row["word"] for row in told["words"]["Words"]}
    assert {"setting", "member", "oracle", "regret", "AUROC", "tail_and_auroc"} <= words
    text = html_of(audited)
    for about in re.findall(r'<th scope="col"[^>]* title="([^"]+)"', text):
        assert f"<dd>{about}</dd>" in text


def test_long_names_break_after_commas_only():
    from ad_jax.report.page.html import _soft

    assert _soft("a,b=1, c/d <e_f>") == "a,<wbr>b=1, c/<wbr>d &lt;e_f&gt;"


def test_names_cannot_break_the_page():
    nasty = '<script>alert("x")</script> & </table>'
    rows = [[nasty, 1.0, nasty]] * (IN_PAGE + 1)
    table = Table(nasty, [Column(nasty, nasty), Column("b"), Column("c")], rows)
    figure = points.scatter(
        nasty,
        nasty,
        [points.Point("f", nasty, Estimate(0.1), Estimate(0.5)) for _ in range(2)],
        {},
        theme.keys(["f"]),
    )
    blocks = [Prose([nasty]), table, Figures([figure])]
    document = Document(nasty, [nasty], [Section("s", nasty, blocks)], table, nasty)
    text = written(document, "html").decode()
    import html5lib

    html5lib.HTMLParser(strict=True).parse(text)
    assert "<script>alert" not in text and len(re.findall("<script", text)) == 2


def test_formats_say_the_same(audited):
    text = (audited / "report.md").read_text()
    document = json.loads((audited / "report.json").read_text())
    for section in document["sections"]:
        assert f"## {section['title']}" in text
        for table in section["tables"]:
            assert f"**{table['name']}**" in text
    for line in document["summary"]:
        assert line in text


def test_runs_without_labels(runs, tmp_path, capsys):
    """Label-free: no figure of labels, nothing logged, and the page says what is missing."""
    folder = next(iter(runs[0]))
    before = (folder / "manifest.json").read_bytes()
    assert cli.main(["report", str(folder), "--out", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["audited"] is False and told["report"] == str(tmp_path / "report.html")
    assert (folder / "manifest.json").read_bytes() == before
    assert cli.main(["report", str(folder), "--out", str(tmp_path), "--format", "json"]) == 0
    document = json.loads((tmp_path / "report.json").read_text())
    assert "Labels were not opened" in document["summary"][-1]
    keys = [section["key"] for section in document["sections"]]
    assert {"losses", "trust", "cost", "members", "manifest", "rules-kept"} <= set(keys)
    assert not {"picks", "against", "audit", "unlabelled"} & set(keys)
    assert "auroc" not in document["rows"]["columns"]


def test_a_halved_run_is_marked_wherever_survivors_are_described(tmp_path):
    """Every section that labels made says how many settings were tried, and how many stopped."""
    folder = tmp_path / "run"
    write(folder, seed=9, stopped=3, seeds=2)
    file = write_labels(tmp_path / "labels.csv", [folder])
    told = ["--audit", "--labels", str(file), "--splits", "2", "--out", str(tmp_path)]
    arguments = cli.parser().parse_args(["report", str(folder), *told])
    document = report.document(arguments, [folder])
    count = len(run.read(folder).pool.settings)
    mark = f"3 of the {count} settings tried were stopped early"
    sections = {one["key"]: one for one in json.loads(written(document, "json"))["sections"]}
    for key in ("picks", "against", "rules", "audit", "unlabelled"):
        assert any(mark in line for line in sections[key]["text"]), key
    assert written(document, "html").decode().count(mark) >= 5
    (tried,) = (t for t in sections["settings"]["tables"] if t["name"].startswith("Settings of"))
    trained = [row[tried["columns"].index("trained")] for row in tried["rows"]]
    assert trained.count("stopped") == 3 and "0/2" not in trained
    assert "stopped 3 of them early" in document.summary[0]
    assert f"settings that the search left of the {count} it tried" in document.summary[1]


def test_labels_are_logged(runs, audited):
    for folder in runs[0]:
        log = json.loads((folder / "manifest.json").read_text())["label_access"]
        assert log and all(reason.startswith("report") for _, reason in log)


def test_checklist_is_made_from_the_sections(audited, told):
    rows = told["rules-kept"]["Rules of reporting"]
    assert len(rows) == len(RULES) == 16
    state = {int(row["a report must show"].split(".")[0]): row for row in rows}
    assert all(row["shown"] in ("yes", "in part", "missing") for row in rows)
    assert all((row["shown"] == "yes") == (row["what lacks"] == "") for row in rows)
    assert state[15]["shown"] == "missing" and "heatmaps" in state[15]["what lacks"]
    assert "3 seeds" in state[7]["what lacks"] and state[9]["shown"] == "yes"
    only = checklist([Section("a", "A", [], {3: "", 4: "half"})], judged=False)
    table = only.blocks[1]
    shown = {row[0].split(".")[0]: row[1:] for row in table.rows}
    assert shown["3"][0] == "yes" and shown["4"] == ["in part", "A", "half"]
    assert "--audit" in shown["1"][2]


def test_manifest_holds_the_command(runs, told, audited):
    document = json.loads((audited / "report.json").read_text())
    code = next(s for s in document["sections"] if s["key"] == "manifest")["code"]
    command = code["The command that makes this report again"]
    assert command.startswith("ad-jax report ") and "--audit" in command
    arguments = cli.parser().parse_args(command.split()[1:])
    assert arguments.audit and arguments.splits == 4
    assert "ad-jax select nowhere" in code["The commands that made the runs"]


BAD = {
    "no run": (["nowhere"], "nowhere"),
    "unknown format": (["RUN", "--format", "pdf"], "markdown"),
    "labels without audit": (["RUN", "--labels", "labels.csv"], "--audit"),
    "missing labels": (["RUN", "--audit", "--labels", "nowhere.csv"], "nowhere.csv"),
    "missing source": (["RUN", "--audit"], "nowhere/task-0"),
    "no splits": (["RUN", "--audit", "--splits", "0"], "--splits 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_use_is_one_line_and_status_two(case, runs, tmp_path, capsys):
    arguments, word = BAD[case]
    folder = next(iter(runs[0]))
    given = [str(folder) if a == "RUN" else a for a in arguments]
    before = (folder / "manifest.json").read_bytes()
    assert cli.main(["report", *given, "--out", str(tmp_path / "out")]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ad-jax:")]
    assert len(error) == 1 and word in error[0]
    assert not (tmp_path / "out").exists()
    assert (folder / "manifest.json").read_bytes() == before


# ---- tuning ----


def tuned_run(folder):
    write(folder, seed=9)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= {"source": "digits", "options": {"normal": 3}}
    from ad_jax.data import load

    manifest["fingerprint"] = load("digits", normal=3)[0].fingerprint
    (folder / "manifest.json").write_text(json.dumps(manifest))
    start = {"area": 0.1, "angle": 5.0}
    one = {"start": start, "end": start, "loss": 0.5, "error": 0.1, "gain": 0.2, "status": "ok"}
    about = {
        "augmentation": "cutdiff",
        "tuned": [{"name": "area", "low": 0.01, "high": 0.8, "scale": "log"}],
        "weights": False,
        "fixed": {"aspect": 1.0, "strength": 1.0},
        "plan": {},
        "starts": [one, {**one, "loss": None, "status": "diverged"}],
        "best": 0,
        "picked": 0,
        "hyper": start,
        "reasons": [],
    }
    (folder / "tuned.json").write_text(json.dumps(about))
    lines = ["start,step,area,angle,loss,gate,gradient,alive"]
    for i, steps in enumerate((12, 9)):  # a start that has arrived stops
        lines += [f"{i},{j},{0.1 + 0.02 * j},{5 + j},{1 / (j + 1)},0,1,1" for j in range(steps)]
    (folder / "trajectory.csv").write_text("\n".join(lines))


def test_trajectories_and_images_along_them(tmp_path):
    tuned_run(tmp_path / "run")
    traced = tuning_files.read(tmp_path / "run")
    assert traced.names == ("area", "angle") and traced.values.shape == (2, 12, 2)
    assert traced.steps.tolist() == [12, 9] and np.isnan(traced.loss[1, 9:]).all()
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    text = html_of(tmp_path / "run")
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert len(pictures) == 2 * 7  # as it is, and six moments, per start
    import base64

    image = Image.open(io.BytesIO(base64.b64decode(pictures[1])))
    assert image.size[0] == image.size[1] > 40
    assert "start 0 (lowest loss) (picked)" in text and "area (allowed: 0.01 to 0.8)" in text


def test_a_source_that_is_gone_costs_the_images_only(tmp_path):
    tuned_run(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["source"] = "nowhere"
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    text = html_of(tmp_path / "run")
    assert "no images along the trajectories" in text and "data:image/png" not in text
    (tmp_path / "run" / "trajectory.csv").write_text("start,step\n1,x")
    assert cli.main(["report", str(tmp_path / "run")]) == 2


# ---- drawings ----


def test_colours_differ_for_every_vision():
    """No two series look alike to a dichromat (Machado et al., 2009), on paper or on dark."""
    simulate = {
        "protan": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deutan": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    }
    for side in (0, 1):
        rgb = np.array(
            [[int(theme.COLOURS[n][side][i : i + 2], 16) for i in (1, 3, 5)] for n in theme.SERIES]
        )
        linear = (rgb / 255.0) ** 2.2
        for matrix in simulate.values():
            seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
            gap = np.linalg.norm(seen[:6, None] - seen[None, :6], axis=-1)
            assert gap[~np.eye(6, dtype=bool)].min() > 0.08
    assert (
        len({(k.colour, k.shape) for k in theme.keys([str(i) for i in range(64)]).values()}) == 64
    )


@pytest.mark.parametrize("side", [0, 1])
def test_colours_stand_out_from_the_page(side):
    def luminance(colour):
        c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    paper = luminance(theme.COLOURS["paper"][side])
    for name in (*theme.SERIES, "ink", "faint"):
        one = luminance(theme.COLOURS[name][side])
        ratio = (max(one, paper) + 0.05) / (min(one, paper) + 0.05)
        assert ratio >= (4.5 if name in ("ink", "faint") else 3.0), name
    values = [both[0] for both in theme.COLOURS.values()]
    assert len(set(values)) == len(values)  # a value stands for its name in the SVG


def test_at_most_so_many_lines_are_drawn():
    losses = list(np.random.default_rng(0).normal(size=5000))
    kept = points.thinned(losses)
    assert len(kept) == len(set(kept)) == points.MOST
    best = set(np.argsort(losses)[: points.MOST // 2].tolist())
    assert best <= set(kept) and int(np.argmax(losses)) in kept


def test_parallel_lines_are_the_tables_rows():
    figure = parallel.coordinates(
        "t",
        {"family": ["a", "b", "b"]},
        {"area": [0.01, 0.02, math.nan], "x": [1, 2, 3]},
        [2, 0],
        "",
    )
    text = theme.svg(figure)
    assert re.findall(r'data-line="(\d+)"', text) == ["2", "0"]
    assert "NaN" not in text and "nan" not in text


def test_numbers_for_readers():
    assert [number(v) for v in (0.12345, -0.5, 1e-5, 1e-12, math.nan, math.inf)] == [
        "0.123",
        "−0.500",
        "1.0e−5",
        "0.000",
        "–",
        "∞",
    ]


# ---- other writers ----


def test_a_terminal_shows_titles_tables_and_lines():
    table = Table("", [Column("rule"), Column("AUROC")], [["a", Estimate(0.5, 0.25, 0.75)]])
    sections = [
        Section("s", "A title", [table, Prose(["first", "second"])]),
        Section("t", "", [Table("", [Column("x")], [[math.nan]], foot=[[None]])]),
    ]
    lines = terminal(sections).split("\n")
    assert lines[:2] == ["", "A title"] and lines[5:7] == ["first", "second"]
    assert lines[4].split(maxsplit=1) == ["a", "0.500 [0.250, 0.750]"]
    assert lines[7:] == ["", "x", "-", "-", ""]


def test_a_picture_draws_the_figures_of_the_page():
    """Every figure is drawn once, and the picture grows with its rows."""
    drawn = []
    figure = Figure("t", "about", lambda axes: drawn.append(axes.plot([0, 1], [0, 1])))
    sizes = [picture("title", ["line"], [Figures([figure] * n)]).size for n in (1, 2, 3)]
    assert len(drawn) == 6
    assert sizes[0] == sizes[1] and sizes[2][1] - sizes[1][1] == 2 * figure.height
    assert theme.svg(figure).startswith("<svg") and len(drawn) == 7


def test_tables_follow_from_their_items():
    fields = [field("name", str, "of the item"), field("square", lambda x: float(x * x), digits=1)]
    table = tabulated("numbers", fields, [1, 2], foot=[["sum", 5.0]], note="note")
    assert table.rows == [["1", 1.0], ["2", 4.0]] and table.foot == [["sum", 5.0]]
    assert table.columns == [Column("name", "of the item"), Column("square", "", 1)]
