"""The shelf of rules on a large pool, beside plain numpy, and the pool's AUROC beside scikit-learn.

    python experiments/benchmarks/rules.py          # about 2 minutes on 2 CPU cores
    python experiments/benchmarks/rules.py --quick  # seconds

A synthetic pool (a shared signal under more and more noise, 2 seeds a setting) without embeddings,
so rules that need some are not timed. The plain versions do what the definition says, pair by pair
or row by row; they are run on the first members only and scaled by the number of pairs or rows.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from scipy.special import erf
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

import ad_jax
from ad_jax.base import ranks
from ad_jax.report.table import render
from ad_jax.selection import rules

Plain = Callable[[np.ndarray, np.ndarray], object]


def correlations(scores: np.ndarray, pairs: list[tuple[int, int]]) -> list[float]:
    ranked = [rankdata(row) for row in scores]
    return [float(np.corrcoef(ranked[i], ranked[j])[0, 1]) for i, j in pairs]


def centrality(scores: np.ndarray, held_out: np.ndarray) -> object:
    count = len(scores)
    return correlations(scores, [(i, j) for i in range(count) for j in range(i)])


def seeds(scores: np.ndarray, held_out: np.ndarray) -> object:
    return correlations(scores, [(i, i + 1) for i in range(0, len(scores) - 1, 2)])


def hits(scores: np.ndarray, held_out: np.ndarray) -> object:
    edges = np.array([rankdata(row) for row in scores]) / scores.shape[1]
    hubs = np.ones(len(scores))
    for _ in range(50):
        authorities = edges.T @ hubs
        hubs = edges @ (authorities / np.linalg.norm(authorities))
        hubs /= np.linalg.norm(hubs)
    return hubs


def select(scores: np.ndarray, held_out: np.ndarray) -> object:
    unified = [np.maximum(0, erf((s - s.mean()) / (s.std() * np.sqrt(2)))) for s in scores]
    target = np.mean(unified, axis=0)
    weights = 1.0 / rankdata(-target)

    def correlation(x: np.ndarray, y: np.ndarray) -> float:
        x = x - np.average(x, weights=weights)
        y = y - np.average(y, weights=weights)
        return (weights * x * y).sum() / np.sqrt((weights * x * x).sum() * (weights * y * y).sum())

    left = set(range(len(scores)))
    ensemble = [max(left, key=lambda i: correlation(unified[i], target))]
    left -= set(ensemble)
    while left:
        now = np.mean([unified[i] for i in ensemble], axis=0)
        one = max(left, key=lambda i: correlation(unified[i], now))
        left.remove(one)
        then = np.mean([unified[i] for i in [*ensemble, one]], axis=0)
        if correlation(then, target) > correlation(now, target):
            ensemble.append(one)
    return ensemble


def auroc(scores: np.ndarray, held_out: np.ndarray) -> object:
    return [
        (s[:, None] > h).mean() + (s[:, None] == h).mean() / 2 for s, h in zip(scores, held_out)
    ]


def tail(scores: np.ndarray, held_out: np.ndarray, level: float = 0.95) -> object:
    return [(s > np.quantile(h, level)).mean() for s, h in zip(scores, held_out)]


def scaled(row: np.ndarray) -> np.ndarray:
    return (row - row.min()) / (row.max() - row.min())


def variance(scores: np.ndarray, held_out: np.ndarray) -> object:
    return [scaled(row).var() for row in scores]


def entropy(scores: np.ndarray, held_out: np.ndarray) -> object:
    out = []
    for row in scores:
        share = np.histogram(scaled(row), bins=32, range=(0, 1))[0] / len(row)
        out.append(-(share[share > 0] * np.log(share[share > 0])).sum())
    return out


# rule -> the plain version, and the power of the number of members that its time grows with
PLAIN: dict[str, tuple[Plain, int]] = {
    "model_centrality": (centrality, 2),
    "udr": (seeds, 1),
    "hits": (hits, 1),
    "select": (select, 2),
    "auroc_held_out": (auroc, 1),
    "tail_share": (tail, 1),
    "tail_and_auroc": (lambda s, h: (tail(s, h), auroc(s, h)), 1),
    "several_tails": (
        lambda s, h: (*(tail(s, h, level) for level in (0.8, 0.9, 0.95)), auroc(s, h)),
        1,
    ),
    "score_variance": (variance, 1),
    "score_entropy": (entropy, 1),
}


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--some", type=int, default=40, help="members of the plain versions")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.members, options.samples, options.some = 30, 300, 10
    count, samples, some = options.members, options.samples, min(options.some, options.members)
    generator = np.random.default_rng(0)
    anomalous = np.arange(samples) % 10 == 0
    noise = generator.uniform(0.3, 3.0, (count, 1))
    scores = anomalous + noise * generator.normal(size=(count, samples))
    held_out = noise * generator.normal(size=(count, samples // 10))
    before = peak()
    pool = ad_jax.Pool.from_scores(scores, [f"d{i // 2}" for i in range(count)], held_out)
    spent = {}
    for name, rule in rules.available(pool).items():
        spent[name] = seconds(lambda rule=rule: rule.loss(pool))  # type: ignore[misc]
    held = peak()
    rows: list[list[object]] = []
    for name, ours in spent.items():
        if name not in PLAIN:
            rows.append([name, ours, "", ""])
            continue
        plain, power = PLAIN[name]
        theirs = seconds(lambda plain=plain: plain(scores[:some], held_out[:some]))  # type: ignore[misc]
        theirs *= (count / some) ** power
        rows.append([name, ours, theirs, theirs / ours])
    rows.append(["all", sum(spent.values()), "", ""])
    print(
        f"{count} members x {samples} samples, {samples // 10} held-out normals; plain versions on "
        f"{some} members, scaled; one run, cores shared with other work"
    )
    print(render(["rule", "seconds", "plain numpy", "ratio"], rows))
    print(f"peak memory {held:.0f} MB, of which {before:.0f} MB before the pool was made")
    roc_auc_score(anomalous, scores[0])  # the first call imports
    low, high = scores[:, ~anomalous], scores[:, anomalous]
    ours = seconds(lambda: ranks.auroc_rows(low, high))
    theirs = seconds(lambda: [roc_auc_score(anomalous, row) for row in scores])
    apart = max(
        abs(a - roc_auc_score(anomalous, row))
        for a, row in zip(ranks.auroc_rows(low[:some], high[:some]), scores)
    )
    print(
        f"AUROC of the whole pool {ours:.2f} s, a scikit-learn loop {theirs:.2f} s: "
        f"{theirs / ours:.1f} times faster, largest difference {apart:.1e}"
    )


if __name__ == "__main__":
    main()
