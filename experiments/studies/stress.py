"""When does tuning by gradient hold? What ST-SSAD's reviewers asked for.

    python experiments/studies/stress.py --out runs/stress                   # all; resumable
    python experiments/studies/stress.py --out runs/smoke --smoke            # a minute

Anomalies planted among the normals of magnetic tile (32 px) by CutDiff far from its defaults, so
that it is known what there is to find. (On Fashion-MNIST class 8, tried first, not even the
generator's own setting detects them.) The study divides them: a target to tune on with 0, 1, 5, 10
or 25 % anomalies, a fresh set to report on with 30 %, normals to train on with 0, 5 or 10 %
anomalies among them. Further: two kinds of anomalies at once, tuned by each family and by their
mixture; and 2, 4 and 8 hyperparameters, to see how much of what the outer loss fell on its own
target it also falls on fresh data of the same share (overfitting).

Every line: AUROC on the fresh set and on the set tuned on, of the untuned default, of the tuned end
of lowest outer loss, and of what the default rule picks of the default and both ends; three seeds.
What the study knows of the anomalies builds the sets and measures the AUROC, nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax import data
from ad_jax.base import ranks
from ad_jax.base.errors import in_one_line
from ad_jax.base.json_text import json_text
from ad_jax.data import load
from ad_jax.data.samples import content_hashes
from ad_jax.pool import Pool, program
from ad_jax.pool.sweep import Sweep
from ad_jax.report.page.content import known
from ad_jax.report.table import render
from ad_jax.selection import rules, search, tuning
from ad_jax.selection.tuning.descent import default_of
from ad_jax.selection.tuning.space import unconstrain
from ad_jax.store import Record, keep_compilations, write_whole
from ad_jax.train.setting import Setting

BASES: dict[str, dict[str, Any]] = {
    "tile": {"base": "magnetic_tile", "size": 32, "group": r"tile\d+"},
}
GENERATORS = {
    "cutdiff": "area:0.03;strength:0.6",
    "cutdiff+rotate": "cutdiff.area:0.03;cutdiff.strength:0.6;rotate.angle:60",
}
PLANTED = 0.48  # of the base's target; divided into the sets below
FRESH = 0.3  # of the fresh set is anomalous
SEEDS = (0, 1, 2)
STEPS = 400
PLAN = tuning.Plan(outer_steps=40, warm_up=100)
STARTS = 2
MIXED = ("area", "aspect", "strength", "angle")
TWO = ("area", "strength")
EIGHT = (
    *(f"cutdiff.{name}" for name in MIXED),
    *(f"soft_cutpaste.{name}" for name in ("area", "aspect", "softness")),
    "weights",
)
BOTH = ("cutdiff.area", "cutdiff.strength", "rotate.angle", "weights")


class Case(NamedTuple):
    """One line: share of the target, share of the normals trained on, generator, what is tuned."""

    share: float = 0.1
    contaminated: float = 0.0
    generator: str = "cutdiff"
    augmentation: str = "cutdiff"
    tuned: tuple[str, ...] = TWO


CASES = {
    "no anomalies": Case(0.0),
    "1 %": Case(0.01),
    "5 %": Case(0.05),
    "10 %": Case(0.1),
    "25 %": Case(0.25),
    "10 %, 5 % of the normals are not": Case(0.1, 0.05),
    "10 %, 10 % of the normals are not": Case(0.1, 0.1),
    "25 %, 4 hyperparameters": Case(0.25, tuned=MIXED),
    "25 %, 8 hyperparameters": Case(0.25, augmentation="cutdiff+soft_cutpaste", tuned=EIGHT),
    "two kinds, CutDiff": Case(0.25, generator="cutdiff+rotate"),
    "two kinds, rotation": Case(0.25, 0.0, "cutdiff+rotate", "rotate", ("angle",)),
    "two kinds, both": Case(0.25, 0.0, "cutdiff+rotate", "cutdiff+rotate", BOTH),
}


class Sets(NamedTuple):
    """The study's own division of a planted problem; `problem.target` is what is tuned on.

    Attributes:
      problem: normals, and the target with the share asked for.
      anomalous: `[n]` of the target.
      twin: `[n, ...]` fresh samples with that same share.
      fresh: the same normals, and the samples to report on as target.
      fresh_anomalous: `[m]`.
    """

    problem: data.Problem
    anomalous: np.ndarray
    twin: np.ndarray
    fresh: data.Problem
    fresh_anomalous: np.ndarray


def divide(problem: data.Problem, truth: data.Truth, case: Case) -> Sets:
    """Half of the target's normals and anomalies are tuned on, the other half is fresh."""
    anomalous = np.asarray(truth.open("stress: to divide the planted anomalies").anomalous)
    bad, good = (problem.target[anomalous == label] for label in (1, 0))
    size = len(good) // 2

    def mixed(normals: np.ndarray, anomalies: np.ndarray, share: float) -> tuple[Any, Any]:
        count = round(share * len(normals))
        rows = np.concatenate([normals[: len(normals) - count], anomalies[:count]])
        return rows, np.arange(len(rows)) >= len(normals) - count

    spent = round(0.25 * size)  # anomalies that a target needs at most
    own, fresh_bad, rest = bad[:spent], bad[spent : 3 * spent], bad[3 * spent :]
    target, labels = mixed(good[:size], own, case.share)
    twin, _ = mixed(good[size : 2 * size], fresh_bad, case.share)
    fresh, fresh_labels = mixed(good[size : 2 * size], fresh_bad, FRESH)
    train, groups = problem.train, problem.groups
    count = round(case.contaminated * len(train))
    if count > len(rest):
        raise SystemExit(f"{count} anomalies to train on, {len(rest)} left; plant more")
    if count:
        train = np.concatenate([train, rest[:count]])
        if groups is not None:
            groups = np.concatenate([groups, groups.max() + 1 + np.arange(count)])
    built = data.Problem(train=train, target=target, groups=groups)
    # A problem orders its samples by content: labels follow by the samples' hashes.
    label_of = dict(zip(content_hashes(target), labels, strict=True))
    label_of |= dict(zip(content_hashes(fresh), fresh_labels, strict=True))
    reported = data.Problem(train=train, target=fresh, groups=groups)
    own, other = (np.array([label_of[name] for name in p.sample_hashes]) for p in (built, reported))
    return Sets(built, own, twin, reported, other)


def run(
    case: Case, sets: Sets, seed: int, plan: tuning.Plan, config: program.Config, record: Record
) -> dict[str, Any]:
    """One line with one seed."""
    space = tuning.make_space(case.augmentation, sets.problem.shape, case.tuned)
    descent = tuning.descend(sets.problem, space, STARTS, plan, seed, config, record=record)
    ends = [
        Setting("binary", space.augmentation, s.end)
        for s in descent.starts
        if s.status != "diverged"
    ]
    tuned = Setting("binary", space.augmentation, descent.hyper)
    default = Setting("binary", space.augmentation, default_of(space))
    settings = list({s.key: s for s in (default, *ends)}.values())
    # Both sets are targets of one training set, so one sweep serves them.
    sweep = Sweep([sets.problem, sets.fresh], settings, (seed,), config, record)
    own, fresh = sweep.finish(search.SEARCHES["all"](sweep, rules.DEFAULT)).pools
    losses = rules.losses(own, rules.DEFAULT)
    picks = {
        "default": default,
        "tuned": tuned,
        "by the rule": min(settings, key=lambda s: losses[s.key]),
    }

    def auroc(pool: Pool, setting: Setting, anomalous: np.ndarray) -> float:
        if not anomalous.any():
            return float("nan")
        scores = pool.own_scores()[0][pool.rows(setting)[0]]
        return float(ranks.auroc(scores[~anomalous], scores[anomalous]))

    thetas = np.stack(
        [unconstrain(space, {k: s.hyper[k] for k in space.names}) for s in (default, tuned)]
    )
    looked = plan._replace(warm_up=config.steps)
    levels = {
        name: tuning.profile(sets.problem, space, looked, thetas, (seed,), config, samples)[:, 0]
        for name, samples in (("own", sets.problem.target), ("twin", sets.twin))
    }
    return {
        "fresh": {k: auroc(fresh, s, sets.fresh_anomalous) for k, s in picks.items()},
        "own": {k: auroc(own, s, sets.anomalous) for k, s in picks.items()},
        "fall": {name: float(level[0] - level[1]) for name, level in levels.items()},
        "hyper": {k: s.hyper for k, s in picks.items()},
        "status": [start.status for start in descent.starts],
    }


def summarise(rows: list[dict[str, Any]]) -> None:
    for base in dict.fromkeys(row["base"] for row in rows):
        table = []
        for case in dict.fromkeys(row["case"] for row in rows):
            some = [row for row in rows if row["case"] == case and row["base"] == base]
            if not some:
                continue
            line: list[object] = [case]
            for name in ("default", "tuned", "by the rule"):
                line.append(float(np.mean([r["fresh"][name] for r in some])))
            for name in ("tuned", "by the rule"):
                gains = np.array([r["fresh"][name] - r["fresh"]["default"] for r in some])
                half = 1.96 * gains.std(ddof=1) / len(gains) ** 0.5 if len(gains) > 1 else np.nan
                line.append(f"{gains.mean():+.3f} ± {half:.3f}")
            line.append(float(np.mean([r["own"]["tuned"] - r["own"]["default"] for r in some])))
            line += [float(np.mean([r["fall"][name] for r in some])) for name in ("own", "twin")]
            states = [s for r in some for s in r["status"]]
            line.append(" ".join(f"{states.count(s)} {s}" for s in sorted(set(states))))
            table.append(line)
        header = ["AUROC on fresh data", "default", "tuned", "by the rule", "tuned - default"]
        header += ["by the rule - default", "tuned - default, own target"]
        header += ["outer loss fell", "on fresh data", "starts"]
        print(f"\n{base}: planted {GENERATORS['cutdiff']}, {len(SEEDS)} seeds")
        print(render(header, table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="bases", choices=list(BASES))
    parser.add_argument("--report", action="store_true", help="only print what is there")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    keep_compilations()
    plan, config, seeds = PLAN, program.Config(STEPS), SEEDS
    bases, cases = {name: BASES[name] for name in options.only or BASES}, dict(CASES)
    if options.smoke:
        plan = plan._replace(outer_steps=2, horizon=2, warm_up=4, batch=8)
        config, seeds = program.Config(9, 8), (0,)
        bases = {"digits": {"base": "digits", "normal": 3}}
        cases = {name: CASES[name] for name in ("10 %, 5 % of the normals are not",)}
    rows = []
    for base, given in bases.items():
        for case_number, (name, case) in enumerate(cases.items()):
            problem, truth = load(
                f"planted:{case.generator}",
                hyper=GENERATORS[case.generator],
                share=PLANTED,
                **given,
            )
            sets = divide(problem, truth, case)
            for seed in seeds:
                path = options.out / f"{base}-{case_number:02d}-{seed}.json"
                if options.report and not path.is_file():
                    continue
                if not path.is_file():
                    began = time.perf_counter()
                    made = run(case, sets, seed, plan, config, Record(options.out / "record"))
                    made |= {"base": base, "case": name, "seed": seed}
                    write_whole(path, json_text(made, indent=1).encode())
                    print(f"{path.stem}: {time.perf_counter() - began:.0f} s", flush=True)
                row = json.loads(path.read_text())
                rows.append({**row, "own": {k: known(v) for k, v in row["own"].items()}})
    summarise(rows)


if __name__ == "__main__":
    in_one_line(main)
