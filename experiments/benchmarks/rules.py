"""Every rule on a pool of 1,000 members, and its AUROC, against plain numpy and scikit-learn.

A synthetic pool (a shared signal under more and more noise, 2 seeds a setting) without embeddings,
so rules that need some are not timed. The plain versions do what the definition says, pair by pair
or row by row; they are run on the first members only and scaled by the number of pairs or rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

import ad_jax
from ad_jax.base import ranks
from ad_jax.selection import rules as shelf
from experiments.benchmarks.timing import (
    OURS,
    Plan,
    Row,
    against_best,
    against_limit,
    in_turn,
    timed,
)

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


LIMIT = 3.0  # seconds of all rules
AIM = 0.1  # of the scikit-learn loop


def made(plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores `[members, n]`, those of held-out normals, and which samples are anomalous."""
    count, samples = (30, 300) if plan.quick else (1000, 10_000)
    generator = np.random.default_rng(0)
    anomalous = np.arange(samples) % 10 == 0
    noise = generator.uniform(0.3, 3.0, (count, 1))
    scores = anomalous + noise * generator.normal(size=(count, samples))
    return scores, noise * generator.normal(size=(count, samples // 10)), anomalous


def of_rules(plan: Plan, scores: np.ndarray, held_out: np.ndarray) -> list[Row]:
    """Each rule against its plain version, and all of them against the limit."""
    count, some = len(scores), 10 if plan.quick else 40  # members of the plain versions
    labels = [f"d{i // 2}" for i in range(count)]

    spent: dict[str, dict[str, list[float]]] = {}
    for _ in range(1 if plan.quick else plan.rounds):
        pool = ad_jax.Pool.from_scores(scores, labels, held_out)  # anew: it keeps what rules share
        for name, rule in shelf.available(pool).items():
            own = spent.setdefault(name, {OURS: [], "plain numpy": []})
            own[OURS].append(timed(lambda rule=rule, pool=pool: rule.loss(pool), plan.clock))
            if name in PLAIN:
                plain, power = PLAIN[name]
                call = lambda plain=plain: plain(scores[:some], held_out[:some])
                own["plain numpy"].append(timed(call, plan.clock) * (count / some) ** power)
    total = np.sum([own[OURS] for own in spent.values()], axis=0)
    found = [
        against_best(f"rule {name}", None, {who: np.array(own[who]) for who in own})
        for name, own in spent.items()
        if name in PLAIN
    ]
    return [*found, against_limit("all rules", LIMIT, total)]


def rows(plan: Plan) -> list[Row]:
    scores, held_out, anomalous = made(plan)
    low, high = scores[:, ~anomalous], scores[:, anomalous]
    calls = {
        OURS: lambda: ranks.auroc_rows(low, high),
        "scikit-learn": lambda: np.array([roc_auc_score(anomalous, row) for row in scores]),
    }
    np.testing.assert_allclose(calls[OURS](), calls["scikit-learn"](), atol=1e-9)
    what = f"AUROC of {len(scores)} members x {scores.shape[1]} samples"
    return [*of_rules(plan, scores, held_out), against_best(what, AIM, in_turn(calls, plan))]
