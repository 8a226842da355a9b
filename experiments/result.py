"""What a study found: tables of numbers and lines between them, and how to draw it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ad_jax.base.stats import Estimate
from ad_jax.report.page.content import shown
from ad_jax.report.table import render

Cell = Estimate | float | int | str | None
Panels = dict[str, dict[str, dict[str, Estimate]]]  # title -> row -> series -> what is drawn
to_two_digits = functools.partial(shown, digits=2)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      header: of the columns.
      rows: a cell a column; None where nothing is known.
      show: an estimate as text.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    show: Callable[[Estimate], str] = shown

    def __str__(self) -> str:
        def text(cell: Cell) -> Cell:
            if isinstance(cell, Estimate):
                return self.show(cell)
            return "-" if cell is None else cell

        return render(self.header, [[text(cell) for cell in row] for row in self.rows])

    def column(self, name: str) -> dict[str, Cell]:
        """Cells of a column, by the first cell of their row."""
        place = list(self.header).index(name)
        return {str(row[0]): row[place] for row in self.rows}


@dataclass(frozen=True)
class Result:
    """Blocks in the order in which they are printed, and what draws the picture into a PNG."""

    blocks: Sequence[Table | str]
    picture: Callable[[Path], None] | None = None

    def __str__(self) -> str:
        return "\n".join(map(str, self.blocks))

    @property
    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]
