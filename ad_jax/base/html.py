"""Small tables of HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def as_table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    """A table of two columns under a title; all text is escaped."""
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table><caption style="text-align:left">{escape(title)}</caption>{cells}</table>'
