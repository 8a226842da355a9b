"""A run's folder: the files that other programs rely on, written whole, read back without labels.

`manifest.json`, `members.csv`, `scores.npz`, `samples.csv`, `pick.json`, `detector/`; the chunks of
the sweep that made it lie in a `record/` folder beside.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ad_jax.base.devices import peak_memory_mb
from ad_jax.base.errors import InputError, of_machine
from ad_jax.base.json_text import json_text
from ad_jax.data import Problem, Truth, load, paths_of, there
from ad_jax.detect import Loading
from ad_jax.detect.detector import FittedDetector
from ad_jax.detect.ensemble import JSON, Ensemble
from ad_jax.pool import Member, Pool, View
from ad_jax.selection.selection import Selection
from ad_jax.selection.weights import crossed
from ad_jax.store import tables, write_arrays, write_whole
from ad_jax.train.setting import TRAINING, Config, Setting, describe, of_cell

MANIFEST, MEMBERS, SAMPLES = "manifest.json", "members.csv", "samples.csv"
DETECTOR, ENSEMBLE = "detector", "ensemble"  # folders
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "ad_jax")


class Run(NamedTuple):
    """A run read back.

    Attributes:
      pool: without alignment parts.
      losses: rule -> setting key -> loss.
      member_losses: rule -> loss of every member `[members]`; controls are members, too.
      rule, pick: the pick.
      trust, signatures: as `Trust` and `Signature` were written; runs of earlier versions lack
        some fields, or have no signatures.
      pick_scores: `[n]` of the picked detector.
      ensemble_scores: `[n]` of the ensemble, each by weights that it did not move; of a run that
        holds none, the pick's.
      brightness: `[n]` mean grey of the target.
      manifest: as written.
    """

    pool: Pool
    losses: dict[str, dict[str, float]]
    member_losses: dict[str, np.ndarray]
    rule: str
    pick: Setting
    trust: dict[str, Any]
    signatures: list[dict[str, Any]]
    pick_scores: np.ndarray
    ensemble_scores: np.ndarray
    brightness: np.ndarray
    manifest: dict[str, Any]


def brightness(target: np.ndarray) -> np.ndarray:
    """Mean value of every sample `[n]`: the most trivial score."""
    flat = np.asarray(target, np.float32).reshape(len(target), -1)
    return flat.mean(1) / (255.0 if target.dtype == np.uint8 else 1.0)


def refuse_changes(folder: Path, problem: Problem, config: Config) -> None:
    """Stops before another problem or another training is mixed into a folder.

    Raises:
      InputError: names both values.
    """
    path = folder / MANIFEST
    if not path.exists():
        return
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("fingerprint"), str):
        raise InputError(f"{path} is no run's; choose another --out")
    if manifest["fingerprint"] != problem.fingerprint:
        raise InputError(
            f"{folder} holds a run on other data (fingerprint {manifest['fingerprint'][:12]}, now "
            f"{problem.fingerprint[:12]}); choose another --out"
        )
    refuse_other_config(folder, manifest.get("config"), config)


def refuse_other_config(folder: Path, before: object, config: Config) -> None:
    """Stops before another training is mixed into a folder; older runs lack fields of today.

    Raises:
      InputError: names both.
    """
    try:
        same = Config(**before) == config  # type: ignore[arg-type]
    except TypeError:
        same = False
    if not same:
        raise InputError(
            f"{folder} was begun with {before}, now {config._asdict()}; choose another --out"
        )


class Source(NamedTuple):
    """Where a problem came from.

    Attributes:
      source: as given to `load`; options: likewise.
      names: `[n]` of the target's samples, which `Truth.names` knows.
    """

    source: str
    options: dict[str, Any]
    names: Sequence[str]


def write(
    folder: Path,
    selection: Selection,
    problem: Problem,
    source: Source,
    config: Config,
    seeds: Sequence[int],
    command: str = "",
    label_access: Sequence[tuple[str, str]] = (),
) -> None:
    """Writes the folder; `manifest.json` last, so that a folder with one is complete.

    `command` is the command line that made it, if one did; `label_access` the openings of labels
    so far, such as those by the option `kind=` of a source. Those of a run of the same target that
    stood in the folder are kept: what was seen stays seen.
    """
    earlier = _openings(folder / MANIFEST, problem.fingerprint)
    openings = [*earlier, *map(list, _unlogged(label_access, earlier))]
    write_arrays(folder / "scores.npz", _arrays(selection, problem))
    write_whole(folder / MEMBERS, _members(selection).encode())
    samples = tables.written(["row", "name"], enumerate(source.names))
    write_whole(folder / SAMPLES, samples.encode())
    pick = {
        "rule": selection.rule,
        "setting": selection.pick._asdict(),
        "members": selection.pool.rows(selection.pick),
        "losses": selection.losses,
        "weights": selection.weights,
        "trust": selection.trust._asdict(),
        "signatures": [one._asdict() for one in selection.signatures],
    }
    write_whole(folder / "pick.json", json_text(pick, indent=1).encode())
    fit = str(source.options.get("fit", "stretch"))
    selection.detector.loading = Loading(fit, problem.range, problem.columns)
    selection.detector.save(folder / DETECTOR)
    if selection.ensemble is not None:
        selection.ensemble.loading = selection.detector.loading
        selection.ensemble.save(folder / ENSEMBLE)
    elif (folder / ENSEMBLE).is_dir():  # of another run that stood here
        shutil.rmtree(folder / ENSEMBLE)
    cost = {**selection.progress._asdict(), "peak_memory_mb": peak_memory_mb()}
    manifest = {
        "command": command,
        **_about(problem, source),
        "config": config._asdict(),
        "seeds": list(seeds),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "cost": cost,
        "label_access": openings,
    }
    write_whole(folder / MANIFEST, json_text(manifest, indent=1).encode())


def _openings(manifest: Path, fingerprint: str) -> list[list[str]]:
    """Openings of the labels of a target that an earlier run's manifest tells of."""
    if not manifest.is_file():
        return []
    earlier = read_json(manifest)
    return list(earlier["label_access"]) if earlier["fingerprint"] == fingerprint else []


def _unlogged(
    openings: Sequence[tuple[str, str]], logged: Sequence[Sequence[str]]
) -> list[tuple[str, str]]:
    """Openings for reasons that are not logged: `kind=` reads labels at every loading."""
    known = {reason for _, reason in logged}
    return [one for one in openings if one[1] not in known]


def _arrays(selection: Selection, problem: Problem) -> dict[str, np.ndarray]:
    """Scores of all members, of the picked detector, and the most trivial score."""
    pool = selection.pool
    picked = pool.rows(selection.pick, trained=True)
    generated = {} if pool.generated is None else {"generated": pool.generated.scores}
    groups = {} if pool.groups is None else {"groups": pool.groups}
    return {
        **generated,
        **groups,
        "scores": pool.scores,
        "held_out": pool.held_out_scores,
        "default_head": pool.default_head,
        "ensemble": crossed(pool),
        "pick": selection.detector.combine(pool.own_scores()[0][picked]),
        "brightness": brightness(problem.target),
    }


def _about(problem: Problem, source: Source) -> dict[str, Any]:
    """What a manifest says of versions, data and device."""
    import jax

    duplicates = problem.duplicates()
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        "source": source.source,
        "paths": paths_of(source.source, source.options),
        "options": source.options,
        "fingerprint": problem.fingerprint,
        "train_fingerprint": problem.train_fingerprint,
        "samples": {"train": len(problem.train), "target": len(problem.target)},
        "duplicates": {"exact": len(duplicates.exact), "near": len(duplicates.near)},
        "device": f"{jax.default_backend()} x {jax.local_device_count()}",
    }


def _members(selection: Selection) -> str:
    rows = []
    for i, member in enumerate(selection.pool.members):
        rows.append(
            {
                **describe(member.setting),
                "seed": member.seed,
                "status": member.status,
                "train_loss": member.train_loss,
                "discrimination": member.discrimination,
                "seconds": round(member.seconds, 3),
                **{f"loss.{k}": float(v[i]) for k, v in selection.member_losses.items()},
            }
        )
    header = list(dict.fromkeys(k for row in rows for k in row))
    return tables.written(header, [[row.get(name, "") for name in header] for row in rows])


def read_json(path: Path) -> dict[str, Any]:
    """A file of a run.

    Raises:
      InputError: it does not read.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        if of_machine(error):
            raise
        raise InputError(f"{path} does not read ({error}); rerun `ad-jax select`") from None


def below(paths: Sequence[str | Path]) -> list[Path]:
    """Folders of all runs at or below the paths, in their order, sorted below each.

    Raises:
      InputError: none at or below one of them.
    """
    out: dict[Path, None] = {}
    for path in paths:
        found = sorted(p.parent for p in Path(path).glob(f"**/{MANIFEST}"))
        if not found:
            raise InputError(f"{path} holds no run; give a folder that `ad-jax select` wrote")
        out |= dict.fromkeys(found)
    return list(out)


def name_of(manifest: Mapping[str, Any]) -> str:
    """What a run is called in tables: the end of its source, and the options."""
    options = [f"{k}={v}" for k, v in manifest["options"].items()]
    return ",".join([str(manifest["source"]).rstrip("/").split("/")[-1], *options])


def reload(manifest: Mapping[str, Any]) -> tuple[Problem, Truth]:
    """A run's problem and sealed truth, from the source that its manifest names.

    Raises:
      InputError: the source has changed since.
    """
    named = {"source": manifest["source"], **manifest["options"]}
    problem, truth = _loaded(named, manifest.get("paths", {}), manifest["fingerprint"])
    if problem.fingerprint != manifest["fingerprint"]:
        raise InputError(
            f"{manifest['source']} has changed since the run (fingerprint "
            f"{manifest['fingerprint'][:12]}, now {problem.fingerprint[:12]}); "
            "rerun `ad-jax select` or give --labels FILE"
        )
    # The option `kind=` reads labels at every loading; that is one opening of the run's labels.
    truth.log[:] = _unlogged(truth.log, manifest["label_access"])
    return problem, truth


def detector_of(folder: Path) -> FittedDetector | None:
    """What a run scores with: its ensemble, or the picked detector; None where it holds neither.

    Raises:
      InputError: damaged files.
    """
    if (folder / ENSEMBLE / JSON).is_file():
        return Ensemble.load(folder / ENSEMBLE)
    return FittedDetector.load(folder / DETECTOR) if (folder / DETECTOR).is_dir() else None


def _loaded(
    named: Mapping[str, Any], paths: Mapping[str, str], fingerprint: str
) -> tuple[Problem, Truth]:
    """What the names mean here or, where that is nothing or other data, at their absolute paths."""
    absolute = {**named, **paths}
    try:
        problem, truth = load(**named)
        if problem.fingerprint == fingerprint or absolute == named:
            return problem, truth
    except InputError:
        if absolute == named or not all(map(there, paths.values())):
            raise
        return load(**absolute)
    try:
        other = load(**absolute)
    except InputError:
        return problem, truth
    return other if other[0].fingerprint == fingerprint else (problem, truth)


def read(folder: Path) -> Run:
    """Reads a run back.

    Raises:
      InputError: no run there, or damaged files.
    """
    manifest, pick = read_json(folder / MANIFEST), read_json(folder / "pick.json")
    try:
        path = folder / "scores.npz"
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        rows = tables.records(folder / MEMBERS)
        members = tuple(_member(row) for row in rows)
        if len(members) != len(arrays["scores"]):
            raise ValueError(f"{len(members)} members for {len(arrays['scores'])} rows of scores")
        pool = Pool(
            members,
            View(arrays["scores"]),
            View(arrays["held_out"]),
            arrays["default_head"],
            View(arrays["generated"]) if "generated" in arrays else None,
            arrays.get("groups"),
        )
        losses = {
            rule: {k: math.inf if v is None else v for k, v in by_key.items()}
            for rule, by_key in pick["losses"].items()
        }
        return Run(
            pool,
            losses,
            {
                name.removeprefix("loss."): np.array([float(row[name]) for row in rows])
                for name in (rows[0] if rows else {})
                if name.startswith("loss.")
            },
            pick["rule"],
            Setting(**pick["setting"]),
            pick["trust"],
            pick.get("signatures", []),
            arrays["pick"],
            arrays["ensemble" if (folder / ENSEMBLE / JSON).is_file() else "pick"],
            arrays["brightness"],
            manifest,
        )
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file raises, the fix is the same
        if of_machine(error):
            raise
        raise InputError(f"{folder} is damaged ({error}); rerun `ad-jax select`") from None


def sample_names(folder: Path) -> list[str]:
    """Names of a run's target samples, row by row of its scores.

    Raises:
      InputError: a missing or damaged file.
    """
    try:
        return [row["name"] for row in tables.records(folder / SAMPLES)]
    except (InputError, KeyError) as error:
        message = f"{folder / SAMPLES} is damaged ({error}); rerun `ad-jax select`"
        raise InputError(message) from None


def _member(row: dict[str, str]) -> Member:
    hyper = {
        k.removeprefix("hyper."): of_cell(v) for k, v in row.items() if k.startswith("hyper.") and v
    }
    training = {name: float(row[name]) for name in TRAINING}
    return Member(
        Setting(row["pretext"], row["augmentation"], hyper, **training),
        int(row["seed"]),
        row["status"],
        float(row["train_loss"]),
        float(row["discrimination"]),
        float(row["seconds"]),
    )


def log_label_access(
    folder: Path, manifest: dict[str, Any], log: Sequence[tuple[str, str]]
) -> None:
    """Adds openings of the truth to the run's manifest."""
    manifest = {**manifest, "label_access": [*manifest["label_access"], *map(list, log)]}
    write_whole(folder / MANIFEST, json_text(manifest, indent=1).encode())
