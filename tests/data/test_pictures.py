"""Files of more than 8 bits, further formats, alpha, sizes: nothing is lost without a word."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import load
from ad_jax.data.folder import load_folder
from ad_jax.data.scale import ends_of
from ad_jax.data.stream import stream

STATED = "ignore:.*read as range="  # the line that says which range was found


@pytest.fixture
def deep(tmp_path, save):
    """`deep(bits)`: a plain folder of 16-bit files with values of so many bits."""

    def write(bits=12, suffix=".png", low=0, dtype=np.uint16, top=None):
        rng = np.random.default_rng(0)
        top = 2**bits - 1 if top is None else top
        for part, count in (("train", 8), ("target", 3)):
            for i in range(count):
                pixels = rng.integers(low, top + 1, (16, 16))
                pixels[0, :2] = low, top
                save(tmp_path / part / f"{i}{suffix}", pixels.astype(dtype))
        return tmp_path

    return write


def _pixels(root, name):
    return np.asarray(Image.open(root / name)).astype(float)


# More than 8 bits


@pytest.mark.parametrize("bits, most", [(10, 1023), (12, 4095), (14, 16383), (16, 65535)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.filterwarnings(STATED)
def test_camera_images_keep_their_levels(deep, bits, most, suffix):
    root = deep(bits, suffix)
    problem, truth = load(root, size=16)
    assert problem.train.dtype == np.float32 and problem.range == (0, most)
    for row, name in enumerate(truth.names):
        np.testing.assert_allclose(problem.target[row, :, :, 0] * most, _pixels(root, name), atol=1)
    assert len(np.unique(problem.target)) > 256


def test_the_range_that_was_found_is_said(deep):
    with pytest.warns(DataWarning, match="values 0 to 4095: read as range=0-4095, which range="):
        found, _ = load(deep(12), size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stated, _ = load(deep(12), size=16, range="0-4095")
    assert stated.fingerprint == found.fingerprint


@pytest.mark.filterwarnings(STATED)
def test_the_range_comes_from_the_training_images_alone(deep, save):
    root = deep(12)
    before, _ = load(root, size=16)
    save(root / "target/bright.png", np.full((16, 16), 60000, np.uint16))
    with pytest.warns(DataWarning, match="1 of 12 images hold values outside range=0-4095"):
        after, _ = load(root, size=16)
    assert after.range == before.range
    assert after.train_fingerprint == before.train_fingerprint
    assert set(before.sample_hashes) < set(after.sample_hashes)
    assert after.target.max() == 1


@pytest.mark.filterwarnings(STATED)
def test_limit_does_not_change_the_range(deep, save):
    root = deep(10)
    save(root / "train/bright.png", np.full((16, 16), 4000, np.uint16))
    whole, _ = load(root, size=16)
    few, _ = load(root, size=16, limit=8)
    assert few.range == whole.range == (0, 4095)
    assert set(few.sample_hashes) <= set(whole.sample_hashes)


def test_a_source_that_uses_little_of_its_range_is_named(deep):
    with pytest.warns(DataWarning, match=r"uses 2\.4% of range=0-4095; range=2000-2100 would"):
        load(deep(low=2000, top=2100), size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stretched, _ = load(deep(low=2000, top=2100), size=16, range=(2000, 2100))
    assert stretched.target.min() == 0 and stretched.target.max() == 1


@pytest.mark.parametrize("factor", [1, 257])
def test_eight_bits_in_sixteen_stay_eight(tmp_path, save, picture, factor):
    """The same samples as from files of 8 bits: 8 bits lose nothing there."""
    for kind, dtype, times in (("8", np.uint8, 1), ("16", np.uint16, factor)):
        for part, count in (("train", 8), ("target", 3)):
            for i in range(count):
                pixels = picture(i + count, 24, 24).astype(dtype) * dtype(times)
                save(tmp_path / kind / part / f"{i}.png", pixels)
    shallow, _ = load(tmp_path / "8", size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if factor == 1 else "error", DataWarning)
        deep, _ = load(tmp_path / "16", size=16)
    assert deep.fingerprint == shallow.fingerprint and shallow.range is None


@pytest.mark.filterwarnings(STATED)
def test_floats_keep_their_levels_and_need_a_range_beyond_0_to_1(deep):
    rng = np.random.default_rng(1)
    for part in ("train", "target"):
        for i in range(8):
            pixels = rng.random((16, 16), np.float32)
            root = deep(12)
            Image.fromarray(pixels).save(root / part / f"{i}.tif")
            (root / part / f"{i}.png").unlink(missing_ok=True)
    for file in [*root.glob("*/*.png")]:
        file.unlink()
    problem, _ = load(root, size=16)
    assert problem.range == (0, 1) and len(np.unique(problem.train)) > 256
    Image.fromarray(pixels * 9 - 3).save(root / "train/0.tif")
    with pytest.raises(InputError, match="float values -.* give range=LOW-HIGH"):
        load(root, size=16)
    assert load(root, size=16, range="-3-6")[0].range == (-3, 6)


def _png16(path, pixels):
    """A PNG of 16 bits a channel, which PIL does not write in colour."""
    height, width, channels = pixels.shape
    kind = {2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels.astype(">u2"))
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.filterwarnings(STATED)
def test_sixteen_bits_a_channel_keep_their_levels(tmp_path, channels):
    rng = np.random.default_rng(2)
    for part, count in (("train", 8), ("target", 1)):
        for i in range(count):
            pixels = rng.integers(0, 4096, (16, 16, channels))
            if channels != 3:
                pixels[..., -1] = 65535  # alpha
            _png16(tmp_path / part / f"{i}.png", pixels)
    problem, _ = load(tmp_path, size=16)
    colours = pixels[..., :1] if channels == 2 else pixels[..., :3]
    np.testing.assert_allclose(problem.target[0] * 4095, colours, atol=1)


@pytest.mark.parametrize("compression", [None, "tiff_deflate"])
@pytest.mark.filterwarnings(STATED)
def test_colour_tiffs_of_sixteen_bits_keep_their_levels(tmp_path, compression):
    tifffile = pytest.importorskip("tifffile")
    rng = np.random.default_rng(3)
    for part, count in (("train", 8), ("target", 1)):
        (tmp_path / part).mkdir()
        for i in range(count):
            pixels = rng.integers(0, 4096, (16, 16, 3), np.uint16)
            how = None if compression is None else "zlib"
            tifffile.imwrite(
                tmp_path / part / f"{i}.tif", pixels, photometric="rgb", compression=how
            )
    problem, _ = load(tmp_path, size=16)
    np.testing.assert_allclose(problem.target[0] * 4095, pixels, atol=1)
    tifffile.imwrite(
        tmp_path / "target/0.tif",
        np.moveaxis(pixels, 2, 0),
        photometric="rgb",
        planarconfig="separate",
    )
    with pytest.raises(InputError, match="0.tif .16-bit colour in this form; save it as PNG"):
        load(tmp_path, size=16)


@pytest.mark.filterwarnings(STATED)
def test_images_scored_later_are_read_by_the_same_range(deep, save):
    root = deep(12)
    problem, truth = load(root, size=16)
    read = stream(
        [str(root / "target")], (16, 16, 1), range=problem.range, dtype=str(problem.target.dtype)
    )
    (batch,) = read
    order = [truth.names.index(f"target/{i}.png") for i in range(3)]
    np.testing.assert_array_equal(batch.samples, problem.target[order])
    save(root / "other/eight.png", np.full((16, 16), 51, np.uint8))
    with pytest.warns(DataWarning, match="1 of 1 images have only 8 bits, unlike the training"):
        (batch,) = stream([str(root / "other")], (16, 16, 1), range=(0, 4095), dtype="float32")
    np.testing.assert_allclose(batch.samples, 0.2, atol=1e-6)
    with pytest.warns(DataWarning, match="3 of 3 images have more than 8 bits, unlike"):
        list(stream([str(root / "target")], (16, 16, 1)))


@pytest.mark.parametrize("range_", ["5", "9-1", "a-b", (1, 2, 3), (0, float("nan")), 7, "1-1"])
def test_a_range_is_two_numbers(range_, mvtec):
    with pytest.raises(InputError, match="is no LOW-HIGH"):
        load(mvtec, range=range_)


def test_ranges_may_be_negative_and_in_exponents():
    assert ends_of("-100 - -2.5e1") == (-100, -25)
    assert ends_of("1e-3-1e2") == (0.001, 100)
    assert ends_of((0, 4095)) == (0, 4095)


def test_a_range_without_use_is_refused(mvtec):
    with pytest.raises(InputError, match="range=0-4095 is for images of more than 8 bits"):
        load(mvtec, range="0-4095")


# Formats


@pytest.mark.parametrize("suffix", ["webp", "pgm", "ppm", "gif", "jp2", "GIF", "WebP", "avif"])
def test_what_pil_reads_is_read(one, suffix):
    smooth = (np.add.outer(np.arange(32), np.arange(32)) * 3).astype(np.uint8)
    how = {"lossless": True} if suffix.lower() == "webp" else {}
    if suffix.lower() == "avif":
        from PIL import features

        if not features.check("avif"):
            pytest.skip("this PIL reads no AVIF")
    out = one(lambda d: Image.fromarray(smooth).convert("RGB").save(d / f"a.{suffix}", **how), 32)
    assert np.abs(out[:, :, 0].astype(int) - smooth).max() <= 6


def test_files_that_are_passed_over_are_counted_by_suffix(mvtec):
    before, _ = load(mvtec)
    for name in ("a.heic", "b.HEIC", "c.txt", "README"):
        (mvtec / "test/crack" / name).write_bytes(b"x")
    with pytest.warns(DataWarning, match="passed over: 2 .heic, 1 .txt, 1 without suffix$"):
        after, _ = load(mvtec)
    assert after.fingerprint == before.fingerprint
    with pytest.warns(DataWarning, match="passed over: 2 .heic, 1 .txt, 1 without suffix$"):
        list(stream([str(mvtec / "test")], (16, 16, 1)))


def test_a_folder_without_images_says_what_it_holds(mvtec):
    for file in (mvtec / "train/good").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(InputError, match="train has no images, only 10 .heic"):
        load_folder(mvtec)


def test_a_suffix_in_upper_case_is_the_same_suffix(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (9, 16, 16, 1), np.uint8) for name in ("train", "target")}
    np.savez(tmp_path / "a.npz", **arrays)
    (tmp_path / "a.npz").rename(tmp_path / "a.NPZ")
    assert len(load(tmp_path / "a.NPZ")[0].target) == 9
    (batch,) = stream([str(tmp_path / "a.NPZ")], (16, 16, 1))
    np.testing.assert_array_equal(batch.samples, arrays["target"])


# Alpha


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_an_alpha_that_is_0_everywhere_is_none(one, picture, mode):
    grey = Image.fromarray(picture(3, 8, 8))
    image = grey.convert(mode.replace("PA", "RGBA"))
    image.putalpha(0)
    how = {}
    if mode == "PA":  # a palette whose entries are all transparent
        image = grey.convert("P")
        how = {"transparency": bytes(256)}
    out = one(lambda d: image.save(d / "a.png", **how))
    np.testing.assert_array_equal(out[:, :, 0], picture(3, 8, 8))


def test_alpha_0_in_all_images_leaves_them_different(tmp_path, save, picture):
    for part, count in (("train", 8), ("target", 3)):
        for i in range(count):
            pixels = picture(i + count, 8, 8, 4)
            pixels[..., 3] = 0
            save(tmp_path / part / f"{i}.png", pixels)
    problem, _ = load(tmp_path, size=8)
    assert len({sample.tobytes() for sample in problem.train}) == 8


# Sizes


def test_a_picture_beyond_the_limit_says_what_to_do(one, picture):
    write = lambda d: Image.fromarray(picture(1, 30, 40)).save(d / "a.png")
    with pytest.raises(InputError, match="a.png .40 x 30 px .* give max_pixels=1200, or cut"):
        one(write, max_pixels=1199)
    assert one(write, max_pixels=1200).shape == (8, 8, 1)


def test_the_limit_of_pil_is_not_ours_and_stays_as_it_was(one, picture, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    out = one(lambda d: Image.fromarray(picture(1, 40, 40)).save(d / "a.png"), fit="crop")
    assert out.shape == (8, 8, 1) and Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    "fit, factors", [("stretch", "18.8 to 93.8"), ("pad", "93.8"), ("crop", "18.8")]
)
def test_much_larger_and_very_unequal_pictures_are_said(tmp_path, save, picture, fit, factors):
    for part, count in (("train", 8), ("target", 1)):
        for i in range(count):
            save(tmp_path / part / f"{i}.png", picture(i + count, 150, 750))
    words = f"750 x 150 px are shrunk {factors} times to size=8: .* --tile"
    with pytest.warns(DataWarning, match=words):
        load(tmp_path, size=8, fit=fit)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path, size=128, fit=fit)


# Colour


def test_a_colour_file_that_limit_drops_changes_nothing(tmp_path, save, picture):
    for part, count in (("train", 12), ("target", 12)):
        for i in range(count):
            save(tmp_path / part / f"{i}.png", picture(i + 20 * count, 8, 8))
    before, _ = load(tmp_path, size=8, limit=8)
    kept = set(before.sample_hashes)
    changed = 0
    for i in range(8):
        save(tmp_path / "target/colour.png", picture(90 + i, 8, 8, 3))
        after, truth = load(tmp_path, size=8, limit=8)
        if "target/colour.png" not in truth.names:
            assert after.shape == (8, 8, 1) and set(after.sample_hashes) == kept
            changed += 1
    assert changed
