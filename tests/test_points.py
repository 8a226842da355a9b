"""`ad-jax score --points`: points of series have the mean score of the windows that cover them."""

import csv
import datetime

import numpy as np
import pytest

from ad_jax import cli
from ad_jax.data import stream
from ad_jax.data.windows import point_scores, windows
from ad_jax.estimator import Detector
from ad_jax.selection.search import setting

LENGTH = 16


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    values = np.random.default_rng(0).standard_normal((400, 2))
    train, _ = windows(values, LENGTH, 4)
    one = Detector(setting("neighbour", "identity"), alpha=0.2, seeds=1, steps=1, series=True).fit(
        train
    )
    path = tmp_path_factory.mktemp("saved") / "detector"
    one.save(path)
    return path


def _read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _expected(rows, path, count):
    """Scores of the points of one file, from the rows of all windows."""
    own = [row for row in rows if row["path"].startswith(f"{path}:")]
    starts = [int(row["path"].rsplit("[", 1)[1].split(":")[0]) for row in own]
    return point_scores(starts, LENGTH, np.array([float(row["score"]) for row in own]), count)


@pytest.mark.parametrize("share", [[], ["--false-discovery", ".5"]])
def test_points_have_the_mean_of_their_windows(detector, tmp_path, monkeypatch, share):
    monkeypatch.setattr(stream, "BATCH", 7)  # a series comes in several batches
    rng = np.random.default_rng(1)
    begin = datetime.datetime(2026, 1, 1)
    steps = [*range(60), *range(70, 75), *range(90, 150)]  # five points between gaps
    stamps = [str(begin + datetime.timedelta(minutes=step)) for step in steps]
    lines = [f"{s},{a},{b}" for s, (a, b) in zip(stamps, rng.random((125, 2)), strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["time,x,y", *lines]))
    np.savez(tmp_path / "b.npz", values=rng.random((50, 2)))
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.npz")]
    out, points = tmp_path / "scores.csv", tmp_path / "points.csv"
    command = ["score", str(detector), *paths, "--out", str(out), "--points", str(points), *share]
    assert cli.main(command) == 0
    rows, found = _read(out), _read(points)
    assert list(found[0]) == ["path", "point", "time", "score"]
    assert [row["path"] for row in found] == [paths[0]] * 125 + [paths[1]] * 50
    assert [int(row["point"]) for row in found] == [*range(125), *range(50)]
    assert [row["time"] for row in found] == stamps + [""] * 50
    scores = np.array([float(row["score"] or "nan") for row in found])
    expected = [_expected(rows, paths[0], 125), _expected(rows, paths[1], 50)]
    np.testing.assert_allclose(scores, np.concatenate(expected), rtol=2e-5)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [60, 61, 62, 63, 64]


def test_what_has_no_points_is_refused(detector, tmp_path, capsys):
    points = tmp_path / "points.csv"
    cut = np.random.default_rng(0).random((3, LENGTH, 2))
    np.savez(tmp_path / "cut.npz", X=cut)
    (tmp_path / "short.csv").write_text("x,y\n" + 9 * "1,2\n")
    for name, words in (
        ("cut.npz", "is a window that was cut already"),
        ("short.csv", "holds no window of 16 points"),
    ):
        path = str(tmp_path / name)
        assert cli.main(["score", str(detector), path, "--points", str(points)]) == 2
        assert words in capsys.readouterr().err and not points.exists()
    same = ["--points", str(points), "--out", str(points)]
    assert cli.main(["score", str(detector), str(tmp_path / "cut.npz"), *same]) == 2
    assert "give two files" in capsys.readouterr().err


def test_detectors_of_rows_have_no_points(tmp_path, capsys):
    rows = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    Detector(setting("neighbour", "identity"), alpha=0.2, seeds=1, steps=1).fit(rows).save(
        tmp_path / "d"
    )
    np.savez(tmp_path / "a.npz", X=rows)
    points = tmp_path / "points.csv"
    command = ["score", str(tmp_path / "d"), str(tmp_path / "a.npz"), "--points", str(points)]
    assert cli.main(command) == 2
    assert "suits detectors of series" in capsys.readouterr().err and not points.exists()
