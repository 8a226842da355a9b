"""`ad-jax report`: runs as one page, or as Markdown, CSV, JSON."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ad_jax.base.errors import InputError, check_name
from ad_jax.base.json_text import json_text
from ad_jax.base.parameters import ROOT_MOST, whole
from ad_jax.cli.common import Adder, labels_of
from ad_jax.cli.streams import say


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "report",
        report,
        "a page with pictures; opens no labels without --audit",
        (
            "ad-jax report runs/parts",
            "ad-jax report runs/parts --audit --labels labels.csv",
        ),
    )
    one.add_argument("run", nargs="+", help="folder written by select or tune, or a folder of such")
    one.add_argument("--out", help="folder of report.html (the RUN; runs/report for several)")
    one.add_argument("--format", default="html", help="html (default), markdown, csv or json")
    one.add_argument(
        "--audit",
        action="store_true",
        help="open the labels (logged in every run) and say what the picks were worth",
    )
    one.add_argument(
        "--labels", help="CSV with columns name,label instead of the source's own; needs --audit"
    )
    one.add_argument("--splits", type=int, default=200, help="random halves of the target (200)")
    one.add_argument("--seed", type=int, default=0, help="of halves, permutations and draws (0)")
    one.add_argument("--title", help="of the page")


def _checked(arguments: argparse.Namespace) -> list[Path]:
    """The runs' folders; wrong use is refused before anything is opened or written."""
    from ad_jax.report.page import FORMATS
    from ad_jax.runs import run

    check_name(FORMATS, arguments.format, "format")
    if arguments.labels and not arguments.audit:
        raise InputError("--labels needs --audit: without it labels stay closed")
    whole("--seed", arguments.seed, 0, ROOT_MOST)
    if arguments.splits < 1:
        raise InputError(f"--splits {arguments.splits} is too small; take 200")
    return run.below(arguments.run)


def _place(arguments: argparse.Namespace, folders: Sequence[Path]) -> Path:
    from ad_jax.report.page import FORMATS

    if arguments.out:
        folder = Path(arguments.out)
    elif len(arguments.run) == 1:
        folder = Path(arguments.run[0])
    else:
        folder = Path("runs/report")
    return folder / f"report.{FORMATS[arguments.format][0]}"


def _seen_of(task: Any) -> Any:
    """A run's data and detector, for pictures; its labels stay sealed."""
    from ad_jax.report.parts.pictures import Seen
    from ad_jax.runs import run

    say(f"  pictures of {task.name}")
    detector: Any = run.detector_of(task.folder)
    problem, _ = run.reload(task.run.manifest)
    return Seen(problem, _learned(problem, detector), detector)


def _learned_of(task: Any) -> Any:
    """A run's data as its networks saw it; its labels stay sealed."""
    from ad_jax.runs import run

    return _learned(run.reload(task.run.manifest)[0], run.detector_of(task.folder))


def _learned(problem: Any, detector: Any) -> Any:
    """The tiles of a problem, if that is what a detector sees."""
    from ad_jax.detect import tiles

    plan = None if detector is None else detector.networks.plan
    return problem if plan is None else tiles.tiled(problem, plan).problem


def _gathered(arguments: argparse.Namespace, folders: Sequence[Path]) -> tuple[list, list]:
    """The tasks, and those that labels judged."""
    from ad_jax import evaluate
    from ad_jax.report.judged import JudgedRun
    from ad_jax.report.parts.task import Task
    from ad_jax.runs import run
    from ad_jax.runs import tuning as tuning_files

    tasks, judged, names = [], [], set()
    for number, folder in enumerate(folders, 1):
        say(f"  {number}/{len(folders)}: {folder}")
        assessment = None
        if arguments.audit:
            truth = labels_of(folder, arguments.labels) if arguments.labels else None
            written, assessment = evaluate.assess_run(
                folder, truth, arguments.seed, arguments.splits
            )
        else:
            written = run.read(folder)
        name = run.name_of(written.manifest)
        name = name if name not in names else f"{name} ({folder})"
        names.add(name)
        quality = assessment.quality if assessment is not None else None
        task = Task(name, folder, written, tuning_files.read(folder), quality)
        tasks.append(task)
        if assessment is not None:
            judged.append(JudgedRun(task, assessment))
    return tasks, judged


def document(arguments: argparse.Namespace, folders: Sequence[Path]) -> Any:
    """The report on runs, as a command line asks for it; labels are opened and logged here."""
    from ad_jax.report import tuning
    from ad_jax.report.judged import loss_vs_auroc, picks, rules, snooping, unlabelled_set
    from ad_jax.report.page import Document, Prose, Section
    from ad_jax.report.parts import checklist, choice, cost, pictures, summary, task, words

    tasks, judged = _gathered(arguments, folders)
    steps = sorted({t.run.manifest["config"]["steps"] for t in tasks})
    drawn = pictures.pictures(tasks, _seen_of) if arguments.format == "html" else None
    sections = [drawn] if drawn is not None else []
    sections.append(words.words(tasks))
    if judged:
        sections.append(picks.picks(judged))
        sections += [loss_vs_auroc.loss_vs_auroc(judged), rules.rules(judged)]
    sections.append(choice.losses(tasks))
    tuned = tuning.tuned(tasks, _learned_of)
    sections += [tuned] if tuned is not None else []
    foots = {one.name: list(one.assessment.lines().items()) for one in judged}
    sections.append(choice.tried(tasks, foots))
    if judged:
        sections += [snooping.snooping(judged), unlabelled_set.unlabelled_set(judged)]
    said = (
        f"The budget is fixed ({', '.join(map(str, steps))} steps) and every member is taken at "
        "its last step; none was chosen by labels. "
    )
    if any(task.halved(one) for one in tasks):
        said += "Where a search halved, settings were dropped earlier by the rule's loss. "
    said += "--format csv writes these rows with every loss and hyperparameter."
    members: list[Any] = [Prose([said]), task.members_table(tasks)]
    sections += [
        choice.trust(tasks),
        cost.cost(tasks),
        Section("members", "Members", members, {8: ""}),
    ]
    command = shlex.join(["ad-jax", "report", *arguments.run, *_options(arguments)])
    sections.append(cost.manifest(tasks, command))
    sections.insert(-1, checklist.checklist(sections, bool(judged)))
    told = summary.words(tasks) + (picks.words(judged) if judged else [_CLOSED])
    title = arguments.title or (tasks[0].name if len(tasks) == 1 else f"{len(tasks)} tasks")
    made = f"Made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by ad_jax {version('ad_jax')}"
    return Document(title, told, sections, task.raw_rows(tasks), made)


_CLOSED = (
    "Labels were not opened, so nothing here says how good the picks are; the same command with "
    "--audit opens them, logs that in every run, and says it."
)


def _options(arguments: argparse.Namespace) -> list[str]:
    """What was said on the command line beyond the runs."""
    out = ["--audit"] if arguments.audit else []
    for name, default in (
        ("labels", None),
        ("out", None),
        ("format", "html"),
        ("splits", 200),
        ("seed", 0),
        ("title", None),
    ):
        value = getattr(arguments, name)
        if value != default:
            out += [f"--{name}", str(value)]
    return out


def report(arguments: argparse.Namespace) -> None:
    from ad_jax.report.page import written
    from ad_jax.store import write_whole

    folders = _checked(arguments)
    path = _place(arguments, folders)
    content = written(document(arguments, folders), arguments.format)
    write_whole(path, content)
    told = {
        "report": str(path),
        "tasks": len(folders),
        "audited": arguments.audit,
        "bytes": len(content),
    }
    print(json_text(told) if arguments.json else path)
