"""What a command works on: a problem from a source, in tiles if they are asked for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.cli.common import load
from ad_jax.cli.streams import say


def add_tiles(one: argparse.ArgumentParser) -> None:
    """Adds the options that cut images into tiles."""
    one.add_argument("--tile", type=int, help="px: train and score on tiles in full resolution")
    one.add_argument("--overlap", type=float, help="share of a tile that neighbours share (.25)")
    one.add_argument("--roi", help="image, white where it counts (one fixed camera); needs --tile")


class Job(NamedTuple):
    """A problem to select on; with tiles `task` holds those that are trained on and looked at."""

    problem: Any
    truth: Any
    source: str
    options: dict[str, Any]
    text: str
    tiling: Any
    cuts: Any

    @property
    def task(self) -> Any:
        return self.problem if self.cuts is None else self.cuts.problem

    def seen(self, samples: np.ndarray) -> np.ndarray:
        """Other samples of the source's shape, as what the job's networks see."""
        from ad_jax.detect import tiles

        return samples if self.cuts is None else tiles.pieces(self.cuts.plan, samples)

    def chosen(self, selection: Any) -> Any:
        """A selection on the task, as one on the problem."""
        from ad_jax.selection.selection import of_images

        if self.cuts is None:
            return selection
        return of_images(selection, self.problem, self.cuts, self.tiling)


def job_of(arguments: argparse.Namespace, text: str) -> Job:
    """Loads a source; before that, whether there is a device to train on."""
    from ad_jax.base.devices import check_backend
    from ad_jax.detect import tiles

    check_backend()
    problem, truth, source, options = load(text, arguments.skip_bad)
    tiling = tiling_of(arguments, problem.shape, str(options.get("fit", "stretch")))
    cuts = None if tiling is None else tiles.tiled(problem, tiling.plan(problem.shape))
    return Job(problem, truth, source, options, text, tiling, cuts)


def other_target(job: Job, text: str | None) -> tuple[np.ndarray | None, list[tuple[str, str]]]:
    """The target of another source as a job's networks see it, and what loading it has opened.

    Raises:
      InputError: its image files were read by another range.
    """
    if not text:
        return None, []
    problem, truth, *_ = load(text)
    ours, theirs = job.problem.range, problem.range
    if ours and theirs and ours != theirs:
        raise InputError(
            f"{text} is read as range={theirs[0]:g}-{theirs[1]:g} and {job.text} as "
            f"range={ours[0]:g}-{ours[1]:g}; give both the same range="
        )
    return job.seen(problem.target), truth.log


def write_run(
    arguments: argparse.Namespace,
    folder: Path,
    job: Job,
    selection: Any,
    spec: Any,
    opened: list[tuple[str, str]],
) -> Any:
    """Writes the run of a selection on a job's task, with localisers if one is asked for.

    Args:
      spec: what decided its numbers; `config` and `seeds` are kept.
      opened: labels read beside the job's own.

    Returns:
      The selection as one on the problem.
    """
    from ad_jax.runs import run

    chosen, problem = job.chosen(selection), job.problem
    if arguments.localiser is not None:
        for one, name in ((chosen.detector, "pick"), (chosen.ensemble, "ensemble")):
            _localise(one, name, problem, arguments.localiser)
    run.write(
        folder,
        chosen,
        problem,
        run.Source(job.source, job.options, tuple(job.truth.names)),
        spec.config,
        spec.seeds,
        arguments.line,
        [*job.truth.log, *opened],
    )
    return chosen


def _localise(detector: Any, name: str, problem: Any, method: str) -> None:
    """Fits a localiser; a detector whose networks have no positions goes without, with a line."""
    try:
        if detector is not None:
            detector.fit_localiser(problem, method)
    except InputError as error:
        say(f"  the {name} draws no heatmaps: {error}")


def tiling_of(arguments: argparse.Namespace, shape: tuple[int, ...], fit: str) -> Any:
    """How images of a shape are cut into tiles, None without `--tile`."""
    from ad_jax.data.stream import stream
    from ad_jax.detect import Tiling

    if arguments.tile is None:
        for option in ("overlap", "roi"):
            if getattr(arguments, option) is not None:
                raise InputError(f"--{option} needs --tile PX")
        return None
    region = None
    if arguments.roi is not None:
        (mask,) = stream([arguments.roi], (*shape[:2], 1), fit)  # fitted as the pictures are
        if len(mask.samples) != 1:
            raise InputError(f"--roi {arguments.roi}: {mask.bad[0][1] if mask.bad else 'no image'}")
        region = (mask.samples[0, :, :, 0] > 127).astype("uint8")
    tiling = Tiling(
        arguments.tile, 0.25 if arguments.overlap is None else arguments.overlap, region
    )
    tiling.plan(shape)
    return tiling
