"""`ad-jax completion`: the script completes in bash and fish without starting a program."""

import argparse
import shutil
import subprocess
import sys

import pytest

from ad_jax import cli
from ad_jax.augment import CATALOGUE
from ad_jax.cli import completion
from ad_jax.selection.rules import RULES

CASES = {  # what is typed -> some of what is offered, and what is not
    "ad-jax sel": ({"select"}, "score"),
    "ad-jax select --fam": ({"--families"}, "--rule"),
    "ad-jax select tex": ({"textures:brick-defect", "texts"}, "digits"),
    "ad-jax select textures:b": ({"textures:brick-defect"}, "textures:gravel-orientation"),
    "ad-jax select x --families binary/cutp": ({"binary/cutpaste"}, "binary/blur"),
    "ad-jax select x --families wide,binary/cutp": ({"wide,binary/cutpaste"}, "binary/cutpaste"),
    "ad-jax tune x --augmentation ": (set(CATALOGUE), "wide"),
    "ad-jax tune x --rule ": (set(RULES), "wide"),
}
DRIVERS = {
    "bash": """PATH=/nowhere
source {script}
COMP_WORDS=({typed})
[[ "{typed}" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_ad_jax ad-jax "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
    "fish": "source {script}; complete -C '{typed}'",
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    pytest.importorskip("shtab", reason="shtab is not installed")
    folder = tmp_path_factory.mktemp("completion")
    for shell in completion.SHELLS:
        (folder / shell).write_text(completion.script(shell))
    return folder


def installed(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    return shell


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_scripts_parse(scripts, shell):
    subprocess.run([installed(shell), "-n", scripts / shell], check=True)


@pytest.mark.parametrize("typed", CASES)
@pytest.mark.parametrize("shell", DRIVERS)  # zsh completes in a terminal only
def test_names_are_completed(scripts, shell, typed, tmp_path):
    (tmp_path / "texts").write_text("a file beside the sources")
    driver = DRIVERS[shell].format(script=scripts / shell, typed=typed)
    command = [installed(shell), "-c", driver]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
    wanted, other = CASES[typed]
    assert wanted <= offered and other not in offered, (done.stdout, done.stderr)


def test_every_name_belongs_to_an_option():
    (commands,) = (a for a in cli.parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions = [a for command in commands.choices.values() for a in command._actions]
    there = {(action.option_strings or [action.dest])[-1] for action in actions}
    assert there >= {*completion.names(), *completion.FOLDERS, *completion.FILES}


def test_the_script_is_written_where_the_shell_looks(tmp_path, monkeypatch, capsys):
    pytest.importorskip("shtab", reason="shtab is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["completion", "bash", "--out", "~/made/ad-jax"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/made/ad-jax\n"
    assert (tmp_path / "made" / "ad-jax").read_text() == completion.script("bash")


def test_a_shell_that_is_not_known_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["completion", "csh"])
    assert end.value.code == 2 and "'csh'" in capsys.readouterr().err


def test_without_shtab_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "ad-jax: shtab, which writes the script, is missing: pip install shtab"
    ]
