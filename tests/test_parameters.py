"""Parameters out of numpy and JAX become plain values where they come in; others are refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_detector import _members, images

from ad_jax import Problem, estimator, select, tune
from ad_jax.base.errors import InputError
from ad_jax.base.parameters import numbered, real, whole, word
from ad_jax.detect.state import TrainedSeeds
from ad_jax.estimator import Detector
from ad_jax.pool.rows import Data, names
from ad_jax.pool.sweep import Sweep
from ad_jax.selection import search, tuning
from ad_jax.selection.tuning import descent
from ad_jax.train.setting import Config, Setting

NUMPY = Config(np.int64(3), np.array(8), np.str_("encoder"), jnp.int32(7))
PLAIN = Config(3, 8, "encoder", 7)


def test_scalars_of_other_libraries_become_plain():
    for value in (np.int64(4), np.uint8(4), np.array(4), jnp.int32(4), 4):
        assert type(whole("n", value)) is int and whole("n", value) == 4
    for value in (np.float32(0.5), np.float64(0.5), np.array(0.5), jnp.float32(0.5), 0.5):
        assert type(real("x", value)) is float and real("x", value) == 0.5
    for value in (np.str_("mlp"), np.array("mlp"), "mlp"):
        assert type(word("name", value)) is str and word("name", value) == "mlp"
    for value in (3, np.int64(3), np.array(3), np.arange(3), (0, 1, 2), [np.int8(0), 1, 2]):
        assert numbered(value) == (0, 1, 2)


@pytest.mark.parametrize(
    "value", [True, np.True_, np.array(True), 1.5, np.float32(2), "4", None, [4]]
)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(InputError, match=r"^steps=[^\n]* is no whole number[^\n]*$"):
        whole("steps", value)


@pytest.mark.parametrize("seeds", [True, 0, -1, [], [0, 0], [0.5], [True], [2**31], None, [None]])
def test_seeds_that_are_none_are_refused(seeds):
    with pytest.raises(InputError, match=r"^seeds?=[^\n]*$"):
        numbered(seeds)


def test_a_detector_with_parameters_of_numpy_saves_and_loads(tmp_path, monkeypatch):
    problem, _, trained, held_out = _members((16, 16, 1), 3, 40)
    seen = {}

    def train_one(task, setting, seeds, config, runtime):
        seen.update(setting=setting, seeds=seeds, config=config)
        return TrainedSeeds(setting.checked(), seeds, tuple(trained), held_out)

    monkeypatch.setattr(estimator, "train_one", train_one)
    setting = Setting(np.str_("binary"), "cutpaste", {"area": np.float32(0.1)}, np.float64(1e-3))
    own = {"steps": np.int64(1), "width": np.array(8), "root": np.uint16(5), "seeds": np.int32(3)}
    one = Detector(setting, **own, alpha=np.float32(0.2)).fit(problem.train)
    one.save(tmp_path / "saved")
    again = Detector.load(tmp_path / "saved")
    assert again.config == Config(1, 8, "encoder", 5) and seen["seeds"] == (0, 1, 2)
    assert {type(value) for value in seen["config"]} == {int, str, float}
    new = images(4, seed=3)
    np.testing.assert_array_equal(again.decision_function(new), one.decision_function(new))


def test_a_sweep_names_its_rows_alike_for_numpy_and_plain_numbers():
    problem = Problem(train=images(16), target=images(4, seed=1))
    setting = Setting("binary", "cutpaste", {"area": np.float64(0.1)}, jitter=np.float64(0.1))
    plain = Setting("binary", "cutpaste", {"area": 0.1})
    sweep = Sweep([problem], [setting], np.arange(2), NUMPY)
    data = Data.of([problem])
    ours = names(sweep.config, data, sweep.settings[0], sweep.seeds[1], 3)
    assert ours == names(PLAIN, data, plain, 1, 3)


def test_a_plan_of_tuning_is_plain_too():
    plan = tuning.Plan(outer_steps=np.int64(2), batch=np.array(8), rate=np.float32(0.5))
    assert descent.check(plan) == tuning.Plan(outer_steps=2, batch=8, rate=0.5)
    assert {type(value) for value in descent.check(plan)} <= {int, float, str, tuple, bool}
    problem = Problem(train=images(16), target=images(4, seed=1))
    fixed = (
        {"ratio": np.float32(1.0)} if "ratio" in search.augmentations.get("cutdiff").space else {}
    )
    space = tuning.make_space(
        "cutdiff", problem.shape, bounds={"area": np.array([0.1, 0.2])}, fixed=fixed
    )
    assert all(
        type(v) is float for v in (*(one.low for one in space.free.values()), *space.fixed.values())
    )
    job = descent.make_job(problem, space, np.int64(2), plan, 0, NUMPY, None)
    assert len(job.thetas) == 2 and job.config == PLAIN


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"steps": True}, "steps=True"),
        ({"root": 2**32}, "root=4294967296"),
        ({"root": -1}, "root=-1"),
        ({"width": 8.5}, "width=8.5"),
        ({"backbone": 3}, "backbone=3"),
        ({"rule": None}, "rule=None"),
        ({"tile": True}, "tile=True"),
    ],
)
def test_a_detector_refuses_what_is_no_parameter_before_it_trains(parameters, word):
    with pytest.raises(InputError, match=r"^[^\n]*$") as raised:
        Detector(**parameters).fit(images(40))
    assert word in str(raised.value)


@pytest.mark.parametrize("data", [None, {"a": 1}, (x for x in range(3)), {1, 2}])
def test_data_that_are_no_array_are_named(data):
    kind = type(data).__name__
    for call in (lambda: Problem(train=data, target=images(2)), lambda: Detector().fit(data)):
        with pytest.raises(InputError, match=rf"^(train|X) is a {kind}; give an array[^\n]*$"):
            call()


@pytest.mark.parametrize("call", [select, tune])
@pytest.mark.parametrize("problem", [None, images(20), (1, 2), {"train": 1}])
def test_what_is_no_problem_says_how_to_make_one(call, problem):
    with pytest.raises(InputError, match=rf"^a {type(problem).__name__} is no problem[^\n]*$"):
        call(problem)
