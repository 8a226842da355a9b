"""The documentation's screens: captured from a terminal of 80 columns, drawn by a browser."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from ad_jax.base.errors import InputError
from experiments import screens

PAGES = sorted((Path(__file__).parents[1] / "docs").rglob("*.md"))


def test_a_command_is_captured_as_a_terminal_shows_it(tmp_path):
    lines = screens.captured("ad-jax select --help", tmp_path).split("\n")
    assert lines[0].startswith("usage: ad-jax select")
    assert screens.COLUMNS // 2 < max(map(len, lines)) <= screens.COLUMNS
    with pytest.raises(InputError, match="no-such-option"):
        screens.captured("ad-jax select --no-such-option", tmp_path)
    with pytest.raises(InputError, match="not of ls"):
        screens.captured("ls", tmp_path)


def test_long_outputs_are_cut_where_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(screens, "captured", lambda command, folder: "1\n2 < 3\n4")
    page = screens.terminal_page(screens.Screen(("ad-jax x",), 2), tmp_path)
    assert f"{screens.CUT}\n2 &lt; 3\n4<" in page
    assert screens.CUT not in screens.terminal_page(screens.Screen(("ad-jax x",), 3), tmp_path)


def test_pictures_are_small_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(screens, "MOST", 10)
    picture = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(picture)
    with pytest.raises(InputError, match="show fewer lines"):
        screens.save(picture.read_bytes(), tmp_path / "b.png")


def test_the_smallest_variant_draws_one_screen(tmp_path, monkeypatch, capsys):
    arguments = ["--smoke", "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["screens", *arguments])
    texts, capture = [], screens.captured
    monkeypatch.setattr(
        screens, "captured", lambda *given: texts.append(capture(*given)) or texts[-1]
    )
    try:
        screens.main()
    except InputError as error:
        if "playwright" in str(error) or "no browser" in str(error):
            pytest.skip(str(error))
        raise
    assert texts[0].startswith("usage: ad-jax ")
    assert all(len(line) <= screens.COLUMNS for line in texts[0].split("\n"))
    (picture,) = (tmp_path / "out").iterdir()
    assert f"{picture}: {picture.stat().st_size} bytes" in capsys.readouterr().out
    with Image.open(picture) as opened:
        assert opened.width > 800 and len(opened.convert("RGB").getcolors()) > 2


def test_the_documentation_shows_every_screen():
    shown = "".join(page.read_text() for page in PAGES)
    for name in screens.PICTURES:
        assert f"_static/{name}.png)" in shown
        assert (screens.OUT / f"{name}.png").stat().st_size <= screens.MOST
