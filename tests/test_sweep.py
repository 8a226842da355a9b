"""Sweep, pool, rules, selection and detector on a problem small enough for seconds."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import ad_jax
from ad_jax import selection, store
from ad_jax.alignment import ALIGNMENTS
from ad_jax.base.errors import DataWarning, InputError, MembersFailed
from ad_jax.estimator import Detector
from ad_jax.pool import Member, Pool, View, per_setting, program, sweep
from ad_jax.pool.chunks import Shard
from ad_jax.pool.rows import Data, Row, names
from ad_jax.selection import rules, search
from ad_jax.store import Record, files
from ad_jax.train import pretexts as pretext
from ad_jax.train.setting import Setting

CONFIG = program.Config(steps=4, width=8)
SETTINGS = [
    search.setting("prediction", "quarter_turns"),
    search.setting("binary", "cutpaste", area=0.1),
    search.setting("binary", "cutpaste", area=0.3),
    search.setting("binary", "rotate", angle=30.0),
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


def run(problems, settings, seeds, record=None, report=None, config=CONFIG):
    one = sweep.Sweep(problems, settings, seeds, config, record, report)
    return one.finish(search.train_all(one))


@pytest.fixture(scope="module")
def swept(problem, record):
    return run([problem], SETTINGS, SEEDS, record)


def test_pool_holds_every_member_and_the_controls(swept):
    (pool,), trained_members, progress = swept
    assert len(pool.members) == len(SETTINGS) * len(SEEDS) + 3 * len(SEEDS)
    assert len(trained_members) == len(SETTINGS) * len(SEEDS)
    assert progress.compilations == 2  # one program per pretext, families share it
    assert progress.member_steps == len(trained_members) * CONFIG.steps
    trained = [i for i, m in enumerate(pool.members) if m.setting.pretext != "control"]
    assert np.isfinite(pool.scores[trained]).all()
    assert np.isfinite(pool.own_scores()[0]).all()


def test_a_setting_alone_is_compared_with_nothing(problem, monkeypatch):
    """Controls would take longer than the training of a detector."""

    def refused(*_):
        raise AssertionError("control members were made")

    monkeypatch.setattr(sweep, "control_members", refused)
    config = CONFIG._replace(most_loss=9.0, least_auroc=0.0)  # a few steps teach nothing
    found = selection.train_one(problem, SETTINGS[0], SEEDS, config)
    assert found.seeds == tuple(SEEDS) and len(found.trained) == len(SEEDS)


def test_controls_can_be_left_out(problem, record, swept):
    one = sweep.Sweep([problem], SETTINGS, SEEDS, CONFIG, Record(record.folder), controls=False)
    (pool,) = one.finish(search.train_all(one)).pools
    count = len(SETTINGS) * len(SEEDS)
    assert pool.controls() == [] and pool.members == swept[0][0].members[:count]
    for own, whole in zip(pool.own_scores(), swept[0][0].own_scores(), strict=True):
        np.testing.assert_array_equal(own, whole[:count])


def test_finished_members_are_skipped_and_equal(problem, record, swept):
    seen = []
    (pool,), _, progress = run([problem], SETTINGS, SEEDS, Record(record.folder), seen.append)
    assert progress.compilations == 0 and progress.skipped == progress.total
    np.testing.assert_array_equal(pool.scores, swept[0][0].scores)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_other_settings_find_the_members_they_share(problem, record, swept):
    one = run([problem], [SETTINGS[2], SETTINGS[1]], (1, 0), Record(record.folder))
    assert one.progress.skipped == one.progress.total == 4


def test_a_damaged_chunk_is_done_again(problem, record, swept, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(record.folder, copy)
    path = sorted(copy.glob("*.safetensors"))[0]
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=path.name) as said:
            (pool,), _, progress = run([problem], SETTINGS, SEEDS, Record(copy))
        assert len([one for one in said if one.category is DataWarning]) == 1
        assert progress.skipped < progress.total
        np.testing.assert_array_equal(pool.scores, swept[0][0].scores)
        assert path.read_bytes() == damaged
        for redone in copy.glob(f"{path.stem}-*"):
            redone.unlink()
    assert not list(copy.glob(".*")), "a neighbour file was left"


def test_double_precision_around_it_changes_no_bit(problem, swept, float64):
    (pool,), trained, _ = run([problem], SETTINGS, (0,))
    rows = [i for i, member in enumerate(swept[0][0].members) if member.seed == 0]
    for name in ("target", "held_out", "generated"):
        ours, usual = (getattr(one, name).fields() for one in (pool, swept[0][0]))
        for field in ours:
            assert ours[field].dtype == usual[field].dtype
            np.testing.assert_array_equal(ours[field], usual[field][rows], err_msg=field)
    for key, one in trained.items():
        np.testing.assert_array_equal(one.params, swept[1][key].params)


def test_only_unusual_draws_change_the_keys(monkeypatch):
    """What other records hold stays found: the key was written down before the options counted."""
    monkeypatch.setattr(files, "RESULT_VERSION", 6)  # as it was then
    of = (
        program.Config(),
        Data("train", ("target",)),
        search.setting("binary", "cutpaste", area=0.1),
    )
    usual = names(*of, 3, 10)
    assert usual.made == "e4a05e2f4c651dbaeeb015ca"
    with jax.default_prng_impl("rbg"):
        rbg = names(*of, 3, 10)
    with jax.threefry_partitionable(False):
        other = names(*of, 3, 10)
    for kind in ("made", "state"):
        assert len({getattr(one, kind) for one in (usual, rbg, other)}) == 3


def test_records_of_one_training_set_merge_whatever_their_targets(problem, tmp_path):
    more = np.random.default_rng(5).integers(0, 160, (53, 16, 16, 1), np.uint8)
    other = ad_jax.Problem(train=problem.train, target=more)
    one, two = Record(tmp_path / "one"), Record(tmp_path / "two")
    setting = SETTINGS[1:2]
    run([problem], setting, (0,), one)
    run([other], setting, (0,), two)
    merged = store.merge([one.folder, two.folder], tmp_path / "both")
    assert merged.known == 1 and merged.rows == 3  # the training, and what each target adds
    both = Record(tmp_path / "both")
    outcome = run([problem, other], setting, (0,), both)
    assert outcome.progress.skipped == outcome.progress.total == 1
    assert outcome.progress.compilations == 0


def test_members_do_not_depend_on_their_chunk(problem, swept):
    """Another list of families is another program, so equality is to rounding (4 steps)."""
    (alone,), _, _ = run([problem], [SETTINGS[2]], (1,))
    row = next(
        i for i, m in enumerate(swept[0][0].members) if m.setting == SETTINGS[2] and m.seed == 1
    )
    np.testing.assert_allclose(alone.scores[0], swept[0][0].scores[row], rtol=2e-3, atol=2e-3)


def test_training_goes_on_where_it_stopped(problem):
    """Two steps and two more are four steps, bit for bit: one program serves every length."""
    one = sweep.Sweep([problem], SETTINGS[1:3], (0,), CONFIG)
    members = [(s, 0) for s in SETTINGS[1:3]]
    early = one.advance(members, 2, keep_state=True)
    resumed = one.advance(members, 4, early)
    whole = one.advance(members, 4)
    for key, row in whole.items():
        for name in ("params", "scores", "train_loss"):
            np.testing.assert_array_equal(_fields(resumed[key])[name], _fields(row)[name])
    assert one.progress.compilations == 1


def _fields(row):
    return {**row.made, **row.seen[0]}


def test_halving_drops_settings_and_counts_its_steps(problem, record):
    config = CONFIG._replace(steps=9, most_loss=9.0, least_auroc=0.0)  # four steps teach nothing
    one = sweep.Sweep([problem], SETTINGS, (0,), config, record)
    outcome = one.finish(search.halve(one, "train_loss"))
    (pool,) = outcome.pools
    stopped = {m.setting.key for m in pool.members if m.status == "stopped"}
    assert len(stopped) == 3
    assert one.progress.member_steps == search.budget("halving", 4, 9) == 4 * 1 + 2 * 2 + 1 * 6
    losses = rules.losses(pool, "train_loss")
    assert sum(np.isfinite(v) for v in losses.values()) == 1
    again = sweep.Sweep([problem], SETTINGS, (0,), config, Record(record.folder))
    repeated = again.finish(search.halve(again, "train_loss"))
    assert repeated.progress.compilations == 0
    np.testing.assert_array_equal(repeated.pools[0].scores, pool.scores)


def test_two_targets_share_their_trainings(problem, swept):
    half = ad_jax.Problem(train=problem.train, target=problem.target[::2])
    pools, _, progress = run([problem, half], [SETTINGS[1]], (0,))
    assert progress.total == 1
    np.testing.assert_array_equal(pools[0].scores[:, :, ::2], pools[1].scores)
    whole, own = (pool.target.alignment for pool in pools)
    np.testing.assert_array_equal(whole["parts"].to_train[0, ::2], own["parts"].to_train[0])
    (alone,), _, _ = run([half], [SETTINGS[1]], (0,))
    numbers = [name for name, one in ALIGNMENTS.items() if one.measure.kind is None]
    for name in numbers:  # rows without weight do not count
        assert whole[name][0] != own[name][0]
        np.testing.assert_allclose(own[name][0], alone.target.alignment[name][0], rtol=1e-4)


def test_new_targets_are_measured_without_training(problem, tmp_path):
    """Bit for bit what measuring right after training gives, in the same compiled program."""
    generator = np.random.default_rng(5)
    images = generator.integers(0, 160, problem.target.shape, np.uint8)
    other = ad_jax.Problem(train=problem.train, target=images)
    few, record = SETTINGS[1:3], Record(tmp_path)
    first = sweep.Sweep([problem], few, (0,), CONFIG, record)
    (before,) = first.finish(search.train_all(first)).pools
    lines = []
    outcomes = []
    for kept in (Record(tmp_path), None):
        one = sweep.Sweep([other], few, (0,), CONFIG, kept)
        one._compiled, one._controls = first._compiled, first._controls  # one shape, one program
        outcomes.append(one.finish(search.train_all(one)))
        lines.append((one._ran, one.progress.skipped))
    assert lines == [(0, 2), (2 * CONFIG.steps, 0)]
    (again,), (fresh,) = (outcome.pools for outcome in outcomes)
    for name in ("target", "held_out"):
        once, twice = getattr(again, name).fields(), getattr(fresh, name).fields()
        for field in once:
            np.testing.assert_array_equal(once[field], twice[field], err_msg=field)
    for one, another in zip(again.members, fresh.members, strict=True):
        assert str(one._replace(seconds=0.0)) == str(another._replace(seconds=0.0))  # NaN is NaN
    assert not np.array_equal(again.scores, before.scores)
    for key, network in outcomes[0].trained.items():
        for a, b in zip(network, outcomes[1].trained[key], strict=True):
            np.testing.assert_array_equal(a, b)
    both = sweep.Sweep([other, problem], few, (0,), CONFIG, Record(tmp_path))
    found = both.advance([(s, 0) for s in few], CONFIG.steps)  # nothing is left to do
    assert both.progress.compilations == 0
    key = few[0].key, 0
    np.testing.assert_array_equal(found[key].seen[0]["scores"], again.scores[0])
    np.testing.assert_array_equal(found[key].seen[1]["scores"], before.scores[0])


def test_one_failing_chunk_does_not_stop_the_others(problem, tmp_path, monkeypatch):
    members = [(SETTINGS[1], seed) for seed in range(10)]
    run_chunk, broken = sweep.Sweep._run, {4}

    def faulty(self, chunk, *arguments):
        if broken & set(chunk.seeds):
            raise ValueError("device lost\nand more")
        count = len(chunk.seeds)
        made = {"stop": np.array(4), "seconds": np.array(1.0)}
        return [Row(made, ({"scores": np.zeros(3)},), {}) for _ in range(count)]

    monkeypatch.setattr(sweep.Sweep, "_run", faulty)
    assert run_chunk is not faulty

    def start(record):
        return sweep.Sweep([problem], SETTINGS[1:2], range(10), CONFIG, record)

    with pytest.raises(MembersFailed, match="4 of 10 members failed, all others are done.*again"):
        start(Record(tmp_path)).advance(members, 4)
    record = Record(tmp_path)
    assert len(record.failed()) == 4 and len(record) == 2 * 6
    told = json.loads(next((tmp_path / "failed").glob("*.json")).read_text())
    assert told["error"].startswith("ValueError: device lost") and "Traceback" in told["traceback"]
    assert told["setting"]["augmentation"] == "cutpaste" and told["seed"] in (4, 5, 6, 7)
    with pytest.raises(ValueError, match="device lost"):
        start(None).advance(members, 4)
    broken.clear()
    again = start(record)
    assert len(again.advance(members, 4)) == 10 and again.progress.skipped == 6
    assert not record.failed() and not list((tmp_path / "failed").iterdir())


def test_shards_divide_the_chunks_and_a_gathering_finds_all(problem, tmp_path, monkeypatch):
    members = [(SETTINGS[1], seed) for seed in range(22)]
    ran = []

    def light(self, chunk, *arguments):
        ran.extend(chunk.seeds)
        made = {"stop": np.array(4), "seconds": np.array(1.0)}
        return [Row(made, ({"scores": np.full(3, s)},), {}) for s in chunk.seeds]

    monkeypatch.setattr(sweep.Sweep, "_run", light)

    def start():
        return sweep.Sweep([problem], SETTINGS[1:2], range(22), CONFIG, Record(tmp_path))

    assert start().work(members, 4, Shard(3, 3)) == 16  # chunks 3 and 6 of 6
    assert ran == [8, 9, 10, 11, 20, 21]
    assert start().work(members, 4, Shard(1, 3)) == 8
    start().advance(members, 4)
    assert sorted(ran) == list(range(22))
    late = start()
    assert late.work(members, 4, Shard(2, 3)) == 0 and late.progress.skipped == 8


def test_other_normals_cannot_share(problem):
    other = ad_jax.Problem(train=problem.train[1:], target=problem.target)
    with pytest.raises(InputError, match="share their normals"):
        run([problem, other], SETTINGS, (0,))


@pytest.mark.parametrize("name", rules.RULES)
def test_every_rule_gives_a_loss_per_setting(swept, name):
    (pool,), _, _ = swept
    members = tuple(m._replace(status="ok") for m in pool.members)  # a few steps teach nothing
    pool = dataclasses.replace(pool, members=members)
    assert name in rules.available(pool)
    values = rules.get(name).loss(pool)
    trained = [i for i, m in enumerate(pool.members) if m.setting.pretext != "control"]
    assert np.isfinite(values[trained]).all()
    assert set(rules.losses(pool, name)) == {s.key for s in pool.settings}


def test_generated_samples_are_scored_by_members_and_controls(problem, swept):
    (pool,), _, _ = swept
    count = len(problem.split(0).held_out)
    generated = pool.of_own_heads(pool.generated)
    assert generated.shape == (len(pool.members), count)
    assert np.isfinite(generated).all()
    normals = np.asarray(problem.split(0).train)
    made = np.asarray(program.generate(jax.random.key(1), normals, 4000))
    assert made.dtype == np.uint8 and made.shape[1:] == problem.shape
    np.testing.assert_allclose(made.mean(0), normals.mean(0), atol=8)
    wide = np.asarray(program.generate(jax.random.key(1), normals / np.float32(255), 50))
    assert wide.dtype == np.float32 and wide.min() >= 0 and wide.max() <= 1


def test_seeds_are_compared_only_where_there_are_some(problem):
    with pytest.raises(InputError, match="at least 2 seeds"):
        selection.select(problem, [SETTINGS[1]], (0,), "udr", CONFIG)


def test_unknown_rule_lists_the_known():
    with pytest.raises(InputError, match="dsv_code"):
        rules.get("dsv")


def _pool(statuses, losses):
    members = tuple(
        Member(Setting("binary", "cutpaste", {"area": 0.1 * (1 + i // 2)}), i % 2, s, x, 1.0, 0.0)
        for i, (s, x) in enumerate(zip(statuses, losses, strict=True))
    )
    return Pool(members, View(np.zeros((4, 4, 5))), View(np.zeros((4, 4, 5))), np.zeros(4, int))


def test_members_that_learned_nothing_never_win():
    pool = _pool(["untrained", "failed", "ok", "ok"], [0.0, 0.0, 1.0, 2.0])
    assert per_setting(pool, rules.get("train_loss").loss(pool), pool.settings).tolist() == [
        np.inf,
        1.5,
    ]


def test_collapsed_members_are_untrained():
    """Rank-one embeddings of an undetectable augmentation score well uncapped: the gate."""
    chance = float(np.log(2))
    assert sweep.status_of(CONFIG, chance, chance, auroc=0.5) == "untrained"
    assert sweep.status_of(CONFIG, 0.1, chance, auroc=0.5) == "untrained"
    assert sweep.status_of(CONFIG, 0.1, chance, auroc=0.9) == "ok"


def test_thresholds_of_having_learned_change_no_key():
    """They judge a training and make none: a record of before serves them all."""
    data = Data("train", ("problem",))
    other = CONFIG._replace(most_loss=0.5, least_auroc=0.9)
    assert names(CONFIG, data, SETTINGS[0], 0, 9) == names(other, data, SETTINGS[0], 0, 9)
    assert names(CONFIG, data, SETTINGS[0], 0, 9) != names(
        CONFIG._replace(width=CONFIG.width + 8), data, SETTINGS[0], 0, 9
    )


def test_nothing_learned_is_said(problem):
    with pytest.raises(InputError, match="learned anything"):
        selection.select(problem, [SETTINGS[1]], (0,), config=CONFIG._replace(steps=1))


@pytest.fixture(scope="module")
def detector(problem, swept):
    (pool,), trained, _ = swept
    members = [trained[SETTINGS[1].key, seed] for seed in SEEDS]
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


@pytest.mark.parametrize(
    ("name", "fitting"), [("prediction", "quarter_turns"), ("kinds", "cutpaste_scar")]
)
def test_pretexts_name_the_families_they_take(name, fitting):
    with pytest.raises(InputError, match=fitting):
        pretext.make(name, "cutpaste")


# ---- settings ----


def test_grids_leave_out_what_cannot_be():
    names = {s.family for s in search.grid((32, 24, 1), families=search.WIDE)}
    assert "binary/cutpaste" in names and "binary/quarter_turns" not in names
    areas = [s.hyper["area"] for s in search.grid((16, 16, 1)) if s.augmentation == "cutpaste"]
    assert min(areas) >= 4 / 256 and len(areas) == 6
    families = ["binary/cutpaste", "binary/gaussian_noise"]
    few = search.grid((16, 16, 1), (0.04,), families, strengths=2)
    assert [s.augmentation for s in few] == ["cutpaste", "gaussian_noise", "gaussian_noise"]


def test_random_settings_are_inside_their_ranges_and_repeatable():
    drawn = search.draw((32, 32, 3), 40, search.WIDE, seed=3)
    assert len({s.key for s in drawn}) == 40
    assert drawn == search.draw((32, 32, 3), 40, search.WIDE, seed=3)
    assert drawn != search.draw((32, 32, 3), 40, search.WIDE, seed=4)
    sweep.check_settings(drawn, (32, 32, 3), program.Config())


def test_families_are_checked():
    for family, message in (
        ("cutpaste", "PRETEXT/"),
        ("bin/cutpaste", "no pretext"),
        ("binary/x", "no augm"),
    ):
        with pytest.raises(InputError, match=message):
            search.grid((32, 32, 1), families=[family])


@pytest.mark.parametrize(
    "setting, message",
    [
        (search.setting("binary", "cutpaste", area=0.01), "2 px"),
        (search.setting("binary", "cutpaste", area=3.0), "out of range"),
        (search.setting("binary", "cutpaste", learning_rate=-1.0), "learning_rate"),
        (search.setting("binary", "cutpaste", weight_decay=-0.1), "weight_decay=-0.1 is out of"),
        (Setting("binary", "cutpast", {}), "no augmentation"),
        (Setting("bunary", "cutpaste", {}), "no pretext"),
    ],
)
def test_settings_are_checked_before_anything_trains(problem, setting, message):
    with pytest.raises(InputError, match=message):
        run([problem], [setting], (0,))


@pytest.mark.parametrize(
    "settings", [["binary/cutpaste"], search.setting("binary", "cutpaste"), 3, [None]]
)
def test_what_is_no_list_of_settings_is_one_line(problem, settings):
    with pytest.raises(InputError, match="is no (list of settings|setting); give a list") as error:
        run([problem], settings, (0,))
    assert "\n" not in str(error.value)


def test_pool_holds_no_labels():
    names = {f.name for f in dataclasses.fields(Pool)} | set(Member._fields)
    assert not names & {"labels", "names", "paths", "truth"}
