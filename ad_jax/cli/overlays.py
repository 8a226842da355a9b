"""Heatmaps as files: an overlay PNG per image, on one colour scale, as samples stream by."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ad_jax.errors import InputError
from ad_jax.report import heatmaps as pictures
from ad_jax.store import write_whole


class Overlays:
    """Writes `FOLDER/<path of the image>.png`, the path below the sources' common folder.

    And `scale.png`, which no image's file is named as: the colours of all of them.

    Attributes:
      top: decades of the strongest colour, of all images; known before the first.
    """

    def __init__(self, detector: Any, folder: str, sources: Sequence[str]) -> None:
        localised = detector.state_.localised
        if localised is None:
            raise InputError(
                "--heatmaps: the detector has no localiser (one saved in format 3 is left out: its "
                "maps lay off); rerun its `ad-jax select` with --localiser (finished work is "
                "kept), or see Detector.fit_localiser"
            )
        self._folder = Path(folder).expanduser()
        if self._folder.exists() and not self._folder.is_dir():
            raise InputError(f"--heatmaps {folder} is a file; give a folder")
        known = np.asarray(localised.fitted.scale.decades)[:, -1]
        self.top = pictures.top_of(known.tolist())
        self._scale = pictures.legend(self.top, float(known.mean()), detector.heatmap_alarm())
        places = [os.path.abspath(Path(one).expanduser()) for one in sources if one != "-"]
        folders = [one if os.path.isdir(one) else os.path.dirname(one) for one in places]
        self._base = os.path.commonpath(folders) if folders else os.getcwd()

    def place(self, name: str) -> Path:
        """The file for an image.

        Paths from elsewhere (on stdin) keep all of their folders.
        """
        whole = os.path.abspath(os.path.expanduser(name))
        inside = os.path.relpath(whole, self._base)
        if inside.startswith(os.pardir):
            inside = os.path.join("elsewhere", os.path.splitdrive(whole)[1].lstrip(os.sep))
        return self._folder / f"{inside}.png"

    def write(self, name: str, image: np.ndarray, heatmap: np.ndarray) -> None:
        """Writes one overlay, whole."""
        _write(self.place(name), pictures.overlay(image, heatmap, self.top))

    def write_scale(self) -> None:
        """Writes `scale.png`."""
        _write(self._folder / "scale.png", self._scale)


def _write(path: Path, picture: Any) -> None:
    content = io.BytesIO()
    picture.save(content, "PNG")
    write_whole(path, content.getvalue())
