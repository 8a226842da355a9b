"""A detector's folder: `detector.json` and `arrays.safetensors`, under one checksum.

The checksum covers both files, and `detector.json` has to be written as this module writes it: a
flipped bit or a cut end anywhere is refused, and so are files of two detectors mixed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError, of_machine
from ad_jax.base.json_text import json_text
from ad_jax.base.parameters import whole
from ad_jax.data.columns import Columns
from ad_jax.detect import localise
from ad_jax.detect.state import ARRAYS, Loading, Localised, State, Tiling
from ad_jax.features import weights_of
from ad_jax.store import write_whole
from ad_jax.train.setting import Config, Setting

FORMAT = 5
PLACED = 4  # first format whose localisers know where their positions lie
REGION, LOCALISER = "region", "localiser"  # arrays beside `ARRAYS`, where there are such
ROWS = f"{LOCALISER}.rows"
JSON, TENSORS = "detector.json", "arrays.safetensors"


class Saved(NamedTuple):
    """What a folder holds beside the state."""

    state: State
    alpha: float
    loading: Loading | None
    format: int


def _text(about: dict[str, Any]) -> bytes:
    return json_text(about, indent=1).encode()


def _checksum(about: dict[str, Any], content: bytes) -> str:
    return hashlib.sha256(_text({**about, "sha256": ""}) + content).hexdigest()


def write(path: str | Path, state: State, alpha: float, loading: Loading | None) -> None:
    """Writes a folder: the arrays, then `detector.json`, each whole.

    Killed between the two over an older detector, the folder is refused, not mixed.
    """
    from safetensors.numpy import save

    folder = Path(path)
    arrays = {name: state.arrays[name] for name in ARRAYS}
    if state.tiling is not None and state.tiling.region is not None:
        arrays[REGION] = state.tiling.region
    if state.localised is not None:
        arrays |= _packed(state.localised)
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    about: dict[str, Any] = {
        "format": FORMAT,
        "setting": state.setting._asdict(),
        "score": state.score,
        "shape": list(state.shape),
        "dtype": state.dtype,
        "config": state.config._asdict(),
        "seeds": [int(seed) for seed in state.seeds],
        "folds": [int(fold) for fold in state.folds],
        "alpha": float(alpha),
        "loading": None if loading is None else _about(loading),
        "tiles": None
        if state.tiling is None
        else {"tile": state.tiling.tile, "overlap": state.tiling.overlap},
        "localiser": None if state.localised is None else state.localised.method,
        **weights_of(state.config.backbone),
    }
    about["sha256"] = _checksum(about, content)
    path_of_arrays = folder / TENSORS
    # Another threshold: the same arrays.
    if not path_of_arrays.is_file() or path_of_arrays.read_bytes() != content:
        write_whole(path_of_arrays, content)
    write_whole(folder / JSON, _text(about))


def read(path: str | Path) -> Saved:
    """Reads a folder.

    Older formats are read. Before format 5 every seed has a localiser of its own, or there is none
    at all. Format 3 has no range of image files, and its localiser is left out: it
    was fitted with coarse maps moved against fine ones, and its heatmaps lay down and right of what
    they show. Format 2 has no tiles or localiser; format 1 no folds, threshold or loading either,
    and a checksum of the arrays alone: its seeds count as holding out different normals, alpha is
    .05.

    Raises:
      InputError: no detector there, damaged files, a newer format, or a frozen encoder that has
        other weights here than it was saved with.
      OSError: of the disk, or a folder that may not be read.
    """
    folder = Path(path)
    try:
        text = (folder / JSON).read_bytes()
        content = (folder / TENSORS).read_bytes()
        about = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        if of_machine(error):
            raise
        raise InputError(f"{folder} holds no readable detector ({error})") from None
    known = about.get("format") if isinstance(about, dict) else None
    if type(known) is not int or not 1 <= known:
        raise InputError(f"{folder / JSON} is damaged: it names no format")
    if known > FORMAT:
        raise InputError(f"{folder} has detector format {known}, this version reads up to {FORMAT}")
    if known == 1:
        intact = hashlib.sha256(content).hexdigest() == about.get("sha256")
    else:
        intact = text == _text(about) and _checksum(about, content) == about.get("sha256")
    if not intact:
        raise InputError(f"{folder} is damaged: its checksum is wrong; save the detector again")
    try:
        saved = _parsed(about, content)
    except Exception as error:  # noqa: BLE001  (whatever a damaged file raises, the fix is the same)
        if of_machine(error):
            raise
        raise InputError(f"{folder} is damaged ({error!r}); save the detector again") from None
    _check_weights(folder, saved.state.config.backbone, about.get("weights"))
    return saved


def _check_weights(folder: Path, backbone: str, held: str | None) -> None:
    """Refuses a detector whose encoder has other weights here; old ones do not say theirs."""
    here = weights_of(backbone).get("weights")
    if held is not None and held != here:
        raise InputError(
            f"{folder} was made with the weights {held[:12]} of {backbone}, here they are "
            f"{str(here)[:12]}; set AD_JAX_WEIGHTS to the folder that holds the former, or train "
            "again"
        )


def _parsed(about: dict[str, Any], content: bytes) -> Saved:
    from safetensors.numpy import load

    arrays = load(content)
    count = len(arrays["params"])
    if any(len(arrays[name]) != count for name in ARRAYS) or about["score"] not in (
        "density",
        "head",
    ):
        raise ValueError("its arrays do not belong together")
    size = arrays["mean"].shape[-1]
    shapes = {"params": (count, -1), "mean": (count, size), "held_out": (count, -1)}
    for name, shape in {**shapes, "precision": (count, size, size)}.items():
        arrays[name].reshape(shape)  # raises where it does not fit
    shape = tuple(whole("shape", side, 1) for side in about["shape"])
    if len(shape) not in (1, 2, 3) or about["dtype"] not in ("uint8", "float32"):
        raise ValueError(f"it takes samples of shape {shape}, {about['dtype']}")
    loading = about.get("loading")
    state = State(
        Setting(**about["setting"]).checked(),
        about["score"],
        shape,
        about["dtype"],
        Config(**about["config"]).checked(),
        tuple(whole("seed", seed, 0) for seed in about.get("seeds", range(count))),
        tuple(whole("fold", fold) for fold in about.get("folds", range(count))),
        {name: arrays[name] for name in ARRAYS},
        _tiling(about.get("tiles"), arrays.get(REGION)),
        _unpacked(about.get("localiser"), arrays) if about["format"] >= PLACED else None,
    )
    if not len(state.seeds) == len(state.folds) == count:
        raise ValueError("its seeds and arrays do not belong together")
    return Saved(
        state,
        float(about.get("alpha", 0.05)),
        None if loading is None else _loading(**loading),
        about["format"],
    )


def _about(loading: Loading) -> dict[str, Any]:
    """Columns are named where there are some: older versions read detectors of images as before."""
    about = {"fit": loading.fit, "range": loading.range}
    return about if loading.columns is None else about | {"columns": loading.columns.as_data()}


def _loading(
    fit: str, range: list[float] | None = None, columns: list[dict[str, Any]] | None = None
) -> Loading:
    return Loading(
        fit,
        None if range is None else (float(range[0]), float(range[1])),
        None if columns is None else Columns.from_data(columns),
    )


def _tiling(about: dict[str, Any] | None, region: np.ndarray | None) -> Tiling | None:
    return None if about is None else Tiling(about["tile"], about["overlap"], region)


def _packed(localised: Localised) -> dict[str, np.ndarray]:
    """The arrays of a localiser.

    Of a symmetric matrix per position one half: they are most of a detector.
    """
    fitted = localised.fitted
    arrays: dict[str, Any] = {f"{LOCALISER}.spread": fitted.spread}
    for part in ("scale", "state"):
        for name, leaf in getattr(fitted, part)._asdict().items():
            arrays[f"{LOCALISER}.{part}.{name}"] = leaf
    if localised.method == "position":
        place = f"{LOCALISER}.state.precision"
        size = arrays[place].shape[-1]
        arrays[place] = np.asarray(arrays[place])[(..., *np.triu_indices(size))]
    if localised.rows is not None:
        arrays[ROWS] = np.array(localised.rows, np.int32)
    return {name: np.asarray(array) for name, array in arrays.items()}


def _unpacked(method: str | None, arrays: dict[str, Any]) -> Localised | None:
    if method is None:
        return None
    kind = localise.get(method).state
    state, scale = (
        {name: arrays[f"{LOCALISER}.{part}.{name}"] for name in fields}
        for part, fields in (("state", kind._fields), ("scale", localise.Scale._fields))
    )
    if method == "position":
        state["precision"] = _whole(state["precision"], state["mean"].shape[-1])
    spread: Any = arrays[f"{LOCALISER}.spread"]
    seeds = len(arrays["params"])
    rows = tuple(arrays[ROWS].tolist()) if ROWS in arrays else None
    used = set(range(seeds) if rows is None else rows) - {-1}
    fitted = (spread, *state.values(), *scale.values())
    if any(set(range(len(leaf))) != used for leaf in fitted) or len(rows or range(seeds)) != seeds:
        raise ValueError("its localiser and its networks do not belong together")
    return Localised(method, localise.Fitted(spread, kind(**state), localise.Scale(**scale)), rows)


def _whole(half: np.ndarray, size: int) -> np.ndarray:
    """Symmetric matrices `[..., size, size]` from their upper halves."""
    out = np.empty((*half.shape[:-1], size, size), half.dtype)
    rows, columns = np.triu_indices(size)
    out[..., rows, columns] = out[..., columns, rows] = half
    return out
