"""Heatmaps as files: an overlay PNG per image, on one colour scale, as samples stream by."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.report import heatmaps as pictures
from ad_jax.store import write_whole

_LONGEST = 255  # bytes of a name
_OF_NAMES = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR)


class Overlays:
    """Writes `FOLDER/<path of the image>.png`, the path below the sources' common folder.

    And `scale.png`, which no image's file is named as: the colours of all of them.

    Attributes:
      top: decades of the strongest colour, of all images; known before the first.
    """

    def __init__(self, detector: Any, folder: str, sources: Sequence[str]) -> None:
        if detector.state_.localised is None:
            raise InputError(
                "--heatmaps: the detector has no localiser (one saved in format 3 is left out: its "
                "maps lay off); rerun its `ad-jax select` with --localiser (finished work is "
                "kept), take --pick if the run's pick has one, or see Detector.fit_localiser"
            )
        self._folder = Path(os.path.expanduser(folder))
        if self._folder.exists() and not self._folder.is_dir():
            raise InputError(f"--heatmaps {folder} is a file; give a folder")
        known = detector.heatmap_ends()
        self.top = pictures.top_of(known.tolist())
        self._scale = pictures.legend(self.top, float(known.mean()), detector.heatmap_alarm())
        places = [os.path.abspath(Path(os.path.expanduser(one))) for one in sources if one != "-"]
        folders = [one if os.path.isdir(one) else os.path.dirname(one) for one in places]
        self._base = os.path.commonpath(folders) if folders else os.getcwd()

    def place(self, name: str) -> Path:
        """The file for an image.

        Paths from elsewhere (on stdin) keep all of their folders.
        """
        own = os.fsdecode(name.encode())  # names are told in UTF-8, files named as the system does
        whole = os.path.abspath(os.path.expanduser(own))
        inside = os.path.relpath(whole, self._base)
        if inside.startswith(os.pardir):
            inside = os.path.join("elsewhere", os.path.splitdrive(whole)[1].lstrip(os.sep))
        return self._folder / Path(*(_short(part) for part in Path(f"{inside}.png").parts))

    def write(self, name: str, image: np.ndarray, heatmap: np.ndarray) -> str:
        """Writes one overlay, whole; why it cannot be, if its name is at fault, else "".

        Raises:
          OSError: of the disk, which would meet the next image, too.
        """
        try:
            _write(self.place(name), pictures.overlay(image, heatmap, self.top))
        except OSError as error:
            if error.errno not in _OF_NAMES:
                raise
            return f"its overlay {error.filename} cannot be written ({error.strerror})"
        return ""

    def write_scale(self) -> None:
        """Writes `scale.png`."""
        _write(self._folder / "scale.png", self._scale)


def _short(name: str) -> str:
    """A file's name that every file system takes; a longer one ends in a digest of itself."""
    if len(os.fsencode(name)) <= _LONGEST:
        return name
    stem, suffix = os.path.splitext(name)
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    kept = os.fsencode(stem)[: _LONGEST - len(digest) - len(os.fsencode(suffix)) - 1]
    return f"{kept.decode(errors='ignore')}-{digest}{suffix}"


def _write(path: Path, picture: Any) -> None:
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_whole(path, content.getvalue())
