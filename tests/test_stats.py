"""Figures with their intervals, and what turns members into settings, against slow twins."""

import numpy as np
import pytest

from ad_jax.base import stats
from ad_jax.base.stats import Estimate
from ad_jax.evaluate import pools
from ad_jax.evaluate.comparison import gain_over_tasks, mean_over_tasks
from ad_jax.evaluate.unlabelled_set import disjoint_halves, judge_of, sizes_at
from ad_jax.pool import Pool


def test_estimates_over_draws_are_mean_and_quantiles():
    values = np.random.default_rng(0).normal(size=41)
    low, high = np.sort(values)[[1, 39]]  # of 41 draws these are the 2.5 and 97.5 % quantiles
    np.testing.assert_allclose(stats.over_draws(values), (values.mean(), low, high))
    assert np.isnan(stats.over_draws(np.array([]))).all()


def test_means_over_what_is_usable():
    values = np.array([[1.0, 3.0, np.nan], [5.0, 7.0, 9.0]])
    usable = np.array([[True, True, False], [False, False, False]])
    got = stats.mean_where(values, usable)
    assert got[0] == 2.0 and np.isnan(got[1])


def test_means_over_tasks_leave_out_what_is_not_known():
    one = mean_over_tasks([0.2, np.nan, 0.4, 0.6], ["a", "a", "b", "c"])
    assert one.value == pytest.approx(0.4) and 0.2 <= one.low <= one.value <= one.high <= 0.6
    assert np.isnan(mean_over_tasks([0.2, 0.4], ["a", "b"]).low)  # two training sets
    assert np.isnan(mean_over_tasks([np.nan], ["a"]).value)


class _Scope:
    def __init__(self, random, oracle):
        self.expected_random, self.oracle = random, oracle


def test_the_gain_is_of_sums():
    scopes = [_Scope(0.5, 0.9), _Scope(0.6, 0.7), _Scope(0.5, 0.5)]
    one = gain_over_tasks(scopes, [0.7, 0.7, 0.4], ["a", "b", "c"])
    assert one.value == pytest.approx((0.2 + 0.1 - 0.1) / (0.4 + 0.1))
    nothing = gain_over_tasks(scopes[2:], [0.5], ["c"])
    assert all(np.isnan(nothing)) and isinstance(nothing, Estimate)


def pool_of(seed=0, n=40):
    """Three settings, three, one and two seeds; the second is the best, and labels `[n]`."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 == 0).astype(int)
    names, seeds, shifts = list("aaabcc"), [2, 0, 1, 0, 0, 2], [0.5, 0.5, 0.5, 3.0, 1.0, 1.0]
    scores = generator.normal(size=(6, n)) + np.array(shifts)[:, None] * labels
    return Pool.from_scores(scores, names, generator.normal(size=(6, 30)), seeds), labels


def test_rows_by_setting_and_seed():
    pool, _ = pool_of()
    rows = pools.trained_rows(pool, pool.settings)
    assert rows.tolist() == [[1, 2, 0], [3, -1, -1], [4, -1, 5]]
    values = pools.on_seeds(np.arange(6.0), rows)
    np.testing.assert_array_equal(np.isnan(values), rows < 0)
    np.testing.assert_array_equal(np.nansum(values, 1), [3.0, 3.0, 9.0])


def test_settings_that_tie_share_the_pick():
    auroc = np.array([0.5, 0.7, 0.9, np.nan])
    assert pools.picked(np.array([1.0, 0.0, 2.0, 3.0]), auroc) == 0.7
    assert pools.picked(np.array([0.0, 1.0, 0.0, 0.0]), auroc) == pytest.approx(0.7)
    assert pools.picked(np.full(4, np.inf), auroc) == pytest.approx(0.7)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5])
def test_sets_with_a_share_of_anomalies_are_as_large_as_can_be(share):
    normals, anomalies = sizes_at(share, 90, 12)
    assert normals <= 90 and anomalies <= 12
    assert anomalies == 0 or abs(anomalies / (normals + anomalies) - share) < 0.01
    assert normals == 90 or anomalies == 12


def test_picks_by_a_half_are_judged_on_either():
    """The rule asked on each half by hand, and its pick's AUROC by definition."""
    pool, labels = pool_of()
    judge = judge_of(pool, "auroc_held_out", labels)
    first = np.random.default_rng(1).permuted(np.tile(np.arange(40) < 20, (4, 1)), axis=1)
    first = first[[0 < labels[f].sum() < labels.sum() for f in first]]
    found = disjoint_halves(judge, first)
    members, held_out = pool.own_scores()
    share = lambda a, b: (a[:, None] < b).mean() + (a[:, None] == b).mean() / 2

    def by_setting(values):
        return np.array([np.mean([values[r] for r in pool.rows(s)]) for s in pool.settings])

    seen, unseen = [], []
    for half in [*first, *~first]:
        loss = by_setting([-share(h, s[half]) for h, s in zip(held_out, members)])
        best = np.isclose(loss, loss.min(), rtol=0, atol=1e-12)  # settings that tie share the pick
        for where, out in ((half, seen), (~half, unseen)):
            sides = [members[:, where & (labels == c)] for c in (0, 1)]
            out.append(by_setting([share(a, b) for a, b in zip(*sides)])[best].mean())
    assert found.seen.value == pytest.approx(np.mean(seen))
    assert found.unseen.value == pytest.approx(np.mean(unseen))
    assert found.splits == len(first)
