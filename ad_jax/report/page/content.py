"""What a report says, whatever it is written for: sections of text, tables and figures.

The writers stand beside it: `html` for a browser, `formats` for Markdown, CSV and JSON, `terminal`
for plain text, `picture` for a PNG.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from ad_jax.base.stats import Estimate

TINY = 1e-8  # shown as zero: what sums in another order leave


Cell = str | int | float | Estimate | None
T = TypeVar("T")


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      title: its head.
      about: what it is, shown with the head; "" if the head says all.
      digits: after the point, of floats.
    """

    title: str
    about: str = ""
    digits: int = 3


@dataclass(frozen=True)
class Table:
    """Rows that readers can sort.

    Attributes:
      name: caption.
      columns: one per cell of a row.
      rows: the first column names the row.
      foot: rows that stay below whatever the order: lines to compare with.
      note: below the caption.
      marked: numbers of rows to stand out, such as the pick's.
      linked: key of the `Parallel` whose lines are this table's rows, "" without.
    """

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()
    note: str = ""
    marked: frozenset[int] = frozenset()
    linked: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing, made by matplotlib when it is written.

    Attributes:
      title: above it.
      about: what it shows in words, for those who do not see it.
      draw: draws it on axes of matplotlib.
      width, height: units of a page, of which text has 11.
      margins: left, right, bottom, top of the axes as shares; as the texts need it without.
      grid: whether lines stand at the ticks.
      wide: as wide as the page, scrolled sideways on a phone; others stand side by side.
    """

    title: str
    about: str
    draw: Callable[[Any], None]
    width: int = 380  # fills a phone
    height: int = 240
    margins: tuple[float, float, float, float] | None = None
    grid: bool = True
    wide: bool = False


class Key(NamedTuple):
    """A line of a legend: colour (a name of `colours.COLOURS`), shape (of `SHAPES`), text."""

    colour: str
    shape: str
    text: str


@dataclass(frozen=True)
class Figures:
    """Drawings side by side with one legend, and what to look for."""

    figures: Sequence[Figure]
    legend: Sequence[Key] = ()
    note: str = ""


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates, a line per setting; readers choose how many of the best stand out.

    Attributes:
      key: name that a linked table refers to.
      figure: its lines carry `data-line`, the number of the row in the linked table.
      top: how many stand out at first.
      drawn: number of lines.
      note: what is drawn.
    """

    key: str
    figure: Figure
    top: int
    drawn: int
    note: str


class Picture(NamedTuple):
    """A small image: PNG bytes and what it shows."""

    png: bytes
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Images in rows: name of the row -> images.

    Attributes:
      name: above them.
      rows: name of the row -> images.
      note: below the name.
      side: units that an image is wide at least, on a page.
    """

    name: str
    rows: Mapping[str, Sequence[Picture]]
    note: str = ""
    side: int = 84


@dataclass(frozen=True)
class Prose:
    """Sentences, a paragraph each, or the points of a list."""

    lines: Sequence[str]
    points: bool = False


@dataclass(frozen=True)
class Code:
    """Text as it is: a command, a file."""

    name: str
    text: str


@dataclass(frozen=True)
class Fold:
    """Blocks that a reader opens."""

    name: str
    blocks: Sequence[Block]


Block = Table | Figures | Parallel | Gallery | Prose | Code | Fold


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
      key: its name in links, unique.
      title: heading.
      blocks: what it says.
      covers: number of a rule of reporting -> what of it is lacking here, "" if nothing.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    covers: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
      title: of the page.
      summary: in plain words, a sentence or two a line.
      sections: in order.
      rows: the raw rows from which everything follows, one per member.
      made: when, by which version.
    """

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    rows: Table
    made: str


Field = tuple[Column, Callable[[T], Cell]]


def field(title: str, cell: Callable[[T], Cell], about: str = "", digits: int = 3) -> Field[T]:
    """A column, and how its cell follows from what a row is of."""
    return Column(title, about, digits), cell


def tabulated(
    name: str,
    fields: Sequence[Field[T]],
    items: Sequence[T],
    foot: Sequence[Sequence[Cell]] = (),
    note: str = "",
) -> Table:
    """A table with a row an item."""
    rows = [[cell(item) for _, cell in fields] for item in items]
    return Table(name, [column for column, _ in fields], rows, foot, note)


def known(value: float | None) -> float:
    """A float of a file, NaN for its null."""
    return math.nan if value is None else float(value)


def number(value: float, digits: int = 3) -> str:
    """A float for readers; "–" where there is none, "∞" where a setting cannot be picked."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    value = 0.0 if abs(value) < TINY else value
    text = f"{value:.{digits}f}"
    if float(text) == 0.0 and value != 0.0:
        mantissa, exponent = f"{value:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "−")


def shown(cell: Cell, digits: int = 3) -> str:
    """A cell as text.

    >>> shown(Estimate(0.9, 0.85, 0.95), 2), shown(0.12345), shown(None), shown(7)
    ('0.90 [0.85, 0.95]', '0.123', '', '7')
    """
    if cell is None:
        return ""
    if isinstance(cell, Estimate):
        interval = f" [{number(cell.low, digits)}, {number(cell.high, digits)}]"
        return number(cell.value, digits) + ("" if math.isnan(cell.low) else interval)
    return number(cell, digits) if isinstance(cell, float) else str(cell)
