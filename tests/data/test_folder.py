"""Folders: layouts, decoding, fitting, masks, and every way a folder can be wrong."""

import os
import re
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import load, parse
from ad_jax.data.folder import load_folder
from ad_jax.data.samples import content_hashes, sides_of


def _fails(root, *words, **options) -> str:
    with pytest.raises(InputError) as caught:
        load_folder(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


# Layouts


def test_mvtec_layout(mvtec):
    problem, truth = load(mvtec, size=12)
    assert problem.train.shape == (10, 12, 12, 1)
    assert problem.target.shape == (9, 12, 12, 1)
    assert problem.held_out is None
    assert problem.train.dtype == np.uint8
    labels = truth.open("test")
    assert sorted(labels.kinds) == [""] * 4 + ["crack"] * 3 + ["hole"] * 2
    for row, name in enumerate(truth.names):
        pixels = np.asarray(Image.open(mvtec / name))
        np.testing.assert_array_equal(problem.target[row, :, :, 0], pixels)
        folder = name.split("/")[1]
        assert name.startswith("test/")
        assert labels.kinds[row] == ("" if folder == "good" else folder)
        assert labels.anomalous[row] == (folder != "good")


def test_masks(mvtec):
    _, truth = load(mvtec, size=12)
    labels = truth.open("test")
    masks = {name: labels.masks(row) for row, name in enumerate(truth.names)}
    assert masks["test/good/000.png"].sum() == 0
    assert masks["test/crack/002.png"] is None  # anomalous, but nobody marked where
    assert masks["test/hole/000.png"] is None
    expected = np.zeros((12, 12), np.uint8)
    expected[:6, :3] = 1
    np.testing.assert_array_equal(masks["test/crack/000.png"], expected)
    small = load(mvtec, size=8)[1].open("test").masks
    assert {small(i).shape for i in range(9) if small(i) is not None} == {(8, 8)}


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [16, "16x24", "30x12"])
def test_masks_are_fitted_as_images_are(mvtec, save, fit, size):
    """A picture that is its own mask must stay so."""
    pixels = np.zeros((20, 32), np.uint8)
    pixels[6:12, 12:24] = 255
    save(mvtec / "test/hole/000.png", pixels)
    save(mvtec / "ground_truth/hole/000.png", pixels)  # without _mask, as some sets have it
    problem, truth = load(mvtec, size=size, fit=fit)
    row = truth.names.index("test/hole/000.png")
    mask = truth.open("test").masks(row)
    picture = problem.target[row, :, :, 0] > 127
    assert mask.shape == picture.shape == sides_of(size) and mask.sum() > 10
    assert (mask != picture).sum() <= 0.1 * mask.sum()


@pytest.mark.parametrize("value", [1, 255, 65535])
def test_any_value_but_black_is_mask(mvtec, save, value):
    mask = np.zeros((12, 12), np.uint16 if value > 255 else np.uint8)
    mask[0, 0] = value
    save(mvtec / "ground_truth/crack/000_mask.png", mask)
    save(mvtec / "ground_truth/crack/001_mask.png", (mask > 0).astype(np.uint16))
    _, truth = load(mvtec, size=12)
    for name in ("test/crack/000.png", "test/crack/001.png"):
        assert truth.open("test").masks(truth.names.index(name)).sum() == 1


def test_no_ground_truth(mvtec):
    shutil.rmtree(mvtec / "ground_truth")
    assert load(mvtec)[1].open("test").masks is None


def test_plain_layout_has_no_labels(tmp_path, save, picture):
    for i in range(10):
        save(tmp_path / "train" / ("a" if i % 2 else "b") / f"{i}.png", picture(i))
        save(tmp_path / "target/c/d" / f"{i}.png", picture(20 + i))
    problem, truth = load(tmp_path, size=12)
    assert (len(problem.train), len(problem.target)) == (10, 10)
    assert set(truth.names) == {f"target/c/d/{i}.png" for i in range(10)}
    with pytest.raises(InputError, match="has no labels; give --labels FILE"):
        truth.open("test")
    _fails(tmp_path, "kind=c", "test/<kind>", kind="c")


def test_good_with_unlabelled_target(mvtec):
    shutil.rmtree(mvtec / "ground_truth")
    (mvtec / "test").rename(mvtec / "target")
    problem, _ = load(mvtec, size=12)
    assert (len(problem.train), len(problem.target)) == (10, 9)


def test_held_out_folder(mvtec, save, picture):
    for i in range(3):
        save(mvtec / "held_out/good" / f"{i}.png", picture(50 + i))
    problem, _ = load(mvtec, size=12)
    assert problem.held_out.shape == (3, 12, 12, 1)
    assert problem.split(1).held_out is problem.held_out


def test_kind_and_limit(mvtec):
    problem, truth = load(mvtec, size=12, kind="hole")
    assert sorted(truth.open("study").kinds) == [""] * 4 + ["hole"] * 2
    full, _ = load(mvtec, size=12)
    assert problem.train_fingerprint == full.train_fingerprint
    few, truth = load(mvtec, size=12, limit=8)
    assert len(few.train) == len(few.target) == len(truth) == 8
    np.testing.assert_array_equal(few.target, full.target[:8])
    _fails(mvtec, "kind=dent", "crack, hole", kind="dent")
    _fails(mvtec, "kind=good", "crack, hole", kind="good")


def test_groups_from_names(mvtec, save, picture):
    for i in range(12):
        save(mvtec / "train/good" / f"tile{i // 3}_exp{i % 3}.png", picture(100 + i))
    for file in (mvtec / "train/good").glob("0*.png"):
        file.unlink()
    problem, _ = load(mvtec, size=12, group=r"tile\d+")
    same, _ = load(mvtec, size=12, group=r"tile(\d+)_")
    np.testing.assert_array_equal(problem.groups, same.groups)
    assert np.bincount(problem.groups).tolist() == [3] * 4
    assert problem.fingerprint == same.fingerprint
    _fails(mvtec, "group=", "matches nothing", "tile0_exp0.png", group="q")
    _fails(mvtec, "no regular expression", group="(")
    for i in range(2):
        save(mvtec / "held_out" / f"tile3_exp{7 + i}.png", picture(200 + i))
    _fails(mvtec, "held_out", "tile3", group=r"tile\d+")


def test_hidden_and_foreign_files_and_loops_are_passed_over(mvtec):
    before, _ = load(mvtec)
    for folder in ("train/good", "test/crack"):
        for name in ("Thumbs.db", ".DS_Store", "._000.png", "desktop.ini"):
            (mvtec / folder / name).write_bytes(b"x")
        (mvtec / folder / ".hidden").mkdir()
        shutil.copy(mvtec / "test/hole/000.png", mvtec / folder / ".hidden")
    os.symlink(mvtec / "test", mvtec / "test/crack/up")
    os.symlink("self", mvtec / "test/crack/self")
    after, _ = load(mvtec)
    assert after.fingerprint == before.fingerprint


def test_a_link_from_the_normals_to_all_of_the_data_set_adds_nothing_to_them(mvtec):
    before, _ = load(mvtec)
    os.symlink(mvtec, mvtec / "train/good/all")
    assert load(mvtec)[0].fingerprint == before.fingerprint


def test_a_pipe_among_the_images_is_passed_over(mvtec):
    before, _ = load(mvtec)
    os.mkfifo(mvtec / "test/crack/camera.png")
    with pytest.warns(DataWarning, match="files passed over: 1 .png"):
        after, _ = load(mvtec)
    assert after.fingerprint == before.fingerprint


def test_a_bitmap_without_a_file_header_is_read(mvtec):
    before, _ = load(mvtec)
    path = next((mvtec / "train/good").glob("*.png"))
    Image.open(path).save(path.with_suffix(".dib"))
    path.unlink()
    assert load(mvtec)[0].fingerprint == before.fingerprint


def test_links_are_followed(mvtec, tmp_path):
    before, _ = load(mvtec)
    (mvtec / "test/crack").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", mvtec / "test/crack")
    assert load(mvtec)[0].fingerprint == before.fingerprint


# Decoding


def test_suffixes_in_any_case(one, save, picture):
    for suffix in ("png", "PNG", "bmp", "TIF", "tiff"):
        out = one(lambda d, s=suffix: save(d / f"a.{s}", picture(40, 8, 8)))
        np.testing.assert_array_equal(out[:, :, 0], picture(40, 8, 8))
    smooth = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) * 10
    for suffix in ("jpg", "JPEG"):
        out = one(lambda d, s=suffix: save(d / f"a.{s}", smooth, quality=95))
        assert np.abs(out[:, :, 0].astype(int) - smooth).max() < 6


@pytest.mark.filterwarnings("ignore:.*more than 8 bits, unlike the training images")
def test_sixteen_bits_among_eight_are_divided_by_257(one, save):
    deep = (np.arange(64).reshape(8, 8) * 1040).astype(np.uint16)
    for suffix in ("png", "tif"):
        out = one(lambda d, s=suffix: save(d / f"a.{s}", deep))
        np.testing.assert_array_equal(out[:, :, 0], np.round(deep / 257))
    out = one(lambda d: save(d / "a.tif", deep.astype(np.int32)))
    np.testing.assert_array_equal(out[:, :, 0], np.round(deep / 257))


@pytest.mark.filterwarnings("ignore:.*more than 8 bits, unlike the training images")
def test_float_tiff_among_eight_bits(one, save):
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    out = one(lambda d: save(d / "a.tif", values))
    np.testing.assert_array_equal(out[:, :, 0], np.floor(values * 255 + 0.5))
    with pytest.raises(InputError, match=r"values 0 to 3 beyond 0 to 1; give range="):
        one(lambda d: save(d / "a.tif", values * 3))
    with pytest.raises(InputError, match="values 70000 to 70000 beyond 0 to 65535"):
        one(lambda d: save(d / "a.tif", np.full((8, 8), 70000, np.int32)))


def test_transparency_is_composited_on_black(one, save, picture):
    pixels = picture(41, 8, 8, 4)
    pixels[..., 3] = 255
    pixels[:4, :, 3] = 0
    out = one(lambda d: save(d / "a.png", pixels))
    assert (out[:4] == 0).all()
    np.testing.assert_array_equal(out[4:], pixels[4:, :, :3])


def test_palette_one_bit_and_cmyk(one, picture):
    colour = Image.fromarray(picture(42, 8, 8, 3))
    palette = colour.quantize(16)
    out = one(lambda d: palette.save(d / "a.png"))
    np.testing.assert_array_equal(out, np.asarray(palette.convert("RGB")))
    bits = colour.convert("1")
    out = one(lambda d: bits.save(d / "a.png"))
    np.testing.assert_array_equal(out[:, :, 0], np.asarray(bits) * 255)
    cmyk = colour.convert("CMYK")
    out = one(lambda d: cmyk.save(d / "a.tif"))
    np.testing.assert_array_equal(out, np.asarray(cmyk.convert("RGB")))


def test_exif_orientation(one, picture):
    pixels = picture(43, 8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter clockwise
    out = one(lambda d: Image.fromarray(pixels).save(d / "a.png", exif=exif))
    np.testing.assert_array_equal(out[:, :, 0], np.rot90(pixels, -1))


def test_first_frame_of_several(one, picture):
    frames = [Image.fromarray(picture(i, 8, 8)) for i in (50, 51)]
    out = one(lambda d: frames[0].save(d / "a.tif", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(out[:, :, 0], picture(50, 8, 8))


def test_colour(one, save, picture):
    colour, grey = picture(44, 8, 8, 3), picture(45, 8, 8)
    false_rgb = np.stack([grey] * 3, axis=2)
    assert one(lambda d: save(d / "a.png", colour)).shape == (8, 8, 3)
    assert one(lambda d: save(d / "a.png", false_rgb)).shape == (8, 8, 1)
    luma = one(lambda d: save(d / "a.png", colour), colour="grey")
    np.testing.assert_array_equal(luma[:, :, 0], np.asarray(Image.fromarray(colour).convert("L")))
    rgb = one(lambda d: save(d / "a.png", grey), colour="rgb")
    np.testing.assert_array_equal(rgb, false_rgb)


def test_unequal_sizes_and_fit(one, save):
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = 255  # the centre square
    write = lambda d: save(d / "a.png", wide)
    stretched, cropped, padded = (
        one(write, size=12, fit=fit)[:, :, 0] for fit in ("stretch", "crop", "pad")
    )
    assert (stretched[:, 5:7] == 255).all()
    assert (stretched[:, [0, 11]] == 0).all()
    assert (cropped == 255).all()
    assert (padded[:4] == 0).all()
    assert (padded[8:] == 0).all()
    assert (padded[4:8, 5:7] == 255).all()
    assert one(lambda d: save(d / "a.png", np.full((1, 1), 9, np.uint8))).tolist()[0][0] == [9]


def test_sides_of_unlike_length(one, save):
    wide = np.zeros((16, 48), np.uint8)
    wide[:, 16:32] = 255
    write = lambda d: save(d / "a.png", wide)
    same = np.repeat(np.uint8([0, 255, 0]), 8)
    for fit in ("stretch", "crop", "pad"):  # nothing to do for the last two
        found = one(write, size="8x24", fit=fit)[:, :, 0]
        np.testing.assert_array_equal(found[:, 2::8], np.tile(same[2::8], (8, 1)))
    cropped, padded = (one(write, size="12x8", fit=fit)[:, :, 0] for fit in ("crop", "pad"))
    assert (cropped == 255).all()  # 11 of 16 columns in the middle
    assert (padded[:4] == 0).all() and (padded[7:] == 0).all() and (padded[4:7, 3:5] == 255).all()


def test_reducing_does_not_alias(one, save):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    out = one(lambda d: save(d / "a.png", stripes), size=9)
    assert np.abs(out[1:-1, 1:-1].astype(int) - 127).max() < 12


# Mistakes


def test_missing_and_wrong_places(tmp_path, mvtec):
    _fails(tmp_path / "nowhere", "nowhere", "does not exist")
    _fails(mvtec / "test/crack/000.png", "not a folder")
    _fails(mvtec / "test", "no train/", "train/good/")
    _fails(tmp_path, "did you mean", str(mvtec))
    shutil.rmtree(mvtec / "test")
    _fails(mvtec, "no test/ or target/")
    (mvtec / "test").mkdir()
    _fails(mvtec, "test", "no images", ".png")


def test_confused_layouts(mvtec, save, picture):
    save(mvtec / "target/0.png", picture(0))
    _fails(mvtec, "both test/ and target/")
    shutil.rmtree(mvtec / "target")
    save(mvtec / "test/0.png", picture(0))
    _fails(mvtec, "test/0.png", "directly")
    (mvtec / "test/0.png").unlink()
    save(mvtec / "train/bad/0.png", picture(0))
    _fails(mvtec, "train/bad/0.png", "outside good/")
    shutil.rmtree(mvtec / "train/bad")
    (mvtec / "train/good").rename(mvtec / "train/fine")
    _fails(mvtec, "no good/", "train/good/")


def test_too_few(mvtec):
    for file in sorted((mvtec / "train/good").iterdir())[1:]:
        file.unlink()
    load_folder(mvtec)  # of one there may be turned copies, which `load` makes
    next((mvtec / "train/good").iterdir()).unlink()
    _fails(mvtec, "train", "no images")


def test_too_few_to_hold_out(mvtec):
    for file in sorted((mvtec / "train/good").iterdir())[1:]:
        file.unlink()
    with pytest.raises(InputError, match="1 sample, too few to keep some .* give turns=8"):
        load(mvtec)
    with pytest.warns(UserWarning, match="1 normal .* p-values and thresholds promise nothing"):
        problem, _ = load(mvtec, turns=8)
    assert len(problem.train) == 8 and problem.copies_held_out


def test_bad_images_are_named(mvtec):
    (mvtec / "test/crack/000.png").write_bytes(b"")
    message = _fails(mvtec, "1 of 19", "test/crack/000.png (empty file)", "skip_bad=True")
    assert "more" not in message
    (mvtec / "test/crack/001.png").write_text("no picture, only text")
    whole = (mvtec / "test/good/000.png").read_bytes()
    (mvtec / "test/good/000.png").write_bytes(whole[: len(whole) // 2])
    os.symlink("gone", mvtec / "test/good/link.png")
    message = _fails(mvtec, "4 of 20", "broken link", "no PNG, JPEG, BMP, TIFF, ")
    assert "test/good/000.png" in message
    for i in range(3):
        (mvtec / f"train/good/00{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    message = _fails(mvtec, "7 of 20", "and 2 more")
    with pytest.warns(UserWarning, match="7 of 20"):
        assert len(load_folder(mvtec, skip_bad=True)[0].train) == 7


def test_copies_among_normals_are_named_by_file(mvtec, save, picture):
    for i in range(4):
        save(mvtec / "held_out" / f"{i}.png", picture(50 + i))
    shutil.copy(mvtec / "train/good/003.png", mvtec / "held_out/seen.png")
    shutil.copy(mvtec / "train/good/004.png", mvtec / "train/good/twice.png")
    with pytest.warns(UserWarning) as caught:
        problem, _ = load(mvtec, limit=20)
    (said,) = (str(one.message) for one in caught)
    assert (
        "1 of 5 held_out normals are copies of train normals, exact or nearly: held_out/seen.png"
        in said
    )
    assert re.search(r"nearly: train/good/(004|twice)\.png; 1 of 5", said)
    assert said.endswith("copies count once: 10 train, 4 held_out left")
    assert problem.copies == (1, 0, 1)


def test_skip_bad(mvtec):
    (mvtec / "test/crack/000.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="test/crack/000.png"):
        problem, truth = load(mvtec, skip_bad=True)
    assert len(problem.target) == len(truth.names) == 8
    assert "test/crack/000.png" not in truth.names
    assert truth.open("test").anomalous.sum() == 4
    shutil.rmtree(mvtec / "test/crack")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(mvtec, skip_bad=True)


def test_unreadable_mask(mvtec):
    (mvtec / "ground_truth/crack/000_mask.png").write_bytes(b"")
    _, truth = load(mvtec)
    masks = truth.open("test").masks
    with pytest.raises(InputError, match="mask .*000_mask.png cannot be read"):
        masks(truth.names.index("test/crack/000.png"))


def test_unknown_values(mvtec):
    _fails(mvtec, "no fit 'squeeze'", "stretch, crop, pad", fit="squeeze")
    _fails(mvtec, "no colour 'blue'", "auto, grey, rgb", colour="blue")


# Names of sources and options


def test_load_options(mvtec):
    for options, words in (
        (
            {"sise": 3},
            ["sise=", "size, limit, kind, group, fit, colour, range, max_pixels"],
        ),
        ({"size": "x"}, ["size='x'", "whole number"]),
        ({"size": 4.5}, ["size=4.5", "whole number"]),
        ({"size": "16x"}, ["size='16x'", "whole number", "HEIGHTxWIDTH"]),
        ({"size": "16x4"}, ["size=4", "8 to 2048"]),
        ({"size": (16, 24, 3)}, ["size=(16, 24, 3)", "whole number"]),
        ({"size": 1}, ["size=1", "8 to 2048"]),
        ({"limit": 0}, ["limit=0", "at least 1"]),
        ({"skip_bad": "perhaps"}, ["skip_bad", "perhaps"]),
        ({"normal": 1}, ["normal="]),
    ):
        with pytest.raises(InputError) as caught:
            load(str(mvtec), **options)
        for word in words:
            assert word in str(caught.value)
    assert load(mvtec, size="16", limit=np.int64(9), skip_bad="no", kind=None)[0].shape[0] == 16
    for size in ("16x24", (16, 24), [16, np.int64(24)]):
        assert load(mvtec, size=size)[0].shape[:2] == (16, 24)
    for source in ("digits", "textures:brick-defect"):
        problem, truth = load(source, size="16x24", limit=20)
        assert problem.shape == (16, 24, 1)


def test_unknown_sources(monkeypatch, tmp_path):
    monkeypatch.delenv("AD_JAX_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for source in ("textures:wood", "nowhere", "", "a\0b", "x" * 5000):
        with pytest.raises(InputError, match="textures:brick-defect.*digits"):
            load(source)
    with pytest.raises(InputError, match="NoneType"):
        load(None)
    (tmp_path / "a.txt").write_text("1")
    with pytest.raises(InputError, match="unknown kind"):
        load("a.txt")


def test_data_folder_of_the_environment(mvtec, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    relative = load("set")[0].fingerprint
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("AD_JAX_DATA", raising=False)
    with pytest.raises(InputError, match="AD_JAX_DATA is not set"):
        load("set")
    monkeypatch.setenv("AD_JAX_DATA", str(tmp_path))
    assert load("set")[0].fingerprint == relative
    with pytest.raises(InputError, match="nor below AD_JAX_DATA"):
        load("other")


def test_parse(tmp_path, monkeypatch):
    assert parse("digits") == ("digits", {})
    assert parse("digits,normal=3,size=16") == ("digits", {"normal": "3", "size": 16})
    assert parse("digits,size=16x24") == ("digits", {"size": "16x24"})
    assert parse("digits,size=16x16") == ("digits", {"size": 16})
    assert parse("a/b,c,size=48,kind=x,skip_bad=True") == (
        "a/b,c",
        {"size": 48, "kind": "x", "skip_bad": True},
    )
    assert parse(r"p,group=t\d{1,3},limit=5") == ("p", {"group": r"t\d{1,3}", "limit": 5})
    assert parse("p,group=a=b") == ("p", {"group": "a=b"})
    with pytest.raises(InputError, match="size='x'"):
        parse("p,size=x")
    with pytest.raises(InputError, match="twice"):
        parse("p,size=9,size=10")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run,lr=3").mkdir()
    assert parse("run,lr=3,size=9") == ("run,lr=3", {"size": 9})
    assert parse("run,lr=4,size=9") == ("run", {"lr": "4", "size": 9})


def test_docstring_lists_every_source_and_option():
    from ad_jax.data import SOURCES

    for name, source in SOURCES.items():
        assert name in load.__doc__
        for option in source.options:
            assert f"      {option}: " in load.__doc__


def test_nothing_heavy_is_imported():
    import subprocess
    import sys

    code = (
        "import sys, ad_jax.data\n"
        "print([m for m in ('sklearn', 'skimage', 'PIL', 'pandas', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# Real data


def test_magnetic_tile(real_data):
    problem, truth = load(real_data / "magnetic_tile", size=48, group=r"tile\d+")
    assert (len(problem.train), len(problem.target)) == (746, 598)
    assert problem.shape == (48, 48, 1)
    assert problem.groups.max() > 100
    labels = truth.open("test of the loader")
    assert labels.anomalous.sum() == 392
    for row in np.flatnonzero(labels.anomalous)[:20]:
        assert labels.masks(row).any()
    crack, _ = load(real_data / "magnetic_tile", size=48, group=r"tile\d+", kind="crack")
    assert crack.train_fingerprint == problem.train_fingerprint
    assert len(crack.target) == 206 + 57
    assert set(crack.sample_hashes) < set(problem.sample_hashes)


def test_bottle(real_data, monkeypatch):
    monkeypatch.setenv("AD_JAX_DATA", str(real_data))
    problem, truth = load("mvtec_bottle", limit=50)
    assert problem.shape == (160, 160, 3)
    assert len(problem.target) == len(truth) == 50
    assert sorted(content_hashes(problem.target)) == problem.sample_hashes
