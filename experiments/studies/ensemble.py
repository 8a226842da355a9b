"""Pick one or pool all? By the share of anomalies in the target, what each is worth.

Reads runs of the shelf and of frozen features, draws targets with a given share of anomalies from
the run's own (its normals, and as many anomalies as make the share, three draws), lets every way
choose on each, and judges what was chosen on the whole target, by AUROC of the mean surprise over
seeds. The ways: the default setting (from scratch CutPaste of .02, or of the two areas around it;
feature noise nearest to .8 on frozen features), the default rule's pick, the default unless another
setting's lead over it is more than three standard errors of the difference (safe pick), all
families alike (uniform), the prior, which gives the default a share of its own, the weights that
evidence makes of it, the same with constants that the other training sets chose, the setting that
is best on all other training sets (best constant), the best by the labels of the same draw (label
pick; none at 0 %), and the best in hindsight (oracle). Prints means over tasks with 95 % intervals
over training sets, and the worst loss against the default.

Constants of the weights are chosen on one half of the training sets of every kind, and reported on
the other, both ways round, ten times: the best mean over kinds, of the mean over tasks and shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base.ranks import auroc_rows
from ad_jax.base.stats import Estimate
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.selection import rules, weights
from ad_jax.selection.weights import CONSTANTS, Constants
from experiments.result import Cell, Panels, Result, Table
from experiments.studies import contamination
from experiments.study import PARTS, SHELF, from_runs, shelf
from experiments.tasks import Task, Value, counted, means, modality_of

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
NAMES = [f"{share:.0%}" for share in SHARES]
DRAWS = 3
SAFE = 3.0  # standard errors
HALVES = 10
GRID = [  # of constants
    Constants(share, pull, *gate)
    for share in (0.0, 0.25, 0.5, 0.75)
    for pull in (0.1, 0.3, 0.6)
    for gate in ((1.0, 4.0), (2.0, 6.0), (3.0, 8.0))
]
FROZEN_SHELF = "runs/frozen_shelf"
SHOWN = ("default", "pick", "uniform", "weights", "oracle")
CHOSEN = "weights, constants of the other half"


class Found(NamedTuple):
    """A task at a share: AUROC of every way on each draw, and of every setting."""

    task: str
    kind: str
    group: str
    share: str
    auroc: dict[str, list[float]]
    settings: dict[str, float]  # label -> AUROC
    by_constants: list[float]  # AUROC of the weights by each of `GRID`, mean over draws


def kind_of(task: Task) -> str:
    """From scratch or frozen, defects or semantic; or rows, or series."""
    if modality_of(task.run.pool) != "images":
        return modality_of(task.run.pool)
    frozen = any(s.augmentation == "feature_noise" for s in task.run.pool.settings)
    return f"{'frozen features' if frozen else 'from scratch'}, {task.kind}"


def _best(values: Mapping[str, float]) -> str:
    return max(values, key=values.__getitem__)


def chosen(
    drawn: Pool, labels: np.ndarray, found: weights.Evidence, surprise: np.ndarray
) -> dict[str, dict[str, float]]:
    """Way -> weights of settings, chosen on a drawn target with its labels `[n]` and evidence.

    `surprise [settings, n]` is every finished setting's.
    """
    before, trusted = weights.prior(drawn), weights.defaults(drawn)
    losses = rules.losses(drawn, rules.DEFAULT)
    ways = {"pick": {min(before, key=losses.__getitem__): 1.0}}
    if trusted:
        ways["default"] = dict.fromkeys(trusted, 1.0)
        ways["safe pick"] = {weights.ahead_of(found, trusted, SAFE): 1.0}
    ways |= {
        "uniform": weights.prior(drawn, 0.0),
        "prior": before,
        "weights": weights.followed(before, found),
    }
    if labels.any():
        by_label = auroc_rows(surprise[:, labels == 0], surprise[:, labels == 1])
        ways["label pick"] = {list(before)[int(np.argmax(by_label))]: 1.0}
    return ways


def by_constants(drawn: Pool, found: weights.Evidence) -> np.ndarray:
    """Weights of every finished setting by each of `GRID` `[grid, settings]`."""
    before = {share: weights.prior(drawn, share) for share in {one.default for one in GRID}}
    own = [weights.followed(before[one.default], found, one) for one in GRID]
    return np.array([list(one.values()) for one in own])


def rows(task: Task) -> list[Found]:
    pool, y = task.run.pool, task.anomalous
    by_key = weights.surprises(pool)
    names = {s.key: s.label for s in weights.finished(pool)}
    surprise, places = np.stack(list(by_key.values())), {key: i for i, key in enumerate(by_key)}

    def aurocs(scores: np.ndarray) -> np.ndarray:
        return np.asarray(auroc_rows(scores[:, y == 0], scores[:, y == 1]))

    each = aurocs(surprise)
    out = []
    for share, text in zip(SHARES, NAMES, strict=True):
        found: dict[str, list[float]] = {}
        grid = []
        for kept, drawn in contamination.drawn_rows(pool, y, share, DRAWS):
            seen = weights.evidence(drawn)
            grid.append(aurocs(by_constants(drawn, seen) @ surprise))
            for way, some in chosen(drawn, y[kept], seen, surprise[:, kept]).items():
                own = [each[places[key]] for key in some]
                alone = len(some) == 1 or way == "default"  # two defaults: the mean of both
                mixed = weights.mixed(by_key, some)[None]
                value = np.mean(own) if alone else aurocs(mixed)[0]
                found.setdefault(way, []).append(float(value))
        if found:
            found |= {"mean member": [float(np.mean(each))], "oracle": [float(np.max(each))]}
            settings = {names[key]: float(each[i]) for key, i in places.items()}
            about = (task.name, kind_of(task), task.group, text)
            out.append(Found(*about, found, settings, np.mean(grid, axis=0).tolist()))
    return out


def with_constant(found: Sequence[Found]) -> list[Found]:
    """With the setting that is best on the tasks of all other training sets of its kind."""
    out = []
    for one in found:
        others = [o for o in found if o.kind == one.kind and o.group != one.group]
        known = [k for k in one.settings if all(k in o.settings for o in others)]
        if others and known:
            best = max(known, key=lambda k: np.mean([o.settings[k] for o in others]))
            one = one._replace(auroc={**one.auroc, "best constant": [one.settings[best]]})
        out.append(one)
    return out


def halves(found: Sequence[Found]) -> tuple[list[Found], Table]:
    """With the weights by constants that other training sets chose, and which these were."""
    generator = np.random.default_rng(0)
    kinds = list(dict.fromkeys(one.kind for one in found))
    groups = {k: sorted({one.group for one in found if one.kind == k}) for k in kinds}
    grid = np.array([one.by_constants for one in found])
    values: list[list[float]] = [[] for _ in found]
    times = np.zeros(len(GRID), int)
    for _ in range(HALVES):
        mine = set()
        for kind, some in groups.items():
            more = int(generator.integers(2))  # the larger part of an odd number
            mine |= {(kind, g) for g in generator.permutation(some)[: (len(some) + more) // 2]}
        inside = np.array([(one.kind, one.group) in mine for one in found])
        for shown in (inside, ~inside):
            if not shown.any():  # one training set alone has no others to be chosen on
                continue
            by_kind = [
                grid[[s and one.kind == k for s, one in zip(shown, found, strict=True)]].mean(0)
                for k in kinds
                if any(s and one.kind == k for s, one in zip(shown, found, strict=True))
            ]
            best = int(np.argmax(np.mean(by_kind, axis=0)))
            times[best] += 1
            for i in np.flatnonzero(~shown):
                values[i].append(float(grid[i, best]))
    told = [
        one._replace(auroc={**one.auroc, CHOSEN: own}) if own else one
        for one, own in zip(found, values, strict=True)
    ]
    every = np.mean([grid[[one.kind == k for one in found]].mean(0) for k in kinds], axis=0)
    lines: list[list[Cell]] = [
        [*GRID[i], int(times[i]), float(every[i])]
        for i in np.argsort(-every, kind="stable")
        if times[i] or GRID[i] == CONSTANTS
    ]
    header = ["default's share", "pull", "closed", "open", "chosen", "mean AUROC of kinds"]
    return told, Table(header, lines)


def worth(some: Sequence[Found]) -> list[Value]:
    """AUROC of every way at every share, mean over draws."""
    return [
        Value(o.task, o.kind, o.group, (way, o.share), float(np.mean(own)))
        for o in some
        for way, own in o.auroc.items()
    ]


def panel(known: Mapping[tuple[str, ...], Estimate]) -> dict[str, dict[str, Estimate]]:
    """What is drawn of `means` of `worth`: share -> way."""
    return {
        share: {way: known[way, share] for way in SHOWN if (way, share) in known} for share in NAMES
    }


def table(found: Sequence[Found]) -> Result:
    found, constants = halves(with_constant(found))
    blocks: list[Table | str] = []
    panels: Panels = {}
    for kind in dict.fromkeys(one.kind for one in found):
        some = [one for one in found if one.kind == kind]
        values = worth(some)
        known = means(values)
        ways = list(dict.fromkeys(way for way, _ in known))
        lines: list[list[Cell]] = [[way, *(known.get((way, s)) for s in NAMES)] for way in ways]
        worst: list[list[Cell]] = []
        for way in ways:
            lost = [
                [
                    float(np.mean(o.auroc[way]) - np.mean(o.auroc["default"]))
                    for o in some
                    if o.share == share and way in o.auroc and "default" in o.auroc
                ]
                for share in NAMES
            ]
            worst.append([way, *(min(own) if own else None for own in lost)])
        blocks += [
            f"\n{kind}: AUROC on {counted(values)}, by share of anomalies",
            Table(["way", *NAMES], lines),
            f"\n{kind}: worst difference to the default setting over tasks",
            Table(["way", *NAMES], worst),
        ]
        panels[kind] = panel(known)
    blocks += [
        f"\nConstants of the weights, how often each was chosen by one of {2 * HALVES} halves",
        constants,
    ]
    across = "anomalies in the target"
    return Result(blocks, lambda path: charts.lines(path, across, "AUROC", panels))


NEEDS = (
    *shelf(*PARTS),
    f"ad-jax select --config experiments/configs/frozen.py --out {FROZEN_SHELF}",
)
STUDY = from_runs("ensemble study", rows, table, (SHELF, FROZEN_SHELF), NEEDS)
