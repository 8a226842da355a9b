"""Takes the documentation's screens of the program, `python -m experiments.screens`.

    python -m experiments.screens --smoke --out runs/smoke   # one small screen, in seconds

Commands run in a pseudo-terminal of 80 columns, so that they print what people see; their report is
opened in a browser of a desktop's and of a phone's width; cells of a notebook run in a kernel. All
of it becomes PNGs of few colours under docs/_static, by a headless Chromium (the extra `test` has
playwright; Debian calls the browser `chromium`). Runs lie in runs/screens: what was trained there
is not trained again. The main job takes most of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import io
import os
import pty
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from ad_jax.base.errors import InputError, in_one_line

ROOT = Path(__file__).parents[1]
OUT, RUNS = ROOT / "docs" / "_static", ROOT / "runs" / "screens"
COLUMNS, ROWS = 80, 24
MOST = 60_000  # bytes of a picture
COLOURS = (64, 32, 16, 8)  # of a picture: the most with which it is no larger than `MOST`
DESKTOP, PHONE = (1280, 1000), (420, 1000)  # of the report, in px
PROGRAM = "import sys; from ad_jax.cli import main; sys.exit(main())"  # of this checkout
CUT = "…"  # stands where lines were left out

SELECT, SCORE = "ad-jax select --out runs/main", "ad-jax score runs/main new/ --alpha 0.01"
AUDIT, REPORT = "ad-jax audit runs/main", "ad-jax report runs/main"
TUNE = (
    "ad-jax tune digits,normal=3,kind=8,limit=64 --starts 2 --outer-steps 20 \\\n"
    "    --horizon 5 --warm-up 50 --steps 150 --width 8 --seeds 2 --out runs/tuned"
)
SMOKE = "ad-jax --help"

CELLS = (
    'import ad_jax\n\nproblem, truth = ad_jax.load("digits", normal=3, kind="8", limit=64)',
    "from ad_jax import Config, search\n\n"
    'families = ["binary/quarter_turns", "binary/cutpaste"]\n'
    "settings = search.grid(problem.shape, (0.04, 0.16), families)\n"
    "config = Config(steps=150, width=8)\n"
    "selection = ad_jax.select(problem, settings, seeds=(0, 1), config=config)\n"
    "selection",
    "selection.detector",
)

STYLE = """
body { margin: 0; background: white; }
main { display: block; width: max-content; padding: 16px; }
pre { margin: 0; font: 14px/1.35 "DejaVu Sans Mono", monospace; }
.terminal { background: #14181c; color: #e6e8ea; }
.terminal pre { width: 80ch; white-space: pre-wrap; word-break: break-all; }
.terminal b { color: #8fd3ff; font-weight: normal; }
.notebook { width: 760px; font: 14px/1.4 sans-serif; }
.notebook pre { background: #f3f4f5; padding: 8px; margin: 8px 0; font-size: 13px; }
.notebook table { font-size: 13px; border-collapse: collapse; margin: 8px 0 8px 16px; }
.notebook th { vertical-align: top; }
.notebook th, .notebook td { padding: 2px 8px; }
.notebook tr:nth-child(even) { background: #f3f4f5; }
"""


class Screen(NamedTuple):
    """Commands whose output is one picture.

    Attributes:
      commands: as they are typed; a backslash breaks a line.
      last: lines of each output that are shown at most.
    """

    commands: Sequence[str]
    last: int = 40


Taker = Callable[[Any, Path, Path], None]  # of a browser, the folder of runs and the picture


def shown(output: bytes) -> str:
    """What a terminal shows at the end: of a line that was drawn again and again the last one.

    >>> shown(b"  1 %\\r 50 %\\r100 %\\r\\ndone\\r\\n")
    '100 %\\ndone'
    """
    lines = output.decode().replace("\r\n", "\n").split("\n")
    last = [([part for part in line.split("\r") if part] or [""])[-1].rstrip() for line in lines]
    return "\n".join(last).strip("\n")


def captured(command: str, folder: Path) -> str:
    """Runs a command of this checkout in a pseudo-terminal of 80 columns.

    Args:
      command: as it is typed, `ad-jax …`.
      folder: to run in.

    Returns:
      What the terminal shows at its end.

    Raises:
      InputError: the command failed.
    """
    program, *arguments = shlex.split(command.replace("\\\n", " "))
    if program != "ad-jax":
        raise InputError(f"{command}: a screen shows commands of ad-jax, not of {program}")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        output = shown(b"".join(_arriving(ours)))
    os.close(ours)
    if process.returncode:
        raise InputError(f"{command}: exit status {process.returncode}: {output[-500:]}")
    return output


def _arriving(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until nobody holds it any more."""
    while True:
        try:
            block = os.read(terminal, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:  # how Linux says that the other end is closed
                raise
            return
        if not block:
            return
        yield block


def terminal_page(screen: Screen, folder: Path) -> str:
    """The page of a screen: its commands, run in the folder, and what they print."""
    parts = []
    for command in screen.commands:
        lines = captured(command, folder).split("\n")
        if len(lines) > screen.last:
            lines = [CUT, *lines[-screen.last :]]
        parts.append(f"<b>$ {escape(command)}</b>\n" + escape("\n".join(lines)))
    text = "\n\n".join(parts)
    return f'<main class="terminal"><pre>{text}</pre></main>'


def notebook_page() -> str:
    """The page of a notebook: its cells, and what a kernel shows of them."""
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(made, timeout=600, kernel_name="python3").execute(cwd=str(ROOT))
    parts = []
    for cell in made.cells:
        parts.append(f"<pre>{escape(cell.source)}</pre>")
        parts += [o.data["text/html"] for o in cell.outputs if "text/html" in o.get("data", {})]
    return f'<main class="notebook">{"".join(parts)}</main>'


def save(picture: bytes, path: Path) -> None:
    """Writes a picture with as many colours as its size allows.

    Raises:
      InputError: it is too large with the fewest.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for count in COLOURS:
        buffer = io.BytesIO()
        image.quantize(count, Image.Quantize.MAXCOVERAGE).save(buffer, "PNG", optimize=True)
        if len(buffer.getvalue()) <= MOST:
            path.write_bytes(buffer.getvalue())
            return
    size = len(buffer.getvalue())
    raise InputError(f"{path} has {size} bytes, more than {MOST}; show fewer lines of it")


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium, the system's or playwright's own.

    Raises:
      InputError: there is none.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("screens need playwright; pip install -e '.[test]'") from None
    known = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    with sync_playwright() as engine:
        path = known or engine.chromium.executable_path
        if not Path(path).exists():
            raise InputError(f"no browser at {path}; apt-get install chromium")
        one = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()


def photograph(engine: Any, page: str, path: Path) -> None:
    """Writes the picture of a page's `main`."""
    opened = engine.new_page(viewport={"width": 1000, "height": 800}, device_scale_factor=1.25)
    opened.set_content(f"<style>{STYLE}</style>{page}")
    save(opened.locator("main").screenshot(), path)
    opened.close()


def photograph_report(engine: Any, report: Path, size: tuple[int, int], path: Path) -> None:
    """Writes the picture of the first screen of a report."""
    width, height = size
    opened = engine.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    opened.goto(report.resolve().as_uri())
    save(opened.screenshot(), path)
    opened.close()


def new_samples(folder: Path) -> None:
    """Some of the main job's target as files, for `ad-jax score`."""
    from PIL import Image

    from ad_jax import data
    from ad_jax.cli.common import DEFAULT_SOURCES

    source, options = data.parse(DEFAULT_SOURCES[0])
    problem, _ = data.load(source, **options)  # the truth stays sealed
    folder.mkdir(parents=True, exist_ok=True)
    for i, sample in enumerate(problem.target[:: len(problem.target) // 6]):
        Image.fromarray(sample.squeeze()).save(folder / f"{i:02}.png")


def of_terminal(screen: Screen) -> Taker:
    """What takes a picture of commands."""
    return lambda engine, runs, path: photograph(engine, terminal_page(screen, runs), path)


def of_report(size: tuple[int, int]) -> Taker:
    """What takes a picture of the main job's report."""

    def take(engine: Any, runs: Path, path: Path) -> None:
        captured(REPORT, runs)
        photograph_report(engine, runs / "runs" / "main" / "report.html", size, path)

    return take


def of_notebook(engine: Any, runs: Path, path: Path) -> None:
    """Takes the picture of a notebook."""
    photograph(engine, notebook_page(), path)


def of_selection(engine: Any, runs: Path, path: Path) -> None:
    """Takes the picture of the main job, and of some samples that are scored afterwards."""
    new_samples(runs / "new")
    photograph(engine, terminal_page(Screen((SELECT, SCORE)), runs), path)


PICTURES: dict[str, Taker] = {  # in this order: the later ones read the main job's run
    "screen_select": of_selection,
    "screen_audit": of_terminal(Screen((AUDIT,))),
    "screen_tune": of_terminal(Screen((TUNE,), 34)),
    "screen_report": of_report(DESKTOP),
    "screen_report_phone": of_report(PHONE),
    "screen_notebook": of_notebook,
}
SMALLEST: dict[str, Taker] = {"screen_smoke": of_terminal(Screen((SMOKE,)))}


def main() -> None:
    """Takes the screens as the command line asks for them."""
    parser = argparse.ArgumentParser(prog="python -m experiments.screens")
    parser.add_argument("name", nargs="*", choices=[*PICTURES, []], help="pictures (all)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the pictures")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs")
    parser.add_argument("--smoke", action="store_true", help="one small screen, nothing trained")
    given = parser.parse_args()
    for folder in (given.out, given.runs):
        folder.mkdir(parents=True, exist_ok=True)
    takers = SMALLEST if given.smoke else PICTURES
    with browser() as engine:
        for name in takers if given.smoke else given.name or takers:
            path = given.out / f"{name}.png"
            takers[name](engine, given.runs, path)
            print(f"{path}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    in_one_line(main)
