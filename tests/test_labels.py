"""Files of labels: joined by name, read with one strictness by `rules` and `audit`."""

import codecs
import json

import numpy as np
import pytest
from small_run import write

from ad_jax import cli, evaluate
from ad_jax.base.errors import InputError

NAMES = ["a.png", "b.png", "ö c.png", "d.png", "e.png", "f.png"]
LABELS = [0, 0, 1, 0, 1, 0]
SHAPE = (3, len(NAMES))
LINES = [f"{name},{label}" for name, label in zip(NAMES, LABELS)]
TEXT = "\n".join(["name,label", *LINES]) + "\n"


def by_both(path, names=NAMES):
    """Truths by the reader of `rules` and by that of `audit`."""
    return evaluate.labels_file(path, SHAPE, names), evaluate.labels_by_name(path, names)


def write_scores(path, names):
    """Three detectors; the last one knows the labels."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(3, len(names))) + np.outer([0, 1, 9], LABELS)
    lines = [",".join([f"m{i}", *map(str, row)]) for i, row in enumerate(rows)]
    path.write_text("\n".join([",".join(["setting", *names]), *lines]), encoding="utf-8")
    return path


def told(arguments, capsys):
    assert cli.main(arguments) == 0
    return json.loads(capsys.readouterr().out)["audit"]


def test_labels_in_another_order_give_the_same_audit(tmp_path, capsys):
    scores, path = write_scores(tmp_path / "scores.csv", NAMES), tmp_path / "labels.csv"
    found = []
    for order in (range(6), [4, 0, 5, 2, 1, 3]):
        path.write_text("\n".join(["name,label", *(LINES[i] for i in order)]), encoding="utf-8")
        found.append(told(["rules", str(scores), "--labels", str(path), "--json"], capsys))
    assert found[0] == found[1] and found[0]["oracle"] == 1.0


@pytest.mark.parametrize("order", [range(6), [4, 0, 5, 2, 1, 3]])
def test_names_under_another_title_are_not_taken_line_by_line(order, tmp_path):
    path = tmp_path / "labels.csv"
    lines = [f"{i},{LINES[i]}" for i in order]
    path.write_text("\n".join(["number,filename,label", *lines]), encoding="utf-8")
    truth = evaluate.labels_file(path, SHAPE, NAMES)
    with pytest.raises(InputError, match="column 'filename' holds names of samples; call it"):
        truth.open("test")


def test_samples_whose_names_differ_in_how_an_accent_is_composed_keep_their_own_labels(tmp_path):
    path, names = tmp_path / "labels.csv", ["\u00e9", "e\u0301", *NAMES[2:]]
    lines = [f"{name},{label}" for name, label in zip(names, [1, *LABELS[1:]])]
    path.write_text("\n".join(["name,label", *reversed(lines)]), encoding="utf-8")
    for truth in by_both(path, names):
        assert truth.open("test").anomalous.tolist() == [1, *LABELS[1:]]


@pytest.mark.parametrize("turn", [False, True])
def test_columns_that_are_numbered_are_names_only_if_the_labels_have_them(turn, tmp_path, capsys):
    scores = write_scores(tmp_path / "scores.csv", list("012345"))
    path, order = tmp_path / "labels.csv", range(5, -1, -1) if turn else range(6)
    path.write_text("\n".join(["name,label", *(f"{i},{LABELS[i]}" for i in order)]))
    arguments = ["rules", str(scores), "--labels", str(path), "--json"]
    assert told(arguments, capsys)["oracle"] == 1.0
    path.write_text(TEXT, encoding="utf-8")
    assert told(arguments, capsys)["oracle"] == 1.0


def test_names_that_cannot_be_used_are_warned_of(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(TEXT, encoding="utf-8")
    with pytest.warns(UserWarning, match="scores name no samples"):
        opened = evaluate.labels_file(path, SHAPE).open("test")
    np.testing.assert_array_equal(opened.anomalous, LABELS)


READ = {
    "as it should be": TEXT.encode(),
    "byte-order mark": codecs.BOM_UTF8 + TEXT.encode(),
    "semicolons": TEXT.replace(",", ";").encode(),
    "tabs": TEXT.replace(",", "\t").encode(),
    "line ends of Windows, blank lines": TEXT.replace("\n", "\r\n\r\n").encode(),
    "capitals in the header": TEXT.replace("name,label", "Name, LABEL ").encode(),
    "another column, another order": "\n".join(
        ["label,note,name", *(f"{b},x,{a}" for a, b in reversed([*zip(NAMES, LABELS)]))]
    ).encode(),
    "as floats": TEXT.replace(",0", ",0.0").replace(",1", ",1.0").encode(),
    "as Excel writes truth": TEXT.replace(",0", ",FALSE").replace(",1", ",TRUE").encode(),
    "as Python writes truth": TEXT.replace(",0", ",False").replace(",1", ",True").encode(),
    "a sample twice, with one label": (TEXT + "a.png,0\n").encode(),
    "a sample too many": (TEXT + "z.png,1\n").encode(),
    "accents composed otherwise": TEXT.replace("ö", "o\u0308").encode(),
}


@pytest.mark.parametrize("case", READ)
def test_both_readers_take(case, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(READ[case])
    for truth in by_both(path):
        opened = truth.open("test")
        np.testing.assert_array_equal(opened.anomalous, LABELS)
        assert opened.kinds == ["anomaly" if label else "" for label in LABELS]
        assert truth.names == NAMES


REFUSED = {
    "UTF-16": (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), "UTF-16"),
    "UTF-16 without mark": (TEXT.encode("utf-16-be"), "UTF-16"),
    "Latin-1": (TEXT.encode("latin-1"), "byte 0xf6 in line 4 is no UTF-8"),
    "nan": (TEXT.replace("d.png,0", "d.png,nan").encode(), "line 5: 'nan' is neither 0"),
    "empty": (TEXT.replace("d.png,0", "d.png,").encode(), "line 5: an empty label is neither"),
    "short": (TEXT.replace("d.png,0", "d.png").encode(), "line 5: an empty label is neither"),
    "another number": (TEXT.replace("d.png,0", "d.png,2").encode(), "line 5: '2' is neither"),
    "a word": (TEXT.replace("d.png,0", "d.png,good").encode(), "line 5: 'good' is neither"),
    "no name": (TEXT.replace("d.png,0", ",0").encode(), "line 5 names no sample"),
    "two labels": ((TEXT + "a.png,1\n").encode(), "'a.png' is 0 in line 2 and 1 in line 8"),
    "some match": (TEXT.replace("b.png", "x.png").encode(), "'b.png' (1 of 6 samples lack one)"),
    "none match": (TEXT.replace(".png", ".jpg").encode(), "(6 of 6 samples lack one)"),
    "no column label": (TEXT.replace("name,label", "name,y").encode(), "no column `label`"),
    "two columns label": (TEXT.replace("name,", "label,").encode(), "2 columns `label`"),
    "no file": (None, "No such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_both_readers_refuse(case, tmp_path):
    content, word = REFUSED[case]
    path, said = tmp_path / "labels.csv", []
    if content is not None:
        path.write_bytes(content)
    for truth in by_both(path):
        with pytest.raises(InputError) as caught:
            truth.open("test")
        said.append(str(caught.value))
    assert said[0] == said[1] and word in said[0] and "\n" not in said[0]
    assert said[0].startswith(f"--labels {path}")


def test_labels_line_by_line_suit_scores_but_no_run(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(map(str, LABELS)))
    by_row, by_name = by_both(path)
    np.testing.assert_array_equal(by_row.open("test").anomalous, LABELS)
    with pytest.raises(InputError, match="no column `name`"):
        by_name.open("test")


def test_the_audit_refuses_a_sample_with_two_labels(tmp_path, capsys):
    folder = tmp_path / "run"
    labels = write(folder)
    lines = [f"{'odd' if label else 'plain'}-{i},{label}" for i, label in enumerate(labels)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["name,label", *lines, lines[3][:-1] + str(1 - labels[3])]))
    assert cli.main(["audit", str(folder), "--labels", str(path), "--json"]) == 2
    assert "line 5 and" in capsys.readouterr().err
    path.write_bytes(codecs.BOM_UTF8 + "\n".join(["name;label", *lines]).replace(",", ";").encode())
    assert cli.main(["audit", str(folder), "--labels", str(path), "--json"]) == 0
