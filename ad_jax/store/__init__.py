"""Crash-proof record of finished chunks: one immutable, checksummed file each, shared by workers.

`places` knows folders and buckets, `files` what stands in a chunk's file, `record` finds rows by
key, `merging` joins records.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from ad_jax.store.files import RESULT_VERSION, digest
from ad_jax.store.merging import Merged, merge
from ad_jax.store.places import kept, write_arrays, write_whole
from ad_jax.store.record import Record

__all__ = [
    "RESULT_VERSION",
    "Merged",
    "Record",
    "digest",
    "keep_compilations",
    "kept",
    "merge",
    "write_arrays",
    "write_whole",
]


def keep_compilations() -> None:
    """Compiled programs outlive the process, in the user's cache folder; commands call this."""
    import jax  # a record is read without it

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if cache.startswith("~"):  # a user without a home, as in containers
            return
        jax.config.update("jax_compilation_cache_dir", str(Path(cache) / "ad_jax"))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # JAX keeps what takes a second; a command has some 200 small programs, of seconds in all.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Half a file, of a process that is writing it or was killed, is compiled again: no more to say.
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
