"""`ad-jax score` and `ad-jax info`: any source, natural order, bad images, thresholds, parity."""

import csv
import io
import json
import os
import shutil
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from small_detector import images, make

import ad_jax
from ad_jax import cli
from ad_jax.data.stream import natural, stream
from ad_jax.detect import FORMAT, Loading, Networks
from ad_jax.estimator import Detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run" / "detector"
    one = make().set_params(alpha=0.1)
    one.loading = Loading("pad")
    one.save(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten grey pictures of unequal sizes, in no layout in particular."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for i in (10, 9, 2, 1):
        for place in (root, root / "sub" / "deep"):
            place.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 255, (20 + i, 30, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"part{i}.png")
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    return root


def table(capsys):
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_rows_come_in_natural_order_with_score_p_value_and_flag(folder, pictures, capsys):
    assert cli.main(["score", str(folder), str(pictures)]) == 0
    rows = table(capsys)
    order = [f"part{i}.png" for i in (1, 2, 9, 10)]
    expected = [str(pictures / name) for name in order]
    expected += [str(pictures / "sub" / "deep" / name) for name in order]
    assert [row["path"] for row in rows] == expected
    detector = Detector.load(folder)
    for row in rows:
        assert row["flag"] == str(int(float(row["p_value"]) <= 0.1))
        assert np.isfinite(float(row["score"]))
    assert {row["flag"] for row in rows} <= {"0", "1"} and detector.alpha == 0.1


def test_pictures_are_loaded_as_for_training(folder, tmp_path, capsys):
    """The same files through `ad_jax.load` and through `ad-jax score`: the same samples."""
    generator = np.random.default_rng(1)
    for part, count in (("train", 8), ("target", 5)):
        (tmp_path / part).mkdir()
        for i in range(count):
            pixels = generator.integers(0, 255, (18 + 3 * i, 25), np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / f"{i}.png")
    for fit in ("pad", "crop", "stretch"):
        problem, truth = ad_jax.load(tmp_path, size=16, fit=fit)
        arguments = ["score", str(folder), str(tmp_path / "target"), "--json"]
        assert cli.main([*arguments, *([] if fit == "pad" else ["--fit", fit])]) == 0
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        scores = Detector.load(folder).decision_function(problem.target)
        by_name = dict(zip(truth.names, scores.tolist(), strict=True))
        for row in told:
            name = row["path"].removeprefix(f"{tmp_path}/")
            assert row["score"] == pytest.approx(by_name[name], abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*files passed over. 1 .txt")
def test_streams_batch_by_batch(pictures):
    batches = list(stream([str(pictures)], (16, 16, 1), size=3))
    assert [len(b.names) for b in batches] == [3, 3, 2]
    assert all(b.samples.shape[1:] == (16, 16, 1) for b in batches)
    assert next(stream([str(pictures)], (16, 16, 3), size=3)).samples.shape == (3, 16, 16, 3)


def test_bad_images_are_named_and_the_rest_goes_on(folder, pictures, tmp_path, capsys):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture")
    Image.fromarray(images(1)[0, :, :, 0]).save(tmp_path / "good.png")
    assert cli.main(["score", str(folder), str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "empty.png: empty file" in told.err and "text.jpg: no PNG" in told.err
    assert [line.split(",")[0] for line in told.out.splitlines()[1:]] == [
        str(tmp_path / "good.png")
    ]


def test_what_a_folder_holds_beside_images_is_one_line(folder, pictures, tmp_path, capsys):
    shutil.copytree(pictures / "sub", tmp_path / "set" / "bad")
    shutil.copytree(pictures / "sub" / "deep", tmp_path / "set" / "ground_truth")
    shutil.copy(pictures / "part1.png", tmp_path / "set" / "bad" / "part1_mask.png")
    (tmp_path / "set" / "part.heic").write_bytes(b"x")
    assert cli.main(["score", str(folder), str(tmp_path / "set")]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1 + 4 and "mask" not in told.out
    (line,) = [line for line in told.err.splitlines() if line.startswith("ad-jax: ")]
    assert line.startswith("ad-jax: scored folders: files passed over: 1 .heic, 5 masks by name")
    assert cli.main(["score", str(folder), str(tmp_path / "set" / "ground_truth")]) == 0
    assert len(table(capsys)) == 4  # named itself, a folder is what it is said to be


def test_deep_images_are_scored_by_the_range_of_the_training_images(tmp_path, capsys):
    """The same 12-bit files through `ad_jax.load` and, later, through `ad-jax score`."""
    generator = np.random.default_rng(3)
    for part, count, top in (("train", 8, 4095), ("target", 5, 900)):
        (tmp_path / part).mkdir()
        for i in range(count):
            pixels = generator.integers(0, top + 1, (20, 20), np.uint16)
            pixels[0, 0] = top
            Image.fromarray(pixels).save(tmp_path / part / f"{i}.png")
    problem, truth = ad_jax.load(tmp_path, size=16, range="0-4095")
    state = make().state_._replace(dtype="float32")
    detector = Detector.of_networks(Networks(state))
    detector.loading = Loading("stretch", problem.range)
    detector.save(tmp_path / "detector")
    assert Detector.load(tmp_path / "detector").loading == Loading("stretch", (0.0, 4095.0))
    command = ["score", str(tmp_path / "detector"), str(tmp_path / "target"), "--alpha", ".2"]
    assert cli.main([*command, "--json"]) == 0
    told = capsys.readouterr()
    assert "ad-jax: " not in told.err
    rows = {row["path"]: row["score"] for row in map(json.loads, told.out.splitlines())}
    scores = detector.decision_function(problem.target)
    for name, score in zip(truth.names, scores.tolist(), strict=True):
        assert rows[str(tmp_path / name)] == pytest.approx(score, abs=1e-6)
    assert cli.main([*command, "--range", "0-500"]) == 0
    assert "5 of 5 images hold values outside range=0-500" in capsys.readouterr().err


def test_a_picture_beyond_the_limit_is_scored_with_max_pixels(folder, pictures, capsys):
    one = ["score", str(folder), str(pictures / "part1.png"), "--max-pixels", "629"]
    assert cli.main(one) == 1
    assert "30 x 21 px are more than max_pixels=629; give max_pixels=630" in capsys.readouterr().err
    assert cli.main([*one[:-1], "630"]) == 0


def test_an_export_may_end_in_upper_case(folder, tmp_path, capsys):
    assert cli.main(["export", str(folder), str(tmp_path / "a.NPZ")]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.NPZ"]


def test_paths_on_stdin(folder, pictures, capsys, monkeypatch):
    lines = f"\ufeff{pictures / 'part2.png'}\n\nnowhere.png\n{pictures / 'part1.png'}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert cli.main(["score", str(folder), "-", "--json"]) == 1
    told = capsys.readouterr()
    names = [json.loads(line)["path"] for line in told.out.splitlines()]
    assert names == [str(pictures / "part2.png"), str(pictures / "part1.png")]
    assert "nowhere.png: no such file" in told.err


def test_names_that_no_file_can_have_stop_no_other(folder, pictures, capsys, monkeypatch):
    odd = ["y" * 300 + ".png", "~no_such_user/x.png", "no\0thing.png", "nowhere.npz"]
    lines = "\n".join([*odd, str(pictures / "part1.png")])
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert cli.main(["score", str(folder), "-"]) == 1
    told = capsys.readouterr()
    assert [row.split(",")[0] for row in told.out.splitlines()[1:]] == [str(pictures / "part1.png")]
    assert [line.rpartition(": ")[2] for line in told.err.splitlines()[:-1]] == 4 * ["no such file"]


def test_a_pause_of_the_writer_ends_a_batch(pictures):
    files = [str(pictures / f"part{i}.png") for i in (1, 2, 9)]
    sources = [files[0], None, None, files[1], files[2], files[0], None]
    sizes = [len(batch.names) for batch in stream(sources, (16, 16, 1), size=2)]
    assert sizes == [1, 2, 1]


def test_overlays_of_long_names_are_shortened_and_told_apart(tmp_path, capsys):
    place = tmp_path / "pictures"
    place.mkdir()
    names = ["ü" * 120 + ending for ending in ("a.png", "b.png")]  # 245 bytes
    for name in names:
        Image.fromarray(images(1)[0, ..., 0]).save(place / name)
    make().set_params(alpha=0.1).fit_localiser(images(40), "texture").save(tmp_path / "detector")
    maps = tmp_path / "maps"
    arguments = ["score", str(tmp_path / "detector"), str(place), "--heatmaps", str(maps)]
    assert cli.main(arguments) == 0
    written = sorted(path.name for path in maps.iterdir())
    assert written == sorted([f"{name}.png" for name in names] + ["scale.png"])
    longest = ["ü" * 125 + ending for ending in ("a.png", "b.png")]  # 255 bytes, before the second
    for name, new in zip(names, longest, strict=True):
        (place / name).rename(place / new)
    assert cli.main(arguments) == 0
    more = {path.name for path in maps.iterdir()} - set(written)
    assert len(more) == 2 and all(len(name.encode()) <= 255 for name in more)
    assert all(name.startswith("ü" * 100) and name.endswith(".png") for name in more)


def test_an_overlay_that_cannot_be_named_stops_no_other(folder, pictures, tmp_path, capsys):
    make().set_params(alpha=0.1).fit_localiser(images(40), "texture").save(tmp_path / "detector")
    maps = tmp_path / "maps"
    (maps / "part2.png.png").mkdir(parents=True)  # a folder stands where the overlay would
    arguments = ["score", str(tmp_path / "detector"), str(pictures), "--heatmaps", str(maps)]
    assert cli.main(arguments) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 9 and "1 not readable" in told.err
    assert "part2.png: its overlay" in told.err
    assert len([path for path in maps.rglob("*.png") if path.is_file()]) == 8


def test_arrays_of_a_npz(folder, tmp_path, capsys):
    path, rows = tmp_path / "a.npz", images(5, (32, 32, 1))
    np.savez(path, X=rows, y=np.array(["labels", "are", "not", "read", {}], object))
    assert cli.main(["score", str(folder), str(path)]) == 0
    assert [row["path"] for row in table(capsys)] == [f"{path}:X[{i}]" for i in range(5)]
    broken = images(4).astype(np.float32) / 255
    broken[2, 0, 0, 0] = np.nan
    np.savez(path, target=broken)
    assert cli.main(["score", str(folder), str(path)]) == 1
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4 and "target[2]: holds NaN" in told.err


@pytest.mark.filterwarnings("ignore:.*files passed over. 1 .txt")
def test_false_discoveries_are_those_of_the_batch(folder, pictures, tmp_path, capsys):
    out = tmp_path / "new" / "scores.csv"
    arguments = ["score", str(folder), str(pictures), "--false-discovery", "0.3"]
    assert cli.main([*arguments, "--out", str(out)]) == 0
    assert capsys.readouterr().out == "" and [p.name for p in out.parent.iterdir()] == [out.name]
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert len(rows) == 8
    found = np.concatenate([b.samples for b in stream([str(pictures)], (16, 16, 1), "pad")])
    expected = Detector.load(folder).flags(found, false_discovery=0.3)
    assert [int(row["flag"]) for row in rows] == expected.tolist()


def test_a_pipe_that_is_given_for_a_file_is_written_and_stays_one(folder, pictures, tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()), daemon=True)
    reader.start()
    assert cli.main(["score", str(folder), str(pictures / "part1.png"), "--out", str(pipe)]) == 0
    reader.join(10)
    assert pipe.is_fifo() and len(got[0].splitlines()) == 2


def test_a_pipe_of_the_shell_may_be_the_output(folder, pictures):
    read, write = os.pipe()  # as `--out >(gzip > scores.csv.gz)` names one
    out = f"/dev/fd/{write}"
    assert cli.main(["score", str(folder), str(pictures / "part1.png"), "--out", out]) == 0
    os.close(write)
    with open(read) as file:
        assert len(file.read().splitlines()) == 2


def test_a_link_and_the_mode_of_the_file_behind_it_stay(folder, pictures, tmp_path):
    file, link = tmp_path / "private.csv", tmp_path / "latest.csv"
    file.touch(0o600)
    link.symlink_to(file)
    assert cli.main(["score", str(folder), str(pictures / "part1.png"), "--out", str(link)]) == 0
    assert link.is_symlink() and len(file.read_text().splitlines()) == 2
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_output_that_cannot_be_written_is_named(folder, pictures, tmp_path, capsys):
    for name, status in ((".", 2), ("y" * 254 + ".csv", 1)):
        out = str(tmp_path / name)
        assert cli.main(["score", str(folder), str(pictures / "part1.png"), "--out", out]) == status
        assert out in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_line_break_in_a_name_does_not_break_the_message(folder, pictures, capsys, monkeypatch):
    lines = f"one\rtwo\x1b[31m.png\n{pictures / 'part1.png'}\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    monkeypatch.setattr("ad_jax.cli.streams.select.select", lambda *_: ([1], [], []))
    assert cli.main(["score", str(folder), "-"]) == 1
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "ad-jax: one\\rtwo\\x1b[31m.png: no such file"


def test_no_input_is_read_where_stdin_is_closed(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert cli.main(["score", str(folder), "-"]) == 2
    sys.stdin.close()  # what the command opened in its place
    assert "no images there" in capsys.readouterr().err


def test_a_run_holds_its_detector(folder, pictures, tmp_path, capsys):
    one = ["score", str(folder.parent), str(pictures / "part1.png")]
    assert cli.main(one) == 0
    known = table(capsys)
    assert len(known) == 1
    older = Detector.load(folder)  # as if saved before detectors knew how pictures were fitted
    older.loading = None
    older.save(tmp_path / "detector")
    assert cli.main(["score", str(tmp_path), one[-1]]) == 0
    assert "stretch is assumed" in capsys.readouterr().err
    (tmp_path / "manifest.json").write_text('{"options": {"fit": "pad"}}')
    assert cli.main(["score", str(tmp_path), one[-1]]) == 0
    told = capsys.readouterr()
    assert "assumed" not in told.err and known[0]["score"] in told.out


def test_info_and_a_new_threshold(folder, tmp_path, capsys):
    copy = tmp_path / "detector"
    Detector.load(folder).save(copy)
    assert cli.main(["info", str(copy), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["held_out"] == 30 and about["held_out_per_seed"] == 10
    assert about["format"] == FORMAT and about["range"] is None
    assert about["seeds"] == [0, 1, 2] and about["shape"] == [16, 16, 1] and about["fit"] == "pad"
    assert about["thresholds"]["0.01"] is None and about["thresholds"]["0.1"] == about["threshold"]
    assert set(about["bytes"]) == {"detector.json", "arrays.safetensors"}
    assert cli.main(["info", str(copy), "--alpha", "0.2"]) == 0
    said = capsys.readouterr().out
    assert "unattainable: needs n = 99 held-out normals" in said and "binary/cutpaste" in said
    assert Detector.load(copy).alpha == 0.2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere", "PICTURES"], "no detector"),
        (["FOLDER", "nowhere"], "nowhere does not exist"),
        (["FOLDER", "PICTURES", "--alpha", "0.001"], "needs n = 999 held-out normals"),
        (["FOLDER", "PICTURES", "--alpha", "big"], "alpha='big'"),
        (["FOLDER", "PICTURES", "--proven"], "a seed"),
        (["FOLDER", "PICTURES", "--false-discovery", "2"], "false_discovery=2"),
        (["FOLDER", "PICTURES", "--alpha", "0.1", "--false-discovery", "0.1"], "two ways"),
        (["FOLDER", "PICTURES", "--fit", "squeeze"], "squeeze"),
        (["FOLDER", "EMPTY"], "no images"),
    ],
)
def test_wrong_use_is_one_line(folder, pictures, tmp_path, arguments, word, capsys):
    places = {"FOLDER": str(folder), "PICTURES": str(pictures), "EMPTY": str(tmp_path)}
    out = tmp_path / "out.csv"
    command = ["score", *(places.get(a, a) for a in arguments), "--out", str(out)]
    assert cli.main(command) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ad-jax:")]
    assert len(errors) == 1 and word in errors[0]
    assert not out.exists()


def test_natural_order_knows_numbers():
    names = ["b1", "a10", "a2", "a02", "A1", "a", "2", "10"]
    assert sorted(names, key=lambda n: (natural(n), n)) == [
        "2", "10", "A1", "a", "a02", "a2", "a10", "b1",
    ]  # fmt: skip
