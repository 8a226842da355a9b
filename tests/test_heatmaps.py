"""Pictures of heatmaps: one colour scale, contours on the mask's border."""

import math

import numpy as np
import pytest

from ad_jax.base.errors import InputError
from ad_jax.report import heatmaps
from ad_jax.report.heatmaps import Shown


def test_one_colour_scale():
    """The same decades give the same colour in every image, whatever else is in it."""
    grey = np.full((16, 16, 1), 0.5, np.float32)
    low, high = np.full((16, 16), 3.0), np.full((16, 16), 3.0)
    high[:, 8:] = 9.0
    one, two = (np.asarray(heatmaps.overlay(grey, heat, 6.0)) for heat in (low, high))
    np.testing.assert_array_equal(one[:, :64], two[:, :64])
    cold = np.asarray(heatmaps.overlay(grey, np.zeros((16, 16)), 6.0))
    assert (cold == 128).all()  # nothing strange: the image itself


def test_colours_grow_with_the_share():
    painted = heatmaps.colours(np.linspace(0.0, 1.2, 50))
    assert (np.diff(painted[:, 3]) >= 0).all() and painted[0, 3] == 0
    luma = painted[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(luma) <= 1e-9).all()  # darker and darker: readable without colour


@pytest.mark.parametrize("seed", range(3))
def test_contour_twin(seed):
    mask = np.random.default_rng(seed).integers(0, 2, (5, 7))
    units = set()
    for (x0, y0), (x1, y1) in heatmaps.edges(mask):
        assert (x0 == x1) != (y0 == y1)
        for k in range(max(x1 - x0, y1 - y0)):
            step = (k, 0) if y0 == y1 else (0, k)
            units.add((x0 + step[0], y0 + step[1], y0 == y1))
    padded = np.pad(mask, 1)
    twin = set()
    for y in range(6):
        for x in range(8):
            if x < 7 and padded[y, x + 1] != padded[y + 1, x + 1]:
                twin.add((x, y, True))
            if y < 5 and padded[y + 1, x] != padded[y + 1, x + 1]:
                twin.add((x, y, False))
    assert units == twin


@pytest.mark.parametrize("channels", [1, 3])
def test_sheet(channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 16, 12, channels), np.uint8)
    maps = rng.uniform(0, 6, (5, 16, 12))
    scores = maps.max((1, 2))
    shown = heatmaps.strangest(images, maps, scores, 4, lambda row: maps[row] > 3)
    assert [one.caption.split()[-1] for one in shown] == [str(i) for i in np.argsort(-scores)[:4]]
    page = heatmaps.sheet(shown, 6.0, "title", known=4.0, alarm=3.0, side=40)
    taller = heatmaps.sheet(shown, 6.0, "title", side=40, columns=1)
    assert page.size[0] == taller.size[0] == 1120 and page.size[1] < taller.size[1]
    named = heatmaps.strangest(images, maps, scores, 1, names=list("abcde"))
    assert named[0].caption.endswith("abcde"[scores.argmax()]) and named[0].mask is None


def test_ticks_say_how_rare():
    said = [heatmaps._rarity(d) for d in (1, 3, 4, 5, 6, 8, 12)]
    assert said[:4] == ["1 in 10", "1 in 1,000", "1 in 10 k", "1 in 100 k"]
    assert said[4:] == ["1 in 1 M", "1 in 100 M", "1 in 10^12"]
    assert heatmaps.top_of([5.2]) == 7.0 and heatmaps.top_of([1.0]) == 4.0


def test_wrong_pictures():
    image = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(InputError, match="no images"):
        heatmaps.sheet([], 6.0)
    with pytest.raises(InputError, match="heatmap has shape"):
        heatmaps.overlay(image, np.zeros((4, 4)), 6.0)
    with pytest.raises(InputError, match="top=0"):
        heatmaps.sheet([Shown(image, np.zeros((8, 8)), "")], 0.0, alarm=math.inf)
