"""From a folder of photographs to a detector and scores, against PatchCore in plain PyTorch.

Ours is `ad-jax select` with its defaults: all settings of the pool on frozen features, three seeds
each, and the choice among them. PatchCore (arXiv 2106.08265) has the features of a ResNet-18 with
random weights, which cost what learned ones do, and keeps 1 % of the patches. Each is a process of
its own with empty caches, compilation included, once: the rounds are not repeated.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.benchmarks.score_folder import photographs
from experiments.benchmarks.timing import (
    OURS,
    Call,
    Plan,
    Row,
    against_best,
    in_turn,
    missing,
    torch,
)

AIM = 1.5
KEPT = 0.01  # of the patches
PROJECTED = 128  # dimensions in which patches are picked
BLOCK = 16
OURS_PROGRAM = "import sys; from ad_jax import cli; sys.exit(cli.main(sys.argv[1:]))"
QUICK = "--steps 2 --seeds 1 --families neighbour/identity,binary/feature_noise".split()


def features(network: Any, paths: list[Path]) -> Any:
    """Patches `[n, positions, 384]` of images: the second and third stage of a ResNet-18."""
    pool, seen = torch().nn.functional.avg_pool2d, []
    resize = torch().nn.functional.interpolate
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    mean, std = (
        torch().tensor(one)[:, None, None] for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    for start in range(0, len(images), BLOCK):
        x = torch().from_numpy(
            images[start : start + BLOCK].transpose(0, 3, 1, 2) / np.float32(255)
        )
        x = network.maxpool(network.relu(network.bn1(network.conv1((x - mean) / std))))
        second = network.layer2(network.layer1(x))
        third = pool(network.layer3(second), 3, 1, 1)
        third = resize(third, second.shape[2:], mode="bilinear")
        seen.append(torch().cat([pool(second, 3, 1, 1), third], 1).flatten(2).transpose(1, 2))
    return torch().cat(seen)


def coreset(patches: Any, count: int) -> Any:
    """So many patches, each the one farthest from those before."""
    low = patches @ torch().randn(patches.shape[1], PROJECTED) / PROJECTED**0.5
    nearest = torch().full((len(low),), float("inf"))
    chosen = [0]
    for _ in range(count - 1):
        nearest = torch().minimum(nearest, ((low - low[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(nearest.argmax()))
    return patches[chosen]


def patchcore(folder: Path) -> np.ndarray:
    """Scores of the images in `target/` by those in `train/`."""
    torch().manual_seed(0)
    network = importlib.import_module("torchvision.models").resnet18(weights=None).eval()
    with torch().inference_mode():
        normals = features(network, sorted((folder / "train").iterdir())).flatten(0, 1)
        bank = coreset(normals, max(1, round(KEPT * len(normals))))
        target = features(network, sorted((folder / "target").iterdir()))
        return np.array([float(torch().cdist(one, bank).min(1).values.max()) for one in target])


def rows(plan: Plan) -> list[Row]:
    normals, target, side = (24, 8, 64) if plan.quick else (200, 100, 256)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text, "parts")
        photographs(folder / "train", normals, side, 1)
        photographs(folder / "target", target, side, 2)

        def run(*words: str) -> Call:
            def call() -> None:
                with tempfile.TemporaryDirectory(dir=text) as cache:
                    own = {**plan.environment, "XDG_CACHE_HOME": cache}
                    own.pop("JAX_COMPILATION_CACHE_DIR", None)
                    said = subprocess.run(
                        [sys.executable, *words], env=own, capture_output=True, text=True
                    )
                if said.returncode:
                    raise RuntimeError(said.stderr)

            return call

        source = f"{folder},size={side}"
        out = ["--out", str(Path(text, "run")), *(QUICK if plan.quick else [])]
        calls = {OURS: run("-c", OURS_PROGRAM, "select", source, *out)}
        reason = missing("torch") or missing("torchvision")
        if not reason:
            calls["PatchCore in PyTorch"] = run("-m", __spec__.name, str(folder))
        seconds = in_turn(calls, Plan(rounds=1), warm=False)
    what = f"{normals} normals and {target} others of {side} px to a detector"
    return [against_best(what, AIM, seconds, reason)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with train/ and target/")
    print(patchcore(parser.parse_args().folder))


if __name__ == "__main__":
    main()
