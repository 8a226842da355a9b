"""A report as one document: what it says (`content`), and its writers.

`html` writes one page that holds everything it needs: style, a script of a few kilobytes, drawings
as SVG. It opens from a file without network, and forbids itself to ask for anything (by its
Content-Security-Policy). `formats` lists it beside Markdown, CSV and JSON; `terminal` writes plain
text, `picture` a PNG.
"""

from ad_jax.base.stats import Estimate
from ad_jax.report.page.content import (
    Block,
    Code,
    Column,
    Document,
    Figure,
    Figures,
    Fold,
    Gallery,
    Key,
    Parallel,
    Picture,
    Prose,
    Section,
    Table,
    field,
    tabulated,
)
from ad_jax.report.page.formats import FORMATS, written

__all__ = [
    "FORMATS",
    "Block",
    "Code",
    "Column",
    "Document",
    "Estimate",
    "Figure",
    "Figures",
    "Fold",
    "Gallery",
    "Key",
    "Parallel",
    "Picture",
    "Prose",
    "Section",
    "Table",
    "field",
    "tabulated",
    "written",
]
