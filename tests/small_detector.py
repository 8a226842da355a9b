"""A detector in a second: networks as they were initialised, with densities fitted to normals."""

import shutil
from functools import cache

import jax
import numpy as np
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from ad_jax.data import Problem
from ad_jax.detect import scores, tiles
from ad_jax.detect.fitting import networks_of
from ad_jax.detect.look import make_look, network
from ad_jax.detect.normals import Normals
from ad_jax.detect.state import Tiling, Trained, TrainedSeeds
from ad_jax.estimator import Detector
from ad_jax.selection import search
from ad_jax.train import pretexts as pretext
from ad_jax.train.backbones import as_unit
from ad_jax.train.setting import Config

CONFIG = Config(steps=1, width=8)
ROWS = CONFIG._replace(backbone="mlp")


def spoil(saved, folder, data, ways):
    """A copy of a saved detector, damaged somewhere in a way that hypothesis draws."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    path = folder / data.draw(st.sampled_from(["detector.json", "arrays.safetensors"]))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    how = data.draw(st.sampled_from(ways))
    if how == "flip":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(bytes(content))
    if how == "remove":
        path.unlink()


def config_of(shape):
    return CONFIG if len(shape) == 3 else ROWS


def images(count, shape=(16, 16, 1), seed=0, high=128):
    return np.random.default_rng(seed).integers(0, high, (count, *shape), np.uint8)


@cache
def _members(shape, seeds, count):
    problem = Problem(train=images(count, shape), target=images(2, shape, 1))
    setting = search.setting("binary", "cutpaste", area=0.1)
    task = pretext.make(setting.pretext, setting.augmentation)
    config = config_of(shape)
    backbone = network(config, shape, task)
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
    blank = Detector.of(problem, setting, trained, zeros, config)
    held_out = [blank.networks.raw(problem.split(s).held_out)[s] for s in range(seeds)]
    return problem, setting, trained, np.stack(held_out)


@cache
def _made(shape, seeds, count):
    problem, setting, trained, held_out = _members(shape, seeds, count)
    return Detector.of(problem, setting, trained, held_out, config_of(shape))


def make(shape=(16, 16, 1), seeds=3, count=40):
    """A detector of `seeds` seeds on `count` random normals; a fourth of them a fold.

    Parameters may be set; the networks are shared, for nothing to be compiled twice.
    """
    again = object.__new__(Detector)
    again.__dict__.update(_made(tuple(shape), seeds, count).__dict__)
    return again


LARGE = (40, 28, 1)  # shape of images that are looked at in six tiles of 16 px


def region():
    """A region of interest of `LARGE` images: all but four columns."""
    mask = np.ones(LARGE[:2], np.uint8)
    mask[:, :4] = 0
    return mask


@cache
def _made_tiled(count):
    _, setting, trained, held_out = _members((16, 16, 1), 3, 40)
    problem = Problem(train=images(count, LARGE), target=images(2, LARGE, 1))
    tiling = Tiling(16, 0.25, region())
    cuts = tiles.tiled(problem, tiling.plan(LARGE))
    members = TrainedSeeds(setting, (0, 1, 2), tuple(trained), held_out)
    one = Detector.of_networks(networks_of(Normals.of(problem, cuts), members, CONFIG, tiling), 0.1)
    return one.fit_localiser(images(count, LARGE), "texture")


def make_tiled(count=16):
    """The same networks on tiles of 16 px of `count` `LARGE` images with a region; heatmaps, too.

    Three quarters of the images are held out by one seed each.
    """
    again = object.__new__(Detector)
    again.__dict__.update(_made_tiled(count).__dict__)
    return again
