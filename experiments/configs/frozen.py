"""Runs on frozen features that studies read: sets of defects at 160 px, small images at 64 px."""

from ml_collections import ConfigDict

from experiments.studies.frozen import BACKBONE, DEFECTS, SEEDS, SMALL, SOURCES


def get_config(argument: str = "") -> ConfigDict:
    """All of them; with an argument those whose name begins with it."""
    sources = [
        f"{SOURCES[name]},size={160 if name in DEFECTS else 64}"
        for name in (*DEFECTS, *SMALL)
        if name.startswith(argument)
    ]
    return ConfigDict({"sources": sources, "backbone": BACKBONE, "seeds": len(SEEDS)})
