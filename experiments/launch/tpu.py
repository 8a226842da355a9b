"""TPU VMs as queued resources: one for each shard; a VM gives itself back when its shard ended."""

from __future__ import annotations

import shlex

from sweep import Sweep, check_bucket, check_one_host

NEEDED = ("zone", "accelerator", "runtime")
JAX = "tpu"
QUEUED = "gcloud compute tpus queued-resources"
APART = ":::"  # between metadata, where the usual comma is part of a source


def check(sweep: Sweep) -> None:
    check_bucket(sweep, ("gs",))
    check_one_host(sweep)


def _folder(sweep: Sweep) -> str:
    """Where the code and the logs lie, beside the record."""
    return f"{sweep.record}-launch"


def _listed(sweep: Sweep, names: str, field: str) -> str:
    where = f'--filter="name~/{names}\\$" --format="value({field})"'
    return f"$({QUEUED} list --zone={sweep.zone} {where})"


def start(sweep: Sweep) -> str:
    """Again after a preemption: what waits or runs is left alone, what was taken is replaced."""
    folder = shlex.quote(_folder(sweep))
    told = {"zone": sweep.zone, "folder": _folder(sweep), "job": f"{sweep.job(sweep.jax)} --shard "}
    attributes = "".join(f"{APART}ad-jax-{name}={value}" for name, value in told.items())
    options = [
        f"--zone={sweep.zone}",
        f"--accelerator-type={sweep.accelerator}",
        f"--runtime-version={sweep.runtime}",
        *(["--spot"] if sweep.spot else []),
        "--scopes=https://www.googleapis.com/auth/cloud-platform",
        "--metadata-from-file=startup-script=experiments/launch/boot.sh",
        *sweep.extra,
    ]
    return f"""\
{sweep.check()}
git archive --format=tar.gz HEAD | gcloud storage cp - {folder}/code.tar.gz
for shard in $(seq {sweep.shards}); do
  name={sweep.title}-$shard
  state={_listed(sweep, "$name", "state.state")}
  case $state in
    "") ;;
    SUSPENDED | FAILED) {QUEUED} delete "$name" --zone={sweep.zone} --force --quiet ;;
    *) echo "$name is there: $state" && continue ;;
  esac
  {QUEUED} create "$name" --node-id="$name" \\
    {shlex.join(options)} \\
    --metadata="^{APART}^ad-jax-name=$name"{shlex.quote(attributes)}"$shard/{sweep.shards}"
done
"""


def logs(sweep: Sweep) -> str:
    """Of shards that ended; what a running one says is in its VM's journal."""
    return f'gcloud storage cat {shlex.quote(_folder(sweep))}"/logs/*.txt"\n'


def stop(sweep: Sweep) -> str:
    return f"""\
names={_listed(sweep, f"{sweep.title}-[0-9]+", "name.basename()")}
for name in $names; do
  {QUEUED} delete "$name" --zone={sweep.zone} --force --quiet
done
gcloud storage rm {shlex.quote(_folder(sweep))}/code.tar.gz
"""
