"""Sections as plain text for a terminal: titles, aligned tables, lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ad_jax.base.stats import Estimate
from ad_jax.report.page.content import Block, Cell, Prose, Section, Table
from ad_jax.report.table import render


def with_interval(estimate: Estimate) -> str:
    """A figure with three digits and its interval; "-" where there is none.

    >>> with_interval(Estimate(0.9, 0.85, 0.95)), with_interval(Estimate(0.9))
    ('0.900 [0.850, 0.950]', '0.900')
    """
    if math.isnan(estimate.value):
        return "-"
    interval = "" if math.isnan(estimate.low) else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"


def _cell(cell: Cell) -> Any:
    if cell is None:
        return ""
    return with_interval(cell) if isinstance(cell, Estimate) else cell


def _block(block: Block) -> str:
    if isinstance(block, Table):
        rows = [[_cell(cell) for cell in row] for row in [*block.rows, *block.foot]]
        return render([column.title for column in block.columns], rows)
    assert isinstance(block, Prose), "a terminal shows text and tables"
    return "\n".join(block.lines)


def terminal(sections: Sequence[Section]) -> str:
    """The text: an empty line before every section, its title if it has one, its blocks."""
    lines: list[str] = []
    for section in sections:
        title = [section.title] if section.title else []
        lines += ["", *title, *map(_block, section.blocks)]
    return "\n".join(lines)
