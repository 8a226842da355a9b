"""The development tasks under a pool of five families: what the rules are compared on.

    for part in textures bottle cookie tile fashion digits; do
      ad-jax select --config experiments/configs/shelf.py:$part --out runs/shelf/$part
    done
    python -m experiments rules --tables

34 tasks of 25 training sets; 17 settings (turns under two pretexts; CutPaste, scar, rotation and
noise at several strengths each, so that rules can be judged within four families) x 3 seeds, 800
steps; textures, bottle, cookie and tile at 32 px, Fashion-MNIST and digits at 16. About two hours
on 2 CPU cores (two parts at a time). `smoke` has one source and few steps.
"""

from ml_collections import ConfigDict

FAMILIES = (
    "binary/quarter_turns",
    "prediction/quarter_turns",
    "binary/cutpaste",
    "binary/scar",
    "binary/rotate",
    "binary/gaussian_noise",
)
AREAS = (0.01, 0.04, 0.16)
TILE = r"magnetic_tile,size=32,group=tile\d+"
SEMANTIC = "fashion|digits|orientation"  # in names of tasks; the others are of defects
PARTS = {
    "textures": [
        "textures:brick-defect",
        "textures:brick-orientation",
        "textures:gravel-orientation",
    ],
    "bottle": ["mvtec_bottle,size=32"]
    + [
        f"mvtec_bottle,size=32,kind={kind}"
        for kind in ("broken_large", "broken_small", "contamination")
    ],
    "cookie": ["cookie,size=32"],
    "tile": [TILE]
    + [f"{TILE},kind={kind}" for kind in ("blowhole", "break", "crack", "fray", "uneven")],
    "fashion": [f"fashion_mnist.npz,normal={c},limit=1000,size=16" for c in range(10)],
    "digits": [f"digits,normal={c}" for c in range(10)],
}


def get_config(argument: str = "textures") -> ConfigDict:
    if argument == "smoke":
        return ConfigDict(
            {
                "sources": PARTS["digits"][:1],
                "steps": 5,
                "families": ["binary/cutpaste"],
                "areas": (0.02, 0.04, 0.08),
                "seeds": 1,
            }
        )
    if argument not in PARTS:
        raise ValueError(f"no part {argument!r}; known: {', '.join(PARTS)}, smoke")
    return ConfigDict(
        {"sources": PARTS[argument], "families": list(FAMILIES), "areas": AREAS, "seeds": 3}
    )
