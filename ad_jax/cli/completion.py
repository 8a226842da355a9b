"""`ad-jax completion`: a script by which a shell completes commands, options and names.

All names stand in the script, so a completion starts no Python. shtab writes the script from the
parser; what it lacks are names behind a comma, and names beside files.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.cli.common import Adder

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("run", "detector", "--record", "--into", "--heatmaps")
FILES = ("file", "--config", "--labels", "--held-out", "--picture", "--points", "--roi", "--out")
# Bash takes a colon for the end of a word, but `textures:brick-defect` is one name.
_BASH = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}"
_FUNCTIONS = {  # names, behind the last comma of what is typed
    "bash": '{name}() {{ compgen -P "${{1%"${{1##*,}}"}}" -W "{words}" -- "${{1##*,}}"; {files}}}',
    "zsh": "{name}() {{ compset -P '*,'; compadd -- {words}; {files}}}",
    "fish": "function {name}\n"
    "  set -l before (string match -r '.*,' -- (commandline -ct))\n"
    '  for word in {words}; echo "$before$word"; end\n  {files}\nend',
}
_FILES = {
    "bash": 'compgen -f -- "$1"; ',
    "zsh": "_files; ",
    "fish": "__fish_complete_path (commandline -ct)",
}


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "completion",
        completion,
        "the script by which bash, zsh or fish completes commands",
        (
            "ad-jax completion bash --out ~/.ad-jax-completion",
            "ad-jax completion fish --out ~/.config/fish/completions/ad-jax.fish",
        ),
    )
    one.add_argument("shell", choices=SHELLS)
    one.add_argument("--out", help="file to write instead of stdout")


def names() -> dict[str, list[str]]:
    """What options and sources are called, by the option (or "source") that takes it."""
    from ad_jax.augment import KNOWN
    from ad_jax.data import SOURCES
    from ad_jax.data.tables import SETS
    from ad_jax.detect.localise import METHODS
    from ad_jax.features import ENCODERS
    from ad_jax.selection import search
    from ad_jax.selection.rules import RULES
    from ad_jax.selection.tuning import ESTIMATORS, OUTER
    from ad_jax.train.backbones import BACKBONES
    from ad_jax.train.pretexts import FITTED, ON_FEATURES, PRETEXTS

    trained = [name for name in {**PRETEXTS, **ON_FEATURES} if name not in FITTED]
    families = [f"{pretext}/{one}" for pretext in trained for one in KNOWN]
    sources = [name for name in SOURCES if name.islower()]
    sources += [f"sklearn:{name}" for name in SETS] + [f"planted:{name}" for name in KNOWN]
    return {
        "source": sources,
        "--second": sources,
        "--tune-on": sources,
        "--families": ["wide", *families, *(f"{name}/identity" for name in FITTED)],
        "--augmentation": list(KNOWN),
        "--rule": list(RULES),
        "--backbone": [*BACKBONES, *(f"frozen:{name}" for name in ENCODERS)],
        "--localiser": [*METHODS, "head"],
        "--search": list(search.SEARCHES),
        "--outer": list(OUTER),
        "--estimator": list(ESTIMATORS),
    }


def script(shell: str) -> str:
    """The script for a shell, one of `SHELLS`.

    Raises:
      InputError: shtab, which writes it, is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError:
        raise InputError("shtab, which writes the script, is missing: pip install shtab") from None
    from ad_jax.cli import parser

    top, known = parser(), names()
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            key = (action.option_strings or [action.dest])[-1]
            if key in known:
                action.complete = _completer(key, known[key])  # type: ignore[attr-defined]
            elif key in FOLDERS or key in FILES:
                kind = shtab.DIRECTORY if key in FOLDERS else shtab.FILE
                action.complete = kind  # type: ignore[attr-defined]
    return str(shtab.complete(top, shell, preamble=_BASH if shell == "bash" else "")) + "\n"


def _completer(key: str, words: list[str]) -> dict[str, Any]:
    """What shtab takes for the names of an option; a source may be a file, too."""
    name = f"_ad_jax_names_of_{key.strip('-').replace('-', '_')}"
    files = _FILES if "digits" in words else dict.fromkeys(SHELLS, "")
    functions = {
        shell: code.format(name=name, words=" ".join(words), files=files[shell])
        for shell, code in _FUNCTIONS.items()
    }
    return {"bash": name, "zsh": name, "fish": f"({name})", "preamble": functions}


def completion(arguments: argparse.Namespace) -> None:
    written = script(arguments.shell)
    if arguments.out:
        path = Path(arguments.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written)
    if arguments.json:
        print(json_text({"shell": arguments.shell, "file": arguments.out, "script": written}))
    elif arguments.out:
        print(arguments.out)
    else:
        print(written, end="")
