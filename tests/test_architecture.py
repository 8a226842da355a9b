"""The house stands: imports go one way, the start is light, nothing but the ends sees labels."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ad_jax"
ORDER = [  # a room may import rooms above it only
    "base",
    "augment",
    "data",
    "store",
    "train",
    "alignment",
    "detect",
    "pool",
    "selection",
    "estimator",
    "runs",
    "evaluate",
    "report",
    "cli",
]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "ad_jax":
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def test_every_room_has_its_place():
    assert {room(p) for p in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    own = ORDER.index(room(path))
    for name in imported_rooms(path) - {room(path)}:
        assert ORDER.index(name) < own, f"{path.name} imports {name}, which stands below it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_ends_see_evaluate(path):
    if room(path) not in ("cli", "evaluate") and path.parent != PACKAGE / "report" / "judged":
        assert "evaluate" not in imported_rooms(path)


def test_import_is_light():
    code = """
import sys, time, jax
start = time.perf_counter()
import ad_jax
spent = time.perf_counter() - start
heavy = {"tensorflow", "sklearn", "pandas", "matplotlib", "jinja2", "PIL", "skimage"}
heavy &= set(sys.modules)
assert not heavy, heavy
assert spent < 1.0, spent
"""
    subprocess.run([sys.executable, "-c", code], check=True)
