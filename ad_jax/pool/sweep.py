"""Train and measure many members: chunks of one family, a few compiled programs, one record.

All problems that share a training set share its trainings; finished members are skipped, and those
that lack a target only are measured again without a step of training. Training may stop and go on
(`Sweep.advance`), so searches that drop settings early use the same programs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax.base.devices import capacity, check_backend, spread
from ad_jax.base.errors import MembersFailed
from ad_jax.base.numerics import in_float32, over_members
from ad_jax.base.parameters import numbered
from ad_jax.data import Problem
from ad_jax.detect.look import pretext_of
from ad_jax.detect.state import Trained
from ad_jax.features import Eyes, frozen, seen_shape
from ad_jax.pool import HEADS, Member, Pool
from ad_jax.pool.chunks import (
    Chunk,
    Shard,
    check_settings,
    chunks,
    pack_chunk,
    program_of,
    sharded,
    stacked_folds,
    union,
)
from ad_jax.pool.controls import control_members
from ad_jax.pool.drawn import Draws
from ad_jax.pool.program import PerMember, Program, Shared, make_program
from ad_jax.pool.rows import Data, Ledger, Members, Row, gatherer, rows_of
from ad_jax.pool.view import View
from ad_jax.store import Record
from ad_jax.train.pretexts import Pretext
from ad_jax.train.setting import Config, Setting, checked_settings
from ad_jax.train.trainer import Hyper, Keys, State, seed_keys

# States, members and shared data of `Program.run`: which of them have an axis of members.
OF_MEMBERS = (True, True, False)


class Progress(NamedTuple):
    """Where a sweep stands; given to `report` after every chunk.

    Attributes:
      done, total: members trained as far as planned; a search counts a member once per stage.
      skipped: of these, trainings found in the record.
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


def status_of(config: Config, loss: float, chance: float, auroc: float) -> str:
    """Whether a member learned anything at all: "ok" or "untrained".

    Args:
      config: its thresholds.
      loss: of training; chance: of a network that learned nothing.
      auroc: of held-out normals against their augmentations.
    """
    at_chance = loss > config.most_loss * chance or auroc < config.least_auroc
    return "untrained" if at_chance else "ok"


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
      controls: whether pools have control members, which cost as much as a few trainings.

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
        controls: bool = True,
    ) -> None:
        check_backend()
        seeds, config = numbered(seeds), config.checked()
        settings = checked_settings(settings)
        self.shape = problems[0].shape
        check_settings(settings, self.shape, config)
        self.problems, self.settings, self.seeds = problems, settings, list(seeds)
        self.config, self.record, self.report = config, record, report
        self.joined = union(problems)
        self._with_controls = controls
        self._eyes = Eyes(config.backbone, record)
        self._draws = Draws(config, problems[0], self._eyes) if frozen(config.backbone) else None
        *self._normals, self._fold_of = stacked_folds(problems[0], seeds)
        weights = np.zeros((len(problems), len(self.joined.target)), np.float32)
        for i, rows in enumerate(self.joined.rows):
            np.add.at(weights[i], rows, 1.0 / len(rows))
        self._looked_at: dict[Any, tuple[jax.Array, jax.Array, jax.Array]] = {}
        self._weights = jnp.asarray(weights)
        self._size = capacity()
        self._compiled: dict[tuple[str, tuple[str, ...]], tuple[Any, Any]] = {}
        self._over = over_members()
        self._started = time.perf_counter()
        self._ran = 0  # member-steps really run
        self._ledger = Ledger(record, config, Data.of(problems))
        if record:
            record.begin()
        self.progress = Progress(0, 0, 0, 0, 0.0, 0.0, 0, float("nan"))
        self.planned = len(self.settings) * len(self.seeds) * config.steps  # member-steps

    def _look_at(self, pretext: Pretext) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What a pretext's networks see of train and held-out normals and of the target."""

        def see(folds: np.ndarray) -> jax.Array:
            flat = self._eyes.see(folds.reshape(-1, *folds.shape[2:]), pretext.shown)
            return jnp.asarray(flat.reshape(*folds.shape[:2], *flat.shape[1:]))

        if pretext.shown not in self._looked_at:
            train, held_out = map(see, self._normals)
            self._looked_at[pretext.shown] = (train, held_out, see(self.joined.target[None])[0])
        return self._looked_at[pretext.shown]

    @property
    def members(self) -> list[tuple[Setting, int]]:
        """Every setting with every seed."""
        return [(setting, seed) for setting in self.settings for seed in self.seeds]

    def program_of(self, setting: Setting) -> tuple[str, tuple[str, ...]]:
        """Pretext and families of the program that a setting runs in."""
        return program_of(setting, self.settings, self.config.backbone)

    def advance(
        self,
        members: Members,
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

        Raises:
          MembersFailed: some raised; with a record the others were done first.
        """
        start = int(next(iter(earlier.values())).made["stop"]) if earlier else 0
        done: dict[tuple[str, int], Row] = {}
        lacking: dict[str, list[tuple[Setting, int]]] = {"training": [], "measuring": []}
        for setting, seed in members:
            row = self._ledger.get((setting, seed), stop, keep_state)
            if row is not None and row.seen:
                done[setting.key, seed] = row
            else:
                lacking["measuring" if row else "training"].append((setting, seed))
        self._count(done=len(done), skipped=len(done), steps=len(done) * (stop - start))
        plan = [chunk for some in lacking.values() for chunk in chunks(some, self._size)]
        self.progress = self.progress._replace(total=self.progress.total + len(members))
        if done and not plan:
            self._tell()
        if self.record and plan:  # workers that begin together begin at different chunks
            first = hash(self.record.worker) % len(plan)
            plan = plan[first:] + plan[:first]
        for rows in self._work(plan, start, stop, earlier or {}, keep_state):
            done |= rows
        return {(setting.key, seed): done[setting.key, seed] for setting, seed in members}

    def measure(
        self, networks: Mapping[tuple[str, int], tuple[Any, float]]
    ) -> dict[tuple[str, int], Row]:
        """Measures networks that were trained elsewhere; they stay out of the record.

        Args:
          networks: by `(setting key, seed)` the params, and the training loss as a share of that of
            a network that learned nothing.

        Returns:
          rows by `(setting key, seed)`, as if they had been trained for all of `config.steps`.
        """
        members = [member for member in self.members if (member[0].key, member[1]) in networks]
        stop, out = self.config.steps, {}
        for chunk in chunks(members, self._size):
            names = [(setting.key, seed) for setting, seed in zip(*chunk, strict=True)]
            given = {}
            for name in names:
                flat = np.asarray(ravel_pytree(networks[name][0])[0])
                fields = {"params": flat, "seconds": np.array(0.0), "stop": np.array(stop)}
                given[name] = Row(fields, (), {})
            for name, row in zip(names, self._run(chunk, stop, stop, given, False), strict=True):
                row.made["train_loss"] = networks[name][1] * row.made["chance_loss"]
                out[name] = row
        return out

    def work(self, members: Members, stop: int, shard: Shard) -> int:
        """Does a shard's part of the chunks, for the record alone.

        Returns:
          how many of all `members` are left, for other workers.

        Raises:
          MembersFailed: some of its own raised.
        """
        assert self.record is not None
        plan = sharded(members, shard, self._size)
        self.planned = sum(len(chunk.seeds) for chunk in plan) * stop
        self.progress = self.progress._replace(total=sum(len(chunk.seeds) for chunk in plan))
        for _ in self._work(plan, 0, stop, {}, False, load=False):
            pass
        self.record.refresh()
        return sum(bool(self._ledger.lacks(member, stop, False)) for member in members)

    def _work(
        self,
        plan: Sequence[Chunk],
        start: int,
        stop: int,
        earlier: Mapping[tuple[str, int], Row],
        keep_state: bool,
        load: bool = True,
    ) -> Iterator[dict[tuple[str, int], Row]]:
        """Chunk by chunk the rows; those that others finished meanwhile from the record.

        Without `load`, rows of the record stay there.
        """
        failed: list[str] = []
        for chunk in plan:
            out: dict[tuple[str, int], Row] = {}
            todo: dict[str, list[tuple[Setting, int]]] = {"training": [], "measuring": []}
            if self.record:
                self.record.refresh()
            for member in zip(*chunk, strict=True):
                lack = self._ledger.lacks(member, stop, keep_state)
                row = None
                if lack == "measuring" or load and not lack:
                    row = self._ledger.get(member, stop, keep_state)
                    lack = "training" if row is None else "" if row.seen else "measuring"
                if row is not None:
                    out[member[0].key, member[1]] = row
                if lack:
                    todo[lack].append(member)
            known = len(chunk.seeds) - len(todo["training"]) - len(todo["measuring"])
            self._count(done=known, skipped=known, steps=known * (stop - start))
            for lack, some in todo.items():
                if some:
                    settings, seeds = zip(*some, strict=True)
                    before = out if lack == "measuring" else earlier
                    begin = stop if lack == "measuring" else start
                    own = Chunk(settings, seeds)
                    try:
                        out |= self._timed(own, begin, start, stop, before, keep_state)
                    except OSError:
                        raise  # the record's, not a member's
                    except Exception as error:
                        if self.record is None:
                            raise
                        failed += self._ledger.fail(some, stop, error)
            self._tell()
            yield out
        if failed:
            raise MembersFailed(
                f"{len(failed)} of {sum(len(c.seeds) for c in plan)} members failed, all others "
                f"are done; the first: {failed[0]}. The same command again does just those; what "
                f"they raised stands in {self.record.folder if self.record else ''}/failed"
            )

    def _timed(
        self,
        chunk: Chunk,
        begin: int,
        start: int,
        stop: int,
        earlier: Mapping[tuple[str, int], Row],
        keep_state: bool,
    ) -> dict[tuple[str, int], Row]:
        """Runs a chunk from step `begin`, writes and logs it."""
        before, compiling = time.perf_counter(), self.progress.compile_seconds
        members = list(zip(*chunk, strict=True))
        found = self._run(chunk, begin, stop, earlier, keep_state)
        rows = {(s.key, seed): row for (s, seed), row in zip(members, found, strict=True)}
        keys = self._ledger.put(rows, members, stop)
        compiling = self.progress.compile_seconds - compiling
        seconds = time.perf_counter() - before - compiling
        steps = len(rows) * (stop - begin)
        self._ledger.log(keys, seconds, compiling, steps)
        self._ran += steps
        again = len(rows) if begin == stop else 0  # trainings that the record had
        self._count(done=len(rows), skipped=again, steps=len(rows) * (stop - start))
        return rows

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

    def _program(
        self, setting: Setting, hyper: Hyper, members: PerMember, shared: Shared
    ) -> tuple[Any, Any]:
        """Init and run of a setting's pretext, compiled on first use."""
        key = _, families = self.program_of(setting)
        if key not in self._compiled:
            before = time.perf_counter()
            pretext = pretext_of(self.config, setting)
            seen = seen_shape(self.config.backbone, self.shape, pretext.shown)
            program: Program = make_program(self.config, seen, pretext, families, self._over)
            init = jax.jit(program.init)
            state = jax.eval_shape(program.init, members.keys, hyper)
            run = spread(program.run, OF_MEMBERS).lower(state, members, shared).compile()
            self._compiled[key] = (init, run)
            self.progress = self.progress._replace(
                compile_seconds=self.progress.compile_seconds + time.perf_counter() - before,
                compilations=self.progress.compilations + 1,
            )
        return self._compiled[key]

    @in_float32
    def _run(
        self,
        chunk: Chunk,
        start: int,
        stop: int,
        earlier: Mapping[tuple[str, int], Row],
        keep_state: bool,
    ) -> list[Row]:
        count, first = len(chunk.seeds), chunk.settings[0]
        padded = list(chunk.seeds) + [chunk.seeds[0]] * (self._size - count)
        keys: Keys = jax.vmap(lambda seed: seed_keys(self.config.root, seed))(jnp.array(padded))
        hyper = pack_chunk(chunk, self.program_of(first)[1], self._size, self._draws)
        members = PerMember(
            keys,
            tuple(hyper)[1:],
            valid=jnp.arange(self._size) < count,
            fold=jnp.array([self._fold_of[seed] for seed in padded]),
        )
        shared = Shared(
            hyper.family,
            jnp.int32(start),
            jnp.int32(stop),
            *self._look_at(pretext_of(self.config, first)),
            self._weights,
        )
        init, run = self._program(first, hyper, members, shared)
        before = time.perf_counter()
        state = init(keys, hyper)
        if start:
            rows = [earlier[s.key, seed] for s, seed in zip(*chunk, strict=True)]
            state = _restored(state, rows + [rows[0]] * (self._size - count), start == stop)
        state, measured = jax.block_until_ready(run(state, members, shared))
        seconds = (time.perf_counter() - before) / count
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)] if keep_state else []
        out = []
        for i, (made, seen) in enumerate(rows_of(measured, count, self.joined.rows)):
            if start == stop:  # nothing was trained: what training made stays as it is
                out.append(rows[i]._replace(made={**made, **rows[i].made}, seen=seen))
                continue
            made |= {"seconds": np.array(seconds), "stop": np.array(stop)}
            kept = {f"state.{j}": leaf[i] for j, leaf in enumerate(leaves)}
            out.append(Row(made, seen, kept))
        return out

    def finish(self, rows: Mapping[tuple[str, int], Row]) -> Outcome:
        """Pools of everything measured, control members included unless they were left out.

        Members that were stopped before `config.steps` have the status "stopped" (or "failed"): no
        rule can pick them.
        """
        trained = {
            name: Trained(*(row.made[field] for field in Trained._fields))
            for name, row in rows.items()
        }
        return Outcome(list(self.pools(rows, self.config.steps)), trained, self.progress)

    @functools.cached_property
    def _controls(self) -> tuple[list[Member], np.ndarray, np.ndarray, np.ndarray]:
        target = self.joined.target
        if not self._with_controls:
            return [], np.empty((0, 1, len(target))), np.empty((0, 1, 1)), np.empty((0, 1, 1))
        return control_members(self.problems[0], target, self.seeds, self.config, self._eyes)

    def pools(self, rows: Mapping[tuple[str, int], Row], stop: int) -> Iterator[Pool]:
        """One pool per problem of members trained for `stop` steps, and others as "stopped"."""
        for problem, places in enumerate(self.joined.rows):
            yield self._pool(rows, stop, problem, places)

    def _pool(
        self, rows: Mapping[tuple[str, int], Row], stop: int, problem: int, places: np.ndarray
    ) -> Pool:
        controls = self._controls
        settings = {s.key: s for s in self.settings}
        members, heads = [], []
        flat = [{**row.made, **row.seen[problem]} for row in rows.values()]
        for (key, seed), row in zip(rows, flat, strict=True):
            setting = settings[key]
            loss, auc = float(row["train_loss"]), float(row["discrimination"])
            if not all(np.isfinite(array).all() for array in row.values()):
                status = "failed"
            elif int(row["stop"]) < stop:
                status = "stopped"
            else:
                status = status_of(self.config, loss, float(row["chance_loss"]), auc)
            members.append(Member(setting, seed, status, loss, auc, float(row["seconds"])))
            pretext = pretext_of(self.config, setting)
            heads.append(HEADS.index(pretext.score))

        of_controls = dict(
            zip(("scores", "held_out_scores", "generated_scores"), controls[1:], strict=True)
        )
        of_controls["scores"] = of_controls["scores"][:, :, places]

        gather = gatherer(flat, len(controls[0]), of_controls)
        everyone = tuple(members) + tuple(controls[0])
        return Pool(
            everyone,
            View.of_fields(gather),
            View.of_fields(gather, "held_out_"),
            np.array(heads + [0] * len(controls[0])),
            View(gather("generated_scores")),
            self.problems[problem].held_out_groups([member.seed for member in everyone]),
        )


def _restored(state: State, rows: Sequence[Row], networks_only: bool) -> State:
    """Training states `[members, ...]` of rows; with `networks_only` good for measuring alone."""
    if not networks_only:
        leaves, shape = jax.tree.flatten(state)
        kept = [jnp.stack([row.state[f"state.{i}"] for row in rows]) for i in range(len(leaves))]
        return jax.tree.unflatten(shape, kept)
    _, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], state.params))
    flat = jnp.stack([row.made["params"] for row in rows])
    return state._replace(params=jax.vmap(unravel)(flat))
