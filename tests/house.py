"""Counts the house: rooms, floors, imports between rooms, files, lines, long functions.

    python tests/house.py            # of this checkout
    python tests/house.py FOLDER     # of another, such as one of an earlier commit

A room is a file or a folder at the top of `ad_jax`. Its floor is the longest way down from it by
imports. The limits stand in tests/test_architecture.py.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

LONG = 60  # lines of a function
MANY = 8  # parameters of a function


class Function(NamedTuple):
    """A function: its file, name, lines (docstring left out) and parameters (self left out)."""

    file: str
    name: str
    lines: int
    parameters: int


class House(NamedTuple):
    """What is counted of a package, and the lines of the studies beside it."""

    rooms: int
    floors: int
    arrows: int
    imports: int
    files: int
    lines: int
    experiments: int
    functions: list[Function]


def room_of(path: Path, package: Path) -> str:
    """The room that a file of the package belongs to."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def imports_of(path: Path, package: str = "ad_jax") -> list[str]:
    """Rooms that a file imports, one per statement and room; imports within functions, too."""
    out = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            head, *rest = node.module.split(".")
            if head == package:
                out += rest[:1] or sorted({alias.name for alias in node.names})
    return out


def functions_of(path: Path, package: Path) -> list[Function]:
    """All functions of a file, methods and functions within functions included."""
    out = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node) is not None:
            lines -= (first.end_lineno or first.lineno) - first.lineno + 1
        given = node.args
        names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        out.append(Function(str(path.relative_to(package)), node.name, lines, count))
    return out


def floors(arrows: set[tuple[str, str]], rooms: set[str]) -> int:
    """Rooms on the longest way by imports; a circle counts as far as it was walked."""
    below: dict[str, set[str]] = {room: set() for room in rooms}
    for start, end in arrows:
        below[start].add(end)
    known: dict[str, int] = {}

    def depth(room: str, seen: frozenset[str]) -> int:
        if room not in known:
            further = [depth(r, seen | {r}) for r in below[room] if r not in seen]
            known[room] = 1 + max(further, default=0)
        return known[room]

    return max(depth(room, frozenset([room])) for room in sorted(rooms))


def counted(root: Path) -> House:
    """The house at the root of a checkout."""
    package = root / "ad_jax"
    files = sorted(p for p in package.rglob("*.py") if p != package / "__init__.py")
    rooms = {room_of(path, package) for path in files}
    pairs = [
        (room_of(path, package), room)
        for path in files
        for room in imports_of(path)
        if room in rooms and room != room_of(path, package)
    ]
    studies = sorted((root / "experiments").rglob("*.py"))

    def lines(paths: list[Path]) -> int:
        return sum(len(path.read_text().splitlines()) for path in paths)

    return House(
        len(rooms),
        floors(set(pairs), rooms),
        len(set(pairs)),
        len(pairs),
        len(files),
        lines([*files, package / "__init__.py"]),
        lines(studies),
        [one for path in files for one in functions_of(path, package)],
    )


def main() -> None:
    house = counted(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
    print(f"rooms                      {house.rooms}")
    print(f"floors                     {house.floors}")
    print(f"arrows between rooms       {house.arrows}")
    print(f"imports between rooms      {house.imports}")
    print(f"files of ad_jax            {house.files}")
    print(f"lines of ad_jax            {house.lines}")
    print(f"lines of experiments       {house.experiments}")
    for title, found in (
        (f"functions over {LONG} lines", [f for f in house.functions if f.lines > LONG]),
        (f"functions over {MANY} parameters", [f for f in house.functions if f.parameters > MANY]),
    ):
        print(f"{title}: {len(found)}")
        for one in sorted(found, key=lambda f: (-f.lines, f.file)):
            print(f"  {one.file}: {one.name}, {one.lines} lines, {one.parameters} parameters")


if __name__ == "__main__":
    main()
