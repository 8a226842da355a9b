"""`ad-jax score`, `ad-jax info`, `ad-jax export`: a saved detector at work. No label is read."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.base.json_text import json_text
from ad_jax.cli.common import Adder
from ad_jax.cli.points import PointTable
from ad_jax.cli.streams import arriving_lines, say
from ad_jax.data.pictures import MAX_PIXELS
from ad_jax.store import tables
from ad_jax.store.places import PART, unfinished

LEVELS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # that `info` tells about
COLUMNS = ("path", "score", "p_value", "flag")


def add_score(adder: Adder) -> None:
    """Adds `score` with `adder(name, function, about, examples)`."""
    one = adder(
        "score",
        score,
        "score samples: a score, a p-value and an alarm for each",
        (
            "ad-jax score runs/parts new/ --out scores.csv",
            "ad-jax score runs/parts new/ --alpha 0.01 --heatmaps maps/",
        ),
    )
    one.add_argument("detector", help="folder of a detector, or of a run that holds detector/")
    one.add_argument(
        "source",
        nargs="+",
        help="folder of images (any layout), image file, .npz, table or series (.csv, .parquet), "
        "or - for paths on stdin",
    )
    one.add_argument("--alpha", help="asked false-positive rate (the detector's own, .05)")
    one.add_argument(
        "--false-discovery",
        help="flag the whole batch instead: at most this share of the flagged is normal",
    )
    one.add_argument(
        "--proven", action="store_true", help="p-values with a proven bound, less power"
    )
    one.add_argument("--fit", help="stretch, crop or pad (as the detector was trained)")
    one.add_argument(
        "--range", help="LOW-HIGH: values of images of more than 8 bits (as it was trained)"
    )
    one.add_argument("--max-pixels", type=int, help=f"largest image that is decoded ({MAX_PIXELS})")
    one.add_argument("--out", help="file to write instead of stdout, whole or not at all")
    one.add_argument("--points", help="of series: file for the scores of their points, too (CSV)")
    one.add_argument(
        "--pick",
        action="store_true",
        help="of a run: score by the setting that was picked, not by the ensemble",
    )
    one.add_argument(
        "--heatmaps",
        help="folder for an overlay of each image's heatmap (PNG), of a run by its ensemble, too",
    )


def add(adder: Adder) -> None:
    """Adds `info` and `export` with `adder(name, function, about, examples)`."""
    one = adder(
        "info",
        info,
        "what is in a saved detector: setting, seeds, thresholds, size",
        ("ad-jax info runs/parts", "ad-jax info runs/parts --alpha 0.01"),
    )
    one.add_argument("detector", help="folder of a detector, or of a run that holds detector/")
    one.add_argument(
        "--pick", action="store_true", help="of a run: the setting that was picked, no ensemble"
    )
    one.add_argument("--alpha", help="change its false-positive rate, and save that")

    one = adder(
        "export",
        export,
        "write one .npz that scores with jax and numpy alone",
        ("ad-jax export runs/parts detector.npz", "ad-jax export runs/parts pick.npz --pick"),
    )
    one.add_argument("detector", help="folder of a detector, or of a run that holds detector/")
    one.add_argument("file", help="the .npz to write")
    one.add_argument(
        "--pick", action="store_true", help="of a run: the setting that was picked, no ensemble"
    )


def folder_of(text: str) -> Path:
    """The folder of a detector: as given, or `detector/` of a run."""
    folder = Path(os.path.expanduser(text))
    for place in (folder, folder / "detector"):
        if (place / "detector.json").is_file():
            return place
    raise InputError(
        f"{text} holds no detector; give a folder that `save` wrote, or a run of `ad-jax select`"
    )


def _ensemble_of(text: str) -> Path | None:
    """The folder of an ensemble: as given, or `ensemble/` of a run; None where there is none."""
    from ad_jax.detect.ensemble import JSON

    folder = Path(os.path.expanduser(text))
    places = [place for place in (folder, folder / "ensemble") if (place / JSON).is_file()]
    return places[0] if places else None


def _loaded(arguments: argparse.Namespace) -> Any:
    """The detector to work with: of a run its ensemble, unless the pick's is asked for."""
    from ad_jax.detect.detector import FittedDetector
    from ad_jax.detect.ensemble import Ensemble

    folder = _ensemble_of(arguments.detector)
    if folder is None or arguments.pick:
        return FittedDetector.load(folder_of(arguments.detector))
    detector = Ensemble.load(folder)
    say(f"  scored by the ensemble of {len(detector.weights_)} settings")
    return detector


def _sources(texts: Iterable[str]) -> Iterator[str | None]:
    """Paths, as `stream` takes them."""
    for text in texts:
        if text == "-":
            for line in arriving_lines():
                if line is None or line.strip():
                    yield line and line.rstrip("\r\n").removeprefix("\ufeff")  # byte-order mark
        elif not os.path.exists(os.path.expanduser(text)):
            raise InputError(
                f"{text} does not exist; give a folder, an image, a .npz, a table, or -"
            )
        else:
            yield text


@contextlib.contextmanager
def _opened(out: str | None) -> Iterator[IO[str]]:
    """Stdout, or a file that appears when it is whole; a pipe or a device is written as it is.

    A link stays one, and a file's mode stays as it was.
    """
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    if os.path.isdir(out):
        raise InputError(f"--out {out} is a folder; give a file")
    if os.path.exists(out) and not os.path.isfile(out):
        with open(out, "w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    path = Path(os.path.realpath(out))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{uuid.uuid4().hex}{PART}")  # no longer than any name may be
    unfinished.add(beside)
    try:
        with open(beside, "x", encoding="utf-8", newline="") as file:
            yield file
        if path.exists():
            shutil.copymode(path, beside)
        beside.replace(path)
    except OSError as error:
        if error.filename != str(beside):
            raise
        raise OSError(error.errno, error.strerror, out) from None
    finally:
        beside.unlink(missing_ok=True)
        unfinished.discard(beside)


class Row(NamedTuple):
    """One scored sample."""

    path: str
    score: float
    p: float


class Seen(NamedTuple):
    """What a look at samples found, row by row, and (name, reason) of what it refused."""

    names: list[str]
    samples: np.ndarray
    found: np.ndarray
    bad: list[tuple[str, str]]


def _seen(
    look: Callable[[np.ndarray], np.ndarray],
    names: list[str],
    samples: np.ndarray,
    shape: tuple[int, ...],
) -> Seen:
    """`look` `[n, ...]` at samples of `shape`; a bad one takes no other with it."""
    if not names:
        return Seen([], samples, np.zeros((0, 0)), [])
    try:
        return Seen(names, samples, look(samples), [])
    except InputError:
        if samples.shape[1:] != shape:
            raise
    rows, found, bad = [], [], []
    for row, name in enumerate(names):
        try:
            found.append(look(samples[row : row + 1]))
            rows.append(row)
        except InputError as error:
            bad.append((name, str(error).replace("sample 0 ", "")))
    kept = np.concatenate(found) if found else np.zeros((0, 0))
    return Seen([names[row] for row in rows], samples[rows], kept, bad)


def _rows(detector: Any, names: list[str], raw: np.ndarray, proven: bool) -> Iterator[Row]:
    if not names:
        return
    scores = detector.combine(raw)
    p = detector.calibration_.proven(raw) if proven else detector.p_values_of(scores)
    for name, one, own in zip(names, scores.tolist(), p.tolist(), strict=True):
        yield Row(name, one, own)


def _fit_of(detector: Any, folder: Path) -> str:
    """How pictures were fitted: by the detector, or by the run that an older one lies in."""
    if detector.loading:
        return detector.loading.fit
    try:
        options = json.loads((folder.parent / "manifest.json").read_text("utf-8"))["options"]
        return str(options.get("fit", "stretch"))
    except (OSError, ValueError, LookupError, AttributeError):
        say("  the detector does not say how pictures were fitted; stretch is assumed (--fit)")
        return "stretch"


class Flagging(NamedTuple):
    """How rows are flagged: one by one at `alpha`, or a batch by a share of false discoveries."""

    alpha: float
    share: float | None
    proven: bool

    @property
    def asked(self) -> str:
        if self.share is None:
            return f"alpha={self.alpha:g}"
        return f"false_discovery={self.share:g}"


def _flagging(arguments: argparse.Namespace, detector: Any) -> Flagging:
    """Refuses what so few held-out normals cannot attain, before anything is scored."""
    from ad_jax.detect import check_false_discovery, check_level

    known, proven = detector.calibration_, arguments.proven
    alpha = detector.alpha if arguments.alpha is None else check_level("alpha", arguments.alpha)
    if arguments.false_discovery is None:
        known.check(alpha, proven)
        return Flagging(alpha, None, proven)
    return Flagging(alpha, check_false_discovery(known, arguments.false_discovery, proven), proven)


def _batches(arguments: argparse.Namespace, detector: Any) -> Iterator[Any]:
    """Batches of image files, loaded as the detector was trained."""
    from ad_jax.data.scale import ends_of
    from ad_jax.data.stream import stream

    return stream(
        _sources(arguments.source),
        detector.shape,
        arguments.fit or _fit_of(detector, folder_of(arguments.detector)),
        detector.networks.bulk,
        range=ends_of(arguments.range) or (detector.loading and detector.loading.range),
        dtype=detector.dtype,
        max_pixels=arguments.max_pixels or MAX_PIXELS,
        columns=detector.loading and detector.loading.columns,
    )


@contextlib.contextmanager
def _points(arguments: argparse.Namespace, shape: tuple[int, ...]) -> Iterator[PointTable | None]:
    """The file of points, if one is asked for; it is there when all is scored."""
    if arguments.points is None:
        yield None
        return
    if len(shape) != 2:
        raise InputError(
            f"--points suits detectors of series, and this one takes samples of shape {shape}; "
            "leave it out"
        )
    if arguments.out and os.path.realpath(arguments.out) == os.path.realpath(arguments.points):
        raise InputError(f"--points and --out are both {arguments.out}; give two files")
    with _opened(arguments.points) as file:
        table = PointTable(file)
        yield table
        table.end()


def _overlaid(overlays: Any, detector: Any, scored: Seen) -> list[tuple[str, str]]:
    """Writes the heatmaps of a batch; names and reasons of those that could not be."""
    if overlays is None:
        return []
    maps = _seen(detector.heatmaps, scored.names, scored.samples, detector.shape)
    reasons = [
        (name, overlays.write(name, sample, heatmap))
        for name, sample, heatmap in zip(*maps[:3], strict=True)
    ]
    return maps.bad + [(name, reason) for name, reason in reasons if reason]


def score(arguments: argparse.Namespace) -> int:
    """Streams rows; with a share of false discoveries they wait on disk for the last one.

    Returns:
      Exit status: 0, or 1 if something did not read.
    """
    from ad_jax.cli.overlays import Overlays
    from ad_jax.detect import false_discovery_cut
    from ad_jax.detect.calibration import SLACK

    if arguments.alpha and arguments.false_discovery:
        raise InputError("--alpha and --false-discovery are two ways to flag; give one")
    detector = _loaded(arguments)
    flagging = _flagging(arguments, detector)
    overlays = None
    if arguments.heatmaps is not None:
        overlays = Overlays(detector, arguments.heatmaps, arguments.source)
    counts: Counter[float] = Counter()
    bad, cut = 0, flagging.alpha + SLACK
    with (
        _opened(arguments.out) as out,
        _points(arguments, detector.shape) as points,
        tempfile.TemporaryFile("w+", encoding="utf-8") as waiting,
    ):
        write = _writer(out, arguments.json)
        for batch in _batches(arguments, detector):
            scored = _seen(
                lambda x: detector.networks.raw(x).T, batch.names, batch.samples, detector.shape
            )
            unusable = batch.bad + scored.bad + _overlaid(overlays, detector, scored)
            for name, reason in unusable:
                say(f"ad-jax: {name}: {reason}")
            bad += len(unusable)
            rows = list(_rows(detector, scored.names, scored.found.T, flagging.proven))
            if points is not None:
                points.add(batch, scored.names, [row.score for row in rows])
            for row in rows:
                counts[row.p] += 1
                if flagging.share is None:
                    write(row, row.p <= cut)
                else:
                    waiting.write(json_text(row) + "\n")
            out.flush()  # whoever reads along sees every batch
        if not counts and not bad:
            raise InputError(f"{', '.join(arguments.source)}: no images there; nothing to score")
        if flagging.share is not None and counts:
            cut = false_discovery_cut(counts, flagging.share)
            waiting.seek(0)
            for line in waiting:
                row = Row(*json.loads(line))
                write(row, row.p <= cut)
    _say_scored(detector, flagging, counts, cut, bad)
    if overlays is not None:
        overlays.write_scale()
        alpha, reached = flagging.alpha, detector.heatmap_alarm(flagging.alpha)
        say(
            f"  heatmaps in {arguments.heatmaps}, one colour scale: 0 to {overlays.top:g} decades "
            f"of held-out normals' pixels; {alpha:g} of normal images reach {reached:.1f} somewhere"
        )
    return 1 if bad else 0


def _say_scored(
    detector: Any, flagging: Flagging, counts: Counter[float], cut: float, bad: int
) -> None:
    total = sum(counts.values())
    flagged = sum(n for p, n in counts.items() if p <= cut)
    say(f"  {flagged} of {total} flagged at {flagging.asked}; {bad} not readable")
    if flagging.share is not None:
        smallest = detector.calibration_.smallest(flagging.proven)
        least = math.ceil(total * smallest / flagging.share)
        if least > 1:
            say(f"  in a batch of {total}, fewer than {least} anomalies alone are never flagged")


def _writer(out: IO[str], as_json: bool) -> Callable[[Row, bool], None]:
    if as_json:

        def write(row: Row, flag: bool) -> None:
            values = (row.path, row.score, row.p, int(flag))
            out.write(json_text(dict(zip(COLUMNS, values, strict=True))) + "\n")

        return write
    table = tables.writer(out, "\n")
    table(COLUMNS)
    return lambda row, flag: table((row.path, f"{row.score:.6g}", f"{row.p:.6g}", int(flag)))


def export(arguments: argparse.Namespace) -> None:
    path = Path(os.path.expanduser(arguments.file))
    if path.suffix.lower() != ".npz":
        raise InputError(f"{arguments.file} does not end in .npz, which numpy reads it by")
    _loaded(arguments).export(path)
    size = path.stat().st_size
    if arguments.json:
        print(json_text({"file": str(path), "bytes": size}))
    else:
        print(f"written to {path}, {size / 1e6:.1f} MB; docs/guide/detector.md says how to use it")


def info(arguments: argparse.Namespace) -> None:
    from ad_jax.detect import ensemble, saving
    from ad_jax.detect.detector import FittedDetector

    folder = _ensemble_of(arguments.detector)
    if folder is not None and not arguments.pick:
        _tell(ensemble.Ensemble.load(folder), folder, ensemble.FORMAT, arguments)
        return
    folder = folder_of(arguments.detector)
    saved_as = saving.read(folder).format if arguments.alpha is None else saving.FORMAT
    _tell(FittedDetector.load(folder), folder, saved_as, arguments)


def _made_of(detector: Any) -> dict[str, Any]:
    """What a detector was trained on: its setting, or the settings of an ensemble."""
    state = detector.state_
    own = getattr(detector, "weights_", None)
    if own is not None:
        ordered = sorted(own, key=lambda one: -one[1])
        return {
            "settings": len(own),
            "weights": {one.label: round(weight, 4) for one, weight in ordered},
            "seeds": sorted(set(state.seeds)),
        }
    return {
        "setting": state.setting.label,
        "hyper": state.setting.hyper,
        "score": state.score,
        "seeds": list(state.seeds),
        "parameters": int(np.size(state.arrays["params"])),
    }


def _columns_of(detector: Any) -> dict[str, int] | None:
    """How many columns of each kind a detector of a table knows."""
    known = detector.loading and detector.loading.columns
    return dict(Counter(one.kind for one in known.columns)) if known else None


def _tell(detector: Any, folder: Path, saved_as: int, arguments: argparse.Namespace) -> None:
    """Prints what is in a detector; with `--alpha` changes its rate before."""
    if arguments.alpha is not None:
        detector.set_threshold(arguments.alpha)
        detector.save(folder)
    known, state = detector.calibration_, detector.state_
    thresholds = {
        f"{level:g}": known.threshold(level) if level >= known.smallest() else None
        for level in sorted({*LEVELS, detector.alpha})
    }
    about = {
        "folder": str(folder),
        "format": saved_as,
        **_made_of(detector),
        "steps": state.config.steps,
        "backbone": f"{state.config.backbone}, width {state.config.width}",
        "shape": list(state.shape),
        "fit": detector.loading.fit if detector.loading else None,
        "range": detector.loading.range if detector.loading else None,
        "columns": _columns_of(detector),
        "tile": state.tiling.tile if state.tiling else None,
        "overlap": state.tiling.overlap if state.tiling else None,
        "tiles": detector.networks.tiles,
        "localiser": state.localised.method if state.localised else None,
        "held_out": len(known.scores),
        "held_out_per_seed": int(state.arrays["held_out"].shape[1]),
        "alpha": detector.alpha,
        "threshold": thresholds[f"{detector.alpha:g}"],
        "smallest_alpha": known.smallest(),
        "smallest_alpha_proven": known.smallest(proven=True),
        "thresholds": thresholds,
        "bytes": {
            str(p.relative_to(folder)): p.stat().st_size
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        },
    }
    if arguments.json:
        print(json_text(about))
        return
    for name, value in about.items():
        if name == "thresholds":
            continue
        text = f"{value:.4g}" if isinstance(value, float) else value
        if isinstance(value, dict):
            shown = {k: f"{v:,}" if isinstance(v, int) else f"{v:g}" for k, v in value.items()}
            text = ", ".join(f"{k} {v}" for k, v in shown.items())
        elif isinstance(value, list):
            text = ", ".join(map(str, value))
        print(f"{name.replace('_', ' '):22} {'-' if value is None else text}")
    for level, threshold in thresholds.items():
        need = f"unattainable: needs n = {known.needed(float(level))} held-out normals"
        print(f"  at alpha {level:7}      {need if threshold is None else f'{threshold:.4f}'}")
