"""Charts drawn with PIL for the notebook `audit_scores`; all else is drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

FINE = 4  # px drawn per px of the layout; half of them are kept, the rest smooths the lines
KEPT = 2
HALO = 2  # px of white around text, so that lines do not run into it
INK, FAINT, GRID = "#222222", "#777777", "#e6e6e6"


class Box(NamedTuple):
    """A panel: its corners on the page and the values at its lower and upper edge."""

    left: float
    top: float
    right: float
    bottom: float
    low: float
    high: float

    def y(self, value: float) -> float:
        """Height of a value on the page, kept inside the panel."""
        share = (value - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * min(max(share, 0.0), 1.0)


class Canvas:
    """A white page of `width` x `height`, in px of the layout."""

    def __init__(self, width: int, height: int):
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (width * FINE, height * FINE), "white")
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[int, Any] = {}

    def image(self) -> Any:
        """The picture (PIL), twice the layout's size."""
        size = [side * KEPT // FINE for side in self._image.size]
        return self._image.resize(size, resample=1)  # Lanczos

    def text(
        self, x: float, y: float, text: str, size: int = 13, fill: str = INK, anchor: str = "la"
    ) -> None:
        """Text, a line or several; the anchor as in PIL."""
        from PIL import ImageFont

        font = self._fonts.setdefault(size, ImageFont.load_default(size * FINE))
        for i, line in enumerate(text.split("\n")):
            at = (x * FINE, (y + i * 1.25 * size) * FINE)
            self._draw.text(
                at, line, fill, font, anchor, stroke_width=HALO * FINE, stroke_fill="white"
            )

    def line(
        self, points: Sequence[tuple[float, float]], fill: str = INK, width: float = 1.0
    ) -> None:
        """A line through the points."""
        ends = [(x * FINE, y * FINE) for x, y in points]
        self._draw.line(ends, fill=fill, width=round(width * FINE), joint="curve")

    def dot(self, x: float, y: float, fill: str, radius: float = 3.5) -> None:
        box = [(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE]
        self._draw.ellipse(box, fill=fill)

    def panel(self, box: Box, title: str, most: int = 6) -> None:
        """Title, frame, and grid lines with their values at the left."""
        self.text(box.left, box.top - 10, title, 14, anchor="ls")
        marks = ticks(box.low, box.high, most)
        digits = max(len(f"{tick:.9f}".rstrip("0").partition(".")[2]) for tick in [*marks, 0.0])
        for tick in marks:
            self.line([(box.left, box.y(tick)), (box.right, box.y(tick))], GRID)
            self.text(box.left - 7, box.y(tick), f"{tick:.{digits}f}", 12, FAINT, "rm")
        self.line([(box.left, box.top), (box.left, box.bottom), (box.right, box.bottom)], FAINT)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round values in [low, high], steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)][:most]
