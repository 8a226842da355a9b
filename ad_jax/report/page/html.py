"""A document as one page of HTML; long tables are data that the page's script pages through."""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from ad_jax.base.stats import Estimate
from ad_jax.report.colours import COLOURS, SHAPES
from ad_jax.report.figures import theme
from ad_jax.report.page.content import Cell, Document, Table, shown

IN_PAGE = 200  # rows of a table that stand in the page; longer ones are data
FIRST = 50  # rows of those that stand in the page nevertheless, as many as the script shows at once
FIGURES = 6  # significant ones in such data


def _sortable(cell: Estimate | float | None) -> str:
    """What the script sorts a number by; "" comes last."""
    value = cell.value if isinstance(cell, Estimate) else cell
    if value is None or math.isnan(value):
        return ""
    return repr(value) if math.isfinite(value) else ("1e999" if value > 0 else "-1e999")


def _brief(value: float | None) -> float | int | None:
    """A number with few figures; what is not finite becomes null (JSON knows no more)."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.{FIGURES}g}")


def _column(cells: Sequence[Cell], digits: int) -> dict[str, Any]:
    """A column as data: words by number, or values and their intervals."""
    if any(isinstance(c, str) for c in cells):
        texts = [shown(c, digits) for c in cells]
        words = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        return {"kind": "words", "words": list(words), "values": [words[t] for t in texts]}
    if not any(isinstance(c, float) for c in cells) and not any(
        isinstance(c, Estimate) for c in cells
    ):
        return {"kind": "whole", "values": list(cells)}
    estimates = [
        c if isinstance(c, Estimate) else Estimate(float(c) if c is not None else math.nan)
        for c in cells
    ]
    out: dict[str, Any] = {
        "kind": "real",
        "digits": digits,
        "values": [_brief(c.value) for c in estimates],
    }
    if any(math.isfinite(c.low) for c in estimates):
        out |= {side: [_brief(getattr(c, side)) for c in estimates] for side in ("low", "high")}
    return out


def _data(table: Table) -> str:
    """A table as JSON that may stand in a `<script>`."""
    data = {
        "count": len(table.rows),
        "marked": sorted(table.marked),
        "columns": [
            _column([row[i] for row in table.rows], column.digits)
            for i, column in enumerate(table.columns)
        ],
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _palette() -> str:
    """The colours as variables: light, dark by the system's wish, and either by the reader's."""
    light, dark = (
        ";".join(f"--{name}:{sides[i]}" for name, sides in COLOURS.items()) for i in (0, 1)
    )
    return (
        f":root{{{light};color-scheme:light}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark};color-scheme:dark}}}}"
        f':root[data-theme="light"]{{{light};color-scheme:light}}'
        f':root[data-theme="dark"]{{{dark};color-scheme:dark}}\n'
    )


def _soft(text: str) -> Any:
    """Text that may break after the commas and slashes of long names, not in options or "5 %"."""
    from markupsafe import Markup, escape

    broken = re.sub(r"([,/])(?=\S)", r"\1<wbr>", str(escape(text)))
    broken = re.sub(r"(?<=\d) %", "\u00a0%", broken)
    return Markup(re.sub(r"(?<![\w-])(--\w[\w-]*)", r'<span class="option">\1</span>', broken))


def html(document: Document) -> str:
    """The page."""
    from jinja2 import Environment, FunctionLoader
    from markupsafe import Markup

    folder = files("ad_jax.report.page") / "assets"
    environment = Environment(
        autoescape=True, loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8"))
    )
    data: dict[str, tuple[Markup, int]] = {}
    tables = itertools.count(1)

    def numbered(table: Table, write: Callable[..., Markup]) -> Markup:
        """A table with a name of its own; long ones leave their rows in `data`."""
        name, count = f"table-{next(tables)}", len(table.rows)
        if count <= IN_PAGE:
            return write(table, name, table.rows, count)
        data[f"data-{name}"] = Markup(_data(table)), count
        return write(table, name, table.rows[:FIRST], count)

    environment.filters["soft"] = _soft
    environment.globals.update(
        shown=shown,
        sortable=_sortable,
        svg=theme.svg,
        shapes=SHAPES,
        numbered=numbered,
        base64=lambda content: base64.b64encode(content).decode(),
    )
    return environment.get_template("page.html").render(
        document=document,
        parts=environment.get_template("parts.html").module,
        data=data,
        colours=Markup(_palette()),
        style=Markup((folder / "page.css").read_text("utf-8")),
        script=Markup((folder / "page.js").read_text("utf-8")),
    )
