"""Figures and images as one PNG: the same figures that a page holds as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from ad_jax.report.figures import theme
from ad_jax.report.page.content import Figures, Gallery

WIDTH = 1100  # units
HEAD, LINE = 40, 16  # heights of a title, and of a line below it


def picture(
    title: str, lines: Sequence[str], blocks: Sequence[Figures | Gallery], columns: int = 2
) -> Any:
    """The picture (PIL).

    Args:
      title: above all.
      lines: below the title.
      blocks: from top to bottom.
      columns: figures side by side.
    """
    heights = [HEAD + LINE * len(lines), *(_height(block, columns) for block in blocks)]
    with theme.style():
        drawing = theme.page(WIDTH, sum(heights))
        parts = drawing.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        parts[0].text(0.012, 0.75, title, fontsize=15, va="center")
        faint = theme.colour("faint")
        parts[0].text(0.012, 0.5, "\n".join(lines), va="top", color=faint, linespacing=1.4)
        for part, block in zip(parts[1:], blocks, strict=True):
            if isinstance(block, Figures):
                _figures(part, block, columns)
            else:
                _gallery(part, block)
        return theme.png(drawing)


def _rows(block: Figures, columns: int) -> int:
    return -(-len(block.figures) // columns)


def _height(block: Figures | Gallery, columns: int) -> int:
    if isinstance(block, Gallery):
        across = max(len(images) for images in block.rows.values())
        return int(30 + len(block.rows) * (WIDTH / max(across, 8) + 20))
    tallest = max(figure.height for figure in block.figures)
    return _rows(block, columns) * tallest + LINE * (2 if block.legend else 0)


def _figures(part: Any, block: Figures, columns: int) -> None:
    axes = part.subplots(_rows(block, columns), columns, squeeze=False).ravel()
    for place, figure in zip(axes, block.figures, strict=False):
        place.grid(figure.grid)
        figure.draw(place)
        place.set_title(figure.title, fontsize=11, loc="left")
    for spare in axes[len(block.figures) :]:
        spare.set_axis_off()
    if block.legend:
        theme.legend(part, axes[0], block.legend)


def _gallery(part: Any, block: Gallery) -> None:
    from PIL import Image

    across = max(8, *(len(images) for images in block.rows.values()))
    axes = part.subplots(len(block.rows), across, squeeze=False)
    part.suptitle(block.name, fontsize=11, x=0.012, ha="left")
    for places, images in zip(axes, block.rows.values(), strict=True):
        for place in places:
            place.set_axis_off()
        for place, image in zip(places, images, strict=False):
            pixels = Image.open(io.BytesIO(image.png)).convert("RGB")
            place.imshow(pixels, interpolation="nearest")
            place.set_title(image.caption, fontsize=9)
