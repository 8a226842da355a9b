"""The help of every command: two examples that can be typed, and the commands in their order."""

import argparse
import io
import re
import shlex
import sys

import pytest

from ad_jax import cli
from ad_jax.cli import progress, streams
from ad_jax.pool.sweep import Progress

NAMES = ("demo", "select", "score", "report", "audit", "tune", "preview", "rules", "info", "export")
NAMES += ("status", "merge", "completion")


def helps():
    (commands,) = (
        a.choices for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction)
    )
    return commands


@pytest.mark.parametrize("name", NAMES)
def test_every_help_has_two_examples_that_parse(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = helps()[name].format_help()
    _, _, last = said.partition("\nexamples:\n")
    examples = last.splitlines()
    assert len(examples) == 2 and all(len(line) <= 80 for line in said.splitlines())
    for line in examples:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "ad-jax" and arguments[0] == name
        assert cli.parser().parse_args(arguments).command == name


def test_the_most_used_commands_come_first_with_a_line_each(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = cli.parser().format_help()
    assert tuple(helps()) == NAMES
    assert tuple(re.findall(r"^    (\w+) +\S.*$", said, re.M)) == NAMES
    assert len(said.splitlines()) <= 24


STEPS = [Progress(done, 4, 0, 8, 2.0, 1.0, 1, 3.0) for done in (1, 4)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal_and_a_line_a_step_elsewhere(monkeypatch, capsys):
    for step in STEPS:
        progress.Steps()(step)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("  1/4 members") and second.startswith("  4/4 members")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Steps() as steps:
        for step in STEPS:
            steps(step)
    drawn = terminal.getvalue()
    assert drawn.count("\n") == 1 and drawn.endswith("\n")  # one line, drawn again and again
    assert " 25 % |" in drawn and "1/4 trainings" in drawn and "about 3 s left" in drawn
    assert "100 % |" in drawn and "4/4 trainings" in drawn
    assert "left" not in drawn.rpartition("4/4 trainings")[2]


def test_long_lines_are_wrapped_on_a_terminal_alone(monkeypatch, capsys):
    text = "trust " + "word " * 30 + "--no-break-here"
    streams.say_wrapped(text, 2)
    assert capsys.readouterr().err == f"  {text}\n"
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    streams.say_wrapped(text, 2)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 40 and " ".join(" ".join(lines).split()) == text
    assert lines[0].startswith("  trust") and lines[1].startswith("    word")


def test_a_trust_is_told_by_what_limits_it():
    from ad_jax.selection.trust import decisive

    lines = ("forecast: as good as the ensemble", "limit: three samples, which makes it low")
    both = (*lines, "against it: noise", "note: something")
    assert decisive(both) == "three samples, which makes it low"
    assert decisive(lines[:1]) == "as good as the ensemble"
    assert decisive(()) == ""
