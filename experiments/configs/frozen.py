"""Runs on frozen features that studies read: sets of defects at 160 px, small images at 64 px."""

import sys
from pathlib import Path

from ml_collections import ConfigDict

sys.path.append(str(Path(__file__).parents[2]))  # loaded by path, from wherever the command is

from experiments.studies.frozen import (  # noqa: E402
    BACKBONE,
    DEFECTS,
    SEEDS,
    SMALL,
    SOURCES,
)


def get_config(argument: str = "") -> ConfigDict:
    """All of them; with an argument those whose name begins with it."""
    sources = [
        f"{SOURCES[name]},size={160 if name in DEFECTS else 64}"
        for name in (*DEFECTS, *SMALL)
        if name.startswith(argument)
    ]
    return ConfigDict({"sources": sources, "backbone": BACKBONE, "seeds": len(SEEDS)})
