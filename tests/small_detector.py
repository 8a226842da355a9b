"""A detector in a second: networks as they were initialised, with densities fitted to normals."""

from functools import cache

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax import pretext, scores, search
from ad_jax.data import Problem
from ad_jax.detector import Detector
from ad_jax.program import Config, Trained, make_look, network
from ad_jax.train import as_unit

CONFIG = Config(steps=1, width=8)


def images(count, shape=(16, 16, 1), seed=0, high=128):
    return np.random.default_rng(seed).integers(0, high, (count, *shape), np.uint8)


@cache
def _members(shape, seeds, count):
    problem = Problem(train=images(count, shape), target=images(2, shape, 1))
    setting = search.setting("binary", "cutpaste", area=0.1)
    task = pretext.make(setting.pretext, setting.augmentation)
    backbone = network(CONFIG, shape, task)
    look = make_look(backbone, task)

    @jax.jit
    def embedded(key, normals):
        params = backbone.init(key)
        z = look.embed(params, as_unit(normals))[0]
        return ravel_pytree(params)[0], z, scores.fit_density(z)

    trained = []
    for seed in range(seeds):
        split = problem.split(seed)
        flat, _, density = embedded(jax.random.key(seed), split.train)
        trained.append(Trained(*(np.asarray(x) for x in (flat, *density))))
    zeros = np.zeros((seeds, len(problem.split(0).held_out)), np.float32)
    zeros += np.arange(zeros.shape[1])  # stands in until the networks can score
    blank = Detector.of(problem, setting, trained, zeros, CONFIG)
    held_out = [blank.networks.raw(problem.split(s).held_out)[s] for s in range(seeds)]
    return problem, setting, trained, np.stack(held_out)


@cache
def _made(shape, seeds, count):
    problem, setting, trained, held_out = _members(shape, seeds, count)
    return Detector.of(problem, setting, trained, held_out, CONFIG)


def make(shape=(16, 16, 1), seeds=3, count=40):
    """A detector of `seeds` seeds on `count` random normals; a fourth of them a fold.

    Parameters may be set; the networks are shared, for nothing to be compiled twice.
    """
    again = object.__new__(Detector)
    again.__dict__.update(_made(tuple(shape), seeds, count).__dict__)
    return again
