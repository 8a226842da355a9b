"""Files of arrays: three layouts, and every way such a file can be wrong."""

import zipfile

import numpy as np
import pytest

from ad_jax.base.errors import InputError
from ad_jax.data import load
from ad_jax.data.samples import resize


def _images(n: int, seed: int = 0, side: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 1), dtype=np.uint8)


@pytest.fixture
def write(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "set.npz", **arrays)
        return tmp_path / "set.npz"

    return save


def _fails(path, *words, **options) -> None:
    with pytest.raises(InputError) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


# X, y


def test_rows_with_labels(write):
    rows = np.random.default_rng(0).random((40, 3)) * 100
    y = np.repeat([0, 1], (30, 10))
    problem, truth = load(write(X=rows, y=y))
    assert problem.train.shape == (15, 3)
    assert problem.target.shape == (25, 3)
    labels = truth.open("test")
    assert labels.anomalous.sum() == 10
    assert set(labels.kinds) == {"", "anomaly"}
    for row, name in enumerate(truth.names):
        i = int(name[2:-1])
        np.testing.assert_allclose(problem.target[row], rows[i].astype(np.float32))
        assert labels.anomalous[row] == y[i]


def test_order_of_the_file_does_not_matter(write):
    rows, y = np.random.default_rng(0).random((40, 3)), np.arange(40) % 4 == 3
    a, _ = load(write(X=rows, y=y))
    order = np.random.default_rng(1).permutation(40)
    b, _ = load(write(X=rows[order], y=y[order].astype(float)))
    assert a.fingerprint == b.fingerprint


def test_images_with_kinds(write):
    y = np.repeat([0, 1, 2], (20, 3, 4))
    problem, truth = load(write(X=_images(27)[..., 0], y=y), size=8, kind="2")
    assert problem.shape == (8, 8, 1)
    assert sorted(truth.open("test").kinds) == [""] * 10 + ["2"] * 4
    _fails(write(X=_images(27), y=y), "kind=3", "1, 2", kind=3)


# images, labels, split


def _classes(**changes):
    arrays = {
        "images": _images(60),
        "labels": np.arange(60) % 3,
        "split": (np.arange(60) >= 40).astype(np.uint8),
        "class_names": np.array(["cat", "dog", "cow"]),
    }
    return {k: v for k, v in (arrays | changes).items() if v is not None}


@pytest.mark.parametrize("normal", [1, "1", "dog"])
def test_classes(write, normal):
    problem, truth = load(write(**_classes()), normal=normal)
    assert len(problem.train) == 13
    assert len(problem.target) == 20
    labels = truth.open("test")
    images = _images(60)
    for row, name in enumerate(truth.names):
        i = int(name[7:-1])
        np.testing.assert_array_equal(problem.target[row], images[i])
        assert labels.kinds[row] == ["cat", "", "cow"][i % 3]
        assert labels.anomalous[row] == (i % 3 != 1)


def test_class_options(write):
    path = write(**_classes())
    full, _ = load(path, normal=0)
    some, truth = load(path, normal=0, kind="dog", size=12)
    assert set(truth.open("test").kinds) == {"", "dog"}
    np.testing.assert_array_equal(some.target.shape[1:], (12, 12, 1))
    few, _ = load(path, normal=0, limit=8)
    np.testing.assert_array_equal(few.target, full.target[:8])
    _fails(path, "normal=<class>", "0 (cat), 1 (dog), 2 (cow)")
    _fails(path, "normal=bird", "0 (cat)", normal="bird")
    _fails(path, "kind=cat", "normal class", normal=0, kind="cat")
    _fails(write(**_classes(class_names=None)), "0, 1, 2")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": np.zeros(3, int)}, ["labels", "(3,)", "60 images"]),
        ({"split": np.full(60, 2)}, ["split", "0 (train)"]),
        ({"labels": np.zeros(60)}, ["labels", "float64"]),
        ({"split": np.ones(60, int)}, ["train", "0 sample"]),
        ({"split": np.zeros(60, int)}, ["target", "0 sample"]),
    ],
)
def test_classes_that_do_not_fit(write, changes, words):
    _fails(write(**_classes(**changes)), *words, normal=0)


# train, target


def test_parts(write):
    parts = {"train": _images(9), "target": _images(6, 1), "held_out": _images(3, 2)}
    problem, truth = load(write(**parts))
    assert (len(problem.train), len(problem.target), len(problem.held_out)) == (9, 6, 3)
    with pytest.raises(InputError, match="no labels; give --labels FILE"):
        truth.open("test")
    _fails(write(**parts), "kind=1", "labels", kind=1)


def test_parts_with_labels(write):
    target, labels = _images(6, 1), np.array([0, 1, 0, 2, 0, 0])
    path = write(train=_images(9), target=target, labels=labels)
    problem, truth = load(path, size=3 * 4)
    opened = truth.open("test")
    for row, name in enumerate(truth.names):
        i = int(name[7:-1])
        np.testing.assert_array_equal(problem.target[row], resize(target, 12, 12)[i])
        assert opened.kinds[row] == ["", "1", "", "2", "", ""][i]
    assert set(load(path, kind=2)[1].open("test").kinds) == {"", "2"}


# Mistakes


def test_labels_of_the_wrong_length_show_at_once(write):
    parts = {"train": _images(9), "target": _images(6, 1)}
    _fails(write(**parts, labels=np.zeros(5)), "labels", "(5,)", "6 target")


def test_labels_that_are_no_numbers_show_when_opened(write):
    path = write(train=_images(9), target=_images(6, 1), labels=np.full(6, 0.5))
    _, truth = load(path)
    with pytest.raises(InputError, match="not whole"):
        truth.open("test")


def test_wrong_contents(write):
    _fails(write(a=np.zeros(2), b=np.zeros(2)), "holds a, b", "X, y", "train, target")
    _fails(write(**{f"k{i}": np.zeros(1) for i in range(20)}), "and 12 more")
    _fails(write(), "no arrays")
    _fails(write(values=np.zeros(5), labels=np.zeros(5), train_end=3), "3 points before train_end")
    _fails(write(X=np.zeros((4, 2)), y=np.zeros(3)), "y", "(3,)", "4 samples")
    _fails(write(X=np.zeros((4, 2)), y=np.full(4, np.nan)), "y", "not whole")
    _fails(write(X=np.full((4, 2), np.inf), y=np.zeros(4)), "X", "not finite")
    _fails(write(X=np.zeros((20, 2)), y=np.ones(20)), "train holds 0")
    _fails(write(X=np.random.rand(20, 2), y=np.zeros(20)), "size=8", "rows", size=8)
    _fails(write(X=np.random.rand(20, 2), y=np.zeros(20)), "normal=1", normal=1)
    _fails(write(X=np.array([{}] * 4), y=np.zeros(4)), "array X", "objects")
    _fails(write(X=np.array(["a"] * 4), y=np.zeros(4)), "X", "dtype")


def test_damaged_files(write, tmp_path):
    path = write(X=np.random.rand(200, 20), y=np.zeros(200))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for content in (
        b"",
        b"text, no archive",
        whole[:1000],
        bytes(damaged),
        b"PK\x03\x04" + whole[:9],
    ):
        path.write_bytes(content)
        _fails(path, str(path), "numpy.savez")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(path)
    _fails(path, str(path), "numpy.savez")


def _archive(path, **members) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


@pytest.mark.parametrize(("place", "value"), [((6, 8), 1), ((8, 10), 9)])
def test_encrypted_archives_and_odd_compressions_are_one_line(write, place, value):
    path = write(X=np.random.rand(20, 2), y=np.zeros(20))
    content = bytearray(path.read_bytes())
    for mark, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), place, strict=True):
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + offset] |= value  # flags, or compression, of local and central headers
    path.write_bytes(content)
    _fails(path, str(path), "cannot be read")


def test_a_header_with_a_shape_beyond_64_bits_is_one_line(tmp_path):
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,)}" % 10**20
    text += b" " * (117 - len(text)) + b"\n"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    _archive(tmp_path / "set.npz", train=header, target=header)
    _fails(tmp_path / "set.npz", "array train", "cannot be read")


def test_one_class_name_that_is_no_list_names_the_first_class(write):
    images, split = _images(24), np.repeat([0, 1], 12)
    path = write(images=images, labels=np.zeros(24, int), split=split, class_names="shoe")
    assert load(path, normal="shoe")[0].shape == (6, 6, 1)


def test_labels_beyond_whole_numbers_are_refused(write):
    for value in (np.inf, 1e300):
        y = np.repeat([0, value], 20)
        _fails(write(X=np.random.rand(40, 2), y=y), "y in", "not whole")


# Real data


def test_fashion_mnist(real_data):
    problem, truth = load(real_data / "fashion_mnist.npz", normal="Sneaker", limit=300)
    assert problem.shape == (28, 28, 1)
    assert len(problem.train) == len(truth) == 300
    assert 0.8 < truth.open("test of the loader").anomalous.mean() < 0.97


@pytest.mark.parametrize("name", ["6_cardio", "30_satellite", "46_WPBC"])
def test_tabular(real_data, name):
    path = real_data / "tabular" / f"{name}.npz"
    if name == "6_cardio":
        with pytest.warns(UserWarning, match=r"5 of 827 train normals .*X\[484\], X\[784\]"):
            problem, truth = load(path)
    else:
        problem, truth = load(path)
    labels = truth.open("test of the loader")
    normals = len(problem.train) + problem.copies.train
    assert abs(normals - (labels.anomalous == 0).sum()) <= 1
    assert problem.train.dtype == np.float32
    assert problem.duplicates().exact == []
