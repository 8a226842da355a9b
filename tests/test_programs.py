"""The most important programs stay as small as they are: operations, bytes, programs of a pool."""

import json

import jax
import jax.numpy as jnp
import programs
import pytest

RENEW = "mend it, or say why in the commit and run: python tests/programs.py --renew"


@pytest.fixture(scope="module")
def limits():
    return json.loads(programs.LIMITS.read_text())


def test_limits_are_of_the_programs_that_are_counted(limits):
    assert set(limits) == {"jax", *programs.PROGRAMS, *programs.POOLS}


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_a_program_stays_within_its_limits(name, limits):
    found = programs.above(programs.counted(*programs.PROGRAMS[name]()), limits[name])
    versions = f"counted by jax {jax.__version__}, the limits by {limits['jax']}"
    assert not found, f"{name}: {'; '.join(found)} ({versions}); {RENEW}"


@pytest.mark.parametrize("name", programs.POOLS)
def test_a_pool_takes_as_few_programs_as_before(name, limits):
    assert programs.programs_of(name) <= limits[name]["programs"], RENEW


def test_what_the_gate_is_for_is_counted():
    """A switch that runs every branch, a copy more, a product more, an XLA convolution."""
    x, y = programs.array(8, 64, 64), programs.array(8, dtype=jnp.int32)
    branches = [jnp.sin, jnp.cos, lambda x: x @ x]

    def switched(index, x):
        return jax.lax.switch(index, branches, x)

    one = programs.counted(lambda i, x: switched(i[0], x), (y, x))
    each = programs.counted(jax.vmap(switched), (y, x))
    assert one["case"] == 1 and each["case"] == 0
    assert programs.above(each, one)[0].startswith("bytes")
    assert one["dot_general"] == 1 and one["flops"] >= 2 * 8 * 64**3
    copied = programs.counted(lambda x: (jnp.sin(x), x + 1.0), (x,))
    assert copied["bytes"] > 1.4 * programs.counted(jnp.sin, (x,))["bytes"]
    image, kernel = programs.array(1, 8, 8, 3), programs.array(3, 3, 3, 3)
    layout = ("NHWC", "HWIO", "NHWC")
    convolve = lambda a, b: jax.lax.conv_general_dilated(a, b, (1, 1), "SAME", None, None, layout)
    assert programs.counted(convolve, (image, kernel))["convolution"] == 1


def test_more_is_refused_and_far_less_is_said_to_be_out_of_date():
    limits = {"flops": 1000, "bytes": 1000, "case": 1}
    assert programs.above(limits, limits) == []
    assert programs.above({"flops": 1040, "bytes": 960, "case": 1}, limits) == []
    assert programs.above({**limits, "flops": 1100}, limits) == ["flops 1100, the limit is 1000"]
    assert programs.above({**limits, "case": 2}, limits) == ["case 2, the limit is 1"]
    (stale,) = programs.above({**limits, "bytes": 700}, limits)
    assert "out of date" in stale
