"""Affine views of rows: beside numpy, and told apart on the whole path from select to saving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import ad_jax
from ad_jax import augment
from ad_jax.augment.rows import VIEWS, affine_maps, affine_views
from ad_jax.base.errors import InputError
from ad_jax.selection import search
from ad_jax.train.pretexts import on_features
from ad_jax.train.setting import Config


def test_views_are_affine_and_the_first_is_the_row():
    rows = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    found = np.asarray(jax.jit(jax.vmap(affine_views))(rows))
    assert found.shape == (3, VIEWS, 7)
    np.testing.assert_array_equal(found[:, 0], rows)
    matrices, steps = affine_maps(7)
    for k in range(1, VIEWS):
        for row in range(3):
            expected = [rows[row] @ matrices[k, :, j] + steps[k, j] for j in range(7)]
            np.testing.assert_allclose(found[row, k], expected, atol=1e-5)
    assert len(np.unique(np.round(steps, 5), axis=0)) == VIEWS


def test_maps_keep_the_size_of_rows_in_units_of_their_spread():
    matrices, steps = affine_maps(400)
    assert matrices[1:].std() * 20 == pytest.approx(1, rel=0.01)
    assert steps[1:].std() == pytest.approx(1, rel=0.03)
    rows = np.random.default_rng(0).standard_normal((50, 400)).astype(np.float32)
    moved = np.asarray(jax.vmap(affine_views)(rows))[:, 1:] - steps[1:]
    assert moved.std() == pytest.approx(1, rel=0.03)


def test_the_maps_of_saved_detectors_do_not_change():
    matrices, steps = affine_maps(2)
    np.testing.assert_allclose(
        matrices[1], [[0.677496, 0.662318], [-0.424460, 0.178907]], atol=1e-6
    )
    np.testing.assert_allclose(steps[1], [-0.194297, -0.985058], atol=1e-6)


def test_drawn_is_one_of_the_views(key):
    entry, row = augment.get("affine_views"), jnp.arange(5.0)
    views = np.asarray(affine_views(row))
    drawn = set()
    for one in jax.random.split(key, 60):
        made = entry.pseudo(one, {}, row, row)
        gaps = np.abs(views - np.asarray(made.sample)).max(1)
        drawn.add(int(gaps.argmin()))
        assert gaps.min() < 1e-4 and made.mask.shape == (5,)
    assert 0 not in drawn and len(drawn) > 10


def test_it_takes_rows_alone():
    assert not augment.get("affine_views").lacks((5,))
    assert "row" in augment.get("affine_views").lacks((8, 8, 3))
    with pytest.raises(InputError, match="affine_views needs rows"):
        search.grid((40, 2), families=["prediction/affine_views"])
    assert "prediction/affine_views" in search.ROWS_WIDE
    assert on_features("prediction", "affine_views").classes == VIEWS


def test_shifted_rows_are_found_and_saved(tmp_path):
    """Two columns follow two others, in units of their spread; anomalies leave that plane."""
    rng = np.random.default_rng(0)

    def make(count, shift):
        free = rng.standard_normal((count, 2))
        tied = free @ [[0.8, -0.6], [0.6, 0.8]] + 0.2 * rng.standard_normal((count, 2))
        return np.concatenate([free, tied + shift * np.array([1, -1])], 1).astype(np.float32)

    target = np.concatenate([make(40, 0.0), make(20, 2.0)])
    strange = {one.tobytes() for one in target[40:]}
    problem = ad_jax.Problem(train=make(160, 0.0), target=target)
    labels = [one.tobytes() in strange for one in problem.target]
    settings = search.grid(problem.shape, families=["prediction/affine_views"])
    assert len(settings) == 1
    settings = [one._replace(learning_rate=1e-2) for one in settings]
    found = ad_jax.select(problem, settings, seeds=2, config=Config(200, 32, "rows"))
    scores = found.detector.decision_function(problem.target)
    assert roc_auc_score(labels, scores) > 0.9
    found.detector.save(tmp_path / "detector")
    again = ad_jax.Detector.load(tmp_path / "detector").decision_function(problem.target)
    np.testing.assert_array_equal(again, scores)
