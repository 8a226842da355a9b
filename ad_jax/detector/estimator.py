"""A trained pick that can be saved: its seeds' networks, densities and held-out scores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ad_jax import pretext as pretexts
from ad_jax import ranks, scores
from ad_jax.data import Problem
from ad_jax.errors import InputError
from ad_jax.pool import Setting
from ad_jax.program import Config, Trained, make_look, network
from ad_jax.store import write_whole
from ad_jax.train import as_unit

FORMAT = 1
ARRAYS = ("params", "mean", "precision", "held_out")


class Detector:
    """Scores samples; higher = more anomalous.

    Every seed scores by itself (density of the embedding, or the pretext's own head); a sample's
    score is the mean over seeds of its surprise among that seed's held-out normals
    (`ranks.surprise`), since raw distances of two networks have nothing in common.

    Attributes:
      setting: what was trained.
      score: "density" or "head".
      arrays: `params [seeds, p]`, `mean [seeds, d]`, `precision [seeds, d, d]`,
        `held_out [seeds, m]`.
    """

    def __init__(
        self,
        setting: Setting,
        score: str,
        shape: tuple[int, ...],
        dtype: str,
        config: Config,
        arrays: dict[str, np.ndarray],
    ) -> None:
        self.setting, self.score, self.shape, self.dtype = setting, score, tuple(shape), dtype
        self.config, self.arrays = config, arrays
        pretext = pretexts.make(setting.pretext, setting.augmentation)
        backbone = network(config, self.shape, pretext)
        shapes = jax.eval_shape(backbone.init, jax.random.key(0))
        template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        flat, unravel = ravel_pytree(template)
        if arrays["params"].shape[-1] != flat.size:
            raise InputError(
                f"the detector holds {arrays['params'].shape[-1]} parameters, its network takes "
                f"{flat.size}; it was saved by another version"
            )

        look = make_look(backbone, pretext)

        def one(arrays: dict[str, jax.Array], samples: jax.Array) -> jax.Array:
            params = unravel(arrays["params"])
            if score == "head":
                return look.judge(params, samples)[1]
            z, _ = look.embed(params, samples)
            state = scores.Density(arrays["mean"], arrays["precision"])
            return scores.score_density(state, z)

        self._raw = jax.jit(lambda arrays, x: jax.lax.map(lambda a: one(a, x), arrays))

    @classmethod
    def of(
        cls,
        problem: Problem,
        setting: Setting,
        trained: Sequence[Trained],
        held_out: np.ndarray,
        config: Config,
    ) -> Detector:
        """The detector of a setting's members and their own held-out scores `[seeds, m]`."""
        pretext = pretexts.make(setting.pretext, setting.augmentation)
        arrays = {
            name: np.stack([getattr(one, name) for one in trained]) for name in Trained._fields
        }
        arrays["held_out"] = np.asarray(held_out)
        return cls(setting, pretext.score, problem.shape, str(problem.train.dtype), config, arrays)

    def _seed_scores(self, samples: Any) -> np.ndarray:
        samples = np.asarray(samples)
        if samples.ndim == len(self.shape):
            samples = samples[..., None]
        if samples.shape[1:] != self.shape or len(samples) == 0:
            raise InputError(
                f"samples have shape {samples.shape}; the detector takes [n, "
                f"{', '.join(map(str, self.shape))}] with n >= 1"
            )
        if samples.dtype != np.uint8:
            samples = samples.astype(np.float32)
            bad = ~np.isfinite(samples).all(axis=tuple(range(1, samples.ndim)))
            if bad.any():
                raise InputError(f"sample {int(np.argmax(bad))} holds NaN or infinite values")
            if samples.min() < 0.0 or samples.max() > 1.0:
                raise InputError("float samples must lie in [0, 1]; scale them or pass uint8")
        return np.asarray(self._raw(self.arrays, as_unit(jnp.asarray(samples))))

    def decision_function(self, samples: Any) -> np.ndarray:
        """Scores `[n]` of samples `[n, h, w, c]` (uint8 or float in [0, 1])."""
        return self.combine(self._seed_scores(samples))

    def combine(self, raw: np.ndarray) -> np.ndarray:
        """One score per sample `[n]` from the seeds' own scores `[seeds, n]`."""
        return np.asarray(jax.vmap(ranks.surprise)(self.arrays["held_out"], raw).mean(0))

    def p_values(self, samples: Any) -> np.ndarray:
        """Mean over seeds of the conformal p-values among held-out normals `[n]`."""
        raw = self._seed_scores(samples)
        return np.asarray(jax.vmap(ranks.p_values)(self.arrays["held_out"], raw).mean(0))

    def save(self, path: str | Path) -> None:
        """Writes `detector.json` and `arrays.safetensors` into a folder, each whole."""
        from safetensors.numpy import save

        folder = Path(path)
        content = save({name: np.ascontiguousarray(self.arrays[name]) for name in ARRAYS})
        about = {
            "format": FORMAT,
            "setting": self.setting._asdict(),
            "score": self.score,
            "shape": self.shape,
            "dtype": self.dtype,
            "config": self.config._asdict(),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        write_whole(folder / "arrays.safetensors", content)
        write_whole(folder / "detector.json", json.dumps(about, indent=1).encode())

    @classmethod
    def load(cls, path: str | Path) -> Detector:
        """Reads a saved detector; scores are bit-equal to the saved one's.

        Raises:
          InputError: no detector there, damaged files, or a newer format.
        """
        from safetensors.numpy import load

        folder = Path(path)
        try:
            about = json.loads((folder / "detector.json").read_text())
            content = (folder / "arrays.safetensors").read_bytes()
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no readable detector ({error})") from None
        if about.get("format") != FORMAT:
            raise InputError(
                f"{folder} has detector format {about.get('format')}, this version reads {FORMAT}"
            )
        if hashlib.sha256(content).hexdigest() != about.get("sha256"):
            raise InputError(f"{folder / 'arrays.safetensors'} is damaged: its checksum is wrong")
        return cls(
            Setting(**about["setting"]),
            about["score"],
            tuple(about["shape"]),
            about["dtype"],
            Config(**about["config"]),
            load(content),
        )
