#!/usr/bin/env bash
# What a TPU VM does when it starts: fetches the code, does its shard, keeps the log, gives the VM back.
# A shard that failed gives its VM back, too: the log says why, and an idle VM costs as much as a busy one.
set -u
PATH=$PATH:/snap/bin

attribute() {
  curl --fail --silent --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/ad-jax-$1"
}

name=$(attribute name)
folder=$(attribute folder)
cd "$(mktemp -d)" || exit 1
{
  gcloud storage cat "$folder/code.tar.gz" | tar xz && bash -c "$(attribute job)"
  echo "$name ended with status $?"
} 2>&1 | tee shard.txt
gcloud storage cp shard.txt "$folder/logs/$name.txt"
gcloud compute tpus queued-resources delete "$name" --zone="$(attribute zone)" --force --quiet --async
