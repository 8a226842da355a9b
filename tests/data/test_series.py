"""Series: windows by blocks of time, sources, labels that stay sealed, and every bad input."""

import datetime
from pathlib import Path

import numpy as np
import pytest

from ad_jax.base.errors import InputError
from ad_jax.data import load, parse, paths_of
from ad_jax.data.series import KINDS, SEASON, embedded, from_arrays, windows
from ad_jax.data.series_tables import gaps, read_table
from ad_jax.data.stream import stream
from ad_jax.data.windows import default_length, period, starts


def _wave(count=2000, channels=1, every=40.0, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    time = np.arange(count)[:, None] + np.arange(channels)
    return np.sin(2 * np.pi * time / every) + noise * rng.standard_normal((count, channels))


def _places(truth):
    return [tuple(map(int, n.split("[")[1][:-1].split(":"))) for n in truth.names]


def _fails(words, source, **options):
    with pytest.raises(InputError) as caught:
        load(source, **options)
    said = str(caught.value)
    assert "\n" not in said
    for word in words:
        assert word in said, said


@pytest.fixture
def table(tmp_path):
    """`table(lines or columns)` -> `series:` source of a CSV file."""

    def write(columns, separator=","):
        rows = zip(*columns.values(), strict=True)
        lines = [separator.join(columns), *(separator.join(map(str, row)) for row in rows)]
        (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
        return f"series:{tmp_path / 't.csv'}"

    return write


# windows


@pytest.mark.parametrize("count, length, stride", [(20, 5, 1), (20, 5, 5), (23, 5, 4), (5, 5, 3)])
def test_windows_are_slices_and_reach_the_end(count, length, stride):
    values = np.random.default_rng(0).random((count, 2)).astype(np.float32)
    found, starting = windows(values, length, stride)
    expected = list(range(0, count - length, stride)) + [count - length]
    assert starting.tolist() == expected
    for window, start in zip(found, expected, strict=True):
        np.testing.assert_array_equal(window, values[start : start + length])
    assert windows(values[:, 0], length)[0].shape == (count - length + 1, length, 1)


def test_a_window_longer_than_the_series_is_refused():
    with pytest.raises(InputError, match="length=6.*series of 5 points"):
        windows(np.zeros(5), 6)
    assert starts(0, 5, 6, 1).tolist() == []


@pytest.mark.parametrize("every", [17, 40.0, 96, 130])
def test_the_period_is_found_under_a_trend_and_in_several_channels(every):
    values = _wave(1600, 2, every, 0.3) * [1, 1000] + np.arange(1600)[:, None] * [0.01, 3]
    assert abs(period(values) - every) <= 1


def test_noise_constants_and_lines_have_no_period():
    rng = np.random.default_rng(0)
    assert period(rng.standard_normal((1000, 1))) is None
    assert period(np.ones((1000, 1))) is None
    assert period(np.arange(1000.0)[:, None]) is None
    assert default_length(rng.standard_normal((1000, 1))) == 32
    constant = np.concatenate([_wave(), np.full((2000, 1), 7)], 1)
    assert period(constant) == period(_wave())  # a constant channel takes no part


def test_the_default_length_keeps_its_bounds():
    assert default_length(_wave(2000, every=40)) == 40
    assert default_length(_wave(2000, every=4)) == 16
    assert default_length(_wave(400, every=40)) == 25  # a sixteenth
    assert default_length(_wave(20000, every=1000)) == 256


def test_blocks_share_no_point_and_folds_are_made_of_blocks():
    values = _wave(2400)
    problem, truth = from_arrays(values, 1600, length=40)
    assert problem.shape == (40, 1) and int(problem.groups.max()) + 1 == 8
    whole = values.astype(np.float32)[:, 0]
    start_of = {whole[i : i + 40].tobytes(): i for i in range(1600 - 40 + 1)}
    found = np.array([start_of[w.tobytes()] for w in np.ascontiguousarray(problem.train)])
    assert len(found) == 8 * 161 and set(found // 200) == set(range(8))
    assert (found // 200 == (found + 39) // 200).all()  # none crosses into the next block
    for seed in range(4):
        train, held_out = problem.split_rows(seed)
        points = [set((found[rows][:, None] + np.arange(40)).ravel()) for rows in (train, held_out)]
        assert points[0] and points[1] and not points[0] & points[1]
    places = sorted(_places(truth))
    assert places[0] == (1600, 1640) and places[-1] == (2360, 2400)
    assert {b[0] - a[0] for a, b in zip(places, places[1:], strict=False)} == {5}


def test_long_series_get_the_smallest_stride_that_keeps_to_2048():
    values = np.random.default_rng(0).standard_normal(50_000)
    problem, _ = from_arrays(values, 40_000, length=32)
    assert len(problem.train) == sum(len(starts(0, 5000, 32, 20)) for _ in range(8)) <= 2048
    assert 8 * len(starts(0, 5000, 32, 19)) > 2048
    assert len(from_arrays(values, 40_000, length=32, stride=16)[0].train) == 8 * 312


def test_limit_keeps_the_first_by_content():
    values = _wave(2400)
    problem, truth = from_arrays(values, 1600, limit=50)
    assert len(problem.train) == len(problem.target) == len(truth) == 50


# labels


def test_a_window_is_anomalous_if_any_of_its_points_is():
    rng = np.random.default_rng(0)
    values, labels = _wave(2000), np.zeros(2000, int)
    labels[1500:1503], labels[1700:1760], labels[100] = 2, 1, 1
    labels[rng.integers(1800, 2000, 5)] = 2
    _, truth = from_arrays(values, 1200, labels, length=32)
    opened = truth.open("test")
    for row, (start, stop) in enumerate(_places(truth)):
        inside = labels[start:stop]
        assert opened.anomalous[row] == inside.any()
        assert opened.kinds[row] == (str(inside[inside > 0][0]) if inside.any() else "")
        np.testing.assert_array_equal(opened.masks(row), inside > 0)
        assert opened.masks(row).dtype == np.uint8


def _bits(problem):
    arrays = [problem.train, problem.target, problem.groups, problem.folds, *problem.split(1)]
    return [a.tobytes() for a in arrays], problem.fingerprint, repr(problem)


@pytest.mark.parametrize("change", ["permute", "flip", "delete", "nonsense"])
@pytest.mark.parametrize("limit", [None, 60])
def test_labels_change_no_bit(tmp_path, table, change, limit):
    rng = np.random.default_rng(0)
    values, labels = _wave(1600, 2), (np.arange(1600) % 90 > 80).astype(int)
    changed = {
        "permute": rng.permutation(labels),
        "flip": 1 - labels,
        "delete": None,
        "nonsense": np.full(1600, -3),
    }[change]
    found = []
    for one in (labels, changed):
        given = {} if one is None else {"labels": one}
        np.savez(tmp_path / "a.npz", values=values, train_end=1000, **given)
        cells = {"a": values[:, 0], "b": values[:, 1]} | ({} if one is None else {"Label": one})
        found.append(
            [
                _bits(load(tmp_path / "a.npz", limit=limit)[0]),
                _bits(load(table(cells), train_end=1000, limit=limit)[0]),
                _bits(from_arrays(values, 1000, one, limit=limit)[0]),
            ]
        )
    assert found[0] == found[1]


def test_labels_are_read_at_the_opening(tmp_path, monkeypatch, table):
    from ad_jax.data import arrays

    keys = []
    read = arrays._read
    monkeypatch.setattr(arrays, "_read", lambda path, key: keys.append(key) or read(path, key))
    np.savez(tmp_path / "a.npz", values=_wave(), train_end=1000, labels=np.full(2000, 0.5))
    _, truth = load(tmp_path / "a.npz")
    assert sorted(keys) == ["train_end", "values"]
    with pytest.raises(InputError, match="not whole"):
        truth.open("test")
    source = table({"v": _wave()[:, 0], "label": ["?"] * 2000})
    _, truth = load(source, train_end=1000)
    with pytest.raises(InputError, match="line 2 has no label; give 0"):
        truth.open("test")


def test_without_labels_the_truth_says_so(tmp_path, table):
    np.savez(tmp_path / "a.npz", values=_wave(), train_end=1000)
    source = table({"v": _wave()[:, 0]})
    for truth in (
        load(tmp_path / "a.npz")[1],
        load(source, train_end=1000)[1],
        from_arrays(_wave(), 1000)[1],
    ):
        with pytest.raises(InputError, match="no labels"):
            truth.open("test")


# sources


def test_the_embedded_series_is_what_it_says():
    values, end, kinds = embedded()
    assert values.shape == (130 * SEASON, 2) and end == 50 * SEASON and not kinds[:end].any()
    np.testing.assert_array_equal(values, embedded()[0])
    runs = np.flatnonzero(np.diff(np.concatenate([[0], kinds > 0, [0]]).astype(int)))
    lengths = np.diff(runs.reshape(-1, 2), axis=1).ravel()
    assert len(lengths) == len(KINDS) and lengths.min() >= 12 and lengths.max() <= 48
    assert sorted(kinds[runs[::2]]) == list(range(1, len(KINDS) + 1))
    flat = values[kinds == KINDS.index("platform") + 1]
    assert (flat == flat[0]).all()
    problem, truth = load("series")
    assert problem.shape == (SEASON, 2) and len(problem.train) == 2024
    assert set(truth.open("test").kinds) == {"", *KINDS}
    assert problem.fingerprint == load("series", length="48", stride=None)[0].fingerprint
    # normals of the target are like those of the training part
    normal = values[end:][kinds[end:] == 0]
    np.testing.assert_allclose(normal.mean(0), values[:end].mean(0), atol=0.05)
    np.testing.assert_allclose(normal.std(0), values[:end].std(0), rtol=0.05)


def test_arrays_of_a_file(tmp_path):
    values = _wave(1600, 3)
    np.savez(tmp_path / "a.npz", values=values, train_end=1000, labels=np.arange(1600) > 1500)
    problem, truth = load(tmp_path / "a.npz", length=32)
    same, _ = from_arrays(values, 1000, length=32)
    assert problem.fingerprint == same.fingerprint
    assert load(f"series:{tmp_path / 'a.npz'}", length=32)[0].fingerprint == same.fingerprint
    assert truth.open("test").anomalous.any()
    other, _ = load(tmp_path / "a.npz", train_end="0.5", length=32)
    assert other.fingerprint == from_arrays(values, 800, length=32)[0].fingerprint
    np.savez(tmp_path / "b.npz", values=values)
    _fails(["b.npz has no train_end"], tmp_path / "b.npz")
    assert load(tmp_path / "b.npz", train_end=1000, length=32)[0].fingerprint == same.fingerprint
    _fails(["holds a series", "size=32"], tmp_path / "a.npz", size=32)
    np.savez(tmp_path / "c.npz", train=np.zeros((9, 2)), target=np.zeros((2, 2)))
    _fails(["holds no series", "length=32"], tmp_path / "c.npz", length=32)
    np.savez(tmp_path / "d.npz", values=values, train_end=1000, labels=np.zeros(1599))
    _fails(["labels", "(1599,)", "1600 points"], tmp_path / "d.npz")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables(tmp_path, table, separator):
    values = _wave(1600, 2).astype(np.float32)
    begin = datetime.datetime(2014, 7, 1)
    times = [begin + datetime.timedelta(minutes=30 * i) for i in range(1600)]
    labels = np.arange(1600) > 1500
    cells = {"Timestamp": times, "a": values[:, 0], "Label": labels, "b": values[:, 1]}
    source = table(cells, separator)
    same, other = from_arrays(values, 1000, labels, length=32)
    for end in (1000, "0.625", str(times[1000]), str(times[1000])[:10] + "T20:00:00"):
        problem, truth = load(source, train_end=end, length=32)
        assert problem.fingerprint == same.fingerprint
    assert truth.names == other.names
    np.testing.assert_array_equal(truth.open("test").anomalous, other.open("test").anomalous)
    named = {"when": times, "a": values[:, 0], "bad": labels.astype(int), "b": values[:, 1]}
    problem, _ = load(table(named, separator), label="bad", train_end=1000, length=32)
    assert problem.fingerprint == same.fingerprint  # the column of dates is the time
    counted = {"step": range(1600), "a": values[:, 0], "b": values[:, 1]}
    problem, _ = load(table(counted, separator), time="step", train_end=1000, length=32)
    assert problem.fingerprint == same.fingerprint


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read if pyarrow is installed")
    from pyarrow import parquet

    values = _wave(1600, 2).astype(np.float32)
    times = np.datetime64("2014-07-01T00:00:00", "ms") + 1000 * np.arange(1600)
    columns = {"time": times, "a": values[:, 0], "b": values[:, 1], "label": np.arange(1600) > 1500}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    problem, truth = load(f"series:{tmp_path / 'a.parquet'}", train_end=1000, length=32)
    assert problem.fingerprint == from_arrays(values, 1000, length=32)[0].fingerprint
    assert truth.open("test").anomalous.any()
    (tmp_path / "b.parquet").write_text("no table")
    _fails(
        ["b.parquet is no readable Parquet file"], f"series:{tmp_path / 'b.parquet'}", train_end=9
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_parquet_are_seconds(tmp_path, unit):
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is read if pyarrow is installed")
    from pyarrow import parquet

    times = np.datetime64("2014-07-01T00:00:00", unit) + np.array([0, 1, 2, 9], "timedelta64[s]")
    table = pyarrow.table({"when": times, "on": [True, False, True, True]})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet")
    begin = datetime.datetime(2014, 7, 1, tzinfo=datetime.UTC).timestamp()
    np.testing.assert_array_equal(found.times - begin, [0, 1, 2, 9])
    assert found.dated and found.values.tolist() == [[1], [0], [1], [1]]
    table = pyarrow.table({"when": times[[0, 1, 1]], "v": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(
        InputError, match=r"row 2 repeats.* of the row before \(2014-07-01T00:00:01"
    ):
        read_table(tmp_path / "b.parquet")


def test_a_column_of_labels_is_no_time(table):
    values = _wave(1600)[:, 0]
    days = [datetime.date(2014, 7, 1)] * 1600
    found = read_table(Path(table({"v": values, "label": days}).removeprefix("series:")))
    assert found.times is None and found.values.shape == (1600, 1)


def test_the_path_of_a_table_is_known(tmp_path, table, monkeypatch):
    source = table({"v": _wave()[:, 0]})
    text, options = parse(f"{source},train_end=0.5,length=24")
    assert text == source and options == {"train_end": "0.5", "length": 24}
    monkeypatch.chdir(tmp_path)
    assert paths_of("series:t.csv", {}) == {"source": source}
    monkeypatch.chdir("/")
    monkeypatch.setenv("AD_JAX_DATA", str(tmp_path))
    assert load("series:t.csv", train_end=500)[0].shape == (31, 1)
    _fails(["series:no.csv"], "series:no.csv")


def test_windows_do_not_reach_across_gaps_in_time(table):
    minutes = np.arange(1600) * 5
    minutes[300:] += 60  # in training
    minutes[1300:] += 8
    minutes[1310:] += 4 * 5
    values = _wave(1600)
    assert gaps(minutes.astype(float)) == [300, 1300, 1310]
    problem, truth = load(table({"time": minutes, "v": values[:, 0]}), train_end=1000, length=25)
    assert len(problem.train) == 7 * 101 + (50 - 24) + (75 - 24)
    covered = np.zeros(1600, bool)
    for start, stop in _places(truth):
        assert not any(start < gap < stop for gap in (1300, 1310))
        covered[start:stop] = True
    assert covered[1000:1300].all() and covered[1310:].all() and not covered[1300:1310].any()


# bad input


def test_ragged_channels_are_refused():
    with pytest.raises(InputError, match="channels of unequal length"):
        from_arrays([[1.0, 2.0], [1.0]], 1)


def test_tables_with_unequal_lines_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    _fails(
        ["line 3 has 1 cells, the first line 2; mend it"],
        f"series:{tmp_path / 't.csv'}",
        train_end=1,
    )


def test_constant_channels_stay():
    values = np.concatenate([_wave(), np.full((2000, 1), 3.5)], 1)
    problem, _ = from_arrays(values, 1500)
    assert problem.shape == (40, 2) and (problem.train[..., 1] == 3.5).all()
    everywhere, _ = from_arrays(np.zeros(2000), 1500)
    assert everywhere.shape == (32, 1) and everywhere.folds.max() == 3


def test_series_too_short_for_their_windows_are_refused():
    for count, end, words in (
        (300, 100, "100 points before train_end=100 do not hold 8 blocks.*at most 12"),
        (300, 10, "give at least 128 points to train on$"),
        (1010, 1000, "10 points after train_end=1000 are fewer than a window"),
    ):
        with pytest.raises(InputError, match=words):
            from_arrays(_wave(count), end)
    with pytest.raises(InputError, match="at least 1600 points to train on, or length= of at most"):
        from_arrays(_wave(), 1500, length=200)
    with pytest.raises(InputError, match="3 of the 8 blocks"):
        from_arrays(_wave(), 1000, length=20, breaks=range(375, 1000, 10))
    with pytest.raises(InputError, match="no window of 20 points after train_end=1000"):
        from_arrays(_wave(), 1000, length=20, breaks=range(1000, 2000, 10))


@pytest.mark.parametrize("end", [0, 2000, -5, 10.5, "half", "nan", 1.0e9])
def test_a_train_end_outside_is_refused(end):
    with pytest.raises(InputError, match="train_end=.*series of 2000 points"):
        from_arrays(_wave(), end)


def test_times_must_ascend(table):
    values = _wave(1600)[:, 0]
    times = np.arange(1600)
    times[700] = 698
    message = ["line 702 (698) is earlier than", "line before (699)", "'time'"]
    _fails(message, table({"time": times, "v": values}), train_end=1000)
    times[700] = 699
    message = ["line 702 repeats the time of the line before (699)"]
    _fails(message, table({"time": times, "v": values}), train_end=1000)


def test_times_must_be_times(table):
    values = _wave(1600)[:, 0]
    days = [f"{m:02}/07/2014" for m in range(1600)]
    _fails(["line 2", "'00/07/2014'", "ISO 8601"], table({"time": days, "v": values}), train_end=9)
    dates = ["2014-07-01 00:00:00", "noon", *["2014-07-01 00:00:00"] * 1598]
    _fails(["line 3", "'noon'", "no time"], table({"when": dates, "v": values}), train_end=9)
    days = [*range(9), "late", *range(10, 1600)]
    _fails(["line 11", "'late'", "neither"], table({"time": days, "v": values}), train_end=9)
    _fails(["no column of dates"], table({"v": values}), train_end="2014-07-01")
    dates = [f"{1000 + i}-01-01" for i in range(1600)]
    source = table({"time": dates, "v": values})
    _fails(["train_end=0999-01-01 leaves 0 of 1600"], source, train_end="0999-01-01")


def test_missing_values_are_refused_by_column_and_line(table):
    values = list(_wave(1600)[:, 0])
    for cell in ("", "NaN", "inf"):
        cells = [*values[:41], cell, *values[42:]]
        _fails(["line 43", "'v'"], table({"u": values, "v": cells}), train_end=1000)
    broken = _wave(1600, 2)
    broken[30, 1] = np.nan
    with pytest.raises(InputError, match=r"nan in row 30, channel 1 \(1 values"):
        from_arrays(broken, 1000)


def test_text_where_numbers_are_due_is_refused(tmp_path, table):
    values = list(_wave(1600)[:, 0])
    cells = [*values[:41], "off", *values[42:]]
    _fails(["line 43 holds 'off' in column 'v'"], table({"v": cells}), train_end=1000)
    with pytest.raises(InputError, match="dtype <U1"):
        from_arrays(list("abc"), 1)
    (tmp_path / "t.csv").write_text("1,2\n3,4\n")
    _fails(["no line of titles"], f"series:{tmp_path / 't.csv'}", train_end=1)
    (tmp_path / "t.csv").write_text("a,b\n")
    _fails(["no rows"], f"series:{tmp_path / 't.csv'}", train_end=1)
    (tmp_path / "t.txt").write_text("a,b\n1,2\n")
    _fails(["unknown kind", ".csv"], f"series:{tmp_path / 't.txt'}", train_end=1)


def test_columns_must_be_there_once(table):
    values = _wave(1600)[:, 0]
    source = table({"v": values, "w": values, "label": np.zeros(1600)})
    _fails(["time=t is no column", "v, w, label"], source, time="t", train_end=1000)
    _fails(["label=bad is no column"], source, label="bad", train_end=1000)
    _fails(["does not say what is normal", "train_end="], source)
    source = table({"time": range(1600), "date": range(1600), "v": values})
    _fails(["2 columns for time", "time, date"], source, train_end=1000)
    _fails(["no column of values"], table({"time": range(1600)}), train_end=1000)


def test_images_options_do_not_suit(tmp_path):
    _fails(["size="], "series", size=32)
    _fails(["turns=4 suits images only"], "series", turns=4)
    np.savez(tmp_path / "a.npz", values=np.zeros((4, 4, 4)), train_end=2)
    _fails(["values of", "shape (4, 4, 4)"], tmp_path / "a.npz")


# to score


def test_long_series_are_scored_window_by_window(tmp_path, table):
    values = _wave(400, 2).astype(np.float32)
    minutes = np.arange(400.0)
    minutes[200:] += 30
    source = table({"time": minutes, "a": values[:, 0], "b": values[:, 1], "label": ["?"] * 400})
    path = source.removeprefix("series:")
    batches = list(stream([path], (32, 2), size=16))
    names = [name.removeprefix(f"{path}:") for batch in batches for name in batch.names]
    begins = [*starts(0, 200, 32, 4), *starts(200, 400, 32, 4)]
    assert names == [f"values[{i}:{i + 32}]" for i in begins]
    found = np.concatenate([batch.samples for batch in batches])
    for window, start in zip(found, begins, strict=True):
        np.testing.assert_array_equal(window, values[start : start + 32])
    np.savez(tmp_path / "a.npz", values=values)
    (batch,) = stream([str(tmp_path / "a.npz")], (32, 2))
    np.testing.assert_array_equal(batch.samples, windows(values, 32, 4)[0])
    np.savez(tmp_path / "b.npz", X=found)  # windows that someone has cut already
    (batch,) = stream([str(tmp_path / "b.npz")], (32, 2))
    np.testing.assert_array_equal(batch.samples, found)
    for shape, words in (((32, 3), "has 2 channels.*takes 3"), ((300, 2), "no window of 300")):
        with pytest.raises(InputError, match=words):
            list(stream([path], shape))
