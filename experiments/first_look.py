"""Draws the README's picture from a run of the main job, `python experiments/first_look.py RUN`.

The target samples of the highest and of the lowest score by the run's ensemble, no label asked:
what came in, the heatmap, the p-value; below them pseudo-anomalies that networks learned from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment
from ad_jax.detect.ensemble import Ensemble
from ad_jax.report.figures import theme
from ad_jax.runs import run
from ad_jax.train.backbones import as_unit

OUT = Path(__file__).parent.parent / "docs" / "_static" / "first_look.png"
SHOWN = ("cutpaste", "scar", "perlin_blend")  # pseudo-anomalies, at their defaults
MOST, LEAST = 4, 2


def pseudo_anomalies(normals: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Two of each of some augmentations."""
    samples = as_unit(jnp.asarray(normals[:7]))
    made = []
    for i, name in enumerate((*SHOWN, *SHOWN)):
        entry = augment.get(name)
        sample, _ = entry.random(jax.random.key(i), entry.defaults(), samples[i], samples[i + 1])
        made.append((name.replace("_", " "), np.asarray(sample)))
    return made


def main(folder: Path) -> None:
    problem, _ = run.reload(run.read(folder).manifest)  # the truth stays sealed
    ensemble = Ensemble.load(folder / "ensemble")
    scores, p_values = (
        of(problem.target) for of in (ensemble.decision_function, ensemble.p_values)
    )
    ensemble.fit_localiser(problem, "head")
    order = np.argsort(-scores)
    rows = np.concatenate([order[:MOST], order[-LEAST:]])
    heat = ensemble.heatmaps(problem.target[rows])
    with theme.style(grid=False):
        page = theme.page(780, 430)
        axes = page.subplots(3, MOST + LEAST, squeeze=False)
        for one in axes.ravel():
            one.set_xticks([])
            one.set_yticks([])
        for place, row in enumerate(rows):
            axes[0, place].imshow(problem.target[row, :, :, 0], cmap="gray", vmin=0, vmax=255)
            axes[0, place].set_title(f"p = {p_values[row]:.3f}", fontsize=10)
            axes[1, place].imshow(heat[place], cmap="magma", vmin=0, vmax=heat.max())
        for place, (name, sample) in enumerate(pseudo_anomalies(problem.train)):
            axes[2, place].imshow(sample[:, :, 0], cmap="gray", vmin=0, vmax=1)
            axes[2, place].set_title(name, fontsize=10)
        for line, what in zip(axes[:, 0], ("unlabelled", "where", "learned from"), strict=True):
            line.set_ylabel(what)
        page.suptitle(
            "highest scores of the unlabelled crops, and (right) the two lowest", fontsize=11
        )
        OUT.parent.mkdir(exist_ok=True)
        theme.png(page, 1).quantize(128).save(OUT, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
