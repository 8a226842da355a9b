"""Writes docs/catalogue.md and its pictures: `python experiments/catalogue.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import ad_jax
from ad_jax.data import Problem
from ad_jax.report.catalogue import SECTIONS, page
from ad_jax.report.preview import sheet

DOCS = Path(__file__).parent.parent / "docs"


def photograph() -> Problem:
    """Four crops of a colour photograph that scikit-image ships."""
    import skimage.data

    cat = skimage.data.chelsea()  # [300, 451, 3] uint8
    crops = np.stack([cat[0:256:4, left : left + 256 : 4] for left in (0, 60, 120, 180)])
    return Problem(train=crops, target=crops[:1])


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    problems = (photograph(), ad_jax.load("series")[0], ad_jax.load("table")[0])
    for section, problem, colours in zip(SECTIONS, problems, (200, 64, 64), strict=True):
        few = sheet(problem).quantize(colours)  # a third of the bytes
        few.save(DOCS / section.picture[0], optimize=True)
    (DOCS / "catalogue.md").write_text(page())
    print(DOCS / "catalogue.md")


if __name__ == "__main__":
    main()
