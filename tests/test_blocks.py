"""Blocks of samples: small ones by the thousand, images as ever, few sizes, the same scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import ad_jax
from ad_jax.detect import networks
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.look import network, pretext_of
from ad_jax.detect.networks import BLOCKS, BULK, blocks
from ad_jax.features import seen_shape
from ad_jax.pool import program
from ad_jax.train.setting import Config


def untrained(backbone, shape, augmentation="feature_noise"):
    """A detector of one network as initialised."""
    config, setting = Config(10, 32, backbone), ad_jax.setting("binary", augmentation)
    seen = seen_shape(backbone, shape)
    net = network(config, seen, pretext_of(config, setting))
    params = net.init(jax.random.key(0))
    width = net.apply(params, jnp.zeros((1, *seen))).embedding.shape[1]
    member = program.Trained(np.asarray(ravel_pytree(params)[0]), np.zeros(width), np.eye(width))
    samples = np.random.default_rng(0).uniform(size=(12, *shape)).astype(np.float32)
    problem = ad_jax.Problem(train=samples, target=samples[:2], series=len(shape) == 2)
    held_out = np.linspace(0, 1, 4)[None]
    return FittedDetector.of(problem, setting, [member], held_out, config)


@pytest.fixture(scope="module")
def of_rows():
    return untrained("rows", (5,))


def test_rows_score_alike_in_any_block_and_few_sizes_compile(of_rows):
    rows = np.random.default_rng(1).normal(size=(BULK + 300, 5)).astype(np.float32)
    own = of_rows.networks
    whole = own.raw(rows)
    for size in (256, 700, 16, 1):
        count = len(rows) if size >= 256 else 5 * size
        parts = [own.raw(rows[i : i + size]) for i in range(0, count, size)]
        np.testing.assert_allclose(np.concatenate(parts, 1), whole[:, :count], rtol=1e-4)
        spread = [of_rows.combine(part) for part in parts]
        np.testing.assert_allclose(
            np.concatenate(spread), of_rows.combine(whole)[:count], rtol=1e-4
        )
    assert own._raw._cache_size() == own._surprise._cache_size() == len(BLOCKS) + 1


def test_the_large_block_is_what_a_single_row_would_score(of_rows, monkeypatch):
    rows = np.random.default_rng(2).normal(size=(BULK, 5)).astype(np.float32)
    whole = of_rows.networks.raw(rows)
    monkeypatch.setattr(networks, "BULK", 256)
    np.testing.assert_allclose(of_rows.networks.raw(rows), whole, rtol=1e-4)


def test_only_small_samples_that_are_no_images_come_by_the_thousand(of_rows):
    assert of_rows.networks.bulk == BULK
    assert untrained("rows", (networks.SMALL + 1,)).networks.bulk == BLOCKS[-1]
    assert untrained("multiscale", (32, 1)).networks.bulk == BLOCKS[-1]
    assert untrained("encoder", (16, 16, 1), "cutpaste").networks.bulk == BLOCKS[-1]


@pytest.mark.parametrize("count", [1, 2, 16, 17, 255, 256, 257, 600, BULK, BULK + 1])
def test_blocks_of_images_are_as_they_were(count):
    """By the rule before small samples had a size of their own."""
    before = [
        (start, min(start + 256, count), next(s for s in BLOCKS if min(256, count - start) <= s))
        for start in range(0, count, 256)
    ]
    assert list(blocks(count, BLOCKS)) == before
    assert list(blocks(count, BLOCKS, 256)) == before


@pytest.mark.parametrize("count", [1, 300, BULK - 1, BULK, 3 * BULK + 17])
def test_blocks_cover_all_samples_once_and_large_ones_are_full(count):
    found = list(blocks(count, BLOCKS, BULK))
    assert [i for start, stop, _ in found for i in range(start, stop)] == list(range(count))
    for start, stop, size in found:
        assert stop - start == size if size == BULK else stop - start <= size <= BLOCKS[-1]
