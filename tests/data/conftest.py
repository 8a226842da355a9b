"""Small image folders and the real data, for the tests of this room."""

import os
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from ad_jax.data.folder import load_folder


def _picture(i: int, height: int = 12, width: int = 12, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(i)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return rng.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def picture():
    """`picture(i, height, width, channels)`: the i-th random picture, uint8."""
    return _picture


@pytest.fixture
def save():
    """Write a picture; makes the folders above it."""

    def write(path: pathlib.Path, pixels: np.ndarray, **options: object) -> pathlib.Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def mvtec(tmp_path, save):
    """A folder in MVTec's layout: 10 normals, 4 good, 3 crack and 2 hole, masks for crack 0, 1."""
    root = tmp_path / "set"
    i = 0
    for folder, n in (("train/good", 10), ("test/good", 4), ("test/crack", 3), ("test/hole", 2)):
        for k in range(n):
            save(root / folder / f"{k:03d}.png", _picture(i))
            i += 1
    for k in range(2):
        mask = np.zeros((12, 12), np.uint8)
        mask[:6, : 3 * (k + 1)] = 255
        save(root / "ground_truth/crack" / f"{k:03d}_mask.png", mask)
    return root


@pytest.fixture
def one(tmp_path, save, picture):
    """`one(pixels, ...)`: the one target sample of a plain folder with 8 random normals."""

    def read(write, size=8, **options):
        root = tmp_path / "plain"
        shutil.rmtree(root, ignore_errors=True)
        for i in range(8):
            save(root / "train" / f"{i}.png", picture(i))
        (root / "target").mkdir()
        write(root / "target")
        return load_folder(root, size=size, **options)[0].target[0]

    return read


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real data; skips where there is none."""
    root = os.environ.get("AD_JAX_DATA")
    if not root:
        pytest.skip("AD_JAX_DATA is not set: no real data to test on")
    return pathlib.Path(root)
