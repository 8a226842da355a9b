"""Drawings by matplotlib as SVG inside a page: small, offline, and in the page's own colours.

Matplotlib and not a library that draws in the browser: a page of 30 tasks has over 100 drawings,
and as SVG they cost kilobytes and no script, so a page opens at once and prints. Colours are names
here; in the SVG they are variables of the page, so that light and dark need no second drawing.
They are told apart with any colour vision (after Okabe and Ito, jfly.uni-koeln.de/color, darker on
white for a contrast of 3:1), and never without a shape, a dash or a label.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ad_jax.report.chart import apart
from ad_jax.report.colours import COLOURS, SERIES
from ad_jax.report.page.content import Figure, Key

MARKERS = tuple("os^DvPX*")
WIDTH = 380  # units of a drawing that fills a phone; text of 11 stays readable there
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
    told: Any = {
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
    return rc_context(told)


def canvas(width: int, height: int, columns: int = 1, rows: int = 1, **grid: Any) -> tuple:
    """A matplotlib figure of `width` x `height` units and its axes; call within `style`."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(width / 72, height / 72), layout="constrained")
    return drawing, drawing.subplots(rows, columns, **grid)


def labelled(axes: Any, lines: Mapping[str, tuple[float, str]], gap: float) -> None:
    """Horizontal lines with their names at the right side; axes limits have to stand.

    Args:
      axes: of matplotlib.
      lines: text -> (value, name in `DASHES`).
      gap: between two texts, in units of the drawing.
    """
    low, high = axes.get_ylim()
    unit = (high - low) / (axes.figure.get_figheight() * 72 * 0.8)
    names = list(lines)
    at = [min(max(lines[name][0], low), high) for name in names]
    places = apart(at, gap * unit, low, high)
    for name, value, place in zip(names, at, places, strict=True):
        kind = lines[name][1]
        tone = colour("red" if kind == "pick" else "faint")
        style = (0, DASHES[kind]) if DASHES[kind] else "-"
        axes.axhline(value, color=tone, linewidth=1.2, linestyle=style)
        axes.annotate(
            name,
            (1.0, place),
            (4, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=tone,
        )


def up_to_one(axes: Any) -> None:
    """Takes the ticks above 1 from an axis of AUROC: there is nothing."""
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= min(high, 1.0 + 1e-9)])


def svg(drawing: Any, title: str, about: str, wide: bool = False) -> Figure:
    """A drawing as one `<svg>` element in the page's colours.

    Groups with an id `tip:TEXT` get the text as a tooltip; lines with an id `line:NUMBER` are left
    to the page's own style, with `data-line`.
    """
    out = io.BytesIO()
    drawing.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None})
    text = out.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert box is not None
    width = float(box[1])
    head = (
        f'<svg viewBox="{box[0][9:-1]}" role="img" aria-label="{escape(title)}. {escape(about)}" '
        f'style="max-width: {width * (1.0 if wide else 1.5):.0f}px">'
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
    return Figure(title, _short(text), about, wide)


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
