"""A document in every format: a page, Markdown, CSV (the raw rows), JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ad_jax.base.json_text import json_text
from ad_jax.base.stats import Estimate
from ad_jax.report.page.content import (
    Block,
    Cell,
    Code,
    Document,
    Figures,
    Fold,
    Gallery,
    Parallel,
    Prose,
    Table,
    shown,
)
from ad_jax.report.page.html import html
from ad_jax.store import tables

LONGEST = 100  # rows of a table in Markdown; the CSV has all


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def _table(table: Table) -> list[str]:
    count = len(table.rows)
    more = f" ({LONGEST} of {count} rows)" if count > LONGEST else ""
    digits = [column.digits for column in table.columns]
    rows = [*table.rows[:LONGEST], *table.foot]
    return [
        f"**{table.name}**{more} {table.note}".rstrip(),
        "",
        _line([column.title for column in table.columns]),
        _line(["---"] + ["---:"] * (len(table.columns) - 1)),
        *[_line([shown(c, d) for c, d in zip(row, digits, strict=True)]) for row in rows],
        "",
    ]


def _block(block: Block) -> list[str]:
    """Lines of Markdown."""
    if isinstance(block, Prose):
        return (
            [f"- {x}" for x in block.lines]
            if block.points
            else "\n\n".join(block.lines).split("\n")
        )
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Figures):
        return [f"*{f.title}*: {f.about}\n" for f in block.figures]
    if isinstance(block, Parallel):
        return [f"*{block.figure.title}*: {block.figure.about}"]
    if isinstance(block, Gallery):
        return [f"*{block.name}*: {len(block.rows)} rows of images, in the page."]
    if isinstance(block, Fold):
        return [f"### {block.name}", "", *(x for b in block.blocks for x in [*_block(b), ""])]
    return [f"**{block.name}**", "", "```", block.text, "```"]


def markdown(document: Document) -> str:
    """Text and tables; drawings by what they show in words."""
    out = [f"# {document.title}", "", document.made, ""]
    for line in document.summary:
        out += [line, ""]
    for section in document.sections:
        out += [f"## {section.title}", ""]
        for block in section.blocks:
            out += [*_block(block), ""]
    return "\n".join(out)


def _flat(blocks: Sequence[Block]) -> list[Block]:
    """Blocks, those inside folds included."""
    return [b for x in blocks for b in (_flat(x.blocks) if isinstance(x, Fold) else [x])]


def _plain(cell: Cell) -> Any:
    """A cell as JSON: null where a number is not finite, an interval beside its value."""
    if isinstance(cell, Estimate):
        return {"value": _plain(cell.value), "low": _plain(cell.low), "high": _plain(cell.high)}
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _as_data(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "note": table.note,
        "columns": [column.title for column in table.columns],
        "rows": [[_plain(c) for c in row] for row in table.rows],
        "foot": [[_plain(c) for c in row] for row in table.foot],
    }


def as_json(document: Document) -> str:
    """Everything but drawings: summary, tables with every row, texts."""

    content = {
        "title": document.title,
        "made": document.made,
        "summary": list(document.summary),
        "sections": [
            {
                "key": section.key,
                "title": section.title,
                "covers": {str(k): v for k, v in section.covers.items()},
                "text": [x for b in blocks if isinstance(b, Prose) for x in b.lines],
                "tables": [_as_data(b) for b in blocks if isinstance(b, Table)],
                "code": {b.name: b.text for b in blocks if isinstance(b, Code)},
            }
            for section in document.sections
            for blocks in [_flat(section.blocks)]
        ],
        "rows": _as_data(document.rows),
    }
    return json_text(content, indent=1)


def as_csv(document: Document) -> str:
    """The raw rows, one per member."""
    return tables.written([column.title for column in document.rows.columns], document.rows.rows)


# name -> (ending of the file, how it is written)
FORMATS: Mapping[str, tuple[str, Callable[[Document], str]]] = {
    "html": ("html", html),
    "markdown": ("md", markdown),
    "csv": ("csv", as_csv),
    "json": ("json", as_json),
}


def written(document: Document, name: str) -> bytes:
    """A document in the format of that name, as the bytes of one file."""
    return FORMATS[name][1](document).encode()
