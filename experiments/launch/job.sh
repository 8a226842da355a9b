#!/usr/bin/env bash
# The body of every job: sees to it that `ad-jax` runs here, fetches the data, and does `ad-jax select`
# with the arguments given. The same on a laptop, a SLURM node, a TPU VM and in a container.
#
#   EXTRA=tpu NEEDS=gcsfs DATA=gs://bucket/parts bash experiments/launch/job.sh parts/,size=64 --shard 1/4
#
# EXTRA: what JAX runs on, `tpu` or `cuda`; empty for a CPU. NEEDS: a package that reaches the bucket.
# DATA: a folder of a bucket, copied here under its own name unless that is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH=$PWD/.venv/bin:$PATH
if ! command -v ad-jax >/dev/null; then
  if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    python3 -m venv .venv
  else # the system of many TPU VMs is older than ad_jax allows
    python3 -m pip install --quiet uv
    python3 -m uv venv --quiet --seed --python 3.12 .venv
  fi
  .venv/bin/pip install --quiet --editable ".${EXTRA:+[$EXTRA]}" ${NEEDS:+"$NEEDS"}
fi

if [ -n "${DATA:-}" ] && [ ! -e "$(basename "$DATA")" ]; then
  part=$(basename "$DATA").part
  rm -rf "$part" # of a copy that was cut off
  "$(dirname "$(command -v ad-jax)")/python" -c '
import sys
import fsspec

files, path = fsspec.core.url_to_fs(sys.argv[1])
files.get(path.rstrip("/") + "/", sys.argv[2] + "/", recursive=True)
' "$DATA" "$part"
  mv "$part" "$(basename "$DATA")"
fi

exec ad-jax select "$@" # in place of this shell, so that a signal reaches it
