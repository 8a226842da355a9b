"""Anomaly scores against scikit-learn and float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.covariance
from sklearn.decomposition import PCA
from sklearn.neighbors import KernelDensity, NearestNeighbors

from ad_jax.detect.scores import SCORES, fit_kernels, fit_subspace, ledoit_wolf, score_neighbour

SIZES = [(120, 6), (30, 30), (12, 40), (3, 5)]


def normals(n, d, seed=0):
    """Correlated columns of unequal spread, away from the origin."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(d, d)) * np.geomspace(1.0, 0.1, d)
    return (rng.normal(size=(n, d)) @ mixing / np.sqrt(d) + 2.0).astype(np.float32)


def others(d, n=25):
    return (normals(n, d, seed=1) + np.linspace(0.0, 2.0, n)[:, None]).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_ledoit_wolf_is_sklearns(n, d):
    covariance, shrinkage = sklearn.covariance.ledoit_wolf(normals(n, d).astype(np.float64))
    got = jax.jit(ledoit_wolf)(normals(n, d))
    np.testing.assert_allclose(got[0], covariance, atol=2e-5 * np.trace(covariance) / d, rtol=1e-4)
    np.testing.assert_allclose(got[1], shrinkage, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_density_is_mahalanobis(n, d):
    x, y = normals(n, d).astype(np.float64), others(d).astype(np.float64)
    covariance, _ = sklearn.covariance.ledoit_wolf(x)
    offset = y - x.mean(0)
    expected = np.sqrt((offset @ np.linalg.inv(covariance) * offset).sum(1))
    fit, score = SCORES["density"]
    got = jax.jit(lambda x, y: score(fit(x), y))(x.astype(np.float32), y.astype(np.float32))
    np.testing.assert_allclose(got, expected, rtol=2e-3)


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_density_does_not_depend_on_the_unit(unit):
    fit, score = SCORES["density"]
    both = jax.jit(lambda x, y: score(fit(x), y))
    expected = both(normals(30, 30), others(30))
    got = both(unit * normals(30, 30), unit * others(30))
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_neighbour_is_sklearns(n, d):
    expected = NearestNeighbors(n_neighbors=1).fit(normals(n, d)).kneighbors(others(d))[0][:, 0]
    fit, score = SCORES["neighbour"]
    np.testing.assert_allclose(score(fit(normals(n, d)), others(d)), expected, rtol=1e-3, atol=1e-3)


def test_neighbours_of_more_rows_than_a_block():
    x, y = normals(7, 3), others(3, 520)
    expected = np.sqrt(((y[:, None] - x[None]) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(score_neighbour(x, y), expected, atol=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_subspace_is_sklearns_pca(n, d, share):
    x, y = normals(n, d).astype(np.float64), others(d).astype(np.float64)
    model = PCA(n_components=share, svd_solver="full").fit(x)
    expected = np.linalg.norm(y - model.inverse_transform(model.transform(y)), axis=1)
    state = fit_subspace(normals(n, d), share)
    assert (np.abs(state.directions).sum(1) > 0).sum() == model.n_components_
    score = SCORES["subspace"].score
    np.testing.assert_allclose(score(state, others(d)), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("n", "d"), [*SIZES, (300, 96)])
def test_kernel_density_is_sklearns_at_scotts_bandwidth(n, d):
    x, y = normals(n, d).astype(np.float64), others(d).astype(np.float64)
    bandwidth = n ** (-1.0 / (d + 4)) * np.sqrt(x.var(0).mean())
    state = fit_kernels(normals(n, d))
    np.testing.assert_allclose(state.bandwidth, bandwidth, rtol=1e-5)
    # Its "scott" is the same factor for columns of unit spread.
    scott = KernelDensity(bandwidth="scott").fit(x).bandwidth_
    np.testing.assert_allclose(scott * np.sqrt(x.var(0).mean()), bandwidth)
    # One leaf: with several, its running bounds cancel, and d = 96 comes out wrong by hundreds.
    model = KernelDensity(bandwidth=bandwidth, leaf_size=n + 1).fit(x)
    expected = -model.score_samples(y)
    got = SCORES["kernel_density"].score(state, others(d))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.whole
def test_kernel_density_sees_a_hole_that_one_gaussian_does_not():
    angles = jnp.linspace(0.0, 2.0 * jnp.pi, 200)
    ring = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    scores = {n: score(fit(ring), jnp.zeros((1, 2))) for n, (fit, score) in SCORES.items()}
    threshold = {n: score(fit(ring), ring).max() for n, (fit, score) in SCORES.items()}
    assert scores["kernel_density"] > threshold["kernel_density"]
    assert scores["density"] < threshold["density"]


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_another_unit_moves_every_log_density_by_the_same_amount(unit):
    fit, score = SCORES["kernel_density"]
    expected = score(fit(normals(30, 30)), others(30)) + 30 * np.log(unit)
    got = score(fit(unit * normals(30, 30)), unit * others(30))
    np.testing.assert_allclose(got, expected, rtol=1e-3)


@pytest.mark.parametrize("name", SCORES)
def test_strangers_score_higher_and_jit_and_vmap_change_nothing(name):
    fit, score = SCORES[name]
    x = np.stack([normals(50, 8, seed) for seed in range(3)])
    y = np.stack([np.concatenate([normals(10, 8, seed + 9), x[0, :5] + 9.0]) for seed in range(3)])

    def both(x, y):
        return score(fit(x), y)

    jitted = jax.jit(both)
    loop = np.stack([jitted(*pair) for pair in zip(x, y, strict=True)])
    assert (loop[:, 10:].min(1) > loop[:, :10].max(1)).all()
    np.testing.assert_allclose(jax.jit(jax.vmap(both))(x, y), loop, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(both(*map(jnp.asarray, (x[0], y[0]))), loop[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SCORES)
def test_collapsed_embeddings_give_finite_scores(name):
    fit, score = SCORES[name]
    both = jax.jit(lambda x, y: score(fit(x), y))
    for x in (np.zeros((9, 4), np.float32), np.ones((9, 4), np.float32)):
        assert np.isfinite(both(x, others(4))).all()
