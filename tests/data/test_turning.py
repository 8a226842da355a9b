"""Turned copies, and problems of fewer than 8 normals."""

import numpy as np
import pytest

from ad_jax import Problem
from ad_jax.base.errors import InputError
from ad_jax.data import load
from ad_jax.data.samples import content_hashes
from ad_jax.data.turning import turned


def images(count, seed=0, shape=(8, 8, 1)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def test_quarter_turns_are_exact_and_itself_is_first():
    some = images(3, shape=(8, 8, 3))
    found = turned(some, 4).reshape(3, 4, 8, 8, 3)
    for place in range(4):
        np.testing.assert_array_equal(found[:, place], np.rot90(some, place, (1, 2)))
    assert turned(some, 1) is some


def test_other_turns_go_on_in_the_same_direction_and_stay_inside():
    """A smooth picture turned by 45 degrees twice is nearly that turned by 90 at once."""
    place = np.indices((33, 33)) - 16.0
    smooth = np.float32(np.exp(-((place[0] - 4) ** 2 + (place[1] + 5) ** 2) / 60))[None, ..., None]
    twice = turned(turned(smooth, 8)[1:2], 8)[1]
    assert np.abs(twice - np.rot90(smooth[0]))[8:-8, 8:-8].max() < 0.03  # nothing of the border
    for some in (smooth, images(2, shape=(9, 12, 3))):
        found = turned(some, 5)
        assert found.dtype == some.dtype and found.shape == (5 * len(some), *some.shape[1:])
        assert found.min() >= some.min() and found.max() <= some.max()
    np.testing.assert_array_equal(turned(some, 2)[1], some[0, ::-1, ::-1])  # no square, half turn


@pytest.mark.parametrize("count", range(2, 8))
def test_of_few_normals_each_is_left_out_once(count):
    problem = Problem(train=images(count), target=images(2, 1), turns=3)
    assert problem.period == count
    left = set()
    for seed in range(count):
        split = problem.split(seed)
        assert len(split.held_out) == 1 and len(split.train) == 3 * (count - 1)
        assert not set(content_hashes(split.train)) & set(content_hashes(turned(split.held_out, 3)))
        left |= set(content_hashes(split.held_out))
    assert left == set(content_hashes(problem.train))
    np.testing.assert_array_equal(problem.split(0).held_out, problem.split(count).held_out)


def test_few_groups_are_left_out_whole():
    problem = Problem(train=images(12), target=images(2, 1), groups=[0, 1, 2] * 4)
    assert [len(part) for part in problem.split(2)] == [8, 4] and problem.period == 3


def test_copies_train_and_are_not_held_out():
    plain = Problem(train=images(9), target=images(2, 1))
    problem = plain.turned(4)
    assert problem.fingerprint != plain.fingerprint == plain.turned(1).fingerprint
    for seed in range(4):
        own, turns = plain.split(seed), problem.split(seed)
        np.testing.assert_array_equal(turns.held_out, own.held_out)
        np.testing.assert_array_equal(turns.train, turned(own.train, 4))


def test_of_one_normal_copies_are_held_out_with_a_warning():
    with pytest.warns(UserWarning, match="1 normal and turned copies .* promise nothing"):
        problem = Problem(train=images(1), target=images(2, 1), turns=8)
    assert problem.copies_held_out and [len(part) for part in problem.split(0)] == [6, 2]
    with pytest.raises(InputError, match="1 sample, too few .* turns=8"):
        Problem(train=images(1), target=images(2, 1)).split(0)
    flat = np.full((1, 8, 8, 1), 9, np.uint8)
    with pytest.warns(UserWarning), pytest.raises(InputError, match="more normals"):
        Problem(train=flat, target=flat, turns=8).split(0)


def test_loaded_with_turns():
    plain, _ = load("digits", limit=20)
    problem, truth = load("digits", limit=20, turns="4")
    assert len(problem.split(0).train) == 4 * len(plain.split(0).train)
    assert problem.sample_hashes == plain.sample_hashes and truth.names
    with pytest.raises(InputError, match="turns=0 is out of range"):
        load("digits", turns=0)
    with pytest.raises(InputError, match="images only"):
        Problem(train=np.eye(9), target=np.eye(9), turns=2)
