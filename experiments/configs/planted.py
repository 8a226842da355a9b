"""Planted problems: the right setting is known and stands in the grid.

    for base in digits bottle tile; do
      ad-jax select --config experiments/configs/planted.py:$base --out runs/planted/$base
    done
    python -m experiments planted --tables

Ten generators a base, one pool a base: about 40 settings x 3 seeds, 15 minutes on 2 CPU cores
(digits 5). `smoke` has two generators and few steps.
"""

from ml_collections import ConfigDict

from ad_jax.data import load, parse
from ad_jax.selection import search

AREAS = (0.02, 0.06, 0.18, 0.54)
FAMILIES = [
    f"binary/{name}"
    for name in (
        "quarter_turns",
        "rotate",
        "translate",
        "cutpaste",
        "cutout",
        "cutdiff",
        "gaussian_noise",
        "blur",
        "brightness",
    )
]
BASES = {
    "digits": ("digits", {"normal": 3}),
    "bottle": ("mvtec_bottle", {"size": 32}),
    "tile": ("magnetic_tile", {"size": 32, "group": r"tile\d+"}),
}
# (family, number among its strengths): faint and strong ones, never the ends of a family's list
GENERATORS = [
    ("quarter_turns", 0),
    ("rotate", 1),
    ("translate", 1),
    ("cutpaste", 1),
    ("cutpaste", 2),
    ("cutout", 1),
    ("cutout", 2),
    ("cutdiff", 2),
    ("gaussian_noise", 1),
    ("blur", 1),
]
SHARE = 0.2


def sources(base: str, generators: list[tuple[str, int]]) -> list[str]:
    """Planted sources whose generator is a setting of the grid, to the last digit."""
    name, options = BASES[base]
    problem, _ = load(parse(name)[0], **options)
    out = []
    for family, number in generators:
        strengths = search.grid(problem.shape, AREAS, [f"binary/{family}"])
        hyper = ";".join(f"{k}:{v!r}" for k, v in strengths[number].hyper.items())
        rest = "".join(f",{k}={v}" for k, v in options.items())
        out.append(
            f"planted:{family},base={name},share={SHARE}{rest}"
            + (f",hyper={hyper}" if hyper else "")
        )
    return out


def get_config(base: str = "digits") -> ConfigDict:
    if base == "smoke":
        two = sources("digits", GENERATORS[3:5])
        return ConfigDict(
            {
                "sources": two,
                "families": ["binary/cutpaste"],
                "areas": AREAS,
                "steps": 5,
                "seeds": 1,
            }
        )
    if base not in BASES:
        raise ValueError(f"no base {base!r}; known: {', '.join(BASES)}, smoke")
    return ConfigDict(
        {"sources": sources(base, GENERATORS), "families": FAMILIES, "areas": AREAS, "seeds": 3}
    )
