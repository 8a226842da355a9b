"""Drawings by matplotlib as SVG inside a page: small, offline, and in the page's own colours.

Matplotlib and not a library that draws in the browser: a page of 30 tasks has over 100 drawings,
and as SVG they cost kilobytes and no script, so a page opens at once and prints. Colours are names
here; in the SVG they are variables of the page, so that light and dark need no second drawing.
They are told apart with any colour vision (after Okabe and Ito, jfly.uni-koeln.de/color, darker on
white for a contrast of 3:1), and never without a shape, a dash or a label.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ad_jax.report.colours import COLOURS, SERIES
from ad_jax.report.page.content import Figure, Key

MARKERS = tuple("os^DvPX*")
DASHES = {"oracle": (5, 2), "pick": (), "random": (2, 2), "worst": (1, 3), "control": (7, 2)}


def colour(name: str) -> str:
    """What matplotlib is told for a colour of the page."""
    return COLOURS[name][0]


def keys(names: Sequence[str]) -> dict[str, Key]:
    """Colour and shape of every name; they repeat together only after 64."""
    return {
        name: Key(SERIES[i % len(SERIES)], MARKERS[(i + i // len(SERIES)) % len(MARKERS)], name)
        for i, name in enumerate(names)
    }


def style(grid: bool = True) -> Any:
    """Context of matplotlib's settings; every drawing is made and written within it."""
    from matplotlib import rc_context

    ink, faint = colour("ink"), colour("faint")
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "ad_jax",
        "font.size": 11,
        "axes.labelsize": 11,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": faint,
        "xtick.color": faint,
        "ytick.color": faint,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": grid,
        "axes.axisbelow": True,
        "grid.color": colour("grid"),
        "grid.linewidth": 0.8,
        "lines.linewidth": 1.6,
        "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
    }
    return rc_context(settings)


def canvas(width: int, height: int, columns: int = 1, rows: int = 1, **grid: Any) -> tuple:
    """A matplotlib figure of `width` x `height` units and its axes; call within `style`."""
    drawing = page(width, height, "none")
    return drawing, drawing.subplots(rows, columns, **grid)


def page(width: int, height: int, paper: str = "white") -> Any:
    """A matplotlib figure of `width` x `height` units without axes; call within `style`."""
    from matplotlib.figure import Figure as Drawing

    size = (width / 72, height / 72)
    return Drawing(figsize=size, layout="constrained", facecolor=paper)


def png(drawing: Any, pixels: int = 2) -> Any:
    """A matplotlib figure as a picture (PIL) of so many pixels a unit."""
    from PIL import Image

    content = io.BytesIO()
    drawing.savefig(content, format="png", dpi=72 * pixels)
    return Image.open(content).convert("RGB")


def legend(drawing: Any, axes: Any, keys: Sequence[Key]) -> None:
    """A legend below a matplotlib figure, or a part of it."""
    shown = [
        axes.plot([], [], color=colour(k.colour), marker=k.shape, linestyle="none")[0] for k in keys
    ]
    drawing.legend(
        shown,
        [key.text for key in keys],
        loc="outside lower center",
        ncols=min(len(keys), 5),
        frameon=False,
        fontsize=10,
    )


def labelled(
    axes: Any,
    lines: Mapping[str, tuple[float, str]],
    gap: float,
    ends: Mapping[str, tuple[float, str]] | None = None,
) -> None:
    """Horizontal lines with their names at the right side; axes limits have to stand.

    A line beyond the limits stands at their edge, and its name says so.

    Args:
      axes: of matplotlib.
      lines: text -> (value, name in `DASHES`); those that are not finite are left out.
      gap: between two texts, in units of the drawing.
      ends: further texts for the right side, without a line: (value, name of a colour).
    """
    low, high = axes.get_ylim()
    texts = {}
    for name, (value, kind) in lines.items():
        if math.isfinite(value):
            tone = "red" if kind == "pick" else "faint"
            style = (0, DASHES[kind]) if DASHES[kind] else "-"
            at = min(max(value, low), high)
            axes.axhline(at, color=colour(tone), linewidth=1.2, linestyle=style)
            beyond = " (below)" if value < low else " (above)" if value > high else ""
            texts[name + beyond] = (value, tone)
    beside(axes, {**texts, **(ends or {})}, gap)


def beside(axes: Any, texts: Mapping[str, tuple[float, str]], gap: float) -> None:
    """Texts at the right side of axes, at their values or as near as keeps them apart.

    Args:
      axes: of matplotlib; their limits have to stand.
      texts: text -> (value, name of a colour).
      gap: between two texts, in units of the drawing.
    """
    low, high = axes.get_ylim()
    unit = (high - low) / (axes.figure.bbox.height / axes.figure.dpi * 72 * 0.8)
    heights = [min(max(value, low), high) for value, _ in texts.values()]
    places = apart(heights, gap * unit, low, high)
    for (text, (_, tone)), place in zip(texts.items(), places, strict=True):
        axes.annotate(
            text,
            (1.0, place),
            (4, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=colour(tone),
        )


def apart(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights moved as little as keeps them `gap` apart and, if they fit, within [low, high]."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    groups: list[list[Any]] = []  # members, centre
    place: Callable[[list[int], float], float] = lambda members, centre: min(
        max(centre, low + gap * (len(members) - 1) / 2), high - gap * (len(members) - 1) / 2
    )
    for i in order:
        groups.append([[i], place([i], heights[i])])
        while len(groups) > 1:
            (lower, below), (upper, above) = groups[-2:]
            if above - below >= gap * (len(lower) + len(upper)) / 2 - 1e-9:
                break
            joined = lower + upper
            centre = sum(heights[j] for j in joined) / len(joined)
            groups[-2:] = [[joined, place(joined, centre)]]
    out = [0.0] * len(heights)
    for members, centre in groups:
        for j, i in enumerate(members):
            out[i] = centre + gap * (j - (len(members) - 1) / 2)
    return out


def up_to_one(axes: Any) -> None:
    """Takes the ticks above 1 from an axis of AUROC: there is nothing."""
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 1.0 + 1e-9)])


def svg(figure: Figure) -> str:
    """A figure as one `<svg>` element in the page's colours.

    Groups with an id `tip:TEXT` get the text as a tooltip; lines with an id `line:NUMBER` are left
    to the page's own style, with `data-line`.
    """
    with style(figure.grid):
        drawing, axes = canvas(figure.width, figure.height)
        figure.draw(axes)
        if figure.margins is not None:
            left, right, bottom, top = figure.margins
            drawing.set_layout_engine(None)
            drawing.subplots_adjust(left=left, right=right, bottom=bottom, top=top)
        out = io.BytesIO()
        drawing.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None})
    return _of_page(out.getvalue().decode(), figure)


def _of_page(text: str, figure: Figure) -> str:
    """Matplotlib's SVG as a page takes it."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert box is not None
    width = float(box[1])
    head = (
        f'<svg viewBox="{box[0][9:-1]}" role="img" '
        f'aria-label="{escape(figure.title)}. {escape(figure.about)}" '
        f'style="max-width: {width * (1.0 if figure.wide else 1.5):.0f}px">'
    )
    text = head + text[text.index(">") + 1 :]
    text = _lines(text)
    text = re.sub(r'<g id="tip:([^"]*)">', lambda m: f"<g><title>{m[1]}</title>", text)
    text = _names(text)
    for name, (light, _) in COLOURS.items():
        text = text.replace(light, f"var(--{name})")
    text = re.sub(r"font: ?([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)  # the page's own
    text = text.replace("xlink:href", "href")
    text = re.sub(r"<!--.*?-->|(?<=>)\s*\n\s*", "", text, flags=re.S)
    return _short(text)


def tip(artist: Any, text: str) -> None:
    """Gives an artist a tooltip."""
    artist.set_gid("tip:" + text)


def _short(text: str) -> str:
    """Coordinates to a hundredth of a unit; words stay as they are."""
    cut = lambda found: found[1] + re.sub(r"(\.\d\d)\d+", r"\1", found[2]) + '"'
    return re.sub(r'(\b(?:d|x|y|width|height|transform)=")([^"]*)"', cut, text)


def _lines(text: str) -> str:
    """Lines of the page: no style of their own."""
    pattern = r'<g id="line:(\d+)">\s*<path d="([^"]*)"[^>]*/>\s*</g>'
    return re.sub(pattern, r'<path class="line" data-line="\1" d="\2"/>', text)


def _names(text: str) -> str:
    """Ids that are referred to become unique in a page with many drawings; others go."""
    import hashlib

    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", text))
    used = {name for pair in used for name in pair if name}
    mark = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]

    def change(match: re.Match[str]) -> str:
        return f' id="{mark}-{match[1]}"' if match[1] in used else ""

    text = re.sub(r' id="([^"]*)"', change, text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}-\1)", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#{mark}-\1"', text)
