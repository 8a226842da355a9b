"""What a network sees of samples: themselves, or what a frozen encoder makes of them.

That is an image's grid of features or, for pretexts on whole images, the embeddings of the views
that the pretext shows of it.
"""

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
from ad_jax.train.backbones.contract import as_unit

SHOWN = 16  # images whose views are made at once
Shown = Callable[[jax.Array], jax.Array]  # an image -> the views of it [v, h, w, c]


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
def seen_shape(
    backbone: str, shape: tuple[int, ...], shown: Shown | None = None
) -> tuple[int, ...]:
    """Shape of what a network sees of samples of a shape: `[gh, gw, d]`, or `[v, 1, k]` of views.

    Args:
      backbone: name of the network.
      shape: of one sample.
      shown: the views that a pretext on whole images shows of one.

    Raises:
      InputError: samples that the encoder cannot see.
    """
    if not frozen(backbone):
        return shape
    encoder = encoders.get(backbone)
    run = grids.make_grids(encoder, shape)
    grid, embedding = jax.eval_shape(
        run, encoder.params, jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    )
    if shown is None:
        return grid.shape[1:]
    views = jax.eval_shape(shown, jax.ShapeDtypeStruct(shape, jnp.float32)).shape[0]
    return (views, 1, embedding.shape[1])


def weights_of(backbone: str) -> dict[str, str]:
    """What a record's keys say of a frozen encoder: its weights; nothing of other networks."""
    return {"weights": encoders.get(backbone).digest} if frozen(backbone) else {}


def _views(shown: Shown, images: np.ndarray) -> np.ndarray:
    """What is shown of images `[n, h, w, c]`, as images of their own `[n v, h, w, c]`."""
    made = jnp.concatenate(
        [
            jax.vmap(shown)(as_unit(jnp.asarray(images[start : start + SHOWN])))
            for start in range(0, len(images), SHOWN)
        ]
    ).reshape(-1, *images.shape[1:])
    whole = images.dtype == np.uint8
    return np.asarray(jnp.round(255.0 * made).astype(jnp.uint8) if whole else made)


def see(backbone: str, samples: np.ndarray, shown: Shown | None = None) -> np.ndarray:
    """What a network sees of samples `[n, ...]`; nothing is hashed, kept or looked up."""
    if not frozen(backbone):
        return samples
    images = np.asarray(samples) if shown is None else _views(shown, samples)
    encoder = encoders.get(backbone)
    blocks = grids.in_blocks(encoder, images, min(encoder.block, len(images)))
    if shown is None:
        return np.concatenate([block.grid for block in blocks])
    found = np.concatenate([block.embedding for block in blocks])
    return found.reshape(len(samples), -1, 1, found.shape[1])


def seen(backbone: str, samples: jax.Array, shown: Shown | None = None) -> jax.Array:
    """The same as `see`, pure, all samples at once: for programs that hold the encoder."""
    if not frozen(backbone):
        return samples
    encoder = encoders.get(backbone)
    run = grids.program(encoder, samples.shape[1:])
    if shown is None:
        return run(encoder.params, samples)[0]
    views = jax.vmap(shown)(as_unit(samples))
    found = run(encoder.params, views.reshape(-1, *samples.shape[1:]))[1]
    return found.reshape(samples.shape[0], -1, 1, found.shape[1])


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

    def see(self, samples: np.ndarray, shown: Shown | None = None) -> np.ndarray:
        """What a network sees of samples `[n, ...]`: themselves, or grids `[n, gh, gw, d]`.

        With views that are shown their embeddings, `[n, v, 1, k]`.
        """
        if self._encoder is None:
            return samples
        if not self._encoder.learned:  # sooner computed than looked up
            return see(self._encoder.name, samples, shown)
        if shown is None:
            return self._of(samples, 0)
        found = self.embed(_views(shown, samples))
        return found.reshape(len(samples), -1, 1, found.shape[1])

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """A frozen encoder's embedding `[n, k]` of whole images."""
        assert self._encoder is not None
        if not self._encoder.learned:
            return np.concatenate([b.embedding for b in grids.in_blocks(self._encoder, samples)])
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
