"""The nearest of 10,000 stored patches of 152 features, against faiss, scikit-learn and PyTorch.

Ours is the localiser `neighbour`, compiled; the others search by brute force, too, and the
distances are checked to agree.
"""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import NearestNeighbors

from ad_jax.detect.localise import densities
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

CHANNELS = 152  # of EfficientNet-Lite0's grid
AIM = 1.0


def rows(plan: Plan) -> list[Row]:
    kept, count, side = (200, 2, 4) if plan.quick else (10_000, 4, 28)
    generator = np.random.default_rng(0)
    patches = generator.normal(size=(kept, CHANNELS)).astype(np.float32)
    grids = generator.normal(size=(count, side, side, CHANNELS)).astype(np.float32)
    asked = grids.reshape(-1, CHANNELS)
    bank = densities.Bank(jnp.asarray(patches), jnp.zeros(CHANNELS))
    score = jax.jit(densities.score_neighbour)
    on_device = jnp.asarray(grids)
    near = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(patches)
    calls: dict[str, Call] = {
        OURS: lambda: np.asarray(score(bank, on_device)).ravel(),
        "scikit-learn": lambda: near.kneighbors(asked)[0][:, 0],
    }
    if not missing("faiss"):
        index = importlib.import_module("faiss").IndexFlatL2(CHANNELS)
        index.add(patches)
        calls["faiss"] = lambda: np.sqrt(index.search(asked, 1)[0][:, 0])
    if not missing("torch"):
        stored, rows_of = torch().from_numpy(patches), torch().from_numpy(asked)
        calls["PyTorch"] = lambda: torch().cdist(rows_of, stored).min(1).values.numpy()
    wanted = calls["scikit-learn"]()
    for name, call in calls.items():
        np.testing.assert_allclose(call(), wanted, rtol=1e-3, err_msg=name)
    what = f"nearest of {kept} patches x {CHANNELS} for {len(asked)}"
    row = against_best(what, AIM, in_turn(calls, plan))
    return [row._replace(against=f"{row.against}{missing('faiss') and '; faiss not installed'}")]
