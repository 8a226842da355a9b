"""Tuning on frozen features: vectors of hyperparameters, looks at grids, heads that are the end."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ad_jax
from ad_jax import Config, augment, cli, features
from ad_jax.augment.features import over_channels
from ad_jax.base.errors import InputError
from ad_jax.base.space import Range, Space
from ad_jax.detect.detector import FittedDetector
from ad_jax.features import encoders
from ad_jax.report import nearest
from ad_jax.runs import run
from ad_jax.selection import search, tuning
from ad_jax.selection.rules.tails import order_statistic
from ad_jax.selection.tuning import estimators, looks, loop, losses
from ad_jax.train import pretexts
from ad_jax.train.backbones import patch_head
from ad_jax.train.setting import Setting, describe, of_cell
from ad_jax.train.trainer import seed_keys

GRID = (4, 5, 6)  # of the small grids here
CONFIG = Config(steps=6, width=8, backbone="tiny", most_loss=9.0, least_auroc=0.0)
PLAN = tuning.ON_FEATURES._replace(outer_steps=3, horizon=2, warm_up=4, batch=8)


# ---- vectors ----


def box():
    one = Range(0.8, 0.05, 5.0, "log", "spread", True, "")
    return Space(std=one._replace(size=3), weight=one._replace(default=0.5))


def test_a_vector_takes_its_places_in_the_box():
    space = box()
    assert space.size == 4 and space.labels == ("std[0]", "std[1]", "std[2]", "weight")
    assert space.defaults() == {"std": (0.8, 0.8, 0.8), "weight": 0.5}
    values = {"std": (0.1, 1.0, 4.0), "weight": 2.0}
    assert space.numbers(values) == [0.1, 1.0, 4.0, 2.0]
    unpacked = space.unpack(space.pack(values, 7))
    np.testing.assert_allclose(unpacked["std"], values["std"], rtol=1e-6)
    assert unpacked["weight"].shape == () and float(unpacked["weight"]) == 2.0
    back = space.constrain(jnp.asarray(space.unconstrain(values)))
    np.testing.assert_allclose(back["std"], values["std"], rtol=1e-3)
    assert space.clip({"std": np.array([9.0, 1.0, 0.0]), "weight": 1.0}) == {
        "std": (5.0, 1.0, 0.05),
        "weight": 1.0,
    }
    drawn = space.sample(np.random.default_rng(0))
    assert len(set(drawn["std"])) == 3
    on_grid = [one["std"] for one in space.grid("std", 2)]
    np.testing.assert_allclose(on_grid, [[0.1581] * 3, [1.5811] * 3], rtol=1e-3)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"std": (1.0, 2.0)}, "std takes 3 numbers, got 2"),
        ({"std": 1.0}, "std takes 3 numbers, got 1"),
        ({"weight": (1.0,)}, "weight takes one number, got 1"),
        ({"std": (1.0, 9.0, 1.0)}, "std=9.0 is out of range; take 0.05 to 5.0"),
    ],
)
def test_what_is_no_such_vector_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        box().check("box", values)


def test_bands_are_neighbours_of_like_width():
    np.testing.assert_array_equal(over_channels(jnp.array([1.0, 2.0]), 5), [1, 1, 1, 2, 2])
    np.testing.assert_array_equal(over_channels(jnp.float32(3.0), 2), [3, 3])
    assert augment.of_features("feature_noise:8") and augment.of_features("identity")
    assert not augment.of_features("feature_noise+scar")
    with pytest.raises(InputError, match="no number of bands; take feature_noise:8"):
        augment.get("feature_noise:many")
    with pytest.raises(InputError, match="scar has no bands of channels"):
        augment.get("scar:3")


def test_equal_numbers_for_all_channels_are_one_number(key):
    sample = jax.random.normal(key, GRID)
    plain = augment.get("feature_noise").pseudo(key, {"std": jnp.float32(0.7)}, sample, sample)
    for bands in (1, 4, 6):
        hyper = {"std": jnp.full(bands, 0.7)}
        found = augment.get(f"feature_noise:{bands}").pseudo(key, hyper, sample, sample)
        np.testing.assert_array_equal(found.sample, plain.sample)


def test_a_shift_has_a_step_for_every_band(key):
    sample = jnp.zeros((40, 40, 4))
    hyper = {"step": jnp.array([3.0, 0.5]), "chance": jnp.float32(0.5)}
    made = np.asarray(augment.get("feature_shift:2").pseudo(key, hyper, sample, sample).sample)
    assert set(np.unique(abs(made[..., :2]))) == {0.0, 3.0}
    assert set(np.unique(abs(made[..., 2:]))) == {0.0, 0.5}


def test_a_step_moves_half_of_the_positions(key):
    sample = jnp.zeros((40, 40, 2))
    hyper = {"step": jnp.array([3.0, 0.0]), "std": jnp.float32(0.05)}
    found = augment.get("feature_step:2").pseudo(key, hyper, sample, sample).sample
    moved = np.abs(np.asarray(found[..., 0])) > 1.5
    assert 0.4 < moved.mean() < 0.6
    assert np.abs(found[..., 1]).max() < 0.5


def test_vectors_survive_tables_and_files():
    one = Setting("binary", "feature_noise:2", {"std": np.array([0.1, 1 / 3])}).checked()
    assert one.hyper == {"std": (0.1, 1 / 3)}
    assert of_cell(describe(one)["hyper.std"]) == one.hyper["std"]
    assert of_cell(describe(one._replace(hyper={"std": (0.1,)}))["hyper.std"]) == (0.1,)
    assert of_cell("0.25") == 0.25
    assert one.label == "binary/feature_noise:2 0.217"  # by the mean
    again = Setting(**{**one._asdict(), "hyper": {"std": list(one.hyper["std"])}})
    assert again.key == one.key  # lists, as JSON has them


def test_a_number_for_every_channel_is_counted():
    space = tuning.make_space("feature_noise:channel", GRID)
    assert space.augmentation == "feature_noise:6" and space.size == 6
    assert space.names[-1] == "std[5]" and space.bounds()[0]["size"] == 6
    with pytest.raises(InputError, match="std=9.0 is out of range"):
        tuning.space.unconstrain(space, {"std": (9.0,) * 6})


# ---- looks at grids ----


def tuner_on_grids(augmentation="feature_noise:channel", **choices):
    generator = np.random.default_rng(0)
    train, held_out, target = (generator.normal(size=(n, *GRID)) for n in (9, 5, 7))
    target[:3, :2, :2] += 2.0
    data = loop.Data(*(jnp.asarray(x, jnp.float16) for x in (train, held_out, target)))
    space = tuning.make_space(augmentation, GRID, training=search.FROZEN_TRAINING)
    pretext = pretexts.on_features("binary", space.augmentation)
    backbone = patch_head(GRID, 2, 8)
    plan = PLAN._replace(**choices)
    return space, loop.make_tuner(backbone, space, plan, pretext), backbone, pretext, data


def test_a_look_at_grids_sees_samples_as_a_detector_does():
    """By their strangest positions, with the same gradient as if all had been seen."""
    space, _, backbone, pretext, data = tuner_on_grids()
    look = looks.make_position_look(backbone, pretext, space, 64)
    params = backbone.fit(backbone.init(jax.random.key(1)), data.train)
    theta, key = jnp.zeros(space.size), jax.random.key(2)
    rows = jax.random.randint(jax.random.split(jax.random.split(key)[0], 3)[2], (64,), 0, 7)
    shown = backbone.enter(params, data.target[rows])

    def by_look(params):
        return look(params, theta, key, data).odds_target

    def whole(params):
        return pretext.strangeness(backbone.apply(params, shown), shown)

    np.testing.assert_allclose(by_look(params), whole(params), rtol=1e-5, atol=1e-6)
    slopes = [
        jax.grad(lambda p, f=f: (f(p) ** 2).sum())(params)["learned"] for f in (by_look, whole)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *slopes)


@pytest.mark.parametrize("name", ["feature_noise:channel", "feature_step:3"])
def test_hypergradients_of_vectors_equal_float64_differences(float64, name):
    space, tuner, _, _, data = tuner_on_grids(name, outer=(("held_out_auroc", 1.0),))
    keys, hyper = seed_keys(0, 0), loop.training(space)
    hyper = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), hyper)._replace(family=hyper.family)
    theta = jnp.asarray(np.random.default_rng(0).normal(0, 0.3, space.size))
    outer = tuner.init(keys, hyper, theta, data)
    inner = jax.tree.map(
        lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, outer.inner
    )
    one = tuner.problem(keys, hyper, data, jnp.int32(0))
    found = jax.jit(lambda s, t: estimators.unrolled(one, s, t, 3).gradient)(inner, theta)
    loss = jax.jit(lambda s, t: one.outer(estimators.train(one, s, t, 3), t)[0])
    width = 1e-4
    moves = np.eye(space.size) * width
    slopes = [(loss(inner, theta + m) - loss(inner, theta - m)) / (2 * width) for m in moves]
    assert (np.abs(found) > 0).all()
    np.testing.assert_allclose(found, slopes, rtol=2e-2, atol=2e-7)


def test_a_strong_prior_holds_theta_at_its_start():
    moved = {}
    for prior in (0.0, 1e6):
        space, tuner, _, _, data = tuner_on_grids(prior=prior, outer=(("held_out_auroc", 1.0),))
        keys, hyper, theta = seed_keys(0, 0), loop.training(space), jnp.zeros(space.size)
        outer = jax.jit(tuner.init)(keys, hyper, theta, data)
        assert (float(outer.noise) > 0) == bool(prior)
        step = jax.jit(tuner.step)
        for _ in range(6):
            outer, _ = step(outer, keys, hyper, data)
        moved[prior] = np.abs(np.asarray(outer.theta - theta)).max()
    assert moved[1e6] < 0.5 * moved[0.0]


def test_the_network_of_a_tuning_is_the_mean_over_its_last_third():
    space, tuner, _, _, data = tuner_on_grids(outer_steps=6)
    keys, hyper = seed_keys(0, 0), loop.training(space)
    outer = jax.jit(tuner.init)(keys, hyper, jnp.zeros(space.size), data)
    step, late = jax.jit(tuner.step), []
    for i in range(6):
        outer, _ = step(outer, keys, hyper, data)
        if i >= 4:
            late.append(outer.inner.params)
    mean = jax.tree.map(lambda *p: sum(p) / len(p), *late)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), outer.mean, mean
    )


def test_smooth_order_statistics_are_near_the_exact_ones(float64):
    generator = np.random.default_rng(0)
    held_out, target = generator.normal(size=60), generator.normal(size=40)
    target[:8] += 6.0
    nothing = jnp.zeros((1, 1))
    for order in losses.ORDERS:
        for shown in (target, generator.normal(size=40)):
            odds = (jnp.asarray(shown), jnp.asarray(held_out))
            sets = losses.Embedded(*[nothing] * 5, *odds, jnp.float64(0.0))
            exact = order_statistic(held_out[None], shown[None], order)[0] + 1 / (order + 1)
            found = float(losses.OUTER[f"wilcoxon_{order}"](sets))
            np.testing.assert_allclose(found, -(order + 1) * exact, rtol=0.2)


# ---- through the optimum ----


def test_the_implicit_gradient_is_that_of_the_unrolled_limit(float64):
    generator = np.random.default_rng(0)
    x, y, a, b = (generator.normal(size=s) for s in ((20, 3), 20, (15, 3), 15))

    def objective(w, theta):  # a ridge penalty for every weight
        return ((x @ w - y) ** 2).mean() + (jnp.exp(theta) * w**2).sum()

    def inner(w, theta):
        return w - 0.1 * jax.grad(objective)(w, theta)

    def outer(w, theta):
        return ((a @ w - b) ** 2).mean() + 0.1 * (theta**2).sum(), w

    problem = estimators.Bilevel(inner, outer, objective)
    theta = jnp.array([-0.7, 0.2, -1.5])
    limit = estimators.unrolled(problem, jnp.zeros(3), theta, 400).gradient
    found = estimators.implicit(problem, jnp.zeros(3), theta, 400, damping=0.0)
    np.testing.assert_allclose(found.gradient, limit, rtol=1e-6)
    damped = estimators.implicit(problem, jnp.zeros(3), theta, 400)
    np.testing.assert_allclose(damped.gradient, limit, rtol=1e-2, atol=1e-4)
    with pytest.raises(ValueError, match="needs the objective"):
        estimators.implicit(problem._replace(objective=None), jnp.zeros(3), theta, 1)


def test_a_head_on_random_features_has_an_implicit_gradient(float64):
    """Logistic regression with weight decay on fixed random features: strictly convex."""
    generator = np.random.default_rng(1)
    normals = jnp.asarray(generator.normal(size=(60, 4)))
    noise = jnp.asarray(generator.normal(size=(60, 4)))
    first = jnp.asarray(generator.normal(size=(4, 12)))
    target = jnp.asarray(np.r_[generator.normal(size=(20, 4)), 2 + generator.normal(size=(9, 4))])

    def odds(w, samples):
        return jax.nn.gelu(samples @ first) @ w

    def objective(w, theta):
        augmented = normals + jnp.exp(theta) * noise
        told = (
            jax.nn.softplus(odds(w, normals)).mean() + jax.nn.softplus(-odds(w, augmented)).mean()
        )
        return told + 0.05 * (w**2).sum()

    def outer(w, theta):
        return losses._smooth_order(odds(w, target), odds(w, normals), 7), None

    problem = estimators.Bilevel(
        lambda w, theta: w - 0.3 * jax.grad(objective)(w, theta), outer, objective
    )
    theta = jnp.array([-0.5, 0.0, 0.3, -1.0])
    limit = jax.jit(lambda t: estimators.unrolled(problem, jnp.zeros(12), t, 3000).gradient)(theta)
    found = jax.jit(
        lambda t: estimators.implicit(problem, jnp.zeros(12), t, 3000, 0.0, 60).gradient
    )
    np.testing.assert_allclose(found(theta), limit, rtol=1e-4, atol=1e-5)


# ---- the whole path ----


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    normal = generator.integers(100, 130, (30, 32, 40, 3)).astype(np.uint8)
    strange = normal[20:].copy()
    strange[:5, 8:20, 8:20] = 250
    return ad_jax.Problem(train=normal[:20], target=strange)


@pytest.fixture(scope="module")
def tuned(eyes, problem):
    return tuning.tune(problem, plan=PLAN, seeds=(0, 1), config=CONFIG)


@pytest.mark.whole
def test_tuned_heads_are_the_end(tuned, problem, tmp_path):
    """One of every seed beside the default, trained as long; nothing is trained anew."""
    plan_steps = PLAN.warm_up + PLAN.outer_steps * PLAN.horizon
    pool = tuned.selection.pool
    trained = [m for m in pool.members if m.setting.pretext != "control"]
    assert len(trained) == 4 and {m.seed for m in trained} == {0, 1}
    assert len(tuned.descent.starts) == 2 and len(tuned.descent.networks) == 2
    assert tuned.detector.config.steps == plan_steps
    end = next(s for s in pool.settings if "0.8, 0.8" not in s.key)
    assert len(end.hyper["std"]) == features.seen_shape("tiny", problem.shape)[-1]
    rows = pool.rows(end)
    scores = pool.own_scores()[0][rows]
    assert np.isfinite(scores).all() and scores.std() > 0
    tuned.detector.save(tmp_path / "detector")
    again = FittedDetector.load(tmp_path / "detector")
    np.testing.assert_allclose(
        again.decision_function(problem.target), tuned.detector.decision_function(problem.target)
    )


@pytest.mark.whole
def test_the_command_tunes_on_features(eyes, tmp_path, capsys):
    folder = tmp_path / "run"
    command = [
        "tune",
        "digits,normal=3,limit=40,size=32",
        "--backbone",
        "tiny",
        "--out",
        str(folder),
    ]
    options = ["--outer-steps", "2", "--horizon", "2", "--warm-up", "150", "--batch", "8"]
    assert cli.main([*command, *options, "--width", "8", "--seeds", "2", "--prior", "0"]) == 0
    said = capsys.readouterr()
    assert re.search(r"\bstd +0\.8 +\(0\.\d+ to 0\.\d+\)\n", said.out)
    assert run.read(folder).pool.members
    assert (folder / "trajectory.csv").read_text().startswith("start,step,std[0],std[1]")
    assert cli.main(["report", str(folder), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<h4>least anomalous</h4>" in page and "changes features" in page
    assert cli.main([*command, "--starts", "3", "--dry-run"]) == 2
    assert "every seed is a start" in capsys.readouterr().err


@pytest.mark.parametrize("name", [n for n in augment.FEATURES if "dropout" not in n])
def test_what_is_made_has_another_position_as_its_donor(name, monkeypatch, eyes, problem):
    """Mixup, extrapolation and swap of a position with itself would change nothing."""
    looked = []

    def first(made, places):
        looked.append(np.asarray(made))
        return [0] * len(made)

    monkeypatch.setattr(nearest, "_nearest_rows", first)
    hyper = augment.get(name).space.defaults()
    nearest.nearest(problem, "tiny", name, {"made": hyper})
    nearest.nearest(problem, "tiny", "identity", {"as they are": {}})
    made, normals = looked
    assert (made != normals).any(-1).all()


def test_what_is_made_is_shown_where_the_target_is_like_it(eyes, problem, key):
    """The nearest places, and crops around them."""
    assert nearest._spaced(3).tolist() == [0, 1, 2]
    assert len(nearest._spaced(1000)) == nearest.IMAGES and nearest._spaced(1000)[-1] == 999
    made, places = jax.random.normal(key, (3, 4)), jax.random.normal(key, (50, 4))
    apart = ((np.asarray(made)[:, None] - np.asarray(places)[None]) ** 2).sum(-1)
    assert nearest._nearest_rows(made, places) == apart.argmin(1).tolist()
    shape = features.seen_shape("tiny", problem.shape)
    rows, columns = np.mgrid[:32, :40]
    images = np.stack([np.zeros((32, 40)), rows, columns], -1).astype(np.uint8)[None]
    for row in (0, shape[1] + 2, shape[0] * shape[1] - 1):
        crop = 255 * nearest._crop(images, (1, *shape), "tiny", row)
        assert crop.shape == (10, 10, 3)  # .3 of the shorter side
        for axis, at in enumerate(divmod(row, shape[1])):
            side = images.shape[1 + axis]
            cell = features.cells(encoders.get("tiny"), side)
            middle = np.clip(cell.first + cell.stride * at, 5, side - 5)
            assert abs(crop[..., 1 + axis].mean() - middle) <= 1
    hyper = {when: {"std": (std,) * shape[-1]} for when, std in (("before", 0.8), ("after", 3.0))}
    found = nearest.nearest(problem, "tiny", f"feature_noise:{shape[-1]}", hyper)
    assert {when: len(crops) for when, crops in found.items()} == {"before": 7, "after": 7}
    assert all(np.isfinite(crop).all() for crops in found.values() for crop in crops)
