"""Geometric kernels against numpy's flips and scipy's resampling, and what is drawn for them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from ad_jax.augment import get
from ad_jax.augment.geometry import (
    Affine,
    Crop,
    affine,
    geometric_set,
    geometric_views,
    resized_crop,
    shear,
    translate,
)


def image(shape):
    return np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)


def draws(name, key, count, hyper, shape=(16, 24, 3)):
    keys = jax.random.split(key, count)
    return jax.tree.map(np.asarray, jax.vmap(lambda k: get(name).draw(k, hyper, shape))(keys))


@pytest.mark.parametrize(
    ("name", "twin"), [("horizontal_flip", np.fliplr), ("vertical_flip", np.flipud)]
)
def test_flips_are_numpys(name, twin):
    sample = image((5, 8, 3))
    out, mask = get(name).apply(sample, (), sample)
    np.testing.assert_array_equal(out, twin(sample))
    np.testing.assert_array_equal(mask, np.ones((5, 8)))
    np.testing.assert_array_equal(get(name).views(sample), [sample, twin(sample)])


@pytest.mark.parametrize("shape", [(12, 12, 3), (9, 9, 1)])
def test_the_geometric_set_is_scipys(shape):
    sample, by = image(shape), round(shape[0] / 4)
    views = geometric_views(sample)
    moves = (0, -by, by)
    expected = [
        np.rot90(
            scipy.ndimage.shift(
                np.fliplr(sample) if flip else sample, (down, right, 0), order=0, mode="reflect"
            ),
            turns,
        )
        for flip, down, right, turns in itertools.product((0, 1), moves, moves, range(4))
    ]
    np.testing.assert_array_equal(views, expected)
    np.testing.assert_array_equal(views[0], sample)
    assert len(np.unique(np.asarray(views).reshape(72, -1), axis=0)) == 72
    np.testing.assert_array_equal(geometric_set(sample, 29), expected[29])


def test_the_geometric_set_draws_all_but_the_identity(key):
    counts = np.bincount(draws("geometric_set", key, 3000, {}), minlength=72)
    assert counts[0] == 0 and scipy.stats.chisquare(counts[1:]).pvalue > 0.01


def pushed(sample, to):
    """The operations one by one as matrices on (row, column, 1), then scipy with the inverse."""
    height, width, channels = sample.shape
    turn, lean = np.deg2rad(to.angle), np.tan(np.deg2rad(to.shear))
    down, right = to.shift[0] * height, to.shift[1] * width
    centre = np.array([[1, 0, (height - 1) / 2], [0, 1, (width - 1) / 2], [0, 0, 1]])
    shift = np.array([[1, 0, down], [0, 1, right], [0, 0, 1]])
    rotation = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    shear = [[1, 0, 0], [lean, 1, 0], [0, 0, 1]]
    scale = np.diag([to.scale, to.scale, 1])
    push = centre @ shift @ rotation @ shear @ scale @ np.linalg.inv(centre)
    planes = [
        scipy.ndimage.affine_transform(
            sample[..., c].astype(float), np.linalg.inv(push), order=1, mode="nearest"
        )
        for c in range(channels)
    ]
    return np.stack(planes, -1)


@pytest.mark.parametrize(
    "to",
    [
        Affine(),
        Affine(angle=37.0),
        Affine(shear=-25.0),
        Affine(scale=1.7),
        Affine(shift=(0.21, -0.34)),
        Affine(1.3, 20.0, -50.0, (-0.15, 0.1)),
        Affine(0.6, -40.0, 170.0, (0.4, 0.45)),
    ],
)
@pytest.mark.parametrize("shape", [(16, 16, 3), (13, 20, 1)])
def test_affine_is_scipys(to, shape):
    sample = image(shape)
    np.testing.assert_allclose(affine(sample, to), pushed(sample, to), atol=5e-5)


def test_translate_and_shear_are_affine_and_go_where_they_say():
    sample = np.zeros((9, 9, 1), np.float32)
    sample[2, 3] = 1.0
    out = translate(sample, jnp.array([3 / 9, 2 / 9]))
    assert out[5, 5, 0] == pytest.approx(1.0, abs=1e-5)  # down and to the right
    line = np.zeros((9, 9, 1), np.float32)
    line[:, 4] = 1.0
    out = shear(line, jnp.float32(45.0))
    np.testing.assert_allclose(out[..., 0], np.eye(9), atol=1e-5)  # below goes right
    sample = image((12, 16, 2))
    for kernel, argument, to in (
        (translate, jnp.array([0.1, -0.3]), Affine(shift=(0.1, -0.3))),
        (shear, jnp.float32(20.0), Affine(shear=20.0)),
    ):
        np.testing.assert_allclose(kernel(sample, argument), pushed(sample, to), atol=5e-5)


@pytest.mark.parametrize("crop", [(1.0, 1.0, 0.0, 0.0), (0.5, 0.8, -0.25, 0.1), (0.3, 1, 0.2, 0)])
@pytest.mark.parametrize("shape", [(16, 16, 3), (13, 20, 1)])
def test_resized_crop_is_scipys_at_the_windows_pixels(crop, shape):
    sample, (height, width, down, right) = image(shape), crop
    top = shape[0] * (0.5 + down - height / 2)  # borders of the window, the image's first is 0
    left = shape[1] * (0.5 + right - width / 2)
    where = [
        top + (np.arange(shape[0]) + 0.5) * height - 0.5,
        left + (np.arange(shape[1]) + 0.5) * width - 0.5,
    ]
    grid = np.meshgrid(*where, indexing="ij")
    expected = [
        scipy.ndimage.map_coordinates(sample[..., c], grid, order=1, mode="nearest")
        for c in range(shape[2])
    ]
    out = resized_crop(sample, Crop(*map(jnp.float32, crop)))
    np.testing.assert_allclose(out, np.stack(expected, -1), atol=2e-5)


def test_half_a_window_of_whole_pixels_keeps_its_pixels():
    sample = np.repeat(np.repeat(image((4, 4, 1)), 4, 0), 4, 1)  # 16 x 16 in blocks of 4 x 4
    out = resized_crop(sample, Crop(*map(jnp.float32, (0.5, 0.5, 0.25, -0.25))))
    blocks = np.asarray(out)[3::8, 3::8]  # inside the blocks, which are 8 x 8 now
    np.testing.assert_allclose(blocks, sample[8::4, :8:4], atol=1e-6)


def test_crops_lie_inside_with_log_uniform_areas(key):
    crop = draws("resized_crop", key, 500, {"smallest": 0.1, "aspect_spread": 1.0})
    area = crop.height * crop.width
    assert scipy.stats.kstest(np.log10(area), "uniform", (-1.0, 1.0)).pvalue > 0.01
    crop = draws("resized_crop", key, 500, {"smallest": 0.05, "aspect_spread": 3.0})
    for side, offset in ((crop.height, crop.down), (crop.width, crop.right)):
        assert (side <= 1.0).all() and (np.abs(offset) + side / 2 <= 0.5 + 1e-6).all()
    free = crop.height < 1.0
    place = crop.down[free] / (1.0 - crop.height[free])
    assert scipy.stats.kstest(place, "uniform", (-0.5, 1.0)).pvalue > 0.01
    whole = (crop.height < 1.0) & (crop.width < 1.0)
    aspect = np.log(crop.width[whole] / crop.height[whole]) / np.log(3.0)
    assert np.abs(aspect).max() <= 1.0 + 1e-5 and np.abs(aspect.mean()) < 0.1


def test_shifts_are_drawn_apart_along_the_axes(key):
    shift = draws("translate", key, 500, {"shift": 0.2, "width": 0.1})
    for along in shift.T:
        assert 0.4 < (along > 0).mean() < 0.6
        assert scipy.stats.kstest(np.abs(along), "uniform", (0.1, 0.2)).pvalue > 0.01
    assert np.abs(np.corrcoef(shift.T)[0, 1]) < 0.12


@pytest.mark.parametrize("pixels", [4.0, 4.25, 5.0])
def test_the_mean_gradient_of_translate_is_its_trend_from_half_a_pixel_on(pixels):
    """Differences over ±10 %; a single shift is off by half of it and more, in either direction.

    Bilinear interpolation blurs noise by the fraction of a px that it moves by: the distance to
    the unmoved picture ripples from px to px, with a kink at every whole one.
    """
    side = 16
    ramp = np.add.outer(np.arange(side), np.arange(side))[..., None] / (2 * side)
    sample = jnp.float32(ramp + image((side, side, 8)) / 2)  # eight pictures
    inside = (np.arange(24) + 0.5) / 12 - 1.0  # a fine grid instead of chance
    draws = jnp.float32(np.stack(np.meshgrid(inside, inside), -1).reshape(-1, 2))

    def distance(shift, width):
        moved = jax.vmap(lambda u: translate(sample, shift + width * u))
        return ((moved(draws) - sample) ** 2).mean()

    value, slope = jax.jit(distance), jax.jit(jax.grad(distance))
    shift, half = pixels / side, 0.5 / side
    trend = (value(1.1 * shift, half) - value(0.9 * shift, half)) / (0.2 * shift)
    np.testing.assert_allclose(slope(shift, half), trend, rtol=0.1)
    assert abs(slope(shift, 0.0) / trend - 1.0) > 0.5


def test_affine_draws_within_its_ranges(key):
    to = draws("affine", key, 500, {"angle": 30.0, "shear": 20.0, "scale": 2.0, "shift": 0.3})
    for values, most in (
        (to.angle, 30.0), (to.shear, 20.0), (np.log2(to.scale), 1.0),
        (to.shift[:, 0], 0.3), (to.shift[:, 1], 0.3),
    ):  # fmt: skip
        assert scipy.stats.kstest(values / most, "uniform", (-1.0, 2.0)).pvalue > 0.01
