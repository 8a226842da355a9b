"""Train and measure many members: chunks of one family, a few compiled programs, one record.

All problems that share a training set share its trainings; finished members are skipped. Training
may stop and go on (`Sweep.advance`), so searches that drop settings early use the same programs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from ad_jax.program import CHUNK, Config, Measured, Trained, make_program, network
from ad_jax.program import Member as Program
from ad_jax.store import Record, digest
from ad_jax.train import Hyper, Keys, seed_keys

CHANCE_LOSS = 0.97  # of the loss at chance: above it a member is called untrained
CHANCE_AUROC = 0.55  # of held-out normals against their augmentations: below it, too


class Progress(NamedTuple):
    """Where a sweep stands; given to `report` after every chunk.

    Attributes:
      done, total: members trained as far as planned; a search counts a member once per stage.
      skipped: of these, found in the record.
      member_steps: training steps spent, those found in the record included.
      seconds, compile_seconds: since the start.
      compilations: programs compiled.
      left: estimated seconds, NaN before anything ran.
    """

    done: int
    total: int
    skipped: int
    member_steps: int
    seconds: float
    compile_seconds: float
    compilations: int
    left: float


class Chunk(NamedTuple):
    """Members of one family that run together."""

    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]


def chunks(members: Sequence[tuple[Setting, int]]) -> list[Chunk]:
    """Members in their order, cut into chunks of one family each."""
    out = []
    for family in dict.fromkeys(setting.family for setting, _ in members):
        own = [member for member in members if member[0].family == family]
        for start in range(0, len(own), CHUNK):
            some = own[start : start + CHUNK]
            out.append(Chunk(tuple(m[0] for m in some), tuple(m[1] for m in some)))
    return out


class Union(NamedTuple):
    """The targets of several problems with one training set, every sample once.

    In the order of their content's hash, as in every problem alone.
    """

    target: np.ndarray  # [n, h, w, c]
    rows: tuple[np.ndarray, ...]  # per problem, its samples' rows in `target`


def union(problems: Sequence[Problem]) -> Union:
    """Joins the targets.

    Raises:
      InputError: problems whose normals differ.
    """
    if len({p.train_fingerprint for p in problems}) != 1:
        raise InputError("problems of one sweep must share their normals; sweep each by itself")
    samples: dict[str, np.ndarray] = {}
    for problem in problems:
        samples |= dict(zip(problem.sample_hashes, problem.target, strict=True))
    place = {name: row for row, name in enumerate(sorted(samples))}
    rows = tuple(np.array([place[name] for name in p.sample_hashes]) for p in problems)
    return Union(np.stack([samples[name] for name in place]), rows)


def check_settings(settings: Sequence[Setting], shape: tuple[int, ...], config: Config) -> None:
    """Refuses settings that cannot run on samples of `shape`, before anything is trained."""
    if not settings:
        raise InputError("no settings to try; give at least one augmentation")
    for setting in settings:
        entry = augmentations.get(setting.augmentation)
        network(config, shape, pretexts.make(setting.pretext, setting.augmentation))
        entry.check(setting.augmentation, setting.hyper, shape)
        if not 0.0 < setting.learning_rate <= 1.0:
            raise InputError(f"learning_rate={setting.learning_rate} is out of range; take 1e-5..1")


def pack_chunk(chunk: Chunk, families: tuple[str, ...]) -> Hyper:
    """Hyperparameters of a chunk `[CHUNK, ...]`, padded with its first member's."""
    padded = list(chunk.settings) + [chunk.settings[0]] * (CHUNK - len(chunk.settings))
    entry = augmentations.get(chunk.settings[0].augmentation)
    length = augmentations.packed_length(families)
    return Hyper(
        jnp.int32(families.index(chunk.settings[0].augmentation)),
        jnp.stack([entry.pack(s.hyper, length) for s in padded]),
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


def status_of(loss: float, chance: float, discrimination: float, finite: bool) -> str:
    """Whether a member learned anything at all; see design, "Trained at all?"."""
    if not finite:
        return "failed"
    at_chance = loss > CHANCE_LOSS * chance or discrimination < CHANCE_AUROC
    return "untrained" if at_chance else "ok"


Row = dict[str, np.ndarray]  # what is known of one member: fields of `Measured`, `seconds`, `stop`


class Outcome(NamedTuple):
    """What a sweep leaves.

    Attributes:
      pools: one per problem.
      trained: what a detector needs of every member, by `(setting key, seed)`.
      progress: the final progress.
    """

    pools: list[Pool]
    trained: dict[tuple[str, int], Trained]
    progress: Progress


class Sweep:
    """Programs, data and record of one training set.

    Args:
      problems: problems that share their normals; every training serves all of their targets.
      settings, seeds: all that may be asked for; families of one pretext share a program.
      config: static choices.
      record: where finished chunks are kept; None keeps nothing.
      report: called after every chunk.

    Raises:
      InputError: problems or settings that cannot run.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        settings: Sequence[Setting],
        seeds: Sequence[int],
        config: Config,
        record: Record | None = None,
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        if not seeds:
            raise InputError("no seeds; give at least one")
        self.shape = problems[0].shape
        check_settings(settings, self.shape, config)
        self.problems, self.settings, self.seeds = problems, list(settings), list(seeds)
        self.config, self.record, self.report = config, record, report
        self.joined = union(problems)
        train, held_out, self._fold_of = stacked_folds(problems[0], seeds)
        weights = np.zeros((len(problems), len(self.joined.target)), np.float32)
        for i, rows in enumerate(self.joined.rows):
            np.add.at(weights[i], rows, 1.0 / len(rows))
        self._folds = (jnp.asarray(train), jnp.asarray(held_out))
        self._target, self._weights = jnp.asarray(self.joined.target), jnp.asarray(weights)
        self._compiled: dict[tuple[str, tuple[str, ...]], tuple[Any, Any]] = {}
        self._started = time.perf_counter()
        self._ran = 0  # member-steps really run
        self.progress = Progress(0, 0, 0, 0, 0.0, 0.0, 0, float("nan"))
        self.planned = len(self.settings) * len(self.seeds) * config.steps  # member-steps

    def program_of(self, setting: Setting) -> tuple[str, tuple[str, ...]]:
        """Pretext and families of the program that a setting runs in."""
        if setting.pretext in pretexts.APART:
            return setting.pretext, (setting.augmentation,)
        same = (s.augmentation for s in self.settings if s.pretext == setting.pretext)
        return setting.pretext, tuple(dict.fromkeys(same))

    def _key(self, setting: Setting, seed: int, stop: int, stateful: bool) -> str:
        return digest(
            {
                "config": self.config._replace(steps=stop)._asdict(),
                "train": self.problems[0].train_fingerprint,
                "targets": [p.fingerprint for p in self.problems],
                "setting": setting.key,
                "seed": seed,
                "state": stateful,
            }
        )

    def advance(
        self,
        members: Sequence[tuple[Setting, int]],
        stop: int,
        earlier: Mapping[tuple[str, int], Row] | None = None,
        keep_state: bool = False,
    ) -> dict[tuple[str, int], Row]:
        """Trains members to step `stop` and measures them.

        Args:
          members: (setting, seed) pairs.
          stop: training steps from the beginning.
          earlier: rows of an earlier call with `keep_state`, from which training goes on.
          keep_state: whether rows hold what it takes to go on (three times the network).

        Returns:
          rows by `(setting key, seed)`.
        """
        start = int(next(iter(earlier.values()))["stop"]) if earlier else 0
        done: dict[tuple[str, int], Row] = {}
        missing = []
        for setting, seed in members:
            key = self._key(setting, seed, stop, keep_state)
            found = self.record.get(key) if self.record else None
            if found is None:
                missing.append((setting, seed))
            else:
                done[setting.key, seed] = found
        self._count(done=len(done), skipped=len(done), steps=len(done) * (stop - start))
        plan = chunks(missing)
        self.progress = self.progress._replace(total=self.progress.total + len(members))
        if done and not plan:
            self._tell()
        for chunk in plan:
            rows = self._run(chunk, start, stop, earlier or {}, keep_state)
            for setting, seed, row in zip(*chunk, rows, strict=True):
                done[setting.key, seed] = row
            if self.record:
                self.record.put(
                    {
                        self._key(setting, seed, stop, keep_state): row
                        for setting, seed, row in zip(*chunk, rows, strict=True)
                    }
                )
            self._ran += len(rows) * (stop - start)
            self._count(done=len(rows), skipped=0, steps=len(rows) * (stop - start))
            self._tell()
        return {(setting.key, seed): done[setting.key, seed] for setting, seed in members}

    def _count(self, done: int, skipped: int, steps: int) -> None:
        now = self.progress
        seconds = time.perf_counter() - self._started
        spent = now.member_steps + steps
        rate = (seconds - now.compile_seconds) / self._ran if self._ran else float("nan")
        self.progress = now._replace(
            done=now.done + done,
            skipped=now.skipped + skipped,
            member_steps=spent,
            seconds=seconds,
            left=rate * (self.planned - spent),
        )

    def _tell(self) -> None:
        if self.report:
            self.report(self.progress)

    def _program(self, setting: Setting, arguments: Callable[[Any], tuple]) -> tuple[Any, Any]:
        """Init and run of a setting's pretext, compiled on first use."""
        key = name, families = self.program_of(setting)
        if key not in self._compiled:
            before = time.perf_counter()
            pretext = pretexts.make(name, families[0])
            program: Program = make_program(self.config, self.shape, pretext, families)
            init = jax.jit(program.init)
            state = jax.eval_shape(program.init, *arguments(None)[1:3])
            run = jax.jit(program.run).lower(*arguments(state)).compile()
            self._compiled[key] = (init, run)
            self.progress = self.progress._replace(
                compile_seconds=self.progress.compile_seconds + time.perf_counter() - before,
                compilations=self.progress.compilations + 1,
            )
        return self._compiled[key]

    def _run(
        self,
        chunk: Chunk,
        start: int,
        stop: int,
        earlier: Mapping[tuple[str, int], Row],
        keep_state: bool,
    ) -> list[Row]:
        count, first = len(chunk.seeds), chunk.settings[0]
        padded = list(chunk.seeds) + [chunk.seeds[0]] * (CHUNK - count)
        keys: Keys = jax.vmap(lambda seed: seed_keys(self.config.root, seed))(jnp.array(padded))
        hyper = pack_chunk(chunk, self.program_of(first)[1])
        fold = jnp.array([self._fold_of[seed] for seed in padded])

        def arguments(state: Any) -> tuple:
            return (
                state,
                keys,
                hyper,
                jnp.arange(CHUNK) < count,
                fold,
                jnp.int32(start),
                jnp.int32(stop),
                self._folds,
                self._target,
                self._weights,
            )

        init, run = self._program(first, arguments)
        before = time.perf_counter()
        state = init(keys, hyper)
        leaves, shape = jax.tree.flatten(state)
        if start:
            rows = [earlier[s.key, seed] for s, seed in zip(*chunk, strict=True)]
            rows += [rows[0]] * (CHUNK - count)
            leaves = [jnp.stack([row[f"state.{i}"] for row in rows]) for i in range(len(leaves))]
        state, measured = jax.block_until_ready(run(*arguments(jax.tree.unflatten(shape, leaves))))
        flat = _flat(measured)
        if keep_state:
            leaves = jax.tree.leaves(state)
            flat |= {f"state.{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        flat["seconds"] = np.full(CHUNK, (time.perf_counter() - before) / count)
        flat["stop"] = np.full(CHUNK, stop)
        return [{name: array[i] for name, array in flat.items()} for i in range(count)]

    def finish(self, rows: Mapping[tuple[str, int], Row]) -> Outcome:
        """Pools of everything measured, control members included.

        Members that were stopped before `config.steps` have the status "stopped": no rule can pick
        them.
        """
        trained = {
            name: Trained(*(row[field] for field in Trained._fields)) for name, row in rows.items()
        }
        return Outcome(list(self.pools(rows, self.config.steps)), trained, self.progress)

    @functools.cached_property
    def _controls(self) -> tuple[list[Member], np.ndarray, np.ndarray, np.ndarray]:
        return control_members(self.problems[0], self.joined.target, self.seeds, self.config)

    def pools(self, rows: Mapping[tuple[str, int], Row], stop: int) -> Iterator[Pool]:
        """One pool per problem of members trained for `stop` steps, and others as "stopped"."""
        controls = self._controls
        settings = {s.key: s for s in self.settings}
        members, heads = [], []
        for (key, seed), row in rows.items():
            setting = settings[key]
            loss, auc = float(row["train_loss"]), float(row["discrimination"])
            finite = all(np.isfinite(array).all() for array in row.values())
            status = status_of(loss, float(row["chance_loss"]), auc, finite)
            if int(row["stop"]) < stop:
                status = "stopped"
            members.append(Member(setting, seed, status, loss, auc, float(row["seconds"])))
            pretext = pretexts.make(setting.pretext, setting.augmentation)
            heads.append(HEADS.index(pretext.score))

        def gather(name: str, control: np.ndarray | None = None) -> np.ndarray:
            """Trained members' values, then the control members' (NaN where they have none)."""
            own = np.stack([row[name] for row in rows.values()])
            extra = np.full((len(controls[0]), *own.shape[1:]), np.nan, own.dtype)
            if control is not None:
                extra[:, : control.shape[1]] = control
            return np.concatenate([own, extra])

        scores, held_out = gather("scores", controls[1]), gather("held_out_scores", controls[2])
        for i, rows_here in enumerate(self.joined.rows):

            def parts(name: str, pick: np.ndarray | None) -> Parts:
                fields = {}
                for part in Parts._fields:
                    array = gather(f"{name}.{part}")
                    fields[part] = array if pick is None or array.ndim == 1 else array[:, pick]
                return Parts(**fields)  # type: ignore[arg-type]

            yield Pool(
                tuple(members) + tuple(controls[0]),
                scores[:, :, rows_here],
                held_out,
                parts("parts", rows_here),
                parts("held_out_parts", None),
                gather("mmd")[:, i],
                gather("held_out_mmd"),
                gather("mean_distance")[:, i],
                gather("held_out_mean_distance"),
                gather("sinkhorn")[:, i],
                gather("held_out_sinkhorn"),
                gather("generated_scores", controls[3]),
                np.array(heads + [0] * len(controls[0])),
            )


def _flat(measured: Measured) -> Row:
    flat: Row = {}
    for name, value in measured._asdict().items():
        if isinstance(value, Parts):
            for part, array in value._asdict().items():
                flat[f"{name}.{part}"] = np.asarray(array)
        else:
            flat[name] = np.asarray(value)
    return flat
