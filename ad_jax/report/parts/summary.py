"""The choice in plain words, from what labels do not touch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ad_jax.report.parts.task import Task
from ad_jax.selection.trust import decisive

SEVERAL = 4  # tasks from which on they are summed up instead of told one by one
NAMED = 5


def first_names(names: Sequence[str], mark: str = ", ") -> str:
    """Names for a sentence, the first `NAMED` and how many more.

    >>> first_names(list("abcdefg"))
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return mark.join(names[:NAMED]) + more


def words(tasks: Sequence[Task]) -> list[str]:
    """What was tried and picked, and how far the pool itself supports it."""
    if len(tasks) < SEVERAL:
        return [_told(task) for task in tasks]
    picked = Counter(t.run.pick.family for t in tasks)
    verdicts = Counter(t.run.trust.get("verdict", "not told") for t in tasks)
    sets = len({t.run.manifest["train_fingerprint"] for t in tasks})
    members = {t.run.manifest["train_fingerprint"]: len(t.run.pool.members) for t in tasks}
    rules = " and ".join(sorted({t.run.rule for t in tasks}))
    lines = [
        f"{len(tasks)} tasks of {sets} training sets, {sum(members.values())} members (trainings "
        f"and controls). Without labels, {rules} picked "
        + ", ".join(f"{family} on {n}" for family, n in picked.most_common(6))
        + (" and others." if len(picked) > 6 else "."),
        "Trust, without labels: "
        + ", ".join(f"{word} on {n}" for word, n in verdicts.most_common())
        + ".",
    ]
    better = [t.name for t in tasks if t.run.trust.get("control")]
    if better:
        lines.append(
            f"On {len(better)} of {len(tasks)} tasks a control that learned nothing looks better "
            f"by the same rule: {first_names(better)}."
        )
    return lines


def _told(task: Task) -> str:
    run, pool, trust = task.run, task.run.pool, task.run.trust
    families, seeds = len({s.family for s in pool.settings}), len(run.manifest["seeds"])
    lines = [
        f"{task.name}: of {len(pool.settings)} settings of {families} "
        f"{'family' if families == 1 else 'families'}, trained with "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} each, {run.rule} picked {run.pick.label}, "
        "without labels."
    ]
    if pool.stopped:
        lines.append(f"The search stopped {len(pool.stopped)} of them early.")
    if trust.get("verdict"):
        why = decisive(trust.get("reasons", ()))
        lines.append(f"Trust in this pick is {trust['verdict']}{': ' if why else ''}{why}.")
    if trust.get("control"):
        control = trust["control"].replace("_", " ").capitalize()
        lines.append(f"{control}, a control that learned nothing, looks better by the same rule.")
    signatures = [entry["name"] for entry in run.signatures if entry["found"]]
    if signatures:
        lines.append(f"Failure signatures: {', '.join(signatures)}.")
    if task.traced is not None:
        about = task.traced.about
        lines.append(
            f"{about['augmentation'].capitalize()} was tuned by gradient from "
            f"{len(about['starts'])} starts."
        )
    return " ".join(lines)
