"""The snooping audit against slow twins, on random pools, and on labels that mean nothing."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
)

from ad_jax import evaluate
from ad_jax.base.errors import InputError
from ad_jax.data import Labels, Truth
from ad_jax.evaluate import best_of_k, intervals, label_choices, split_half
from ad_jax.evaluate.snooping import measure
from ad_jax.pool import Member, Pool, View
from ad_jax.report import chart
from ad_jax.report.figures import theme
from ad_jax.report.judged.audit import audit, snooping_summary, summary
from ad_jax.report.judged.brief import brief, brief_summary
from ad_jax.report.judged.picture import audit_picture
from ad_jax.report.page import Table
from ad_jax.report.page.terminal import terminal
from ad_jax.selection import Selection, weights
from ad_jax.train.setting import Setting

SPLITS = 12


def make_pool(families=(3, 2), seeds=2, n=40, signal=1.5, missing=(), rare=None, seed=0, tied=True):
    """A pool of scores, and labels; `missing` members have NaN scores. Head 2 is the second
    family's only, and its default."""
    generator = np.random.default_rng(seed)
    rare = n // 4 if rare is None else rare
    labels = generator.permutation(np.arange(n) < rare).astype(np.uint8)
    members, scores, held_out, default = [], [], [], []
    for family, count in enumerate(families):
        for i in range(count):
            setting = Setting("binary", f"family{family}", {"area": 0.1 * (i + 1)})
            shift = signal * generator.random()
            for s in range(seeds):
                row = generator.normal(size=(3, n)) + shift * labels
                if tied:
                    row[:, ::7] = np.round(row[:, ::7])
                if family == 0:
                    row[2] = np.nan
                if len(members) in missing:
                    row[:] = np.nan
                members.append(Member(setting, s, "ok", 0.1, 0.9, 0.0))
                scores.append(row)
                held_out.append(generator.normal(size=(3, 15)))
                default.append(0 if family == 0 else 2)
    for s in range(seeds):
        members.append(Member(Setting("control", "raw", {}), s, "ok", np.nan, np.nan, 0.0))
        scores.append(generator.normal(size=(3, n)))
        held_out.append(generator.normal(size=(3, 15)))
        default.append(0)
    arrays = (np.array(x, np.float32) for x in (scores, held_out))
    return Pool(tuple(members), *map(View, arrays), np.array(default)), labels


def truth_of(labels):
    return Truth([str(i) for i in range(len(labels))], lambda: Labels(labels, [""] * len(labels)))


def audit_of(pool, labels, pick=0, **options):
    """An audit by a rule that likes the settings in their order."""
    losses = {"order": {s.key: float(i) for i, s in enumerate(pool.settings)}}
    setting = pool.settings[pick]
    scores = pool.own_scores()[0][pool.rows(setting)[0]]
    brightness = np.linspace(0, 1, len(labels))
    selected = evaluate.Selected(pool, losses, "order", setting, scores, brightness)
    return evaluate.audit(selected, truth_of(labels), **options)


def test_a_selection_is_audited_as_it_was_returned():
    pool, labels = make_pool()
    losses = {"order": {s.key: float(i) for i, s in enumerate(pool.settings)}}
    pick = pool.settings[1]
    detector = SimpleNamespace(combine=lambda raw: raw.mean(0))
    chosen = Selection(pool, "order", {}, losses, pick, None, (), {}, None, None, detector)
    found = evaluate.audit(chosen, truth_of(labels), splits=2)
    mean = pool.own_scores()[0][pool.rows(pick, trained=True)].mean(0)
    assert found.detector["auroc"] == pytest.approx(roc_auc_score(labels, mean))
    assert "mean brightness" not in found.baselines


def slow_auroc(scores, labels, where=slice(None)):
    return roc_auc_score(labels[where], scores[where])


def slow_means(pool, labels, where=slice(None)):
    """AUROC of every setting: mean over seeds, default head."""
    return np.array(
        [
            np.mean([slow_auroc(pool.own_scores()[0][i], labels, where) for i in pool.rows(s)])
            for s in pool.settings
        ]
    )


def slow_best(chosen, reported, k):
    """Mean over all sets of k settings of the reported value of the best; ties share."""
    out = []
    for some in itertools.combinations(range(len(chosen)), k):
        some = np.array(some)
        best = some[np.isclose(chosen[some], chosen[some].max(), rtol=0, atol=1e-12)]
        out.append(reported[best].mean())
    return np.mean(out)


# ---- halves and bulk AUROC ----


def test_halves_are_even_and_hold_both_classes():
    labels = np.array([1] * 5 + [0] * 20, np.uint8)
    first, skipped = split_half.split(labels, 50, np.random.default_rng(0))
    assert skipped == 0 and first.shape == (50, 25)
    assert set(first[:, :5].sum(1)) == {2, 3} and set(first[:, 5:].sum(1)) == {10}
    assert len({row.tobytes() for row in first}) > 40


def test_halves_of_one_class_are_left_out_and_counted():
    labels = np.array([1, 1] + [0] * 8, np.uint8)
    first, skipped = split_half.split(labels, 300, np.random.default_rng(0), stratified=False)
    assert 0 < skipped < 300 and len(first) == 300 - skipped
    assert (first[:, 0] != first[:, 1]).all() and (first.sum(1) == 5).all()
    assert len(split_half.split(labels[1:], 9, np.random.default_rng(0))[0]) == 0


def test_auroc_in_bulk():
    generator = np.random.default_rng(0)
    scores = np.round(generator.normal(size=(4, 30)), 1).astype(np.float32)
    labels = generator.permuted(np.tile(np.arange(30) < 7, (5, 1)), axis=1).astype(np.uint8)
    slow = [[slow_auroc(s, y) for s in scores] for y in labels]
    np.testing.assert_allclose(split_half.aurocs(scores, labels), slow, atol=1e-12)
    first, _ = split_half.split(labels[0], 6, generator)
    slow = [
        [[slow_auroc(s, labels[0], w) for s in scores] for w in side] for side in (first, ~first)
    ]
    np.testing.assert_allclose(split_half.half_aurocs(scores, labels[0], first), slow, atol=1e-12)


# ---- best of k ----


@pytest.mark.parametrize("tied", [False, True])
def test_best_of_k_is_the_mean_over_all_sets(tied):
    generator = np.random.default_rng(1)
    chosen, reported = generator.random((2, 3, 7))
    chosen = np.round(chosen, 1) if tied else chosen
    ks = best_of_k.numbers(7)
    assert ks == [1, 2, 4, 7]
    slow = [[slow_best(c, r, k) for c, r in zip(chosen, reported)] for k in ks]
    np.testing.assert_allclose(best_of_k.expected_best(chosen, reported, ks), slow, atol=1e-12)
    np.testing.assert_allclose(best_of_k.chances(chosen, ks).sum(-1), 1.0, atol=1e-12)


def test_many_settings_keep_their_chances_finite():
    values = np.random.default_rng(0).random((1, 2000))
    chances = best_of_k.chances(values, best_of_k.numbers(2000))
    np.testing.assert_allclose(chances.sum(-1), 1.0, atol=1e-9)
    assert chances[-1, 0, values[0].argmax()] == 1.0


def test_reseeded_settings_differ_by_noise_alone():
    values = np.array([[0.6, 0.7, 0.8], [0.5, 0.55, 0.0], [0.4, 0.0, 0.0]])
    usable = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], bool)
    fast = best_of_k.reseeded(values, usable, 50, np.random.default_rng(2))
    means = [0.7, 0.525, 0.4]
    deviations = [d * np.sqrt(3 / 2) for d in (-0.1, 0.0, 0.1)] + [
        d * np.sqrt(2) for d in (-0.025, 0.025)
    ]
    drawn = np.random.default_rng(2).choice(deviations, (50, 3, 3))
    slow = np.array(
        [[np.mean(means) + d[i, :c].mean() for i, c in enumerate((3, 2, 1))] for d in drawn]
    )
    np.testing.assert_allclose(fast, np.clip(slow, 0, 1), atol=1e-12)
    one_seed = best_of_k.reseeded(values[:, :1], usable[:, :1], 3, np.random.default_rng(2))
    assert np.isnan(one_seed).all()


# ---- stages ----


def slow_walk(pool, labels, choose, report):
    """Labels choose in turn on the samples `choose`; figures on `report`; no ties expected."""
    settings = pool.settings

    def means(where):
        return slow_means(pool, labels, where)

    families = list(dict.fromkeys(s.family for s in settings))
    of = {f: [i for i, s in enumerate(settings) if s.family == f] for f in families}
    by, told = means(choose), means(report)
    out = [told.mean()]
    family = max(families, key=lambda f: by[of[f]].mean())
    out.append(told[of[family]].mean())
    setting = max(of[family], key=lambda i: by[i])
    out.append(told[setting])
    rows = pool.rows(settings[setting])
    heads = [h for h in range(pool.scores.shape[1]) if np.isfinite(pool.scores[rows, h]).all()]

    def at(head, row, where):
        return slow_auroc(pool.scores[row, head], labels, where)

    head = max(heads, key=lambda h: np.mean([at(h, row, choose) for row in rows]))
    out.append(np.mean([at(head, row, report) for row in rows]))
    row = max(rows, key=lambda r: at(head, r, choose))
    out.append(at(head, row, report))
    return out, row, head


def slow_cuts(pool, labels, row, head, choose, report):
    """F1 and balanced accuracy at the label-free threshold and at that of the labels."""
    scores = pool.scores[row, head]
    bound = np.quantile(pool.held_out_scores[row, head], 0.95)
    out = []
    for metric in (
        lambda y, flag: f1_score(y, flag, zero_division=0.0),
        balanced_accuracy_score,
    ):
        cuts = sorted(set(scores), reverse=True)
        best = max(cuts, key=lambda t: round(metric(labels[choose], scores[choose] >= t), 12))
        out.append(metric(labels[report], scores[report] > bound))
        out.append(metric(labels[report], scores[report] >= best))
    return out


def test_stages_and_thresholds_are_those_of_the_slow_walk():
    pool, labels = make_pool()
    one = measure(pool, pool.settings[0], labels, seed=3, splits=SPLITS)
    whole = np.ones(len(labels), bool)
    values, row, head = slow_walk(pool, labels, whole, whole)
    np.testing.assert_allclose([s.apparent for s in one.stages], values, atol=1e-9)
    cuts = slow_cuts(pool, labels, row, head, whole, whole)
    np.testing.assert_allclose([s.apparent for s in one.thresholds], cuts, atol=1e-9)
    assert [s.choices for s in one.stages][:2] == [0, 2] and one.stages[-1].choices == 2
    assert all(b.apparent >= a.apparent for a, b in itertools.pairwise(one.stages))


def test_honest_stages_choose_on_one_half_and_report_on_the_other():
    pool, labels = make_pool(n=151, rare=60, tied=False)  # so large that no two AUROC are equal
    one = measure(pool, pool.settings[0], labels, seed=4, splits=3)
    first, _ = split_half.split(labels, 3, np.random.default_rng(4).spawn(4)[0])
    walks, cuts = [], []
    for a, b in [*zip(first, ~first), *zip(~first, first)]:
        values, row, head = slow_walk(pool, labels, a, b)
        walks.append(values)
        cuts.append(slow_cuts(pool, labels, row, head, a, b))
    np.testing.assert_allclose([s.honest for s in one.stages], np.mean(walks, 0), atol=1e-9)
    np.testing.assert_allclose([s.honest for s in one.thresholds], np.mean(cuts, 0), atol=1e-9)
    for stage in one.stages + one.thresholds:
        assert stage.inflation == stage.apparent - stage.honest


def test_ties_are_broken_at_random():
    """Equal families, settings, heads and seeds are each chosen about equally often."""
    pool, _ = make_pool(families=(2, 2))
    among = label_choices.candidates(pool)
    equal = np.full((900, *among.usable.shape), 0.7)
    end = label_choices.walk(among, equal, equal, np.random.default_rng(0))
    for found, options in ((end.setting, 4), (end.seed, 2)):
        share = np.bincount(found, minlength=options) / 900
        np.testing.assert_allclose(share, 1 / options, atol=0.06)
    assert set(end.head[end.setting < 2]) == {0, 1} and set(end.head) == {0, 1, 2}


def test_thresholds_of_the_labels():
    generator = np.random.default_rng(0)
    scores = np.round(generator.normal(size=(6, 25)), 1)
    labels = (generator.random(25) < 0.4).astype(np.uint8)
    where = generator.random((6, 25)) < 0.7
    f1, accuracy = label_choices.best_thresholds(scores, labels, where)
    for i in range(6):
        for fast, metric in ((f1, f1_score), (accuracy, balanced_accuracy_score)):
            worth = {
                t: round(metric(labels[where[i]], scores[i, where[i]] >= t), 12)
                for t in sorted(set(scores[i]), reverse=True)
            }
            assert fast[i] == max(worth, key=lambda t: worth[t])
        flagged = scores[i] > 0
        both = label_choices.quality_at(flagged[None], labels, where[i][None])[:, 0]
        slow = [m(labels[where[i]], flagged[where[i]]) for m in (f1_score, balanced_accuracy_score)]
        np.testing.assert_allclose(both, slow, atol=1e-12)


# ---- the whole ----


def test_curve_and_halves_against_loops():
    pool, labels = make_pool()
    one = measure(pool, pool.settings[2], labels, seed=1, splits=SPLITS, draws=6)
    draw, permute, noise, _ = np.random.default_rng(1).spawn(4)
    first, _ = split_half.split(labels, SPLITS, draw)
    whole = slow_means(pool, labels)
    by = {
        side: [slow_means(pool, labels, w) for w in (first if side else ~first)] for side in (1, 0)
    }
    permuted = [slow_means(pool, y) for y in permute.permuted(np.tile(labels, (6, 1)), axis=1)]
    seeds = np.array(
        [[slow_auroc(pool.own_scores()[0][i], labels) for i in pool.rows(s)] for s in pool.settings]
    )
    pools = best_of_k.reseeded(seeds, np.ones(seeds.shape, bool), 6, noise)
    for i, k in enumerate(one.curve.tried):
        both = [(a, b) for a, b in zip(by[1], by[0])] + [(b, a) for a, b in zip(by[1], by[0])]
        slow = [
            slow_best(whole, whole, k),
            np.mean([slow_best(a, b, k) for a, b in both]),
            np.mean([slow_best(v, v, k) for v in permuted]),
            np.mean([slow_best(v, v, k) for v in pools]),
        ]
        names = ("apparent", "honest", "relabelled", "reseeded")
        np.testing.assert_allclose([getattr(one.curve, n)[i] for n in names], slow, atol=1e-9)
    count = len(whole)
    own = [(slow_best(a, a, count) + slow_best(b, b, count)) / 2 for a, b in zip(by[1], by[0])]
    other = [(slow_best(a, b, count) + slow_best(b, a, count)) / 2 for a, b in zip(by[1], by[0])]
    rule = [(a[2] + b[2]) / 2 for a, b in zip(by[1], by[0])]
    slow = {
        "own": own,
        "other": other,
        "rule": rule,
        "inflation": np.subtract(own, other),
        "bought": np.subtract(other, rule),
    }
    for name, values in slow.items():
        expected = [np.mean(values), *np.quantile(values, [0.025, 0.975])]
        np.testing.assert_allclose(getattr(one.halves, name), expected, atol=1e-9)


def test_curve_ends_where_the_audit_stands():
    pool, labels = make_pool()
    result = audit_of(pool, labels, splits=SPLITS)
    one, across = result.snooping, result.across
    assert one.curve.apparent[0] == pytest.approx(across.expected_random, abs=1e-6)
    assert one.curve.apparent[-1] == pytest.approx(across.oracle, abs=1e-6)
    assert one.stages[0].apparent == pytest.approx(across.expected_random, abs=1e-6)
    assert one.stages[0].honest == pytest.approx(across.expected_random, abs=0.01)
    assert one.curve.relabelled[0] == pytest.approx(0.5, abs=0.01)
    assert one.curve.reseeded[0] == pytest.approx(across.expected_random, abs=0.01)


def test_labels_that_mean_nothing_buy_noise_only():
    """No signal: the apparent best rises like the relabelled line, the honest one does not."""
    all_of_them = []
    for seed in range(8):
        pool, labels = make_pool((10, 10), signal=0.0, n=60, rare=20, seed=seed)
        all_of_them.append(measure(pool, pool.settings[0], labels, splits=30))

    def mean(of):
        return np.mean([of(one) for one in all_of_them])

    risen = mean(lambda one: one.curve.apparent[-1]) - 0.5
    assert risen > 0.08
    assert mean(lambda one: one.curve.relabelled[-1]) - 0.5 == pytest.approx(risen, abs=0.03)
    assert mean(lambda one: one.curve.honest[-1]) == pytest.approx(0.5, abs=0.03)
    assert mean(lambda one: one.halves.inflation.value) > 0.1


def test_blocks_change_no_figure(monkeypatch):
    pool, labels = make_pool()
    whole = measure(pool, pool.settings[0], labels, splits=SPLITS)
    for room in (split_half, label_choices):
        monkeypatch.setattr(room, "BLOCK", 100)
    parts = measure(pool, pool.settings[0], labels, splits=SPLITS)
    assert parts.thresholds == whole.thresholds
    np.testing.assert_allclose(parts.curve.relabelled, whole.curve.relabelled, atol=1e-12)


def test_a_seed_fixes_every_figure():
    pool, labels = make_pool()
    figures = [measure(pool, pool.settings[0], labels, s, SPLITS) for s in (7, 7, 8)]
    assert figures[0] == figures[1] != figures[2]


EDGES = {
    "two anomalies": (dict(rare=2), {}, None),
    "one anomaly": (dict(rare=1), {}, "one class has a single sample"),
    "one normal": (dict(rare=39), {}, "one class has a single sample"),
    "one-class halves": (dict(rare=2), dict(stratified=False), "a half held a single class"),
    "one seed": (dict(seeds=1), {}, "the pool has one seed"),
    "one family": (dict(families=(3,)), {}, "family: one only"),
    "one setting": (dict(families=(1,), seeds=1), {}, "one setting only"),
    "a member without scores": (dict(missing=(3,)), {}, "1 trained members without finite scores"),
    "a setting without scores": (dict(missing=(2, 3)), {}, "2 trained members without finite"),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges_are_said_in_a_line(case):
    make, options, note = EDGES[case]
    pool, labels = make_pool(**make)
    one = measure(pool, pool.settings[0], labels, splits=SPLITS, **options)
    assert all("\n" not in line for line in one.notes)
    if note is None:
        assert len(one.notes) == 1 and "training step: not available" in one.notes[0]
    else:
        assert any(note in line for line in one.notes), one.notes
    assert np.isfinite([s.apparent for s in one.stages + one.thresholds]).all()
    honest = [s.honest for s in one.stages + one.thresholds]
    assert np.isfinite(honest).all() == ("single sample" not in str(note))
    if one.halves.skipped:
        assert one.halves.splits + one.halves.skipped == SPLITS
    result = audit_of(pool, labels, splits=SPLITS)
    assert "labels choose in turn" in terminal(audit("task", result, 0))
    image = audit_picture("task", result)
    assert image.size[0] == 2200 and image.size[1] > 1000
    assert np.asarray(image).std() > 10  # something is drawn


def test_wrong_use_is_named():
    pool, labels = make_pool(missing=(0, 1))
    for call in (
        lambda: audit_of(pool, labels),
        lambda: measure(pool, pool.settings[0], labels),
    ):
        with pytest.raises(InputError, match="no finite scores"):
            call()
    with pytest.raises(InputError, match="both classes"):
        evaluate.snooping(pool, pool.settings[1], truth_of(np.ones_like(labels)))
    with pytest.raises(InputError, match="splits=0"):
        evaluate.snooping(pool, pool.settings[1], truth_of(labels), splits=0)
    with pytest.raises(InputError, match="39 labels do not fit scores of 40"):
        evaluate.snooping(pool, pool.settings[1], truth_of(labels[1:]))
    truth = truth_of(labels)
    evaluate.snooping(pool, pool.settings[1], truth, splits=2)
    assert [reason for _, reason in truth.log] == ["snooping audit"]


def test_ensembles_of_the_best_by_the_rule():
    pool, labels = make_pool()
    result = audit_of(pool, labels, splits=2)
    names = ["all members", "the best 3 settings by the rule", "the best 5 settings by the rule"]
    assert list(result.ensembles) == ["weighted mean surprise", *names]
    mixed = weights.crossed(pool)
    assert result.ensembles["weighted mean surprise"]["auroc"] == pytest.approx(
        roc_auc_score(labels, mixed), abs=1e-6
    )
    own = pool.own_scores()[0]
    rows = [i for s in pool.settings[:3] for i in pool.rows(s)]
    ranked = np.mean([[(np.sum(r < v) + np.sum(r <= v)) / 2 for v in r] for r in own[rows]], axis=0)
    both = result.ensembles[names[1]]
    assert both["auroc"] == pytest.approx(roc_auc_score(labels, ranked), abs=1e-6)
    assert both["average_precision"] == pytest.approx(
        average_precision_score(labels, ranked), abs=1e-6
    )


def cells(pool, result, **options):
    """Rows of the audit on one screen: name -> AUROC, interval, AP."""
    audited = SimpleNamespace(audit=result, run=SimpleNamespace(pool=pool))
    (section,) = brief("task", audited, True, 0, **options)
    return {row[0]: row[1:] for b in section.blocks if isinstance(b, Table) for row in b.rows}


def test_the_screen_has_the_figures_of_pool_and_labels():
    pool, labels = make_pool()
    result = audit_of(pool, labels, pick=1, splits=2)
    found = cells(pool, result)
    own = pool.own_scores()[0]
    precision = [
        np.mean([average_precision_score(labels, own[i]) for i in pool.rows(s)])
        for s in pool.settings
    ]
    auroc = slow_means(pool, labels)
    best, worst = int(np.argmax(auroc)), int(np.argmin(auroc))
    names = {
        f"best setting, in hindsight: {pool.settings[best].label}": (auroc[best], precision[best]),
        f"worst setting: {pool.settings[worst].label}": (auroc[worst], precision[worst]),
        "a random setting": (np.mean(auroc), np.mean(precision)),
        "pick, mean of 2 seeds": (auroc[1], precision[1]),
        "best control: raw": [
            np.mean([measure(labels, own[i]) for i in pool.rows(pool.controls()[0])])
            for measure in (roc_auc_score, average_precision_score)
        ],
    }
    for name, expected in names.items():
        value, _, ap = found[name]
        np.testing.assert_allclose([value, ap], expected, atol=1e-6)
    mixed = weights.crossed(pool)
    used = found["ensemble of 5 settings, which `score` uses"]
    assert used[0] == pytest.approx(roc_auc_score(labels, mixed), abs=1e-6)
    assert not any(name.startswith("default") for name in found)  # the pool does not hold it


def test_a_pool_of_one_seed_has_no_interval_and_no_label_pick_on_the_screen():
    pool, labels = make_pool(seeds=1)
    found = cells(pool, audit_of(pool, labels, splits=2))
    assert found[f"pick: {pool.settings[0].label}"][1] == ""
    assert not any(name.startswith(("what labels", "pick, ")) for name in found)


def test_an_audit_counts_what_a_search_stopped_apart():
    """Stopped is not "learned nothing"; what describes survivors only is marked as such."""
    pool, labels = make_pool()
    states = ["ok", "stopped", "stopped", "untrained", "stopped"]
    keys = {s.key: state for s, state in zip(pool.settings, states, strict=True)}
    members = [m._replace(status=keys.get(m.setting.key, "ok")) for m in pool.members]
    result = audit_of(dataclasses.replace(pool, members=tuple(members)), labels, splits=2)
    assert result.tried == evaluate.Tried(5, 3, 1)
    assert (result.members, result.untrained, result.stopped) == (10, 2, 6)
    assert result.across.stopped == result.snooping.stopped == 3
    assert {"across", "within", "snooping", "pick.rank"} <= set(result.of_survivors)
    assert any("3 of the 5 settings tried" in note for note in result.snooping.notes)
    said = terminal(audit("task", result, 0))
    assert "10 trainings, 2 of them learned nothing, 6 were stopped early" in said
    assert "* 3 of the 5 settings tried were stopped early" in said
    for name in ("oracle*", "expected random*", "worst*", "rank of the pick*: 1 of 1 (5 tried)"):
        assert f"\n{name}" in said
    both = evaluate.summary({"task": result, "other": audit_of(pool, labels, splits=2)}, TWO)
    assert both.stopped_early == ["task"]
    told = SimpleNamespace(audit=result, run=SimpleNamespace(pool=pool))
    assert "3 of the 5 settings tried were stopped early" in terminal(brief("task", told, True, 0))
    snooped = evaluate.snooping_summary({"task": result.snooping}, TWO)
    assert "Of 1 tasks" in terminal(brief_summary("all", {"task": result}, TWO, snooped))
    assert terminal(summary("all", both)).endswith("not of all that it tried: task")
    whole = audit_of(pool, labels, splits=2)
    assert not whole.of_survivors and "*" not in terminal(audit("task", whole, 0))


TWO = {"task": "set", "other": "another set"}


def test_several_tasks_are_resampled_by_training_set():
    tasks = {}
    for i in range(4):
        pool, labels = make_pool(seed=i)
        tasks[str(i)] = measure(pool, pool.settings[0], labels, splits=4)
    pool, labels = make_pool(rare=1)
    tasks["dull"] = measure(pool, pool.settings[0], labels, splits=4)
    trainings = {"0": "a", "1": "a", "2": "b", "3": "c", "dull": "d"}
    both = evaluate.snooping_summary(tasks, trainings)
    assert both.tasks == 4 and both.training_sets == 3
    values = [tasks[str(i)].halves.inflation.value for i in range(4)]
    one = both.halves["inflation"]
    assert one.value == pytest.approx(np.mean(values))
    generator = np.random.default_rng(0)
    groups = {"a": values[:2], "b": values[2:3], "c": values[3:]}
    slow = [
        np.mean(sum([groups["abc"[d]] for d in generator.choice(3, 3)], []))
        for _ in range(intervals.DRAWS)
    ]
    np.testing.assert_allclose([one.low, one.high], np.quantile(slow, [0.025, 0.975]))
    for line in ("relabelled", "reseeded", "honest"):
        last = [getattr(tasks[str(i)].curve, line)[-1] for i in range(4)]
        assert getattr(both.curve[5], line) == pytest.approx(np.mean(last))
    assert both.curve[5].tasks == 4
    assert "4 tasks of 3 training sets" in terminal(snooping_summary("all", both))
    few = evaluate.snooping_summary({k: tasks[k] for k in ("0", "1")}, trainings)
    assert np.isnan(few.halves["inflation"].low)
    none = evaluate.snooping_summary({"dull": tasks["dull"]}, trainings)
    assert none.tasks == 0 and "0 tasks" in terminal(snooping_summary("none", none))


# ---- charts ----


def test_ticks_are_round_and_inside():
    assert chart.ticks(0.5, 1.0) == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    for low, high in ((0.961, 0.997), (0.4999, 0.5301), (0.0, 1.15), (0.12, 0.97)):
        marks = chart.ticks(low, high)
        assert 2 <= len(marks) <= 6 and low <= marks[0] and marks[-1] <= high


def test_labels_do_not_overlap():
    generator = np.random.default_rng(0)
    for _ in range(50):
        wanted = generator.uniform(0, 100, 6)
        moved = theme.apart(list(wanted), 12, 0, 100)
        order = np.argsort(wanted, kind="stable")
        assert (np.diff(np.array(moved)[order]) >= 12 - 1e-9).all()
        assert min(moved) >= -1e-9 and max(moved) <= 100 + 1e-9
    assert theme.apart([10.0, 50.0], 12, 0, 100) == [10.0, 50.0]
