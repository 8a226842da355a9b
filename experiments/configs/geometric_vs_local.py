"""Families of every group under several pretexts, on real tasks: see the study of the same name.

    for part in textures bottle cookie tile fashion; do
      ad-jax select --config experiments/configs/geometric_vs_local.py:$part \\
        --record runs/shelf/$part/record --out runs/geometric_vs_local/$part
    done
    python -m experiments geometric_vs_local --tables

24 tasks of 15 training sets; nine families: those of shelf.py (with whose record three seeds of the
turns and of the patches are shared), pixels masked under two pretexts, and CutPaste and scar told
apart; areas .01, .04 and .16, two strengths of the others. Five seeds, 800 steps. `smoke` has one
source and few steps.
"""

import sys
from pathlib import Path

from ml_collections import ConfigDict

sys.path.append(str(Path(__file__).parents[2]))  # loaded by path, from wherever the command is

from experiments.configs import shelf  # noqa: E402

FAMILIES = (
    *shelf.FAMILIES,
    "kinds/cutpaste_scar",
    "binary/pixel_mask",
    "denoising/pixel_mask",
)


def get_config(argument: str = "textures") -> ConfigDict:
    config = shelf.get_config(argument)
    if argument == "smoke":
        return ConfigDict({**config, "families": list(FAMILIES[2:])})
    return ConfigDict({**config, "families": list(FAMILIES), "strengths": 2, "seeds": 5})
