"""CSV files: read whole, faults named by line, and written so that a spreadsheet runs no cell.

A spreadsheet takes text that begins with `=`, `+`, `-`, `@`, a tab or a line break for a formula.
Such text (a file's name, say) is written with an apostrophe in front, as OWASP advises; so is text
where apostrophes stand before it, which makes the way back unique. Numbers, and text that reads as
a number, stay as they are. `rows` takes the apostrophe away again.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ad_jax.base.errors import InputError

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet's formula begins with
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_number(text: str) -> bool:
    """Whether text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def guarded(cell: Any) -> Any:
    """A cell as it is written: text that would be a formula with an apostrophe in front."""
    if not isinstance(cell, str) or is_number(cell):
        return cell
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA) else cell


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    if text.startswith("'") and text.lstrip("'").startswith(FORMULA):
        return text[1:]
    return text


def writer(file: IO[str], ending: str = "\r\n") -> Callable[[Iterable[Any]], None]:
    """A function that writes one row of cells to a file opened with `newline=""`."""
    table = csv.writer(file, lineterminator=ending)

    def write(cells: Iterable[Any]) -> None:
        table.writerow([guarded(cell) for cell in cells])

    return write


def written(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """A whole table as text."""
    out = io.StringIO(newline="")
    write = writer(out)
    write(header)
    for row in rows:
        write(row)
    return out.getvalue()


def rows(path: str | Path, separators: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Lines of a CSV in UTF-8, with or without a byte-order mark; blank lines are passed over.

    Args:
      path: of the file; opened once, so it may be a pipe.
      separators: characters that may part the cells; the one that makes most cells of the first
        line does, the first of them if several make as many.

    Returns:
      Number of the line, from 1 (of a row with line breaks inside: its last), and its cells.

    Raises:
      InputError: a file that is missing, that is no UTF-8 (UTF-16 is named), or no CSV.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} does not read ({error.strerror})") from None
    if content.startswith(_WIDE) or b"\0" in content[:4096]:
        raise InputError(f"{path} is UTF-16 or binary; save it as UTF-8 (in Excel: CSV UTF-8)")
    try:
        first = next((line for line in _text(content) if line.strip()), "")
        apart = max(separators, key=lambda s: len(next(csv.reader([first], delimiter=s), [])))
        table = csv.reader(_text(content), delimiter=apart)
        plain = b"'" not in content
        for cells in table:
            if cells:
                yield table.line_num, cells if plain else [unguarded(cell) for cell in cells]
    except UnicodeDecodeError:
        raise InputError(f"{path} does not read: {_no_utf8(content)}; save it as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path} does not read ({error}); write it again") from None


def records(path: str | Path) -> list[dict[str, str]]:
    """Rows of a CSV that has a header, by the names of the columns.

    Raises:
      InputError: as `rows`, and a line whose number of cells is not the header's.
    """
    (_, header), *lines = list(rows(path)) or [(1, [])]
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(
                f"{path}: line {number} has {len(cells)} columns, the first {len(header)}"
            )
    return [dict(zip(header, cells, strict=True)) for _, cells in lines]


def _text(content: bytes) -> IO[str]:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")


def _no_utf8(content: bytes) -> str:
    """Where bytes stop being UTF-8."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return f"byte 0x{content[error.start]:02x} in line {line} is no UTF-8"
    raise AssertionError("all bytes are UTF-8")
