"""Every label-free rule on the development tasks: which deserves trust?

Reads runs of the shelf, judges their pools by today's rules and trust (a run that an earlier
version wrote may come to another pick), and prints, for semantic tasks (`--semantic PATTERN`), for
the others, and for planted ones, across families and within them:

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

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import spearmanr

from ad_jax.base import ranks
from ad_jax.evaluate import Audit, Scope, audit_run, gain
from ad_jax.evaluate.comparison import LABELS, RANDOM, Line, compare, smallest_p
from ad_jax.pool import Pool
from ad_jax.runs import run
from ad_jax.selection import rules
from experiments.result import Cell, Result, Table
from experiments.study import PARTS, SHELF, Options, Study, shelf
from experiments.tasks import folders_below, kind_of

PLANTED = "planted"
REFERENCE = "dsv_code"
HALVES = 100  # pairs of halves that rules are chosen on
VERDICTS = ("low", "medium", "high")
Loss = Callable[[Pool], np.ndarray]


def on_scores(loss: Callable[[np.ndarray, np.ndarray], float]) -> Loss:
    """A rule from its loss of one member's scores, of held-out normals and of the target."""

    def of_pool(pool: Pool) -> np.ndarray:
        target, held_out = pool.own_scores()
        out = np.full(len(target), np.inf)
        for i, (one, normal) in enumerate(zip(target, held_out, strict=True)):
            if np.isfinite(one).all() and np.isfinite(normal).all():
                out[i] = loss(normal, one)
        return out

    return of_pool


@on_scores
def mean_surprise(normal: np.ndarray, target: np.ndarray) -> float:
    """Minus the mean conformal surprise of the target: counts how far samples stand out, too."""
    return -float(np.mean(-np.log(ranks.p_values(normal, target))))


@on_scores
def partial_auroc(normal: np.ndarray, target: np.ndarray) -> float:
    """Minus the mean share of the target above each of the highest quarter of held-out normals."""
    top = np.sort(normal)[-max(1, round(0.25 * len(normal))) :]
    return -float((target[:, None] > top[None]).mean())


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

    task: str
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


def read(options: Options) -> list[Task]:
    """Audits every run below the paths."""
    out = []
    for path in folders_below(options.runs):
        result, one = audit_run(path, "rules study", further=CANDIDATES, anew=True)
        planted = one.manifest["source"].startswith(PLANTED)
        kind = PLANTED if planted else kind_of(one.manifest, options.semantic)
        about = run.name_of(one.manifest), kind, one.manifest["train_fingerprint"]
        out.append(Task(*about, result, one.trust, one.rule, seconds(one.pool)))
    return out


def seconds(pool: Pool) -> dict[str, float]:
    out = {}
    known = {name: rule.loss for name, rule in rules.available(pool).items()}
    for name, loss in {**known, **CANDIDATES}.items():
        before = time.perf_counter()
        loss(pool)
        out[name] = time.perf_counter() - before
    return out


def scopes_of(tasks: Sequence[Task], within: bool) -> tuple[list[Scope], list[str]]:
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


def table(lines: dict[str, Line], tasks: Sequence[Task]) -> Table:
    rows: list[list[Cell]] = []
    for name, line in sorted(lines.items(), key=lambda item: -item[1].gain.value):
        known = name in tasks[0].seconds
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
                f"{np.mean([t.seconds[name] for t in tasks]):.4f}" if known else "",
                *(f"{d:+.3f}, p {p:.3f}" for d, p in line.against.values()),
            ]
        )
    header = ["rule", "gain", "mean regret", "worst", "below random", "below constant", "Spearman"]
    return Table([*header, "rank", "seconds", f"- {RANDOM}", f"- {REFERENCE}"], rows)


def compared(tasks: Sequence[Task]) -> list[Table | str]:
    """Every rule, by kind of task, across families and within them."""
    blocks: list[Table | str] = []
    for kind in dict.fromkeys(t.kind for t in tasks):
        some = [t for t in tasks if t.kind == kind]
        for within in (False, True):
            scopes, groups = scopes_of(some, within)
            if not scopes:
                continue
            constant, lines = compare(scopes, groups, (RANDOM, REFERENCE))
            most = max(n for line in lines.values() for n in line.differing.values())
            of_sets = f"{len(some)} tasks of {len(set(groups))} training sets"
            blocks += [
                f"\n{kind}, {'within families' if within else 'across families'}: {len(scopes)} "
                f"comparisons on {of_sets} (smallest p before Holm {smallest_p(most):.2g}); best "
                f"constant in hindsight: {constant}",
                table(lines, some),
            ]
    return blocks


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


def blocks_of(tasks: Sequence[Task]) -> tuple[list[str], list[Block]]:
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


def design(tasks: Sequence[Task]) -> list[Table | str]:
    """What the rule that is best on one half of the training sets does on the other."""
    names, blocks = blocks_of(tasks)
    sets = [
        sorted({t.group for t in tasks if t.kind == k})
        for k in dict.fromkeys(t.kind for t in tasks)
    ]
    if min(map(len, sets)) < 2:
        return ["\nToo few training sets to choose a rule on one half of them"]
    shown = [tasks[0].rule, REFERENCE, LABELS]
    chosen, values = halves(names, blocks, sets, shown)
    rows: list[list[Cell]] = []
    for i, block in enumerate(blocks):
        low, high = np.quantile(values[:, i], [0.1, 0.9], axis=0)
        means = values[:, i].mean(0)
        cells = [f"{m:.2f} [{a:.2f}, {b:.2f}]" for m, a, b in zip(means, low, high, strict=True)]
        rows.append([block.name, *cells])
    counts = sorted(((chosen.count(n), n) for n in set(chosen)), reverse=True)
    everything = {g for some in sets for g in some}
    gains = np.array([block.gain(everything) for block in blocks])
    best = np.argsort(-gains.min(0))[:8]
    return [
        "\nRules chosen on one half of the training sets: gain on the other, mean of "
        f"{len(values)}",
        "halves and the range of 80 % of them",
        Table(["", "the chosen one", f"default, {shown[0]}", *shown[1:]], rows),
        "chosen: " + ", ".join(f"{name} {count}" for count, name in counts),
        "\nLowest of the four gains on all training sets (this choice has seen them all)",
        Table(
            ["rule", "lowest", *(b.name for b in blocks)],
            [[names[i], *(float(v) for v in (gains[:, i].min(), *gains[:, i]))] for i in best],
        ),
    ]


def halves(
    names: list[str], blocks: list[Block], sets: list[list[str]], shown: list[str]
) -> tuple[list[str], np.ndarray]:
    """Rules chosen on halves, and gains on the others `[halves, blocks, (chosen, *shown)]`."""
    generator = np.random.default_rng(0)
    everything = {g for some in sets for g in some}
    chosen: list[str] = []
    found: list[np.ndarray] = []
    for _ in range(HALVES):
        one: set[str] = set()
        for some in sets:
            one |= {str(g) for g in generator.permutation(some)[: len(some) // 2]}
        other = everything - one
        for mine, rest in ((one, other), (other, one)):
            lowest = np.min([block.gain(mine)[:-1] for block in blocks], axis=0)
            best = int(np.argmax(lowest))
            chosen.append(names[best])
            columns = [best, *(names.index(name) for name in shown)]
            found.append(np.array([block.gain(rest)[columns] for block in blocks]))
    return chosen, np.array(found)


def by_trust(tasks: Sequence[Task]) -> list[Table | str]:
    """The default rule's regret by verdict, and what each part of the verdict says of it."""
    rows: list[list[Cell]] = []
    for verdict in VERDICTS[::-1]:
        some = [t for t in tasks if t.trust["verdict"] == verdict]
        if some:
            scopes = [t.audit.across for t in some]
            random = [s.oracle - s.expected_random for s in scopes]
            whole = [t.whole_regret for t in some]
            means = [float(np.mean(v)) for v in ([t.regret for t in some], random, whole)]
            share = gain(scopes, [t.picked for t in some])
            rows.append([verdict, len(some), *means, max(whole), share])
    flagged = [t.control > t.picked for t in tasks if t.trust["control"]]
    silent = [t.control > t.picked for t in tasks if not t.trust["control"]]
    parts = {
        name: [float(t.trust[name]) for t in tasks]
        for name in ("margin", "stability", "reliability", "agreement", "null")
    }
    parts["verdict"] = [float(VERDICTS.index(t.trust["verdict"])) for t in tasks]
    regrets = ([t.regret for t in tasks], [t.whole_regret for t in tasks])
    correlations: list[list[Cell]] = []
    for name, column in parts.items():
        values = np.array(column)
        known = np.isfinite(values)
        line: list[Cell] = [name, int(known.sum())]
        for regret in regrets:
            if known.sum() < 3 or np.ptp(values[known]) == 0:
                line.append(None)
                continue
            found = spearmanr(values[known], np.array(regret)[known])
            line.append(f"{found.statistic:+.2f}, p {found.pvalue:.3f}")
        correlations.append(line)
    best = "to the best of settings and controls"
    header = ["verdict", "tasks", "mean regret", "of random", best, "worst of these", "gain"]
    return [
        "\nTrust: regret of the default rule's pick, across families, by verdict",
        Table(header, rows),
        f'\n"a control looks better": said of {len(flagged)} tasks, true of {sum(flagged)}; '
        f"not said of {len(silent)}, true of {sum(silent)}",
        "\nSpearman correlation with these regrets, over tasks (not independent)",
        Table(["part", "tasks", "regret", "to settings and controls"], correlations),
    ]


def result(options: Options) -> Result:
    tasks = read(options)
    real = [t for t in tasks if t.kind != PLANTED]
    return Result([*compared(tasks), *(design(real) + by_trust(real) if real else ())])


STUDY = Study(result, runs=(SHELF,), needs=shelf(*PARTS), reported=True)
