"""The grid of DSV's evaluation (arXiv 2307.06534) on one category: see the study of that name.

    ad-jax select --config experiments/configs/published.py:mvtec_bottle --out runs/published/bottle
    ad-jax select --config experiments/configs/published.py:FOLDER --out runs/published/NAME
    ad-jax select --config experiments/configs/published.py:cifar10 --out runs/published/cifar10
    python -m experiments published --tables

CutOut, CutAvg, CutDiff and CutPaste at eleven areas each, three seeds, 800 steps at 32 px: about 26
minutes on one CPU core. The published areas (4e-5 times powers of two, at 256 px) would be less
than a pixel here; these are spread evenly, on a log scale, over what 32 px allow. FOLDER is any
category in MVTec's layout; `cifar10` has one class as normal and needs the prepared data set.
`smoke` is small.
"""

from ml_collections import ConfigDict

FAMILIES = ["binary/cutout", "binary/cutavg", "binary/cutdiff", "binary/cutpaste"]
AREAS = tuple(round(0.004 * 160 ** (k / 10), 4) for k in range(11))  # .004 to .64
CIFAR = "tfds:cifar10,normal=0,limit=1000,size=32"


def get_config(argument: str = "mvtec_bottle") -> ConfigDict:
    if argument == "smoke":
        small = {"steps": 5, "areas": (0.05, 0.1, 0.2), "seeds": 1}
        return ConfigDict({"sources": ["digits,normal=0"], "families": FAMILIES[2:], **small})
    source = CIFAR if argument == "cifar10" else f"{argument},size=32"
    return ConfigDict({"sources": [source], "families": FAMILIES, "areas": AREAS, "seeds": 3})
