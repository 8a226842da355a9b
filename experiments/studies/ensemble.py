"""Pick one or pool all? By the share of anomalies in the target, what each is worth.

Reads runs of the shelf and of frozen features, draws targets with a given share of anomalies from
the run's own (its normals, and as many anomalies as make the share, three draws), lets every way
choose on each, and judges what was chosen on the whole target, by AUROC of the mean surprise over
seeds. The ways: the default setting (from scratch CutPaste of .02, or of the two areas around it;
feature noise nearest to .8 on frozen features), the default rule's pick, the pick of the largest
weight, the default unless another setting's lead is more than two standard errors ahead of its own
(safe pick), the ensemble by the prior and by the weights, the setting that is best on all other
training sets (best constant), the best by the labels of the same draw (label pick; none at 0 %),
and the best in hindsight (oracle). Prints means over tasks with 95 % intervals over training sets,
and the worst loss against the default. Nothing is tuned on these tasks but the weights' pull of
.3, which was said by an earlier experiment on other members (issue of the project).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ad_jax.base import ranks
from ad_jax.base.ranks import spearman_rows
from ad_jax.pool import Pool
from ad_jax.report.figures import charts
from ad_jax.selection import rules, weights
from ad_jax.selection.search import default_on_features, default_setting
from experiments.result import Cell, Panels, Result, Table
from experiments.studies import contamination
from experiments.study import SHELF, from_runs, shelf
from experiments.tasks import Task, Value, counted, means

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5)
NAMES = [f"{share:.0%}" for share in SHARES]
DRAWS = 3
SAFE = 2.0  # standard errors
BINS = (1.0, 2.0, 4.0, 8.0)  # of the strongest statistic
FROZEN_SHELF = "runs/frozen_shelf"
SHOWN = ("default", "pick", "prior", "weights", "oracle")


class Found(NamedTuple):
    """A task at a share: AUROC of every way on each draw, and of every setting."""

    task: str
    kind: str
    group: str
    share: str
    auroc: dict[str, list[float]]
    settings: dict[str, float]  # label -> AUROC
    strongest: list[float]  # statistic of any setting on each draw, in standard errors


def kind_of(task: Task) -> str:
    """From scratch or frozen, defects or semantic."""
    frozen = any(s.augmentation == "feature_noise" for s in task.run.pool.settings)
    return f"{'frozen features' if frozen else 'from scratch'}, {task.kind}"


def defaults(pool: Pool) -> list[str]:
    """Keys of the settings that stand for the default: the nearest on a log scale, or both."""
    known = {s.key: s for s in weights.finished(pool)}
    of_features = any(s.augmentation == "feature_noise" for s in known.values())
    wanted = default_on_features() if of_features else default_setting()
    own = {k: s.strength for k, s in known.items() if s.family == wanted.family and s.strength}
    away = {k: abs(np.log(v / (wanted.strength or 1.0))) for k, v in own.items()}
    return [k for k, far in away.items() if far <= min(away.values()) + 1e-9]


def _best(values: dict[str, float]) -> str:
    return max(values, key=values.__getitem__)


def chosen(
    pool: Pool, drawn: Pool, labels: np.ndarray, found: weights.Evidence
) -> dict[str, dict[str, float]]:
    """Way -> weights of settings, chosen on a drawn target with its labels `[n]` and evidence."""
    before = weights.prior(drawn)
    own = weights.followed(before, found)
    losses = rules.losses(drawn, rules.DEFAULT)
    default = dict.fromkeys(defaults(pool), 1.0)
    ahead = found.leads
    lead = _best(ahead)
    clear = ahead[lead] - np.mean([ahead[key] for key in default]) > SAFE
    ways = {
        "default": default,
        "pick": {min(before, key=losses.__getitem__): 1.0},
        "largest weight": {_best(own): 1.0},
        "safe pick": {lead: 1.0} if clear and own != before else default,
        "prior": before,
        "weights": own,
    }
    if labels.any():
        surprise = weights.surprises(drawn)
        by_label = {
            key: float(ranks.auroc(s[labels == 0], s[labels == 1])) for key, s in surprise.items()
        }
        ways["label pick"] = {_best(by_label): 1.0}
    return ways


def rows(task: Task) -> list[Found]:
    pool, y = task.run.pool, task.anomalous
    surprise = weights.surprises(pool)
    names = {s.key: s.label for s in weights.finished(pool)}

    def auroc(some: dict[str, float]) -> float:
        mixed = weights.mixed(surprise, some)
        return float(ranks.auroc(mixed[y == 0], mixed[y == 1]))

    each = {key: auroc({key: 1.0}) for key in surprise}
    out = []
    for share, text in zip(SHARES, NAMES, strict=True):
        found: dict[str, list[float]] = {}
        strongest = []
        for drawn, labels in contamination.drawn_with_labels(pool, y, share, DRAWS):
            seen = weights.evidence(drawn)
            strongest.append(seen.strongest)
            for way, some in chosen(pool, drawn, labels, seen).items():
                own = len(some) if way == "default" else 1  # two defaults: the mean of both
                value = np.mean([each[k] for k in some]) if own > 1 else auroc(some)
                found.setdefault(way, []).append(float(value))
        if found:
            found |= {"mean member": [float(np.mean(list(each.values())))]}
            found |= {"oracle": [max(each.values())]}
            settings = {names[key]: value for key, value in each.items()}
            about = (task.name, kind_of(task), task.group, text)
            out.append(Found(*about, found, settings, strongest))
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


class Draw(NamedTuple):
    """One drawn target: its evidence, and by how much the ensemble was better than the pick."""

    task: str
    kind: str
    group: str
    bin: int
    regret: float


def forecast(found: Sequence[Found]) -> list[Table | str]:
    """Regret of the pick against the ensemble by the strength of evidence, and as a forecast.

    A forecast is the mean regret of the same bin over all other training sets.
    """
    draws = [
        Draw(one.task, one.kind, one.group, int(np.digitize(s, BINS)), float(better - pick))
        for one in found
        for s, better, pick in zip(
            one.strongest, one.auroc["weights"], one.auroc["pick"], strict=True
        )
    ]
    names = [f"below {BINS[0]:g}", *(f"{a:g} to {b:g}" for a, b in zip(BINS, BINS[1:]))]
    names.append(f"{BINS[-1]:g} and more")
    known = means([Value(*d[:3], (names[d.bin],), d.regret) for d in draws])
    lines: list[list[Cell]] = []
    for i, name in enumerate(names):
        own = [d for d in draws if d.bin == i]
        if own:
            worst, tenth = (float(np.quantile([d.regret for d in own], q)) for q in (1.0, 0.9))
            tasks = len({d.task for d in own})
            lines.append([name, tasks, len(own), known[name,], tenth, worst])
    predicted, realised = [], []
    for d in draws:
        others = [o.regret for o in draws if o.bin == d.bin and o.group != d.group]
        if others:
            predicted.append(float(np.mean(others)))
            realised.append(d.regret)
    columns = ["strongest statistic", "tasks", "draws", "regret", "90 %", "worst"]
    said = (
        "\nRegret of the pick (AUROC of the ensemble less the pick's) by the strength of evidence"
    )
    if len(set(predicted)) < 2:
        return [said, Table(columns, lines)]
    order = np.argsort(predicted, kind="stable")
    thirds: list[list[Cell]] = [
        [
            float(np.mean(np.array(predicted)[some])),
            float(np.mean(np.array(realised)[some])),
            len(some),
        ]
        for some in np.array_split(order, 3)
    ]
    rank = float(spearman_rows(np.array([predicted]), np.array([realised]))[0])
    return [
        said,
        Table(columns, lines),
        f"\nForecast from other training sets: Spearman with the regret {rank:.2f} over "
        f"{len(predicted)} draws; by thirds of the forecast",
        Table(["forecast", "realised", "draws"], thirds),
    ]


def table(found: Sequence[Found]) -> Result:
    found = with_constant(found)
    blocks: list[Table | str] = []
    panels: Panels = {}
    for kind in dict.fromkeys(one.kind for one in found):
        some = [one for one in found if one.kind == kind]
        values = [
            Value(o.task, o.kind, o.group, (way, o.share), float(np.mean(own)))
            for o in some
            for way, own in o.auroc.items()
        ]
        known = means(values)
        ways = list(dict.fromkeys(way for way, _ in known))
        lines: list[list[Cell]] = [[way, *(known.get((way, s)) for s in NAMES)] for way in ways]
        worst: list[list[Cell]] = []
        for way in ways:
            lost = [
                [
                    float(np.mean(o.auroc[way]) - np.mean(o.auroc["default"]))
                    for o in some
                    if o.share == share and way in o.auroc
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
        panels[kind] = {
            share: {way: known[way, share] for way in SHOWN if (way, share) in known}
            for share in NAMES
        }
    blocks += forecast(found)
    across = "anomalies in the target"
    return Result(blocks, lambda path: charts.lines(path, across, "AUROC", panels))


NEEDS = (*shelf("textures", "bottle", "cookie", "tile", "fashion", "digits"),)
STUDY = from_runs(
    "ensemble study",
    rows,
    table,
    (SHELF, FROZEN_SHELF),
    (*NEEDS, f"ad-jax select --config experiments/configs/frozen.py --out {FROZEN_SHELF}"),
)
