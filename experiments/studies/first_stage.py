"""Which rule should drop settings early, and how many should stay?

Reads full grids and halved runs of the development parts, as halving.py does. A training that goes
on is the same as one that never stopped, so what any first stage would have led to is read off: the
settings that a rule ranks best after the first stage of halving, then the default rule's pick among
them after all steps. Prints the mean AUROC of that pick, its gain and the share of the
member-steps, for every rule and for 1, 2, 3 and 5 settings kept.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ad_jax.data import Problem
from ad_jax.evaluate import Scope, audit_run, gain
from ad_jax.pool.sweep import Sweep
from ad_jax.runs import run
from ad_jax.selection import rules, search
from ad_jax.store import Record
from ad_jax.train.setting import Config
from experiments.configs.development import PARTS, get_config
from experiments.result import Cell, Result, Table
from experiments.studies.halving import NEEDS, RUNS
from experiments.study import Axis, Options, Study
from experiments.trainings import loaded

KEPT = (1, 2, 3, 5)
CONFIG = Config()
FIRST = search.stops(CONFIG.steps)[0]


class Early(NamedTuple):
    """A task: what would have been picked, AUROC by (rule, settings kept)."""

    group: str
    scope: Scope  # of the full grid
    picks: dict[tuple[str, int], float]
    shares: dict[int, float]  # of the member-steps, by settings kept


def of_part(part: str, full: Path, halved: Path) -> Iterator[Early]:
    folders = {}
    for path in (full / part).glob("**/manifest.json"):
        folders[run.read(path.parent).manifest["fingerprint"]] = path.parent
    groups: dict[str, list[Problem]] = defaultdict(list)
    made = get_config(part)
    for text in made.sources:
        problem, _ = loaded(text)
        groups[problem.train_fingerprint].append(problem)
    for group, problems in groups.items():
        settings = search.grid(problems[0].shape)
        sweep = Sweep(
            problems, settings, range(made.seeds), CONFIG, Record(halved / part / "record")
        )
        members = [(s, seed) for s in settings for seed in sweep.seeds]
        early = sweep.pools(sweep.advance(members, FIRST, keep_state=True), FIRST)
        spent = {kept: len(settings) * FIRST + kept * (CONFIG.steps - FIRST) for kept in KEPT}
        shares = {kept: own / len(settings) / CONFIG.steps for kept, own in spent.items()}
        for problem, pool in zip(problems, early, strict=True):
            result, whole = audit_run(folders[problem.fingerprint], "first stage")
            auroc = dict(zip(result.across.settings, result.across.auroc, strict=True))
            final = whole.losses[rules.DEFAULT]
            picks = {}
            for rule in rules.RULES:
                losses = rules.losses(pool, rule)
                order = sorted(pool.settings, key=lambda s: losses[s.key])
                for kept in KEPT:
                    some = [s.key for s in order[:kept] if s.key in auroc]
                    best = min(some, key=lambda k: final[k]) if some else None
                    picks[rule, kept] = auroc[best] if best else result.across.expected_random
            yield Early(group, result.across, picks, shares)


def table(tasks: Sequence[Early]) -> Result:
    scopes = [one.scope for one in tasks]
    lines: list[list[Cell]] = []
    for rule in rules.RULES:
        lines.append([rule])
        for kept in KEPT:
            values = [one.picks[rule, kept] for one in tasks]
            lines[-1] += [float(np.mean(values)), gain(scopes, values)]
    lines.sort(key=lambda line: -float(line[4]))  # type: ignore[arg-type]
    header = [f"rule after {FIRST} steps"]
    for kept in KEPT:
        share = np.mean(list({one.group: one.shares[kept] for one in tasks}.values()))
        header += [f"keep {kept} ({share:.2f} of the steps)", "gain"]
    whole = gain(scopes, [scope.picks[rules.DEFAULT] for scope in scopes])
    return Result([f"{len(tasks)} tasks; full grid: {whole:.3f} gain", Table(header, lines)])


def result(options: Options) -> Result:
    found: list[Early] = []
    for part in options.values("part", AXES["part"]):
        found += of_part(part, *options.runs)
        print(f"{part}: done", file=sys.stderr, flush=True)
    return table(found)


AXES = {"part": Axis(tuple(PARTS))}
STUDY = Study(result, AXES, RUNS, NEEDS)
