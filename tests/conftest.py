"""What every test of the library shares: a key and a float64 switch.

`jax_numpy_rank_promotion` stays at its default "allow": the library subtracts a mean `[d]` from
rows `[n, d]` (scores, alignment), and so does flax.
"""

import os
from pathlib import Path

import jax
import pytest

# Most of a test's time is compilation, and what is compiled runs for milliseconds.
jax.config.update("jax_disable_most_optimizations", True)

# Programs are compiled once for all workers and the commands that they start, and kept.
PROGRAMS = Path(__file__).parents[1] / ".pytest_cache" / "programs"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(PROGRAMS))
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="session")
def key():
    """The one key of the session; split or fold it in, never use it as it is twice."""
    return jax.random.key(0)


@pytest.fixture
def float64():
    """Double precision during one test: for finite differences and for twins to many digits."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def nans_raise():
    """A NaN anywhere, even one that a later `where` would hide, fails the test."""
    with jax.debug_nans(True):
        yield


@pytest.fixture(scope="module")
def relaxed():
    """A few steps teach nothing: let every member count as trained, to see the rest work."""
    from ad_jax.train.setting import Config

    patch = pytest.MonkeyPatch()
    patch.setattr(Config.__new__, "__defaults__", (*Config()[:4], 9.0, 0.0))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def eyes():
    """A small encoder of random weights under a name of its own."""
    from test_features import tiny

    from ad_jax.features import encoders

    patch = pytest.MonkeyPatch()
    made = tiny()
    patch.setitem(encoders.ENCODERS, "tiny", lambda path=None: made)
    encoders.get.cache_clear()
    yield made
    patch.undo()
    encoders.get.cache_clear()
