"""A sweep to launch: what was asked for, checked, and the command line of its jobs."""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from ad_jax.base.errors import InputError
from ad_jax.store.places import BUCKETS

OURS = ("--out", "--record", "--shard", "--dry-run", "--plan")  # what a launcher itself says
LONGEST = 24  # letters of a name; GKE takes 40 with what is added to it


class Sweep(NamedTuple):
    """What is launched, and where.

    Attributes:
      name: of the sweep; jobs and machines are called `ad-jax-NAME…` and found by that.
      shards: machines, or tasks.
      select: arguments of `ad-jax select`.
      out: folder of the run; where no disk is shared, on this machine.
      record: folder or bucket that all shards share; None for `OUT/record`.
      spot: machines that may be taken away.
      jax: what JAX runs on: cpu, cuda or tpu.
      data: a bucket's folder that every machine copies first, or None.
      extra: options handed on to the engine's own command.
      zone, accelerator, runtime, cluster, image: of the engines that ask for them.
    """

    name: str
    shards: int
    select: tuple[str, ...]
    out: str
    record: str | None
    spot: bool
    jax: str
    data: str | None
    extra: tuple[str, ...]
    zone: str | None
    accelerator: str | None
    runtime: str | None
    cluster: str | None
    image: str | None

    @property
    def title(self) -> str:
        """The name of its jobs."""
        return f"ad-jax-{self.name}"

    @property
    def reached_by(self) -> str:
        """The package that reaches the record's bucket; empty for a folder."""
        return BUCKETS.get((self.record or "").partition("://")[0], "")

    def job(self, jax: str = "cpu") -> str:
        """A shell line that does the whole select; ` --shard …` after it makes it a shard's.

        Args:
          jax: what the machine has, should `ad-jax` have to be installed there.
        """
        record = ["--record", self.record] if self.record else []
        given = {"EXTRA": jax.replace("cpu", ""), "NEEDS": self.reached_by, "DATA": self.data}
        return " ".join(
            [
                *(f"{name}={shlex.quote(value)}" for name, value in given.items() if value),
                "bash experiments/launch/job.sh",
                shlex.join([*self.select, "--out", self.out, *record]),
            ]
        )

    def check(self, jax: str = "cpu") -> str:
        """A shell line that refuses what no shard could do, before anything is created.

        It also writes the plan, so that `ad-jax status` knows the total.

        Args:
          jax: as of `job`.
        """
        return f"{self.job(jax)} --shard 1/{self.shards} --plan"


def check(sweep: Sweep) -> None:
    """Refuses what cannot be launched.

    Raises:
      InputError: with the value and the fix.
    """
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", sweep.name) or len(sweep.name) > LONGEST:
        raise InputError(
            f"--name {sweep.name!r} cannot name a job everywhere; take up to {LONGEST} of "
            "a-z, 0-9 and -, a letter first"
        )
    if sweep.shards < 1:
        raise InputError(f"--shards {sweep.shards} is too small; take 1 or more")
    for word in sweep.select:
        if word.partition("=")[0] in OURS:
            raise InputError(
                f"{word} after `--` is the launcher's to say; give --out and --record before `--`"
            )


def check_bucket(sweep: Sweep, kinds: tuple[str, ...] = tuple(BUCKETS)) -> None:
    """Refuses a record that machines without a shared disk cannot share.

    Raises:
      InputError: no bucket, one of another kind, or one without a folder in it.
    """
    kind, _, rest = (sweep.record or "").partition("://")
    if kind not in kinds or not re.fullmatch(r"[^/]+/.*[^/]", rest):
        raise InputError(
            f"--record {sweep.record} is no folder of a bucket, and these machines share no disk; "
            f"take {kinds[0]}://BUCKET/{sweep.name}/record"
        )


def check_one_host(sweep: Sweep) -> None:
    """Refuses a TPU slice of several hosts: a shard is one process, and needs no other.

    Raises:
      InputError: more cores or chips than a host has.
    """
    size = re.fullmatch(r"(?:v\d|tpu)\w*-(\d+)", sweep.accelerator or "")
    if size and int(size[1]) > 8:
        raise InputError(
            f"--accelerator {sweep.accelerator} is a slice of several hosts, and a shard uses one; "
            "take one that ends in -8 or less, and more --shards"
        )
