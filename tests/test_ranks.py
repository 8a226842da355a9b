"""Rank statistics against scikit-learn, scipy and their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ad_jax.base import ranks

# Fixed lengths: one compilation for all of hypothesis' examples. Few values: many ties.
LOW, HIGH = (st.lists(st.integers(-3, 3), min_size=n, max_size=n) for n in (11, 7))
compiled = {
    name: jax.jit(getattr(ranks, name))
    for name in ("auroc", "average_precision", "average_ranks", "spearman", "p_values", "surprise")
}


def floats(values):
    return np.asarray(values, np.float32)


def labelled(low, high):
    return np.repeat([0, 1], [len(low), len(high)]), np.concatenate([low, high])


@settings(max_examples=60, deadline=None)
@given(LOW, HIGH)
def test_auroc_and_average_precision_are_sklearns(low, high):
    low, high = floats(low), floats(high)
    labels, scores = labelled(low, high)
    for name, expected in (
        ("auroc", roc_auc_score),
        ("average_precision", average_precision_score),
    ):
        got = compiled[name](low, high)
        np.testing.assert_allclose(got, expected(labels, scores), rtol=1e-5)


@pytest.mark.parametrize(("n", "m", "values"), [(100, 30, 5), (20, 150, 1000)])
def test_auroc_and_average_precision_of_larger_samples(n, m, values):
    rng = np.random.default_rng(n)
    low, high = floats(rng.integers(0, values, n)), floats(rng.integers(0, values, m) + values / 9)
    labels, scores = labelled(low, high)
    got = compiled["auroc"](low, high)
    np.testing.assert_allclose(got, roc_auc_score(labels, scores), rtol=1e-5)
    expected = average_precision_score(labels, scores)
    got = compiled["average_precision"](low, high)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(LOW, LOW)
def test_ranks_and_spearman_are_scipys(x, y):
    np.testing.assert_array_equal(compiled["average_ranks"](floats(x)), scipy.stats.rankdata(x))
    got = compiled["spearman"](floats(x), floats(y))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(got)
    else:
        np.testing.assert_allclose(got, scipy.stats.spearmanr(x, y).statistic, atol=1e-5)


def test_ranks_do_not_depend_on_the_scale():
    rng = np.random.default_rng(0)
    low, high = floats(rng.normal(size=60)), floats(rng.normal(1.0, size=40))
    for name in ("auroc", "average_precision"):
        function = compiled[name]
        np.testing.assert_allclose(function(low, high), function(np.exp(low), np.exp(high)))
    auroc = compiled["auroc"]
    np.testing.assert_allclose(auroc(low, high), 1.0 - auroc(high, low), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(LOW, HIGH)
def test_p_values_by_definition(held_out, scores):
    expected = [(1 + sum(h >= s for h in held_out)) / (11 + 1) for s in scores]
    got = np.asarray(compiled["p_values"](floats(held_out), floats(scores)))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert (got >= 1 / 12 - 1e-7).all() and (got <= 1.0).all()


def test_p_values_of_a_normal_are_uniform(key):
    draws = jax.random.normal(key, (2000, 20))  # 19 held out, one to judge
    p = jax.vmap(lambda x: ranks.p_values(x[:19], x[19:])[0])(draws)
    counts = np.bincount(np.round(np.asarray(p) * 20).astype(int), minlength=21)
    assert counts[0] == 0
    assert scipy.stats.chisquare(counts[1:]).pvalue > 0.01


def test_tail_share_by_definition():
    rng = np.random.default_rng(1)
    held_out, scores = floats(rng.normal(size=50)), floats(rng.normal(1.0, size=80))
    for level in (0.5, 0.9, 0.95):
        expected = (scores > np.quantile(held_out, level)).mean()
        np.testing.assert_allclose(ranks.tail_share(held_out, scores, level), expected, rtol=1e-6)
    assert ranks.tail_share(held_out, floats([held_out.max()] * 3), 1.0) == 0.0  # strictly above


# ---- surprise ----


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("tail", ["normal", "exponential"])
def test_surprise_keeps_the_order_without_ties(tail, scale):
    rng = np.random.default_rng(2)
    held_out = floats(getattr(rng, tail)(size=60) * scale)
    low, high = held_out.min(), held_out.max()
    scores = floats(rng.permutation(np.linspace(low - scale, high + 20 * scale, 150)))
    got = np.asarray(compiled["surprise"](held_out, scores))
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(np.argsort(got), np.argsort(scores))
    assert (np.diff(np.sort(got)) > 0).all()
    beyond = scores > high  # where a plain p-value has only ties
    assert len(np.unique(ranks.p_values(held_out, scores[beyond]))) == 1
    assert len(np.unique(got[beyond])) == beyond.sum() > 100


def test_surprise_lies_between_the_log_p_values_around_it():
    rng = np.random.default_rng(3)
    held_out = floats(rng.normal(size=40))
    inside = floats(np.linspace(held_out.min(), held_out.max(), 99)[1:-1])
    got = np.asarray(compiled["surprise"](held_out, inside))
    above = (held_out[None] > inside[:, None]).sum(1)
    assert (got >= -np.log((above + 1) / 41) - 1e-5).all()  # -log p
    assert (got <= -np.log(above / 41) + 1e-5).all()  # -log p past the next held-out normal


def test_surprise_compares_detectors_of_any_scale():
    rng = np.random.default_rng(4)
    held_out, scores = floats(rng.normal(size=50)), floats(rng.normal(1.0, size=70))
    expected = compiled["surprise"](held_out, scores)
    moved = compiled["surprise"](100.0 * held_out + 5.0, 100.0 * scores + 5.0)
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(LOW, HIGH)
def test_surprise_never_reverses_an_order_under_ties(held_out, scores):
    got = np.asarray(compiled["surprise"](floats(held_out), floats(scores)))
    assert np.isfinite(got).all()
    order = np.argsort(scores)
    assert (np.diff(got[order]) >= 0).all()


def test_rows_of_spearman_and_p_values_equal_those_of_single_samples():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 5, (2, 6, 30)).astype(float)
    y[2] = 1.0  # constant: no correlation
    got = ranks.spearman_rows(x, y)
    assert np.isnan(got[2])
    rows = [i for i in range(6) if i != 2]
    np.testing.assert_allclose(
        got[rows], [scipy.stats.spearmanr(x[i], y[i]).statistic for i in rows], atol=1e-12
    )
    found = ranks.p_values_rows(x, y)
    slow = [[(1 + (a >= v).sum()) / 31 for v in b] for a, b in zip(x, y)]
    np.testing.assert_array_equal(found, slow)


def test_rows_of_surprise_equal_those_of_single_samples():
    rng = np.random.default_rng(4)
    held_out, scores = rng.normal(size=(5, 17)), rng.normal(size=(5, 40)) * 2.0
    held_out[1] = held_out[1].round()  # ties
    found = ranks.surprise_rows(held_out, scores)
    slow = [compiled["surprise"](a, b) for a, b in zip(held_out, scores)]
    np.testing.assert_allclose(found, slow, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("size", [4, 50])
def test_tail_scale_is_the_mean_excess_of_the_top_quarter(size):
    x = np.random.default_rng(size).exponential(2.0, size)
    quarter = np.quantile(x, 0.75)
    slow = (x[x >= quarter] - quarter).mean()
    assert ranks.tail_scale(x) == pytest.approx(max(slow, 0.05 * x.std()))
    assert float(ranks.tail_scale(jnp.float32(x))) == pytest.approx(slow, rel=1e-5)
    assert ranks.tail_scale(np.ones(size)) == 1e-12


@pytest.mark.parametrize(
    "function", [ranks.auroc, ranks.average_precision, ranks.p_values, ranks.surprise]
)
def test_vmap_is_a_loop(function, key):
    low, high = (
        jax.random.normal(key, (3, 20)),
        jax.random.normal(jax.random.fold_in(key, 1), (3, 9)),
    )
    one = jax.jit(function)
    loop = jnp.stack([one(*pair) for pair in zip(low, high, strict=True)])
    np.testing.assert_allclose(jax.jit(jax.vmap(function))(low, high), loop, rtol=1e-5)
