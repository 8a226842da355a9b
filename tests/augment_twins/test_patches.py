"""Slow twins of the local operations, hard and soft, and what their draws are distributed as."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ad_jax.augment import CATALOGUE
from ad_jax.augment.patches import Patch, cutavg, cutout, cutpaste, cutpaste_donor, shifted
from ad_jax.augment.soft import Bump, Scar, SoftPatch, cutdiff, scar, soft_cutout, soft_cutpaste

SHAPE = (16, 18, 2)


def image(seed, shape=SHAPE, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def hard(**changed):
    values = {
        "height": 4, "width": 5, "top": 2, "left": 6, "source_top": 9, "source_left": 1,
        "brightness": 0.05, "contrast": 1.1, "fill": 0.25,
    }  # fmt: skip
    return Patch(**{name: jnp.asarray(x) for name, x in {**values, **changed}.items()})


def soft(**changed):
    values = {
        "row": 7.3, "column": 9.6, "height": 4.4, "width": 6.1, "softness": 0.7, "down": -3,
        "right": 2, "brightness": 0.05, "contrast": 1.1, "fill": 0.25,
    }  # fmt: skip
    return SoftPatch(**{name: jnp.asarray(x) for name, x in {**values, **changed}.items()})


def thin(**changed):
    values = {
        "row": 7.3, "column": 9.6, "length": 9.4, "width": 2.6, "angle": 30.0, "source_row": 6.1,
        "source_column": 4.7, "brightness": 0.05, "contrast": 1.1,
    }  # fmt: skip
    return Scar(**{name: jnp.asarray(x) for name, x in {**values, **changed}.items()})


@functools.partial(jax.jit, static_argnums=(0, 2, 4))
def _draws(name, key, count, hyper, shape):
    return jax.vmap(lambda k: CATALOGUE[name].draw(k, hyper, shape))(jax.random.split(key, count))


def draws(*arguments):
    return jax.tree.map(np.asarray, _draws(*arguments))


def uniform(values, low, high):
    return scipy.stats.kstest(values, "uniform", (low, high - low)).pvalue > 0.01


def blended(sample, mask, pixels, brightness, contrast):
    """Jitter about the mean under the mask, clip, blend: pixel by pixel."""
    height, width, channels = sample.shape
    spots = [(i, j, c) for i in range(height) for j in range(width) for c in range(channels)]
    weight = sum(mask[i, j] for i, j, _ in spots)
    mean = sum(mask[i, j] * pixels[i, j, c] for i, j, c in spots) / weight
    out = np.zeros(sample.shape)
    for i, j, c in spots:
        value = (pixels[i, j, c] - mean) * contrast + mean + brightness
        value = min(max(value, 0.0), 1.0)
        out[i, j, c] = (1 - mask[i, j]) * sample[i, j, c] + mask[i, j] * value
    return out


# ---- hard patches ----


@pytest.mark.parametrize(
    "where", [{}, {"top": 0, "left": 0}, {"height": 16, "width": 18, "top": 0, "left": 0}]
)
def test_cutavg_equals_its_loop(where):
    p, sample = hard(**where), image(0)
    expected, mask = sample.copy(), np.zeros(SHAPE[:2])
    spots = [
        (int(p.top) + i, int(p.left) + j) for i in range(int(p.height)) for j in range(int(p.width))
    ]
    for c in range(2):
        mean = sum(float(sample[(*at, c)]) for at in spots) / len(spots)
        for at in spots:
            expected[(*at, c)], mask[at] = mean, 1.0
    out, got = cutavg(sample, p)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_array_equal(got, mask)


def test_a_flat_patch_is_its_own_mean():
    for value in (0.0, 0.3, 1.0):
        sample = np.full(SHAPE, value, np.float32)
        np.testing.assert_allclose(cutavg(sample, hard())[0], sample, atol=1e-6)
        assert np.asarray(cutavg(sample, hard())[0]).max() <= 1.0


@pytest.mark.parametrize("jitter", [{}, {"brightness": -0.4, "contrast": 1.5}])
def test_cutpaste_donor_equals_its_loop(jitter):
    p, sample, donor = hard(**jitter), image(0), image(1)
    pixels, mask = np.zeros(SHAPE), np.zeros(SHAPE[:2])
    for i in range(4):
        for j in range(5):
            mask[2 + i, 6 + j] = 1.0
            pixels[2 + i, 6 + j] = donor[9 + i, 1 + j]
    out, got = cutpaste_donor(sample, p, donor)
    expected = blended(sample, mask, pixels, float(p.brightness), float(p.contrast))
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_array_equal(got, mask)


def test_without_jitter_the_donors_pixels_are_only_moved():
    sample, donor = image(0), image(1)
    out, _ = cutpaste_donor(sample, hard(brightness=0.0, contrast=1.0), donor)
    np.testing.assert_array_equal(out[2:6, 6:11], donor[9:13, 1:6])
    own, _ = cutpaste_donor(sample, hard(), sample)
    np.testing.assert_array_equal(own, cutpaste(sample, hard())[0])


def test_shifted_moves_down_and_right():
    sample = image(0)
    moved = shifted(sample, jnp.int32(3), jnp.int32(-2))
    np.testing.assert_array_equal(moved[3:, :-2], sample[:-3, 2:])


# ---- soft patches ----


def sigmoid_edge(offset, side, softness):
    inside = 1 / (1 + np.exp(-(side / 2 - abs(offset)) / softness))
    return max(inside - 1e-3, 0.0) / (1 - 1e-3)


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"softness": 2.5},
        {"row": 1.2, "column": 0.7, "height": 2.0, "width": 2.0, "softness": 0.25},
        {"height": 16.0, "width": 18.0, "row": 7.5, "column": 8.5, "down": 0, "right": 0},
        {"brightness": 0.4, "contrast": 0.6},
    ],
)
def test_soft_patches_equal_their_loops(where):
    p, sample = soft(**where), image(2)
    mask, cut, pixels = np.zeros(SHAPE[:2]), np.zeros(SHAPE), np.zeros(SHAPE)
    for i in range(16):
        for j in range(18):
            mask[i, j] = sigmoid_edge(i - p.row, p.height, p.softness)
            mask[i, j] *= sigmoid_edge(j - p.column, p.width, p.softness)
            pixels[i, j] = sample[(i - int(p.down)) % 16, (j - int(p.right)) % 18]
            cut[i, j] = (1 - mask[i, j]) * sample[i, j] + mask[i, j] * 0.25
    pasted = blended(sample, mask, pixels, float(p.brightness), float(p.contrast))
    for kernel, expected in ((soft_cutout, cut), (soft_cutpaste, pasted)):
        out, got = kernel(sample, p)
        np.testing.assert_allclose(out, expected, atol=2e-6)
        np.testing.assert_allclose(got, mask, atol=2e-6)
        np.testing.assert_array_equal(np.asarray(out)[mask == 0], sample[mask == 0])


def test_the_soft_mask_is_zero_from_its_reach_on():
    _, mask = soft_cutout(image(0), soft(softness=0.5))
    reach = 0.5 * np.log(999.0)  # where the sigmoid is 1e-3
    rows = np.abs(np.arange(16) - 7.3) > 2.2 + reach
    columns = np.abs(np.arange(18) - 9.6) > 3.05 + reach
    np.testing.assert_array_equal(np.asarray(mask) == 0, rows[:, None] | columns[None, :])


def test_hardly_soft_patches_are_the_hard_ones():
    sample = image(0)
    whole = soft(row=3.5, column=8.0, height=4.0, width=5.0, softness=1e-3, down=-7, right=5)
    for kernel, expected in ((soft_cutpaste, cutpaste), (soft_cutout, cutout)):
        for got, want in zip(kernel(sample, whole), expected(sample, hard()), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("name", ["soft_cutout", "soft_cutpaste"])
def test_soft_sides_are_those_of_the_hard_draws_about_an_aspect(name, key):
    hyper = {**CATALOGUE[name].defaults(), "area": 0.05, "area_spread": 2.0, "aspect_spread": 1.0}
    p = draws(name, key, 400, {**hyper, "aspect": 1.7}, (400, 600, 1))
    np.testing.assert_allclose((p.width / 600) / (p.height / 400), 1.7, rtol=1e-4)
    assert uniform(np.log2(p.height * p.width / (0.05 * 400 * 600)), -1.0, 1.0)
    hyper |= {"aspect": 0.8, "area_spread": 1.0, "aspect_spread": 3.0}
    p = draws(name, key, 400, hyper, (400, 600, 1))
    np.testing.assert_allclose(p.height * p.width, 0.05 * 400 * 600, rtol=1e-4)
    assert uniform(np.log((p.width / 600) / (p.height / 400) / 0.8) / np.log(3.0), -1.0, 1.0)


@pytest.mark.parametrize("name", ["soft_cutout", "soft_cutpaste"])
def test_soft_patches_and_what_they_show_lie_inside(name, key):
    space = CATALOGUE[name].space
    for bound in ("default", "low", "high"):
        hyper = {field: getattr(entry, bound) for field, entry in space.items()}
        p = draws(name, key, 300, hyper, (30, 20, 1))
        for centre, side, shift, full in (
            (p.row, p.height, p.down, 30), (p.column, p.width, p.right, 20),
        ):  # fmt: skip
            assert (side >= 2).all() and (side <= full).all()
            for at, slack in ((centre, 1e-4), (centre - shift, 0.5 + 1e-4)):  # rounded to whole px
                assert (at - side / 2 >= -0.5 - slack).all()
                assert (at + side / 2 <= full - 0.5 + slack).all()


def test_soft_places_are_uniform_and_drawn_apart(key):
    hyper = {
        **CATALOGUE["soft_cutpaste"].defaults(), "area": 0.25, "area_spread": 1.0,
        "aspect_spread": 1.0,
    }  # fmt: skip
    p = draws("soft_cutpaste", key, 500, hyper, (400, 200, 1))
    row, column = p.row - p.down, p.column - p.right
    for centre, full in ((p.row, 400), (row, 400), (p.column, 200), (column, 200)):
        assert uniform(centre, full / 4 - 0.5, 3 * full / 4 - 0.5)
    together = np.corrcoef([p.row, p.column, row, column])
    assert np.abs(together - np.eye(4)).max() < 0.12
    assert uniform(p.brightness, -0.1, 0.1) and uniform(p.contrast, 0.9, 1.1)


# ---- scars ----


def scar_loop(sample, p):
    """Mask and pixels of a scar, from rotation matrices and bilinear weights."""
    height, width, channels = sample.shape
    angle = np.deg2rad(float(p.angle))
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mask, pixels = np.zeros((height, width)), np.zeros(sample.shape)
    for i in range(height):
        for j in range(width):
            along, across = back @ [i - float(p.row), j - float(p.column)]
            mask[i, j] = 1.0
            for offset, side in ((along, p.length), (across, p.width)):
                share = min(max(float(side) / 2 - abs(offset) + 0.5, 0.0), 1.0)
                mask[i, j] *= 3 * share**2 - 2 * share**3
            y = min(max(along + float(p.source_row), 0.0), height - 1.0)
            x = min(max(across + float(p.source_column), 0.0), width - 1.0)
            top, left = min(int(y), height - 2), min(int(x), width - 2)
            for c in range(channels):
                (a, b), (d, e) = sample[top : top + 2, left : left + 2, c]
                upper, lower = a + (b - a) * (x - left), d + (e - d) * (x - left)
                pixels[i, j, c] = upper + (lower - upper) * (y - top)
    return mask, pixels


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"angle": -75.0, "brightness": -0.4, "contrast": 1.5},
        {"angle": 0.0, "length": 2.0, "width": 2.0, "row": 0.5, "column": 16.5},
        {"length": 16.0, "angle": 45.0, "row": 7.5, "column": 8.5, "source_row": 7.5},
    ],
)
def test_scars_equal_their_loop(where):
    p, sample = thin(**where), image(4)
    mask, pixels = scar_loop(sample, p)
    out, got = scar(sample, p)
    expected = blended(sample, mask, pixels, float(p.brightness), float(p.contrast))
    np.testing.assert_allclose(got, mask, atol=1e-5)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    np.testing.assert_array_equal(np.asarray(out)[np.asarray(got) == 0], sample[got == 0])


def test_an_upright_scar_of_whole_pixels_is_cutpaste():
    sample, p = image(0), hard(height=6, width=3, source_top=8)
    upright = thin(row=4.5, column=7.0, length=6.0, width=3.0, angle=0.0, source_row=10.5,
                   source_column=2.0)  # fmt: skip
    for got, want in zip(scar(sample, upright), cutpaste(sample, p), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_scars_lean_counter_clockwise():
    _, mask = scar(image(0), thin(angle=45.0, length=12.0, width=2.0, row=8, column=8))
    rows, columns = np.nonzero(np.asarray(mask) > 0.5)
    assert np.corrcoef(rows, columns)[0, 1] > 0.8  # from upright, the upper end goes to the left


def test_scars_have_the_sides_and_turns_asked_for(key):
    s = draws("scar", key, 400, CATALOGUE["scar"].defaults(), (4096, 8192, 1))
    length, width = s.length / 4096, s.width / 4096  # shares of the shorter side
    assert uniform(np.log(length / 0.062) / np.log(1.58), -1.0, 1.0)
    assert uniform(np.log(width / 0.022) / np.log(2.83), -1.0, 1.0)
    assert uniform(s.angle, -45.0, 45.0)
    for values, ends in ((length, (10, 25)), (width, (2, 16))):  # those published, at 256 px
        np.testing.assert_allclose(256 * values.min(), ends[0], rtol=0.05)
        np.testing.assert_allclose(256 * values.max(), ends[1], rtol=0.05)
    assert uniform(s.brightness, -0.1, 0.1) and uniform(s.contrast, 0.9, 1.1)


@pytest.mark.parametrize("bound", ["default", "low", "high"])
def test_scars_and_what_they_show_lie_inside(bound, key):
    hyper = {field: getattr(entry, bound) for field, entry in CATALOGUE["scar"].space.items()}
    s = draws("scar", key, 300, hyper, (30, 20, 1))
    assert (s.length >= 2).all() and (s.width >= 2).all()
    assert (s.length <= 20).all() and (s.width <= 20).all()
    cosine, sine = np.abs(np.cos(np.deg2rad(s.angle))), np.abs(np.sin(np.deg2rad(s.angle)))
    for at, extent, full in (
        (s.row, s.length * cosine + s.width * sine, 30), (s.source_row, s.length, 30),
        (s.column, s.length * sine + s.width * cosine, 20), (s.source_column, s.width, 20),
    ):  # fmt: skip
        fits = extent <= full
        assert (at - extent / 2 >= -0.5 - 1e-4)[fits].all()
        assert (at + extent / 2 <= full - 0.5 + 1e-4)[fits].all()
        np.testing.assert_allclose(at[~fits], (full - 1) / 2, atol=1e-4)


def test_scars_lie_anywhere(key):
    s = draws("scar", key, 400, {**CATALOGUE["scar"].defaults(), "angle": 0.0}, (600, 600, 1))
    for at, side in (
        (s.row, s.length), (s.source_row, s.length), (s.column, s.width), (s.source_column, s.width)
    ):  # fmt: skip
        assert uniform((at + 0.5 - side / 2) / (600 - side), 0.0, 1.0)
    together = np.corrcoef([s.row, s.column, s.source_row, s.source_column])
    assert np.abs(together - np.eye(4)).max() < 0.12


# ---- bumps ----


@pytest.mark.parametrize("degrees", [0.0, 25.0, 90.0, 140.0, 180.0])
def test_turned_bumps_equal_their_loop(degrees):
    shape, sample = (14, 20, 2), image(6, (14, 20, 2))
    angle = np.deg2rad(degrees)
    expected, mask = np.zeros(shape), np.zeros(shape[:2])
    for i in range(14):
        for j in range(20):
            up, right = 3.2 - i, j - 11.7  # the mathematical axes, turned by the angle
            along = np.cos(angle) * right + np.sin(angle) * up
            across = -np.sin(angle) * right + np.cos(angle) * up
            exponent = (across / (0.3 * 14)) ** 2 + (along / (0.2 * 20)) ** 2
            mask[i, j] = 0.8 * np.exp(-exponent / (2 * 0.1))
            expected[i, j] = np.clip(sample[i, j] - mask[i, j], 0.0, 1.0)
    out, got = cutdiff(sample, Bump(*map(jnp.float32, (3.2, 11.7, 0.3, 0.2, 0.8, degrees))))
    np.testing.assert_allclose(out, expected, atol=2e-6)
    np.testing.assert_allclose(got, mask, atol=2e-6)


def test_what_turns_of_a_bump_change():
    sample = image(7, (16, 16, 1))

    def mask(height, width, degrees):
        bump = Bump(*map(jnp.float32, (7.5, 7.5, height, width, 1.0, degrees)))
        return cutdiff(sample, bump)[1]

    np.testing.assert_allclose(mask(0.3, 0.3, 40.0), mask(0.3, 0.3, 0.0), atol=1e-5)  # a circle
    np.testing.assert_allclose(mask(0.4, 0.2, 90.0), mask(0.2, 0.4, 0.0), atol=1e-5)
    np.testing.assert_allclose(mask(0.4, 0.2, 180.0), mask(0.4, 0.2, 0.0), atol=1e-5)
    np.testing.assert_allclose(mask(0.4, 0.2, 0.0)[::-1], mask(0.4, 0.2, 0.0), atol=1e-6)
    np.testing.assert_allclose(mask(0.4, 0.2, 30.0)[::-1], mask(0.4, 0.2, 150.0), atol=1e-5)


# ---- gradients ----


@pytest.mark.catalogue
@pytest.mark.parametrize("name", ["scar", "soft_cutout", "soft_cutpaste", "cutdiff"])
def test_gradients_equal_finite_differences_of_many_draws(name, key, float64):
    """Steps so small that no kink of the bilinear weights and no jump of a shift lies inside."""
    entry = CATALOGUE[name]
    middle = {
        field: space.low + 0.3 * (space.high - space.low)
        if space.scale == "linear"
        else space.low * (space.high / space.low) ** 0.3
        for field, space in entry.space.items()
    } | ({"length": 0.4, "width": 0.2} if name == "scar" else {"area": 0.1})
    sample, weights = image(8, low=0.55, high=0.8).astype(float), image(9)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def value(hyper, k):
        return (weights * entry.random(k, hyper, jnp.asarray(sample), sample)[0]).sum()

    keys = jax.random.split(key, 8)
    jacobian = jax.jit(jax.jacfwd(lambda hyper: value(hyper, keys)))(middle)
    step = 1e-6
    for field in entry.space:
        if field == "strength":  # kept in float32: no small step has enough digits
            continue
        up, down = (value({**middle, field: middle[field] + s}, keys) for s in (step, -step))
        np.testing.assert_allclose(jacobian[field], (up - down) / (2 * step), rtol=1e-4, atol=1e-6)
        assert entry.space[field].gradient and np.abs(jacobian[field]).max() > 1e-3
