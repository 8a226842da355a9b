"""Pictures of heatmaps: image, overlay, contour of a mask; one colour scale over all images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.report.figures import theme

SIDE = 132  # layout px of a picture's longer side
COLUMNS = 3  # pairs of image and overlay in a row
CONTOUR, RIM = "#00e5ff", "#003b46"
_STOPS = (  # share of the scale, red, green, blue, opacity
    (0.00, 255, 236, 140, 0.00),
    (0.20, 255, 230, 120, 0.08),
    (0.40, 255, 205, 60, 0.50),
    (0.60, 248, 130, 25, 0.74),
    (0.80, 214, 32, 52, 0.84),
    (1.00, 106, 0, 98, 0.92),
)


class Shown(NamedTuple):
    """One image of a sheet.

    Attributes:
      image: `[h, w, c]`, uint8 or in [0, 1].
      heatmap: `[h, w]` in decades.
      caption: below the pair; score, name, what is wanted.
      mask: `[h, w]`, not zero inside the contour; None draws none.
    """

    image: np.ndarray
    heatmap: np.ndarray
    caption: str
    mask: np.ndarray | None = None


def colours(share: np.ndarray) -> np.ndarray:
    """Colour `[..., 4]` (red, green, blue in 0..255, opacity in 0..1) of shares of the scale."""
    stops = np.array(_STOPS)
    return np.stack([np.interp(share, stops[:, 0], stops[:, k]) for k in range(1, 5)], axis=-1)


def top_of(decades: Sequence[float]) -> float:
    """A colour scale for heatmaps whose held-out pixels end at such decades: whole, and higher.

    >>> top_of([5.3, 5.4])
    7.0
    """
    return float(max(math.ceil(max(decades) + 1.0), 4))


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """`[h, w, 3]` float64 in 0..255."""
    pixels = np.asarray(image, np.float64) * (1.0 if image.dtype == np.uint8 else 255.0)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def _picture(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(np.asarray(np.clip(pixels + 0.5, 0, 255), np.uint8))


def picture_of(image: np.ndarray) -> Any:
    """The picture (PIL) of an image `[h, w, c]`, uint8 or in [0, 1], at its own size."""
    return _picture(_as_rgb(image))


def overlay(image: np.ndarray, heatmap: np.ndarray, top: float) -> Any:
    """The picture (PIL) of an image, in grey, under its heatmap; at least 256 px a side.

    Args:
      image: `[h, w, c]`, uint8 or in [0, 1].
      heatmap: `[h, w]` in decades.
      top: decades of the strongest colour; the same for all images that are compared.

    Raises:
      InputError: sizes that do not fit, a scale without height.
    """
    if not top > 0:
        raise InputError(f"top={top:g} decades give no colour scale; give one like 6")
    if image.shape[:2] != heatmap.shape:
        raise InputError(f"the heatmap has shape {heatmap.shape}, its image {image.shape[:2]}")
    from PIL import Image

    enlarge = max(1, math.ceil(256 / min(heatmap.shape)))
    size = (heatmap.shape[1] * enlarge, heatmap.shape[0] * enlarge)
    grey = picture_of(image).convert("L").resize(size, Image.Resampling.BICUBIC)
    # Enlarged before it is coloured: colours in between would be none of the scale's.
    heat = Image.fromarray(np.asarray(heatmap, np.float32)).resize(size, Image.Resampling.BILINEAR)
    painted = colours(np.asarray(heat) / top)
    below = np.asarray(grey, np.float64)[..., None]
    opacity = painted[..., 3:]
    return _picture(below * (1.0 - opacity) + painted[..., :3] * opacity)


def edges(mask: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Borders of a mask `[h, w]` as segments ((x, y), (x, y)) between pixels, runs joined.

    >>> edges(np.array([[0, 1, 1]]))
    [((1, 0), (3, 0)), ((1, 1), (3, 1)), ((1, 0), (1, 1)), ((3, 0), (3, 1))]
    """
    out = []
    for turned in (False, True):
        inside = np.pad(np.asarray(mask) != 0, 1)
        inside = inside.T if turned else inside
        changes = inside[1:] != inside[:-1]  # [lines, columns + 2]
        for line, row in enumerate(changes):
            steps = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
            for first, last in zip(steps[::2] - 1, steps[1::2] - 1, strict=True):
                ends = ((int(first), line), (int(last), line))
                out.append(tuple(p[::-1] for p in ends) if turned else ends)
    return out  # type: ignore[return-value]


def _sheet(width: float, height: float) -> tuple[Any, Any]:
    """A drawing of matplotlib and its axes, in layout px from the upper left corner."""
    drawing = theme.page(math.ceil(width), math.ceil(height))
    drawing.set_layout_engine(None)
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, math.ceil(width)), ylim=(math.ceil(height), 0), autoscale_on=False)
    axes.set_axis_off()
    return drawing, axes


def _place(axes: Any, picture: Any, left: float, top: float, width: float, height: float) -> None:
    """A picture in a rectangle; small ones are enlarged smoothly."""
    corners = (left, left + width, top + height, top)
    axes.imshow(picture, extent=corners, aspect="auto", interpolation="bicubic", zorder=1)


def _contour(axes: Any, mask: np.ndarray, left: float, top: float, scale: float) -> None:
    from matplotlib.collections import LineCollection

    lines = [[(left + x * scale, top + y * scale) for x, y in ends] for ends in edges(mask)]
    for colour, width in ((RIM, 2.2), (CONTOUR, 1.2)):
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=width))


def _rarity(decades: float) -> str:
    """What a place on the scale means: 3 -> "1 in 1,000"; thousands above that are shortened."""
    if decades < 3.5:
        return f"1 in {10**decades:,.0f}"
    power = int(decades + 0.5)
    unit, rest = ("k", power - 3) if power < 6 else ("M", power - 6)
    return f"1 in {10**rest:,} {unit}" if power < 9 else f"1 in 10^{power}"


def _bar(
    axes: Any, at: tuple[float, float], width: float, top: float, known: float, alarm: float
) -> None:
    """The colour scale on mid grey, its ticks, and two marks: held-out normals end, alarm."""
    x, y = at
    painted = colours(np.tile(np.linspace(0.0, 1.0, 512), (8, 1)))
    shade = 128.0 * (1.0 - painted[..., 3:]) + painted[..., :3] * painted[..., 3:]
    _place(axes, _picture(shade), x, y, width, 14)
    ink, faint = theme.colour("ink"), theme.colour("faint")
    place = lambda decades: x + width * min(decades / top, 1.0)
    for tick in range(0, int(top + 1e-6) + 1, max(1, math.ceil(top / 8))):
        axes.plot([place(tick)] * 2, [y + 14, y + 18], color=faint, linewidth=1)
        text = "every pixel" if tick == 0 else _rarity(tick)
        axes.text(place(tick), y + 20, text, ha="center", va="top", fontsize=9)
    small: Any = {"color": faint, "fontsize": 9}
    marks = (
        (known, "extrapolated beyond", 4, "left"),
        (alarm, "5 % of normal images get this far", -4, "right"),
    )
    for decades, text, shift, side in marks:
        if decades <= top:
            axes.plot([place(decades)] * 2, [y - 4, y + 14], color=ink, linewidth=1.4)
            axes.text(place(decades) + shift, y - 5, text, ha=side, va="bottom", **small)
    text = "of held-out normals' pixels score as high"
    axes.text(x + width / 2, y + 36, text, ha="center", va="top", **small)


def legend(top: float, known: float = math.inf, alarm: float = math.inf) -> Any:
    """The picture (PIL) of the colour scale alone; arguments as of `sheet`."""
    with theme.style():
        drawing, axes = _sheet(600, 84)
        _bar(axes, (40, 26), 520, top, known, alarm)
        return theme.png(drawing)


def sheet(
    shown: Sequence[Shown],
    top: float,
    title: str = "",
    known: float = math.inf,
    alarm: float = math.inf,
    columns: int = COLUMNS,
    side: int = SIDE,
) -> Any:
    """The picture (PIL): pairs of image and overlay in the order given, one colour bar below.

    Args:
      shown: images that share a shape.
      top: decades of the strongest colour, for all of them.
      title: first line.
      known: decades of the highest pixel of held-out normals (`scale.decades[-1]`), marked: what
        lies beyond is extrapolated.
      alarm: decades that 5 % of normal images reach (`localise.alarm`), marked.
      columns: pairs in a row.
      side: layout px of a picture's longer side; the file has twice as many.

    Raises:
      InputError: nothing to show.
    """
    if not shown:
        raise InputError("no images to show; give at least one")
    columns = min(columns, len(shown))
    shape = shown[0].heatmap.shape
    scale = side / max(shape)
    width, height = shape[1] * scale, shape[0] * scale
    pair, gap, margin = 2 * width + 4, 18, 16
    head = 40 if title else 12
    row = height + 26
    below = head + -(-len(shown) // columns) * row
    across = max(2 * margin + columns * pair + (columns - 1) * gap, 560)
    with theme.style():
        drawing, axes = _sheet(across, below + 80)
        axes.text(margin, 12, title, va="top", fontsize=14)
        for i, image in enumerate(shown):
            x = margin + (i % columns) * (pair + gap)
            y = head + (i // columns) * row
            painted = overlay(image.image, image.heatmap, top)
            _place(axes, picture_of(image.image), x, y, width, height)
            _place(axes, painted, x + width + 4, y, width, height)
            if image.mask is not None:
                _contour(axes, image.mask, x + width + 4, y, scale)
            axes.text(x, y + height + 4, image.caption, va="top", fontsize=10)
        at = (margin + 20, below + 26)
        _bar(axes, at, across - 2 * at[0], top, known, alarm)
        return theme.png(drawing)


def strangest(
    images: np.ndarray,
    heatmaps: np.ndarray,
    scores: np.ndarray,
    most: int = 12,
    masks: Any = None,
    names: Sequence[str] | None = None,
) -> list[Shown]:
    """The `most` images of highest score, highest first, captioned with rank and score.

    Args:
      images: `[n, h, w, c]`; heatmaps: `[n, h, w]` in decades; scores: `[n]`.
      most: how many.
      masks: row -> mask or None, where labels were opened; nothing is drawn without.
      names: `[n]` for the captions; they may give a label away. Rows are numbered without.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")[:most]
    out = []
    for rank, row in enumerate(order, 1):
        name = f"row {row}" if names is None else names[row]
        mask = None if masks is None else masks(int(row))
        caption = f"{rank}.  score {scores[row]:.2f}   {name}"
        out.append(Shown(images[row], heatmaps[row], caption, mask))
    return out
