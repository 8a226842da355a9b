"""How far to trust a pick, and the four ways to fail, on pools whose truth is known."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from small_run import seen

from ad_jax.pool import Pool
from ad_jax.selection import rules
from ad_jax.selection.failure_modes import signatures
from ad_jax.selection.resampling import draw, halves, resampled
from ad_jax.selection.trust import (
    FORECAST,
    HIGH,
    MEDIUM,
    RARE,
    Forecast,
    _forecast_in_words,
    forecast,
    null,
    trust,
)
from ad_jax.selection.weights import surprises, weights

RESULTS = Path(__file__).parents[1] / "experiments" / "results"
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
    return trust(pool, rule, per_member, losses, pick, weights(pool)), pick


def test_a_clear_case_is_trusted():
    found, pick = judged(made([4.0, 1.5, 0.8, 0.0, 0.3], share=0.5))
    assert pick.augmentation == "s0" and found.verdict != "low"
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
    assert null(seen(pool, scores)) < RARE
    assert null(pool) > RARE


def test_taking_samples_is_a_pool_of_those_samples():
    pool = made([1.0, 0.5])
    rows, rest = np.array([3, 3, 7, 50, 90]), np.array([0, 5, 5, 9])
    own = seen(pool, pool.scores[:, :, rows], pool.held_out_scores[:, :, rest])
    for name in ("tail_share", "auroc_held_out", "score_variance"):
        np.testing.assert_array_equal(
            rules.get(name).loss(pool.take(rows, rest)), rules.get(name).loss(own)
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
    assert found.verdict == "none" and "no other setting" in found.reasons[0]


def shown(pool, second=None):
    found, pick = judged(pool)
    return {one.name: one for one in signatures(pool, rules.DEFAULT, pick, found, second)}


def test_signatures_of_a_healthy_pool():
    pool = made([2.2, 2.0, 1.9, 1.8])
    twin = made([2.2, 2.0, 1.9, 1.8], seed=1)
    again = shown(pool, dataclasses.replace(twin, held_out=pool.held_out))
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
    second = dataclasses.replace(other, held_out=pool.held_out)
    assert shown(pool, second)["degrades on the second set"].found


# ---- after halving: what a search stopped is neither finished nor a failure to learn ----


def halved(pool, left, status="stopped"):
    """The pool with all settings but the first `left` stopped (or of another status)."""
    kept = {s.key for s in pool.settings[:left]}
    members = [m if m.setting.key in kept else m._replace(status=status) for m in pool.members]
    return dataclasses.replace(pool, members=tuple(members))


def test_what_halving_leaves_of_equal_settings_is_never_highly_trusted():
    """The survivor of nine equal settings, the best of them by the same target."""
    for seed in range(6):
        pool = made([2.0] * 9, seed=seed)
        losses = rules.losses(pool, rules.DEFAULT)
        best = min(pool.settings, key=lambda s: losses[s.key])
        members = tuple(
            m if m.setting.key == best.key else m._replace(status="stopped") for m in pool.members
        )
        found, pick = judged(dataclasses.replace(pool, members=members))
        assert pick == best and found.verdict == "none" and found.stopped == 8
        assert np.isnan(found.margin) and np.isnan(found.stability)
        assert not any("bootstrap" in reason for reason in found.reasons)
        assert any("8 of 9 settings were stopped early" in reason for reason in found.reasons)
        assert found.untrained == ()


def test_two_settings_that_a_search_left_are_not_highly_trusted():
    """However alike they are: trained without a search the same pool says high."""
    assert judged(made([40.0, 40.0], share=0.5))[0].verdict == "high"
    found, _ = judged(halved(made([40.0, 40.0, 0.9], share=0.5), 2))
    assert found.verdict == "medium" and found.regret <= HIGH
    assert any(r.startswith("limit: the search left 2 settings") for r in found.reasons)


def test_a_lone_family_wins_no_draws():
    """Where one family was trained, that it always wins says nothing of the pick."""
    pool = made([4.0, 2.0, 1.0])
    members = tuple(
        m._replace(setting=m.setting._replace(augmentation="one", hyper={"k": float(i // SEEDS)}))
        for i, m in enumerate(pool.members)
    )
    one = dataclasses.replace(pool, members=members)
    assert {s.family for s in one.settings} == {"one"} and len(one.settings) == 3
    assert np.isnan(judged(one)[0].stability) and np.isfinite(judged(pool)[0].stability)


def test_the_null_pays_for_what_a_search_stopped():
    """Stopped settings take part: the p-value is that of a pool in which all were trained."""
    pool = made([0.0] * 12)
    assert null(halved(pool, 1)) == null(pool)
    lost = halved(pool, 1, "untrained")  # these were left out without a look at the target
    assert null(lost) == null(dataclasses.replace(lost, members=halved(pool, 1, "failed").members))
    broken = halved(pool, 1)
    scores = broken.scores.copy()
    scores[-1] = np.nan  # a stopped member that was not finite cannot take part
    assert np.isfinite(null(seen(broken, scores)))


def test_signature_budget_is_silent_on_stopped_settings():
    pool = made([3.0] + [0.0] * 8)
    name = "search beyond its budget"
    assert not shown(halved(pool, 1))[name].found and shown(halved(pool, 1))[name].value == 0.0
    assert shown(halved(pool, 1, "untrained"))[name].found
    members = list(halved(pool, 3).members)  # of three that went on two learned nothing
    for i in range(SEEDS, 3 * SEEDS):
        members[i] = members[i]._replace(status="untrained")
    found = shown(dataclasses.replace(pool, members=tuple(members)))[name]
    assert found.found and found.value == pytest.approx(2 / 3) and "halving" not in found.advice


def test_one_finished_setting_stands_nowhere_on_a_second_set():
    pool = made([3.0, 0.0, 0.0])
    second = dataclasses.replace(made([3.0, 0.0, 0.0], seed=1), members=halved(pool, 1).members)
    found = shown(halved(pool, 1), second)["degrades on the second set"]
    assert np.isnan(found.value) and not found.found and "alike" not in found.advice


# ---- targets that nothing can be said of ----


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("rest", [1, 2, 60])
def test_a_degenerate_target_is_never_trusted(count, rest):
    """One sample, copies of one, ties; however far from the normals; no warning is raised."""
    generator = np.random.default_rng(0)
    pool = made([3.0, 2.0, 1.0, 0.0])
    alike = 10.0 + np.repeat(generator.normal(size=(12, 1)), count, axis=1)
    for scores in (
        alike,
        np.full((12, count), 10.0),
        alike + 1e-7 * generator.normal(size=(12, 1)),
    ):
        one = seen(pool, scores[:, None], pool.held_out_scores[:, :, :rest])
        found, pick = judged(one)
        assert found.verdict == "low" and not abs(found.margin) > 1e3
        assert any("look different" in r or "looks different" in r for r in found.reasons)
        signatures(one, rules.DEFAULT, pick, found)


def test_copies_of_one_sample_are_no_evidence_against_the_null():
    """Forty copies of a sample that lies above nine tenths of the normals are one sample."""
    pool = made([0.0] * 3)
    high = np.quantile(pool.held_out_scores, 0.9, axis=2, keepdims=True)
    found, _ = judged(seen(pool, np.repeat(high, 40, axis=2)))
    assert found.null > RARE


def test_seeds_that_agree_exactly_measure_no_noise():
    """A perfect setting has the lowest loss with every seed: no number of standard errors."""
    pool = made([3.0, 2.0, 1.0], share=0.5)
    scores = pool.scores.copy()
    scores[:SEEDS] += 100.0  # above all held-out normals: an AUROC of 1
    found, pick = judged(seen(pool, scores), "auroc_held_out")
    assert pick.augmentation == "s0" and np.isnan(found.margin)
    assert not any("standard errors" in reason for reason in found.reasons)


@pytest.mark.parametrize("rule", ["hits", "select", "udr", "model_centrality", "several_tails"])
def test_rounding_of_rules_is_no_noise_between_seeds_that_agree(rule):
    """Detectors without a random choice, run with three seeds each."""
    for seed in (0, 5, 9):
        generator = np.random.default_rng(seed)
        target = generator.normal(size=(7, 53))
        target[:, :8] += generator.uniform(0, 3, (7, 1))
        held_out = generator.normal(size=(7, 31))
        names = np.repeat([f"detector {i}" for i in range(7)], 3).tolist()
        pool = Pool.from_scores(target.repeat(3, 0), names, held_out.repeat(3, 0))
        per_member = rules.get(rule).loss(pool)
        losses = rules.by_setting(pool, per_member)
        pick = min(pool.settings, key=lambda s: losses[s.key])
        margin = trust(pool, rule, per_member, losses, pick, weights(pool)).margin
        assert margin == 0 or np.isnan(margin)


def test_settings_that_tie_share_a_draw():
    """Copies of one setting under four names: each wins a quarter."""
    pool = made([2.0] * 4)
    scores, held_out = pool.scores.copy(), pool.held_out_scores.copy()
    for i in range(1, 4):
        scores[i * SEEDS : (i + 1) * SEEDS] = scores[:SEEDS]
        held_out[i * SEEDS : (i + 1) * SEEDS] = held_out[:SEEDS]
    found, _ = judged(seen(pool, scores, held_out))
    assert found.stability == pytest.approx(0.25) and found.margin == 0.0


# ---- forecast and reasons ----


def test_the_forecast_follows_how_alike_pick_and_ensemble_order_the_target():
    """By hand: Spearman of the pick's surprise and the weighted mean of all."""
    pool = made([2.0, 1.0, 0.5])
    found, pick = judged(pool)
    own, some = surprises(pool), weights(pool)
    mixed = sum(weight * own[key] for key, weight in some.items())
    assert found.disagreement == pytest.approx(1 - spearmanr(own[pick.key], mixed).statistic)
    expected = next(row for row in FORECAST if found.disagreement < row[0])
    assert (found.regret, found.regret_low, found.regret_high) == expected[1:]


def test_a_pick_that_orders_the_target_like_all_others_is_trusted_and_a_lone_voice_is_not():
    alike, _ = judged(made([40.0, 40.0, 40.0], share=0.5))
    assert alike.disagreement < 0.4
    generator = np.random.default_rng(0)
    same, rest = generator.normal(size=COUNT), generator.normal(size=REST)
    scores = np.stack([same + 0.01 * generator.normal(size=COUNT) for _ in range(4)])
    held_out = np.stack([rest + 0.01 * generator.normal(size=REST) for _ in range(4)])
    chorus, _ = judged(Pool.from_scores(scores, list("abcd"), held_out, [0] * 4))
    assert chorus.verdict == "high" and chorus.disagreement < 0.05
    scores[0] = generator.normal(size=COUNT) + 6.0 * (np.arange(COUNT) < 20)
    lone, pick = judged(Pool.from_scores(scores, list("abcd"), held_out, [0] * 4))
    assert pick.augmentation == "a" and lone.verdict != "high" and lone.regret > HIGH


def test_the_table_of_forecasts_is_what_the_study_found():
    """Rounded as in the file of results: mean, 10 % and 90 % of every bin of all runs."""
    text = (RESULTS / "forecast.txt").read_text().replace("−", "-")
    found = re.findall(r"^all .*?(\S+) \[\S+ \S+\] +(\S+) +(\S+) +\S+$", text, re.MULTILINE)
    for (_, *figures), shown in zip(FORECAST, found, strict=True):
        np.testing.assert_allclose(figures, [float(cell) for cell in shown], atol=6e-4)
    edges = [row[0] for row in FORECAST[:-1]]
    assert all(f" {edge:g} " in text for edge in edges)


@pytest.mark.parametrize(
    "strengths, share",
    [([4.0, 1.5, 0.8, 0.0, 0.3], 0.5), ([2.0, 1.9, 1.9, 0.5], 0.3), ([0.0] * 5, 0.3)],
)
def test_reasons_say_what_they_are_and_the_forecast_comes_first(strengths, share):
    found, _ = judged(made(strengths, share))
    words = [reason.split(":")[0] for reason in found.reasons]
    order = ["forecast", "limit", "against it", "for it", "note"]
    assert words == sorted(words, key=order.index) and words.count("forecast") == 1
    bound = {"high": HIGH, "medium": MEDIUM, "low": 1.0}[found.verdict]
    assert found.regret <= bound


@pytest.mark.parametrize(
    "told, said",
    [
        (
            Forecast(0.13, -0.002, -0.03, 0.019),
            "as well as the ensemble: its AUROC is expected to be "
            "0.002 above (0.019 below to 0.030 above on 8 of 10",
        ),
        (
            Forecast(0.5, 0.107, -0.041, 0.435),
            "worse than the ensemble: its AUROC is expected to be "
            "0.107 below (0.435 below to 0.041 above on 8 of 10",
        ),
    ],
)
def test_the_forecast_in_words_is_the_pick_against_the_ensemble(told, said):
    """The forecast is of the ensemble less the pick, the sentence the other way round."""
    assert said in _forecast_in_words(told)
    assert f"correlation of {1 - told.disagreement:.2f}" in _forecast_in_words(told)


def test_without_an_order_there_is_no_forecast():
    """A pick that says the same of every sample; and pools without held-out normals."""
    pool = made([2.0, 1.0])
    flat = seen(pool, np.ones_like(pool.scores))
    found = forecast(flat, weights(flat), pool.settings[0])
    assert np.isnan(found).all()
    nothing = seen(pool, pool.scores, pool.held_out_scores[:, :, :0])
    assert np.isnan(forecast(nothing, weights(nothing), pool.settings[0])).all()
