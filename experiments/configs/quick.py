"""A small pool to try things out, and what the examples of docs/ run: three settings, two seeds.

    ad-jax select parts/,size=16 --config experiments/configs/quick.py --out runs/parts

Half a minute on 2 CPU cores, most of it one compilation. 150 steps teach little: nothing is claimed
from it. It is its own smoke test (tests/test_docs.py).
"""

from ml_collections import ConfigDict


def get_config(argument: str = "") -> ConfigDict:
    if argument:
        raise ValueError(f"no part {argument!r}; this pool has none")
    return ConfigDict(
        {
            "families": ("binary/quarter_turns", "binary/cutpaste"),
            "areas": (0.04, 0.16),
            "seeds": 2,
            "steps": 150,
            "width": 8,
        }
    )
