"""SLURM: an array with a task a shard, and a job after it that gathers. Needs a shared disk."""

from __future__ import annotations

import shlex

from sweep import Sweep, check_bucket

NEEDED = ()
JAX = "cpu"


def check(sweep: Sweep) -> None:
    if "://" in (sweep.record or ""):
        check_bucket(sweep)


def start(sweep: Sweep) -> str:
    """The check comes first and alone, so that tasks find one finished environment on the disk.

    Tasks append to their logs, so that one that was requeued keeps what it said before.

    The gather comes after any end (`afterany`): it does what a dead shard left, so a sweep always
    ends in a pick or an error. After a task that was cancelled or failed, `afterok` never comes
    true, not even once that task was requeued and ended well (seen with SLURM 22.05).
    """
    submit = ["sbatch", "--parsable", f"--job-name={sweep.title}", "--open-mode=append"]
    submit += ["--requeue"] if sweep.spot else []
    common = shlex.join([*submit, *sweep.extra])
    logs = f"{sweep.out}/logs"
    job = sweep.job(sweep.jax)
    shard = f'{job} --shard "$SLURM_ARRAY_TASK_ID/{sweep.shards}"'
    return f"""\
{sweep.check(sweep.jax)}
mkdir -p {shlex.quote(logs)}
array=$({common} \\
  --array=1-{sweep.shards} --output={shlex.quote(logs + "/%A_%a.txt")} \\
  --wrap={shlex.quote(shard)})
gather=$({common} \\
  --dependency="afterany:${{array%%;*}}" --output={shlex.quote(logs + "/%j_gather.txt")} \\
  --wrap={shlex.quote(job)})
echo "array job $array, then gather job $gather"
"""


def logs(sweep: Sweep) -> str:
    return f"tail --verbose --lines=+1 {shlex.quote(sweep.out)}/logs/*.txt\n"


def stop(sweep: Sweep) -> str:
    return f'scancel --user="$(id -un)" --jobname={sweep.title}\n'
