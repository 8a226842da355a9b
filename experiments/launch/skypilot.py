"""SkyPilot: a managed job for each shard, on whichever cloud it finds, again if it is preempted."""

from __future__ import annotations

import shlex

from sweep import Sweep, check_bucket

NEEDED = ()
JAX = "cpu"


def check(sweep: Sweep) -> None:
    check_bucket(sweep)


def start(sweep: Sweep) -> str:
    options = ["--use-spot" if sweep.spot else "--no-use-spot", *sweep.extra]
    return f"""\
{sweep.check()}
for shard in $(seq {sweep.shards}); do
  sky jobs launch --yes --detach-run --name="{sweep.title}-$shard" {shlex.join(options)} \\
    --env=JOB={shlex.quote(sweep.job(sweep.jax) + " --shard ")}"$shard/{sweep.shards}" \\
    experiments/launch/skypilot.yaml
done
"""


def logs(sweep: Sweep) -> str:
    return f"""\
for shard in $(seq {sweep.shards}); do
  sky jobs logs --no-follow --name="{sweep.title}-$shard"
done
"""


def stop(sweep: Sweep) -> str:
    return f"""\
for shard in $(seq {sweep.shards}); do
  sky jobs cancel --yes --name="{sweep.title}-$shard"
done
"""
