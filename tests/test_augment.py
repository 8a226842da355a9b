"""The catalogue as data (one contract for every entry) and slow twins of the kernels."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from ad_jax.augment import (
    CATALOGUE,
    PACKED,
    Augmentation,
    Range,
    Space,
    fixed,
    get,
    local,
    switch,
    whole,
)
from ad_jax.augment.geometry import rotate, turn, turns
from ad_jax.augment.patches import Patch, cutout, cutpaste
from ad_jax.augment.soft import Bump, cutdiff
from ad_jax.base.errors import InputError

NAMES = sorted(CATALOGUE)
LOCAL = [name for name in NAMES if CATALOGUE[name].group == "local"]
PATCHES = ["cutavg", "cutout", "cutpaste", "cutpaste_donor"]
FIELDS = [(name, field) for name in NAMES for field in CATALOGUE[name].space]
# Of composed entries a draw may leave a part out; the parts' flags are tested with the parts.
SIMPLE = [(name, field) for name, field in FIELDS if "." not in field]
SHAPE = (16, 16, 3)


def interior(name):
    return dict(CATALOGUE[name].example) or CATALOGUE[name].defaults()


def image(seed, shape=SHAPE, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def settings(name):
    """Defaults, both bounds and the interior point of an entry."""
    space = CATALOGUE[name].space
    return [
        CATALOGUE[name].defaults(),
        {field: entry.low for field, entry in space.items()},
        {field: entry.high for field, entry in space.items()},
        interior(name),
    ]


# ---- the contract ----


@pytest.mark.parametrize("name", NAMES)
def test_shape_dtype_and_range_are_kept_also_at_the_bounds(name, key):
    samples = np.stack([image(0), np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)])
    random = jax.jit(jax.vmap(CATALOGUE[name].random, (0, None, 0, 0)))
    for hyper in settings(name):
        out, mask = random(jax.random.split(key, 3), hyper, samples, samples[::-1])
        assert out.shape == samples.shape and out.dtype == samples.dtype
        assert mask.shape == samples.shape[:3] and mask.dtype == samples.dtype
        for values in (out, mask):  # bilinear weights sum to one only up to rounding
            assert values.min() >= -1e-6 and values.max() <= 1.0 + 1e-6


@pytest.mark.catalogue
@pytest.mark.parametrize("name", NAMES)
def test_jit_and_vmap_change_nothing(name, key):
    entry, hyper = CATALOGUE[name], CATALOGUE[name].defaults()
    keys = jax.random.split(key, 3)
    samples, donor = np.stack([image(i) for i in range(3)]), image(9)
    jitted = jax.jit(entry.random)
    loop = [jitted(k, hyper, s, donor) for k, s in zip(keys, samples, strict=True)]
    eager = entry.random(keys[0], hyper, samples[0], donor)
    chex.assert_trees_all_close(eager, loop[0], atol=1e-5)
    batch = jax.jit(jax.vmap(entry.random, (0, None, 0, None)))(keys, hyper, samples, donor)
    chex.assert_trees_all_close(batch, jax.tree.map(lambda *x: np.stack(x), *loop), atol=1e-5)


@pytest.mark.catalogue
@pytest.mark.parametrize("name", NAMES)
def test_other_values_do_not_recompile(name, key):
    chex.clear_trace_counter()  # chex counts by the function's place in the source
    entry = CATALOGUE[name]
    random = jax.jit(chex.assert_max_traces(entry.random, n=1))
    for k, hyper in zip(jax.random.split(key, 4), settings(name), strict=True):
        random(k, hyper or entry.defaults(), image(0), image(1))


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_covers_what_changed(name, key):
    entry, samples = CATALOGUE[name], np.stack([image(i) for i in range(20)])
    random = jax.jit(jax.vmap(entry.random, (0, None, 0, 0)))
    for hyper in settings(name):
        out, mask = random(jax.random.split(key, 20), hyper, samples, samples[::-1])
        untouched = np.asarray(mask) == 0
        np.testing.assert_array_equal(np.asarray(out)[untouched], samples[untouched])


@pytest.mark.parametrize("name", LOCAL)
def test_local_operations_leave_some_of_the_sample(name, key):
    hyper = CATALOGUE[name].defaults()
    hyper |= {"area": 0.02} if "area" in hyper else {}
    out, mask = CATALOGUE[name].random(key, hyper, image(0), image(1))
    assert 0.0 < (np.asarray(mask) > 0.01).mean() < 0.9
    assert np.abs(np.asarray(out) - image(0)).max() > 0.05


@pytest.mark.parametrize(
    ("name", "zero"),
    [
        ("identity", {}),
        ("rotate", {"angle": 0.0, "width": 0.0}),
        ("translate", {"shift": 0.0, "width": 0.0}),
        ("shear", {"angle": 0.0, "width": 0.0}),
        ("affine", {"angle": 0.0, "shear": 0.0, "scale": 1.0, "shift": 0.0}),
        ("resized_crop", {"smallest": 1.0, "aspect_spread": 1.0}),
        ("pixel_mask", {"chance": 0.0}),
        ("gaussian_noise", {"std": 0.0}),
        ("blur", {"sigma": 0.0, "sigma_spread": 1.4}),
        ("brightness", {"spread": 0.0}),
        ("contrast", {"spread": 0.0}),
        ("saturation", {"spread": 0.0}),
        ("hue", {"shift": 0.0}),
        ("gamma", {"factor": 1.0}),
        ("colour_jitter", {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}),
        ("perlin_blend", {**get("perlin_blend").defaults(), "opacity": 0.0}),
        ("cutdiff", {"area": 0.1, "aspect": 1.0, "strength": 0.0, "angle": 0.0}),
    ],
)
def test_zero_strength_is_the_identity(name, zero, key):
    out, _ = CATALOGUE[name].random(key, zero, image(0), image(1))
    np.testing.assert_array_equal(out, image(0))


def test_without_jitter_cutpaste_only_moves_pixels(key):
    entry, sample = get("cutpaste"), image(0)
    patch = entry.draw(key, {**entry.defaults(), "jitter": 0.0}, SHAPE)
    out, _ = entry.apply(sample, patch, sample)
    h, w = int(patch.height), int(patch.width)
    there = np.asarray(out)[int(patch.top) :, int(patch.left) :][:h, :w]
    here = sample[int(patch.source_top) :, int(patch.source_left) :][:h, :w]
    np.testing.assert_array_equal(there, here)


def test_adapters_make_masks_and_pass_the_donor_by():
    sample, donor = image(0), image(1)
    for apply, arguments in (
        (whole(lambda x, factor: factor * x), 0.5),
        (fixed(lambda x: 0.5 * x), ()),
        (local(lambda x, factor: (factor * x, np.ones(SHAPE[:2], x.dtype))), 0.5),
    ):
        out, mask = apply(sample, arguments, donor)
        np.testing.assert_array_equal(out, 0.5 * sample)
        np.testing.assert_array_equal(mask, np.ones(SHAPE[:2]))


@pytest.mark.parametrize(
    "kernel", [lambda x: x[1:], lambda x: x[..., :1], lambda x: x.mean((0, 1))]
)
def test_a_kernel_that_loses_the_shape_is_refused_at_trace_time(kernel, key):
    entry = Augmentation(apply=fixed(kernel), group="colour", source="test")
    with pytest.raises(AssertionError, match="shape"):
        jax.eval_shape(lambda x: entry.random(key, {}, x, x), image(0))


# ---- boxes ----

BOX = Space(
    area=Range(0.1, 0.01, 1.0, "log", "share", True, "of the image"),
    angle=Range(30.0, -90.0, 90.0, "linear", "degrees", True, "of the turn"),
)


def test_values_stand_at_shares_of_their_range_and_back():
    for share, area, angle in ((0.0, 0.01, -90.0), (0.5, 0.1, 0.0), (1.0, 1.0, 90.0)):
        assert BOX["area"].at(share) == pytest.approx(area)
        assert BOX["area"].share(area) == pytest.approx(share)
        assert BOX["angle"].at(share) == angle and BOX["angle"].share(angle) == share
    assert BOX["area"].distance(0.1, 0.01) == pytest.approx(-0.5)


def test_grids_spread_one_name_inside_its_bounds():
    areas = [one["area"] for one in BOX.grid("area", 2)]
    np.testing.assert_allclose(np.log10(areas), [-1.5, -0.5])
    assert {one["angle"] for one in BOX.grid("area", 2)} == {30.0}


def test_samples_of_a_box_are_uniform_on_every_scale():
    generator = np.random.default_rng(0)
    drawn = [BOX.sample(generator) for _ in range(5000)]
    log_area = np.log10([one["area"] for one in drawn])
    assert scipy.stats.kstest(log_area, "uniform", (-2.0, 2.0)).pvalue > 0.01
    angle = [one["angle"] for one in drawn]
    assert scipy.stats.kstest(angle, "uniform", (-90.0, 180.0)).pvalue > 0.01


def test_raised_bounds_only_go_up():
    raised = BOX.raised({"area": 0.05, "angle": -180.0})
    assert raised["area"].low == 0.05 and raised["angle"] == BOX["angle"]
    assert BOX["area"].low == 0.01


def test_unconstrained_numbers_come_back_and_any_number_is_inside():
    point = {"area": 0.3, "angle": -45.0}
    back = BOX.constrain(jnp.asarray(BOX.unconstrain(point)))
    chex.assert_trees_all_close(back, jax.tree.map(jnp.float32, point), rtol=1e-5)
    for far in (-1e3, 1e3):
        inside = BOX.constrain(jnp.full(2, far))
        BOX.check("far", BOX.clip(inside))
        chex.assert_trees_all_close(BOX.clip(inside), jax.tree.map(float, inside), rtol=1e-6)
    middle = BOX.constrain(jnp.asarray(BOX.unconstrain({})))
    chex.assert_trees_all_close(middle, {"area": 0.1, "angle": 0.0}, atol=1e-6)


# ---- gradients ----


def functional(name):
    """A smooth function of the hyperparameters, through the augmented sample."""
    sample, donor = (image(seed, low=0.55, high=0.8) for seed in (0, 7))
    weights = image(5)

    def value(hyper, key):
        out, _ = CATALOGUE[name].random(key, hyper, jnp.asarray(sample, float), donor)
        return (weights * out).sum() + (out**2).sum()

    return value


@functools.cache
def compiled_functional(name):
    value = functional(name)
    return jax.jit(value), jax.jit(jax.grad(value))


@pytest.mark.catalogue
@pytest.mark.parametrize(("name", "field"), SIMPLE)
def test_gradient_flags_are_true(name, field, key, float64, nans_raise):
    value, gradients = compiled_functional(name)
    hyper = interior(name)
    gradient = gradients(hyper, key)[field]
    if not CATALOGUE[name].space[field].gradient:
        assert gradient == 0.0
        return
    # Small, for the kinks of resampling and hue; where draws are in float32, that lacks digits.
    step = 1e-3 if name in ("cutout", "cutdiff") else 1e-5
    up, down = (value({**hyper, field: hyper[field] + s}, key) for s in (step, -step))
    assert abs(gradient) > 1e-3
    np.testing.assert_allclose(gradient, (up - down) / (2 * step), rtol=5e-3)


@pytest.mark.catalogue
@pytest.mark.parametrize("name", [name for name in NAMES if CATALOGUE[name].space])
def test_gradients_are_finite_at_the_bounds(name, key, nans_raise):
    gradient = jax.jit(jax.vmap(jax.grad(functional(name)), (None, 0)))
    for hyper in settings(name):
        chex.assert_tree_all_finite(gradient(hyper, jax.random.split(key, 8)))


@pytest.mark.catalogue
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_to_the_sample_is_finite(name, key, nans_raise):
    entry = CATALOGUE[name]
    gradient = jax.jit(jax.grad(lambda x: entry.random(key, entry.defaults(), x, x)[0].sum()))
    for sample in (image(0), np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)):
        chex.assert_tree_all_finite(gradient(sample))


# ---- packing, switching, refusing ----


@pytest.mark.parametrize("name", NAMES)
def test_packing_comes_back(name):
    entry = CATALOGUE[name]
    for hyper in (entry.defaults(), interior(name)):
        packed = entry.space.pack(hyper, PACKED)
        assert packed.shape == (PACKED,)
        unpacked = entry.space.unpack(packed)
        chex.assert_trees_all_close(unpacked, jax.tree.map(jnp.float32, hyper))
        assert list(unpacked) == list(entry.space)


def test_switch_equals_the_entry_called_directly(key):
    keys, samples = jax.random.split(key, 2), np.stack([image(0), image(1)])
    mixed = jax.jit(
        chex.assert_max_traces(
            lambda i, p: jax.vmap(lambda k, s: switch(tuple(NAMES), i, k, p, s, samples[0]))(
                keys, samples
            ),
            n=1,
        )
    )
    for i, name in enumerate(NAMES):
        entry = CATALOGUE[name]
        hyper = interior(name)
        direct = [entry.pseudo(k, hyper, s, samples[0]) for k, s in zip(keys, samples, strict=True)]
        chex.assert_trees_all_close(
            mixed(i, entry.space.pack(hyper, PACKED)),
            jax.tree.map(lambda *x: jnp.stack(x), *direct),
            atol=1e-5,
        )


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_check_refuses_what_is_out_of_range(name, field):
    entry, space = CATALOGUE[name], CATALOGUE[name].space[field]
    for bad in (space.low - 0.01, space.high + 0.01, float("nan"), float("inf")):
        with pytest.raises(InputError, match=rf"^{name}: {field}=.* out of range.*{space.high}$"):
            entry.check(name, {field: bad}, (64, 64, 3))
    for good in (space.default, space.low, space.high):
        entry.check(name, {field: good}, (64, 64, 3))


@pytest.mark.parametrize("name", NAMES)
def test_check_refuses_unknown_names_and_takes_defaults(name):
    CATALOGUE[name].check(name, CATALOGUE[name].defaults(), SHAPE)
    known = ", ".join(CATALOGUE[name].space) or "none"
    with pytest.raises(InputError, match=f"^{name} has no hyperparameter 'size'; it has: {known}$"):
        CATALOGUE[name].check(name, {"size": 1.0}, SHAPE)


@pytest.mark.parametrize("name", [name for name in NAMES if "area" in CATALOGUE[name].space])
def test_check_refuses_areas_under_two_pixels_a_side(name):
    smallest = 4.0 / 256
    with pytest.raises(InputError, match=r"^[^\n]*under 2 px[^\n]*16 x 16[^\n]*at least[^\n]*$"):
        CATALOGUE[name].check(name, {"area": 0.9 * smallest}, SHAPE)
    CATALOGUE[name].check(name, {"area": smallest}, SHAPE)


def test_an_unknown_augmentation_lists_the_known_ones():
    with pytest.raises(InputError, match="^no augmentation 'cutpast'; known: identity, .*cutdiff"):
        get("cutpast")


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_describes_itself(name):
    entry = CATALOGUE[name]
    assert entry.group in {"geometric", "local", "elementwise", "colour", "mixed"}
    assert entry.source and (entry.strength is None or entry.strength in entry.space)
    entry.check(name, interior(name), (64, 64, 3))
    assert set(interior(name)) == set(entry.space)
    for space in entry.space.values():
        assert space.low <= space.default <= space.high and space.low < space.high
        assert space.scale == "linear" or (space.scale == "log" and space.low > 0)
        assert space.unit and space.about


# ---- twins ----


def test_turns_are_numpys_rot90(key):
    sample = image(0, (6, 6, 2))
    assert turns(sample).shape == (4, 6, 6, 2)
    np.testing.assert_array_equal(turns(sample)[0], sample)
    for count in range(4):
        np.testing.assert_array_equal(turn(sample, count), np.rot90(sample, count))
    entry = get("quarter_turns")
    np.testing.assert_array_equal(entry.views(sample), turns(sample))
    drawn = jax.vmap(lambda k: entry.draw(k, {}, (6, 6, 2)))(jax.random.split(key, 300))
    counts = np.bincount(np.asarray(drawn), minlength=4)
    assert counts[0] == 0 and (counts[1:] > 70).all()  # never the identity, the rest alike


@pytest.mark.parametrize("degrees", [0.0, 17.0, -45.0, 90.0, 123.4, 180.0])
@pytest.mark.parametrize("shape", [(16, 16, 3), (13, 20, 1)])
def test_rotation_is_scipys(degrees, shape):
    sample = image(3, shape)
    angle = np.deg2rad(degrees)
    pull = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = (np.array(shape[:2]) - 1) / 2
    expected = [
        scipy.ndimage.affine_transform(
            sample[..., c], pull, centre - pull @ centre, order=1, mode="nearest"
        )
        for c in range(shape[2])
    ]
    got = rotate(sample, jnp.float32(degrees))
    np.testing.assert_allclose(got, np.stack(expected, -1), atol=2e-5)


def test_rotation_is_counter_clockwise():
    sample = image(3)
    np.testing.assert_allclose(rotate(sample, jnp.float32(90.0)), np.rot90(sample), atol=1e-5)


def test_rotation_draws_either_direction_within_its_range(key):
    hyper = {"angle": 30.0, "width": 5.0}
    drawn = jax.vmap(lambda k: get("rotate").draw(k, hyper, SHAPE))(jax.random.split(key, 400))
    drawn = np.asarray(drawn)
    assert 0.4 < (drawn > 0).mean() < 0.6
    assert scipy.stats.kstest(np.abs(drawn), "uniform", (25.0, 10.0)).pvalue > 0.01


def patch(**changed):
    values = {
        "height": 4, "width": 5, "top": 2, "left": 6, "source_top": 9, "source_left": 1,
        "brightness": 0.05, "contrast": 1.1, "fill": 0.25,
    }  # fmt: skip
    return Patch(**{name: jnp.asarray(x) for name, x in {**values, **changed}.items()})


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"brightness": 0.4, "contrast": 0.6},
        {"brightness": -0.4, "contrast": 1.5},
        {"top": 0, "left": 0, "source_top": 12, "source_left": 13},
        {"height": 16, "width": 18, "top": 0, "left": 0, "source_top": 0, "source_left": 0},
    ],
)
def test_patches_equal_their_loops(where):
    shape, p = (16, 18, 2), patch(**where)
    sample = image(4, shape)
    pasted, cut, mask = sample.copy(), sample.copy(), np.zeros(shape[:2])
    source = [
        sample[int(p.source_top) + i, int(p.source_left) + j, c]
        for i in range(int(p.height))
        for j in range(int(p.width))
        for c in range(2)
    ]
    mean = np.mean(source)
    for i in range(int(p.height)):
        for j in range(int(p.width)):
            at = int(p.top) + i, int(p.left) + j
            mask[at] = 1.0
            cut[at] = 0.25
            for c in range(2):
                value = sample[int(p.source_top) + i, int(p.source_left) + j, c]
                value = (value - mean) * float(p.contrast) + mean + float(p.brightness)
                pasted[(*at, c)] = min(max(value, 0.0), 1.0)
    for kernel, expected in ((cutpaste, pasted), (cutout, cut)):
        out, got = kernel(sample, p)
        np.testing.assert_allclose(out, expected, atol=1e-6)
        np.testing.assert_array_equal(got, mask)


def test_cutdiff_equals_its_loop():
    shape, sample = (14, 18, 2), image(6, (14, 18, 2))
    bump = Bump(*map(jnp.float32, (3.2, 11.7, 0.3, 0.2, 0.8, 0.0)))
    expected, mask = np.zeros(shape), np.zeros(shape[:2])
    for i in range(14):
        for j in range(18):
            exponent = ((i - 3.2) / (0.3 * 14)) ** 2 + ((j - 11.7) / (0.2 * 18)) ** 2
            mask[i, j] = 0.8 * np.exp(-exponent / (2 * 0.1))
            for c in range(2):
                expected[i, j, c] = min(max(sample[i, j, c] - mask[i, j], 0.0), 1.0)
    out, got = cutdiff(sample, bump)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_allclose(got, mask, atol=1e-6)


# ---- draws ----


@functools.partial(jax.jit, static_argnums=(0, 2, 4))
def _draws(name, key, count, hyper, shape):
    return jax.vmap(lambda k: CATALOGUE[name].draw(k, hyper, shape))(jax.random.split(key, count))


def draws(*arguments):
    return jax.tree.map(np.asarray, _draws(*arguments))


@pytest.mark.parametrize("name", PATCHES)
def test_patches_lie_inside_with_the_sides_asked_for(name, key):
    shape = (48, 32, 3)
    for hyper in settings(name):
        p = draws(name, key, 500, hyper, shape)
        for corner, side, full in (
            (p.top, p.height, 48), (p.source_top, p.height, 48),
            (p.left, p.width, 32), (p.source_left, p.width, 32),
        ):  # fmt: skip
            assert (corner >= 0).all() and (corner + side <= full).all()
            assert (side >= 2).all() and (side == np.round(side)).all()
        smallest, largest = (
            np.sqrt(hyper["area"] * (hyper["area_spread"] * hyper["aspect_spread"]) ** power)
            for power in (-1, 1)
        )
        for side, full in ((p.height, 48), (p.width, 32)):
            assert side.min() >= np.clip(np.round(smallest * full), 2, full)
            assert side.max() <= np.clip(np.round(largest * full), 2, full)
        jitter = hyper.get("jitter", 0.0)
        assert (np.abs(p.brightness) <= jitter).all() and (
            np.abs(p.contrast - 1) < jitter + 1e-6
        ).all()


@pytest.mark.parametrize("name", PATCHES)
def test_areas_and_aspects_are_log_uniform(name, key):
    shape = (4096, 8192, 3)  # only drawn: sides of so many pixels hide the rounding
    hyper = {**CATALOGUE[name].defaults(), "area": 0.05, "area_spread": 2.0, "aspect_spread": 1.0}
    p = draws(name, key, 500, hyper, shape)
    area = p.height * p.width / (4096 * 8192)
    assert scipy.stats.kstest(np.log2(area / 0.05), "uniform", (-1.0, 2.0)).pvalue > 0.01
    p = draws(name, key, 500, {**hyper, "area_spread": 1.0, "aspect_spread": 3.0}, shape)
    aspect = (p.width / 8192) / (p.height / 4096)  # in shares of the image, not in pixels
    assert scipy.stats.kstest(np.log(aspect) / np.log(3), "uniform", (-1.0, 2.0)).pvalue > 0.01
    np.testing.assert_allclose(p.height * p.width / (4096 * 8192), 0.05, rtol=5e-3)


def test_places_are_uniform_and_drawn_apart(key):
    hyper = {"area": 0.0625, "area_spread": 1.0, "aspect_spread": 1.0, "jitter": 0.0}
    p = draws("cutpaste", key, 500, hyper, (8, 8, 1))  # patches of 2 x 2: corners 0..6
    for corner in (p.top, p.left, p.source_top, p.source_left):
        assert scipy.stats.chisquare(np.bincount(corner, minlength=7)).pvalue > 0.01
    together = np.corrcoef([p.top, p.left, p.source_top, p.source_left])
    assert np.abs(together - np.eye(4)).max() < 0.12


def test_bumps_have_the_area_and_aspect_asked_for(key):
    hyper = {"area": 0.1, "aspect": 2.0, "strength": 0.7, "angle": 20.0}
    b = draws("cutdiff", key, 300, hyper, (20, 30, 1))
    np.testing.assert_allclose(b.height * b.width, 0.1, rtol=1e-5)
    np.testing.assert_allclose(b.width / b.height, 2.0, rtol=1e-5)
    np.testing.assert_allclose(b.strength, 0.7, rtol=1e-6)
    np.testing.assert_allclose(b.angle, 20.0)
    assert scipy.stats.kstest(b.row, "uniform", (0, 19)).pvalue > 0.01
    assert scipy.stats.kstest(b.column, "uniform", (0, 29)).pvalue > 0.01
