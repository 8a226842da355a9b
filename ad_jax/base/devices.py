"""Members over a machine's devices, and shards over processes; nothing crosses between hosts."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.backend
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ad_jax.base.errors import InputError

CHUNK = 4  # members a program run; small, so that progress shows and a kill costs little
WAIT = 60.0  # seconds for the coordinator, unless told otherwise
AXIS = "members"


def check_backend() -> None:
    """Starts JAX's devices; before the first use of any.

    Raises:
      InputError: there are none of the kind that `JAX_PLATFORMS` asks for; names those there are.
    """
    try:
        jax.local_devices()
    except Exception as error:  # noqa: BLE001  (JAX raises whatever the kind of device raises)
        asked = jax.config.jax_platforms  # type: ignore[attr-defined]
        if not asked:
            raise
        said = f" ({' '.join(str(error).split())})" if str(error) else ""
        raise InputError(
            f"JAX_PLATFORMS={asked}: no such device starts here{said}; take "
            f"JAX_PLATFORMS={' or '.join(_platforms())}, or leave it out"
        ) from None


def _platforms() -> list[str]:
    """Kinds of devices that start on this machine; whoever asks next starts them anew."""
    asked = jax.config.jax_platforms  # type: ignore[attr-defined]
    jax.config.update("jax_platforms", None)
    try:
        return sorted(jax.extend.backend.backends())
    finally:
        jax.config.update("jax_platforms", asked)
        jax.extend.backend.clear_backends()


def peak_memory_mb() -> int:
    """Most memory that this process held on the host so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def capacity() -> int:
    """Members that run together: `CHUNK` on every local device."""
    return CHUNK * jax.local_device_count()


def spread(run: Callable[..., Any], of_members: Any) -> Any:
    """`run` jitted, its members divided over the local devices; with one device, as it is.

    Args:
      run: arguments and results with a leading axis, a multiple of the devices, or the same for all
        members.
      of_members: tree prefix of the arguments: true where they have that axis. All results do.
    """
    devices = jax.local_devices()
    if len(devices) == 1:
        return jax.jit(run)
    mesh = Mesh(np.array(devices), (AXIS,))
    specs = jax.tree.map(lambda own: PartitionSpec(AXIS) if own else PartitionSpec(), of_members)
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    divided = jax.shard_map(
        run, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(AXIS), check_vma=False
    )
    return jax.jit(divided, in_shardings=shardings)


def join(text: str, wait: float = WAIT) -> tuple[int, int]:
    """Joins the processes of one job through `jax.distributed`.

    Args:
      text: "auto" where the cluster tells JAX who is who (TPU pods, SLURM), or `HOST:PORT,I/N` with
        I from 1 to N; the first process answers at that address.
      wait: seconds for all to come together.

    Returns:
      This process's number, counted from 1, and how many there are.

    Raises:
      InputError: a text that is neither, or a coordinator that does not answer in time.
    """
    if text == "auto":
        jax.distributed.initialize(initialization_timeout=int(wait))
        return jax.process_index() + 1, jax.process_count()
    address, comma, place = text.partition(",")
    host, colon, port = address.rpartition(":")
    number, slash, count = place.partition("/")
    fine = comma and colon and slash and port.isdigit() and number.isdigit() and count.isdigit()
    if not (fine and 1 <= int(number) <= int(count)):
        raise InputError(
            f"--distributed {text!r} is neither `auto` nor HOST:PORT,I/N with I from 1 to N; "
            "take 10.0.0.1:1234,1/2"
        )
    if int(number) > 1:  # JAX itself would end the process without a word of ours
        _reach(host, int(port), wait)
    jax.distributed.initialize(
        address, int(count), int(number) - 1, initialization_timeout=max(1, int(wait))
    )
    return int(number), int(count)


def _reach(host: str, port: int, wait: float) -> None:
    until = time.monotonic() + wait
    while True:
        try:
            with socket.create_connection((host, port), timeout=max(0.1, min(wait, 2.0))):
                return
        except OSError as error:
            if time.monotonic() > until:
                raise InputError(
                    f"the coordinator {host}:{port} does not answer after {wait:g} s ({error}); "
                    "start the process I = 1 there first, and see that its port is open"
                ) from None
            time.sleep(0.2)
