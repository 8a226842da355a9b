"""What a run will train, written before it starts, and how far it is: the plan, and its status."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ad_jax.base import ranks
from ad_jax.base.errors import InputError, of_machine
from ad_jax.base.json_text import json_text
from ad_jax.data import Problem
from ad_jax.pool import Pool, View
from ad_jax.pool.chunks import Shard
from ad_jax.pool.rows import Data, Ledger, gatherer, names
from ad_jax.pool.sweep import Progress
from ad_jax.runs.run import Run, refuse_other_config
from ad_jax.selection import search
from ad_jax.selection.selection import judge
from ad_jax.store import Record, write_whole
from ad_jax.train.setting import Config, Setting

PLAN = "plan.json"
FORMAT = 2  # 1 had one config for all sources
SILENT = 5.0  # a worker is gone after so many of its chunks' time without a line
PATIENCE = 120.0  # seconds, at least
RECENT = 20  # chunks of a worker whose speed counts


class Part(NamedTuple):
    """One training set of a run.

    Attributes:
      sources: what was given on the command line -> the problem.
      targets: all problems that are measured, a second set included.
      settings, seeds: the members; config: of their trainings.
    """

    sources: Mapping[str, Problem]
    targets: Sequence[Problem]
    settings: Sequence[Setting]
    seeds: Sequence[int]
    config: Config


class Status(NamedTuple):
    """How far a run is; a member of halving counts once per stage.

    Attributes:
      total, done, failed, left: members; `left` is neither done nor failed.
      damaged: files of the record whose head does not read.
      workers: that wrote a line lately.
      rate: members a minute of these workers, else of all that ever wrote; None if none did.
      minutes_left: None unless workers are at it.
    """

    total: int
    done: int
    failed: int
    left: int
    damaged: int
    workers: int
    rate: float | None
    minutes_left: float | None


def shard(text: str | None) -> Shard | None:
    """`i/n`, i from 1 to n.

    >>> shard("2/4")
    Shard(number=2, workers=4)

    Raises:
      InputError: anything else.
    """
    if text is None:
        return None
    number, slash, count = text.partition("/")
    try:
        found = Shard(int(number), int(count))
        if slash and 1 <= found.number <= found.workers:
            return found
    except ValueError:
        pass
    raise InputError(f"--shard {text!r} is no I/N with I from 1 to N; take 1/4 … 4/4 for four")


def write(folder: Path, parts: Sequence[Part], searched: str, record: str | None) -> None:
    """Writes `plan.json`; the last one stands.

    Raises:
      InputError: the folder holds a plan for other data or another training.
    """
    problems = {text: p.fingerprint for part in parts for text, p in part.sources.items()}
    configs = {text: part.config for part in parts for text in part.sources}
    _refuse_changes(folder, problems, configs)
    members, total = [], 0
    for part in parts:
        config = part.config
        stops = [config.steps] if searched == "all" else search.stops(config.steps)
        data = Data.of(part.targets)
        counts = search.stage_sizes(searched, len(part.settings))
        total += sum(counts) * len(part.seeds)
        for stop in stops:
            for setting in part.settings:
                for seed in part.seeds:
                    keys = names(config, data, setting, seed, stop)
                    members.append([keys.made, *keys.seen])
    if record is not None and "://" not in record:
        record = str(Path(record).resolve())
    plan = {
        "format": FORMAT,
        "record": record,
        "search": searched,
        "configs": {text: config._asdict() for text, config in configs.items()},
        "problems": problems,
        "total": total,
        "members": members,
    }
    write_whole(folder / PLAN, json_text(plan).encode())


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / PLAN
    if not path.exists():
        return None
    try:
        plan = json.loads(path.read_text("utf-8"))
        form = plan["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if of_machine(error):
            raise
        raise InputError(f"{path} does not read ({error}); remove it and select again") from None
    if form == 1:
        plan["configs"] = dict.fromkeys(plan["problems"], plan["config"])
    if form > FORMAT:
        raise InputError(
            f"{path} was written by a newer ad_jax (format {form}, this one reads {FORMAT}); "
            "upgrade, or choose another --out"
        )
    return plan


def _refuse_changes(
    folder: Path, problems: Mapping[str, str], configs: Mapping[str, Config]
) -> None:
    plan = _read(folder)
    if plan is None:
        return
    before, earlier = plan["problems"], plan["configs"]
    if len(before) == len(problems) == 1:  # one source under another name
        before = dict.fromkeys(problems, *before.values())
        earlier = dict.fromkeys(problems, *earlier.values())
    shared = [text for text in problems if text in before]
    for text in shared:
        if before[text] != problems[text]:
            raise InputError(
                f"{folder} was begun on other data of {text} (fingerprint {before[text][:12]}, now "
                f"{problems[text][:12]}); choose another --out"
            )
        refuse_other_config(folder, earlier[text], configs[text])


def record_of(folder: Path) -> str:
    """Where a run's record lies.

    Raises:
      InputError: no plan there.
    """
    plan = _read(folder)
    if plan is None:
        raise InputError(f"{folder} holds no {PLAN}; give the --out of an `ad-jax select`")
    return plan["record"] or str(folder / "record")


def ledger(folder: Path, manifest: Mapping[str, Any]) -> Ledger:
    """What the record of a run holds of its members: networks and alignment parts, too.

    Args:
      folder: of one problem's run; the plan lies there or, of several problems, one level up.
      manifest: of the run.

    Raises:
      InputError: no plan there.
    """
    top = folder if (folder / PLAN).is_file() else folder.parent
    data = Data(manifest["train_fingerprint"], (manifest["fingerprint"],))
    return Ledger(Record(record_of(top)), Config(**manifest["config"]), data)


def whole_pool(folder: Path, one: Run) -> Pool:
    """A run's pool with what its record knows of alignment, so that rules can be computed anew.

    Args:
      folder: of the run; `one` is what `run.read` found there.

    Raises:
      InputError: no plan there, or members that the record lacks.
    """
    known = ledger(folder, one.manifest)
    flat = []
    trained = [m for m in one.pool.members if m.setting.pretext != "control"]
    steps = known.config.steps
    early = [stop for stop in reversed(search.stops(steps)) if stop < steps]
    for member in trained:
        asked = early if member.status == "stopped" else [steps]  # its last stage
        found = (known.get((member.setting, member.seed), stop, False) for stop in asked)
        row = next((one for one in found if one is not None and one.seen), None)
        if row is None:
            raise InputError(
                f"the record of {folder} lacks {member.setting.label}, seed {member.seed}; select "
                "again"
            )
        flat.append({**row.made, **row.seen[0]})
    gather = gatherer(flat, len(one.pool.members) - len(trained))
    target, held_out = (View.of_fields(gather, prefix) for prefix in ("", "held_out_"))
    return replace(
        one.pool,
        target=one.pool.target._replace(alignment=target.alignment),
        held_out=one.pool.held_out._replace(alignment=held_out.alignment),
    )


def judged_anew(folder: Path, one: Run) -> Run:
    """A run as today's rules and trust judge its pool; nothing is trained, opened or written.

    Losses, pick, trust and failure signatures are computed from what the run's folder and record
    hold; a run that was written by an earlier version may come to another pick. The signature of a
    second set is left out, as runs do not keep that.

    Args:
      folder: of the run; `one` is what `run.read` found there.

    Raises:
      InputError: no plan there, members that the record lacks, or nothing to pick.
    """
    spent = {name: one.manifest["cost"][name] for name in Progress._fields}
    found = judge(whole_pool(folder, one), one.rule, Progress(**spent))
    rows = found.pool.rows(found.pick, trained=True)
    target, held_out = (scores[rows] for scores in found.pool.own_scores())
    same = found.pick == one.pick
    return one._replace(
        pool=found.pool,
        losses=found.losses,
        member_losses=found.member_losses,
        pick=found.pick,
        trust=found.trust._asdict(),
        signatures=[signature._asdict() for signature in found.signatures],
        pick_scores=one.pick_scores
        if same
        else np.asarray(jax.vmap(ranks.surprise)(held_out, target)).mean(0),
    )


def status(folder: Path) -> Status:
    """How far a run is, from its plan and its record; it may be going on.

    Raises:
      InputError: no plan there.
    """
    record = Record(record_of(folder))
    plan = _read(folder)
    assert plan is not None
    raised = record.failed()
    done = failed = 0
    keys = set()
    for made, *seen in plan["members"]:
        keys.add(made)
        done += record.has(made) and all(map(record.has, seen))
        failed += made in raised
    left = max(0, plan["total"] - done - failed)
    workers, rate = _speed(record, keys)
    return Status(
        plan["total"],
        done,
        failed,
        left,
        len(record.damaged),
        workers,
        None if rate is None else 60.0 * rate,
        left / rate / 60.0 if rate and workers else 0.0 if not left else None,
    )


def _is_work(line: Mapping[str, Any]) -> bool:
    """Whether a worker wrote it of members that it finished: anyone may write into a log."""
    try:
        datetime.fromisoformat(line["time"])
        known = all(isinstance(key, str) for key in [line["worker"], *line["keys"]])
        return known and line["members"] > 0 and line["seconds"] >= 0
    except (KeyError, TypeError, ValueError):
        return False


def _speed(record: Record, keys: set[str]) -> tuple[int, float | None]:
    """Workers at it, and members a second."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in record.logs():
        if _is_work(line) and not keys.isdisjoint(line["keys"]):
            recent = lines.setdefault(line["worker"], [])
            recent.append(line)
            del recent[:-RECENT]
    active, speeds = 0, {}
    for worker, recent in lines.items():
        seconds = [max(line["seconds"], 1e-3) for line in recent]
        speeds[worker] = sum(line["members"] for line in recent) / sum(seconds)
        silence = time.time() - datetime.fromisoformat(recent[-1]["time"]).timestamp()
        if silence < max(PATIENCE, SILENT * statistics.mean(seconds)):
            active += 1
        else:
            speeds[worker] = math.copysign(speeds[worker], -1)  # not counted while others work
    if not speeds:
        return 0, None
    going = [speed for speed in speeds.values() if speed > 0]
    return active, sum(going) if going else statistics.mean(map(abs, speeds.values()))
