"""Photometric kernels against numpy, PIL, colorsys and scikit-image, and what is drawn for them."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.exposure
from PIL import Image, ImageEnhance, ImageOps

from ad_jax.augment import get
from ad_jax.augment.photometric import (
    Jitter,
    brightness,
    colour_jitter,
    contrast,
    gamma,
    greyscale,
    hue,
    invert,
    saturation,
)

LUMA = np.array([0.299, 0.587, 0.114])


def image(shape=(10, 14, 3)):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def floats(pixels):
    return (pixels / 255).astype(np.float32)


# The kernel, what factor 0 gives, and the operation of PIL that has the same definition.
FACTORS = [
    (brightness, lambda x: np.zeros_like(x), ImageEnhance.Brightness),
    (contrast, lambda x: np.full_like(x, (x @ LUMA).mean()), ImageEnhance.Contrast),
    (saturation, lambda x: np.stack([x @ LUMA] * 3, -1), ImageEnhance.Color),
]


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.9])
@pytest.mark.parametrize(("kernel", "anchor", "pil"), FACTORS, ids=lambda x: x.__name__)
def test_factors_blend_with_the_anchor_as_in_pil(kernel, anchor, pil, factor):
    pixels = image()
    sample = floats(pixels)
    out = kernel(sample, factor)
    expected = np.clip((1 - factor) * anchor(sample) + factor * sample, 0, 1)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    theirs = np.asarray(pil(Image.fromarray(pixels)).enhance(factor)) / 255
    np.testing.assert_allclose(out, theirs, atol=2 / 255)  # PIL rounds the anchor and the result


def test_contrast_of_one_channel_is_about_its_mean():
    sample = floats(image((10, 14, 1)))
    np.testing.assert_allclose(contrast(sample, 0.4), 0.6 * sample.mean() + 0.4 * sample, atol=1e-6)


def turned(pixel, shift):
    h, s, v = colorsys.rgb_to_hsv(*map(float, pixel))
    return colorsys.hsv_to_rgb((h + shift) % 1.0, s, v)


@pytest.mark.parametrize("shift", [-0.5, -0.21, 0.0, 0.1, 1 / 3, 0.5])
def test_hue_is_colorsys(shift):
    pure = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 1]]
    sample = np.concatenate([floats(image()).reshape(-1, 3), pure, [[0.4] * 3]])
    sample = sample.astype(np.float32)[:, None]
    out = hue(sample, jnp.float32(shift))
    expected = [[turned(pixel, shift) for pixel in row] for row in sample]
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("exponent", [0.2, 1.0, 2.7])
def test_gamma_is_scikit_images(exponent):
    sample = floats(image())
    sample[0, :2] = [[0.0], [1.0]]
    out = gamma(sample, jnp.float32(exponent))
    np.testing.assert_allclose(out, skimage.exposure.adjust_gamma(sample, exponent), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_colour_jitter_is_its_parts_in_a_row(channels):
    sample = expected = floats(image((10, 14, channels)))
    out = colour_jitter(sample, Jitter(1.4, 0.7, 0.2, 0.15))
    for kernel, argument in ((brightness, 1.4), (contrast, 0.7)):
        expected = kernel(expected, argument)
    if channels == 3:
        for kernel, argument in ((saturation, 0.2), (hue, 0.15)):
            expected = kernel(expected, argument)
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_greyscale_and_invert_are_pils():
    pixels = image()
    sample = floats(pixels)
    grey = greyscale(sample)
    np.testing.assert_allclose(grey, np.stack([sample @ LUMA] * 3, -1), atol=1e-6)
    theirs = np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")) / 255
    np.testing.assert_allclose(grey, theirs, atol=1 / 255)
    np.testing.assert_allclose(greyscale(grey), grey, atol=1e-6)  # grey stays grey
    inverted = invert(sample)
    theirs = np.asarray(ImageOps.invert(Image.fromarray(pixels))) / 255
    np.testing.assert_allclose(inverted, theirs, atol=1e-6)
    np.testing.assert_array_equal(get("invert").views(sample), [sample, inverted])


@pytest.mark.catalogue
@pytest.mark.parametrize(
    "pixel", [[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1], [3e-20, 1e-20, 0], [1e-38, 0, 1e-38]]
)
@pytest.mark.parametrize("name", ["saturation", "hue", "gamma", "colour_jitter"])
def test_gradients_are_finite_at_grey_black_and_nearly_black(name, pixel, key, nans_raise):
    sample = jnp.array([[pixel, [0.2, 0.5, 0.9]]], jnp.float32)
    for hyper in (
        {field: bound for field, bound in zip(get(name).space, bounds, strict=True)}
        for bounds in (
            [entry.low for entry in get(name).space.values()],
            [entry.high for entry in get(name).space.values()],
        )
    ):
        value = lambda x, h: get(name).random(key, h, x, x)[0].sum()
        for gradient in jax.tree.leaves(jax.grad(value, (0, 1))(sample, hyper)):
            assert np.isfinite(gradient).all()


def draws(name, key, hyper):
    keys = jax.random.split(key, 500)
    drawn = jax.vmap(lambda k: get(name).draw(k, hyper, (8, 8, 3)))(keys)
    return jax.tree.map(np.asarray, drawn)


def test_what_is_drawn_is_uniform_within_the_ranges(key):
    jitter = draws(
        "colour_jitter", key, {"brightness": 0.8, "contrast": 0.5, "saturation": 0.3, "hue": 0.2}
    )
    for values, most in (
        (draws("brightness", key, {"spread": 0.7}) - 1.0, 0.7),
        (draws("hue", key, {"shift": 0.4}), 0.4),
        (np.log(draws("gamma", key, {"factor": 3.0})), np.log(3.0)),
        (jitter.brightness - 1.0, 0.8),
        (jitter.contrast - 1.0, 0.5),
        (jitter.saturation - 1.0, 0.3),
        (jitter.hue, 0.2),
    ):
        assert scipy.stats.kstest(values / most, "uniform", (-1.0, 2.0)).pvalue > 0.01
    assert np.abs(np.corrcoef(jitter) - np.eye(4)).max() < 0.12
