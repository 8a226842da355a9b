"""`ad-jax preview`: see every augmentation on a source."""

from __future__ import annotations

import argparse
from pathlib import Path

from ad_jax.base.json_text import json_text
from ad_jax.base.parameters import ROOT_MOST, whole
from ad_jax.cli.common import Adder, load


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "preview",
        preview,
        "picture sheet of every augmentation on a source",
        ("ad-jax preview parts", "ad-jax preview digits,normal=3 --out runs/digits --seed 1"),
    )
    one.add_argument("source")
    one.add_argument("--out", default="runs/preview")
    one.add_argument("--seed", type=int)


def preview(arguments: argparse.Namespace) -> None:
    from ad_jax.report.preview import sheet

    problem, *_ = load(arguments.source)
    seed = whole("--seed", arguments.seed or 0, 0, ROOT_MOST)
    page = sheet(problem, seed)
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "preview.png"
    page.save(path)
    print(json_text({"preview": str(path)}) if arguments.json else path)
