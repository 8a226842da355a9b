"""The label firewall at the level of data: labels and names change no bit of a problem."""

import dataclasses
import shutil

import numpy as np
import pytest

from ad_jax.data import load
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.truth import Labels

TEST_KINDS = ("good", "crack", "hole")


def _bits(problem: Problem) -> tuple:
    """Everything a problem shows, to the bit."""
    arrays = [getattr(problem, name) for name in ("train", "target", "held_out", "groups")]
    arrays += [problem.folds, *problem.split(1)]
    return (
        [None if a is None else (a.shape, str(a.dtype), a.tobytes()) for a in arrays],
        problem.fingerprint,
        problem.train_fingerprint,
        problem.sample_hashes,
        problem.duplicates(),
        repr(problem),
    )


def test_problem_holds_no_labels_names_or_paths(mvtec):
    problem, truth = load(mvtec, group=r"(\d)\.png")
    fields = {f.name for f in dataclasses.fields(Problem)} - {"_hashes", "_originals"}
    of_arrays = {"train", "target", "held_out", "groups", "range", "distinct", "copies"}
    assert fields == of_arrays | {"turns", "copies_held_out", "series"}
    kept = {
        "_hashes",
        "_originals",
        "_duplicates",
        "units",
        "folds",
        "fingerprint",
        "train_fingerprint",
    }
    assert set(vars(problem)) <= fields | kept
    assert problem.groups.dtype == np.int32
    text = repr(vars(problem))
    for word in (*TEST_KINDS, ".png", str(mvtec), truth.names[0]):
        assert word not in text


def _rename_folders(root):
    (root / "test/crack").rename(root / "test/zz")
    (root / "test/hole").rename(root / "test/a hole")


def _swap_normals_and_anomalies(root):
    (root / "test/good").rename(root / "test/was")
    (root / "test/crack").rename(root / "test/good")


def _move_files_between_folders(root):
    for i, file in enumerate(sorted((root / "test").rglob("*.png"))):
        file.rename(root / "test" / TEST_KINDS[(i * 5) % 3] / f"moved{97 * i % 13}.png")


def _all_into_one_folder(root):
    for i, file in enumerate(sorted((root / "test").rglob("*.png"))):
        file.rename(root / "test/good" / f"new{i}.png")


def _nest(root):
    (root / "test/all").mkdir()
    for kind in TEST_KINDS:
        (root / "test" / kind).rename(root / "test/all" / kind)


def _drop_masks(root):
    shutil.rmtree(root / "ground_truth")


def _drop_labels(root):
    (root / "test").rename(root / "target")


def _rename_files(root):
    files = sorted(root.rglob("good/*.png"))
    for i, file in enumerate(files):
        file.rename(file.with_name(f"r{len(files) - i:02d}.png"))


@pytest.mark.parametrize("limit", [None, 8])
@pytest.mark.parametrize(
    "change",
    [
        _rename_folders,
        _swap_normals_and_anomalies,
        _move_files_between_folders,
        _all_into_one_folder,
        _nest,
        _drop_masks,
        _drop_labels,
        _rename_files,
    ],
)
def test_folder_labels_change_no_bit(mvtec, change, limit):
    # Copies of one sample on both sides of the labels must not matter either.
    shutil.copy(mvtec / "test/good/000.png", mvtec / "test/crack/copy.png")
    before = _bits(load(mvtec, limit=limit)[0])
    change(mvtec)
    assert _bits(load(mvtec, limit=limit)[0]) == before


def test_labels_follow_the_folders_all_the_same(mvtec):
    """The other side: the truth does see what the problem does not."""
    shutil.rmtree(mvtec / "ground_truth")
    before = load(mvtec)[1].open("test").anomalous
    _swap_normals_and_anomalies(mvtec)
    after = load(mvtec)[1].open("test").anomalous
    assert (before != after).any()


@pytest.mark.parametrize("change", ["permute", "flip", "delete", "nonsense"])
def test_array_labels_change_no_bit(tmp_path, change):
    rng = np.random.default_rng(0)
    parts = {
        "train": rng.integers(0, 256, (12, 5, 5, 1), dtype=np.uint8),
        "target": rng.integers(0, 256, (9, 5, 5, 1), dtype=np.uint8),
    }
    labels = np.arange(9) % 2
    np.savez(tmp_path / "a.npz", **parts, labels=labels)
    changed = {
        "permute": {"labels": rng.permutation(labels)},
        "flip": {"labels": 1 - labels},
        "delete": {},
        "nonsense": {"labels": np.full(9, -3)},
    }[change]
    np.savez(tmp_path / "b.npz", **parts, **changed)
    for limit in (None, 8):
        a, b = (load(tmp_path / f"{name}.npz", limit=limit)[0] for name in "ab")
        assert _bits(a) == _bits(b)


def test_class_labels_of_the_target_change_no_bit(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (60, 5, 5, 1), dtype=np.uint8),
        "labels": np.arange(60) % 3,
        "split": (np.arange(60) >= 40).astype(np.uint8),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    arrays["labels"] = np.concatenate(
        [arrays["labels"][:40], rng.permutation(arrays["labels"][40:])]
    )
    np.savez(tmp_path / "b.npz", **arrays)
    a, b = (load(tmp_path / f"{name}.npz", normal=0)[0] for name in "ab")
    assert _bits(a) == _bits(b)


def test_loading_does_not_read_the_truth():
    def read() -> Labels:
        raise AssertionError("read")

    rng = np.random.default_rng(0)
    problem, truth = sealed(
        train=rng.random((9, 3)), target=rng.random((4, 3)), names=list("abcd"), read=read
    )
    _bits(problem)
    repr(truth), len(truth), truth.names
    with pytest.raises(AssertionError, match="read"):
        truth.open("test")
    assert truth.log == []


def test_loaders_read_labels_late(mvtec, tmp_path, monkeypatch):
    from ad_jax.data import arrays, layout, masks

    parts = {"train": np.random.rand(9, 3), "target": np.random.rand(4, 3), "labels": np.zeros(4)}
    np.savez(tmp_path / "a.npz", **parts)
    keys = []
    read = arrays._read
    monkeypatch.setattr(arrays, "_read", lambda path, key: keys.append(key) or read(path, key))
    monkeypatch.setattr(layout, "kind_of", lambda *a: pytest.fail("looked at a label"))
    monkeypatch.setattr(layout, "pair", lambda *a: pytest.fail("looked for masks"))
    monkeypatch.setattr(masks, "read_mask", lambda *a: pytest.fail("looked at a mask"))
    load(mvtec)
    _, truth = load(tmp_path / "a.npz")
    assert sorted(keys) == ["target", "train"]
    truth.open("test")
    assert "labels" in keys


def test_choosing_the_target_by_kind_is_logged_as_an_opening(mvtec, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 5, 5, 1), dtype=np.uint8)
    labels = np.arange(60) % 3
    layouts = {
        "labelled": {"X": images, "y": labels},
        "classes": {"images": images, "labels": labels, "split": np.repeat([0, 1], (40, 20))},
        "parts": {"train": images[:40], "target": images[40:], "labels": labels[40:]},
    }
    for name, arrays in layouts.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
    sources = {
        "digits": ({}, "8"),
        mvtec: ({}, "crack"),
        tmp_path / "labelled.npz": ({}, "2"),
        tmp_path / "classes.npz": ({"normal": 0}, "2"),
        tmp_path / "parts.npz": ({}, "2"),
    }
    for source, (options, kind) in sources.items():
        assert load(source, **options)[1].log == []
        _, truth = load(source, **options, kind=kind)
        ((time, reason),) = truth.log
        assert f"kind={kind}" in reason and time.endswith("+00:00")
        assert [entry[1] for entry in (truth.open("test") and truth.log)] == [reason, "test"]
