"""Run folders without any training: pools of drawn scores in the files that `select` writes."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ad_jax.pool import Member, Pool, View
from ad_jax.runs import run
from ad_jax.selection import rules, search
from ad_jax.store import write_arrays, write_whole
from ad_jax.train.setting import Setting, describe

FAMILIES = ("binary/quarter_turns", "binary/cutpaste", "binary/scar", "binary/gaussian_noise")
CONTROLS = ("raw_nearest_neighbour", "raw_principal_components", "untrained_encoder")
RULES = ("tail_and_auroc", "auroc_held_out", "tail_share", "score_variance", "train_loss", "random")


def seen(pool, scores, held_out=None):
    """The pool as if its members had seen other scores `[members, heads, n]`."""
    held_out = pool.held_out if held_out is None else pool.held_out._replace(scores=held_out)
    return replace(pool, target=pool.target._replace(scores=scores), held_out=held_out)


def drawn(settings, seeds, n, held_out, share, seed):
    """A pool of scores, and labels `[n]`; settings differ in how far anomalies stand out."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) < round(share * n)).astype(np.uint8)
    generator.shuffle(labels)
    members, shifts = [], []
    for setting in settings:
        shift = generator.uniform(0.0, 2.0)
        for s in range(seeds):
            found = Member(setting, s, "ok", float(generator.uniform(0, 0.3)), 0.9, 1.5)
            members.append(found)
            shifts.append(shift + generator.normal(0, 0.2))
    for name in CONTROLS:
        for s in range(seeds):
            members.append(
                Member(Setting("control", name, {}, 0.0, 0.0, 0.0), s, "ok", np.nan, np.nan, 0.1)
            )
            shifts.append(0.8)
    count = len(members)
    scores = generator.normal(size=(count, 1, n)).astype(np.float32)
    scores += np.array(shifts, np.float32)[:, None, None] * labels
    normals = generator.normal(size=(count, 1, held_out)).astype(np.float32)
    return Pool(tuple(members), View(scores), View(normals), np.zeros(count, int)), labels


def write(
    folder: Path,
    seed: int = 0,
    settings=None,
    seeds: int = 3,
    n: int = 60,
    held_out: int = 20,
    share: float = 0.3,
    training_set: str = "",
    names=RULES,
    told: bool = True,
    stopped: int = 0,
) -> np.ndarray:
    """Writes a run; labels are in the samples' names (`odd-…`), and returned.

    The last `stopped` settings are as a search leaves them that dropped them early.
    """
    settings = search.grid((16, 16, 1), (0.02, 0.32), FAMILIES) if settings is None else settings
    pool, labels = drawn(settings, seeds, n, held_out, share, seed)
    late = {s.key for s in pool.settings[len(pool.settings) - stopped :]}
    members = [m._replace(status="stopped") if m.setting.key in late else m for m in pool.members]
    pool = replace(pool, members=tuple(members))
    member_losses = {name: rules.get(name).loss(pool) for name in names}
    losses = {name: rules.by_setting(pool, v) for name, v in member_losses.items()}
    rule = names[0]
    pick = min(pool.settings, key=lambda s: losses[rule][s.key])
    rows = [
        {
            **describe(m.setting),
            "seed": m.seed,
            "status": m.status,
            "train_loss": m.train_loss,
            "discrimination": m.discrimination,
            "seconds": m.seconds,
            **{f"loss.{k}": float(v[i]) for k, v in member_losses.items()},
        }
        for i, m in enumerate(pool.members)
    ]
    own, _ = pool.own_scores()
    write_arrays(
        folder / "scores.npz",
        {
            "scores": pool.scores,
            "held_out": pool.held_out_scores,
            "default_head": pool.default_head,
            "pick": own[pool.rows(pick)].mean(0),
            "brightness": np.linspace(0, 1, n),
        },
    )
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(k for row in rows for k in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "members.csv", out.getvalue().encode())
    lines = [f"{i},{'odd' if label else 'plain'}-{i}" for i, label in enumerate(labels)]
    write_whole(folder / "samples.csv", "\n".join(["row,name", *lines]).encode())
    trust = {"margin": 1.2, "untrained": [], "control": "", "reasons": ["runner-up close"]}
    if told:
        trust |= {"verdict": "medium", "stability": 0.7, "reliability": None, "null": 0.01}
    advice = {"name": "poor everywhere", "found": False, "value": None, "limit": 0.05}
    about = {
        "rule": rule,
        "setting": pick._asdict(),
        "members": pool.rows(pick),
        "losses": {
            name: {key: v if np.isfinite(v) else None for key, v in by_key.items()}
            for name, by_key in losses.items()
        },
        "trust": trust,
        **({"signatures": [{**advice, "advice": "<nothing> & nobody"}]} if told else {}),
    }
    write_whole(folder / "pick.json", json.dumps(about).encode())
    manifest = {
        **({"command": "ad-jax select nowhere"} if told else {}),
        "versions": {"ad_jax": "0.1.0"},
        "source": f"nowhere/task-{seed}",
        "options": {"size": 16},
        "config": {"steps": 8, "width": 8, "backbone": "encoder", "root": 0},
        "seeds": list(range(seeds)),
        "fingerprint": f"{seed:064d}",
        "train_fingerprint": training_set or f"set-{seed}",
        "samples": {"train": 100, "target": n},
        "duplicates": {"exact": 0, "near": 0},
        "device": "cpu x 1",
        "written": "2026-01-01T00:00:00+00:00",
        "cost": {
            "done": len(settings) * seeds,
            "total": len(settings) * seeds,
            "skipped": 0,
            "member_steps": 8 * len(settings) * seeds,
            "seconds": 9.0,
            "compile_seconds": 4.0,
            "compilations": 1,
            "left": 0.0,
        },
        "label_access": [],
    }
    write_whole(folder / run.MANIFEST, json.dumps(manifest).encode())
    return labels


def write_labels(path: Path, folders) -> Path:
    """A file of labels for runs whose samples share their names' meaning."""
    names = set()
    for folder in folders:
        with open(folder / "samples.csv", newline="") as file:
            names |= {row["name"] for row in csv.DictReader(file)}
    lines = [f"{name},{int(name.startswith('odd'))}" for name in sorted(names)]
    path.write_text("\n".join(["name,label", *lines]))
    return path
