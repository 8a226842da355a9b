"""Pools from other libraries: from arrays and files, every kind of bad input, and the command."""

import csv
import json
import sys
import warnings

import numpy as np
import pytest

from ad_jax import cli, evaluate
from ad_jax.base.errors import InputError
from ad_jax.data import Labels, Truth
from ad_jax.pool import Pool
from ad_jax.pool import external as foreign
from ad_jax.selection import rules

COUNT, SAMPLES = 6, 40
NAMES = ["knn", "knn", "lof k=5", "pca", "iforest", "hbos"]


@pytest.fixture(scope="module")
def labels():
    return (np.arange(SAMPLES) % 4 == 0).astype(int)


@pytest.fixture(scope="module")
def scores(labels):
    generator = np.random.default_rng(0)
    return labels + generator.normal(size=(COUNT, SAMPLES)) * np.linspace(0.2, 2, COUNT)[:, None]


@pytest.fixture(scope="module")
def held_out():
    return np.random.default_rng(1).normal(size=(COUNT, 15))


def write_csv(path, scores, names=None, header=None):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(header)
        for i, row in enumerate(scores):
            writer.writerow([*([names[i]] if names else []), *row])
    return path


# ---- from arrays ----


class _Column:
    """A column of a table whose rows were sorted: indexed by label, iterated in order."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __getitem__(self, label):
        return self.values[len(self.values) - 1 - label]


def test_names_and_seeds_of_a_table_go_by_row_and_not_by_index(scores):
    pool = Pool.from_scores(scores, _Column(list("abcdef")), seeds=_Column(range(6)))
    assert [m.setting.augmentation for m in pool.members] == list("abcdef")
    assert [m.seed for m in pool.members] == list(range(6))


def test_settings_keep_their_names(scores, held_out):
    pool = Pool.from_scores(
        scores,
        ["knn", "knn", {"name": "lof", "k": 5}, {"name": "lof", "k": 9, "metric": "l1"}, "", "a"],
        held_out,
    )
    assert [s.label for s in pool.settings] == [
        "knn",
        "lof k=5",
        "lof metric=l1 k=9",
        "member 4",
        "a",
    ]
    assert [m.seed for m in pool.members] == [0, 1, 0, 0, 0, 0]
    assert len({s.key for s in pool.settings}) == 5
    assert pool.settings[1].strength == 5.0 and pool.settings[0].strength is None
    assert pool.settings[1].family == "lof"
    target, normal = pool.own_scores()
    np.testing.assert_array_equal(target, scores)
    np.testing.assert_array_equal(normal, held_out)


def test_names_of_the_catalogue_are_no_settings_of_it(scores):
    pool = Pool.from_scores(scores, ["blur", "cutpaste", "rotate", "scar", "hue", "noise"])
    assert [s.strength for s in pool.settings] == [None] * COUNT
    assert "default_setting" in rules.left_out(pool)


def test_without_settings_members_are_numbered(scores):
    assert [s.label for s in Pool.from_scores(scores).settings] == [f"member {i}" for i in range(6)]


def test_rules_that_scores_can_serve(scores, held_out):
    alone = rules.available(Pool.from_scores(scores))
    assert set(alone) == {
        "score_variance", "score_entropy", "rtm", "eag", "model_centrality", "hits", "select",
        "random",
    }  # fmt: skip
    more = set(rules.available(Pool.from_scores(scores, NAMES, held_out))) - set(alone)
    assert more == {
        *("tail_share", "auroc_held_out", "tail_and_auroc", "several_tails", "udr"),
        *("wilcoxon_7", "wilcoxon_31", "magnitude_tail", "higher_criticism", "adadetect"),
        *("other_families", "other_families_twice"),
    }
    assert "held-out" in rules.left_out(Pool.from_scores(scores))["tail_share"]


def test_double_precision_stays(scores):
    close = 1.0 + 1e-12 * scores
    pool = Pool.from_scores(close)
    np.testing.assert_allclose(
        rules.get("model_centrality").loss(pool),
        rules.get("model_centrality").loss(Pool.from_scores(scores)),
        atol=1e-3,
    )


def test_bad_rows_are_named_and_left_out(scores, held_out):
    bad, normal = scores.copy(), held_out.copy()
    bad[1, 3], bad[4] = np.nan, 7.0
    normal[3, 0] = np.inf
    with pytest.warns(UserWarning) as told:
        pool = Pool.from_scores(bad, [f"d{i}" for i in range(COUNT)], normal)
    said = " ".join(str(one.message) for one in told)
    assert "row 1 (d1)" in said and "row 3 (d3)" in said and "row 4 (d4)" in said
    assert [s.label for s in pool.settings] == ["d0", "d2", "d5"]
    np.testing.assert_array_equal(pool.own_scores()[0], bad[[0, 2, 5]])


BAD = {
    "one member": (lambda s: {"scores": s[:1]}, "at least 2"),
    "two samples": (lambda s: {"scores": s[:, :2]}, "at least 3"),
    "one row": (lambda s: {"scores": s[0]}, r"\[members, samples\]"),
    "no numbers": (lambda s: {"scores": [["a", "b", "c"]] * 3}, "no matrix of numbers"),
    "ragged": (lambda s: {"scores": [[1.0, 2.0, 3.0], [1.0, 2.0]]}, "no matrix of numbers"),
    "all constant": (lambda s: {"scores": np.ones((4, 9))}, "4 are constant"),
    "all broken": (lambda s: {"scores": np.full((4, 9), np.nan)}, "4 hold NaN"),
    "on its side": (
        lambda s: {"scores": s.T, "settings": NAMES},
        r"\(40, 6\).*lie on their side.*\(6, 40\)",
    ),
    "seeds on their side": (lambda s: {"scores": s.T, "seeds": range(6)}, "lie on their side"),
    "too few names": (lambda s: {"scores": s, "settings": NAMES[:3]}, "give 6"),
    "held-out on its side": (
        lambda s: {"scores": s, "held_out": s[:, :15].T},
        r"\(15, 6\).*transpose",
    ),
    "other held-out": (lambda s: {"scores": s, "held_out": s[:4]}, r"\(6, \.\.\.\)"),
    "one held-out": (lambda s: {"scores": s, "held_out": s[:, :1]}, "2 normals"),
    "twice the same": (
        lambda s: {"scores": s, "settings": NAMES, "seeds": [0] * 6},
        "rows 0 and 1 are both 'knn' with seed 0",
    ),
    "half a seed": (lambda s: {"scores": s, "seeds": [0.5] * 6}, "whole numbers"),
    "infinite seeds": (lambda s: {"scores": s, "seeds": [np.inf] * 6}, "whole numbers"),
    "one seed for all": (lambda s: {"scores": s, "seeds": 3}, "seeds=3 is no list"),
    "names by key": (lambda s: {"scores": s, "settings": dict.fromkeys(NAMES)}, "is a dict"),
    "names in a row": (lambda s: {"scores": s, "settings": "abcdef"}, "is a str"),
    "masked": (lambda s: {"scores": np.ma.masked_greater(s, 0)}, "masked"),
    "complex": (lambda s: {"scores": s + 1j}, "no matrix of numbers"),
    "words for seeds": (lambda s: {"scores": s, "seeds": list("abcdef")}, "whole numbers"),
    "setting of numbers": (lambda s: {"scores": s, "settings": list(range(6))}, "a name"),
    "infinite hyper": (
        lambda s: {"scores": s, "settings": [{"name": "a", "k": np.inf}] * 6},
        "no finite number",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_bad_arrays_are_one_line(case, scores):
    make, message = BAD[case]
    with pytest.raises(InputError, match=message) as error:
        Pool.from_scores(**make(scores))
    assert "\n" not in str(error.value)


# ---- files and the command ----


def test_every_kind_of_file_gives_the_same(scores, held_out, tmp_path):
    np.savez(tmp_path / "a.npz", scores=scores, settings=np.array(NAMES), held_out=held_out)
    np.savez(tmp_path / "plain.npz", scores=scores, settings=np.array(NAMES))
    np.savez(tmp_path / "normal.npz", held_out=held_out)
    plain = write_csv(tmp_path / "b.csv", scores, NAMES)
    headed = write_csv(
        tmp_path / "c.csv", scores, NAMES, ["setting", *(f"s{i}" for i in range(SAMPLES))]
    )
    counted = write_csv(tmp_path / "d.csv", scores, NAMES, ["", *range(SAMPLES)])
    normal = write_csv(tmp_path / "n.csv", held_out, NAMES)
    first = Pool.from_scores(scores, NAMES, held_out)
    for path, extra in (
        (tmp_path / "a.npz", None),
        (tmp_path / "plain.npz", tmp_path / "normal.npz"),
        (plain, normal),
        (headed, normal),
        (counted, tmp_path / "normal.npz"),
    ):
        pool = Pool.from_scores(**foreign.read(path, extra))
        np.testing.assert_array_equal(pool.scores, first.scores)
        np.testing.assert_array_equal(pool.held_out_scores, first.held_out_scores)
        assert [m.setting for m in pool.members] == [m.setting for m in first.members]


def test_columns_say_what_a_member_is(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(
        "setting,hyper.k,hyper.metric,seed,x,y,z\n"
        "knn,5,l1,0,.1,.2,.3\nknn,5,l1,1,.3,.2,.3\npca,,,0,.5,.2,.3\n"
    )
    pool = Pool.from_scores(**foreign.read(path))
    assert [s.label for s in pool.settings] == ["knn metric=l1 k=5", "pca"]
    assert [m.seed for m in pool.members] == [0, 1, 0]


def test_a_byte_order_mark_is_no_name(tmp_path):
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xef\xbb\xbfsetting,seed,x,y,z\na,0,1,2,3\na,1,3,2,1\n")
    pool = Pool.from_scores(**foreign.read(path))
    assert [s.label for s in pool.settings] == ["a"] and len(pool.members) == 2


def test_names_may_be_bytes(scores, tmp_path):
    np.savez(tmp_path / "s.npz", scores=scores, settings=np.array(NAMES, "S"))
    assert foreign.read(tmp_path / "s.npz")["settings"] == NAMES


def test_numbers_alone_are_numbered_members(scores, tmp_path):
    given = foreign.read(write_csv(tmp_path / "s.csv", scores))
    assert "settings" not in given and given["scores"].shape == (COUNT, SAMPLES)


@pytest.fixture
def files(scores, held_out, labels, tmp_path):
    np.savez(tmp_path / "pool.npz", scores=scores, settings=np.array(NAMES), held_out=held_out)
    (tmp_path / "labels.csv").write_text("\n".join(["label", *map(str, labels)]))
    return tmp_path


def test_the_command_picks_and_audits(files, labels, scores, capsys):
    from sklearn.metrics import roc_auc_score

    path = str(files / "pool.npz")
    assert cli.main(["rules", path, "--json"]) == 0
    blind = json.loads(capsys.readouterr().out)
    assert blind["members"] == 6 and blind["settings"] == 5 and "audit" not in blind
    assert "embeddings" in blind["left_out"]["dsv_code"]
    out = files / "out"
    arguments = ["rules", path, "--labels", str(files / "labels.csv")]
    assert cli.main([*arguments, "--json", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "NaN" not in text
    told = json.loads(text)
    assert told["rules"] == blind["rules"]  # labels change no pick
    member = [roc_auc_score(labels, row) for row in scores]
    setting = [np.mean(member[:2]), *member[2:]]
    assert told["audit"]["oracle"] == pytest.approx(max(setting))
    assert told["audit"]["expected_random"] == pytest.approx(np.mean(setting))
    pick = told["rules"]["auroc_held_out"]["pick"]
    where = ["knn", *NAMES[2:]].index(pick)
    assert told["audit"]["picks"]["auroc_held_out"] == pytest.approx(setting[where])
    with open(out / "rules.csv", newline="") as file:
        assert {row["rule"] for row in csv.DictReader(file)} == set(told["rules"])
    with open(out / "losses.csv", newline="") as file:
        assert [row["setting"] for row in csv.DictReader(file)] == ["knn", *NAMES[2:]]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "model_centrality" in said and "left out, no embeddings" in said and "oracle" in said


def test_permuted_labels_change_no_pick(files, labels, capsys):
    picks = []
    for seed in range(2):
        moved = np.random.default_rng(seed).permutation(labels)
        (files / "moved.txt").write_text("\n".join(map(str, moved)))
        arguments = ["rules", str(files / "pool.npz"), "--labels", str(files / "moved.txt")]
        assert cli.main([*arguments, "--json"]) == 0
        picks.append(json.loads(capsys.readouterr().out)["rules"])
    assert picks[0] == picks[1]


def test_ties_share_the_pick(scores, labels):
    pool = Pool.from_scores(scores)
    losses = {"flat": {s.key: 1.0 for s in pool.settings}}
    truth = evaluate.labels_file("unread", (COUNT, SAMPLES))
    truth._read = lambda: Labels(labels, [""] * SAMPLES)
    result = evaluate.audit_pool(pool, losses, truth)
    assert result.picks["flat"] == pytest.approx(result.expected_random)
    assert np.isnan(result.spearman["flat"])
    assert truth.log[0][1] == "audit of scores"


FILES = {
    "no file": ("nowhere.csv", None, "no file"),
    "damaged zip": ("a.npz", b"PK\x03\x04 no zip", "does not read"),
    "text as zip": ("b.npz", b"hello", "does not read"),
    "empty": ("c.csv", b"", "empty"),
    "binary": ("d.csv", bytes(range(128, 255)), "does not read"),
    "two settings": ("k.csv", b"setting,setting,x,y,z\na,b,1,2,3\n", "2 columns 'setting'"),
    "ragged": ("e.csv", b"a,1,2,3\nb,1,2\n", "line 2 has 3 columns, the first 4"),
    "words": ("f.csv", b"a,1,2,3\nb,1,x,3\n", "line 2: 'x' is no number"),
    "words at the end": ("m.csv", b"a,1,2,x\nb,1,2,3\n", "line 1: 'x' is no number"),
    "names alone": ("g.csv", b"setting,seed\na,1\nb,2\n", "no columns of samples"),
    "header alone": ("h.csv", b"setting,s0,s1,s2\n", "0 member"),
    "one member": ("i.csv", b"a,1,2,3\n", "1 member"),
    "two samples": ("j.csv", b"a,1,2\nb,2,1\n", "2 samples"),
    "constant": ("k.csv", b"a,1,1,1\nb,2,2,2\n", "2 are constant"),
    "missing cells": ("l.csv", b"a,1,2,3\nb,1,,3\n", "1 hold NaN"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_files_are_one_line_and_status_two(case, tmp_path, capsys):
    name, content, word = FILES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    assert cli.main(["rules", str(tmp_path / name), "--out", str(out)]) == 2
    *warned, error = capsys.readouterr().err.splitlines()
    assert all("left out" in line for line in warned)
    assert error.startswith("ad-jax: ") and word in error
    assert not out.exists()


def test_objects_are_refused(scores, tmp_path, capsys):
    np.savez(tmp_path / "o.npz", scores=scores, settings=np.array([{"a": 1}] * 6, object))
    assert cli.main(["rules", str(tmp_path / "o.npz")]) == 2
    assert "does not read" in capsys.readouterr().err
    np.savez(tmp_path / "p.npz", values=scores)
    assert cli.main(["rules", str(tmp_path / "p.npz")]) == 2
    assert "no array `scores`" in capsys.readouterr().err


LABELS = {
    "too few": (b"0\n1\n0\n", "3 labels for scores of shape (6, 40)"),
    "one per member": (b"0\n1\n0\n1\n0\n1\n", "lie on their side"),
    "one class": (b"0\n" * SAMPLES, "all labels are equal"),
    "words": (b"normal\n" * SAMPLES, "neither 0 (normal) nor 1"),
    "no column": (b"name,class\n" + b"s,1\n" * SAMPLES, "no column `label`"),
    "none": (b"", "0 labels"),
}


@pytest.mark.parametrize("case", LABELS)
def test_bad_labels_write_nothing(case, files, capsys):
    content, word = LABELS[case]
    path, out = files / "bad.csv", files / "out"
    out.mkdir()
    (out / "rules.csv").write_text("as it was")
    path.write_bytes(content)
    arguments = ["rules", str(files / "pool.npz"), "--labels", str(path), "--out", str(out)]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and word in error[0]
    assert (out / "rules.csv").read_text() == "as it was"
    assert cli.main([*arguments[:3], str(files / "nowhere.csv")]) == 2


def test_held_out_of_other_members_is_refused(scores, held_out, tmp_path, capsys):
    path = write_csv(tmp_path / "s.csv", scores, NAMES)
    other = write_csv(tmp_path / "h.csv", held_out, NAMES[::-1])
    assert cli.main(["rules", str(path), "--held-out", str(other)]) == 2
    assert "row 0 is 'hbos', but 'knn'" in capsys.readouterr().err


def test_bad_rows_are_warned_by_the_command(scores, tmp_path, capsys):
    bad = scores.copy()
    bad[2, 5] = np.nan
    path = write_csv(tmp_path / "s.csv", bad, NAMES)
    assert cli.main(["rules", str(path)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ad-jax: ") and "row 2 (lof k=5)" in line


def test_no_other_library_is_loaded(scores):
    assert "pyod" not in sys.modules
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Pool.from_scores(scores)


def test_labels_of_other_samples_are_refused_before_they_are_read(scores):
    pool = Pool.from_scores(scores)
    truth = Truth(["a", "b"], lambda: pytest.fail("read"))
    with pytest.raises(InputError, match=f"2 samples do not fit scores of {scores.shape[1]}"):
        evaluate.audit_pool(pool, {}, truth)


def test_scores_at_the_ends_of_their_precision_are_not_judged(scores):
    far = np.array(scores, np.float32)
    far[0, :2] = 3e38, -3e38
    pool = Pool.from_scores(far)
    for name in ("score_variance", "score_entropy"):
        loss = rules.get(name).loss(pool)
        assert loss[0] == np.inf and np.isfinite(loss[1:]).all()
