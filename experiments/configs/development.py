"""The development pools: quarter turns, augmentation prediction, eight CutPaste areas, 3 seeds.

Command (one part at a time; parts can run side by side, finished chunks are skipped):

    ad-jax select --config experiments/configs/development.py:PART --out runs/development/PART
    ad-jax audit runs/development/*

Parts: brick, gravel, bottle, cookie, tile, fashion, digits; `smoke` is brick with two areas and few
steps. All images at 32 px (digits 16), so that all of it takes half
an hour on 2 CPU cores; what came out stands in experiments/results/.
"""

from ml_collections import ConfigDict

PARTS = {
    "brick": ["textures:brick-defect", "textures:brick-orientation"],
    "gravel": ["textures:gravel-orientation"],
    "bottle": ["mvtec_bottle,size=32"]
    + [
        f"mvtec_bottle,size=32,kind={kind}"
        for kind in ("broken_large", "broken_small", "contamination")
    ],
    "cookie": ["cookie,size=32"],
    # The same tile was photographed repeatedly: its photographs stay on one side of a split.
    "tile": [r"magnetic_tile,size=32,group=tile\d+"]
    + [
        rf"magnetic_tile,size=32,group=tile\d+,kind={kind}"
        for kind in ("blowhole", "break", "crack", "fray", "uneven")
    ],
    "fashion": [f"fashion_mnist.npz,normal={c},limit=2000,size=32" for c in (1, 5, 8)],
    "digits": [f"digits,normal={c}" for c in range(10)],
}


def get_config(part: str = "brick") -> ConfigDict:
    if part == "smoke":
        return ConfigDict(
            {"sources": PARTS["brick"][:1], "steps": 5, "areas": (0.04, 0.08), "seeds": 1}
        )
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; known: {', '.join(PARTS)}, smoke")
    return ConfigDict({"sources": PARTS[part]})
