"""What members see of one set of samples: their scores, and what alignment losses read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ad_jax.alignment import MEASURES

Fields = dict[str, np.ndarray]


class View(NamedTuple):
    """One set of samples (target, held-out normals, generated ones) as members see it.

    Of one member as the program and the record hold it; in a pool every array has a first axis
    `[members]`.

    Attributes:
      scores: `[heads, n]`, higher = more anomalous, heads as in `HEADS`; NaN where there is none.
      alignment: name in `alignment.MEASURES` -> what it measured with these samples as the target;
        empty where there are scores alone.
    """

    scores: np.ndarray
    alignment: dict[str, Any] = {}

    def at(self, samples: np.ndarray) -> View:
        """The same of some samples, which may repeat; a pool's view.

        What is measured of the whole set (MMD, transport) stays as it was.
        """
        return self._of(samples, lambda x: x if x.ndim == 1 else x[:, samples], lambda whole: whole)

    def of_problem(self, problem: int, samples: np.ndarray) -> View:
        """One member's view of the target of several problems: that of one, and its samples."""
        return self._of(
            samples, lambda x: x[samples] if np.ndim(x) else x, lambda whole: whole[problem]
        )

    def _of(
        self, samples: np.ndarray, single: Callable[[Any], Any], whole: Callable[[Any], Any]
    ) -> View:
        """The view of some samples.

        Args:
          samples: their rows.
          single: applied to every array that was measured sample by sample.
          whole: applied to what was measured of a whole set.
        """
        return View(
            self.scores[..., samples],
            {
                name: jax.tree.map(single, value) if MEASURES[name].per_sample else whole(value)
                for name, value in self.alignment.items()
            },
        )

    def fields(self, prefix: str = "") -> Fields:
        """Its arrays by name, as a record keeps them."""
        out = {f"{prefix}scores": self.scores}
        for name, value in self.alignment.items():
            if MEASURES[name].kind is None:
                out[f"{prefix}{name}"] = value
            else:
                out |= {f"{prefix}{name}.{part}": x for part, x in value._asdict().items()}
        return out

    @classmethod
    def of_fields(cls, field: Callable[[str], np.ndarray], prefix: str = "") -> View:
        """From arrays by the names of `fields`."""
        alignment = {}
        for name, measure in MEASURES.items():
            parts = () if measure.kind is None else measure.kind._fields
            arrays = [field(f"{prefix}{name}.{part}") for part in parts]
            alignment[name] = measure.kind(*arrays) if measure.kind else field(f"{prefix}{name}")
        return cls(field(f"{prefix}scores"), alignment)
