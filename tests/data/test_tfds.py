"""Sources of TensorFlow Datasets: small sets built here, without network and without TensorFlow."""

import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ad_jax.base.errors import InputError
from ad_jax.data import SOURCES, load, parse
from ad_jax.data import tfds as room
from ad_jax.data.problem import Problem
from ad_jax.data.samples import resize

pytest.importorskip("array_record", reason="array_record has no build for this platform")
tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ("cat", "dog", "owl")
CONFIG = pathlib.Path(__file__).parents[2] / "experiments/configs/tfds.py"


def _picture(i: int, height: int = 12, width: int = 12) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _png(pixels: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return io.BytesIO(file.getvalue())


class _Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """45 train and 20 test samples; what the tests change are class attributes."""

    VERSION = tfds.core.Version("1.0.0")
    shift = 0  # of the labels of the test samples
    prefix = "a"  # of the keys, whose hash is the order in the file

    def _split_generators(self, manager):
        del manager
        return {"train": self._generate_examples(0, 45), "test": self._generate_examples(45, 65)}

    def _generate_examples(self, low, high):
        for i in range(low, high):
            label = (i + (self.shift if low else 0)) % 3
            yield f"{self.prefix}{i}", {"image": self.image(i), "label": label}


class AdJaxPictures(_Builder):
    """PNG pictures of one size, classes with names."""

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(12, 12, 3)),
            "label": tfds.features.ClassLabel(names=NAMES),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def image(self, i):
        return _png(_picture(i))


class AdJaxUnequal(AdJaxPictures):
    """Pictures of several sizes."""

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=NAMES),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def image(self, i):
        return _png(_picture(i, 10 + i % 4, 12))


class AdJaxTensors(_Builder):
    """Plain arrays, classes without names."""

    def _info(self):
        features = {
            "image": tfds.features.Tensor(shape=(6, 5, 1), dtype=np.uint8),
            "label": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def image(self, i):
        return _picture(i, 6, 5)[..., :1]


class AdJaxUnlabelled(AdJaxTensors):
    def _info(self):
        features = {"image": tfds.features.Tensor(shape=(6, 5, 1), dtype=np.uint8)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _generate_examples(self, low, high):
        for i in range(low, high):
            yield i, {"image": self.image(i)}


class AdJaxRows(AdJaxTensors):
    def _info(self):
        features = {
            "image": tfds.features.Tensor(shape=(4,), dtype=np.uint8),
            "label": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def image(self, i):
        return _picture(i)[0, :4, 0]


class AdJaxTrainOnly(AdJaxTensors):
    def _split_generators(self, manager):
        return {"train": self._generate_examples(0, 45)}


def _prepare(builder: type, folder: pathlib.Path) -> pathlib.Path:
    builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder of all the small data sets."""
    folder = tmp_path_factory.mktemp("tfds")
    builders = (AdJaxPictures, AdJaxUnequal, AdJaxTensors, AdJaxUnlabelled, AdJaxRows)
    for builder in (*builders, AdJaxTrainOnly):
        _prepare(builder, folder)
    return folder


# What is loaded


@pytest.mark.parametrize("normal", ["dog", 1, "1"])
def test_pictures_in_named_classes(prepared, normal):
    problem, truth = load("tfds:ad_jax_pictures", normal=normal, data_dir=prepared)
    assert (len(problem.train), len(problem.target)) == (15, 20)
    assert (problem.shape, problem.train.dtype) == ((12, 12, 3), np.uint8)
    assert problem.held_out is None
    expected = {_picture(i).tobytes() for i in range(45) if i % 3 == 1}
    assert {sample.tobytes() for sample in problem.train} == expected
    kinds = {_picture(i).tobytes(): NAMES[i % 3] for i in range(45, 65)}
    labels = truth.open("test")
    for sample, anomalous, kind in zip(problem.target, labels.anomalous, labels.kinds, strict=True):
        assert kinds[sample.tobytes()] == (kind or "dog")
        assert bool(anomalous) == (kind != "")
    assert labels.masks is None
    stored = tfds.data_source("ad_jax_pictures", split="test", data_dir=prepared, download=False)
    for row, name in enumerate(truth.names):
        record = stored[int(name.removeprefix("test[").removesuffix("]"))]
        np.testing.assert_array_equal(record["image"], problem.target[row])


def test_tensors_in_numbered_classes(prepared):
    problem, truth = load("tfds:ad_jax_tensors", normal=2, data_dir=str(prepared), size=8)
    assert problem.shape == (8, 8, 1)
    whole = np.stack([_picture(i, 6, 5)[..., :1] for i in range(45) if i % 3 == 2])
    assert {x.tobytes() for x in problem.train} == {x.tobytes() for x in resize(whole, 8, 8)}
    assert set(truth.open("test").kinds) == {"", "0", "1"}


def test_pictures_of_unequal_sizes_need_a_size(prepared):
    with pytest.raises(InputError, match="unequal sizes; give size="):
        load("tfds:ad_jax_unequal", normal=0, data_dir=prepared)
    problem, _ = load("tfds:ad_jax_unequal", normal=0, data_dir=prepared, size=9)
    expected = {resize(_picture(i, 10 + i % 4, 12)[None], 9, 9).tobytes() for i in range(0, 45, 3)}
    assert {x.tobytes() for x in problem.train} == expected


def test_limit_and_version(prepared):
    full, _ = load("tfds:ad_jax_tensors", normal=0, data_dir=prepared)
    problem, truth = load("tfds:ad_jax_tensors:1.0.0", normal=0, data_dir=prepared, limit=8)
    np.testing.assert_array_equal(problem.train, full.train[:8])
    np.testing.assert_array_equal(problem.target, full.target[:8])
    assert len(truth) == len(truth.open("test").kinds) == 8


def test_base_of_planted_anomalies(prepared):
    problem, truth = load(
        "planted:quarter_turns",
        base="tfds:ad_jax_pictures",
        normal="owl",
        data_dir=prepared,
        limit=14,
        share=0.5,
        size=16,
    )
    assert problem.shape == (16, 16, 3)
    assert set(truth.open("test").kinds) == {"", "quarter_turns"}


def test_tensorflow_is_not_needed(prepared):
    """Neither it nor the code that built the data set: the files are enough."""
    code = (
        "import sys, ad_jax\n"
        f"options = dict(normal='dog', data_dir={str(prepared)!r})\n"
        "problem, truth = ad_jax.load('tfds:ad_jax_pictures', **options)\n"
        "print(problem.fingerprint, truth.open('test').anomalous.sum())\n"
        "print('tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    problem, truth = load("tfds:ad_jax_pictures", normal="dog", data_dir=prepared)
    count = str(truth.open("test").anomalous.sum())
    assert out.stdout.split() == [problem.fingerprint, count, "False"]
    assert out.stderr == ""


def test_data_imports_no_tfds_before_it_is_used():
    code = "import sys, ad_jax.data; print('tensorflow_datasets' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


# The firewall


def _bits(problem: Problem) -> tuple:
    return problem.fingerprint, problem.train.tobytes(), problem.target.tobytes()


def test_labels_and_order_of_the_target_change_no_bit(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(AdJaxPictures, "shift", 1)
    monkeypatch.setattr(AdJaxPictures, "prefix", "b")
    other = _prepare(AdJaxPictures, tmp_path / "moved")
    (a, sealed), (b, also) = (
        load("tfds:ad_jax_pictures", normal="cat", data_dir=folder) for folder in (prepared, other)
    )
    assert _bits(a) == _bits(b)
    assert (sealed.open("test").anomalous != also.open("test").anomalous).any()


def test_labels_of_the_target_are_read_late(prepared, monkeypatch):
    read = []
    init = room._Column.__init__

    def spy(self, builder, split, feature):
        read.append((split, feature))
        init(self, builder, split, feature)

    monkeypatch.setattr(room._Column, "__init__", spy)
    problem, truth = load("tfds:ad_jax_pictures", normal="cat", data_dir=prepared)
    problem.folds, problem.duplicates()
    assert read == [("train", "label"), ("train", "image"), ("test", "image")]
    truth.open("test")
    assert read[3:] == [("test", "label")]
    for word in (*NAMES[1:], "pictures", str(prepared)):
        assert word not in repr(vars(problem))


# Bad input


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mnits", {}, ["tfds:mnits", "unknown", "mnist"]),
        ("zqxj", {}, ["tfds:zqxj", "unknown", "TFDS"]),
        ("", {}, ["tfds:", "tfds:cifar10"]),
        ("huggingface:mnist", {}, ["huggingface:mnist", "tfds:cifar10"]),
        ("mnist,a=b", {}, ["mnist,a=b", "tfds:cifar10"]),
        ("cifar10", {}, ["tfds:cifar10", "not prepared", "tfds build cifar10", "array_record"]),
        ("mnist:9.9.9", {}, ["tfds:mnist:9.9.9", "3.0.1"]),
        ("cifar10/large", {}, ["tfds:cifar10/large", "large"]),
        ("ad_jax_pictures", {}, ["normal=<class>", "0 (cat), 1 (dog), 2 (owl)"]),
        ("ad_jax_pictures", {"normal": "cow"}, ["normal=cow", "0 (cat), 1 (dog), 2 (owl)"]),
        ("ad_jax_tensors", {"normal": 3}, ["normal=3", "0, 1, 2"]),
        ("ad_jax_pictures", {"normal": 0, "size": 4}, ["size=4", "8 to"]),
        ("ad_jax_pictures", {"normal": 0, "limit": 1}, ["1 sample", "turns=8"]),
        ("ad_jax_pictures", {"kind": "dog"}, ["kind=", "normal, size, limit, data_dir"]),
        ("ad_jax_pictures", {"data_dir": "nowhere"}, ["data_dir=nowhere", "ad_jax_pictures"]),
        ("ad_jax_unlabelled", {"normal": 0}, ["feature label", "only image"]),
        ("ad_jax_rows", {"normal": 0}, ["images", "(4,)"]),
        ("ad_jax_train_only", {"normal": 0}, ["split test", "only train"]),
    ],
)
def test_mistakes_say_what_and_how_to_mend(prepared, name, options, words):
    with pytest.raises(InputError) as caught:
        load(f"tfds:{name}", **{"data_dir": prepared, **options})
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_without_random_access(tmp_path):
    folder = _prepare(AdJaxTensors, tmp_path) / "ad_jax_tensors/1.0.0"
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="tfrecord.*--file_format=array_record --data_dir="):
        load("tfds:ad_jax_tensors", normal=0, data_dir=tmp_path)


def test_where_tfds_looks_by_itself(prepared):
    """TFDS reads its environment variable when it is imported."""
    code = (
        "import ad_jax\n"
        "print(ad_jax.load('tfds:ad_jax_tensors', normal=0)[0].fingerprint)\n"
        "try: ad_jax.load('tfds:mnist', normal=0)\n"
        "except ad_jax.InputError as error: print(error)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TFDS_DATA_DIR": str(prepared)},
    )
    fingerprint, message = out.stdout.strip().split("\n")
    assert fingerprint == load("tfds:ad_jax_tensors", normal=0, data_dir=prepared)[0].fingerprint
    assert f"no {prepared}/mnist/" in message
    assert out.stderr == ""


# The configs


@pytest.mark.parametrize("argument", ["cifar10", "mnist-28", "fashion_mnist", "smoke"])
def test_configs_name_sources_that_exist(argument):
    spec = importlib.util.spec_from_file_location("tfds_config", CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(argument)
    assert len(config.sources) == (1 if argument == "smoke" else 10)
    for text in config.sources:
        source, options = parse(text)
        assert tfds.builder_cls(source.removeprefix("tfds:")).name in source
        assert set(options) <= set(SOURCES["tfds:NAME"].options)
        assert 0 <= int(options["normal"]) <= 9
    with pytest.raises(ValueError, match="imagenet.*known: cifar10"):
        module.get_config("imagenet")
