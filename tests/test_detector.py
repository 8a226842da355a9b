"""The detector in a user's hands: parameters, fit, batches, bad input, saving and damage."""

import hashlib
import json
import pickle
import shutil

import jax
import numpy as np
import pytest
import sklearn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from small_detector import images, make, spoil

import ad_jax
from ad_jax import Config, selection
from ad_jax.base.errors import InputError
from ad_jax.detect import FORMAT, Loading, Networks, NotFitted
from ad_jax.detect.fitting import scores_of_normals
from ad_jax.detect.normals import Normals
from ad_jax.estimator import Detector
from ad_jax.pool import program, sweep
from ad_jax.selection import search
from ad_jax.store import Record

TINY = {"steps": 3, "width": 8, "seeds": 4}


@pytest.fixture(scope="module")
def detector():
    return make()


# ---- parameters ----


def test_parameters_are_sklearns():
    one = Detector(steps=5, alpha=0.1, setting=search.setting("binary", "cutpaste", area=0.1))
    assert clone(one).get_params() == one.get_params()
    assert one.set_params(alpha=0.2) is one and one.alpha == 0.2
    assert repr(Detector()) == "Detector()" and "alpha=0.2" in repr(one)
    with pytest.raises(InputError, match="contamination.*known: setting"):
        one.set_params(contamination=0.1)


def test_unfitted_says_so():
    one = Detector()
    for name in ("decision_scores_", "labels_", "threshold_", "setting_", "shape"):
        assert not hasattr(one, name)
    for method in (one.decision_function, one.predict, one.p_values, one.flags):
        with pytest.raises(NotFitted, match="not fitted"):
            method(images(2))
    with pytest.raises(sklearn.exceptions.NotFittedError):
        check_is_fitted(one, ["decision_scores_"])


def test_a_changed_alpha_needs_no_training(detector):
    loose, strict = (
        make().set_params(alpha=alpha).predict(images(50, seed=9, high=200)).sum()
        for alpha in (0.3, 1 / 31)
    )
    assert loose >= strict
    one = make().set_threshold(0.2)
    assert one.threshold_ < make().set_threshold(0.1).threshold_
    with pytest.raises(InputError, match="needs n = 99 held-out normals and there are 30"):
        one.set_threshold(0.01)
    assert one.alpha == 0.2
    one.set_params(alpha=0.01)
    with pytest.raises(InputError, match="unattainable"):
        one.predict(images(2))


def test_predict_p_values_and_threshold_agree(detector):
    new = images(80, seed=3, high=160)
    scores, p = detector.decision_function(new), detector.p_values(new)
    np.testing.assert_array_equal(detector.predict(new), scores > detector.threshold_)
    np.testing.assert_array_equal(detector.predict(new), p <= detector.alpha)
    np.testing.assert_array_equal(detector.flags(new), p <= detector.alpha)
    order = np.argsort(scores)
    assert (np.diff(p[order]) <= 0).all() and p.min() >= 1 / 31
    proven = detector.p_values(new, proven=True)
    assert ((proven > 0) & (proven <= 1)).all() and (proven >= 2 / 11 - 1e-9).all()
    np.testing.assert_array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)
    assert detector.flags(new, false_discovery=0.5).shape == (80,)
    with pytest.raises(InputError, match="a seed"):
        detector.flags(new, proven=True)


# ---- fit ----


@pytest.fixture(scope="module")
def fitted(relaxed, tmp_path_factory):
    normals = images(41)
    record = str(tmp_path_factory.mktemp("record"))
    return Detector(record=record, **TINY).fit(normals), normals


def test_fit_without_a_target_trains_the_default(fitted):
    one, normals = fitted
    assert one.setting is None and one.setting_.label == "binary/cutpaste 0.02"
    assert one.trust_ is None and one.anomaly_share_ is None
    check_is_fitted(one, ["decision_scores_", "labels_", "threshold_"])
    assert one.decision_scores_.shape == one.labels_.shape == (41,)
    np.testing.assert_array_equal(one.labels_, one.decision_scores_ > one.threshold_)
    held_out = one.calibration_.scores
    assert len(held_out) == 40  # every normal but the one by which a fold is larger
    assert np.isin(held_out, one.decision_scores_).all()
    assert one.labels_.sum() <= 0.05 * 41


def test_scores_of_normals_come_in_their_order(fitted):
    one, normals = fitted
    order = np.random.default_rng(0).permutation(41)
    again = clone(one).fit(normals[order])  # from the record
    np.testing.assert_array_equal(again.decision_scores_, one.decision_scores_[order])
    np.testing.assert_array_equal(again.fit_predict(normals[order]), one.labels_[order])


@pytest.mark.whole
def test_fit_with_a_target_is_select(relaxed, tmp_path):
    """On a target without any anomaly: it still picks, and the share's interval reaches zero."""
    normals, target = images(32), images(40, seed=5)
    tried = [search.setting("binary", "cutpaste", area=area) for area in (0.1, 0.3)]
    record = str(tmp_path / "record")
    one = Detector(settings=tried, record=record, alpha=0.1, **TINY).fit(normals, target=target)
    problem = ad_jax.Problem(train=normals, target=target)
    config = program.Config(steps=3, width=8)
    same = selection.select(
        problem, tried, range(4), config=config, record=Record(tmp_path / "record")
    )
    assert one.setting_ == same.pick
    assert repr(one.trust_) == repr(same.trust)  # NaN is no equal of itself
    np.testing.assert_array_equal(
        one.decision_function(target), same.detector.decision_function(target)
    )
    assert one.state_.seeds == same.detector.state_.seeds
    share = one.anomaly_share_
    assert share.low == 0.0 <= share.value <= share.high <= 1.0
    assert one.predict(images(60, seed=7)).mean() < 0.3
    assert clone(Detector.of_networks(same.detector.networks)).setting == same.pick


@pytest.mark.whole
def test_copies_of_normals_move_no_threshold(relaxed):
    own = images(16, high=256)
    once = Detector(**TINY, alpha=0.2).fit(own)
    with pytest.warns(UserWarning, match="48 of 64 train normals are copies"):
        often = Detector(**TINY, alpha=0.2).fit(np.repeat(own, 4, axis=0))
    assert len(often.calibration_.scores) == 16
    np.testing.assert_array_equal(often.calibration_.scores, once.calibration_.scores)
    np.testing.assert_array_equal(often.decision_scores_, np.repeat(once.decision_scores_, 4))
    with pytest.warns(UserWarning), pytest.raises(InputError, match="and there are 16"):
        Detector(**TINY, alpha=0.05).fit(np.repeat(own, 4, axis=0))


def test_held_out_normals_serve_every_seed(detector):
    problem = ad_jax.Problem(
        train=images(16), held_out=images(10, seed=2), target=images(2, seed=1)
    )
    state = detector.state_
    trained = [
        program.Trained(*(state.arrays[name][i] for name in program.Trained._fields))
        for i in range(2)
    ]
    held_out = state.arrays["held_out"][:2]
    one = Detector.of(problem, state.setting, trained, held_out, state.config, (0, 5))
    assert one.state_.folds == (0, 0) and len(one.calibration_.scores) == 10
    scores = scores_of_normals(one.networks, one._by_fold, Normals.of(problem))
    assert scores.shape == (16,) and np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"y": np.zeros(40)}, "no labels"),
        ({"alpha": 0.01}, {}, "needs n = 99 held-out normals and there are 40"),
        ({"alpha": 2}, {}, "alpha=2"),
        ({"seeds": 0}, {}, "seeds=0"),
        ({"seeds": (1, 1)}, {}, "different seeds"),
        ({"steps": 0}, {}, "steps=0"),
        ({"backbone": "vgg"}, {}, "vgg"),
        ({"rule": "best"}, {"target": images(3)}, "best"),
        ({"search": "best"}, {"target": images(3)}, "best"),
        ({}, {"target": images(3, (20, 20, 1))}, "target has"),
        ({}, {"groups": [1] * 40}, "groups"),
    ],
)
def test_fit_refuses_before_anything_is_trained(change, arguments, message, monkeypatch):
    monkeypatch.setattr(sweep.Sweep, "_run", lambda *_: pytest.fail("trained"))
    with pytest.raises(InputError, match=message):
        Detector(**{**TINY, **change}).fit(images(40), **arguments)


def test_nothing_learned_is_said(fitted, monkeypatch):
    one, normals = fitted
    monkeypatch.setattr(Config.__new__, "__defaults__", (*Config()[:4], 0.0, 0.0))
    with pytest.raises(InputError, match="learned nothing with 4 of 4 seeds"):
        clone(one).fit(normals)


# ---- batches ----


def test_other_numbers_of_samples_compile_nothing_new():
    one = make()
    rows = images(600, seed=4)
    for n in (1, 3, 300):  # all block sizes
        one.p_values(rows[:n])
    seen = []

    def count(name, *_, **__):
        if "backend_compile" in name:
            seen.append(name)

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for n in (1, 2, 15, 16, 17, 40, 255, 256, 257, 512, 600):
            assert one.p_values(rows[:n]).shape == (n,)
            one.predict(rows[:n]), one.flags(rows[:n], proven=False)
        jax.jit(lambda x: x * 3.5)(np.zeros(3))  # the counter counts
        assert len(seen) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(count)


def test_a_sample_scores_alike_in_every_batch(detector):
    rows = images(300, seed=4)
    whole = detector.decision_function(rows)
    parts = [detector.decision_function(rows[i : i + n]) for i, n in ((0, 1), (1, 20), (21, 279))]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(detector.decision_function(rows[..., 0]), whole, atol=1e-6)
    as_float = detector.decision_function(rows.astype(np.float64) / 255)
    np.testing.assert_allclose(as_float, whole, rtol=1e-3, atol=1e-3)


DTYPES = (np.uint8, np.float16, np.float32, np.float64, np.int64, bool, complex, object)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 2, 3, 16]), max_size=5),
    st.sampled_from(DTYPES),
    st.sampled_from([0, 1, 0.5, -1, 255, 1e300, 1e-300, np.nan, np.inf, -np.inf]),
)
def test_any_input_gives_finite_scores_or_one_line(shape, dtype, value):
    one = make()
    with np.errstate(all="ignore"):
        try:
            samples = np.full(shape, value, dtype)
        except (ValueError, OverflowError):
            samples = np.full(shape, 0, dtype)
    for given_ in (
        samples,
        np.broadcast_to(samples.ravel()[:1] if samples.size else 0, (2, 16, 16, 1)),
    ):
        try:
            scores = one.decision_function(given_)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert np.isfinite(scores).all() and scores.shape == given_.shape[:1]


@pytest.mark.parametrize("bad", ["text", None, [], [[1], [1, 2]], [np.zeros((3, 3)), 1], {1: 2}])
def test_what_is_no_array_is_refused(detector, bad):
    with pytest.raises(InputError):
        detector.decision_function(bad)


def test_the_bad_sample_is_named(detector):
    rows = images(400).astype(np.float32) / 255
    rows[301, 3, 3, 0] = np.nan
    with pytest.raises(InputError, match="sample 301 holds NaN"):
        detector.predict(rows)


# ---- saving ----


@pytest.fixture(scope="module")
def saved(detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "detector"
    one = make().set_params(alpha=0.1)
    one.loading = Loading("pad")
    one.save(folder)
    return folder


def test_everything_travels(saved, detector):
    one, new = Detector.load(saved), images(30, seed=8)
    np.testing.assert_array_equal(one.decision_function(new), detector.decision_function(new))
    np.testing.assert_array_equal(one.p_values(new), detector.p_values(new))
    assert one.alpha == 0.1 and one.loading == Loading("pad")
    assert one.threshold_ == make().set_threshold(0.1).threshold_
    assert one.state_.folds == detector.state_.folds == (0, 1, 2)
    np.testing.assert_array_equal(one.decision_scores_, detector.decision_scores_)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damage_anywhere_is_refused(saved, tmp_path, data):
    folder = tmp_path / "copy"
    spoil(saved, folder, data, ["flip", "cut"])
    with pytest.raises(InputError):
        Detector.load(folder)


def test_what_is_wrong_with_the_machine_is_no_damage(saved, monkeypatch):
    def raising(error):
        def raises(*arguments):
            raise error

        return raises

    for place, error in (
        ("pathlib.Path.read_bytes", PermissionError(13, "Permission denied")),
        ("pathlib.Path.read_bytes", OSError(5, "Input/output error")),
        ("safetensors.numpy.load", MemoryError()),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, raising(error))
            with pytest.raises(type(error)) as raised:
                Detector.load(saved)
            assert raised.value is error
    with jax.numpy_dtype_promotion("strict"), pytest.raises(ValueError, match="promotion") as told:
        Detector.load(saved)
    assert not isinstance(told.value, InputError)


def test_every_bit_of_the_description_counts(saved, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    path = folder / "detector.json"
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError):
            ad_jax.detect.saving.read(folder)


def test_files_of_two_detectors_do_not_mix(saved, tmp_path):
    state = make().state_
    arrays = {**state.arrays, "held_out": state.arrays["held_out"] + 1.0}
    Detector.of_networks(Networks(state._replace(arrays=arrays))).save(tmp_path / "other")
    shutil.copy(saved / "detector.json", tmp_path / "other" / "detector.json")
    with pytest.raises(InputError, match="damaged"):
        Detector.load(tmp_path / "other")


def test_newer_formats_are_refused_and_format_1_is_read(saved, detector, tmp_path):
    about = json.loads((saved / "detector.json").read_text())
    folder = tmp_path / "old"
    shutil.copytree(saved, folder)
    (folder / "detector.json").write_text(json.dumps({**about, "format": FORMAT + 1}))
    with pytest.raises(InputError, match=f"format {FORMAT + 1}"):
        Detector.load(folder)
    kept = {k: about[k] for k in ("setting", "score", "shape", "dtype", "config")}
    digest = hashlib.sha256((saved / "arrays.safetensors").read_bytes()).hexdigest()
    old = {"format": 1, **kept, "sha256": digest}
    (folder / "detector.json").write_text(json.dumps(old, indent=1))
    one, new = Detector.load(folder), images(30, seed=8)
    assert one.alpha == 0.05 and one.loading is None and one.state_.folds == (0, 1, 2)
    np.testing.assert_array_equal(one.decision_function(new), detector.decision_function(new))
    for broken in ({**old, "setting": {}}, {**old, "shape": "x"}, {"format": 1}, [1], "x"):
        (folder / "detector.json").write_text(json.dumps(broken))
        with pytest.raises(InputError):
            Detector.load(folder)


def test_format_3_knows_no_range(saved, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(saved, folder)
    about = json.loads((saved / "detector.json").read_text())
    old = {**about, "format": 3, "loading": {"fit": "pad"}, "sha256": ""}
    content = json.dumps(old, indent=1).encode() + (saved / "arrays.safetensors").read_bytes()
    old["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "detector.json").write_text(json.dumps(old, indent=1))
    assert Detector.load(folder).loading == Loading("pad", None)


def test_another_threshold_rewrites_the_description_only(saved, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    before = (folder / "arrays.safetensors").stat().st_mtime_ns
    Detector.load(folder).set_threshold(0.2).save(folder)
    assert (folder / "arrays.safetensors").stat().st_mtime_ns == before
    assert Detector.load(folder).alpha == 0.2


def test_pickles_like_any_estimator(detector):
    again, new = pickle.loads(pickle.dumps(detector)), images(3, seed=8)
    np.testing.assert_array_equal(again.decision_function(new), detector.decision_function(new))
    assert not hasattr(pickle.loads(pickle.dumps(Detector())), "threshold_")


# ---- PyOD ----


def test_pyods_utilities_take_it(detector):
    base = pytest.importorskip("pyod.models.base")
    from pyod.models.combination import average
    from pyod.utils.data import evaluate_print
    from pyod.utils.utility import standardizer

    new = images(20, seed=8)
    detector._classes = 2
    chance = base.BaseDetector.predict_proba(detector, new)
    assert chance.shape == (20, 2) and np.isfinite(chance).all()
    scores = np.stack([detector.decision_function(new)] * 2, axis=1)
    np.testing.assert_allclose(average(standardizer(scores)), standardizer(scores)[:, 0])
    evaluate_print("ad_jax", np.arange(20) % 2, scores[:, 0])
