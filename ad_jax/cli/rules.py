"""`ad-jax rules`: every rule on the scores of any detectors."""

from __future__ import annotations

import argparse
from pathlib import Path

from ad_jax.base.json_text import json_text
from ad_jax.cli.common import Adder


def add(adder: Adder) -> None:
    """Adds the command with `adder(name, function, about, examples)`."""
    one = adder(
        "rules",
        rules,
        "what would every rule pick from the scores of any detectors?",
        (
            "ad-jax rules scores.csv --held-out normals.csv",
            "ad-jax rules scores.npz --labels labels.csv --out runs/rules",
        ),
    )
    one.add_argument("file", help=".npz with `scores` [members, samples], or CSV, a row per member")
    one.add_argument("--held-out", help="scores of held-out normals, in a file of either kind")
    one.add_argument("--labels", help="CSV with columns name,label, or one label per line: audit")
    one.add_argument("--out", help="folder for rules.csv and losses.csv")


def rules(arguments: argparse.Namespace) -> None:
    from ad_jax import evaluate
    from ad_jax.pool import Pool
    from ad_jax.pool import external as foreign
    from ad_jax.report import shelf as report

    pool = Pool.from_scores(**foreign.read(arguments.file, arguments.held_out))
    found = report.shelf(pool)
    shape = (len(pool.members), pool.scores.shape[-1])
    audited = None
    if arguments.labels:
        truth = evaluate.labels_file(arguments.labels, shape, foreign.sample_names(arguments.file))
        audited = evaluate.audit_pool(pool, found.losses, truth, "ad-jax rules")
    auroc = audited.picks if audited else None
    if arguments.out:
        report.write(Path(arguments.out), pool, found, auroc)
    about = {
        "members": shape[0],
        "settings": len(pool.settings),
        "samples": shape[1],
        "held_out": pool.held_out_scores.shape[-1],
    }
    if arguments.json:
        told = {**about, **report.as_json(found)}
        if audited:
            known = {k: v for k, v in audited.spearman.items() if v == v}  # NaN is no JSON
            told["audit"] = audited._replace(spearman=known)._asdict()
        print(json_text(told))
        return
    print(", ".join(f"{count} {name.replace('_', '-')}" for name, count in about.items()) + "\n")
    print(report.table(found, auroc))
    if audited:
        print(
            f"\nlabels of {arguments.labels} opened: {100 * audited.share:.1f} % anomalies, AUROC "
            f"of the oracle {audited.oracle:.3f} ({audited.best}), expected of a random setting "
            f"{audited.expected_random:.3f}"
        )
