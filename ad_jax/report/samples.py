"""One sample as a small PNG: an image beside what belongs to it, a series, a row."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from ad_jax.report import lines
from ad_jax.report.figures import theme
from ad_jax.report.heatmaps import picture_of

SIDE = 150  # px of an image's longer side
WIDE, HIGH = 300, 120  # layout px of a series or a row
GAP = 4  # px between an image and what stands beside it


def png(picture: Any) -> bytes:
    """A picture (PIL) as a file."""
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return out.getvalue()


def image(sample: np.ndarray, beside: Any = None) -> bytes:
    """An image `[h, w, c]`, uint8 or in [0, 1], and beside it a picture (PIL) of equal shape."""
    from PIL import Image

    scale = SIDE / max(sample.shape[:2])
    down, across = (max(1, round(side * scale)) for side in sample.shape[:2])
    both = [picture_of(sample)] + ([] if beside is None else [beside])
    sheet = Image.new("RGB", (len(both) * (across + GAP) - GAP, down), "white")
    for place, one in enumerate(both):
        resized = one.resize((across, down), Image.Resampling.LANCZOS)
        sheet.paste(resized, (place * (across + GAP), 0))
    return png(sheet)


def width(content: bytes) -> int:
    """Px that a PNG is wide."""
    from PIL import Image

    return int(Image.open(io.BytesIO(content)).width)


def series(before: np.ndarray, after: np.ndarray, changed: np.ndarray) -> bytes:
    """A series `[t, c]` in grey, another over it; what `changed` `[t]` marks is shaded."""
    return _axes(lambda axes: lines.draw_series(axes, before, after, changed))


def row(before: np.ndarray, after: np.ndarray, changed: np.ndarray) -> bytes:
    """A row `[d]` in grey, column by column; those that `changed` marks with what they became."""
    return _axes(lambda axes: lines.draw_row(axes, before, after, changed))


def _axes(draw: Callable[[Any], None]) -> bytes:
    with theme.style():
        drawing = theme.page(WIDE, HIGH)
        axes = drawing.subplots()
        draw(axes)
        axes.tick_params(labelsize=8)
        return png(theme.png(drawing))
