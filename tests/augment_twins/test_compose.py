"""Combinators: parts keep their names, draws and kinds; a chain is its parts in a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax.augment import CATALOGUE, chain, one_of, sometimes

CUT, TURN = CATALOGUE["cutout"], CATALOGUE["rotate"]
SAMPLE = np.random.default_rng(0).uniform(0, 1, (16, 16, 1)).astype(np.float32)


def test_a_chain_is_its_parts_in_a_row(key):
    both = chain("mixed", "test", turn=TURN, cut=CUT)
    hyper = {**both.defaults(), "turn.angle": 20.0, "cut.area": 0.1}
    assert set(both.space) == {f"turn.{k}" for k in TURN.space} | {f"cut.{k}" for k in CUT.space}
    turn_arguments, cut_arguments = arguments = both.draw(key, hyper, SAMPLE.shape)
    turned, _ = TURN.apply(SAMPLE, turn_arguments, SAMPLE)
    expected, cut_mask = CUT.apply(turned, cut_arguments, SAMPLE)
    out, mask = both.apply(SAMPLE, arguments, SAMPLE)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(mask, np.ones_like(cut_mask))
    assert abs(float(turn_arguments)) == 20.0


def test_one_of_draws_every_part_and_says_which(key):
    either = one_of("mixed", "test", turn=TURN, cut=CUT)
    assert either.parts == ("turn", "cut")
    draw = jax.jit(jax.vmap(lambda k: either.pseudo(k, either.defaults(), SAMPLE, SAMPLE)))
    pseudo = draw(jax.random.split(key, 200))
    assert 60 < int((pseudo.kind == 0).sum()) < 140
    whole = np.asarray(pseudo.mask).reshape(200, -1).min(axis=1) == 1.0
    np.testing.assert_array_equal(whole, np.asarray(pseudo.kind) == 0)  # a turn changes all of it


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_sometimes_applies_as_often_as_asked(key, chance):
    part = sometimes(CUT, 0.5)
    hyper = {**part.defaults(), "chance": chance}
    random = jax.jit(jax.vmap(lambda k: part.random(k, hyper, jnp.asarray(SAMPLE), SAMPLE)))
    out, mask = random(jax.random.split(key, 300))
    applied = np.asarray(mask).reshape(300, -1).max(axis=1) > 0
    assert abs(applied.mean() - chance) < 0.1
    np.testing.assert_array_equal(
        np.asarray(out)[~applied],
        np.stack([SAMPLE] * (~applied).sum()) if (~applied).any() else np.zeros((0, 16, 16, 1)),
    )


def test_needs_and_ranges_come_from_the_parts():
    both = chain("mixed", "test", turns=CATALOGUE["quarter_turns"], cut=CUT)
    assert both.needs == ("square",) and both.views is None
    assert sometimes(CATALOGUE["quarter_turns"]).views is None
    assert sometimes(CUT, 0.8).defaults()["chance"] == 0.8
