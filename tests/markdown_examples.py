"""The examples of Markdown pages: found, run, and compared with the output that the page shows.

A page is a notebook: its `python` and `sh` blocks run in their order, in one namespace and one
folder. A `text` block that follows directly holds what the block before it prints, made by

    python tests/markdown_examples.py docs/concepts/*.md

Other blocks (`console`) are for machines that a test has not: only their `ad-jax` lines are parsed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```([a-z]+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.S | re.M)
_NUMBER = re.compile(r"[-+−]?\d*\.\d+|\d+")
_COMMANDS = re.compile(r"(?:^|^\$ |/)ad-jax ([^#\n]*)", re.M)
_GIVEN = re.compile(r'(\w+)="([^"$]*)"$')
NEAR = 0.1  # trainings amplify rounding: other machines print other digits


class Example(NamedTuple):
    """A block, what the page says it prints (None: nothing is said), and its line."""

    language: str
    code: str
    shown: str | None
    line: int


def examples(text: str, *languages: str) -> list[Example]:
    """Blocks of these languages, in their order."""
    return [
        Example(*match.groups(), text.count("\n", 0, match.start()) + 1)
        for match in _BLOCK.finditer(text)
        if match[1] in languages
    ]


def commands(text: str) -> list[list[str]]:
    """Arguments of every `ad-jax` of a `sh` or `console` block: it begins a line or ends a path."""
    blocks = "\n".join(example.code for example in examples(text, "sh", "console"))
    lines = _COMMANDS.findall(blocks.replace("\\\n", " "))
    return [shlex.split(line.split("&&")[0]) for line in lines]


def furnish(folder: Path) -> None:
    """Puts what examples take as the reader's own into a folder.

    `parts/` (64 good parts in `train/`, 64 unlabelled ones in `target/`), `new/`, `mask.png`,
    `labels.csv`: handwritten digits, threes are good and eights are not.
    """
    from ad_jax import data

    problem, truth = data.load("digits", normal=3, kind="8", limit=64)
    anomalous = truth.open("an example's labels").anomalous
    for part, samples in (("parts/train", problem.train), ("parts/target", problem.target)):
        (folder / part).mkdir(parents=True)
        for i, sample in enumerate(samples):
            Image.fromarray(sample[..., 0]).save(folder / part / f"{i:03}.png")
    (folder / "new").mkdir()
    for i, sample in enumerate(problem.target[:8]):
        Image.fromarray(sample[..., 0]).save(folder / "new" / f"{i}.png")
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(folder / "mask.png")
    rows = [f"target/{i:03}.png,{label}" for i, label in enumerate(anomalous)]
    (folder / "labels.csv").write_text("\n".join(["name,label", *rows]) + "\n")
    (folder / "experiments").symlink_to(ROOT / "experiments")


def _shell(code: str) -> None:
    """`ad-jax` alone runs in this process, which has loaded and compiled; all else in bash."""
    from ad_jax import cli

    lines = [re.sub(r"(^|\s+)#.*", "", line) for line in code.replace("\\\n", " ").splitlines()]
    given = dict(match.groups() for line in lines if (match := _GIVEN.match(line)))
    lines = [line for line in lines if not _GIVEN.match(line)]
    for name, value in given.items():
        lines = [line.replace(f"${name}", value) for line in lines]
    if all(re.match(r"ad-jax [^|&;<>$]*$", line) for line in lines if line):
        for line in filter(None, lines):
            status = cli.main(shlex.split(line)[1:])
            assert status == 0, f"{line}: exit status {status}"
        return
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
    )
    print(done.stdout, end="")
    assert done.returncode == 0, f"{code}\nexit status {done.returncode}\n{done.stderr}"


def run(example: Example, namespace: dict[str, Any], page: Path) -> str:
    """What an example prints; an error names page and line."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            if example.language == "sh":
                _shell(example.code)
            else:
                code = "\n" * example.line + example.code
                exec(compile(code, str(page), "exec"), namespace)
    except BaseException as error:
        error.add_note(f"in the example at {page}:{example.line}")
        raise
    return out.getvalue()


def differences(shown: str, printed: str) -> list[str]:
    """Lines in which two outputs differ by more than `NEAR` in a number, or in anything else."""
    ours, theirs = shown.rstrip().splitlines(), printed.rstrip().splitlines()
    found = [f"{len(ours)} lines shown, {len(theirs)} printed"] if len(ours) != len(theirs) else []
    for one, other in zip(ours, theirs):
        numbers = [np.array(_NUMBER.findall(s.replace("−", "-")), float) for s in (one, other)]
        words = [_NUMBER.sub("#", " ".join(s.split())) for s in (one, other)]
        alike = words[0] == words[1] and np.allclose(*numbers, rtol=NEAR, atol=NEAR)
        if not alike:
            found.append(f"shown:   {one}\nprinted: {other}")
    return found


def renewed(page: Path) -> str:
    """The page with what its examples print now in its `text` blocks."""
    namespace: dict[str, Any] = {"__name__": "example"}
    text = page.read_text()
    for example in examples(text, "python", "sh"):
        printed = run(example, namespace, page)
        if example.shown is not None:
            block = f"```{example.language}\n{example.code}```\n\n```text\n"
            assert text.count(block + example.shown) == 1, f"{page}:{example.line} stands twice"
            text = text.replace(block + example.shown, block + printed.rstrip() + "\n")
    return text


def main(pages: list[str]) -> None:
    import tempfile

    from ad_jax import store

    store.keep_compilations()
    for name in pages:
        page = Path(name).resolve()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            furnish(Path(folder))
            text = renewed(page)
        page.write_text(text)
        print(page)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1:])
