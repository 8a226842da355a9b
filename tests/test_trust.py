"""How far to trust a pick, and the four ways to fail, on pools whose truth is known."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import spearmanr

from ad_jax import rules
from ad_jax.pool import Pool
from ad_jax.signatures import signatures
from ad_jax.trust import RARE, Rows, draw, halves, null, resampled, take, trust

COUNT, REST, SEEDS = 120, 60, 3


def made(strengths, share=0.3, seed=0, seeds=SEEDS, names=None):
    """A pool whose setting i lifts anomalies by `strengths[i]`; all else is noise."""
    generator = np.random.default_rng(seed)
    anomalous = np.arange(COUNT) < share * COUNT
    scores, held_out, settings, numbers = [], [], [], []
    for i, strength in enumerate(strengths):
        for number in range(seeds):
            scores.append(generator.normal(size=COUNT) + strength * anomalous)
            held_out.append(generator.normal(size=REST))
            settings.append((names or [f"s{k}" for k in range(len(strengths))])[i])
            numbers.append(number)
    return Pool.from_scores(np.array(scores), settings, np.array(held_out), numbers)


def judged(pool, rule=rules.DEFAULT):
    per_member = rules.get(rule).loss(pool)
    losses = rules.by_setting(pool, per_member)
    pick = min(pool.settings, key=lambda s: losses[s.key])
    return trust(pool, rule, per_member, losses, pick), pick


def test_a_clear_case_is_trusted():
    found, pick = judged(made([4.0, 1.5, 0.8, 0.0, 0.3], share=0.5))
    assert pick.augmentation == "s0" and found.verdict == "high"
    assert found.null < RARE and found.stability > 0.9 and found.margin > 2


def test_without_anomalies_trust_is_low():
    found, _ = judged(made([0.0] * 5))
    assert found.verdict == "low" and found.null > RARE
    assert any("perhaps no anomalies" in reason for reason in found.reasons)


def test_equal_settings_are_not_highly_trusted():
    found, _ = judged(made([2.0] * 6))
    assert found.null < RARE and found.verdict != "high"
    assert found.stability < 0.8


def test_the_null_holds_its_level():
    """Under the null a p-value below 5 % comes up at most about 5 % of the time."""
    values = [null(made([0.0] * 4, seed=s, seeds=2), permutations=99) for s in range(60)]
    assert np.mean(np.array(values) <= RARE) <= 0.12  # 60 draws: 5 % plus two standard errors
    assert min(values) >= 0.02  # two seeds, 99 permutations: twice the mean of 1 / 100 at least


def test_the_null_equals_a_slow_twin():
    pool = made([1.0, 0.0], seeds=1)
    target, held_out = pool.own_scores()
    generator = np.random.default_rng(5)
    both = np.concatenate([target, held_out], axis=1)

    def highest(rows):
        """Largest sum of Savage scores: of the r-th of n, 1 / n + … + 1 / (n - r + 1)."""
        totals = []
        for line in both:
            total = 0.0
            for value in line[rows]:
                rank = int((line <= value).sum())
                total += sum(1.0 / (len(line) - j) for j in range(rank))
            totals.append(total)
        return max(totals)

    seen = highest(np.arange(COUNT))
    drawn = [
        highest(generator.permutation(COUNT + REST)[:COUNT]) >= seen - 1e-12 for _ in range(49)
    ]
    assert null(pool, 5, 49) == pytest.approx((1 + sum(drawn)) / 50)


def test_the_null_of_one_seed_is_exact_and_of_several_holds():
    """A permutation p-value is uniform on (1 … m) / m, so that half of them are at most 1/2."""
    one = [null(made([0.0] * 3, seed=s, seeds=1), seed=s, permutations=49) for s in range(80)]
    spread = np.sqrt(0.25 / len(one))
    assert abs(np.mean(np.array(one) <= 0.5) - 0.5) < 3.0 * spread


def test_the_null_sees_a_few_anomalies():
    """One target sample in six stands out: AUROC hardly moves, the upper end does."""
    pool = made([0.0, 0.0, 0.0], seeds=2)
    scores = pool.scores.copy()
    scores[..., : COUNT // 6] += 100.0
    assert null(dataclasses.replace(pool, scores=scores)) < RARE
    assert null(pool) > RARE


def test_taking_samples_is_a_pool_of_those_samples():
    pool = made([1.0, 0.5])
    rows, rest = np.array([3, 3, 7, 50, 90]), np.array([0, 5, 5, 9])
    own = dataclasses.replace(
        pool, scores=pool.scores[:, :, rows], held_out_scores=pool.held_out_scores[:, :, rest]
    )
    for name in ("tail_share", "auroc_held_out", "score_variance"):
        np.testing.assert_array_equal(
            rules.get(name).loss(take(pool, Rows(rows, rest))), rules.get(name).loss(own)
        )


def test_halves_are_complements():
    pool = made([1.0])
    a, b = halves(pool, np.random.default_rng(0))
    for one, other, size in zip(a, b, (COUNT, REST), strict=True):
        assert sorted([*one, *other]) == list(range(size)) and len(one) == size // 2


def test_reliability_equals_a_slow_twin():
    pool = made([2.0, 1.0, 0.5, 0.2])
    found, _ = judged(pool)
    generator = np.random.default_rng(0)
    for _ in range(100):
        draw(pool, generator)  # the bootstrap draws come first
    values = []
    for _ in range(50):
        a, b = resampled(pool, rules.DEFAULT, halves(pool, generator))
        if np.ptp(a) and np.ptp(b):
            values.append(spearmanr(a, b).statistic)
    assert found.reliability == pytest.approx(np.mean(values))


def test_one_setting_says_what_it_can():
    found, _ = judged(made([3.0], seeds=2))
    assert np.isnan(found.margin) and np.isnan(found.stability)  # nothing to compare with
    assert found.verdict in ("high", "medium", "low")


def shown(pool, second=None):
    found, pick = judged(pool)
    return {one.name: one for one in signatures(pool, rules.DEFAULT, pick, found, second)}


def test_signatures_of_a_healthy_pool():
    pool = made([2.2, 2.0, 1.9, 1.8])
    twin = made([2.2, 2.0, 1.9, 1.8], seed=1)
    again = shown(pool, dataclasses.replace(twin, held_out_scores=pool.held_out_scores))
    assert not any(one.found for name, one in again.items() if "second" not in name)


def test_signature_poor_everywhere():
    assert shown(made([0.0] * 5))["poor everywhere"].found


def test_signature_large_spread():
    assert shown(made([4.0, 0.0, 3.0, 0.0, 1.0]))["large spread over augmentations"].found


def test_signature_budget():
    pool = made([3.0, 0.0, 0.0, 0.0])
    members = tuple(
        m if m.setting.augmentation in ("s0", "s1") else m._replace(status="untrained")
        for m in pool.members
    )
    assert shown(dataclasses.replace(pool, members=members))["search beyond its budget"].found


def test_signature_second_set():
    pool, other = made([3.0, 0.0, 0.5, 0.2]), made([0.0, 3.0, 0.5, 2.0], seed=1)
    second = dataclasses.replace(other, held_out_scores=pool.held_out_scores)
    assert shown(pool, second)["degrades on the second set"].found
