"""What the words of a report mean."""

from __future__ import annotations

from collections.abc import Sequence

from ad_jax.report.page import Column, Fold, Section, Table
from ad_jax.report.page.content import Cell
from ad_jax.report.parts.task import Task
from ad_jax.selection import rules

WORDS = {
    "task": "normals to learn from, and a target",
    "target": "samples without labels, some of which may be anomalies",
    "training set": "the normals of a task; tasks may share them, and then count as one in tests",
    "setting": "what is trained to tell (the pretext), an augmentation, and how strong it is",
    "family": "settings that share pretext and augmentation",
    "seed": "start of a training's random numbers: the same setting is trained with several",
    "member": "a setting trained with one seed, or a control",
    "learned nothing": "a training that never told its augmented normals from normals",
    "stopped": "a setting that a search dropped before the last step: neither picked nor compared",
    "control": "something that needs no training: raw pixels, an untrained network, brightness",
    "loss": "what a rule says of a setting without labels; lower is better",
    "rule": "how losses follow from what members see in normals and target",
    "pick": "the setting of the lowest loss; its detector joins all its seeds",
    "trust": "how far the pick can be relied on, judged without labels",
    "AUROC": "chance that an anomaly has a higher score than a normal: 1 is perfect, 0.5 is blind",
    "AP": "average precision: mean share of anomalies above each anomaly; blind is their share",
    "random": "what a setting drawn blindly would have: the mean over settings",
    "oracle": "the best setting by the very labels it is judged on: nobody can pick it honestly",
    "label pick": "the best setting by labels on the other seeds",
    "regret": "oracle minus pick, in AUROC",
    "gain": "(pick − random) / (oracle − random): 1 is the oracle, 0 is chance",
    "apparent, honest": "chosen and reported on the same labels; chosen on one half of the target "
    "and reported on the other",
    "[low, high]": "95 % interval; over what stands with the column. None where fewer than three "
    "seeds or training sets are known",
}


def words(tasks: Sequence[Task]) -> Section:
    """The section: words, and the rules that picked."""
    rows: list[list[Cell]] = [[word, meaning] for word, meaning in WORDS.items()]
    for name in sorted({task.run.rule for task in tasks} & set(rules.RULES)):
        rows.append([name, f"the rule {rules.get(name).about}"])
    table = Table("Words", [Column("word"), Column("meaning")], rows)
    return Section("words", "Words", [Fold("What the words mean", [table])])
