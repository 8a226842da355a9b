"""Points of a series, scored by their windows, and their metrics beside slow, plain twins."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ad_jax.base.errors import InputError
from ad_jax.data import Labels, Truth
from ad_jax.data.windows import point_scores
from ad_jax.evaluate import Selected, audit
from ad_jax.evaluate.series import audit_points, timeline, vus_pr
from ad_jax.pool import Member, Pool, View
from ad_jax.report.judged.audit import audit as shown_audit
from ad_jax.report.judged.brief import brief
from ad_jax.report.page.terminal import terminal
from ad_jax.train.setting import Setting


def _slow_vus_pr(scores, anomalous, longest):
    """Straight from the definition, threshold by threshold, point by point."""
    count = len(scores)
    points = [i for i in range(count) if not np.isnan(scores[i])]
    bad = [i for i in range(count) if anomalous[i]]
    areas = []
    for width in range(longest + 1):
        soft = np.zeros(count)
        for i in range(count):
            d = min(abs(i - b) for b in bad)
            if d == 0:
                soft[i] = 1
            elif d <= width // 2:
                soft[i] = np.sqrt(1 - d / width)
        runs = []  # first and last point of every anomaly with its tolerance
        for i in bad:
            a, b = i - width // 2, i + width // 2
            if runs and (i - 1 in bad or a <= runs[-1][1]):
                runs[-1][1] = b
            else:
                runs.append([a, b])
        runs = [r for r in runs if any(r[0] <= i <= r[1] for i in points)]
        area, before = 0.0, 0.0
        for threshold in sorted({scores[i] for i in points}, reverse=True):
            flagged = [i for i in points if scores[i] >= threshold]
            true = sum(soft[i] for i in flagged)
            near = sum(soft[i] for i in flagged if not anomalous[i])
            positives = sum(1 for i in points if anomalous[i]) + near / 2
            found = sum(any(a <= i <= b for i in flagged) for a, b in runs) / len(runs)
            recall = min(1.0, true / positives) * found
            area += (recall - before) * true / len(flagged)
            before = recall
        areas.append(area)
    return np.mean(areas)


@pytest.mark.parametrize("seed", range(12))
def test_volume_is_that_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(20, 60))
    anomalous = np.zeros(count, int)
    for _ in range(rng.integers(1, 5)):  # several, some at an edge, some that touch or overlap
        start = rng.integers(0, count)
        anomalous[start : start + rng.integers(1, 6)] = 1
    if seed % 3 == 0:
        anomalous[0] = anomalous[-1] = 1
    levels = 4 if seed % 2 else 1000  # with ties, and nearly without
    scores = rng.integers(0, levels, count) + 2.0 * anomalous * rng.random(count).round(1)
    if seed % 4 == 3:
        scores[rng.integers(0, count, 5)] = np.nan
        scores[np.argmax(anomalous)] = 1.0
        scores[np.argmin(anomalous)] = 1.0
    for longest in (0, 1, 7, 16):
        expected = _slow_vus_pr(scores, anomalous, longest)
        assert vus_pr(scores, anomalous, longest) == pytest.approx(expected, abs=1e-12)


def test_closed_forms():
    anomalous = np.zeros(100, int)
    anomalous[40:50] = 1
    anomalous[70:72] = 1
    assert vus_pr(anomalous, anomalous, 20) == pytest.approx(1.0, abs=1e-12)
    ramps = [
        2 * sum(np.sqrt(1 - d / w) for d in range(1, w // 2 + 1) if w) for w in range(11)
    ]  # of one anomaly; the two are too far apart to meet
    constant = np.mean([(12 + 2 * ramp) / 100 for ramp in ramps])
    assert vus_pr(np.zeros(100), anomalous, 10) == pytest.approx(constant, abs=1e-12)
    assert 0.12 < constant < 0.2  # the share of anomalous points, and the tolerance


def test_without_tolerance_one_anomaly_gives_average_precision():
    rng = np.random.default_rng(0)
    anomalous = np.zeros(200, int)
    anomalous[90:120] = 1
    scores = rng.integers(0, 30, 200) + 5.0 * anomalous
    expected = average_precision_score(anomalous, scores)
    assert vus_pr(scores, anomalous, 0) == pytest.approx(expected, abs=1e-12)


def test_tolerance_rewards_what_comes_a_little_early():
    anomalous = np.zeros(200, int)
    anomalous[100:110] = 1
    early, far = np.zeros(200), np.zeros(200)
    early[96:106], far[20:30] = 1, 1
    assert vus_pr(early, anomalous, 16) > vus_pr(early, anomalous, 0) + 0.1
    assert vus_pr(far, anomalous, 16) < 0.2


@pytest.mark.parametrize(
    "anomalous, longest", [(np.zeros(9), 3), (np.ones(9), 3), (np.arange(9) > 4, -1)]
)
def test_one_class_is_refused(anomalous, longest):
    with pytest.raises(InputError, match="VUS-PR needs"):
        vus_pr(np.arange(9.0), anomalous, longest)


def test_scores_of_points_are_means_of_their_windows():
    rng = np.random.default_rng(0)
    starts, scores = rng.permutation([3, 5, 8, 20, 22]), rng.random(5)
    found = point_scores(starts, 4, scores, 30)
    for i in range(30):
        over = [s for a, s in zip(starts, scores, strict=True) if a <= i < a + 4]
        if over:
            assert found[i] == pytest.approx(np.mean(over), abs=1e-12)
        else:
            assert np.isnan(found[i])
    with pytest.raises(InputError, match="leave a series of 25 points"):
        point_scores(starts, 4, scores, 25)
    with pytest.raises(InputError, match="one score per window"):
        point_scores(starts, 4, scores[:3], 30)


def test_points_are_judged_where_a_window_covers_them():
    rng = np.random.default_rng(1)
    anomalous = rng.random(40) < 0.3
    starts = np.array([24, 10, 12, 30, 36])  # points before 10 and from 16 to 23 are in none
    names = [f"set.npz:values[{a}:{a + 4}]" for a in starts]
    masks = np.stack([anomalous[a : a + 4] for a in starts]).astype(np.uint8)
    labels = Labels(masks.any(1), [""] * 5, lambda row: masks[row])
    line = timeline(names, labels)
    scores = rng.random(5)
    points = line.points(scores)
    known = ~np.isnan(points)
    assert np.flatnonzero(~known).tolist() == [*range(10), *range(16, 24), 28, 29, 34, 35]
    found = audit_points(scores, line, 3)
    truth = anomalous[known].astype(int)
    assert found.auroc == pytest.approx(roc_auc_score(truth, points[known]), abs=1e-12)
    expected = average_precision_score(truth, points[known])
    assert found.average_precision == pytest.approx(expected, abs=1e-12)
    inside = np.where(known, anomalous, 0)
    assert found.vus_pr == pytest.approx(_slow_vus_pr(points, inside, 3), abs=1e-12)
    assert np.isnan(audit_points(np.full(5, np.nan), line)).all()


def test_other_samples_have_no_points():
    labels = Labels(np.array([0, 1]), ["", "a"], lambda row: np.zeros((4, 4), np.uint8))
    assert timeline(["values[0:4]", "values[4:8]"], labels) is None  # masks of images
    assert timeline(["a.png", "b.png"], labels) is None
    assert timeline(["values[0:4]", "values[4:8]"], labels._replace(masks=None)) is None


def test_an_audit_of_a_series_judges_its_points():
    rng = np.random.default_rng(0)
    points = np.zeros(200, np.uint8)
    points[60:66] = points[120:124] = 1
    starts = rng.permutation(np.arange(0, 191, 5))
    masks = np.stack([points[a : a + 10] for a in starts])
    names = [f"values[{a}:{a + 10}]" for a in starts]
    truth = Truth(names, lambda: Labels(masks.max(1), [""] * 39, lambda row: masks[row]))
    setting, control = Setting("binary", "some", {}), Setting("control", "raw", {})
    members = [
        Member(one, seed, "ok", 0.1, 0.9, 0.0) for one in (setting, control) for seed in (0, 1)
    ]
    scores = (rng.normal(size=(4, 1, 39)) + masks.max(1)).astype(np.float32)
    held_out = rng.normal(size=(4, 1, 20)).astype(np.float32)
    pool = Pool(tuple(members), View(scores), View(held_out), np.zeros(4, int))
    picked = scores[0, 0]
    selected = Selected(pool, {"one": {setting.key: 0.0}}, "one", setting, picked)
    found = audit(selected, truth, splits=5)
    line = timeline(names, truth.open("test"))
    np.testing.assert_array_equal(line.anomalous, points)
    assert found.points["pick: its seeds together"] == audit_points(picked, line)
    by_seed = [audit_points(scores[row, 0], line) for row in (2, 3)]
    np.testing.assert_allclose(found.points["control: raw"], np.mean(by_seed, 0), atol=1e-12)
    assert set(found.points) == {
        "ensemble: weighted mean surprise",
        "pick: its seeds together",
        "control: raw",
    }
    shown = terminal(shown_audit("a series", found, 0))
    assert f"{found.points['control: raw'].vus_pr:.3f}" in shown and "VUS-PR" in shown
    told = SimpleNamespace(audit=found, run=SimpleNamespace(pool=pool))
    lines = terminal(brief("a series", told, True, 0)).splitlines()
    for begin, name in (
        ("ensemble: weighted", "ensemble: weighted mean surprise"),
        ("pick: its seeds", "pick: its seeds together"),
        ("best control: raw", "control: raw"),
    ):
        (line,) = [x for x in lines if x.startswith(begin) and x.count("0.") == 3]
        assert line.split()[-3:] == [f"{value:.3f}" for value in found.points[name]]
    images = Truth([str(i) for i in range(39)], lambda: Labels(masks.max(1), [""] * 39))
    assert audit(selected, images, splits=5).points == {}
