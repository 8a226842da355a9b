"""Runs on frozen features that studies read: sets of defects at 160 px, small images at 64 px."""

from ml_collections import ConfigDict

from experiments.studies.frozen import BACKBONE, DEFECTS, SEEDS, SMALL, SOURCES

KINDS = {
    "bottle": ("broken_large", "broken_small", "contamination"),
    "magnetic tile": ("blowhole", "break", "crack", "fray", "uneven"),
}


def get_config(argument: str = "") -> ConfigDict:
    """All of them; with an argument those whose name begins with it."""
    sources = []
    for name in (*DEFECTS, *SMALL):
        if name.startswith(argument):
            source = f"{SOURCES[name]},size={160 if name in DEFECTS else 64}"
            sources += [source, *(f"{source},kind={kind}" for kind in KINDS.get(name, ()))]
    return ConfigDict({"sources": sources, "backbone": BACKBONE, "seeds": len(SEEDS)})
