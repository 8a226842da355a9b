"""`ad-jax score` on a folder of photographs, to a CSV, against PIL decoding them and nothing else.

A detector of one network from scratch, as initialised: what it learned does not change its speed.
Decoding is one image after another on one core, as a loop over the files does it.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from ad_jax import cli
from experiments.benchmarks.scoring import NORMALS, textures, untrained
from experiments.benchmarks.timing import OURS, Plan, Row, against_best, in_turn

AIM = 2.0
ROUNDS = 3


def photographs(folder: Path, count: int, side: int, seed: int) -> None:
    """Writes grainy textures as JPEG files, `0.jpg` and so on."""
    folder.mkdir(parents=True)
    grain = np.random.default_rng(seed)
    for i, image in enumerate(textures(count, side, seed)):
        noisy = np.clip(image + grain.normal(0.0, 8.0, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i}.jpg", quality=92)


def rows(plan: Plan) -> list[Row]:
    count, times, side = (4, 1, 16) if plan.quick else (100, 10, 256)
    with tempfile.TemporaryDirectory() as text:
        folder, place, out = (Path(text, name) for name in ("images", "detector", "scores.csv"))
        photographs(Path(text, "written"), count, side, 1)
        folder.mkdir()
        for i in range(times):  # each is read and scored anew
            (folder / f"{i}").symlink_to(Path(text, "written"), target_is_directory=True)
        untrained(textures(NORMALS, side), 1).save(place)
        command = ["score", str(place), str(folder), "--out", str(out)]

        def score() -> None:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                status = cli.main(command)
            assert status == 0 and len(out.read_text().splitlines()) == times * count + 1

        def decode() -> None:
            for path in folder.glob("*/*.jpg"):
                with Image.open(path) as image:
                    np.asarray(image.convert("RGB"))

        few = plan._replace(rounds=min(plan.rounds, ROUNDS))  # of ten seconds each
        seconds = in_turn({OURS: score, "PIL decoding": decode}, few)
    return [against_best(f"{times * count} photographs of {side} px to a CSV", AIM, seconds)]
