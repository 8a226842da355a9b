"""Noise kernels against loops and scipy, and what is drawn for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from ad_jax.augment import get
from ad_jax.augment.noise import (
    NODES,
    Perlin,
    blur,
    blur_radius,
    gaussian_noise,
    perlin_blend,
    perlin_noise,
    pixel_mask,
)


def image(shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def draw(name, key, shape, **hyper):
    return get(name).draw(key, {**get(name).defaults(), **hyper}, shape)


def test_pixels_are_dropped_in_all_channels_as_often_as_asked(key):
    sample = image((100, 80, 3), 1) + 0.1
    dropped = np.asarray(draw("pixel_mask", key, sample.shape, chance=0.3))
    out, mask = pixel_mask(sample, dropped)
    expected = sample.copy()
    expected[dropped] = 0.0
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(mask, dropped)
    assert scipy.stats.binomtest(int(dropped.sum()), dropped.size, 0.3).pvalue > 0.01


def test_noise_is_normal_and_clipped(key):
    noise = np.asarray(draw("gaussian_noise", key, (40, 40, 3), std=0.2))
    assert scipy.stats.kstest(noise.ravel(), "norm", (0.0, 0.2)).pvalue > 0.01
    sample = image((40, 40, 3))
    np.testing.assert_array_equal(gaussian_noise(sample, noise), np.clip(sample + noise, 0, 1))


@pytest.mark.parametrize("sigma", [0.0, 0.04, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("shape", [(16, 16, 3), (70, 61, 1)])
def test_blur_is_scipys(sigma, shape):
    sample = image(shape)
    out = blur(sample, jnp.float32(sigma))
    if sigma < 0.05:
        np.testing.assert_array_equal(out, sample)
    else:
        expected = [
            scipy.ndimage.gaussian_filter(
                sample[..., c].astype(float), sigma, mode="mirror", radius=blur_radius(shape)
            )
            for c in range(shape[2])
        ]
        np.testing.assert_allclose(out, np.stack(expected, -1), atol=1e-6)


def test_the_blurs_kernel_is_a_tenth_of_the_side():
    sides = [2 * blur_radius((side, 2 * side, 3)) + 1 for side in (16, 32, 64, 128, 256)]
    assert sides == [5, 5, 7, 13, 27]


def perlin(cells, offset, level=0.1, softness=0.3, opacity=0.7):
    angles = np.random.default_rng(3).uniform(0, 2 * np.pi, (NODES, NODES))
    return Perlin(*map(jnp.float32, (angles, cells, offset, level, softness, opacity)))


def smooth(t):
    return 3 * t**2 - 2 * t**3


def slow_noise(p, height, width):
    """Pixel by pixel: interpolates the four nodes' ramps first along columns, then along rows."""
    noise = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            row = (i + 0.5) / height * float(p.cells[0]) + float(p.offset[0])
            column = (j + 0.5) / width * float(p.cells[1]) + float(p.offset[1])
            top, left = int(row), int(column)

            def ramp(a, b, row=row, column=column):
                angle = float(p.angles[a, b])
                return np.cos(angle) * (row - a) + np.sin(angle) * (column - b)

            across = smooth(column - left)
            upper = (1 - across) * ramp(top, left) + across * ramp(top, left + 1)
            lower = (1 - across) * ramp(top + 1, left) + across * ramp(top + 1, left + 1)
            down = smooth(row - top)
            noise[i, j] = np.sqrt(2) * ((1 - down) * upper + down * lower)
    return noise


@pytest.mark.parametrize(
    ("cells", "offset"), [((3.0, 5.5), (0.0, 0.0)), ((32.0, 32.0), (0.99, 0.5)), ((1, 2), (0.7, 0))]
)
def test_perlin_noise_and_blend_equal_their_loops(cells, offset):
    p, sample, donor = perlin(cells, offset), image((14, 18, 2)), image((14, 18, 2), 1)
    noise = slow_noise(p, 14, 18)
    np.testing.assert_allclose(perlin_noise(p, sample.shape), noise, atol=2e-5)
    out, mask = perlin_blend(sample, p, donor)
    expected = np.zeros((14, 18))
    for i in range(14):
        for j in range(18):
            share = (noise[i, j] - 0.1) / 0.3 + 0.5
            expected[i, j] = 0.7 * (0.0 if share < 0 else 1.0 if share > 1 else smooth(share))
    np.testing.assert_allclose(mask, expected, atol=2e-4)
    blend = (1 - expected[..., None]) * sample + expected[..., None] * donor
    np.testing.assert_allclose(out, blend, atol=2e-4)
    assert 0.05 < (np.asarray(mask) == 0).mean() < 0.95


def test_perlin_noise_has_its_range_and_the_lattice_suffices(key):
    noise = jax.jit(lambda k, hyper: perlin_noise(get("perlin_blend").draw(k, hyper, ()), (64, 64)))
    for cells, cells_spread in ((1.0, 1.0), (4.0, 2.0), (16.0, 2.0)):
        hyper = {**get("perlin_blend").defaults(), "cells": cells, "cells_spread": cells_spread}
        values = np.stack([noise(k, hyper) for k in jax.random.split(key, 20)])
        assert np.abs(values).max() <= 1.0 and np.abs(values.mean()) < 0.1
        assert 0.2 < values.std() < 0.5
    space = get("perlin_blend").space
    last = space["cells"].high * space["cells_spread"].high + 1  # the largest offset is below 1
    assert np.ceil(last) <= NODES - 1


def test_a_perlin_gradient_sees_the_donor(key, nans_raise):
    sample, donor = jnp.asarray(image((12, 12, 1))), jnp.asarray(image((12, 12, 1), 1))
    p = draw("perlin_blend", key, sample.shape, level=0.0)
    gradient = jax.grad(lambda x: perlin_blend(sample, p, x)[0].sum())(donor)
    np.testing.assert_allclose(gradient[..., 0], perlin_blend(sample, p, donor)[1], atol=1e-6)
