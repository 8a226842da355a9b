"""What `ad-jax select` says at its end, on one screen of 80 x 24."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ad_jax.cli.jobs import Job

WIDTH, TITLE = 80, 16  # characters of a line, and of them what a line's title takes
MOST = 3  # settings of an ensemble that are named
FILES = "ensemble/, detector/ (the pick alone), pick.json (all reasons), members.csv"


def attainable(detector: Any) -> str:
    """Which false-positive rates `score` can be asked for."""
    from ad_jax.detect.calibration import rounded_up

    known, alpha = detector.calibration_, detector.alpha
    count, least = len(known.scores), rounded_up(known.smallest())
    said = f"with {count} held-out normals, rates from {least:g} on are attainable"
    if count >= known.needed(alpha):
        return said
    return (
        f"{said}; {alpha:g}, which `ad-jax score` takes unless told otherwise, needs "
        f"{known.needed(alpha)}: give more normals, or --alpha"
    )


def promised(problem: Any, chosen: Any) -> str:
    """`attainable`, where held-out normals promise anything."""
    from ad_jax.data.folds import MIN_FOLDED
    from ad_jax.data.problem import ONE

    if problem.copies_held_out:
        return ONE
    said, seeds = attainable(chosen.detector), {m.seed for m in chosen.pool.members}
    rotated = len({seed % problem.period for seed in seeds}) == problem.period
    if not rotated and len(problem.train) < MIN_FOLDED:
        said += f"; --seeds {problem.period} hold out every normal once"
    return said


def _wrapped(title: str, text: str) -> list[str]:
    """Text in lines of a terminal's width, its title to the left of them."""
    lines = textwrap.wrap(text, WIDTH - TITLE, break_long_words=False, break_on_hyphens=False)
    return [f"{name:{TITLE}}{line}" for name, line in zip([title] + [""] * len(lines), lines)]


def _used(ensemble: Any) -> str:
    """The ensemble, and which of its settings carry most weight."""
    ordered = sorted(ensemble.weights_, key=lambda one: -one[1])
    named = ", ".join(f"{one.label} ({100 * weight:.0f} %)" for one, weight in ordered[:MOST])
    if len(ordered) == 1:
        return f"one setting: {named}"
    most = "the largest weights are " if len(ordered) > MOST else ""
    return f"the ensemble of {len(ordered)} settings: {most}{named}"


def _warnings(chosen: Any) -> str:
    return ", ".join(one.name for one in chosen.signatures if one.found)


def _next(run: str, scored: str) -> list[str]:
    """Commands to go on with.

    Args:
      run: folder that `report` and `audit` read.
      scored: folder of a run that `score` takes.
    """
    commands = [
        (f"ad-jax score {scored} NEW", "scores and alarms of new samples"),
        (f"ad-jax report {run}", "report.html, a page with pictures"),
        (f"ad-jax audit {run}", "if labels exist: how good it is"),
    ]
    width = max(len(command) for command, _ in commands)
    return ["next:", *(f"  {command:{width}}  {about}" for command, about in commands)]


def of_one(job: Job, folder: Path, chosen: Any) -> list[str]:
    """The answer for a single source, at most 24 lines."""
    from ad_jax.selection.trust import decisive

    place = shlex.quote(str(folder))
    title = job.text if len(job.text) <= WIDTH else f"{job.text[: WIDTH - 1]}…"
    warned = _warnings(chosen)
    return [
        title,
        "",
        *_wrapped("scored by", _used(chosen.ensemble)),
        *_wrapped("pick", f"{chosen.pick.label}, by {chosen.rule} (score it with --pick)"),
        *_wrapped("trust in it", f"{chosen.trust.verdict}: {decisive(chosen.trust.reasons)}"),
        *_wrapped("false alarms", promised(job.problem, chosen)),
        *(_wrapped("warnings", f"{warned} (--verbose says what to do)") if warned else []),
        *_wrapped("files", f"{folder}: {FILES}"),
        "",
        *_next(place, place),
    ]


def of_several(out: Path, results: Sequence[tuple[Job, Path, Any]]) -> list[str]:
    """A short block for each of several sources, then where to go on."""
    lines = []
    for job, folder, chosen in results:
        warned = _warnings(chosen)
        lines += [
            job.text,
            *_wrapped("  scored by", _used(chosen.ensemble)),
            *_wrapped("  pick", f"{chosen.pick.label}, trust {chosen.trust.verdict}"),
            *_wrapped("  false alarms", promised(job.problem, chosen)),
            *(_wrapped("  warnings", warned) if warned else []),
            *_wrapped("  files", str(folder)),
            "",
        ]
    scored = shlex.quote(str(results[0][1]))
    return [*lines, *_next(shlex.quote(str(out)), scored)]
