"""Rules over tasks: regret, shares, Holm and Wilcoxon, against slow twins."""

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata, wilcoxon

from ad_jax.evaluate.audit import Scope
from ad_jax.evaluate.comparison import LABELS, RANDOM, compare, holm, signed_rank_p, smallest_p
from ad_jax.evaluate.pairs import pairwise


def scope(values, pick, other):
    values = [float(v) for v in values]
    return Scope(
        [str(i) for i in range(len(values))],
        values,
        float(np.mean(values)),
        max(values),
        min(values),
        values[0],
        {"ours": values[pick], "dsv_code": values[other]},
        {f"always {i}": v for i, v in enumerate(values)},
        {"ours": -0.5, "dsv_code": 0.25},
    )


@pytest.fixture
def scopes():
    generator = np.random.default_rng(0)
    out = []
    for _ in range(9):
        values = generator.uniform(0.5, 1.0, 4)
        out.append(scope(values, int(values.argmax()), 1))
    return out, [f"set {i // 2}" for i in range(9)]


def test_lines_equal_their_definitions(scopes):
    some, groups = scopes
    constant, lines = compare(some, groups)
    ours, dsv = lines["ours"], lines["dsv_code"]
    assert ours.regret == 0.0 and ours.gain.value == pytest.approx(1.0) and ours.below_random == 0.0
    regrets = [s.oracle - s.picks["dsv_code"] for s in some]
    assert dsv.regret == pytest.approx(np.mean(regrets)) and dsv.worst == pytest.approx(
        max(regrets)
    )
    below = np.mean([s.picks["dsv_code"] < s.expected_random for s in some])
    assert dsv.below_random == pytest.approx(below)
    gains = {
        name: sum(s.constants[name] - s.expected_random for s in some) for name in some[0].constants
    }
    assert constant == max(gains, key=gains.get)
    assert {LABELS, RANDOM, constant} <= set(lines)
    assert ours.spearman.value == pytest.approx(-0.5)
    assert ours.spearman.low == pytest.approx(-0.5) == ours.spearman.high


def test_ranks_share_ties(scopes):
    some, groups = scopes
    _, lines = compare(some, groups)
    names = list(lines)
    table = []
    for s in some:
        by = {**s.picks, LABELS: s.label_pick, RANDOM: s.expected_random, **s.constants}
        table.append([round(by[n], 9) for n in names])
    for i, name in enumerate(names):
        places = [
            1 + sum(v > row[i] for v in row) + (sum(v == row[i] for v in row) - 1) / 2
            for row in table
        ]
        assert lines[name].rank == pytest.approx(np.mean(places))


def test_tests_count_training_sets(scopes):
    some, groups = scopes
    _, lines = compare(some, groups)
    names = sorted(set(groups))
    p = []
    for name in lines:
        by = [
            {**s.picks, LABELS: s.label_pick, RANDOM: s.expected_random, **s.constants}[name]
            - s.expected_random
            for s in some
        ]
        means = [np.mean([v for v, g in zip(by, groups) if g == n]) for n in names]
        p.append(wilcoxon(means).pvalue if np.abs(means).max() > 1e-8 else np.nan)
    for (name, line), adjusted in zip(lines.items(), holm(p)):
        np.testing.assert_allclose(line.against[RANDOM][1], adjusted, err_msg=name)


def test_holm_equals_its_definition():
    p = [0.01, 0.04, float("nan"), 0.03, 0.5]
    known = [0.01, 0.04, 0.03, 0.5]
    for value, adjusted in zip(p, holm(p)):
        if np.isnan(value):
            assert np.isnan(adjusted)
            continue
        ordered = sorted(known)
        steps = [(len(known) - k) * q for k, q in enumerate(ordered) if q <= value]
        assert adjusted == pytest.approx(min(1.0, max(steps)))


def by_enumeration(differences):
    """The same p from all ways to put signs to the ranks."""
    known = np.array([d for d in differences if d != 0])
    ranks = rankdata(np.abs(known))
    below = min(ranks[known > 0].sum(), ranks[known < 0].sum())
    sums = [ranks[list(s)].sum() for s in itertools.product([False, True], repeat=len(known))]
    return min(1.0, 2 * np.mean(np.array(sums) <= below + 1e-9))


@pytest.mark.parametrize("seed", range(12))
def test_the_signed_rank_test_is_exact_with_zeros_and_ties(seed):
    generator = np.random.default_rng(seed)
    differences = generator.integers(-3, 5, generator.integers(3, 14)) / 8
    differences = np.r_[differences, np.zeros(generator.integers(0, 20)), 0.25]
    assert signed_rank_p(differences) == pytest.approx(by_enumeration(differences))


@pytest.mark.parametrize("count", [3, 8, 40])
def test_without_zeros_and_ties_the_test_is_scipys(count):
    differences = np.random.default_rng(count).normal(0.2, 1.0, count)
    expected = wilcoxon(differences, method="exact").pvalue
    assert signed_rank_p(differences) == pytest.approx(expected)


@pytest.mark.parametrize(("sets", "differing"), [(25, 5), (14, 4), (30, 1)])
def test_no_p_is_below_the_smallest_where_most_sets_tie(sets, differing):
    differences = np.r_[0.01 * np.arange(1, differing + 1), np.zeros(sets - differing)]
    assert signed_rank_p(differences) == pytest.approx(smallest_p(differing)) == 2 / 2**differing


def test_differences_that_rounding_left_are_zeros():
    tiny = (0.1 + 0.2) - 0.3
    assert tiny != 0
    assert np.isnan(signed_rank_p(np.array([tiny, -tiny, 0.0])))
    assert signed_rank_p(np.array([tiny] * 20 + [0.1, 0.2, 0.3 - 0.2])) == 0.25


def test_a_difference_that_is_not_known_leaves_no_p():
    assert np.isnan(signed_rank_p(np.array([0.1, np.nan, 0.2])))


def test_rules_that_agree_on_most_sets_get_the_exact_p():
    """25 training sets, 5 of them where the two rules differ, all one way."""
    some = [scope([0.9 - 0.01 * i, 0.5, 0.6], 0, 0 if i >= 5 else 1) for i in range(25)]
    groups = [f"set {i:02d}" for i in range(25)]
    _, lines = compare(some, groups, ("dsv_code",))
    ours, others = lines["ours"], len(lines) - 1
    assert ours.differing["dsv_code"] == 5
    assert ours.against["dsv_code"][1] >= 0.0625
    known = [line.against["dsv_code"][1] for line in lines.values()]
    assert others and np.isnan(lines["dsv_code"].against["dsv_code"][1]) and np.nanmin(known) > 0
    found = pairwise(
        {"ours": [s.picks["ours"] for s in some], "dsv": [s.picks["dsv_code"] for s in some]},
        groups,
    )
    assert found.pairs["ours", "dsv"].p == pytest.approx(0.0625) == found.smallest_p


def test_the_smallest_p_is_wilcoxons():
    for count in (3, 5, 8):
        assert smallest_p(count) == pytest.approx(wilcoxon(np.arange(1.0, count + 1)).pvalue)


def test_few_training_sets_have_no_interval(scopes):
    some, _ = scopes
    _, lines = compare(some[:2], ["a", "b"])
    assert np.isnan(lines["ours"].gain.low) and np.isnan(lines["ours"].against[RANDOM][1])
