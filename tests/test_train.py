"""Training: it learns, it resumes, it takes tracers, it lowers everywhere, it sees no target."""

import inspect

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import augment, pretext, train
from ad_jax.backbone import encoder
from ad_jax.program import Config, make_program

SHAPE = (16, 16, 1)


def trainer_of(name):
    task = pretext.make(name, "quarter_turns")
    backbone = encoder(SHAPE, task.classes, 8)

    def turn(hyper, key, sample, donor):
        return augment.switch(
            ("quarter_turns",), hyper.family, key, hyper.augmentation, sample, donor
        )[0]

    return train.make_train(backbone, task, turn)


def hyper_of(rate=3e-3):
    return train.Hyper(jnp.int32(0), jnp.zeros(augment.PACKED), jnp.float32(rate), 1e-3, 0.1)


@pytest.fixture(scope="module")
def normals():
    ramp = np.linspace(0, 200, 16, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 40, (20, 16, 16, 1), np.uint8)
    return jnp.asarray(np.tile(ramp[:, None, None], (20, 1, 16, 1)) + noise)


@pytest.mark.parametrize("name", pretext.PRETEXTS)
def test_a_ramp_tells_its_turns_apart(name, normals):
    trainer = trainer_of(name)
    run = jax.jit(lambda h: trainer.train(train.seed_keys(0, 0), h, normals, 60)[1])
    info = run(hyper_of())
    assert info.loss[-1] < 0.5 * info.loss[0]
    assert info.accuracy[-10:].mean() > 0.9


def test_steps_compose(normals):
    trainer, keys, hyper = trainer_of("binary"), train.seed_keys(0, 3), hyper_of()
    step = jax.jit(chex.assert_max_traces(lambda s: trainer.step(s, keys, hyper, normals)[0], 1))
    state = trainer.init(keys, hyper)
    for _ in range(3):
        state = step(state)
    whole, _ = jax.jit(lambda: trainer.train(keys, hyper, normals, 3))()
    chex.assert_trees_all_close(state.params, whole.params, rtol=1e-3, atol=1e-4)


def test_learning_rate_may_be_traced(normals):
    trainer = trainer_of("binary")

    def last(rate):
        return trainer.train(train.seed_keys(0, 0), hyper_of(rate), normals, 3)[1].loss[-1]

    assert jnp.isfinite(jax.jit(jax.grad(last))(1e-3))
    both = jax.jit(jax.vmap(last))(jnp.array([1e-3, 2e-3]))
    assert both[0] != both[1]


def test_training_takes_no_target():
    for function in trainer_of("binary"):
        assert not {"target", "problem", "truth"} & set(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", pretext.PRETEXTS)
def test_the_program_lowers_for_every_platform(name):
    task = pretext.make(name, "quarter_turns")
    program = make_program(Config(steps=2, width=8), SHAPE, task, ("quarter_turns",))
    keys = jax.vmap(lambda s: train.seed_keys(0, s))(jnp.arange(4))
    four = train.Hyper(
        jnp.int32(0), jnp.zeros((4, augment.PACKED)), *(jnp.full(4, 1e-3) for _ in range(3))
    )
    images = jnp.zeros((1, 12, *SHAPE), jnp.uint8)
    arguments = (
        keys,
        four,
        jnp.ones(4, bool),
        jnp.zeros(4, int),
        (images, images),
        images[0],
        jnp.full((1, 12), 1 / 12),
    )
    exported = jax.export.export(jax.jit(program), platforms=["cpu", "cuda", "tpu"])(*arguments)
    assert set(exported.platforms) == {"cpu", "cuda", "tpu"}
