"""Train and measure many members: chunks of one family, a few compiled programs, one record.

All problems that share a training set share its trainings; finished chunks are skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax import augment as augmentations
from ad_jax import pretext as pretexts
from ad_jax.alignment import Parts
from ad_jax.controls import control_members
from ad_jax.data import Problem
from ad_jax.errors import InputError
from ad_jax.pool import HEADS, Member, Pool, Setting
from ad_jax.program import CHUNK, Config, Measured, Trained, make_program
from ad_jax.store import Record, digest
from ad_jax.train import Hyper, seed_keys

CHANCE_LOSS = 0.97  # of log(classes): above it a member is called untrained
CHANCE_AUROC = 0.55  # of held-out normals against their augmentations: below it, too


class Progress(NamedTuple):
    """Where a sweep stands; given to `report` after every chunk."""

    done: int
    total: int
    skipped: int
    seconds: float
    compile_seconds: float
    compilations: int
    left: float


class Chunk(NamedTuple):
    """Members of one family that run together."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]


def chunks(settings: Sequence[Setting], seeds: Sequence[int]) -> list[Chunk]:
    """Members in the order of settings x seeds, cut into chunks of one family each."""
    out = []
    families = dict.fromkeys(s.family for s in settings)
    for family in families:
        members = [(s, seed) for s in settings if s.family == family for seed in seeds]
        for start in range(0, len(members), CHUNK):
            some = members[start : start + CHUNK]
            out.append(Chunk(tuple(m[0] for m in some), tuple(m[1] for m in some)))
    return out


class Union(NamedTuple):
    """The targets of several problems with one training set, every sample once."""

    target: np.ndarray  # [n, h, w, c]
    rows: tuple[np.ndarray, ...]  # per problem, its samples' rows in `target`


def union(problems: Sequence[Problem]) -> Union:
    """Joins the targets.

    Raises:
      InputError: problems whose normals differ.
    """
    if len({p.train_fingerprint for p in problems}) != 1:
        raise InputError("problems of one sweep must share their normals; sweep each by itself")
    place: dict[str, int] = {}
    kept: list[np.ndarray] = []
    rows = []
    for problem in problems:
        own = []
        for sample, name in zip(problem.target, problem.sample_hashes, strict=True):
            if name not in place:
                place[name] = len(kept)
                kept.append(sample)
            own.append(place[name])
        rows.append(np.array(own))
    return Union(np.stack(kept), tuple(rows))


def check_settings(settings: Sequence[Setting], shape: tuple[int, ...]) -> None:
    """Refuses settings that cannot run on samples of `shape`, before anything is trained."""
    if not settings:
        raise InputError("no settings to try; give at least one augmentation")
    for setting in settings:
        entry = augmentations.get(setting.augmentation)
        pretexts.make(setting.pretext, setting.augmentation)
        entry.check(setting.augmentation, setting.hyper, shape)
        if entry.views is not None and shape[0] != shape[1]:
            raise InputError(f"{setting.augmentation} needs square images, got {shape}")
        if not 0.0 < setting.learning_rate <= 1.0:
            raise InputError(f"learning_rate={setting.learning_rate} is out of range; take 1e-5..1")


def pack_chunk(chunk: Chunk, families: tuple[str, ...]) -> Hyper:
    """Hyperparameters of a chunk `[CHUNK, ...]`, padded with its first member's."""
    padded = list(chunk.settings) + [chunk.settings[0]] * (CHUNK - len(chunk.settings))
    entry = augmentations.CATALOGUE[chunk.settings[0].augmentation]
    return Hyper(
        jnp.int32(families.index(chunk.settings[0].augmentation)),
        jnp.stack([entry.pack(s.hyper, augmentations.PACKED) for s in padded]),
        *(
            jnp.array([getattr(s, name) for s in padded], jnp.float32)
            for name in ("learning_rate", "weight_decay", "jitter")
        ),
    )


def stacked_folds(problem: Problem, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray, dict]:
    """Every distinct fold once: train `[f, n, ...]`, held-out `[f, m, ...]`, and seed -> fold."""
    period = 1 if problem.held_out is not None else 4
    which = sorted({seed % period for seed in seeds})
    splits = [problem.split(fold) for fold in which]
    return (
        np.stack([split.train for split in splits]),
        np.stack([split.held_out for split in splits]),
        {seed: which.index(seed % period) for seed in seeds},
    )


def status_of(loss: float, discrimination: float, classes: int, finite: bool) -> str:
    """Whether a member learned anything at all; see design, "Trained at all?"."""
    if not finite:
        return "failed"
    at_chance = loss > CHANCE_LOSS * float(np.log(classes)) or discrimination < CHANCE_AUROC
    return "untrained" if at_chance else "ok"


def sweep(
    problems: Sequence[Problem],
    settings: Sequence[Setting],
    seeds: Sequence[int],
    config: Config = Config(),
    record: Record | None = None,
    report: Callable[[Progress], None] | None = None,
) -> tuple[list[Pool], dict[str, Trained], Progress]:
    """Trains and measures all members; finished chunks are skipped.

    Args:
      problems: problems that share their normals; every training serves all of their targets.
      settings, seeds: the members are their product.
      config: static choices.
      record: where finished chunks are kept; None keeps nothing.
      report: called after every chunk.

    Returns:
      One pool per problem, what a detector needs of every member (key `Setting.key|seed`), and the
      final progress.

    Raises:
      InputError: problems or settings that cannot run.
    """
    if not seeds:
        raise InputError("no seeds; give at least one")
    shape = problems[0].shape
    check_settings(settings, shape)
    joined = union(problems)
    train, held_out, fold_of = stacked_folds(problems[0], seeds)
    weights = np.zeros((len(problems), len(joined.target)), np.float32)
    for i, rows in enumerate(joined.rows):
        np.add.at(weights[i], rows, 1.0 / len(rows))
    device = (jnp.asarray(train), jnp.asarray(held_out))
    target, weight_array = jnp.asarray(joined.target), jnp.asarray(weights)

    plan = chunks(settings, seeds)
    total = sum(len(chunk.seeds) for chunk in plan)
    compiled: dict[str, Any] = {}
    state = Progress(0, total, 0, 0.0, 0.0, 0, float("nan"))
    started = time.perf_counter()
    rows_of_results: list[tuple[Chunk, dict[str, np.ndarray]]] = []
    identity = {
        "config": config._asdict(),
        "train": problems[0].train_fingerprint,
        "targets": [p.fingerprint for p in problems],
    }
    for chunk in plan:
        name = chunk.settings[0].pretext
        families = tuple(dict.fromkeys(s.augmentation for s in settings if s.pretext == name))
        if name != "binary":  # such a program is of one family: its views are part of the network
            families = (chunk.settings[0].augmentation,)
        key = digest({**identity, "members": [[s.key, n] for s, n in zip(*chunk, strict=True)]})
        found = record.get(key) if record else None
        skipped = found is not None
        if found is None:
            pretext = pretexts.make(name, families[0])
            padding = CHUNK - len(chunk.seeds)
            padded = list(chunk.seeds) + [chunk.seeds[0]] * padding
            arguments = (
                jax.vmap(lambda seed: seed_keys(config.root, seed))(jnp.array(padded)),
                pack_chunk(chunk, families),
                jnp.arange(CHUNK) < len(chunk.seeds),
                jnp.array([fold_of[seed] for seed in padded]),
                device,
                target,
                weight_array,
            )
            program_key = f"{name}:{families}"
            if program_key not in compiled:
                before = time.perf_counter()
                program = make_program(config, shape, pretext, families)
                compiled[program_key] = jax.jit(program).lower(*arguments).compile()
                spent = time.perf_counter() - before
                state = state._replace(
                    compile_seconds=state.compile_seconds + spent,
                    compilations=state.compilations + 1,
                )
            before = time.perf_counter()
            measured = jax.block_until_ready(compiled[program_key](*arguments))
            seconds = (time.perf_counter() - before) / len(chunk.seeds)
            found = _to_arrays(measured, len(chunk.seeds), seconds, pretext.classes)
            if record:
                record.put(key, found)
        rows_of_results.append((chunk, found))
        done = state.done + len(chunk.seeds)
        skipped_members = state.skipped + (len(chunk.seeds) if skipped else 0)
        elapsed = time.perf_counter() - started
        run_now = done - skipped_members
        per_member = (elapsed - state.compile_seconds) / run_now if run_now else 0.0
        state = state._replace(
            done=done, skipped=skipped_members, seconds=elapsed, left=per_member * (total - done)
        )
        if report:
            report(state)
    controls = control_members(problems[0], joined.target, seeds, config)
    trained = {
        f"{setting.key}|{seed}": Trained(*(found[name][i] for name in Trained._fields))
        for chunk, found in rows_of_results
        for i, (setting, seed) in enumerate(zip(*chunk, strict=True))
    }
    return list(_pools(rows_of_results, controls, joined, problems)), trained, state


def _to_arrays(
    measured: Measured, count: int, seconds: float, classes: int
) -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for name, value in measured._asdict().items():
        if isinstance(value, Parts):
            for part, array in value._asdict().items():
                flat[f"{name}.{part}"] = np.asarray(array)[:count]
        else:
            flat[name] = np.asarray(value)[:count]
    flat["seconds"] = np.full(count, seconds)
    finite = np.array(
        [all(np.isfinite(array[i]).all() for array in flat.values()) for i in range(count)]
    )
    flat["classes"] = np.full(count, classes)
    flat["finite"] = finite
    return flat


def _pools(
    results: Sequence[tuple[Chunk, dict[str, np.ndarray]]],
    controls: tuple[list[Member], np.ndarray, np.ndarray],
    joined: Union,
    problems: Sequence[Problem],
) -> Iterator[Pool]:
    members, heads = [], []
    for chunk, found in results:
        for i, (setting, seed) in enumerate(zip(*chunk, strict=True)):
            loss, auc = float(found["train_loss"][i]), float(found["discrimination"][i])
            status = status_of(loss, auc, int(found["classes"][i]), bool(found["finite"][i]))
            members.append(Member(setting, seed, status, loss, auc, float(found["seconds"][i])))
            pretext = pretexts.make(setting.pretext, setting.augmentation)
            heads.append(HEADS.index(pretext.score))

    def gather(name: str) -> np.ndarray:
        return np.concatenate([found[name] for _, found in results])

    def with_controls(trained: np.ndarray, control: np.ndarray) -> np.ndarray:
        extra = np.full((len(control), *trained.shape[1:]), np.nan, trained.dtype)
        extra[:, :1] = control
        return np.concatenate([trained, extra])

    def blank_controls(trained: np.ndarray) -> np.ndarray:
        extra = np.full((len(controls[0]), *trained.shape[1:]), np.nan, trained.dtype)
        return np.concatenate([trained, extra])

    scores_of = with_controls(gather("scores"), controls[1])
    held_out = with_controls(gather("held_out_scores"), controls[2])
    for i, _ in enumerate(problems):
        rows = joined.rows[i]

        def parts(name: str, pick: np.ndarray | None) -> Parts:
            fields = {}
            for part in Parts._fields:
                array = blank_controls(gather(f"{name}.{part}"))
                fields[part] = array if pick is None or array.ndim == 1 else array[:, pick]
            return Parts(**fields)  # type: ignore[arg-type]

        yield Pool(
            tuple(members) + tuple(controls[0]),
            scores_of[:, :, rows],
            held_out,
            parts("parts", rows),
            parts("held_out_parts", None),
            blank_controls(gather("mmd"))[:, i],
            blank_controls(gather("held_out_mmd")),
            np.array(heads + [0] * len(controls[0])),
        )
