"""Score matrices of other libraries: read from files, checked, and cleaned of what is no score."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.errors import DataWarning, InputError, of_machine
from ad_jax.data.samples import as_array
from ad_jax.store import tables

LEAST_MEMBERS, LEAST_SAMPLES = 2, 3  # fewer leave nothing to choose, or nothing to rank

Named = str | Mapping[str, Any]  # a setting: its name, or {"name": ..., hyperparameters}


class Scores(NamedTuple):
    """Scores that can be ranked, one row per member.

    Attributes:
      scores: `[members, n]` float, higher = more anomalous.
      held_out: `[members, m]` of normals; m = 0 if there are none.
      names: setting names; together with `hypers` the setting.
      hypers: numeric hyperparameters.
      seeds: tell members of one setting apart.
    """

    scores: np.ndarray
    held_out: np.ndarray
    names: tuple[str, ...]
    hypers: tuple[dict[str, float], ...]
    seeds: tuple[int, ...]


def _matrix(name: str, values: Any) -> np.ndarray:
    wrong = "is no matrix of numbers; give one row per member, all of one length"
    array = as_array(name, values, wrong)
    try:
        if array.dtype.kind == "c":
            raise TypeError
        if array.dtype.kind != "f":
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} {wrong}") from None
    if array.ndim != 2:
        raise InputError(f"{name} has shape {array.shape}; expected [members, samples]")
    return array


def _check_shape(scores: np.ndarray, lengths: Mapping[str, int]) -> None:
    members, samples = scores.shape
    for name, length in lengths.items():
        if length == members:
            continue
        if length == samples:
            raise InputError(
                f"scores of shape {scores.shape} lie on their side: {length} {name} expect "
                f"[members, samples] = {(length, members)}; transpose them"
            )
        raise InputError(
            f"{length} {name} do not fit scores of shape {scores.shape} = [members, samples]; "
            f"give {members}, one per row"
        )
    if members < LEAST_MEMBERS:
        raise InputError(
            f"scores of shape {scores.shape} hold {members} member; give at least {LEAST_MEMBERS} "
            "rows to choose from"
        )
    if samples < LEAST_SAMPLES:
        raise InputError(
            f"scores of shape {scores.shape} hold {samples} samples; give at least {LEAST_SAMPLES}"
        )


def _setting(row: int, given: Named | None) -> tuple[str, dict[str, float]]:
    """Name and numeric hyperparameters; other values join the name, and no name is its number."""
    if given is None or isinstance(given, str):
        return (given or "").strip() or f"member {row}", {}
    if not isinstance(given, Mapping):
        raise InputError(f"settings[{row}] is {given!r}; give a name or a dict with a name")
    words, hyper = [str(given.get("name", "")).strip() or f"member {row}"], {}
    for key, value in given.items():
        if key == "name":
            continue
        if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise InputError(f"settings[{row}]: {key}={value} is no finite number")
            hyper[str(key)] = float(value)
        else:
            words.append(f"{key}={value}")
    return " ".join(words), hyper


def _seeds(settings: Sequence[tuple[str, dict[str, float]]], seeds: Any) -> tuple[int, ...]:
    """Seeds as given, else members of one setting counted."""
    seen: dict[tuple, int] = {}
    out = []
    for row, (name, hyper) in enumerate(settings):
        what = (name, *sorted(hyper.items()))
        if seeds is None:
            seen[what] = seen.get(what, -1) + 1
            out.append(seen[what])
            continue
        try:
            seed = int(seeds[row])
            if not isinstance(seeds[row], str) and seed != seeds[row]:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"seeds[{row}] is {seeds[row]!r}; give whole numbers") from None
        if (*what, seed) in seen:
            raise InputError(
                f"rows {seen[(*what, seed)]} and {row} are both {name!r} with seed {seed}; "
                "give each its own seed"
            )
        seen[(*what, seed)] = row
        out.append(seed)
    return tuple(out)


def _listed(name: str, values: Any) -> list[Any] | None:
    """One value a member, in the order of rows: a column of a table would count by its index."""
    if values is None:
        return None
    if isinstance(values, (str, bytes, Mapping)):
        raise InputError(f"{name} is a {type(values).__name__}; give a list, one for every row")
    try:
        return list(values)
    except TypeError:
        raise InputError(f"{name}={values!r} is no list; give one for every row") from None


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def checked(
    scores: Any,
    settings: Sequence[Named] | None = None,
    held_out: Any = None,
    seeds: Sequence[int] | None = None,
) -> Scores:
    """Scores that can be ranked; see `Pool.from_scores`.

    Rows with NaN or infinite scores and constant rows are left out, with a warning that names them.

    Raises:
      InputError: shapes that do not fit, or fewer than 2 members or 3 samples left.
    """
    array = _matrix("scores", scores)
    settings, seeds = _listed("settings", settings), _listed("seeds", seeds)
    normal = np.zeros((len(array), 0)) if held_out is None else _matrix("held_out", held_out)
    lengths = {
        name: len(values)
        for name, values in (("settings", settings), ("seeds", seeds))
        if values is not None
    }
    _check_shape(array, lengths)
    if len(normal) != len(array):
        turned = "; transpose it" if normal.shape[1] == len(array) else ""
        raise InputError(
            f"held_out has shape {normal.shape}; expected [members, held-out samples] = "
            f"({len(array)}, ...) as in scores of shape {array.shape}{turned}"
        )
    if held_out is not None and normal.shape[1] < 2:
        raise InputError(f"held_out of shape {normal.shape} is too small; give 2 normals or more")
    named = [_setting(i, None if settings is None else settings[i]) for i in range(len(array))]
    numbered = _seeds(named, seeds)
    broken = ~(np.isfinite(array).all(1) & np.isfinite(normal).all(1))
    constant = ~broken & (array.max(1) == array.min(1))
    for rows, reason in ((broken, "NaN or infinite"), (constant, "constant")):
        if rows.any():
            which = [f"row {i} ({named[i][0]})" for i in np.flatnonzero(rows)]
            warnings.warn(f"{reason} scores, left out: {_few(which)}", DataWarning, stacklevel=3)
    kept = np.flatnonzero(~(broken | constant))
    if len(kept) < LEAST_MEMBERS:
        raise InputError(
            f"{len(kept)} of {len(array)} members have usable scores ({broken.sum()} hold NaN or "
            f"infinity, {constant.sum()} are constant); give at least {LEAST_MEMBERS}"
        )
    return Scores(
        array[kept],
        normal[kept],
        tuple(named[i][0] for i in kept),
        tuple(named[i][1] for i in kept),
        tuple(numbered[i] for i in kept),
    )


# ---- files ----


def read(path: str | Path, held_out: str | Path | None = None) -> dict[str, Any]:
    """Arguments of `Pool.from_scores` from a `.npz` or a CSV file.

    `.npz`: `scores [members, n]`, and optionally `held_out [members, m]`, `settings` (strings),
    `seeds`. CSV: one row per member; with a header, columns named `setting`, `seed` or `hyper.…`
    say what the member is and all others are samples; without one, a first column of words is the
    setting. A first line is a header if it begins with such a name (or an empty one, as pandas
    writes an index), or if nothing after its first cell is a number. An empty cell is NaN.

    Args:
      path: the file.
      held_out: another of either kind, with held-out normals in place of the samples (in a `.npz`
        the array `held_out`), members in the same order.

    Raises:
      InputError: a missing or damaged file, or members that differ between the two.
    """
    given = _read(Path(path))
    if held_out is not None:
        other = _read(Path(held_out))
        for name in ("settings", "seeds"):
            if name in given and name in other:
                for row, (a, b) in enumerate(zip(given[name], other[name])):
                    if a != b:
                        raise InputError(
                            f"{held_out}: row {row} is {b!r}, but {a!r} in {path}; "
                            "give the same members in the same order"
                        )
        given["held_out"] = other.get("held_out", other["scores"])
    if given.get("scores") is None:
        raise InputError(f"{path} holds no array `scores` [members, samples]")
    return given


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} is no file; give a .npz or a .csv")
    try:
        return _read_npz(path) if path.suffix.lower() == ".npz" else _read_csv(path)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file raises, the fix is the same
        if of_machine(error):
            raise
        raise InputError(f"{path} does not read ({error}); write it again") from None


def _read_npz(path: Path) -> dict[str, Any]:
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
        arrays = {n: file[n] for n in ("scores", "held_out", "settings", "seeds") if n in file}
    if "scores" not in arrays and "held_out" not in arrays:
        raise InputError(f"{path} holds no array `scores` [members, samples]")
    given: dict[str, Any] = {"scores": None, **arrays}
    if "settings" in given:
        given["settings"] = np.atleast_1d(given["settings"]).astype(str).tolist()
    return given


def _is_number(text: str) -> bool:
    return not text.strip() or tables.is_number(text)  # an empty cell is a missing number


def _says(name: str) -> bool:
    """Whether a column says what the member is."""
    return name in ("setting", "seed", "") or name.startswith("hyper.")


def _columns(first: Sequence[str]) -> tuple[list[str], bool]:
    """Names of a table's columns, and whether its first line holds them."""
    names = [name.strip() for name in first]
    if _says(names[0]) or not any(map(_is_number, names[1:] or names)):
        return names, True
    word = "0" if _is_number(names[0]) else "setting"
    return [word, *map(str, range(1, len(names)))], False


def sample_names(path: str | Path) -> list[str] | None:
    """Names of the samples of a score table, one per column of `scores`.

    Args:
      path: of the file; None comes back for a `.npz` and for a CSV without a header.

    Raises:
      InputError: a file that does not read.
    """
    if Path(path).suffix.lower() == ".npz":
        return None
    _, first = next(tables.rows(path), (1, [""]))
    names, headed = _columns(first)
    return [name for name in names if not _says(name)] if headed else None


def _read_csv(path: Path) -> dict[str, Any]:
    lines = tables.rows(path)
    start = next(lines, None)
    if start is None:
        raise InputError(f"{path} is empty; give one row per member")
    header, headed = _columns(start[1])
    about = [i for i, name in enumerate(header) if _says(name)]
    twice = next((header[i] for i in about if header.count(header[i]) > 1 and header[i]), None)
    if twice:
        raise InputError(f"{path}: {header.count(twice)} columns {twice!r}; leave one")
    samples = [i for i in range(len(header)) if i not in set(about)]
    if not samples:
        raise InputError(f"{path} has no columns of samples, only {', '.join(header)}")
    rows, told = [], []
    for number, line in lines if headed else (start, *lines):
        if len(line) != len(header):
            raise InputError(
                f"{path}: line {number} has {len(line)} columns, the first {len(header)}; "
                "give every member every sample"
            )
        rows.append(_floats(path, number, [line[i] for i in samples]))
        told.append({header[i] or "setting": line[i].strip() for i in about})
    given: dict[str, Any] = {"scores": np.array(rows).reshape(len(rows), len(samples))}
    if any(key != "seed" for one in told for key in one):
        given["settings"] = [_told(path, one) for one in told]
    if told and "seed" in told[0]:
        given["seeds"] = [one["seed"] for one in told]
    return given


def _floats(path: Path, number: int, cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        wrong = next((cell for cell in cells if not _is_number(cell)), None)
        if wrong is not None:
            raise InputError(f"{path}: line {number}: {wrong!r} is no number") from None
        return np.array([cell if cell.strip() else "nan" for cell in cells], dtype=np.float64)


def _told(path: Path, told: Mapping[str, str]) -> Named:
    out: dict[str, Any] = {"name": told.get("setting", "")}
    for key, text in told.items():
        if key.startswith("hyper.") and text:
            value = float(text) if _is_number(text) else text
            out[key.removeprefix("hyper.")] = value
    return out if len(out) > 1 else out["name"]
