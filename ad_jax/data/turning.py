"""Turned copies of images: more to compare with where normals are few (arXiv 2405.14529)."""

import numpy as np

MOST = 360  # copies of an image


def turned(images: np.ndarray, turns: int) -> np.ndarray:
    """Every image and its copies, turned by multiples of `360 / turns` degrees about the centre.

    Half turns, and quarter turns of squares, are exact. Others are interpolated linearly, and what
    comes from beyond the border is the image reflected there.

    Args:
      images: `[n, h, w, c]` uint8 or float32.
      turns: copies in all, the image itself among them; 1 returns `images` as they are.

    Returns:
      `[n turns, h, w, c]` of the same dtype, the copies of an image one after the other, itself
      first.
    """
    if turns == 1:
        return images
    out = np.empty((len(images), turns, *images.shape[1:]), images.dtype)
    for place in range(turns):
        out[:, place] = _by(images, 360.0 * place / turns)
    return out.reshape(-1, *images.shape[1:])


def _by(images: np.ndarray, degrees: float) -> np.ndarray:
    """Images turned by an angle."""
    from scipy.ndimage import rotate  # loading data needs it nowhere else

    quarters, rest = divmod(degrees, 90.0)
    square = images.shape[1] == images.shape[2]
    if not rest and (square or not quarters % 2):
        return np.rot90(images, int(quarters), axes=(1, 2))
    found = rotate(
        images.astype(np.float64), degrees, (2, 1), reshape=False, order=1, mode="reflect"
    )
    return np.floor(found + 0.5).astype(np.uint8) if images.dtype == np.uint8 else found
