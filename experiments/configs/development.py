"""The development pools: quarter turns, augmentation prediction, eight CutPaste areas, 3 seeds.

Command (one part at a time; parts can run side by side, finished chunks are skipped):

    ad-jax select --config experiments/configs/development.py:PART --out runs/development/PART
    ad-jax audit runs/development/*

Parts: textures, bottle, cookie, tile, fashion, digits; `smoke` is the textures with two areas and
few steps. Minutes on 2 CPU cores and results stand in experiments/results/.
"""

from ml_collections import ConfigDict

PARTS = {
    "textures": [
        "textures:brick-defect",
        "textures:brick-orientation",
        "textures:gravel-orientation",
    ],
    "bottle": ["mvtec_bottle,size=48"]
    + [
        f"mvtec_bottle,size=48,kind={kind}"
        for kind in ("broken_large", "broken_small", "contamination")
    ],
    "cookie": ["cookie,size=48"],
    # The same tile was photographed repeatedly: its photographs stay on one side of a split.
    "tile": [r"magnetic_tile,size=48,group=tile\d+"]
    + [
        rf"magnetic_tile,size=48,group=tile\d+,kind={kind}"
        for kind in ("blowhole", "break", "crack", "fray", "uneven")
    ],
    "fashion": [f"fashion_mnist.npz,normal={c},limit=2000" for c in (1, 5, 8)],
    "digits": [f"digits,normal={c}" for c in range(10)],
}


def get_config(part: str = "textures") -> ConfigDict:
    if part == "smoke":
        return ConfigDict(
            {"sources": PARTS["textures"][:1], "steps": 5, "areas": (0.04, 0.08), "seeds": 1}
        )
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; known: {', '.join(PARTS)}, smoke")
    return ConfigDict({"sources": PARTS[part]})
