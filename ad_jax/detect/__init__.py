"""A detector as a value: scores, thresholds without anomalies, heatmaps, files.

`state` says what a detector is; `networks` turns samples into the seeds' own scores; `calibration`
turns those into one score, p-values and thresholds; `prevalence` estimates how much of a target is
anomalous; `normals` knows who holds out what; `localising` adds heatmaps; `saving` writes and reads
folders, `exporting` a file for other programs. `ad_jax.Detector` trains one.
"""

from __future__ import annotations

from ad_jax.detect.calibration import (
    Calibration,
    check_false_discovery,
    check_level,
    false_discovery_cut,
)
from ad_jax.detect.networks import Networks
from ad_jax.detect.prevalence import Share
from ad_jax.detect.saving import FORMAT
from ad_jax.detect.state import Loading, NotFitted, State, Tiling

__all__ = [
    "FORMAT",
    "Calibration",
    "Loading",
    "Networks",
    "NotFitted",
    "Share",
    "State",
    "Tiling",
    "check_false_discovery",
    "check_level",
    "false_discovery_cut",
]
