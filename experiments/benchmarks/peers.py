"""`ad_jax` beside PyOD's detectors and anomalib's PatchCore, on the same normals and targets.

    pip install '.[pyod]' anomalib           # what is not installed is left out of the tables
    python -m experiments.benchmarks.peers                          # three tables
    python -m experiments.benchmarks.peers mvtec_bottle/,size=128   # images
    python -m experiments.benchmarks.peers SOURCE... --quick        # steps that teach nothing

Everybody gets the same normals and scores the same target, whose labels are opened after the last
score. PyOD gets its own defaults, a contamination of 5 %, and columns of mean 0 and standard
deviation 1 among the normals, which `ad_jax` makes itself. PatchCore gets the encoder, the layers
and the size of images that `ad_jax` takes, and keeps 1 % of the patches as its coreset, where
`ad_jax` keeps 4,096. Its threshold comes from labelled samples, so it flags nothing here. Seconds
are those of fitting and scoring, with what is compiled; CPU seconds are summed over cores and leave
out what else runs on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import ad_jax
from ad_jax import data, search
from ad_jax.base import ranks
from ad_jax.features import encoders
from ad_jax.report.table import render
from experiments.of_pyod import kind

SOURCES = ("sklearn:breast_cancer", "sklearn:wine", "sklearn:digits")
ALPHA = 0.05  # asked false-positive rate; what PyOD calls contamination
PYOD = ("KNN", "LOF", "IForest", "ECOD", "PCA")
ENCODER = "efficientnet_lite0"
CORESET = 0.01  # share of the patches that PatchCore keeps
VERSIONS = ("ad_jax", "jax", "pyod", "anomalib", "torch", "scikit-learn")

Scored = tuple[np.ndarray, np.ndarray | None]  # [m] scores, [m] flags if there is a threshold


class Outcome(NamedTuple):
    """What one method does on one target; shares are nan where it has no threshold."""

    method: str
    auroc: float
    flagged_normals: float
    flagged_anomalies: float
    seconds: float
    cpu_seconds: float


def normals_of(problem: ad_jax.Problem) -> np.ndarray:
    """All normals `[n, ...]`: who holds some out does it himself."""
    held_out = [] if problem.held_out is None else [problem.held_out]
    return np.concatenate([problem.train, *held_out])


def by_detector(problem: ad_jax.Problem, setting: Any, steps: int | None) -> Scored:
    """One setting, four seeds."""
    detector = ad_jax.Detector(setting, steps=steps, alpha=ALPHA).fit(normals_of(problem))
    return detector.decision_function(problem.target), detector.predict(problem.target) == 1


def by_ensemble(problem: ad_jax.Problem, steps: int | None) -> Scored:
    """What `ad-jax select` makes by default."""
    config = search.config_for(problem.shape, steps=steps)
    ensemble = ad_jax.select(problem, config=config).ensemble
    return ensemble.decision_function(problem.target), ensemble.p_values(problem.target) <= ALPHA


def by_pyod(problem: ad_jax.Problem, name: str) -> Scored:
    """A detector of PyOD on standardised rows."""
    normals = normals_of(problem)
    mean, deviation = normals.mean(0), normals.std(0)
    deviation[deviation == 0] = 1.0
    detector = kind(name)(contamination=ALPHA).fit((normals - mean) / deviation)
    target = (problem.target - mean) / deviation
    return detector.decision_function(target), detector.predict(target) == 1


def _patchcore(side: int) -> Any:
    """anomalib's PatchCore on the weights that `ad_jax` takes: timm's order of them is the same."""
    import timm
    import torch
    from anomalib.models import Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    half = (0.5, 0.5, 0.5)
    model = Patchcore(
        backbone=f"tf_{ENCODER}",
        layers=("blocks.2", "blocks.4"),
        pre_trained=False,
        coreset_sampling_ratio=CORESET,
        pre_processor=PreProcessor(Compose([Resize((side, side)), Normalize(half, half)])),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    read = torch.load(encoders.packaged(ENCODER), map_location="cpu", weights_only=True)
    names = timm.create_model(f"tf_{ENCODER}", pretrained=False).state_dict()
    weights = dict(zip(names, read.values(), strict=True))
    network = model.model.feature_extractor.feature_extractor
    own = {name: name.replace("blocks_", "blocks.") for name in network.state_dict()}
    network.load_state_dict({name: weights[there] for name, there in own.items()})
    return model


def by_patchcore(problem: ad_jax.Problem) -> Scored:
    """anomalib's PatchCore on the images as files."""
    from anomalib.data import Folder, PredictDataset
    from anomalib.engine import Engine
    from torch.utils.data import DataLoader

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, images in (("train", normals_of(problem)), ("target", problem.target)):
            (folder / part).mkdir()
            for i, image in enumerate(images):
                Image.fromarray(image.squeeze()).convert("RGB").save(folder / part / f"{i:06}.png")
        samples = Folder(
            name="peers",
            root=folder,
            normal_dir="train",
            normal_test_dir="target",  # without labels: nothing of it is used but to be there
            val_split_mode="same_as_test",
            num_workers=0,
        )
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        engine = Engine(accelerator="cpu", devices=1, default_root_dir=folder / "out", **quiet)
        model = _patchcore(problem.shape[0])
        engine.fit(model=model, datamodule=samples)
        target = PredictDataset(path=folder / "target", image_size=problem.shape[:2])
        loader = DataLoader(target, batch_size=32, collate_fn=target.collate_fn)
        batches = engine.predict(model=model, dataloaders=loader, return_predictions=True) or []
    scores = {
        Path(path).stem: float(score)
        for batch in batches
        for path, score in zip(batch.image_path, batch.pred_score, strict=True)
    }
    return np.array([scores[name] for name in sorted(scores)]), None


def methods(problem: ad_jax.Problem, quick: bool) -> dict[str, Callable[[], Scored]]:
    """Who is asked about a problem: `ad_jax` in three ways, and who is installed."""
    steps = 3 if quick else None
    nearest = search.setting("neighbour", "identity")
    asked: dict[str, Callable[[], Scored]] = {
        "ad_jax, default setting": lambda: by_detector(problem, None, steps),
        "ad_jax, neighbour/identity": lambda: by_detector(problem, nearest, steps),
    }
    if not quick:
        asked["ad_jax, ensemble"] = lambda: by_ensemble(problem, steps)
    if len(problem.shape) == 1 and importlib.util.find_spec("pyod"):
        for name in PYOD:
            asked[f"PyOD, {name}"] = lambda name=name: by_pyod(problem, name)  # type: ignore[misc]
    if len(problem.shape) == 3 and importlib.util.find_spec("anomalib"):
        asked["anomalib, PatchCore"] = lambda: by_patchcore(problem)
    return asked


def compared(source: str, quick: bool = False, only: str = "") -> list[Outcome]:
    """Everybody's outcome on a source; `only` is a pattern of their names."""
    name, options = data.parse(source)
    problem, truth = ad_jax.load(name, **options)
    scored = []
    for method, ask in methods(problem, quick).items():
        if not re.search(only, method):
            continue
        start = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            scores, flags = ask()
        spent = time.perf_counter() - start[0], time.process_time() - start[1]
        scored.append((method, scores, flags, spent))
        print(f"  {method}: {spent[0]:.0f} s", file=sys.stderr, flush=True)
    anomalous = truth.open("peers: how good is each of several libraries?").anomalous.astype(bool)
    out = []
    for method, scores, flags, spent in scored:
        auroc = float(ranks.auroc(scores[~anomalous], scores[anomalous]))
        flagged = [
            np.nan if flags is None else float(flags[a].mean()) for a in (~anomalous, anomalous)
        ]
        out.append(Outcome(method, auroc, *flagged, *spent))
    return out


def versions() -> str:
    """Of everything that takes part and is installed."""
    said = [f"ad_jax {ad_jax.__version__}"]
    for name in VERSIONS[1:]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            said.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(said)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="*", default=list(SOURCES), help="SOURCE[,key=value…]")
    parser.add_argument("--quick", action="store_true", help="a few steps, no ensemble")
    parser.add_argument("--only", default="", help="pattern of the methods to ask")
    options = parser.parse_args(argv)
    print(f"{versions()}; {os.cpu_count()} CPU cores, which other work may have shared")
    for source in options.source:
        print(f"\n{source}")
        header = ["", "AUROC", "flagged normals", "flagged anomalies", "seconds", "CPU seconds"]
        print(render(header, compared(source, options.quick, options.only)), flush=True)


if __name__ == "__main__":
    main()
