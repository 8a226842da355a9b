"""GKE through xpk: a workload for each shard, on a cluster that is there."""

from __future__ import annotations

import shlex

from sweep import Sweep, check_bucket, check_one_host

NEEDED = ("zone", "accelerator", "cluster", "image")
JAX = "tpu"
RESTARTS = 100  # of a preempted shard; xpk restarts after a signal, not after status 1 or 2


def check(sweep: Sweep) -> None:
    check_bucket(sweep)
    check_one_host(sweep)


def _where(sweep: Sweep) -> str:
    return f'--cluster={sweep.cluster} --zone={sweep.zone} --workload="{sweep.title}-$shard"'


def start(sweep: Sweep) -> str:
    """One workload a shard and not one of many slices: JAX would wait for all, and all restart."""
    image = shlex.quote(sweep.image or "")
    extra = sweep.jax.replace("cpu", "")
    made_with = f"--build-arg=EXTRA={extra} --build-arg=NEEDS={sweep.reached_by}"
    options = [
        f"--device-type={sweep.accelerator}",
        f"--docker-image={sweep.image}",
        *(["--spot", f"--max-restarts={RESTARTS}"] if sweep.spot else []),
        *sweep.extra,
    ]
    return f"""\
{sweep.check()}
git archive HEAD | docker build {made_with} --tag={image} --file=experiments/launch/Dockerfile -
docker push {image}
for shard in $(seq {sweep.shards}); do
  xpk workload create {_where(sweep)} \\
    {shlex.join(options)} \\
    --command={shlex.quote(sweep.job(sweep.jax) + " --shard ")}"$shard/{sweep.shards}"
done
"""


def logs(sweep: Sweep) -> str:
    selector = f'--selector="jobset.sigs.k8s.io/jobset-name={sweep.title}-$shard"'
    return f"""\
for shard in $(seq {sweep.shards}); do
  kubectl logs {selector} --prefix --tail=-1
done
"""


def stop(sweep: Sweep) -> str:
    return f"""\
for shard in $(seq {sweep.shards}); do
  xpk workload delete {_where(sweep)} --force
done
"""
