"""The documentation site: `sphinx-build -W --keep-going docs docs/_build/html`.

Pages are plain Markdown (MyST); the API pages come from the docstrings, the options of the command
from its parser. Names in single backticks become links where they name something that is here.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ["COLUMNS"] = "96"  # of the help texts, on any terminal

import ad_jax  # noqa: E402
from ad_jax.cli import parser  # noqa: E402

project = "ad_jax"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "ad_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]

default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style"), ("Options", "params_style")]


class Command(Directive):
    """`{ad-jax} select`: the help of a command, as the command itself prints it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        top = parser()
        (commands,) = (a.choices for a in top._actions if isinstance(a, argparse._SubParsersAction))
        text = commands[self.arguments[0]].format_help()
        return [nodes.literal_block(text, text, language="text")]


def leave_out(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool:
    """Fields of named tuples, which the docstring of the tuple explains."""
    return skip or type(obj).__name__ == "_tuplegetter"


def without_types(app: Any, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, None] | None:
    """Named tuples and dataclasses: their docstring says types and shapes, field by field."""
    if what != "class":
        return None
    if hasattr(obj, "_field_defaults"):
        known = obj._field_defaults
        fields = [f"{field}={known[field]!r}" if field in known else field for field in obj._fields]
    elif dataclasses.is_dataclass(obj):
        fields = []
        for field in dataclasses.fields(obj):
            if field.kw_only and "*" not in fields:
                fields.append("*")
            given = field.default is not dataclasses.MISSING
            made = field.default_factory is not dataclasses.MISSING
            default = f"={field.default!r}" if given else "=..." if made else ""
            fields += [field.name + default] if field.init else []
    else:
        return None
    return f"({', '.join(fields)})", None


def properties(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keeps napoleon from reading "Shape: (h, w, c)" as a type and its description."""
    if what in ("property", "attribute", "data"):
        lines.insert(0, "")


def from_the_top(app: Any, env: Any, node: Any, content: Any) -> Any:
    """`rules.RULES` means `ad_jax.selection.rules.RULES`, wherever it is said."""
    room, dot, rest = node["reftarget"].partition(".")
    name = f"{ad_jax.ROOMS.get(room, f'ad_jax.{room}')}{dot}{rest}"
    found = env.domains.python_domain.objects.get(name)
    if found is None or node["refdomain"] != "py":
        return None
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content, name)


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("ad-jax", Command)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-signature", without_types)
    app.connect("autodoc-process-docstring", properties, priority=400)  # before napoleon
    app.connect("missing-reference", from_the_top)
    return {"parallel_read_safe": True}
