"""What a network sees of samples: the samples themselves, or a frozen encoder's grids of them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.samples import content_hashes
from ad_jax.features import encoders, grids
from ad_jax.store import Record


def frozen(backbone: str) -> bool:
    """Whether a backbone's name is that of a frozen encoder, with a head on its grids."""
    return backbone in encoders.ENCODERS


def refuse(backbone: str, what: str) -> None:
    """Stops what cannot be done on frozen features yet.

    Raises:
      InputError: the backbone is a frozen encoder.
    """
    if frozen(backbone):
        raise InputError(f"{what} is not possible with backbone {backbone} yet; take encoder")


@functools.lru_cache(maxsize=32)
def seen_shape(backbone: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what a network sees of samples of a shape.

    Raises:
      InputError: samples that the encoder cannot see.
    """
    if not frozen(backbone):
        return shape
    encoder = encoders.get(backbone)
    run = grids.make_grids(encoder, shape)
    found = jax.eval_shape(run, encoder.params, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return found[0].shape[1:]


def weights_of(backbone: str) -> dict[str, str]:
    """What a record's keys say of a frozen encoder: its weights; nothing of other networks."""
    return {"weights": encoders.get(backbone).digest} if frozen(backbone) else {}


def see(backbone: str, samples: np.ndarray) -> np.ndarray:
    """What a network sees of samples `[n, ...]`; nothing is hashed, kept or looked up."""
    if not frozen(backbone):
        return samples
    samples = np.asarray(samples)
    blocks = grids.in_blocks(encoders.get(backbone), samples, min(grids.BLOCK, len(samples)))
    return np.concatenate([block.grid for block in blocks])


def seen(backbone: str, samples: jax.Array) -> jax.Array:
    """The same as `see`, pure, all samples at once: for programs that hold the encoder."""
    if not frozen(backbone):
        return samples
    encoder = encoders.get(backbone)
    return grids.program(encoder, samples.shape[1:])(encoder.params, samples)[0]


class Eyes:
    """Looks at samples for a network, and remembers what it has seen.

    Args:
      backbone: name of the network.
      record: keeps what a frozen encoder saw; None keeps it in memory alone.
      report: called with the images encoded and the images in all, after every block.
    """

    def __init__(
        self,
        backbone: str,
        record: Record | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        self._encoder = encoders.get(backbone) if frozen(backbone) else None
        self._record, self._report = record, report
        self._seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def see(self, samples: np.ndarray) -> np.ndarray:
        """What the network sees of samples `[n, ...]`: themselves, or grids `[n, gh, gw, d]`."""
        return samples if self._encoder is None else self._of(samples, 0)

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """A frozen encoder's embedding `[n, k]` of whole images."""
        assert self._encoder is not None
        return self._of(samples, 1)

    def _of(self, samples: np.ndarray, which: int) -> np.ndarray:
        assert self._encoder is not None
        names = content_hashes(samples)
        new = {name: i for i, name in enumerate(names) if name not in self._seen}
        if new:
            found = grids.encode(
                self._encoder, samples[list(new.values())], self._record, self._report
            )
            self._seen |= dict(zip(new, zip(*found, strict=True), strict=True))
        return np.stack([self._seen[name][which] for name in names])
