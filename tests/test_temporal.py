"""The network for series: shapes, units, translations, gradients, and both loops from scratch."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import ad_jax
from ad_jax.augment import SERIES
from ad_jax.base.errors import InputError
from ad_jax.selection.search import TEMPORAL, TEMPORAL_WIDE, defaults, grid, setting
from ad_jax.selection.tuning.loop import Plan
from ad_jax.selection.tuning.tuned import TuneSpec
from ad_jax.train.backbones import SMALLEST_LENGTH, temporal
from ad_jax.train.backbones.temporal import enlarge, windows
from ad_jax.train.setting import Config

SHAPES = [(16, 1), (33, 3), (100, 2)]


def samples(shape, n=3, seed=1):
    return np.random.default_rng(seed).normal(size=(n, *shape)).astype(np.float32)


@functools.cache
def built(shape):
    """A small network that classifies and reconstructs, compiled once."""
    network = temporal(shape, 2, 8, True)
    return network, jax.jit(network.init)(jax.random.key(0)), jax.jit(network.apply)


# ---- layers and shapes ----


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("points", [8, 7, 1])
def test_windows_times_kernel_is_a_convolution(points, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, points, 3)).astype(np.float32)
    kernel = rng.normal(size=(5, 3, 4)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (stride,), ((2, 2),), dimension_numbers=("NWC", "WIO", "NWC")
    )
    got = windows(jnp.asarray(x), 5, stride) @ kernel.reshape(-1, 4)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_series_are_doubled_by_repetition():
    x = samples((4, 2))
    np.testing.assert_array_equal(enlarge(x, 7), x.repeat(2, 1)[:, :7])


@pytest.mark.parametrize(
    ("shape", "lengths"), list(zip(SHAPES, [[8, 4], [17, 9, 5], [50, 25, 13, 7, 4]], strict=True))
)
def test_outputs_have_their_documented_shapes(shape, lengths):
    network = temporal(shape, 3, 8, decode=True)
    params = jax.eval_shape(network.init, jax.random.key(0))
    out = jax.eval_shape(network.apply, params, jnp.zeros((2, *shape)))
    widths = [8 * min(2**i, 4) for i in range(len(lengths))]
    assert [stage.shape for stage in out.stages] == [
        (2, length, 1, width) for length, width in zip(lengths, widths, strict=True)
    ]
    assert out.embedding.shape == (2, widths[-1]) and out.logits.shape == (2, 3)
    assert out.reconstruction.shape == (2, *shape)
    assert [one.count(shape[0]) for one in network.cells] == lengths
    assert [one.count(1) for one in network.cells] == [1] * len(lengths)
    alone = temporal(shape, 0, 8, decode=True)
    params = jax.eval_shape(alone.init, jax.random.key(0))
    out = jax.eval_shape(alone.apply, params, jnp.zeros((2, *shape)))
    assert out.logits.shape == (2, 0)
    single = temporal(shape, 2, 8)
    params = jax.eval_shape(single.init, jax.random.key(0))
    assert jax.eval_shape(single.apply, params, jnp.zeros((2, *shape))).reconstruction is None


def test_networks_of_one_key_are_equal_and_samples_do_not_touch():
    network, params, apply = built((33, 3))
    x = samples((33, 3))
    whole = apply(params, x)
    again = apply(jax.jit(network.init)(jax.random.key(0)), x)
    others = apply(params, np.stack([0.0 * x[1], x[1], 9.0 * x[1]]))
    for leaf, same, own in zip(*map(jax.tree.leaves, (whole, again, others)), strict=True):
        np.testing.assert_array_equal(leaf, same)
        np.testing.assert_allclose(leaf[1], own[1], atol=1e-5)
    np.testing.assert_allclose(whole.embedding, whole.stages[-1].mean((1, 2)), atol=1e-6)


def test_networks_lower_for_every_platform():
    network, params, apply = built((16, 1))
    jax.export.export(apply, platforms=("cpu", "cuda", "tpu"))(params, jnp.zeros((2, 16, 1)))


# ---- what it sees ----


def test_series_enter_in_units_of_the_normals_spread_per_channel():
    network, params, _ = built((33, 3))
    normals = samples((33, 3), 20) * [2.0, 5.0, 0.1] + [100.0, -3.0, 0.0]
    fitted = network.fit(params, jnp.asarray(normals, jnp.float32))
    entered = np.asarray(network.enter(fitted, jnp.asarray(normals[:4], jnp.float32)))
    flat = normals.reshape(-1, 3)
    np.testing.assert_allclose(entered, (normals[:4] - flat.mean(0)) / flat.std(0), atol=2e-4)
    assert set(network.fixed) == {"mean", "spread"} == set(fitted) - {"learned"}
    np.testing.assert_array_equal(network.enter(params, normals[:1]), np.float32(normals[:1]))


def test_maps_move_with_the_series():
    network, params, apply = built((100, 2))
    still = np.zeros((1, 100, 2), np.float32)
    still[0, 40:52] = samples((12, 2), 1)[0]
    moved = np.roll(still, 8, axis=1)
    before, after = apply(params, still).stages, apply(params, moved).stages
    for i, steps in ((0, 4), (1, 2), (2, 1)):  # so many positions, at strides of 2, 4, 8
        np.testing.assert_allclose(
            np.roll(before[i], steps, axis=1)[0, 4:-4], after[i][0, 4:-4], atol=2e-5
        )
    assert np.abs(before[0] - after[0]).max() > 0.1


def test_level_and_size_of_a_series_are_seen():
    _, params, apply = built((33, 3))
    x = samples((33, 3), 1)
    embedding = apply(params, np.concatenate([x, x + 3.0, 3.0 * x])).embedding
    assert np.abs(embedding[0] - embedding[1]).max() > 0.05
    assert np.abs(embedding[0] - embedding[2]).max() > 0.05


# ---- gradients ----


def loss(apply, params, x):
    out = apply(params, x)
    classified = jax.nn.logsumexp(out.logits, axis=-1) - out.logits[:, 0]
    return classified.mean() + ((out.reconstruction - x) ** 2).mean()


def test_gradients_reach_every_learned_parameter_and_descend():
    network, params, _ = built((16, 1))

    @jax.jit
    def descend(learned, x):
        def of(learned):
            return loss(network.apply, {**params, "learned": learned}, x)

        value, gradient = jax.value_and_grad(of)(learned)
        return jax.tree.map(lambda p, g: p - 0.02 * g, learned, gradient), value, gradient

    learned, x, losses = params["learned"], samples((16, 1)), []
    for _ in range(3):
        learned, value, gradient = descend(learned, x)
        losses.append(float(value))
        assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient))
    assert losses[2] < losses[1] < losses[0]


def test_second_derivatives_are_finite(nans_raise):
    """Also for series without any change, whose variance is 0."""
    network, params, _ = built((16, 1))

    @jax.jit
    def curved(x):
        def steep(params, x):
            slope = jax.grad(lambda p: loss(network.apply, p, x))(params)
            return sum((leaf**2).sum() for leaf in jax.tree.leaves(slope))

        return jax.grad(steep, argnums=(0, 1))(params, x)

    for x in (samples((16, 1)), np.zeros((3, 16, 1), np.float32), np.ones((3, 16, 1), np.float32)):
        found = jax.tree.leaves(curved(x))
        assert all(np.isfinite(leaf).all() for leaf in found)
        assert any(np.abs(leaf).max() > 0 for leaf in found)


# ---- refusals ----


@pytest.mark.parametrize("shape", [(16, 16, 1), (16,), ()])
def test_samples_that_are_no_series_are_refused(shape):
    with pytest.raises(InputError, match=r"^the temporal takes series \[t, c\], got a sample of"):
        temporal(shape, 2)


def test_short_series_are_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"^series of 15 points are shorter [^\n]*16 or more$"):
        temporal((15, 3), 2)
    temporal((SMALLEST_LENGTH, 1), 2)


# ---- both loops from scratch ----


def test_the_default_families_suit_series():
    default = defaults("temporal")
    assert default.config == Config(backbone="temporal") and default.setting.augmentation in SERIES
    assert default.families == TEMPORAL and default.wide == TEMPORAL_WIDE
    settings = default.grid((50, 1))
    assert {one.family for one in settings} == set(TEMPORAL) and len(settings) == 20
    several = grid((50, 2), families=TEMPORAL_WIDE)
    assert {one.augmentation for one in several} == {*SERIES}


def windowed(count, shift, seed, points=32):
    """Noisy waves of an arbitrary unit; `shift` spreads are added to a quarter of each."""
    rng, time = np.random.default_rng(seed), np.arange(points)
    x = np.sin(0.4 * time + rng.uniform(0, 6, (count, 1))) + 0.3 * rng.normal(size=(count, points))
    spread = (0.5 + 0.09) ** 0.5
    for i, first in enumerate(rng.integers(0, points - 8, count)):
        x[i, first : first + 8] += shift * spread
    return (50.0 + 7.0 * x[..., None]).astype(np.float32)


@functools.cache
def shifted(shift=2.5):
    target = np.concatenate([windowed(40, 0.0, 1), windowed(40, shift, 2)])
    return ad_jax.Problem(train=windowed(80, 0.0, 0), target=target, series=True)


def test_a_pool_of_series_is_trained_from_scratch():
    problem = shifted()
    settings = [setting("binary", "mean_shift", level=level) for level in (0.2, 2.0)]
    config = Config(120, 8, "temporal")
    picked = ad_jax.select(problem, settings, seeds=(0, 1), config=config)
    trained = [m for m in picked.pool.members if m.setting.augmentation == "mean_shift"]
    assert [m.status for m in trained if m.setting.hyper["level"] == 2.0] == ["ok", "ok"]
    assert picked.pick.hyper["level"] == 2.0
    seen = np.concatenate([windowed(30, 0.0, 5), windowed(30, 2.5, 6)])
    found = np.asarray(picked.detector.decision_function(seen))
    ahead = (found[30:, None] > found[None, :30]).mean()
    assert ahead > 0.75


@pytest.mark.whole
def test_a_detector_of_series_scores_points_them_out_and_is_saved(tmp_path):
    detector = ad_jax.Detector(
        backbone="temporal", steps=120, width=8, seeds=(0,), localiser="position", series=True
    )
    detector.fit(windowed(80, 0.0, 0))
    seen = np.concatenate([windowed(30, 0.0, 5), windowed(30, 2.5, 6)])
    found = np.asarray(detector.decision_function(seen))
    assert (found[30:, None] > found[None, :30]).mean() > 0.9
    heat = np.asarray(detector.heatmaps(seen)).reshape(60, 32)
    where = np.abs(seen - seen.mean(1, keepdims=True))[30:, :, 0].argmax(1)  # most in the shift
    assert (np.abs(heat[30:].argmax(1) - where) <= 8).mean() > 0.9
    detector.save(tmp_path)
    again = ad_jax.Detector.load(tmp_path).decision_function(seen)
    np.testing.assert_array_equal(again, found)


@pytest.mark.whole
def test_tuning_finds_sign_and_size_of_a_planted_shift():
    """From +1 and -1 spreads; planted are 2.5 in half of the target, in quarters of windows."""
    plan = Plan(
        outer=(("calibrated_dsv_uncapped", 1.0),), outer_steps=25, horizon=4, warm_up=100, batch=32
    )
    tuned = ad_jax.tune(
        shifted(),
        "mean_shift",
        tune=["level"],
        fixed={"flip": 0.0, "length": 0.25, "length_spread": 1.0},
        starts=[{"level": 1.0}, {"level": -1.0}],
        plan=plan,
        seeds=(0,),
        config=Config(120, 8, "temporal"),
    )
    up, down = tuned.descent.starts
    assert up.status == "ok" and tuned.descent.best == 0 and up.loss < down.loss - 0.2
    assert 1.8 < up.end["level"] < 3.5
    assert {m.status for m in tuned.selection.pool.members} >= {"ok"}


def test_a_shift_is_what_series_are_tuned_in_when_nobody_says_what():
    spec = TuneSpec(config=Config(backbone="temporal")).checked()
    space = spec.space((32, 2))
    assert space.augmentation == "mean_shift" and "level" in space.free
    assert space.fixed == {"flip": 0.5} and space.free["length"].low == pytest.approx(2 / 32)
