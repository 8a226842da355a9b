"""Sweep, pool, rules, selection and detector on a problem small enough for seconds."""

import dataclasses

import numpy as np
import pytest

import ad_jax
from ad_jax import alignment, pretext, program, rules, selection, sweep
from ad_jax.detector import Detector
from ad_jax.errors import InputError
from ad_jax.pool import Member, Pool, Setting, per_setting
from ad_jax.store import Record

CONFIG = program.Config(steps=4, width=8)
SETTINGS = [
    selection.setting("prediction", "quarter_turns"),
    selection.setting("binary", "cutpaste", area=0.1),
    selection.setting("binary", "cutpaste", area=0.3),
    selection.setting("binary", "rotate", angle=30.0),
]
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    normals = generator.integers(0, 128, (24, 16, 16, 1), np.uint8)
    target = generator.integers(0, 160, (10, 16, 16, 1), np.uint8)
    return ad_jax.Problem(train=normals, target=target)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return Record(tmp_path_factory.mktemp("record"))


@pytest.fixture(scope="module")
def swept(problem, record):
    return sweep.sweep([problem], SETTINGS, SEEDS, CONFIG, record)


def test_pool_holds_every_member_and_the_controls(swept):
    (pool,), trained_members, progress = swept
    assert len(pool.members) == len(SETTINGS) * len(SEEDS) + 3 * len(SEEDS)
    assert len(trained_members) == len(SETTINGS) * len(SEEDS)
    assert progress.compilations == 2  # one program per pretext, families share it
    trained = [i for i, m in enumerate(pool.members) if m.setting.pretext != "control"]
    assert np.isfinite(pool.scores[trained]).all()
    assert np.isfinite(pool.own_scores()[0]).all()


def test_finished_chunks_are_skipped_and_equal(problem, record, swept):
    seen = []
    (pool,), _, progress = sweep.sweep(
        [problem], SETTINGS, SEEDS, CONFIG, record, report=seen.append
    )
    assert progress.compilations == 0 and progress.skipped == progress.total
    np.testing.assert_array_equal(pool.scores, swept[0][0].scores)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_a_damaged_chunk_is_done_again(problem, record, swept):
    path = sorted(record.folder.glob("*.npz"))[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert record.get(path.stem) is None
    path.write_bytes(content)
    assert record.get(path.stem) is not None
    assert not list(record.folder.glob(".*")), "a neighbour file was left"


def test_members_do_not_depend_on_their_chunk(problem, swept):
    """Another list of families is another program, so equality is to rounding (4 steps)."""
    (alone,), _, _ = sweep.sweep([problem], [SETTINGS[2]], (1,), CONFIG)
    row = next(
        i for i, m in enumerate(swept[0][0].members) if m.setting == SETTINGS[2] and m.seed == 1
    )
    np.testing.assert_allclose(alone.scores[0], swept[0][0].scores[row], rtol=2e-3, atol=2e-3)


def test_two_targets_share_their_trainings(problem, swept):
    half = ad_jax.Problem(train=problem.train, target=problem.target[::2])
    pools, _, progress = sweep.sweep([problem, half], [SETTINGS[1]], (0,), CONFIG)
    assert progress.total == 1
    np.testing.assert_array_equal(pools[0].scores[:, :, ::2], pools[1].scores)
    own = alignment.Parts(*(np.asarray(p)[0] for p in pools[1].parts))
    whole = alignment.Parts(*(np.asarray(p)[0] for p in pools[0].parts))
    np.testing.assert_array_equal(whole.to_train[::2], own.to_train)
    assert pools[0].mmd[0] != pools[1].mmd[0]


def test_other_normals_cannot_share(problem):
    other = ad_jax.Problem(train=problem.train[1:], target=problem.target)
    with pytest.raises(InputError, match="share their normals"):
        sweep.sweep([problem, other], SETTINGS, (0,), CONFIG)


@pytest.mark.parametrize("name", rules.RULES)
def test_every_rule_gives_a_loss_per_setting(swept, name):
    (pool,), _, _ = swept
    values = rules.get(name).loss(pool)
    trained = [i for i, m in enumerate(pool.members) if m.setting.pretext != "control"]
    assert np.isfinite(values[trained]).all()
    assert set(rules.losses(pool, name)) == {s.key for s in pool.settings}


def test_unknown_rule_lists_the_known():
    with pytest.raises(InputError, match="dsv_code"):
        rules.get("dsv")


def _pool(statuses, losses):
    members = tuple(
        Member(Setting("binary", "cutpaste", {"area": 0.1 * (1 + i // 2)}), i % 2, s, x, 1.0, 0.0)
        for i, (s, x) in enumerate(zip(statuses, losses, strict=True))
    )
    return Pool(members, np.zeros((4, 3, 5)), np.zeros((4, 3, 5)), default_head=np.zeros(4, int))


def test_members_that_learned_nothing_never_win():
    pool = _pool(["untrained", "failed", "ok", "ok"], [0.0, 0.0, 1.0, 2.0])
    assert per_setting(pool, rules.get("train_loss").loss(pool), pool.settings).tolist() == [
        np.inf,
        1.5,
    ]


def test_collapsed_members_are_untrained():
    """Rank-one embeddings of an undetectable augmentation score well uncapped: the gate."""
    assert sweep.status_of(loss=np.log(2), discrimination=0.5, classes=2, finite=True) != "ok"
    assert sweep.status_of(loss=0.1, discrimination=0.9, classes=2, finite=True) == "ok"
    assert sweep.status_of(loss=0.1, discrimination=0.9, classes=2, finite=False) == "failed"


def test_nothing_learned_is_said(problem):
    with pytest.raises(InputError, match="learned anything"):
        selection.select(problem, [SETTINGS[1]], (0,), config=CONFIG._replace(steps=1))


@pytest.fixture(scope="module")
def detector(problem, swept):
    (pool,), trained, _ = swept
    members = [trained[f"{SETTINGS[1].key}|{seed}"] for seed in SEEDS]
    held_out = pool.own_scores()[1][pool.rows(SETTINGS[1])]
    return Detector.of(problem, SETTINGS[1], members, held_out, CONFIG)


def test_detector_scores_like_its_members(problem, swept, detector):
    (pool,), _, _ = swept
    inside = detector.combine(pool.own_scores()[0][pool.rows(SETTINGS[1])])
    alone = detector.decision_function(problem.target)
    np.testing.assert_allclose(alone, inside, rtol=1e-3, atol=1e-3)


def test_detector_loads_back_bit_equal(problem, detector, tmp_path):
    detector.save(tmp_path / "d")
    again = Detector.load(tmp_path / "d")
    np.testing.assert_array_equal(
        again.decision_function(problem.target), detector.decision_function(problem.target)
    )
    p = again.p_values(problem.target)
    assert ((p > 0) & (p <= 1)).all()


def test_damaged_detector_is_refused(detector, tmp_path):
    detector.save(tmp_path / "d")
    path = tmp_path / "d" / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        Detector.load(tmp_path / "d")
    with pytest.raises(InputError, match="no readable detector"):
        Detector.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "samples, message",
    [
        (np.zeros((2, 8, 8, 1), np.uint8), "shape"),
        (np.full((2, 16, 16, 1), np.nan, np.float32), "NaN"),
        (np.full((2, 16, 16, 1), 3.0, np.float32), r"\[0, 1\]"),
    ],
)
def test_detector_refuses_bad_samples(detector, samples, message):
    with pytest.raises(InputError, match=message):
        detector.decision_function(samples)


def test_prediction_needs_views():
    with pytest.raises(InputError, match="quarter_turns"):
        pretext.make("prediction", "cutpaste")


@pytest.mark.parametrize(
    "setting, message",
    [
        (selection.setting("binary", "cutpaste", area=0.01), "2 px"),
        (selection.setting("binary", "cutpaste", area=3.0), "out of range"),
        (selection.setting("binary", "cutpaste", learning_rate=-1.0), "learning_rate"),
        (Setting("binary", "cutpast", {}), "no augmentation"),
        (Setting("bunary", "cutpaste", {}), "no pretext"),
    ],
)
def test_settings_are_checked_before_anything_trains(problem, setting, message):
    with pytest.raises(InputError, match=message):
        sweep.sweep([problem], [setting], (0,), CONFIG)


def test_pool_holds_no_labels():
    names = {f.name for f in dataclasses.fields(Pool)} | set(Member._fields)
    assert not names & {"labels", "names", "paths", "truth"}
