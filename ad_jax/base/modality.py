"""What a sample is, by its shape alone: an image `[h, w, c]`, a series `[t, c]` or a row `[d]`."""

from __future__ import annotations

MODALITIES = ("row", "series", "image")  # by the number of a sample's axes
CALLED = {"image": "images [h, w, c]", "series": "series [t, c]", "row": "rows [d]"}


def modality(shape: tuple[int, ...]) -> str:
    """Of a sample of a shape.

    >>> modality((32, 32, 3)), modality((100, 1)), modality((6,))
    ('image', 'series', 'row')
    """
    return MODALITIES[len(shape) - 1]


def sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """The two sides of what heatmaps and grids of a sample's positions are laid out on.

    >>> sides((32, 40, 3)), sides((100, 2)), sides((6,))
    ((32, 40), (100, 1), (6, 1))
    """
    down, across = (*mask_shape(shape), 1)[:2]
    return down, across


def mask_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a mask of a sample: one value for every pixel, time point or column.

    >>> mask_shape((32, 32, 3)), mask_shape((100, 2)), mask_shape((6,))
    ((32, 32), (100,), (6,))
    """
    return shape[:-1] or shape
