"""The notebooks: source and .ipynb say the same, nothing is printed in them, and they run."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "experiments" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
LONGEST = 900  # seconds a cell may take on a machine that does other work besides


def test_there_are_three():
    assert NAMES == ["audit_scores", "choose", "tune"]


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_are_in_step(name):
    """Made by `jupytext --to ipynb experiments/notebooks/*.py`."""
    source = jupytext.read(FOLDER / f"{name}.py")
    made = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert [(c.cell_type, c.source) for c in made.cells] == [
        (c.cell_type, c.source) for c in source.cells
    ]
    assert not any(c.get("outputs") or c.get("execution_count") for c in made.cells)
    assert f"notebooks/{name}.ipynb" in made.cells[0].source  # the link for Colab


@pytest.mark.notebooks
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=LONGEST, kernel_name="python3").execute()
    shown = [o for c in notebook.cells for o in c.get("outputs", ()) if "data" in o]
    assert any("image/png" in o.data for o in shown)
