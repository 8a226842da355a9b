"""The development pools: quarter turns, augmentation prediction, eight CutPaste areas.

Command (one part at a time; parts can run side by side, finished chunks are skipped):

    ad-jax select --config experiments/configs/development.py:PART --out runs/development/PART
    ad-jax audit runs/development/*

Parts: brick, gravel, bottle, cookie, tile, fashion, digits; `PART-SIZE` is the same at another size
(`tile-64`); `smoke` is brick with two areas and few steps. Images are 32 px (digits 16), seeds 3,
or 5 where the pick's interval is reported. What came out stands in experiments/results/.
"""

from ml_collections import ConfigDict

# The same tile was photographed repeatedly: its photographs stay on one side of a split.
TILE = r"magnetic_tile,size={size},group=tile\d+"

PARTS = {
    "brick": ["textures:brick-defect", "textures:brick-orientation"],
    "gravel": ["textures:gravel-orientation"],
    "bottle": ["mvtec_bottle,size={size}"]
    + [
        f"mvtec_bottle,size={{size}},kind={kind}"
        for kind in ("broken_large", "broken_small", "contamination")
    ],
    "cookie": ["cookie,size={size}"],
    "tile": [TILE]
    + [f"{TILE},kind={kind}" for kind in ("blowhole", "break", "crack", "fray", "uneven")],
    "fashion": [f"fashion_mnist.npz,normal={c},limit=2000,size={{size}}" for c in (1, 5, 8)],
    "digits": [f"digits,normal={c}" for c in range(10)],
}
FIVE_SEEDS = ("bottle", "cookie", "tile")


def get_config(argument: str = "brick") -> ConfigDict:
    if argument == "smoke":
        return ConfigDict(
            {"sources": PARTS["brick"][:1], "steps": 5, "areas": (0.04, 0.08), "seeds": 1}
        )
    part, _, size = argument.partition("-")
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; known: {', '.join(PARTS)}, smoke")
    return ConfigDict(
        {
            "sources": [source.format(size=size or 32) for source in PARTS[part]],
            "seeds": 5 if part in FIVE_SEEDS and not size else 3,
        }
    )
