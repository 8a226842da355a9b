"""Pixel metrics against slow and obvious twins."""

import numpy as np
import pytest
import sklearn.metrics

from ad_jax.base.errors import InputError
from ad_jax.base.stats import over_seeds
from ad_jax.data import Labels
from ad_jax.evaluate import pixels


def made(seed=0, n=6, side=12, digits=None):
    """Heatmaps with some signal, and labels with one to three defects an image."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, side, side), np.uint8)
    for mask in masks[n // 2 :]:
        for _ in range(rng.integers(1, 4)):
            y, x = rng.integers(0, side - 3, 2)
            mask[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = 1
    maps = np.float32(rng.normal(size=masks.shape) + 1.5 * masks)
    if digits is not None:
        maps = maps.round(digits)  # ties
    return maps, Labels(masks.any((1, 2)).astype(np.uint8), [""] * n, lambda row: masks[row]), masks


def flood(mask):
    """Defects of a mask as lists of pixels, joined over sides and corners, one by one."""
    left = {tuple(p) for p in np.argwhere(mask)}
    out = []
    while left:
        front, region = [left.pop()], []
        while front:
            y, x = front.pop()
            region.append((y, x))
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front += near
        out.append(region)
    return out


def slow_aupro(maps, masks, limit):
    """Every threshold, every region, one by one; then the area under straight lines."""
    regions = [(n, region) for n, mask in enumerate(masks) for region in flood(mask)]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        found = maps >= threshold
        false = (found & (masks == 0)).sum() / (masks == 0).sum()
        overlap = [np.mean([found[n][p] for p in region]) for n, region in regions]
        points.append((false, np.mean(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@pytest.mark.parametrize("digits", [None, 1, 0])
@pytest.mark.parametrize("limit", [0.3, 0.05, 1.0])
def test_twins(digits, limit):
    maps, labels, masks = made(digits=digits)
    found = pixels.audit_pixels(maps, labels, limit)
    assert found.auroc == pytest.approx(sklearn.metrics.roc_auc_score(masks.ravel(), maps.ravel()))
    assert found.average_precision == pytest.approx(
        sklearn.metrics.average_precision_score(masks.ravel(), maps.ravel())
    )
    assert found.aupro == pytest.approx(slow_aupro(maps, masks, limit))
    assert found.regions == sum(len(flood(mask)) for mask in masks)
    assert found.share == pytest.approx(masks.mean())


def test_regions_join_over_corners():
    mask = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1]])
    numbered, count = pixels.regions_of(mask)
    assert count == 3 == len(flood(mask)) and numbered[0, 0] == numbered[1, 1]


def test_bins_agree_with_sorting_and_hold_one_map_at_a_time():
    maps, labels, _ = made(side=40)

    class Lazy:
        asked = 0

        def __getitem__(self, row):
            self.asked += 1
            return maps[row]

    lazy = Lazy()
    exact, binned = pixels.audit_pixels(maps, labels), pixels.audit_pixels(lazy, labels, bins=4096)
    assert lazy.asked == 13  # twice each, and one to count the pixels
    for name in ("auroc", "average_precision", "aupro"):
        assert getattr(binned, name) == pytest.approx(getattr(exact, name), abs=2e-3)
    assert pixels.audit_pixels(maps, labels, bins=3).auroc < exact.auroc - 0.01


def test_many_pixels_are_binned(monkeypatch):
    maps, labels, _ = made()
    exact = pixels.audit_pixels(maps, labels)
    monkeypatch.setattr(pixels, "EXACT", 100)
    assert pixels.audit_pixels(maps, labels).auroc == pytest.approx(exact.auroc, abs=1e-4)


def test_perfect_chance_and_constant():
    maps, labels, masks = made()
    perfect = pixels.audit_pixels(np.float32(masks), labels)
    for value in (perfect.auroc, perfect.aupro, perfect.average_precision):
        assert value == pytest.approx(1.0)
    constant = pixels.audit_pixels(np.zeros_like(maps), labels)
    assert constant.auroc == 0.5 and constant.aupro == pytest.approx(0.15)
    assert constant.average_precision == pytest.approx(masks.mean())


def test_images_without_masks():
    maps, labels, masks = made()
    some = labels._replace(masks=lambda row: None if row == 4 else masks[row])
    found = pixels.audit_pixels(maps, some)
    kept = [0, 1, 2, 3, 5]
    twin = sklearn.metrics.roc_auc_score(masks[kept].ravel(), maps[kept].ravel())
    assert found.left_out == 1 and found.images == 5 and found.auroc == pytest.approx(twin)


def test_what_cannot_be_judged():
    maps, labels, masks = made()
    with pytest.raises(InputError, match="no masks"):
        pixels.audit_pixels(maps, labels._replace(masks=None))
    with pytest.raises(InputError, match="no image"):
        pixels.audit_pixels(maps, labels._replace(masks=lambda row: None))
    with pytest.raises(InputError, match="heatmap of row 3 has shape"):
        pixels.audit_pixels(maps[:, :5], labels)
    with pytest.raises(InputError, match="NaN"):
        pixels.audit_pixels(np.where(masks, np.nan, maps), labels)
    full = Labels(np.ones(6, np.uint8), [""] * 6, lambda row: np.ones((12, 12), np.uint8))
    with pytest.raises(InputError, match="every pixel"):
        pixels.audit_pixels(maps, full)


def test_interval_over_seeds():
    from scipy import stats

    values = [0.7, 0.8, 0.9, 0.75]
    twin = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(over_seeds(values), twin)
    assert np.isnan(over_seeds(values[:2])).all()
