"""Tables: what columns become, bad input, labels that reach nothing, and scoring further rows."""

import csv
import io
import sys

import numpy as np
import pytest
from small_detector import make

import ad_jax
from ad_jax import cli
from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import load, parse
from ad_jax.data.columns import CATEGORIES, Columns, fit
from ad_jax.data.frame import chunks, read_table, table_of
from ad_jax.data.stream import stream
from ad_jax.data.tables import SETS, from_frames
from ad_jax.detect import Loading


def made(count=24, seed=0):
    """Columns of every kind, as text."""
    rng = np.random.default_rng(seed)
    return {
        "width": [f"{v:.3f}" for v in rng.normal(5, 2, count)],
        "parts": [str(v) for v in rng.integers(0, 9, count)],
        "wet": [("true", "False")[v] for v in rng.integers(0, 2, count)],
        "colour": [("red", "green", "blue, dark")[v] for v in rng.integers(0, 3, count)],
    }


def written(path, columns, apart=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=apart)
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))
    return path


def with_labels(count=24, anomalous=6, **more):
    labels = ["normal"] * (count - anomalous) + ["broken"] * anomalous
    return made(count) | {"state": labels} | more


def split_of(path, **changes):
    """A file whose first two thirds train."""
    columns = made() | {"part": ["train"] * 16 + ["target"] * 8} | changes
    return load(written(path, columns), split="part")


# ---- encodings ----


def test_columns_become_what_a_slow_twin_says(tmp_path):
    columns = made() | {"part": ["train"] * 16 + ["target"] * 8}
    columns["width"][3] = ""
    problem, _ = load(written(tmp_path / "a.csv", columns), split="part")
    known = problem.columns
    assert known.labels[:4] == ["width", "width missing", "parts", "wet"]
    assert known.labels[-1] == "colour=(other)"
    train = [{name: cells[i] for name, cells in columns.items()} for i in range(16)]
    widths = [float(row["width"]) for row in train if row["width"]]
    parts = [float(row["parts"]) for row in train]
    colours = [label.partition("=")[2] for label in known.labels[4:-1]]
    assert colours == sorted(colours, key=lambda c: (-sum(r["colour"] == c for r in train), c))
    expected = []
    for row in train:
        width = float(row["width"]) if row["width"] else np.median(widths)
        expected.append(
            [
                (width - np.mean(widths)) / np.std(widths),
                float(row["width"] == ""),
                (float(row["parts"]) - np.mean(parts)) / np.std(parts),
                float(row["wet"].lower() == "true"),
                *(float(row["colour"] == colour) for colour in colours),
                0.0,
            ]
        )
    in_order = sorted(map(tuple, np.float32(expected).tolist()))
    np.testing.assert_allclose(sorted(map(tuple, problem.train.tolist())), in_order, rtol=1e-6)


def test_only_training_rows_say_how_columns_are_encoded(tmp_path):
    before, _ = split_of(tmp_path / "a.csv")
    columns = made()
    columns["width"][16:] = ["1e6"] * 8
    columns["colour"][16:] = ["black"] * 8
    after, _ = split_of(tmp_path / "b.csv", **columns)
    assert after.columns == before.columns
    assert after.train.tobytes() == before.train.tobytes()
    other = after.columns.labels.index("colour=(other)")
    assert (after.target[:, other] == 1).all() and (after.train[:, other] == 0).all()
    assert (after.target[:, other - 3 : other] == 0).all()


def test_rows_beyond_the_limit_do_not_say_how_columns_are_encoded(tmp_path):
    path = written(tmp_path / "a.csv", made() | {"part": ["train"] * 16 + ["target"] * 8})
    whole, few = load(path, split="part")[0], load(path, split="part", limit=8)[0]
    assert len(few.train) == len(few.target) == 8
    table = read_table(path).without(["part"]).take(np.arange(16))
    order = sorted(range(16), key=table.hashes().__getitem__)[:8]
    assert few.columns == fit(table.take(order)) != whole.columns
    assert few.fingerprint == load(path, split="part", limit=8)[0].fingerprint


def test_a_constant_column_stays_and_a_change_shows(tmp_path):
    problem, _ = split_of(tmp_path / "a.csv", parts=["0.1"] * 23 + ["0.6"])
    at = problem.columns.labels.index("parts")
    assert (problem.train[:, at] == 0).all()
    assert sorted(problem.target[:, at])[-2:] == [0, 0.5]


def test_columns_without_any_value_are_left_out_with_a_warning(tmp_path):
    with pytest.warns(DataWarning, match="column 'parts' without any value in the training rows"):
        problem, _ = split_of(tmp_path / "a.csv", parts=["NA", "?"] * 8 + ["3"] * 8)
    assert "parts" not in problem.columns.labels


def test_values_missing_in_the_target_alone_are_filled_and_counted(tmp_path):
    width = made()["width"]
    with pytest.warns(DataWarning, match=r"target of .*: 2 in 'width'"):
        problem, _ = split_of(tmp_path / "a.csv", width=[*width[:22], "", "nan"])
    fill = (np.median(np.float64(width[:16])) - np.mean(np.float64(width[:16]))) / np.std(
        np.float64(width[:16])
    )
    assert (abs(problem.target[:, 0] - fill) < 1e-5).sum() == 2


def test_rare_categories_are_other_ones(tmp_path):
    names = [f"c{i:02d}" for i in range(40)]
    train = table_of({"kind": names[:1] * 3 + names})
    (column,) = fit(train).columns
    assert column.levels == tuple(names[:CATEGORIES])
    rows = fit(train).encode({"kind": ["c00", "c39", "new", ""]})
    assert rows.shape == (4, CATEGORIES + 1) and (rows.sum(1) == 1).all()
    assert rows[0, 0] == 1 and (rows[1:, -1] == 1).all()


def test_a_column_that_names_rows_is_told():
    with pytest.warns(DataWarning, match="'id' has 100 categories in 100 training rows"):
        fit(table_of({"id": [f"row {i}" for i in range(100)]}))


def test_numbers_may_be_categories(tmp_path):
    path = written(tmp_path / "a.csv", made() | {"part": ["train"] * 16 + ["target"] * 8})
    problem, _ = load(path, split="part", category="parts", drop="width;wet")
    assert {column.kind for column in problem.columns.columns} == {"category"}
    rows = problem.columns.encode({"parts": ["007", "7.0"], "colour": ["red", "red"]})
    seven = problem.columns.labels.index("parts=7")
    assert (rows[:, seven] == 1).all()
    with pytest.raises(InputError, match="category=pats is no column of"):
        load(path, split="part", category="pats")


def test_columns_come_back_from_json(tmp_path):
    known = split_of(tmp_path / "a.csv")[0].columns
    assert Columns.from_data(known.as_data()) == known


# ---- files ----


def test_parquet_csv_and_frames_give_one_problem(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow as pa

    text = with_labels()
    text["width"][:12:2] = [""] * 6
    typed = {
        "width": pa.array([float(v) if v else None for v in text["width"]]),
        "parts": pa.array([int(v) for v in text["parts"]]),
        "wet": pa.array([v == "true" for v in text["wet"]]),
        "colour": pa.array(text["colour"]).dictionary_encode(),
        "state": pa.array(text["state"]),
    }
    pq.write_table(pa.table(typed), tmp_path / "a.parquet", row_group_size=10)
    text["wet"] = [v.lower() for v in text["wet"]]
    a, truth = load(tmp_path / "a.parquet", label="state")
    b, same = load(written(tmp_path / "a.csv", text), label="state")
    c, _ = load(written(tmp_path / "b.csv", text, ";"), label="state")
    assert a.fingerprint == b.fingerprint == c.fingerprint and a.columns == b.columns
    np.testing.assert_array_equal(truth.open("t").anomalous, same.open("t").anomalous)


def test_parquet_without_a_library_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for library in ("pyarrow", "polars", "pandas"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=r"pip install 'ad_jax\[tables\]'"):
        load(tmp_path / "a.parquet", label="y")


def test_a_file_that_is_no_parquet_is_one_line(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match="a.parquet is no readable Parquet file"):
        load(tmp_path / "a.parquet", label="y")


def test_half_of_the_normals_train_and_the_truth_knows_the_rest(tmp_path):
    problem, truth = load(written(tmp_path / "a.csv", with_labels()), label="state")
    assert len(problem.train) == 9 and len(problem.target) == 15
    labels = truth.open("test")
    assert labels.anomalous.sum() == 6 and set(labels.kinds) == {"", "anomaly"}
    anomalous = {name for name, one in zip(truth.names, labels.anomalous, strict=True) if one}
    assert anomalous == {f"line {i}" for i in range(20, 26)}


def test_normal_says_which_label_is_normal(tmp_path):
    text = with_labels(state=["1.0", "2", "3"] * 8)
    problem, truth = load(written(tmp_path / "a.csv", text), label="state", normal=1)
    assert len(problem.train) == 4
    assert set(truth.open("test").kinds) == {"", "2", "3"}


def test_another_file_is_the_target_and_its_columns_go_by_name(tmp_path):
    train = written(tmp_path / "a.csv", made())
    columns = made(9, seed=1)
    reverse = {name: columns[name] for name in reversed(columns)} | {"note": ["x"] * 9}
    first = load(train, target=written(tmp_path / "b.csv", columns))[0]
    again, truth = load(train, target=str(written(tmp_path / "c.csv", reverse)))
    assert again.fingerprint == first.fingerprint and len(first.train) == 24
    with pytest.raises(InputError, match="has no labels"):
        truth.open("test")
    labelled = written(tmp_path / "d.csv", columns | {"state": ["0"] * 4 + ["1"] * 5})
    both = written(tmp_path / "e.csv", made() | {"state": ["0"] * 20 + ["1"] * 4})
    problem, truth = load(both, target=labelled, label="state")
    assert len(problem.train) == 20 and truth.open("test").anomalous.sum() == 5
    assert (
        problem.columns.labels
        == fit(read_table(both).without(["state"]).take(np.arange(20))).labels
    )


def test_options_come_from_a_command_line(tmp_path):
    path = written(tmp_path / "a.csv", with_labels())
    source, options = parse(f"{path},label=state,drop=parts;wet,limit=8")
    problem, _ = load(source, **options)
    assert len(problem.train) == 8
    assert [c.name for c in problem.columns.columns] == ["width", "colour"]


def test_a_path_of_a_target_is_found_below_the_data_folder(tmp_path, monkeypatch):
    written(tmp_path / "a.csv", made())
    written(tmp_path / "b.csv", made(9, seed=1))
    monkeypatch.setenv("AD_JAX_DATA", str(tmp_path))
    assert len(load("a.csv", target="b.csv")[0].target) == 9
    assert ad_jax.data.paths_of("a.csv", {"target": "b.csv"})["target"] == str(tmp_path / "b.csv")


# ---- bad input ----

LONG = made()
BAD = {
    "text among numbers": (
        LONG | {"width": ["1.5"] * 14 + ["1,5"] + ["2"] * 9},
        {"split": "part"},
        r"column 'width' holds numbers in 15 of 16 rows, but '1,5' in line 16; mend it",
    ),
    "text among the target's numbers": (
        LONG | {"width": ["1.5", "2"] * 10 + ["many"] * 4},
        {"split": "part"},
        r"column 'width' holds numbers, but 'many' in line 22; mend it",
    ),
    "infinite": (
        LONG | {"width": ["1.5"] * 14 + ["inf"] + ["2"] * 9},
        {"split": "part"},
        "'inf' in line 16",
    ),
    "dates": (
        LONG | {"day": [f"2026-01-{i + 1:02d}" for i in range(24)]},
        {"split": "part"},
        r"column 'day' holds dates \('2026-01-01'\), which have no scale; drop=day",
    ),
    "no such label": (LONG, {"label": "state"}, "label=state is no column of .*; known: part, w"),
    "no normals": (
        LONG | {"state": ["bad"] * 24},
        {"label": "state"},
        "label=state holds bad, none of 0, false, normal, good; give normal=<value>",
    ),
    "no normals of that name": (
        LONG | {"state": ["bad"] * 24},
        {"label": "state", "normal": "fine"},
        "holds bad, not normal=fine",
    ),
    "a label is missing": (
        LONG | {"state": ["0"] * 23 + [""]},
        {"label": "state"},
        "label=state is missing in line 25",
    ),
    "unknown part": (
        LONG | {"part": ["train"] * 23 + ["val"]},
        {"split": "part"},
        "split=part is 'val' in line 25; known: train, target, test, held_out",
    ),
    "nothing trains": (LONG | {"part": ["test"] * 24}, {"split": "part"}, "no row of train"),
    "nothing said": (LONG, {}, "does not say what trains; give label="),
    "normal without label": (LONG, {"split": "part", "normal": "0"}, "normal=0 needs label="),
    "two ways": (LONG, {"split": "part", "target": "a.csv"}, "both say what trains"),
    "drop what is not there": (LONG, {"split": "part", "drop": "depth"}, "drop=depth is no column"),
    "no column left": (
        {"width": made()["width"]},
        {"split": "part", "drop": "width"},
        "no column with values",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_columns_are_refused_in_one_line(name, tmp_path, monkeypatch):
    columns, options, message = BAD[name]
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.csv", {"part": ["train"] * 16 + ["target"] * 8} | columns)
    with pytest.raises(InputError, match=message) as error:
        load(path, **options)
    assert "\n" not in str(error.value)


FILES = {
    "twice": ("a,b,a\n1,2,3\n", "has 2 columns 'a'; rename them"),
    "ragged": ("a,b\n1,2\n\n1,2,3\n", "line 4 has 3 cells, the first line 2"),
    "short": ("a,b\n1\n", "line 2 has 1 cells, the first line 2"),
    "empty": ("", "has no columns"),
    "blank": ("\n \n", "has no name in the first line|has no columns"),
    "no rows": ("a,b\n", "holds no rows"),
    "no name": ("a,,b\n1,2,3\n", "column 2 has no name"),
    "open quote": ('a,b\n1,"2\n', "is no readable CSV"),
    "latin": ("a,b\n1,größe\n".encode("latin-1"), "is no UTF-8 text"),
    "wide": ("a,b\n1,2\n".encode("utf-16"), "is no UTF-8 text"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files_are_refused_in_one_line(name, tmp_path):
    content, message = FILES[name]
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        load(path, label="b")
    assert "a.csv" in str(error.value) and "\n" not in str(error.value)


def test_blank_lines_are_passed_over_and_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\n\na,b\n1,2\n" + 9 * "\n" + "3,4\n")
    places = [part.places.tolist() for part, _ in chunks(path, size=4)]
    assert places == [[4, 14]]
    path.write_text("\na,b\n1,2\n\n3\n")
    with pytest.raises(InputError, match="line 5 has 1 cells, the first line 2; mend it"):
        read_table(path)


def test_a_target_that_lacks_columns_is_refused_by_name(tmp_path):
    columns = made(9, seed=1)
    del columns["parts"], columns["wet"]
    other = written(tmp_path / "b.csv", columns)
    with pytest.raises(InputError, match="b.csv lacks columns 'parts', 'wet', which the training"):
        load(written(tmp_path / "a.csv", made()), target=other)


def test_a_target_that_is_no_table_is_refused(tmp_path):
    train = written(tmp_path / "a.csv", made())
    (tmp_path / "b.txt").write_text("a")
    with pytest.raises(InputError, match="b.txt is no .csv or .parquet file"):
        load(train, target=tmp_path / "b.txt")
    with pytest.raises(InputError, match="target=nowhere.csv is no path here"):
        load(train, target="nowhere.csv")


# ---- labels ----


@pytest.mark.parametrize("limit", [None, 6])
@pytest.mark.parametrize("change", ["permute", "flip", "delete", "nonsense"])
def test_labels_of_the_target_change_no_bit(tmp_path, change, limit):
    labels = ["0"] * 16 + ["0", "1"] * 4
    changed = {
        "permute": [*labels[:16], *np.random.default_rng(1).permutation(labels[16:]).tolist()],
        "flip": [*labels[:16], *(["1", "0"] * 4)],
        "delete": [*labels[:16], *([""] * 8)],
        "nonsense": [*labels[:16], *(["-3"] * 8)],
    }[change]
    found = []
    for name, one in (("a", labels), ("b", changed)):
        columns = made() | {"part": ["train"] * 16 + ["target"] * 8, "y": one}
        path = written(tmp_path / f"{name}.csv", columns)
        problem, truth = load(path, split="part", label="y", limit=limit)
        assert not truth.log
        found.append((problem, truth))
    (a, truth), (b, other) = found
    for name in ("train", "target"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    assert (a.columns, a.fingerprint, repr(a)) == (b.columns, b.fingerprint, repr(b))
    assert truth.names == other.names
    if change == "delete":
        with pytest.raises(InputError, match="label=y is missing in line 18"):
            other.open("test")
    elif limit is None:  # the other side: the truth does see them
        assert (truth.open("test").anomalous != other.open("test").anomalous).any()


def test_labels_of_the_half_that_is_left_reach_no_encoding(tmp_path):
    """Another kind for the anomalies, in another order of lines."""
    text = with_labels()
    one = load(written(tmp_path / "a.csv", text), label="state")[0]
    text["state"] = [{"broken": "cracked"}.get(v, v) for v in text["state"]]
    turned = {name: cells[::-1] for name, cells in text.items()}
    other = load(written(tmp_path / "b.csv", turned), label="state")[0]
    assert one.fingerprint == other.fingerprint and one.columns == other.columns
    assert not any("state" in label for label in one.columns.labels)


# ---- embedded tables and frames ----


@pytest.mark.parametrize("name", SETS)
def test_tables_of_scikit_learn(name):
    problem, truth = load(f"sklearn:{name}")
    labels = truth.open("test")
    normals = len(problem.train) + int((labels.anomalous == 0).sum())
    assert len(problem.train) == normals // 2 and 0.4 < labels.anomalous.mean() < 1
    values = problem.train.std(0)
    assert ((abs(values - 1) < 1e-3) | (values == 0)).all()


def test_the_example_is_benign_against_malignant():
    problem, truth = load("table")
    assert problem.fingerprint == load("sklearn:breast_cancer", normal="benign")[0].fingerprint
    assert problem.fingerprint == load("sklearn:breast_cancer", normal=1)[0].fingerprint
    assert problem.shape == (30,) and truth.open("test").anomalous.sum() == 212
    with pytest.raises(
        InputError, match="normal=2 is no class of sklearn:breast_cancer; known: mal"
    ):
        load("table", normal=2)
    with pytest.raises(
        InputError, match="no table of scikit-learn 'diabetes'; known: breast_cancer"
    ):
        load("sklearn:diabetes")


class Frame:
    """What frames of pandas and polars have in common."""

    def __init__(self, columns):
        self._columns = columns

    @property
    def columns(self):
        return list(self._columns)

    def __getitem__(self, name):
        return self._columns[name]


def test_frames_of_any_library_and_structured_arrays_give_what_a_file_does(tmp_path):
    text = made()
    frame = Frame(
        {
            "width": np.array(text["width"], float),
            "parts": np.array([int(v) for v in text["parts"]], object),
            "wet": np.array([v == "true" for v in text["wet"]]),
            "colour": np.array(text["colour"]),
        }
    )
    other = written(tmp_path / "b.csv", made(9, seed=1))
    expected = load(written(tmp_path / "a.csv", text), target=other)[0]
    problem, columns = from_frames(frame, made(9, seed=1))
    assert problem.fingerprint == expected.fingerprint and columns == expected.columns
    array = np.zeros(24, [("width", float), ("parts", int), ("wet", bool), ("colour", "U10")])
    for name in array.dtype.names:
        array[name] = frame[name]
    again, _ = from_frames(array, made(9, seed=1))
    assert again.fingerprint == expected.fingerprint
    rows = columns.encode(made(9, seed=1))
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in problem.target}
    alone, _ = from_frames(frame, drop=["wet"])
    assert len(alone.target) == 24 and alone.shape == (problem.shape[0] - 1,)


def test_cells_of_frames_that_say_nothing_are_missing():
    column = np.array([1, None, float("nan"), "NA", np.float32(2.5), True], object)
    (found,) = fit(table_of({"a": column})).columns
    assert found == ("a", "number", 1.0, 1.5, found.spread, True, ())


@pytest.mark.parametrize(
    "frame, message",
    [
        (np.zeros((3, 2)), "is a ndarray; give a frame of pandas or polars"),
        ({"a": [1, 2], "b": [1]}, r"columns of \[1, 2\] rows"),
        ({"a": [[1], [2]]}, r"train\['a'\] has shape \(2, 1\)"),
        ({"a": np.array(["2026-01-01", "2026-01-02"], "datetime64[D]")}, "'a' holds dates"),
        ({}, "train has no columns"),
        ({"a": []}, "train holds no row of train"),
    ],
)
def test_frames_that_cannot_be_used(frame, message):
    with pytest.raises(InputError, match=message):
        from_frames(frame)


# ---- scoring ----


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A detector of rows, saved with what it would know of columns."""
    problem, columns = from_frames(made(40), made(9, seed=1))
    one = make(problem.shape).set_params(alpha=0.1)
    one.loading = Loading(columns=columns)
    folder = tmp_path_factory.mktemp("rows") / "detector"
    one.save(folder)
    return folder


def test_a_detector_keeps_its_columns(detector):
    loading = ad_jax.Detector.load(detector).loading
    assert loading.columns == from_frames(made(40), made(9, seed=1))[1]


def test_new_files_are_scored_by_name_and_line(detector, tmp_path, capsys):
    columns = made(5, seed=3)
    expected = ad_jax.Detector.load(detector)
    rows = expected.loading.columns.encode(columns)
    reverse = {"label": ["x"] * 5} | {name: columns[name] for name in reversed(columns)}
    path = written(tmp_path / "new.csv", reverse, ";")
    assert cli.main(["score", str(detector), str(path)]) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in found] == [f"{path}:line {i}" for i in range(2, 7)]
    scores = [float(row["score"]) for row in found]
    np.testing.assert_allclose(scores, expected.decision_function(rows), rtol=1e-4)


def test_a_row_that_does_not_read_takes_no_other_with_it(detector, tmp_path, capsys):
    columns = made(5, seed=3)
    columns["width"][1], columns["parts"][3] = "wide", ""
    path = written(tmp_path / "new.csv", columns)
    path.write_text(path.read_text() + "1,2\n")
    assert cli.main(["score", str(detector), str(path)]) == 1
    out, error = capsys.readouterr()
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == [
        f"{path}:line {i}" for i in (2, 4, 5, 6)
    ]
    assert f"{path}:line 3: column 'width' holds numbers, but 'wide' in line 3" in error
    assert f"{path}:line 7: line 7 has 2 cells, the first line 4" in error
    assert "1 in 'parts'" in error and "2 not readable" in error


def test_a_file_without_the_columns_is_refused(detector, tmp_path, capsys):
    path = written(tmp_path / "new.csv", {"width": ["1"]})
    assert cli.main(["score", str(detector), str(path)]) == 2
    assert "lacks columns 'parts', 'wet', 'colour'" in capsys.readouterr().err


def test_files_are_read_a_batch_at_a_time(tmp_path, monkeypatch):
    text = made(50, seed=4)
    path = written(tmp_path / "new.csv", text)
    known = from_frames(made(40), made(9, seed=1))[1]
    batches = list(stream([str(path)], (len(known.labels),), size=20, columns=known))
    assert [len(batch.names) for batch in batches] == [20, 20, 10]
    np.testing.assert_array_equal(np.concatenate([b.samples for b in batches]), known.encode(text))
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow as pa

    pq.write_table(pa.table(text), tmp_path / "new.parquet")
    parquet = stream([str(tmp_path / "new.parquet")], (len(known.labels),), size=20, columns=known)
    again = list(parquet)
    assert [len(batch.names) for batch in again] == [20, 20, 10]
    assert again[1].names[0] == f"{tmp_path / 'new.parquet'}:row 20"
    np.testing.assert_array_equal(np.concatenate([b.samples for b in again]), known.encode(text))


def test_detectors_of_no_table_refuse_one(tmp_path):
    path = written(tmp_path / "new.csv", made(5))
    with pytest.raises(InputError, match="the detector knows no columns"):
        list(stream([str(path)], (4,)))
