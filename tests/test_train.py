"""Training: it learns, it resumes, it takes tracers, it lowers everywhere, it sees no target."""

import inspect
import re

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import augment
from ad_jax.base import numerics
from ad_jax.pool.program import PerMember, Shared, make_program
from ad_jax.train import pretexts as pretext
from ad_jax.train import trainer as train
from ad_jax.train.backbones import as_unit, encoder
from ad_jax.train.setting import TRAINING, Config, Setting

SHAPE = (16, 16, 1)


FAMILY = {name: "quarter_turns" for name in pretext.PRETEXTS} | {"kinds": "cutpaste_scar"}


def trainer_of(name, **changed):
    family = FAMILY[name]
    task = pretext.make(name, family)._replace(**changed)
    backbone = encoder(SHAPE, task.classes, 8, task.reconstructs)

    return train.make_train(backbone, task, train.over((family,)))


def steps_of(trainer, keys, hyper, normals, steps):
    """State and every step's info, in a scan that can be differentiated."""
    return jax.lax.scan(
        lambda state, _: trainer.step(state, keys, hyper, normals),
        trainer.init(keys, hyper),
        length=steps,
    )


def hyper_of(rate=3e-3, name="binary"):
    entry = augment.get(FAMILY[name])
    hyper = entry.defaults()
    if name == "kinds":  # seen at 16 px
        hyper |= {"scar.length": 0.6, "scar.width": 0.2, "cutpaste.area": 0.2}
    packed = entry.space.pack(hyper, augment.PACKED)
    training = {**TRAINING.defaults(), "learning_rate": jnp.float32(rate)}
    return train.Hyper(jnp.int32(0), packed, training)


@pytest.fixture(scope="module")
def normals():
    ramp = np.linspace(0, 200, 16, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (20, 16, 16, 1), np.uint8)
    return jnp.asarray(np.tile(ramp[:, None, None], (20, 1, 16, 1)) + noise)


@pytest.mark.whole
@pytest.mark.parametrize("name", pretext.PRETEXTS)
def test_a_ramp_is_learned(name, normals):
    trainer = trainer_of(name)
    run = jax.jit(lambda h: steps_of(trainer, train.seed_keys(0, 0), h, normals, 150)[1])
    info = run(hyper_of(name=name))
    assert info.loss[-10:].mean() < 0.8 * min(info.loss[0], jnp.log(3.0))


@pytest.mark.parametrize("name", pretext.PRETEXTS)
def test_batches_hold_every_class_and_no_more_than_a_batch(name, normals):
    task = pretext.make(name, FAMILY[name])
    entry = augment.get(FAMILY[name])
    drawn = jnp.tile(as_unit(normals), (4, 1, 1, 1))[: task.normals]

    def augment_batch(key, samples, donors):
        return pretext.augment_all(
            lambda k, s, d: entry.pseudo(k, entry.defaults(), s, d), key, samples, donors
        )

    inputs, targets, weights = task.batch(jax.random.key(0), augment_batch, drawn)
    np.testing.assert_array_equal(weights, np.ones(len(inputs)))
    assert 0.9 * pretext.BATCH <= len(inputs) == len(targets) <= pretext.BATCH
    if task.classes:
        counts = np.bincount(targets, minlength=task.classes)
        assert len(counts) == task.classes and counts.min() > 0.5 * len(inputs) / task.classes


def test_traced_lengths_equal_the_scan(normals):
    trainer, keys, hyper = trainer_of("binary"), train.seed_keys(0, 1), hyper_of()
    whole, info = jax.jit(lambda: steps_of(trainer, keys, hyper, normals, 12))()
    go_on = jax.jit(lambda s, a, b: trainer.go_on(s, keys, hyper, normals, a, b))
    state, _ = go_on(trainer.init(keys, hyper), 0, 5)
    state, late = go_on(state, 5, 12)
    chex.assert_trees_all_close(state.params, whole.params, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(late.loss, info.loss[-1:].mean(), rtol=1e-3)


def test_steps_compose(normals):
    trainer, keys, hyper = trainer_of("binary"), train.seed_keys(0, 3), hyper_of()
    step = jax.jit(chex.assert_max_traces(lambda s: trainer.step(s, keys, hyper, normals)[0], 1))
    state = trainer.init(keys, hyper)
    for _ in range(3):
        state = step(state)
    whole, _ = jax.jit(lambda: steps_of(trainer, keys, hyper, normals, 3))()
    chex.assert_trees_all_close(state.params, whole.params, rtol=1e-3, atol=1e-4)


def test_settings_have_every_hyperparameter_of_training_at_its_default():
    setting = Setting("binary", "cutpaste", {})
    assert setting.training == TRAINING.defaults()
    assert Setting._fields == ("pretext", "augmentation", "hyper", *TRAINING)


def test_learning_rate_may_be_traced(normals):
    trainer = trainer_of("binary")

    def last(rate):
        return steps_of(trainer, train.seed_keys(0, 0), hyper_of(rate), normals, 3)[1].loss[-1]

    assert jnp.isfinite(jax.jit(jax.grad(last))(1e-3))
    both = jax.jit(jax.vmap(last))(jnp.array([1e-3, 2e-3]))
    assert both[0] != both[1]


def test_a_loss_of_another_shape_than_the_weights_is_refused_at_trace_time(normals):
    loss = pretext.make("binary", "quarter_turns").loss
    trainer = trainer_of("binary", loss=lambda *arguments: loss(*arguments)[:, None])
    with pytest.raises(AssertionError, match="shape"):
        jax.eval_shape(lambda: steps_of(trainer, train.seed_keys(0, 0), hyper_of(), normals, 1))


def test_training_takes_no_target():
    for function in trainer_of("binary"):
        assert not {"target", "problem", "truth"} & set(inspect.signature(function).parameters)


OVER = {"in turn": numerics.IN_TURN, "side by side": numerics.SIDE_BY_SIDE}


def chunk_of(name, families, over, steps=2, **config):
    """A chunk's program and its arguments: two real members and one of padding."""
    task = pretext.make(name, families[0])
    program = make_program(Config(steps=steps, width=8, **config), SHAPE, task, families, over)
    keys = jax.vmap(lambda s: train.seed_keys(0, s))(jnp.arange(3))
    entry = augment.get(families[0])
    hyper = train.Hyper(
        jnp.int32(0),
        jnp.stack([entry.space.pack(entry.defaults(), augment.packed_length(families))] * 3),
        {name: jnp.full(3, value) for name, value in TRAINING.defaults().items()},
    )
    images = jax.random.uniform(jax.random.key(3), (1, 12, *SHAPE))
    members = PerMember(keys, tuple(hyper)[1:], jnp.array([True, True, False]), jnp.zeros(3, int))
    shared = Shared(
        hyper.family, jnp.int32(0), jnp.int32(steps), images, images, images[0], jnp.ones((1, 12))
    )
    return program, (program.init(keys, hyper), members, shared)


@pytest.mark.whole
@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("name", pretext.PRETEXTS)
def test_both_forms_of_the_program_lower_for_every_platform(name, over):
    program, arguments = chunk_of(name, (FAMILY[name],), OVER[over])
    export = jax.export.export(jax.jit(program.run), platforms=["cpu", "cuda", "tpu"])
    assert set(export(*arguments).platforms) == {"cpu", "cuda", "tpu"}


@pytest.mark.parametrize("over", OVER)
def test_no_form_of_the_program_runs_the_augmentations_of_other_families(over):
    program, arguments = chunk_of("binary", ("cutpaste", "blur", "rotate"), OVER[over])
    text = jax.jit(program.run).lower(*arguments).as_text()
    # A case in training and one in measuring; in a batched switch every branch runs, and a select
    # takes the place of the case.
    assert len(re.findall(r"stablehlo\.case", text)) >= 2


def test_members_side_by_side_are_those_in_turn():
    found = []
    for over in OVER.values():
        program, arguments = chunk_of("binary", ("cutpaste", "blur"), over, steps=3)
        state, measured = jax.jit(program.run)(*arguments)
        found.append(jax.tree.map(lambda x: x[:2], (state.params, measured)))
    chex.assert_trees_all_close(*found, rtol=1e-3, atol=1e-4)
