"""Writes docs/catalogue.md and its picture: `python experiments/catalogue.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ad_jax.data import Problem
from ad_jax.report.catalogue import page
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
    page_of_pictures = sheet(photograph()).quantize(200)  # a third of the bytes
    page_of_pictures.save(DOCS / "catalogue.png", optimize=True)
    (DOCS / "catalogue.md").write_text(page("catalogue.png"))
    print(DOCS / "catalogue.md")


if __name__ == "__main__":
    main()
