"""Reads tensors, and nothing else, from files of weights: PyTorch's, `.safetensors` or `.npz`.

A PyTorch file is a pickle, which could name any function to call. Here a pickle may name what
makes a tensor, and nothing else: no class, no function and no torch is ever imported for it.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError, of_machine

Tensors = dict[str, np.ndarray]

DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
_MAGIC = 0x1950A86A20F9469CFC6C  # of PyTorch's archives before version 1.6


class _Storage(NamedTuple):
    """A run of numbers that tensors are views of."""

    key: str
    dtype: str
    size: int


class _View(NamedTuple):
    """A tensor, as a view of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _view(storage: Any, offset: Any, shape: Any, strides: Any, *ignored: Any) -> _View:
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _Tensors(pickle.Unpickler):
    """Admits what tensors are made of; persistent ids are storages."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda view, *ignored: view
        if module == "torch" and name in DTYPES:
            return name
        raise InputError(f"it holds {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, size = pid[:5]
        if kind != "storage" or dtype not in DTYPES:
            raise InputError(f"it holds a {kind} of {dtype}, which is no tensor")
        return _Storage(str(key), DTYPES[dtype], int(size))


def _tensor(name: str, view: _View, storages: Mapping[str, np.ndarray]) -> np.ndarray:
    whole = storages.get(view.storage.key)
    reach = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.strides)) + 1
    count = int(np.prod(view.shape))
    if min((*view.shape, *view.strides, view.offset), default=0) < 0:
        raise InputError(f"the tensor {name} has a negative size")
    if whole is None or (count and reach > len(whole)):
        held = 0 if whole is None else len(whole)
        raise InputError(f"the tensor {name} is cut short ({held} of {reach} numbers)")
    steps = tuple(s * whole.itemsize for s in view.strides)
    return np.lib.stride_tricks.as_strided(whole[view.offset :], view.shape, steps).copy()


def _state(found: Any) -> dict[str, _View]:
    """The tensors by name; a checkpoint may hold them under `state_dict` or `model`."""
    for inner in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(inner), Mapping):
            found = found[inner]
    if not isinstance(found, Mapping):
        raise InputError("it holds no tensors by name")
    return {str(name): view for name, view in found.items() if isinstance(view, _View)}


def _legacy(content: bytes) -> Tensors:
    """PyTorch's archive before 1.6: three pickles, the state, the keys, then every storage."""
    stream = io.BytesIO(content)
    if _Tensors(stream).load() != _MAGIC:
        raise InputError("it does not begin as PyTorch's archives do")
    _Tensors(stream).load()  # protocol
    _Tensors(stream).load()  # byte order and sizes of the machine
    views = _state(_Tensors(stream).load())
    dtypes = {view.storage.key: view.storage.dtype for view in views.values()}
    storages: dict[str, np.ndarray] = {}
    for key in _Tensors(stream).load():
        count = stream.read(8)
        size = int.from_bytes(count, "little") if len(count) == 8 else 0
        dtype = np.dtype(dtypes.get(key, "<f4"))
        raw = stream.read(size * dtype.itemsize)
        storages[key] = np.frombuffer(raw[: len(raw) // dtype.itemsize * dtype.itemsize], dtype)
    return {name: _tensor(name, view, storages) for name, view in views.items()}


def _zipped(content: bytes) -> Tensors:
    """PyTorch's archive since 1.6: a zip of one pickle and a file per storage."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        (pickled,) = [name for name in names if name.endswith("/data.pkl")]
        folder = pickled.removesuffix("data.pkl")
        views = _state(_Tensors(io.BytesIO(archive.read(pickled))).load())
        storages = {}
        for view in views.values():
            file = f"{folder}data/{view.storage.key}"
            if file in names and view.storage.key not in storages:
                storages[view.storage.key] = np.frombuffer(archive.read(file), view.storage.dtype)
    return {name: _tensor(name, view, storages) for name, view in views.items()}


def _npz(content: bytes) -> Tensors:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _safetensors(content: bytes) -> Tensors:
    from safetensors.numpy import load

    return load(content)


def _reader(path: Path, content: bytes) -> Callable[[bytes], Tensors]:
    if path.suffix.lower() == ".npz":
        return _npz
    if path.suffix.lower() == ".safetensors":
        return _safetensors
    return _zipped if content[:2] == b"PK" else _legacy


def read(path: Path) -> Tensors:
    """Tensors of a file by name.

    Args:
      path: `.npz`, `.safetensors`, or a file of PyTorch's under any suffix.

    Raises:
      InputError: a file that is not there, is damaged, cut short, or holds what is no tensor.
    """
    try:
        content = path.read_bytes()
        return _reader(path, content)(content)
    except InputError as error:
        raise InputError(f"{path} cannot be read as weights: {error}") from None
    except Exception as error:  # what a damaged pickle raises is anything, MemoryError included
        if of_machine(error) and isinstance(error, OSError):
            raise
        what = str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read as weights: {what}") from None


def named(
    tensors: Mapping[str, np.ndarray],
    shapes: Mapping[str, Sequence[int]],
    unread: tuple[str, ...] = (),
) -> Tensors:
    """The tensors of a network in float32, all of them and each of its shape.

    A tensor too many is refused, because a deeper network holds all that a shallower one asks for.

    Args:
      tensors: as read.
      shapes: of every tensor that the network has.
      unread: how names of tensors begin that files may hold and features do not need.

    Raises:
      InputError: names the tensor that lacks, has another shape, holds what is not finite, or is
        none of the network's.
    """
    out = {}
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(f"these weights lack the tensor {name}; take those of this network")
        tensor = tensors[name]
        if tuple(tensor.shape) != tuple(shape):
            raise InputError(
                f"the tensor {name} has the shape {tuple(tensor.shape)} where the network has "
                f"{tuple(shape)}; take weights of this network"
            )
        if tensor.dtype.kind not in "fiub":
            raise InputError(f"the tensor {name} holds no numbers; take weights of this network")
        out[name] = np.asarray(tensor, np.float32)
        if not np.isfinite(out[name]).all():
            raise InputError(f"the tensor {name} holds what is not finite; fetch the file again")
    for name in tensors:
        # How many batches training has seen: a number beside every BatchNorm.
        if not (name in shapes or name.startswith(unread) or name.endswith("num_batches_tracked")):
            raise InputError(
                f"these weights hold the tensor {name}, which is none of this network's; take "
                "those of this network"
            )
    return out
