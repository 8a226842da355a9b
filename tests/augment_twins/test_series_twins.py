"""Kernels on series against slow twins in numpy, their draws, masks, gradients and ranges."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ad_jax.augment import CATALOGUE, PACKED, SERIES, get, of_features, switch
from ad_jax.augment import series as kernels
from ad_jax.augment.series import Drawn, Levelled, Point, Segment
from ad_jax.base.errors import InputError

NAMES = sorted(SERIES)
DONORS = ["segment_cutpaste_donor"]
CONTINUOUS = [name for name in NAMES if name != "extremum"]
SIGNED = ["platform", "mean_shift", "trend", "extremum", "time_warp"]
FACTORS = ["amplitude", "frequency"]
T, FIRST, LENGTH = 30, 7, 9  # a segment of whole points and hard edges: 7 to 15
HARD = 1e-3


def wave(seed=0, shape=(T, 3)):
    """Smooth, unlike from channel to channel, away from 0."""
    rng, time = np.random.default_rng(seed), np.arange(shape[0])[:, None]
    phase, rate = rng.uniform(0, 6, shape[1]), rng.uniform(0.2, 0.5, shape[1])
    return (2.0 + np.sin(rate * time + phase) + 0.3 * np.sin(2.7 * rate * time)).astype(np.float32)


def hard(channels=(1.0, 0.0, 1.0), first=FIRST, length=LENGTH):
    return Segment(*map(jnp.float32, (first - 0.5, length, HARD, channels)))


def read(x, place):
    """Linear between points, repeated at the ends."""
    return np.stack([np.interp(place, np.arange(len(x)), channel) for channel in x.T], -1)


def settings(name):
    space = SERIES[name].space
    return [
        SERIES[name].defaults(),
        {field: one.low for field, one in space.items()},
        {field: one.high for field, one in space.items()},
        dict(SERIES[name].example),
    ]


@functools.cache
def drawing(name, shape):
    entry = SERIES[name]
    return jax.jit(jax.vmap(lambda k, hyper: entry.draw(k, hyper, shape), (0, None)))


def draws(name, key, count=600, shape=(200, 4), **hyper):
    values = {k: float(v) for k, v in {**SERIES[name].defaults(), **hyper}.items()}
    return drawing(name, shape)(jax.random.split(key, count), values)


def segments(name, key, **hyper):
    drawn = draws(name, key, **hyper)
    return drawn if isinstance(drawn, Segment) else drawn.segment


def uniform(values, low, high):
    return scipy.stats.kstest(np.asarray(values), "uniform", (low, high - low)).pvalue > 0.01


# ---- twins: loops over the points of a segment with hard edges ----


def levelled(kernel, value, level=1.7):
    """What the kernel makes, and the loop `x[i] = value(x, j, level)` at every i = first + j."""
    x = wave()
    expected = x.copy()
    for j in range(LENGTH):
        for channel in (0, 2):
            expected[FIRST + j, channel] = value(x, j, level)[channel]
    out, mask = kernel(x, Levelled(hard(), jnp.float32(level)))
    return out, mask, expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("platform", lambda x, j, level: [level] * 3),
        ("mean_shift", lambda x, j, level: x[FIRST + j] + level),
        ("amplitude", lambda x, j, level: x[FIRST + j] * level),
        ("trend", lambda x, j, level: x[FIRST + j] + level / LENGTH * j),
        ("frequency", lambda x, j, level: read(x, FIRST + (j * level) % LENGTH)),
        (
            "time_warp",
            lambda x, j, level: read(
                x,
                FIRST + j + level * LENGTH / (2 * np.pi) * np.sin(2 * np.pi * (j + 0.5) / LENGTH),
            ),
        ),
    ],
)
@pytest.mark.parametrize("level", [1.7, 0.4, 3.0])
def test_levels_equal_their_loops(name, value, level):
    out, mask, expected = levelled(getattr(kernels, name), value, level)
    np.testing.assert_allclose(out, expected, atol=2e-5)
    np.testing.assert_array_equal(mask, (np.arange(T) >= 7) & (np.arange(T) <= 15))
    assert np.abs(expected - wave()).max() > 0.1


def test_whole_speeds_repeat_the_phase():
    x = wave()
    out, _ = kernels.frequency(x, Levelled(hard((1, 1, 1)), jnp.float32(3.0)))
    for j in range(3):
        np.testing.assert_allclose(out[FIRST + j], x[FIRST + 3 * j], atol=1e-6)
        np.testing.assert_allclose(out[FIRST + 3 + j], x[FIRST + 3 * j], atol=1e-6)


def test_an_extremum_is_one_point():
    x = wave()
    out, mask = kernels.extremum(x, Point(jnp.int32(11), *map(jnp.float32, (-5.0, (0, 1, 1)))))
    expected = x.copy()
    expected[11, 1:] = -5.0
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(mask, np.arange(T) == 11)


def test_noise_is_added_in_the_segment():
    x, noise = wave(), np.random.default_rng(1).normal(size=(T, 3)).astype(np.float32)
    out, _ = kernels.series_noise(x, Drawn(hard(), jnp.asarray(noise)))
    expected = x.copy()
    for i in range(FIRST, FIRST + LENGTH):
        for channel in (0, 2):
            expected[i, channel] += noise[i, channel]
    np.testing.assert_allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("shift", [-7, 4, 14])
def test_segments_come_from_where_they_are_cut(shift):
    x, donor, where = wave(), wave(5), Drawn(hard(), jnp.int32(shift))
    for out, source in (
        (kernels.segment_cutpaste(x, where)[0], x),
        (kernels.segment_cutpaste_donor(x, where, donor)[0], donor),
    ):
        expected = x.copy()
        for i in range(FIRST, FIRST + LENGTH):
            expected[i, [0, 2]] = source[i + shift, [0, 2]]
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("first", "length"), [(7, 9), (7, 8), (0, 30), (28, 2)])
def test_reversal_is_the_segment_backwards(first, length):
    x = wave()
    out, _ = kernels.reversal(x, hard((1, 0, 1), first, length))
    expected = x.copy()
    expected[first : first + length, [0, 2]] = x[first : first + length][::-1][:, [0, 2]]
    np.testing.assert_array_equal(out, expected)


def test_channels_change_places_in_the_segment():
    x, order = wave(), jnp.array([2, 1, 0])
    out, _ = kernels.channel_swap(x, Drawn(hard((1, 1, 1)), order))
    expected = x.copy()
    for i in range(FIRST, FIRST + LENGTH):
        expected[i] = x[i, 2], x[i, 1], x[i, 0]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("points", [30, 31])
def test_surrogates_have_the_spectrum_and_the_turned_phases(points):
    x = wave(shape=(points, 2))
    drawn = jax.tree.map(
        lambda leaf: leaf[0], draws("phase_shuffle", jax.random.key(3), 1, x.shape)
    )
    whole = Drawn(hard((1, 1), 0, points), drawn.what)
    out, mask = kernels.phase_shuffle(x, whole)
    time, expected = np.arange(points), np.zeros_like(x)
    for channel in range(2):  # a slow Fourier series, wave by wave
        for rate in range(points // 2 + 1):
            turn = np.exp(-2j * np.pi * rate * time / points)
            weight = (x[:, channel] * turn).sum() / points
            twice = 1 if rate == 0 or 2 * rate == points else 2
            weight *= np.exp(1j * float(drawn.what[rate]))
            expected[:, channel] += (twice * weight * np.conj(turn)).real
    np.testing.assert_allclose(out, expected, atol=2e-5)
    assert np.asarray(mask).min() > 0.999 and np.abs(out - x).max() > 0.2
    np.testing.assert_allclose(
        np.abs(np.fft.rfft(out, axis=0)), np.abs(np.fft.rfft(x, axis=0)), atol=1e-4
    )
    part, _ = kernels.phase_shuffle(x, Drawn(hard((1, 1)), drawn.what))
    np.testing.assert_allclose(
        part[FIRST : FIRST + LENGTH], expected[FIRST : FIRST + LENGTH], atol=2e-5
    )
    np.testing.assert_array_equal(part[:FIRST], x[:FIRST])


@pytest.mark.parametrize("softness", [0.25, 1.0, 4.0])
def test_edges_are_sigmoids_that_end(softness):
    segment = Segment(*map(jnp.float32, (6.2, 8.7, softness, (1,))))
    expected = np.zeros(T)
    for i in range(T):
        rise = 1 / (1 + np.exp(-(i - 6.2) / softness))
        fall = 1 / (1 + np.exp(-(6.2 + 8.7 - i) / softness))
        expected[i] = max(rise - 1e-3, 0) * max(fall - 1e-3, 0) / 0.999**2
    mask = np.asarray(kernels.soft_mask(segment, T, jnp.float32))
    np.testing.assert_allclose(mask, expected, atol=1e-6)
    out, _ = kernels.mean_shift(wave(), Levelled(segment._replace(channels=jnp.ones(3)), 2.0))
    np.testing.assert_allclose(out - wave(), 2 * expected[:, None] * np.ones(3), atol=2e-6)


# ---- the contract of every entry ----


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_what_changes_lies_under_the_mask(name, channels, key):
    entry = SERIES[name]
    samples = np.stack([wave(i, (40, channels)) for i in range(20)])
    samples[0] = 0.0  # a series without any change in time
    random = jax.jit(jax.vmap(entry.random, (0, None, 0, 0)))
    for hyper in settings(name):
        out, mask = random(jax.random.split(key, 20), hyper, samples, samples[::-1])
        assert out.shape == samples.shape and out.dtype == samples.dtype
        assert mask.shape == samples.shape[:2] and mask.dtype == samples.dtype
        out, mask = np.asarray(out), np.asarray(mask)
        assert np.isfinite(out).all() and mask.min() >= 0.0 and mask.max() <= 1.0
        assert mask.max(1).min() > 0.1 or "softness" in hyper and hyper["softness"] > 1.0
        np.testing.assert_array_equal(out[mask == 0], samples[mask == 0])


@pytest.mark.parametrize("name", NAMES)
def test_defaults_change_some_of_most_samples(name, key):
    samples = np.stack([wave(i) for i in range(50)])
    random = jax.jit(jax.vmap(SERIES[name].random, (0, None, 0, 0)))
    out, mask = random(jax.random.split(key, 50), SERIES[name].defaults(), samples, samples[::-1])
    changed = np.abs(np.asarray(out) - samples).max((1, 2)) > 0.05
    assert changed.mean() > 0.9
    assert 0.0 < (np.asarray(mask) > 0).mean() < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_donors_are_used_where_it_is_said(name, key):
    random = jax.jit(SERIES[name].random)
    one, other = (random(key, SERIES[name].defaults(), wave(), wave(seed))[0] for seed in (1, 2))
    assert bool((one != other).any()) == (name in DONORS)


@pytest.mark.catalogue
@pytest.mark.parametrize("name", NAMES)
def test_jit_vmap_and_switch_change_nothing(name, key):
    entry, samples, donor = SERIES[name], np.stack([wave(i) for i in range(3)]), wave(9)
    keys, hyper = jax.random.split(key, 3), dict(entry.example)
    jitted = jax.jit(entry.pseudo)
    one_by_one = [jitted(k, hyper, s, donor) for k, s in zip(keys, samples, strict=True)]
    loop = jax.tree.map(lambda *leaves: np.stack(leaves), *one_by_one)
    batch = jax.jit(jax.vmap(entry.pseudo, (0, None, 0, None)))(keys, hyper, samples, donor)
    chex.assert_trees_all_close(batch, loop, atol=1e-5)
    eager = entry.pseudo(keys[0], hyper, samples[0], donor)
    chex.assert_trees_all_close(eager, one_by_one[0], atol=1e-5)
    packed = entry.space.pack(hyper, PACKED)
    one = switch(("identity", name), jnp.int32(1), keys[0], packed, samples[0], donor)
    chex.assert_trees_all_close(one, eager, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_describes_itself(name):
    entry = SERIES[name]
    assert name not in CATALOGUE and get(name) is entry and not of_features(name)
    assert entry.group == "local" and entry.takes == ("series",) and entry.source
    assert entry.strength in entry.space and set(entry.example) == set(entry.space)
    entry.check(name, entry.defaults(), (100, 2))
    entry.check(name, entry.example, (100, 2))
    for one in entry.space.values():
        assert one.low <= one.default <= one.high and one.unit and one.about
        assert one.scale == "linear" or one.low > 0
    with pytest.raises(InputError, match=rf"^{name} needs series \[t, c\], these are"):
        entry.check(name, {}, (16, 16, 3))


def test_tsaps_levels_are_in_range():
    for name, low, high in (
        ("platform", -1.0, 1.0),
        ("mean_shift", -1.0, 1.0),
        ("amplitude", 1.0, 6.0),
        ("trend", -0.01 * 500, 0.01 * 500),  # per step, in a segment of 500 points
        ("extremum", -15.0, 15.0),
    ):
        assert SERIES[name].space["level"].low <= low < high <= SERIES[name].space["level"].high


@pytest.mark.parametrize("name", SIGNED + FACTORS)
def test_a_grid_of_levels_is_of_one_sign(name):
    levels = [hyper["level"] for hyper in SERIES[name].strengths(4, (100, 1))]
    high = SERIES[name].space["level"].high
    shares = (np.arange(4) + 0.5) / 4
    expected = high**shares if name in FACTORS else high * shares
    np.testing.assert_allclose(levels, expected, rtol=1e-6)


def test_segments_under_two_points_are_refused():
    entry = SERIES["mean_shift"]
    with pytest.raises(
        InputError, match=r"^mean_shift: length=0.03 is under 2 points of 50; take "
    ):
        entry.check("mean_shift", {"length": 0.03}, (50, 1))
    entry.check("mean_shift", {"length": 0.04}, (50, 1))
    assert entry.visible((50, 1))["length"].low == pytest.approx(0.04)
    assert entry.visible((50, 1))["level"].low == -4.0
    lengths = [hyper["length"] for hyper in SERIES["reversal"].strengths(3, (50, 1))]
    assert min(lengths) > 0.04


def test_single_channels_have_nothing_to_swap():
    assert SERIES["channel_swap"].lacks((50, 1)) == "series of several channels"
    assert SERIES["channel_swap"].lacks((50, 2)) == SERIES["reversal"].lacks((50, 1)) == ""
    with pytest.raises(InputError, match="^channel_swap needs series of several channels, these"):
        SERIES["channel_swap"].check("channel_swap", {}, (50, 1))


# ---- draws ----


@pytest.mark.parametrize("name", CONTINUOUS)
def test_segments_lie_anywhere_and_have_the_lengths_asked_for(name, key):
    drawn = segments(name, key, length=0.1, length_spread=2.0)
    share = np.asarray(drawn.length) / 200
    assert uniform(np.log2(share / 0.1), -1.0, 1.0)
    assert uniform((drawn.start + 0.5) / (200 - drawn.length), 0.0, 1.0)


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("length", [0.01, 1.0])
def test_segments_have_two_points_at_least_and_lie_inside(name, length, key):
    drawn = segments(name, key, length=length, length_spread=4.0)
    assert (drawn.length >= 2.0).all() and (drawn.length <= 200.0).all()
    assert (drawn.start >= -0.5 - 1e-5).all()
    assert (drawn.start + drawn.length <= 199.5 + 1e-3).all()
    assert (drawn.length == (2.0 if length < 0.1 else 200.0)).any()


@pytest.mark.parametrize("name", SIGNED + FACTORS)
def test_levels_are_spread_and_take_both_signs(name, key):
    drawn = draws(name, key, level=0.5, level_spread=2.0).level
    size = np.asarray(np.abs(np.log(drawn / 1.0)) if name in FACTORS else np.abs(drawn))
    one_way = np.asarray(drawn < 1.0) if name in FACTORS else np.asarray(drawn > 0)
    octaves = size / np.log(2) - 1 if name in FACTORS else np.log2(size / 0.5)
    assert uniform(octaves, -1.0, 1.0)
    assert scipy.stats.binomtest(int(one_way.sum()), 600, 0.5).pvalue > 0.01
    for flip, sign in ((0.0, 1), (1.0, -1)):
        alone = draws(name, key, level=0.5, level_spread=1.2, flip=flip).level
        assert (sign * (np.log(alone) * -1 if name in FACTORS else alone) > 0).all()


@pytest.mark.parametrize("name", [name for name in CONTINUOUS if name != "channel_swap"])
def test_one_channel_takes_part_and_half_of_the_others(name, key):
    taken = np.asarray(segments(name, key).channels)
    assert set(np.unique(taken)) == {0.0, 1.0} and taken.sum(1).min() == 1.0
    np.testing.assert_allclose(taken.mean(0), 1 / 4 + 3 / 4 / 2, atol=0.08)


def test_sources_lie_inside_and_anywhere(key):
    drawn = draws("segment_cutpaste", key, length_spread=1.0)
    start = np.asarray(drawn.segment.start + drawn.what)
    assert start.min() >= -1.0 and (start + 40).max() <= 200.0
    assert uniform((start + 0.5) / 160, 0.0, 1.0)


def test_the_only_channel_takes_part(key):
    taken = draws("platform", key, 20, (200, 1)).segment.channels
    np.testing.assert_array_equal(taken, np.ones((20, 1)))


def test_all_pairs_of_channels_are_swapped(key):
    orders = np.asarray(draws("channel_swap", key, 300, (200, 3)).what)
    pairs, counts = np.unique(orders, axis=0, return_counts=True)
    np.testing.assert_array_equal(pairs, [[0, 2, 1], [1, 0, 2], [2, 1, 0]])
    assert counts.min() > 70


def test_noise_has_its_spread(key):
    noise = np.asarray(draws("series_noise", key, 5, std=0.3).what)
    assert scipy.stats.kstest(noise.ravel(), "norm", (0.0, 0.3)).pvalue > 0.01


# ---- gradients ----


@functools.cache
def valued(name):
    """A smooth function of the hyperparameters for each of 6 draws, and its derivatives."""
    entry, samples = SERIES[name], (wave(0).astype(float), wave(4).astype(float))
    weights = np.random.default_rng(5).uniform(0.0, 1.0, (T, 3))

    def value(hyper, key):
        out, _ = entry.random(key, hyper, *map(jnp.asarray, samples))
        return (weights * out).sum() + 0.1 * (out**2).sum()

    many = jax.vmap(value, (None, 0))
    return jax.jit(many), jax.jit(jax.jacfwd(many))


@pytest.mark.catalogue
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_finite_differences(name, key, float64, nans_raise):
    value, derivatives = valued(name)
    keys, hyper = jax.random.split(key, 6), dict(SERIES[name].example)
    found, step = derivatives(hyper, keys), 1e-6
    for field, one in SERIES[name].space.items():
        if not one.gradient:
            np.testing.assert_array_equal(found[field], 0.0)
            continue
        up, down = (value({**hyper, field: hyper[field] + s}, keys) for s in (step, -step))
        np.testing.assert_allclose(found[field], (up - down) / (2 * step), rtol=1e-4, atol=1e-6)
        assert np.abs(found[field]).max() > 1e-3


@pytest.mark.parametrize("name", ["mean_shift", "frequency", "time_warp", "reversal"])
def test_the_gradient_sees_the_place_move(name, float64):
    weights = np.random.default_rng(5).uniform(0.0, 1.0, (T, 3))

    def value(start):
        segment = Segment(start, jnp.asarray(8.3), jnp.asarray(0.7), jnp.ones(3))
        drawn = segment if name == "reversal" else Levelled(segment, jnp.asarray(1.3))
        return (weights * getattr(kernels, name)(jnp.asarray(wave(), float), drawn)[0]).sum()

    found, step = jax.grad(value)(6.21), 1e-6
    assert abs(found) > 1e-3
    np.testing.assert_allclose(
        found, (value(6.21 + step) - value(6.21 - step)) / (2 * step), rtol=1e-5
    )


@pytest.mark.catalogue
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_at_the_bounds_and_to_the_sample(name, key, nans_raise):
    def value(hyper, key, sample):
        return (SERIES[name].random(key, hyper, sample, sample)[0] ** 2).sum()

    gradient = jax.jit(jax.vmap(jax.grad(value, (0, 2)), (None, 0, None)))
    for sample in (wave(), np.zeros((T, 3), np.float32)):
        for hyper in settings(name):
            chex.assert_tree_all_finite(gradient(hyper, jax.random.split(key, 4), sample))


def test_a_level_of_known_sign_follows_its_gradient(key):
    """With `flip` 0 a descent goes through 0 to the level that made the other samples."""
    entry, keys = SERIES["mean_shift"], jax.random.split(key, 16)
    fixed = {**entry.defaults(), "level_spread": 1.0, "flip": 0.0}

    def made(level):
        def one(k):
            return entry.random(k, {**fixed, "level": level}, jnp.zeros((T, 1)), jnp.zeros((T, 1)))

        return jax.vmap(one)(keys)[0]

    goal, level = made(-1.5), jnp.float32(2.0)
    slope = jax.jit(jax.grad(lambda level: ((made(level) - goal) ** 2).sum(1).mean()))
    for _ in range(100):
        level -= 0.05 * slope(level)
    np.testing.assert_allclose(level, -1.5, atol=0.01)
