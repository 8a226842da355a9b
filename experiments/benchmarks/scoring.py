"""How fast a detector scores, how soon, and in how much memory.

    python -m experiments.benchmarks.scoring             # about 10 minutes on 2 CPU cores
    python -m experiments.benchmarks.scoring --quick     # small images, few of them

1. Images a second at 64 and 256 px, one at a time and in a batch of 256: a detector of three seeds
   and of one, beside scikit-learn's PCA with the nearest neighbour and PyOD's k nearest neighbours
   (where PyOD is installed) on the same images' pixels, in one run; the best of several rounds.
2. Seconds from starting Python to the first score: load a saved detector, score one image.
3. Peak memory and time of `ad-jax score` over a folder of 100 images, and of 100,000 (links to the
   same hundred, each read and scored anew).

The networks are not trained: what they learned does not change their speed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import ad_jax
from ad_jax.base.errors import in_one_line
from ad_jax.pool import program
from ad_jax.report.table import render
from ad_jax.train import pretexts as pretext
from experiments.benchmarks.timing import Plan, in_turn

NORMALS = 200
BATCH = 256
FIRST = """
import sys, numpy as np, ad_jax
detector = ad_jax.Detector.load(sys.argv[1])
print(detector.decision_function(np.zeros((1, *detector.shape), np.uint8)))
"""
SCORE = """
import re, sys
from ad_jax import cli
status = cli.main(["score", *sys.argv[1:]])
with open("/proc/self/status") as file:  # getrusage would count the parent, too, before exec
    print(int(re.search(r"VmHWM:\\s+(\\d+)", file.read())[1]) // 1024)
sys.exit(status)
"""


def textures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Smooth random images `[n, size, size, 3]`, uint8."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (count, 8, 8, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((size, size))) for c in coarse])


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255.0


def components(normals: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    basis = PCA(50).fit(flat(normals))
    near = NearestNeighbors(n_neighbors=1).fit(basis.transform(flat(normals)))
    return lambda images: near.kneighbors(basis.transform(flat(images)))[0][:, 0]


def neighbours(normals: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from pyod.models.knn import KNN

    model = KNN()
    model.fit(flat(normals))
    return lambda images: model.decision_function(flat(images))


def untrained(normals: np.ndarray, seeds: int) -> ad_jax.Detector:
    """A detector whose networks are as initialised."""
    setting = ad_jax.setting("binary", "cutpaste")
    problem = ad_jax.Problem(train=normals, target=normals[:8])
    backbone = program.network(program.Config(), problem.shape, pretext.make("binary", "cutpaste"))
    members = []
    for seed in range(seeds):
        params = backbone.init(jax.random.key(seed))
        width = backbone.apply(params, jnp.zeros((1, *problem.shape))).embedding.shape[1]
        flat_params = np.asarray(ravel_pytree(params)[0])
        members.append(program.Trained(flat_params, np.zeros(width), np.eye(width)))
    held_out = np.random.default_rng(0).uniform(1, 2, (seeds, len(normals) // 4))
    return ad_jax.Detector.of(problem, setting, members, held_out, program.Config())


def rate(score: Callable[[np.ndarray], np.ndarray], images: np.ndarray, rounds: int) -> float:
    """Images a second, the best round."""
    seconds = in_turn({"": lambda: score(images)}, Plan(rounds=rounds))[""]
    return len(images) / float(seconds.min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    sizes, many, rounds = ((16,), 1000, 2) if options.quick else ((64, 256), 100_000, 5)
    table: list[list[object]] = []
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        for size in sizes:
            normals, images = textures(NORMALS, size), textures(BATCH, size, 1)
            contenders: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
            for seeds in (3, 1):
                detector = untrained(normals, seeds)
                contenders[f"ad_jax, {seeds} seed{'s' * (seeds > 1)}"] = detector.decision_function
                detector.save(root / f"detector{size}")
            contenders["PCA and nearest neighbour"] = components(normals)
            try:
                contenders["PyOD KNN"] = neighbours(normals)
            except ImportError:
                print("PyOD is not installed: left out")
            for name, score in contenders.items():
                one, batch = (rate(score, images[:n], rounds) for n in (1, BATCH))
                table.append([size, name, round(one, 1), round(batch, 1)])
        print(render(["px", "detector", "images/s one by one", f"in batches of {BATCH}"], table))
        place = str(root / f"detector{sizes[0]}")
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", FIRST, place], check=True, capture_output=True)
        print(f"\nfrom starting Python to the first score: {time.perf_counter() - before:.1f} s\n")
        hundred = root / "hundred"
        hundred.mkdir()
        for i, image in enumerate(textures(100, sizes[0], 2)):
            Image.fromarray(image).save(hundred / f"{i}.png")
        folder = root / "many"
        folder.mkdir()
        for i in range(many // 100):
            (folder / f"{i}").symlink_to(hundred, target_is_directory=True)
        rows = []
        for count, source in ((100, hundred), (many, folder)):
            before = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", SCORE, place, str(source), "--out", str(root / "s.csv")],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - before
            scored = sum(1 for _ in open(root / "s.csv")) - 1
            assert scored == count, scored
            rows.append([count, f"{seconds:.1f}", done.stdout.split()[-1]])
        print(render(["images", "seconds", "peak memory MB"], rows))


if __name__ == "__main__":
    in_one_line(main)
