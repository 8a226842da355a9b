"""Every label-free rule on the development tasks: which deserves trust?

    for part in textures bottle cookie tile fashion digits; do
      ad-jax select --config experiments/configs/shelf.py:$part --out runs/shelf/$part
    done
    python experiments/studies/rules.py runs/shelf

Reads runs, judges their pools by today's rules and trust (a run that an earlier version wrote may
come to another pick), opens their labels, logs it, and prints, for semantic tasks (`--semantic
PATTERN`), for the others, and for planted ones, across families and within them:

1. every rule: regret, gain, share below random and below the best constant, Spearman, rank, and
   Wilcoxon's test over training sets against random and DSV, adjusted by Holm;
2. rule design, cross-checked: the rule that does best on one half of the training sets, reported on
   the other, both ways round, over many halves (drawn within each kind of task); best is the
   highest of the lowest gains over the four kinds of comparison (across and within families, of
   semantic tasks and of the others), so that no rule is chosen that shines on one kind alone;
3. trust: regret of the default rule's pick by verdict and by every part of it.

Beside the registry's rules it judges CANDIDATES, rules of our own that are not in it: a candidate
has to win on halves of the training sets that did not choose it before it may move there.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from ad_jax.base import ranks
from ad_jax.base.errors import in_one_line
from ad_jax.evaluate import Audit, Scope, audit_run, gain
from ad_jax.evaluate.comparison import LABELS, RANDOM, Line, compare, smallest_p
from ad_jax.pool import Pool
from ad_jax.report.table import render
from ad_jax.runs import run
from ad_jax.selection import rules

SHELF = runpy.run_path(str(Path(__file__).parent.parent / "configs" / "shelf.py"))
SEMANTIC = SHELF["SEMANTIC"]
PLANTED = "planted"
REFERENCE = "dsv_code"
HALVES = 100  # pairs of halves that rules are chosen on
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
        return self.audit.across.oracle - self.picked

    @property
    def picked(self) -> float:
        return self.audit.across.picks[self.rule]

    @property
    def control(self) -> float:
        """AUROC of the best control member, in hindsight."""
        return max(v for name, v in self.audit.baselines.items() if "brightness" not in name)

    @property
    def whole_regret(self) -> float:
        """To the best of all settings and control members: what trust is about."""
        return max(self.audit.across.oracle, self.control) - self.picked


def read(paths: list[Path], semantic: str) -> list[Task]:
    """Audits every run below the paths."""
    out = []
    for path in run.below(paths):
        result, one = audit_run(path, "rules study", further=CANDIDATES, anew=True)
        name = run.name_of(one.manifest)
        kind = "semantic" if re.search(semantic, name) else "defects"
        kind = "planted" if one.manifest["source"].startswith(PLANTED) else kind
        group = one.manifest["train_fingerprint"]
        took = seconds(one.pool)
        out.append(Task(name, kind, group, result, one.trust, one.rule, took))
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
    for name, line in sorted(lines.items(), key=lambda item: -item[1].gain.value):
        rows.append(
            [
                name,
                "{:.2f} [{:.2f}, {:.2f}]".format(*line.gain),
                line.regret,
                line.worst,
                line.below_random,
                line.below_constant,
                "{:.2f} [{:.2f}, {:.2f}]".format(*line.spearman),
                round(line.rank, 1),
                f"{np.mean([t.seconds[name] for t in tasks]):.4f}"
                if name in tasks[0].seconds
                else "",
                *(f"{d:+.3f}, p {p:.3f}" for d, p in line.against.values()),
            ]
        )
    header = ["rule", "gain", "mean regret", "worst", "below random", "below constant", "Spearman"]
    return render([*header, "rank", "seconds", f"- {RANDOM}", f"- {REFERENCE}"], rows)


class Block(NamedTuple):
    """One kind of comparison of one kind of task: what every rule won, and what was possible."""

    name: str
    won: np.ndarray  # [rules, comparisons] pick minus expected random, AUROC
    possible: np.ndarray  # [comparisons] oracle minus expected random
    groups: np.ndarray  # [comparisons] training set

    def gain(self, some: set[str]) -> np.ndarray:
        """Gain of every rule on the comparisons of some training sets `[rules]`."""
        own = np.isin(self.groups, list(some))
        return self.won[:, own].sum(1) / self.possible[own].sum()


def blocks_of(tasks: list[Task]) -> tuple[list[str], list[Block]]:
    """Rules that all tasks know, the label pick last, and the blocks."""
    scopes = [s for t in tasks for s in (t.audit.across, *t.audit.within.values())]
    names = [name for name in scopes[0].picks if all(name in s.picks for s in scopes)]
    out = []
    for kind in dict.fromkeys(t.kind for t in tasks):
        for within in (False, True):
            some, groups = scopes_of([t for t in tasks if t.kind == kind], within)
            values = np.array([[*(s.picks[n] for n in names), s.label_pick] for s in some])
            random = np.array([s.expected_random for s in some])
            oracle = np.array([s.oracle for s in some])
            name = f"{kind}, {'within' if within else 'across'} families"
            out.append(Block(name, (values - random[:, None]).T, oracle - random, np.array(groups)))
    return [*names, LABELS], out


def design(tasks: list[Task]) -> None:
    """Prints what the rule that is best on one half of the training sets does on the other."""
    names, blocks = blocks_of(tasks)
    sets = [
        sorted({t.group for t in tasks if t.kind == k})
        for k in dict.fromkeys(t.kind for t in tasks)
    ]
    if min(map(len, sets)) < 2:
        print("\nToo few training sets to choose a rule on one half of them")
        return
    generator = np.random.default_rng(0)
    chosen: list[str] = []
    found: list[np.ndarray] = []  # per half [blocks, (chosen, default, reference, labels)]
    shown = [tasks[0].rule, REFERENCE, LABELS]
    for _ in range(HALVES):
        one: set[str] = set()
        for some in sets:
            one |= {str(g) for g in generator.permutation(some)[: len(some) // 2]}
        other = {g for some in sets for g in some} - one
        for mine, rest in ((one, other), (other, one)):
            lowest = np.min([block.gain(mine)[:-1] for block in blocks], axis=0)
            best = int(np.argmax(lowest))
            chosen.append(names[best])
            columns = [best, *(names.index(name) for name in shown)]
            found.append(np.array([block.gain(rest)[columns] for block in blocks]))
    values = np.array(found)  # [halves, blocks, 4]
    rows: list[list[object]] = []
    for i, block in enumerate(blocks):
        low, high = np.quantile(values[:, i], [0.1, 0.9], axis=0)
        means = values[:, i].mean(0)
        cells = [f"{m:.2f} [{a:.2f}, {b:.2f}]" for m, a, b in zip(means, low, high, strict=True)]
        rows.append([block.name, *cells])
    print(
        f"\nRules chosen on one half of the training sets: gain on the other, mean of {len(found)}"
    )
    print("halves and the range of 80 % of them")
    print(render(["", "the chosen one", f"default, {shown[0]}", *shown[1:]], rows))
    counts = sorted(((chosen.count(n), n) for n in set(chosen)), reverse=True)
    print("chosen: " + ", ".join(f"{name} {count}" for count, name in counts))
    everything = {g for some in sets for g in some}
    lowest = np.min([block.gain(everything) for block in blocks], axis=0)
    order = np.argsort(-lowest)[:8]
    print("\nLowest of the four gains on all training sets (this choice has seen them all)")
    table_rows = [
        [names[i], float(lowest[i]), *(float(b.gain(everything)[i]) for b in blocks)] for i in order
    ]
    print(render(["rule", "lowest", *(b.name for b in blocks)], table_rows))


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
            most = max(n for line in lines.values() for n in line.differing.values())
            print(
                f"\n{kind}, {'within families' if within else 'across families'}: {len(scopes)} "
                f"comparisons on {len(some)} tasks of {sets} training sets (smallest p before Holm "
                f"{smallest_p(most):.2g}); best constant in hindsight: {constant}"
            )
            print(table(lines, some))
    real = [t for t in tasks if t.kind != "planted"]
    if not real:
        return
    design(real)
    by_trust(real)


def by_trust(tasks: list[Task]) -> None:
    """Prints the default rule's regret by verdict, and what each part of the verdict says of it."""
    rows: list[list[object]] = []
    for verdict in ("high", "medium", "low"):
        some = [t for t in tasks if t.trust["verdict"] == verdict]
        if some:
            scopes = [t.audit.across for t in some]
            random = [s.oracle - s.expected_random for s in scopes]
            regrets = ([t.regret for t in some], random, [t.whole_regret for t in some])
            means = [float(np.mean(values)) for values in regrets]
            share = gain(scopes, [t.picked for t in some])
            rows.append([verdict, len(some), *means, max(regrets[2]), share])
    print("\nTrust: regret of the default rule's pick, across families, by verdict")
    header = [
        "verdict",
        "tasks",
        "mean regret",
        "of random",
        "to the best of settings and controls",
    ]
    print(render([*header, "worst of these", "gain"], rows))
    flagged = [t.control > t.picked for t in tasks if t.trust["control"]]
    silent = [t.control > t.picked for t in tasks if not t.trust["control"]]
    print(
        f'\n"a control looks better": said of {len(flagged)} tasks, true of {sum(flagged)}; '
        f"not said of {len(silent)}, true of {sum(silent)}"
    )
    parts: dict[str, list[float]] = {
        name: [float(t.trust[name]) for t in tasks]
        for name in ("margin", "stability", "reliability", "agreement", "null")
    }
    parts["verdict"] = [float("low medium high".split().index(t.trust["verdict"])) for t in tasks]
    rows = []
    for name, values in parts.items():
        known = np.isfinite(values)
        line: list[object] = [name, int(known.sum())]
        for regret in ([t.regret for t in tasks], [t.whole_regret for t in tasks]):
            if known.sum() < 3 or np.ptp(np.array(values)[known]) == 0:
                line.append("-")
                continue
            found = spearmanr(np.array(values)[known], np.array(regret)[known])
            line.append(f"{found.statistic:+.2f}, p {found.pvalue:.3f}")
        rows.append(line)
    print("\nSpearman correlation with these regrets, over tasks (not independent)")
    print(render(["part", "tasks", "regret", "to settings and controls"], rows))


if __name__ == "__main__":
    in_one_line(main)
