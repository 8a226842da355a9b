"""The choice in plain words, from what labels do not touch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ad_jax.report.parts.task import Task

SEVERAL = 4  # tasks from which on they are summed up instead of told one by one
NAMED = 5


def some(names: Sequence[str], mark: str = ", ") -> str:
    """Names for a sentence, the first `NAMED` and how many more.

    >>> some(list("abcdefg"))
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
            f"by the same rule: {some(better)}."
        )
    return lines


def _told(task: Task) -> str:
    run, pool = task.run, task.run.pool
    families = len({s.family for s in pool.settings})
    trust = run.trust
    told = (
        f"{task.name}: of {len(pool.settings)} settings of {families} "
        f"{'family' if families == 1 else 'families'}, trained with "
        f"{len(run.manifest['seeds'])} seeds each, {run.rule} picked {run.pick.label}, without "
        "labels. "
    )
    if pool.stopped:
        told += f"The search stopped {len(pool.stopped)} of them early. "
    if trust.get("verdict"):
        told += f"Trust in this pick is {trust['verdict']}. "
    if trust.get("control"):
        told += f"{trust['control'].replace('_', ' ').capitalize()}, a control that learned "
        told += "nothing, looks better by the same rule. "
    found = [one["name"] for one in run.signatures if one["found"]]
    if found:
        told += f"Failure signatures: {', '.join(found)}. "
    if task.traced is not None:
        told += f"{task.traced.about['augmentation'].capitalize()} was tuned by gradient from "
        told += f"{len(task.traced.about['starts'])} starts. "
    return told.rstrip()
