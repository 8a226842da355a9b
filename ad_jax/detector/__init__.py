"""The trained pick as something to use: scores, thresholds without anomalies, saving.

`state` says what a detector is; `networks` turns samples into the seeds' own scores; `calibration`
turns those into one score, p-values and thresholds; `share` estimates how much of a target is
anomalous; `normals` knows who holds out what; `localising` adds heatmaps; `saving` writes and reads
folders, `exporting` a file for other programs; `estimator` is the class that users hold.
"""

from __future__ import annotations

from ad_jax.detector.calibration import (
    Calibration,
    check_false_discovery,
    check_level,
    false_discovery_cut,
)
from ad_jax.detector.estimator import Detector
from ad_jax.detector.networks import Networks
from ad_jax.detector.saving import FORMAT
from ad_jax.detector.share import Share
from ad_jax.detector.state import Loading, NotFitted, State, Tiling

__all__ = [
    "FORMAT",
    "Calibration",
    "Detector",
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
