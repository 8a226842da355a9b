"""What a sweep knows of a member, and where it stands in the record: training apart from measuring.

Three kinds of rows: what training and the normals alone decide, one row; what each target adds, one
row per problem; and the state from which training goes on. Each has a key of its own, so that the
same trainings serve targets that were not there when they ran.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from traceback import format_exception
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np

from ad_jax.base.devices import peak_memory_mb
from ad_jax.data import Problem
from ad_jax.features import weights_of
from ad_jax.pool.program import Measured
from ad_jax.pool.view import Fields
from ad_jax.store import Record, digest
from ad_jax.train.setting import Config, Setting
from ad_jax.train.trainer import other_draws

Members = Sequence[tuple[Setting, int]]  # (setting, seed)
LEARNED = ("train_loss", "chance_loss", "discrimination")  # of `Measured`


class Row(NamedTuple):
    """What is known of one member.

    Attributes:
      made: of training and of the normals: network, `LEARNED`, fields of the views of held-out
        normals and generated samples, `seconds` (share of its chunk's run time), `stop` (steps).
      seen: per problem the fields of its target's view; empty if that is still to be measured.
      state: leaves of the training state; empty if not kept.
    """

    made: Fields
    seen: tuple[Fields, ...]
    state: Fields


class Names(NamedTuple):
    """Keys of one member's rows."""

    made: str
    seen: tuple[str, ...]
    state: str


class Data(NamedTuple):
    """Fingerprints of the problems that share a training set.

    Attributes:
      train: of their normals, `Problem.train_fingerprint`.
      problems: of each, `Problem.fingerprint`.
    """

    train: str
    problems: tuple[str, ...]

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Data:
        return cls(problems[0].train_fingerprint, tuple(p.fingerprint for p in problems))


def names(config: Config, data: Data, setting: Setting, seed: int, stop: int) -> Names:
    """Keys of a member that was trained for `stop` steps."""
    trained = {
        "config": config.trained(stop),
        "train": data.train,
        "setting": setting.key,
        "seed": seed,
        **weights_of(config.backbone),
        **other_draws(),
    }
    made = digest({**trained, "row": "made"})
    seen = tuple(digest({"made": made, "target": one}) for one in data.problems)
    return Names(made, seen, digest({**trained, "row": "state"}))


class Ledger:
    """Rows of one training set in a record; without one nothing is ever found."""

    def __init__(self, record: Record | None, config: Config, data: Data) -> None:
        self.record, self.config, self.data = record, config, data

    def names(self, member: tuple[Setting, int], stop: int) -> Names:
        return names(self.config, self.data, *member, stop)

    def lacks(self, member: tuple[Setting, int], stop: int, stateful: bool) -> str:
        """ "training", "measuring" or "" (nothing), by the keys that the record has."""
        if self.record is None:
            return "training"
        keys = self.names(member, stop)
        if not self.record.has(keys.made) or stateful and not self.record.has(keys.state):
            return "training"
        return "" if all(map(self.record.has, keys.seen)) else "measuring"

    def get(self, member: tuple[Setting, int], stop: int, stateful: bool) -> Row | None:
        """A member's row, `seen` empty if a target lacks; None if it is to be trained."""
        if self.record is None:
            return None
        keys = self.names(member, stop)
        made = self.record.get(keys.made)
        state = self.record.get(keys.state) if stateful else {}
        if made is None or state is None:
            return None
        seen = [found for key in keys.seen if (found := self.record.get(key)) is not None]
        return Row(made, tuple(seen) if len(seen) == len(keys.seen) else (), state)

    def put(self, rows: Mapping[tuple[str, int], Row], members: Members, stop: int) -> list[str]:
        """Writes one chunk as one file; rows that the record has are dropped.

        Returns:
          the members' keys.
        """
        if self.record is None:
            return []
        out: dict[str, Fields] = {}
        made = []
        for setting, seed in members:
            row, keys = rows[setting.key, seed], self.names((setting, seed), stop)
            out[keys.made] = row.made
            out |= dict(zip(keys.seen, row.seen, strict=True))
            if row.state:
                out[keys.state] = row.state
            made.append(keys.made)
        self.record.put(out)
        self.record.mend(made)
        return made

    def log(self, keys: Sequence[str], seconds: float, compiling: float, steps: int) -> None:
        """One line of a finished chunk: its members' keys, seconds without compiling, steps."""
        if self.record is None:
            return
        self.record.log(
            {
                "members": len(keys),
                "seconds": round(seconds, 3),
                "compile_seconds": round(compiling, 3),
                "steps": steps,
                "steps_per_second": round(steps / seconds, 3),
                "peak_memory_mb": peak_memory_mb(),
                "keys": list(keys),
            }
        )

    def fail(self, members: Members, stop: int, error: Exception) -> list[str]:
        """Keeps what a chunk raised with each of its members; a line for each."""
        assert self.record is not None
        what = f"{type(error).__name__}: {error}"
        told = {"stop": stop, "error": what, "traceback": "".join(format_exception(error))}
        for setting, seed in members:
            key = self.names((setting, seed), stop).made
            self.record.fail(key, {"setting": setting._asdict(), "seed": seed, **told})
        first = what.splitlines()[0]
        self.record.log({"failed": len(members), "error": first})
        return [f"{setting.label}, seed {seed}: {first}" for setting, seed in members]


def gatherer(
    flat: Sequence[Fields], controls: int, scores: Mapping[str, np.ndarray] = MappingProxyType({})
) -> Callable[[str], np.ndarray]:
    """From a name to that field of all members, control members last.

    Args:
      flat: per trained member the fields of `made` and of one problem's `seen`.
      controls: how many control members there are; they have NaN but for their scores.
      scores: of control members `[controls, 1, n]`, by name; they have one head.
    """

    def gather(name: str) -> np.ndarray:
        trained = np.stack([row[name] for row in flat])
        of_controls = np.full((controls, *trained.shape[1:]), np.nan, trained.dtype)
        if name in scores:
            of_controls[:, :1] = scores[name]
        return np.concatenate([trained, of_controls])

    return gather


def rows_of(
    measured: Measured, count: int, places: Sequence[np.ndarray]
) -> list[tuple[Fields, tuple[Fields, ...]]]:
    """`made` and `seen` of the first `count` members of a chunk.

    Args:
      measured: arrays with a leading axis of members, target samples in a union's order.
      places: per problem its samples' rows in the union.
    """
    measured = jax.tree.map(np.asarray, measured)
    out = []
    for i in range(count):
        own = jax.tree.map(lambda array, i=i: array[i], measured)
        made = {
            **own.network._asdict(),
            **{name: getattr(own, name) for name in LEARNED},
            **own.held_out.fields("held_out_"),
            **own.generated.fields("generated_"),
        }
        seen = tuple(own.target.of_problem(p, rows).fields() for p, rows in enumerate(places))
        out.append((made, seen))
    return out
