"""Layouts of the known data sets, made small: which files are samples, kinds and masks."""

import shutil

import numpy as np
import pytest
from PIL import Image

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import load


@pytest.fixture
def make(tmp_path, save, picture):
    """`make({folder: number of pictures}, {mask file: marked columns})`: the folder."""

    def write(folders, masks=(), suffix=".png"):
        number = 0
        for folder, count in folders.items():
            for k in range(count):
                save(tmp_path / folder / f"{k:03d}{suffix}", picture(number, 10, 10))
                number += 1
        for file, columns in dict(masks).items():
            save(tmp_path / file, _mask(columns))
        return tmp_path

    return write


def _mask(columns, value=255):
    mask = np.zeros((10, 10), np.uint8)
    mask[:, list(columns)] = value
    return mask


def _opened(root, **options):
    """Problem, kind by name, and marked columns by name."""
    problem, truth = load(root, size=10, **options)
    labels = truth.open("test")
    kinds = dict(zip(truth.names, labels.kinds, strict=True))
    masks = {}
    for row, name in enumerate(truth.names):
        mask = None if labels.masks is None else labels.masks(row)
        masks[name] = None if mask is None else np.flatnonzero(mask.all(axis=0)).tolist()
    return problem, kinds, masks


def test_mvtec_ad(make):
    root = make(
        {"train/good": 8, "test/good": 2, "test/crack": 2},
        {"ground_truth/crack/000_mask.png": [1, 2], "ground_truth/crack/001_mask.png": [3]},
    )
    problem, kinds, masks = _opened(root)
    assert len(problem.train) == 8
    assert sorted(kinds.values()) == ["", "", "crack", "crack"]
    assert masks["test/crack/000.png"] == [1, 2] and masks["test/crack/001.png"] == [3]
    assert masks["test/good/000.png"] == []


def test_mvtec_ad_2_keeps_its_masks_inside_the_test_folder(make):
    root = make(
        {
            "train/good": 8,
            "validation/good": 2,
            "test_public/good": 2,
            "test_public/bad": 2,
            "test_private": 3,
        },
        {
            "test_public/ground_truth/bad/000_mask.png": [4],
            "test_public/ground_truth/bad/001_mask.png": [5],
        },
    )
    problem, kinds, masks = _opened(root)
    assert len(problem.train) == 8 and len(problem.target) == 4
    assert sorted(kinds.values()) == ["", "", "bad", "bad"]
    assert masks["test_public/bad/001.png"] == [5]


@pytest.mark.parametrize("inner", ["ground_truth", "GT", "masks", "crack/masks"])
def test_masks_inside_the_test_folder_are_no_samples(make, inner):
    folders = {"train/good": 8, "test/good": 2, "test/crack": 2}
    without, _ = load(make(folders), size=10)
    name = inner if "/" in inner else f"{inner}/crack"
    problem, kinds, masks = _opened(make(folders, {f"test/{name}/000.png": [6]}))
    assert problem.fingerprint == without.fingerprint
    assert set(kinds.values()) == {"", "crack"}
    assert masks["test/crack/000.png"] == [6] and masks["test/crack/001.png"] is None


def test_masks_beside_images_are_no_samples(make):
    folders = {"train/good": 8, "test/good": 2, "test/crack": 2}
    without, _ = load(make(folders), size=10)
    root = make(folders, {"test/crack/000_mask.png": [7], "train/good/000_MASK.png": []})
    with pytest.warns(DataWarning, match="passed over: 1 masks by name .*000_MASK.png"):
        problem, kinds, masks = _opened(root)
    assert problem.fingerprint == without.fingerprint and len(kinds) == 4
    assert masks["test/crack/000.png"] == [7]


def test_masks_of_an_unlabelled_target_are_no_samples(make):
    root = make({"train": 8, "target": 3}, {"target/ground_truth/000.png": [1]})
    with pytest.warns(DataWarning, match="1 masks by name .first .*target/ground_truth/000.png"):
        problem, truth = load(root, size=10)
    assert len(problem.target) == 3
    with pytest.raises(InputError, match="no labels"):
        truth.open("test")


def test_mvtec_loco_unites_a_folder_of_masks(make):
    root = make(
        {"train/good": 8, "test/good": 1, "test/logical_anomalies": 2},
        {
            "ground_truth/logical_anomalies/000/000.png": [1],
            "ground_truth/logical_anomalies/000/001.png": [8, 9],
            "ground_truth/logical_anomalies/001/000.png": [2],
        },
    )
    _, kinds, masks = _opened(root)
    assert sorted(kinds.values()) == ["", "logical_anomalies", "logical_anomalies"]
    assert masks["test/logical_anomalies/000.png"] == [1, 8, 9]
    assert masks["test/logical_anomalies/001.png"] == [2]


def test_btad_calls_normals_ok(make):
    root = make(
        {"train/ok": 8, "test/ok": 2, "test/ko": 2}, {"ground_truth/ko/001.png": [3]}, ".bmp"
    )
    problem, kinds, masks = _opened(root)
    assert len(problem.train) == 8
    assert sorted(kinds.values()) == ["", "", "ko", "ko"]
    assert masks["test/ko/001.bmp"] == [3] and masks["test/ko/000.bmp"] is None


VISA = {"Data/Images/Normal": 17, "Data/Images/Anomaly": 3}


def test_visa_trains_on_half_of_its_normals(make):
    root = make(VISA, {"Data/Masks/Anomaly/002.png": [4, 5]})
    problem, kinds, masks = _opened(root)
    assert len(problem.train) == 8 and len(problem.target) == 9 + 3
    assert sum(kind == "Anomaly" for kind in kinds.values()) == 3
    assert masks["Data/Images/Anomaly/002.png"] == [4, 5]


def test_the_half_that_trains_follows_content_alone(make, tmp_path):
    before, _ = load(make(VISA), size=10)
    folder = tmp_path / "Data/Images/Normal"
    for file in sorted(folder.iterdir()):
        file.rename(file.with_name(f"z{99 - int(file.stem)}.png"))
    again, _ = load(tmp_path, size=10)
    assert again.fingerprint == before.fingerprint
    smaller, _ = load(tmp_path, size=8)
    assert len(smaller.train) == len(before.train)


def test_visa_split(make):
    root = make({"train/good": 8, "test/good": 1, "test/bad": 2}, (), ".JPG")
    Image.fromarray(_mask([6])).save(root / "gt.png")
    (root / "ground_truth/bad").mkdir(parents=True)
    (root / "gt.png").rename(root / "ground_truth/bad/000.png")
    _, kinds, masks = _opened(root)
    assert sorted(kinds.values()) == ["", "bad", "bad"]
    assert masks["test/bad/000.JPG"] == [6]


@pytest.mark.parametrize("place", ["mask/crack", "mask"])
def test_the_folder_of_anomalib(make, place):
    root = make({"good": 16, "crack": 3}, {f"{place}/001.png": [2]})
    problem, kinds, masks = _opened(root)
    assert len(problem.train) == 8 and len(problem.target) == 8 + 3
    assert masks["crack/001.png"] == [2] and masks["crack/000.png"] is None
    assert {name for name, kind in kinds.items() if kind == "crack"} == {
        f"crack/{i:03d}.png" for i in range(3)
    }


def test_normals_set_apart_for_testing_are_normal(make):
    root = make({"normal": 8, "normal_test": 2, "abnormal": 3, "masks": 0})
    problem, kinds, _ = _opened(root)
    assert len(problem.train) == 8
    assert sorted(kinds.values()) == [""] * 2 + ["abnormal"] * 3


def test_masks_that_find_no_image_are_named(make):
    root = make(
        {"train/good": 8, "test/good": 1, "test/crack": 1},
        {"ground_truth/crack/000_mask.png": [1], "ground_truth/crack/017_mask.png": [1]},
    )
    _, truth = load(root, size=10)
    with pytest.warns(DataWarning, match="1 mask.* no image.*ground_truth/crack/017_mask.png$"):
        truth.open("test")


def test_masks_find_images_that_kind_leaves_out(make):
    root = make(
        {"train/good": 8, "test/good": 1, "test/crack": 1, "test/hole": 1},
        {"ground_truth/crack/000_mask.png": [1], "ground_truth/hole/000_mask.png": [1]},
    )
    _, kinds, _ = _opened(root, kind="hole")  # no warning
    assert set(kinds.values()) == {"", "hole"}


def test_masks_of_another_aspect_ratio_are_named(make, save):
    root = make(
        {"train/good": 8, "test/good": 1, "test/crack": 2},
        {"ground_truth/crack/000_mask.png": [1]},
    )
    save(root / "ground_truth/crack/001_mask.png", np.zeros((10, 20), np.uint8))
    _, truth = load(root, size=10)
    with pytest.warns(DataWarning, match="1 mask.*aspect ratio.*crack/001_mask.png$"):
        truth.open("test")
    save(root / "ground_truth/crack/001_mask.png", np.zeros((5, 5), np.uint8))
    load(root, size=10)[1].open("test")  # smaller, of the same shape: no warning


# What in a mask is defective


@pytest.fixture
def share(tmp_path, save, picture):
    """`share(write)`: the share that is defective of a mask of 64 px a side."""

    def read(write):
        root = tmp_path / "marked"
        shutil.rmtree(root, ignore_errors=True)
        for i in range(8):
            save(root / "train/good" / f"{i}.png", picture(i, 64, 64))
        save(root / "test/crack/0.png", picture(9, 64, 64))
        (root / "ground_truth/crack").mkdir(parents=True)
        write(root / "ground_truth/crack")
        _, truth = load(root, size=64)
        return truth.open("test").masks(0).mean()

    return read


def _blob():
    rows, columns = np.mgrid[:64, :64] - 31.5
    return np.hypot(rows, columns) < 11.5


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_mask_saved_with_loss_keeps_its_area(share, suffix):
    mask = Image.fromarray(_blob().astype(np.uint8) * 255)
    assert share(lambda d: mask.save(d / f"0.{suffix}", quality=50)) == pytest.approx(
        _blob().mean(), rel=0.03
    )


def test_a_mask_with_grey_edges_is_cut_at_half_of_its_largest_value(share, save):
    rows, columns = np.mgrid[:64, :64] - 31.5
    grey = np.clip((16.5 - np.hypot(rows, columns)) / 10, 0, 1) * 200  # half of it at 11.5 px
    found = share(lambda d: save(d / "0.png", grey.astype(np.uint8)))
    assert found == pytest.approx(_blob().mean(), rel=0.03)


@pytest.mark.parametrize("background", [(128, 0, 0), (0, 0, 0)])
def test_entry_0_of_a_palette_is_background(share, background):
    mask = Image.fromarray(_blob().astype(np.uint8)).convert("P")
    mask.putpalette([*background, 0, 200, 0])
    assert share(lambda d: mask.save(d / "0.png")) == _blob().mean()


def test_black_is_background_in_whatever_entry_of_a_palette(share):
    mask = Image.fromarray((~_blob()).astype(np.uint8)).convert("P")
    mask.putpalette([255, 255, 255, 0, 0, 0])
    assert share(lambda d: mask.save(d / "0.png")) == _blob().mean()


@pytest.mark.parametrize("values", [(1,), (1, 2, 3), (300,), (1, 65535)])
def test_every_class_of_a_mask_is_defective(share, save, values):
    mask = np.zeros((64, 64), np.uint16 if max(values) > 255 else np.uint8)
    for k, value in enumerate(values):
        mask[8 * k : 8 * k + 8, :16] = value
    found = share(lambda d: save(d / "0.png", mask))
    assert found == len(values) * 8 * 16 / 64**2
