"""Rows and series through the whole path: select, ensemble, save, heatmaps, controls, estimator."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

import ad_jax
from ad_jax import features, setting
from ad_jax.augment import get
from ad_jax.base.errors import InputError
from ad_jax.base.modality import mask_shape, modality, sides
from ad_jax.pool.drawn import Draws
from ad_jax.pool.program import generate
from ad_jax.selection import search
from ad_jax.train.pretexts import on_features
from ad_jax.train.setting import Config

FAMILIES = ("neighbour/identity", "binary/feature_noise")


def rows(count, generator, shift=0.0):
    """Five columns of which two depend on others and one counts in hundreds."""
    mixed = generator.normal(size=(count, 5)) @ np.array(
        [[1, 0.8, 0, 0, 0], [0, 0.5, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 300]]
    )
    return (mixed + shift * np.array([1, -1, 0, 0, 0])).astype(np.float32)


def series(count, generator, raised=0.0):
    """A wave of any phase and its square, in other units; `raised` in the middle."""
    phase = generator.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(np.arange(40) * 2 * np.pi / 20 + phase)
    wave = wave + 0.1 * generator.normal(size=wave.shape)
    wave[:, 15:25] += raised
    return np.stack([wave, 10 * wave**2], -1).astype(np.float32)


def problem_of(kind):
    generator = np.random.default_rng(0)
    make = rows if kind == "row" else series
    normal, strange = make(40, generator), make(20, generator, 3.0)
    target = np.concatenate([normal, strange])
    labels = {one.tobytes(): i >= 40 for i, one in enumerate(target)}
    problem = ad_jax.Problem(train=make(120, generator), target=target, series=kind == "series")
    return problem, np.array([labels[one.tobytes()] for one in problem.target])


@pytest.fixture(scope="module", params=["row", "series"])
def chosen(request):
    problem, labels = problem_of(request.param)
    backbone = search.backbone_for(problem.shape)
    settings = search.grid(problem.shape, families=FAMILIES, strengths=2)
    config = Config(60, 32, backbone)
    return problem, labels, ad_jax.select(problem, settings=settings, seeds=2, config=config)


def test_the_shape_says_what_a_sample_is():
    assert [modality(s) for s in ((3, 4, 1), (3, 4), (3,))] == ["image", "series", "row"]
    assert [mask_shape(s) for s in ((3, 4, 1), (3, 4), (3,))] == [(3, 4), (3,), (3,)]
    assert [sides(s) for s in ((3, 4, 1), (3, 4), (3,))] == [(3, 4), (3, 1), (3, 1)]


def test_anomalies_are_found_without_labels(chosen):
    problem, labels, selection = chosen
    assert roc_auc_score(labels, selection.ensemble.decision_function(problem.target)) > 0.97
    assert roc_auc_score(labels, selection.detector.decision_function(problem.target)) > 0.97


def test_saved_and_loaded_scores_are_equal(chosen, tmp_path):
    problem, _, selection = chosen
    for name, one in (("pick", selection.detector), ("all", selection.ensemble)):
        one.save(tmp_path / name)
        again = type(one).load(tmp_path / name)
        np.testing.assert_array_equal(
            again.decision_function(problem.target), one.decision_function(problem.target)
        )
    flat = problem.target[..., 0]
    with pytest.raises(InputError, match="the detector takes"):
        selection.detector.decision_function(flat)


def test_heatmaps_tell_when_a_series_is_strange_and_rows_have_none(chosen):
    problem, labels, selection = chosen
    if modality(problem.shape) == "row":
        with pytest.raises(InputError, match="of images .* and of series"):
            selection.detector.fit_localiser(problem, "head")
        return
    selection.ensemble.fit_localiser(problem, "head")
    heat = selection.ensemble.heatmaps(problem.target[labels])
    assert heat.shape == (labels.sum(), 40)
    inside = heat[:, 15:25].mean()
    assert inside > heat[:, :10].mean() + 1.0 and inside > heat[:, 30:].mean() + 1.0


def test_an_estimator_takes_series_if_told(tmp_path):
    problem, labels = problem_of("series")
    one = setting("neighbour", "identity")
    detector = ad_jax.Detector(one, seeds=2, steps=1, series=True).fit(problem.train)
    assert roc_auc_score(labels, detector.decision_function(problem.target)) > 0.97
    detector.save(tmp_path / "detector")
    assert ad_jax.Detector.load(tmp_path / "detector").series
    with pytest.raises(InputError, match="scale them to"):  # as images they are out of range
        ad_jax.Detector(one, seeds=2, steps=1).fit(problem.train)


def slow_neighbour(train, target):
    mean, spread = train.mean(0), train.std(0)
    near = NearestNeighbors(n_neighbors=1).fit((train - mean) / spread)
    return near.kneighbors((target - mean) / spread)[0][:, 0]


def test_controls_are_what_scikit_learn_says(chosen):
    problem, _, selection = chosen
    pool = selection.pool
    names = {c.augmentation: pool.rows(c)[0] for c in pool.controls()}
    train = problem.split(0).train.reshape(len(problem.split(0).train), -1)
    target = problem.target.reshape(len(problem.target), -1)
    own = pool.own_scores()[0]
    prefix = "" if modality(problem.shape) == "row" else "window_"
    np.testing.assert_allclose(
        own[names[f"{prefix}nearest_neighbour"]], slow_neighbour(train, target), rtol=2e-3
    )
    mean, spread = train.mean(0), train.std(0)
    forest = IsolationForest(random_state=0).fit((train - mean) / spread)
    found = own[names[f"{prefix}isolation_forest"]]
    slow = -forest.score_samples((target - mean) / spread)
    assert np.corrcoef(found, slow)[0, 1] > 0.999
    if not prefix:
        factor = LocalOutlierFactor(20, novelty=True).fit((train - mean) / spread)
        slow = -factor.score_samples((target - mean) / spread)
        np.testing.assert_allclose(own[names["local_outlier_factor"]], slow, rtol=1e-3)
        return
    mean, spread = problem.split(0).train.mean((0, 1)), problem.split(0).train.std((0, 1))
    steps = np.abs(np.diff((problem.target - mean) / spread, axis=1)).max((1, 2))
    np.testing.assert_allclose(own[names["difference"]], steps, rtol=1e-4)


def slow_multiscale(window):
    """One channel `[t]` -> `[t, 20]`, point by point."""
    count, out = len(window), []

    def local(values, size, at):
        left = size // 2
        places = np.clip(np.arange(at - left, at - left + size), 0, count - 1)
        return values[places].mean()

    for at in range(count):
        numbers = [window[at]]
        for size in (1, 2, 4, 8, 16):
            level = np.array([local(window, size, i) for i in range(count)])
            ahead = level[at + size] if at + size < count else level[at]
            behind = level[at - size] if at >= size else level[at]
            numbers += [
                level[at] - window.mean(),
                ahead - behind,
                ahead + behind - 2 * level[at],
            ]
            if size > 1:
                numbers.append(local(np.abs(window - level), size, at))
        out.append(numbers)
    return np.array(out)


def test_points_are_seen_at_several_scales():
    window = np.random.default_rng(1).normal(size=(2, 30, 1)).astype(np.float32)
    grid = features.see("multiscale", window)
    assert grid.shape == (2, 30, 1, 20)
    for one, own in zip(window, grid, strict=True):
        np.testing.assert_allclose(own[:, 0], slow_multiscale(one[:, 0]), atol=1e-5)
    np.testing.assert_allclose(features.see("multiscale", 7 * window), 7 * grid, rtol=1e-4)


def test_rows_and_windows_are_one_position():
    samples = np.random.default_rng(1).normal(size=(5, 6, 2)).astype(np.float32)
    grid = features.see("rows", samples)
    np.testing.assert_array_equal(grid, samples.reshape(5, 1, 1, 12))
    with pytest.raises(InputError, match=r"multiscale sees series \[t, c\], these are \(6,\)"):
        features.see("multiscale", samples[..., 0])


def test_large_numbers_are_not_cut():
    samples = np.float32([[1e30], [7e4]])  # float16 ends at 65504
    np.testing.assert_array_equal(features.see("rows", samples).ravel(), samples.ravel())


def test_generated_rows_have_the_normals_mean_and_spread():
    import jax

    normals = np.random.default_rng(0).normal([5.0, -300.0], [1.0, 50.0], (4000, 2))
    made = np.asarray(generate(jax.random.key(0), normals.astype(np.float32), 4000, False))
    np.testing.assert_allclose(made.mean(0), [5.0, -300.0], rtol=0.02)
    np.testing.assert_allclose(made.std(0), [1.0, 50.0], rtol=0.05)


def test_segments_of_series_are_drawn_in_units_of_their_spread():
    """The level of a shift is in spreads, and only its segment's positions are pseudo-anomalies."""
    problem, _ = problem_of("series")
    one = setting("binary", "mean_shift", level=3.0)
    config = Config(1, 8, "multiscale")
    draws = Draws(config, problem, features.Eyes("multiscale"))
    whole = draws._draw(one)
    changed = whole.share[0] > 0.9
    assert 0.02 < changed.mean() < 0.9 and changed.shape == (120, 40, 1)
    plain = features.see("multiscale", draws._normals)
    spread = problem.train.std((0, 1))
    moved = np.abs(whole.grids[0][..., :2] - plain[..., :2])  # the points' own values
    inside = moved[changed].max(0) / spread
    assert np.all(inside > 1.5) and np.all(inside < 12.0)
    assert moved[whole.share[0] == 0].max() < 1e-3 * spread.max()


@pytest.mark.parametrize("shape", [(6,), (20, 2)])
def test_images_operations_say_what_they_need(shape):
    with pytest.raises(InputError, match=r"cutpaste needs images \[h, w, c\]"):
        get("cutpaste").check("cutpaste", get("cutpaste").defaults(), shape)
    assert not get("feature_noise").lacks(shape)
    assert on_features("binary", "feature_noise").classes == 2


@pytest.mark.parametrize("shape", [(6,), (20, 2)])
def test_default_grids_suit_the_modality(shape):
    backbone = search.backbone_for(shape)
    for name in (search.defaults(backbone).families, search.defaults(backbone).wide):
        found = search.grid(shape, families=name)
        assert {s.family for s in found} == set(name)


def test_a_constant_column_keeps_its_unit():
    """As scikit-learn's StandardScaler: neither rounding nor a change in it drowns the others."""
    from sklearn.preprocessing import StandardScaler

    from ad_jax.train.backbones import units_of

    normals = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    normals[:, 1], normals[:, 2] = 1000.3, 0.0
    scaler = StandardScaler().fit(normals.astype(np.float64))
    new = normals[:5] + np.float32(0.5)
    found = np.asarray(units_of(normals)(new))
    np.testing.assert_allclose(found, scaler.transform(new.astype(np.float64)), atol=2e-3)


def test_the_default_of_series_is_their_windows_nearest_neighbour():
    """Half of the prior is its own in a pool of series; pools of images keep feature noise."""
    from ad_jax.pool import Member, Pool, View
    from ad_jax.selection import weights

    def pool(*settings):
        members = tuple(Member(s, 0, "ok", 0.1, 0.9, 0.0) for s in settings)
        scores = np.zeros((len(members), 1, 4), np.float32)
        return Pool(members, View(scores), View(scores), np.zeros(len(members), int))

    windows, noise = setting("global_neighbour", "identity"), setting("binary", "feature_noise")
    of_series = pool(windows, noise, setting("binary", "mean_shift"))
    assert weights.defaults(of_series) == [windows.key]
    assert weights.prior(of_series)[windows.key] > 0.5
    assert weights.defaults(pool(windows, noise, setting("binary", "cutpaste"))) == [noise.key]
    assert search.defaults("multiscale").setting.family == windows.family
