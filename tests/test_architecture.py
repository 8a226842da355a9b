"""The house stands: imports go one way, the start is light, nothing but the ends sees labels."""

import subprocess
import sys
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "ad_jax"
ORDER = [  # a room may import rooms above it only
    "base",
    "augment",
    "data",
    "store",
    "train",
    "features",
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


FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def test_every_room_has_its_place():
    assert {house.room_of(p, PACKAGE) for p in FILES} == set(ORDER)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = house.room_of(path, PACKAGE)
    for name in set(house.imports_of(path)) - {room}:
        assert ORDER.index(name) < ORDER.index(room), (
            f"{path.name} imports {name}, which stands below it"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_ends_see_evaluate(path):
    room = house.room_of(path, PACKAGE)
    if room not in ("cli", "evaluate") and path.parent != PACKAGE / "report" / "judged":
        assert "evaluate" not in house.imports_of(path)


PUBLIC = {  # called by people with a few of their many options
    ("estimator.py", "__init__"),
    ("selection/selection.py", "select"),
    ("selection/tuning/tuned.py", "tune"),
    ("data/folder.py", "load_folder"),
    ("data/problem.py", "sealed"),  # what loaders say of a source, all by name
}


def test_the_house_keeps_its_measure():
    found = house.counted(ROOT)
    assert found.rooms <= 20 and found.arrows <= 100 and found.floors <= 12
    assert not [f for f in found.functions if f.lines > house.LONG]
    many = {(f.file, f.name) for f in found.functions if f.parameters > house.MANY}
    assert many == PUBLIC


def test_what_is_counted_is_there(tmp_path):
    package = tmp_path / "ad_jax"
    (package / "train").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("def add(x, *, y):\n    'Sum.'\n    return x + y\n")
    trainer = "def run(self, x):\n    from ad_jax.base import add\n\n    return add(x, y=1)\n"
    (package / "train" / "trainer.py").write_text(trainer)
    found = house.counted(tmp_path)
    assert (found.rooms, found.floors, found.arrows, found.imports) == (2, 2, 1, 1)
    assert (found.files, found.lines, found.experiments) == (2, 7, 0)
    assert [f[2:] for f in found.functions] == [(2, 2), (4, 1)]


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
ad_jax.load, ad_jax.select, ad_jax.Detector  # what is behind them loads now
assert "scipy.stats" not in sys.modules  # it would double what they take
"""
    subprocess.run([sys.executable, "-c", code], check=True)
