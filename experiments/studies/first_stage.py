"""Which rule should drop settings early, and how many should stay?

    python experiments/studies/first_stage.py runs/development runs/halving brick gravel bottle …

Reads full grids and halved runs of the development parts (see halving.py for the commands). A
training that goes on is the same as one that never stopped, so what any first stage would have
led to is read off: the settings that a rule ranks best after the first stage of halving, then the
default rule's pick among them after all steps. Prints the mean AUROC of that pick, its gain and
the share of the member-steps, for every rule and for 1, 2, 3 and 5 settings kept. Opens the labels
of the full grids, and logs it.
"""

from __future__ import annotations

import argparse
import runpy
from collections import defaultdict
from pathlib import Path

import numpy as np

from ad_jax.base.errors import in_one_line
from ad_jax.data import load, parse
from ad_jax.evaluate import audit_run, gain
from ad_jax.pool import program, sweep
from ad_jax.report.table import render
from ad_jax.runs import run
from ad_jax.selection import rules, search
from ad_jax.store import Record

KEPT = (1, 2, 3, 5)
CONFIGS = Path(__file__).parent.parent / "configs" / "development.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("full", type=Path)
    parser.add_argument("halved", type=Path)
    parser.add_argument("parts", nargs="+")
    options = parser.parse_args()
    get_config = runpy.run_path(str(CONFIGS))["get_config"]
    config = program.Config()
    first = search.stops(config.steps)[0]
    scopes, picks = [], defaultdict(list)  # (rule, kept) -> AUROC per task
    shares: dict[int, list[float]] = defaultdict(list)
    for part in options.parts:
        folders = {}
        for path in (options.full / part).glob("**/manifest.json"):
            folders[run.read(path.parent).manifest["fingerprint"]] = path.parent
        groups = defaultdict(list)
        made = get_config(part)
        for text in made.sources:
            source, given = parse(text)
            problem, _ = load(source, **given)
            groups[problem.train_fingerprint].append(problem)
        for problems in groups.values():
            settings = search.grid(problems[0].shape)
            record = Record(options.halved / part / "record")
            one = sweep.Sweep(problems, settings, range(made.seeds), config, record)
            members = [(s, seed) for s in settings for seed in one.seeds]
            early = one.pools(one.advance(members, first, keep_state=True), first)
            for problem, pool in zip(problems, early, strict=True):
                result, whole = audit_run(folders[problem.fingerprint], "first stage")
                auroc = dict(zip(result.across.settings, result.across.auroc, strict=True))
                final = whole.losses[rules.DEFAULT]
                scopes.append(result.across)
                for rule in rules.RULES:
                    losses = rules.losses(pool, rule)
                    order = sorted(pool.settings, key=lambda s: losses[s.key])
                    for kept in KEPT:
                        some = [s.key for s in order[:kept] if s.key in auroc]
                        best = min(some, key=lambda k: final[k]) if some else None
                        value = auroc[best] if best else result.across.expected_random
                        picks[rule, kept].append(value)
            for kept in KEPT:
                spent = len(settings) * first + kept * (config.steps - first)
                shares[kept].append(spent / len(settings) / config.steps)
        print(f"{part}: done", flush=True)
    rows = []
    for rule in rules.RULES:
        row: list[object] = [rule]
        for kept in KEPT:
            row += [float(np.mean(picks[rule, kept])), gain(scopes, picks[rule, kept])]
        rows.append(row)
    rows.sort(key=lambda row: -float(row[4]))  # type: ignore[arg-type]
    header = [f"rule after {first} steps"]
    for kept in KEPT:
        header += [f"keep {kept} ({np.mean(shares[kept]):.2f} of the steps)", "gain"]
    whole = [scope.picks[rules.DEFAULT] for scope in scopes]
    print(f"{len(scopes)} tasks; full grid: {gain(scopes, whole):.3f} gain")
    print(render(header, rows))


if __name__ == "__main__":
    in_one_line(main)
