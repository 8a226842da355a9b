"""Every label-free rule on the development tasks: which deserves trust?

    for part in textures bottle cookie tile fashion digits; do
      ad-jax select --config experiments/configs/shelf.py:$part --out runs/shelf/$part
    done
    python experiments/studies/rules.py runs/shelf

Reads runs, opens their labels, logs it, and prints, for semantic tasks (`--semantic PATTERN`), for
the others, and for planted ones, across families and within them:

1. every rule: regret, gain, share below random and below the best constant, Spearman, rank, and
   Wilcoxon's test over training sets against random and DSV, adjusted by Holm;
2. rule design, cross-checked: the rule of the highest gain on one half of the training sets (every
   second one by name, within each kind), reported on the other half, both ways round;
3. trust: regret of the default rule's pick by verdict and by every part of it.

Beside the registry's rules it judges CANDIDATES, rules of our own that are not in it: a candidate
has to win on halves of the training sets that did not choose it before it may move there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from ad_jax import ranks, rules, run
from ad_jax.errors import in_one_line
from ad_jax.evaluate import Audit, Scope, audit_run, gain
from ad_jax.evaluate.comparison import LABELS, RANDOM, Line, compare, smallest_p
from ad_jax.pool import Pool
from ad_jax.report.table import render

SEMANTIC = "fashion|digits|orientation"
PLANTED = "planted"
REFERENCE = "dsv_code"
Loss = Callable[[Pool], np.ndarray]


def mean_surprise(pool: Pool) -> np.ndarray:
    """Minus the mean conformal surprise of the target: counts how far samples stand out, too."""
    target, held_out = pool.own_scores()
    out = np.full(len(target), np.inf)
    for i, (one, normal) in enumerate(zip(target, held_out, strict=True)):
        if np.isfinite(one).all() and np.isfinite(normal).all():
            out[i] = -float(np.mean(-np.log(ranks.p_values(normal, one))))
    return out


def partial_auroc(pool: Pool, high: float = 0.25) -> np.ndarray:
    """Minus the mean share of the target above each of the highest quarter of held-out normals."""
    target, held_out = pool.own_scores()
    out = np.full(len(target), np.inf)
    for i, (one, normal) in enumerate(zip(target, held_out, strict=True)):
        if np.isfinite(one).all() and np.isfinite(normal).all():
            top = np.sort(normal)[-max(1, round(high * len(normal))) :]
            out[i] = -float((one[:, None] > top[None]).mean())
    return out


def several_tails(pool: Pool) -> np.ndarray:
    """Mean rank by tail shares above three quantiles and by the AUROC."""
    target, held_out = pool.own_scores()
    tails = [-ranks.tail_share_rows(held_out, target, level) for level in (0.8, 0.9, 0.95)]
    losses = np.stack([*tails, rules.get("auroc_held_out").loss(pool)])
    return ranks.rank_rows(losses).mean(0) / len(pool.members)


def smoothed(name: str) -> Loss:
    """A rule's loss, averaged with that of the neighbouring strengths: 1/4, 1/2, 1/4."""

    def loss(pool: Pool) -> np.ndarray:
        values = rules.get(name).loss(pool)
        by_key = rules.by_setting(pool, values)
        out = values.copy()
        for family in dict.fromkeys(s.family for s in pool.settings):
            own = [s for s in pool.settings if s.family == family and np.isfinite(by_key[s.key])]
            own.sort(key=lambda s: s.strength or 0.0)
            line = np.pad([by_key[s.key] for s in own], 1, mode="edge") if own else np.zeros(2)
            for i, setting in enumerate(own):
                out[pool.rows(setting, trained=True)] = line[i : i + 3] @ [0.25, 0.5, 0.25]
        return out

    return loss


def bounded(name: str) -> Loss:
    """A rule's loss plus its standard error over the seeds of a setting: no lucky seed wins."""

    def loss(pool: Pool) -> np.ndarray:
        values = rules.get(name).loss(pool)
        out = values.copy()
        for setting in pool.settings:
            rows = pool.rows(setting, trained=True)
            if len(rows) > 1:
                out[rows] = values[rows].mean() + values[rows].std(ddof=1) / len(rows) ** 0.5
        return out

    return loss


CANDIDATES: dict[str, Loss] = {
    "? mean surprise": mean_surprise,
    "? partial AUROC": partial_auroc,
    "? several tails": several_tails,
    "? tail and AUROC, smoothed": smoothed("tail_and_auroc"),
    "? tail and AUROC, bounded": bounded("tail_and_auroc"),
    "? AUROC, smoothed": smoothed("auroc_held_out"),
}


class Task(NamedTuple):
    """One audited run."""

    name: str
    kind: str  # "semantic", "defects" or "planted"
    group: str  # training-set fingerprint
    audit: Audit
    trust: dict[str, Any]
    rule: str
    seconds: dict[str, float]  # rule -> of all members' losses

    @property
    def regret(self) -> float:
        """Of the default rule's pick, across families."""
        return self.audit.across.oracle - self.audit.across.picks[self.rule]


def read(paths: list[Path], semantic: str) -> list[Task]:
    """Audits every run below the paths."""
    out = []
    for path in run.below(paths):
        result, one = audit_run(path, "rules study", further=CANDIDATES)
        source = str(one.manifest["source"])
        options = "".join(f",{k}={v}" for k, v in one.manifest["options"].items())
        name = source.rstrip("/").split("/")[-1] + options
        kind = "semantic" if re.search(semantic, name) else "defects"
        kind = "planted" if source.startswith(PLANTED) else kind
        trust = json.loads((path / "pick.json").read_text())["trust"]
        group = one.manifest["train_fingerprint"]
        out.append(Task(name, kind, group, result, trust, one.rule, seconds(one.pool)))
    return out


def seconds(pool: Pool) -> dict[str, float]:
    out = {}
    known = {name: rule.loss for name, rule in rules.available(pool).items()}
    for name, loss in {**known, **CANDIDATES}.items():
        before = time.perf_counter()
        loss(pool)
        out[name] = time.perf_counter() - before
    return out


def scopes_of(tasks: list[Task], within: bool) -> tuple[list[Scope], list[str]]:
    """Scopes and training sets: one across families per task, or one per family of a task.

    Constants within a family lose its name: "always smallest" means the same in all of them.
    """
    out = []
    for task in tasks:
        if not within:
            out.append((task.audit.across, task.group))
        for family, scope in task.audit.within.items() if within else ():
            named = {k.replace(f" {family}", ""): v for k, v in scope.constants.items()}
            out.append((dataclasses.replace(scope, constants=named), task.group))
    return [one[0] for one in out], [one[1] for one in out]


def table(lines: dict[str, Line], tasks: list[Task]) -> str:
    rows = []
    for name, line in sorted(lines.items(), key=lambda item: -item[1].gain):
        rows.append(
            [
                name,
                f"{line.gain:.2f} [{line.low:.2f}, {line.high:.2f}]",
                line.regret,
                line.worst,
                line.below_random,
                line.below_constant,
                f"{line.spearman:.2f} [{line.spearman_low:.2f}, {line.spearman_high:.2f}]",
                round(line.rank, 1),
                f"{np.mean([t.seconds[name] for t in tasks]):.4f}"
                if name in tasks[0].seconds
                else "",
                *(f"{d:+.3f}, p {p:.3f}" for d, p in line.against.values()),
            ]
        )
    header = ["rule", "gain", "mean regret", "worst", "below random", "below constant", "Spearman"]
    return render([*header, "rank", "seconds", f"- {RANDOM}", f"- {REFERENCE}"], rows)


def design(tasks: list[Task], within: bool) -> list[list[object]]:
    """The best rule on one half of the training sets, on the other half; both ways round."""
    rows: list[list[object]] = []
    groups: list[str] = []
    for kind in dict.fromkeys(t.kind for t in tasks):  # every second one of each kind
        groups += dict.fromkeys(t.group for t in tasks if t.kind == kind)
    halves = [set(groups[::2]), set(groups[1::2])]
    for own, other in (halves, halves[::-1]):
        designed, _ = scopes_of([t for t in tasks if t.group in own], within)
        if not designed:
            continue
        names = [n for n in designed[0].picks if all(n in s.picks for s in designed)]
        best = max(names, key=lambda n: gain(designed, [s.picks[n] for s in designed]))
        for kind in ("all", *dict.fromkeys(t.kind for t in tasks)):
            held = [t for t in tasks if t.group in other and kind in ("all", t.kind)]
            scopes, _ = scopes_of(held, within)
            if not scopes:
                continue
            gains = [
                gain(scopes, [s.picks[n] for s in scopes]) for n in (best, held[0].rule, REFERENCE)
            ]
            labels = gain(scopes, [s.label_pick for s in scopes])
            rows.append(["within" if within else "across", best, kind, len(held), *gains, labels])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--semantic", default=SEMANTIC, help="pattern of semantic tasks")
    options = parser.parse_args()
    tasks = read(options.runs, options.semantic)
    for kind in dict.fromkeys(t.kind for t in tasks):
        some = [t for t in tasks if t.kind == kind]
        for within in (False, True):
            scopes, groups = scopes_of(some, within)
            if not scopes:
                continue
            constant, lines = compare(scopes, groups, (RANDOM, REFERENCE))
            sets = len(set(groups))
            print(
                f"\n{kind}, {'within families' if within else 'across families'}: {len(scopes)} "
                f"comparisons on {len(some)} tasks of {sets} training sets (smallest p before Holm "
                f"{smallest_p(sets):.3f}); best constant in hindsight: {constant}"
            )
            print(table(lines, some))
    real = [t for t in tasks if t.kind != "planted"]
    rows = [row for within in (False, True) for row in design(real, within)] if real else []
    if rows:
        header = ["scope", "chosen on the other half", "kind", "tasks", "its gain", "default's"]
        print("\nRules chosen on one half of the training sets, reported on the other")
        print(render([*header, REFERENCE, LABELS], rows))
    by_trust(real)


def by_trust(tasks: list[Task]) -> None:
    """Prints the default rule's regret by verdict, and what each part of the verdict says of it."""
    rows: list[list[object]] = []
    for verdict in ("high", "medium", "low"):
        some = [t for t in tasks if t.trust["verdict"] == verdict]
        if some:
            regret = [t.regret for t in some]
            scopes = [t.audit.across for t in some]
            share = gain(scopes, [s.picks[t.rule] for s, t in zip(scopes, some, strict=True)])
            random = float(np.mean([s.oracle - s.expected_random for s in scopes]))
            rows.append([verdict, len(some), float(np.mean(regret)), max(regret), random, share])
    print("\nTrust: regret of the default rule's pick, across families, by verdict")
    print(render(["verdict", "tasks", "mean regret", "worst", "regret of random", "gain"], rows))
    rows = []
    regret = np.array([t.regret for t in tasks])
    parts: dict[str, list[float]] = {
        name: [float("nan") if t.trust[name] is None else float(t.trust[name]) for t in tasks]
        for name in ("margin", "stability", "reliability", "agreement", "null")
    }
    parts["a control looks better"] = [float(bool(t.trust["control"])) for t in tasks]
    parts["verdict"] = [float("low medium high".split().index(t.trust["verdict"])) for t in tasks]
    for name, values in parts.items():
        known = np.isfinite(values)
        varied = known.sum() > 2 and np.ptp(np.array(values)[known]) > 0
        found = spearmanr(np.array(values)[known], regret[known]) if varied else None
        numbers = [float(found.statistic), float(found.pvalue)] if found else [float("nan")] * 2
        rows.append([name, int(known.sum()), *numbers])
    print("\nSpearman correlation with that regret, over tasks (not independent)")
    print(render(["part", "tasks", "correlation", "p"], rows))


if __name__ == "__main__":
    in_one_line(main)
