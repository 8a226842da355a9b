"""Heatmaps: every kernel against a slow twin, and a planted patch found by every method."""

import functools
import math

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from sklearn.covariance import LedoitWolf

from ad_jax.base import ranks
from ad_jax.base.errors import InputError
from ad_jax.detect import localise, scores, tiles
from ad_jax.detect.localise import densities, features, maps, scale
from ad_jax.features import placing
from ad_jax.train.backbones import BACKBONES, Cells, as_unit


def drawn(shape, seed=0, spread=1.0):
    return np.float32(np.random.default_rng(seed).normal(0.0, spread, shape))


# ---- grid and size ----


@pytest.mark.parametrize("sides", [(8, 8), (5, 9), (1, 3)])
def test_the_mean_counts_neighbours_inside_only(sides):
    x = drawn(sides)
    rows, columns = map(placing.mean_matrix, sides)
    padded = np.pad(x, 1, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    np.testing.assert_allclose(rows @ x @ columns.T, np.nanmean(windows, (2, 3)), rtol=2e-5)


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 4.0])
@pytest.mark.parametrize("size", [3, 17])
def test_smoothing_is_scipys(size, sigma):
    x = drawn((size, 4)).astype(float)
    found = features.gaussian_matrix(size, sigma) @ x
    twin = scipy.ndimage.gaussian_filter1d(x, sigma, axis=0, mode="reflect") if sigma else x
    np.testing.assert_allclose(found, twin, atol=1e-12)


@pytest.mark.whole
@pytest.mark.parametrize("shape", [(32, 32), (40, 27)])
def test_scores_at_the_images_size(shape):
    """Every score stands on the pixel that its position is centred on; linear in between."""
    stride, first = 4, 1
    grid = features.grid_of(shape, [Cells(stride, first)])
    x = drawn((2, *grid.sides))
    places = [(np.arange(side) - first) / stride for side in shape]
    at = np.meshgrid(*places, indexing="ij")
    for one, found in zip(x, features.to_image(jnp.asarray(x), grid, shape)):
        twin = scipy.ndimage.map_coordinates(one.astype(float), at, order=1, mode="nearest")
        twin = scipy.ndimage.gaussian_filter(twin, max(shape) / 64, mode="reflect")
        np.testing.assert_allclose(found, twin, atol=1e-5)


def test_a_map_on_a_smaller_grid_is_an_area_mean(monkeypatch):
    monkeypatch.setattr(features, "GRID", 6)
    x = drawn((2, 8, 12, 3))
    grid = features.grid_of((8, 12), [Cells()])
    found = placing.on_grid(jnp.asarray(x), (Cells(), Cells()), grid)
    smooth = np.einsum(
        "ah,nhwc,bw->nabc", placing.mean_matrix(8), x, placing.mean_matrix(12)
    ).reshape(2, 4, 2, 6, 2, 3)
    np.testing.assert_allclose(found, smooth.mean((2, 4)), atol=1e-5)
    assert grid.cells == (Cells(2, 0.5), Cells(2, 0.5))  # between the two pixels


@pytest.mark.parametrize("cells", [Cells(), Cells(2), Cells(4, 1), Cells(8)])
@pytest.mark.parametrize("grid", [Cells(2), Cells(4, 1), Cells(6, 2.5)])
def test_a_ramp_keeps_its_values_on_every_grid(cells, grid):
    """A map that holds where its positions are says on the grid where the grid's are."""
    size, new = cells.count(96), grid.count(96)
    found = placing.between(size, cells, new, grid) @ (cells.first + cells.stride * np.arange(size))
    wanted = grid.first + grid.stride * np.arange(new)
    inside = (wanted >= 8) & (wanted <= 80)
    whole = grid.stride % cells.stride == 0 or grid.stride < cells.stride
    np.testing.assert_allclose(found[inside], wanted[inside], atol=1e-9 if whole else 0.5)
    assert found.min() >= cells.first and found.max() <= 95  # beyond the last, its value goes on


def test_the_grid_is_the_finest_map_and_bounded():
    of = lambda shape, *cells: features.grid_of(shape, cells).sides
    assert of((32, 32), Cells(2), Cells(4)) == (16, 16)
    assert of((128, 96), Cells()) == (32, 24)
    assert of((9, 13), Cells(2)) == (5, 7)


def turned(params):
    """The parameters with every window's weights turned by 180 degrees."""

    def one(x):
        for size in (7, 3):
            if x.ndim == 2 and x.shape[0] % size**2 == 0:
                return x.reshape(size * size, -1, x.shape[1])[::-1].reshape(x.shape)
        return x

    return jax.tree.map(one, params)


@pytest.mark.whole
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encoder", (32, 32, 1)),
        ("encoder", (48, 72, 1)),
        ("encoder", (64, 64, 1)),
        ("encoder", (128, 128, 1)),
        ("resnet18", (32, 32, 1)),
        ("resnet18_large", (64, 64, 1)),
    ],
)
def test_heat_is_centred_on_what_is_strange(name, shape):
    """Planted squares at every phase of the strides, on the way through a network and its mirror.

    A random network sees more on one side than on the other; the same with its windows turned sees
    as much on the other side, so that what is left is where the map is put.
    """
    backbone = BACKBONES[name](shape, 2, 8)
    read = localise.network_maps(backbone, shape)
    phases = np.arange(16)  # of 1, 2, 4 or 8 px
    squares = np.stack([phases, phases * 3 % 16], 1) - 8 + np.array(shape[:2]) // 2  # [16, 2]
    rng = np.random.default_rng(0)
    noise = np.float32(rng.uniform(0.3, 0.6, (28, *shape)))
    odd = np.full((16, *shape), 0.45, np.float32)
    for image, (row, column) in zip(odd, squares):
        image[row - 2 : row + 3, column - 2 : column + 3] = 1.0
    params = jax.jit(backbone.init)(jax.random.key(0))
    several = {method: localise.make_localiser(read, shape, method) for method in localise.METHODS}
    seen = jax.jit(several["position"].features)
    samples = np.concatenate([noise, np.full((1, *shape), 0.45, np.float32), odd])
    both = [seen(p, samples) for p in (params, turned(params))]
    for method, one in several.items():
        offsets = []
        for found in both:
            scores = np.asarray(one.scores(one.fit(found[:24], found[24:28]), found[28:]))
            heat = scores[1:] - scores[0]
            heat[heat < heat.max((1, 2), keepdims=True) / 2] = 0.0  # the spot, not its far tails
            heat /= heat.sum((1, 2), keepdims=True)
            for side in (0, 1):
                along = heat.sum(2 - side) @ np.arange(shape[side])
                offsets.append(along - squares[:, side])
        rows, columns = np.mean(offsets[::2]), np.mean(offsets[1::2])
        assert np.abs([rows, columns]).max() < 0.3, (method, rows, columns)


# ---- densities ----


def test_position_twin():
    x, seen = drawn((40, 3, 4, 5)), drawn((6, 3, 4, 5), 1)
    x[:, 1, 2] *= 1e-3  # nearly constant: only the floor keeps it sane
    state = densities.fit_position(jnp.asarray(x))
    found = densities.score_position(state, jnp.asarray(seen))
    floor = 0.01 * x.var(0).mean()
    for i in range(3):
        for j in range(4):
            fitted = LedoitWolf().fit(x[:, i, j].astype(float))
            precision = np.linalg.inv(fitted.covariance_ + floor * np.eye(5))
            offset = seen[:, i, j] - fitted.location_
            twin = np.sqrt(np.einsum("nd,de,ne->n", offset, precision, offset))
            np.testing.assert_allclose(found[:, i, j], twin, rtol=2e-4)


def test_texture_twin(monkeypatch):
    x, seen = drawn((9, 4, 4, 6)), drawn((3, 4, 4, 6), 1)
    state = densities.fit_texture(jnp.asarray(x))
    fitted = LedoitWolf().fit(x.reshape(-1, 6).astype(float))
    twin = np.sqrt(fitted.mahalanobis(seen.reshape(-1, 6).astype(float)))
    found = densities.score_texture(state, jnp.asarray(seen))
    np.testing.assert_allclose(found.reshape(-1), twin, rtol=1e-4)
    monkeypatch.setattr(densities, "PATCHES", 60)
    few = densities.fit_texture(jnp.asarray(x))
    assert not np.array_equal(few.mean, state.mean)
    np.testing.assert_allclose(few.mean, state.mean, atol=0.6)


def test_coreset_twin():
    x = drawn((60, 3))
    chosen = [0]
    while len(chosen) < 12:
        away = np.linalg.norm(x[:, None] - x[chosen][None], axis=-1).min(1)
        chosen.append(int(away.argmax()))
    assert np.asarray(scores.coreset(jnp.asarray(x), 12)).tolist() == chosen


@pytest.mark.parametrize("bank", [10**6, 20])
def test_neighbour_twin(monkeypatch, bank):
    monkeypatch.setattr(densities, "BANK", bank)
    x, seen = drawn((5, 4, 3, 6)) + 100.0, drawn((4, 4, 3, 6), 1) + 100.0  # far from the origin
    state = densities.fit_neighbour(jnp.asarray(x))
    kept = np.asarray(state.patches) + np.asarray(state.centre)
    assert len(kept) == min(bank, 60)
    twin = np.linalg.norm(seen[..., None, :].astype(float) - kept, axis=-1).min(-1)
    np.testing.assert_allclose(densities.score_neighbour(state, jnp.asarray(seen)), twin, rtol=1e-3)


@pytest.mark.parametrize("name", densities.METHODS)
def test_kernels_of_one_image_are_those_of_many(name):
    method = densities.get(name)
    state = method.fit(jnp.asarray(drawn((12, 4, 4, 3))))
    seen = jnp.asarray(drawn((35, 4, 4, 3), 1))  # more than two blocks
    whole = method.score(state, seen)
    alone = np.concatenate([method.score(state, seen[i : i + 1]) for i in (0, 20, 34)])
    np.testing.assert_allclose(np.asarray(whole)[[0, 20, 34]], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", densities.METHODS)
def test_constant_features_stay_finite(name):
    method = densities.get(name)
    flat = jnp.ones((4, 3, 3, 2))
    found = method.score(method.fit(flat), jnp.concatenate([flat, flat + 1.0]))
    assert np.isfinite(found).all() and (found[:4] == 0).all() and (found[4:] > 0).all()


# ---- scale ----


def test_decades_are_shares_of_held_out_pixels():
    held_out = drawn((7, 20, 30))
    fitted = scale.fit_scale(jnp.asarray(held_out))
    values = np.sort(held_out.ravel())
    at_least = len(values) - np.searchsorted(values, values, side="left")
    twin = -np.log10(at_least / (len(values) + 1))
    np.testing.assert_allclose(scale.to_decades(fitted, jnp.asarray(values)), twin, atol=0.01)
    assert scale.to_decades(fitted, jnp.float32(-99.0)) < 1e-3


def test_decades_agree_with_the_surprise_of_ranks():
    held_out = drawn((3, 10, 10))
    fitted = scale.fit_scale(jnp.asarray(held_out))
    inside = np.float32(np.sort(held_out.ravel())[[30, 150, 250, 299]])
    twin = ranks.surprise(held_out.ravel(), inside) / math.log(10.0)
    np.testing.assert_allclose(scale.to_decades(fitted, jnp.asarray(inside)), twin, atol=0.02)


def test_the_tail_is_exponential():
    """Beyond all pixels a true exponential goes on by its own rate: 1 / ln 10 decades a unit."""
    held_out = np.float32(np.random.default_rng(0).exponential(1.0, (20, 50, 50)))
    fitted = scale.fit_scale(jnp.asarray(held_out))
    np.testing.assert_allclose(fitted.slope, 1 / math.log(10.0), rtol=0.1)
    beyond = scale.to_decades(fitted, fitted.scores[-1] + jnp.arange(3.0))
    np.testing.assert_allclose(np.diff(beyond), float(fitted.slope), rtol=1e-4)


def test_many_pixels_are_thinned(monkeypatch):
    held_out = jnp.asarray(drawn((8, 16, 16)))
    whole = scale.fit_scale(held_out)
    monkeypatch.setattr(scale, "PIXELS", 1000)
    thin = scale.fit_scale(held_out)
    assert thin.decades[-1] < whole.decades[-1]
    seen = jnp.asarray(drawn((200,), 2))
    near = scale.to_decades(whole, seen) - scale.to_decades(thin, seen)
    assert np.abs(near).mean() < 0.1


def test_alarm_twin():
    held_out = drawn((39, 4, 4))
    fitted = scale.fit_scale(jnp.asarray(held_out))
    highest = np.sort(held_out.max((1, 2)))
    twin = scale.to_decades(fitted, jnp.float32(highest[37]))  # the 38th of 40 places
    np.testing.assert_allclose(localise.alarm(fitted, 0.05), twin, rtol=1e-6)
    assert localise.alarm(fitted, 0.01) == math.inf
    with pytest.raises(InputError, match="share=2"):
        localise.alarm(fitted, 2.0)


# ---- networks ----


def test_what_is_kept_of_the_stages():
    assert maps.kept((24, 48, 96)) == (9, 18, 37) and maps.kept((1,)) == (1,)
    basis = maps.projection(30, 8)
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-12)
    assert (maps.projection(5, 8) == np.eye(5)).all()


@pytest.mark.parametrize("name", ["encoder", "resnet18"])
def test_heatmaps_of_a_network(name):
    shape = (24, 25, 1)
    backbone = BACKBONES[name](shape, 2, 8)
    params = jax.jit(backbone.init)(jax.random.key(0))
    read = localise.network_maps(backbone, shape)
    blank = jnp.zeros((1, *shape))
    assert len(jax.eval_shape(read, params, blank)) == {"encoder": 1, "resnet18": 2}[name]
    two = localise.network_maps(backbone, shape, [0, 2])
    assert len(jax.eval_shape(two, params, blank)) == 2
    samples = np.random.default_rng(0).integers(90, 160, (12, *shape), np.uint8)
    odd = samples[:6].copy()
    odd[:, 4:12, 6:14] = 255
    one = localise.make_localiser(read, shape, "texture")
    seen = jax.jit(one.features)  # one shape: compiled once
    fitted = one.fit(seen(params, samples[:6]), seen(params, samples[6:]))
    found = np.asarray(one.heatmaps(fitted, seen(params, odd)))
    assert found.shape == (6, 24, 25) and np.isfinite(found).all()
    assert found[:, 4:12, 6:14].mean() > found[:, 14:].mean() + 0.2
    if name == "encoder":
        whole = jax.jit(one.look)(params, fitted, odd)
        np.testing.assert_allclose(found, whole, atol=2e-3)


@pytest.mark.parametrize("method", localise.METHODS)
def test_a_planted_patch_is_found(method, monkeypatch):
    """On raw pixels, aligned images with noise: every method puts the patch above all normals."""
    monkeypatch.setattr(densities, "BANK", 200)
    monkeypatch.setattr(densities, "CANDIDATES", 2000)
    rng = np.random.default_rng(0)
    picture = np.tile(np.linspace(0.2, 0.6, 32), (32, 1))[..., None]
    samples = np.float32(picture + rng.normal(0.0, 0.02, (60, 32, 32, 1))).clip(0, 1)
    odd = samples[40:].copy()
    odd[:, 10:16, 20:26] = 0.95
    one = localise.make_localiser(localise.pixel_maps, (32, 32, 1), method)
    read = functools.partial(one.features, None)
    fitted = one.fit(read(samples[:30]), read(samples[30:40]))
    found = np.asarray(one.heatmaps(fitted, read(odd)))
    normal = np.asarray(one.heatmaps(fitted, read(samples[40:])))
    assert found[:, 11:15, 21:25].min() > normal.max() > 0
    assert found[:, :6].mean() < 1.0


@pytest.mark.parametrize("method", ["position", "texture"])
def test_tiles_are_looked_at_one_by_one(method):
    """The same by hand: every tile's own features; with `position` a density per tile."""
    shape, where = (24, 20, 1), tiles.plan((24, 20), 12, 0.25)
    samples = np.random.default_rng(0).integers(0, 256, (30, *shape), np.uint8)
    one = localise.make_localiser(localise.pixel_maps, shape, method, where)
    seen = one.features(None, samples)
    fitted = one.fit(seen[:20], seen[20:])
    found = one.scores(fitted, seen[20:])
    assert found.shape == (10, 24, 20) and len(fitted.scale.maxima) == 10
    alone = localise.make_localiser(localise.pixel_maps, (12, 12, 1), method)
    cut = tiles.cut(where, samples)  # [n, t, 12, 12, 1]
    grids = jnp.stack([alone.features(None, cut[:, t]) for t in range(cut.shape[1])], 1)
    grids = grids / fitted.spread
    density = densities.get(method)
    if method == "position":
        scored = [density.score(density.fit(g[:20]), g[20:]) for g in jnp.moveaxis(grids, 1, 0)]
        scored = jnp.stack(scored, 1)
    else:
        state = density.fit(grids[:20].reshape(-1, *grids.shape[2:]))
        scored = density.score(state, grids[20:].reshape(-1, *grids.shape[2:]))
        scored = scored.reshape(10, -1, *scored.shape[1:])
    grid = features.grid_of((12, 12), [Cells()])
    maps = [features.to_image(scored[:, t], grid, (12, 12)) for t in range(scored.shape[1])]
    twin = tiles.stitch(where, jnp.stack(maps, 1))
    # A density's floor is a share of the mean variance of all positions it is fitted on.
    np.testing.assert_allclose(found, twin, rtol=5e-3 if method == "position" else 1e-4)
    with pytest.raises(InputError, match="plan is for"):
        localise.make_localiser(localise.pixel_maps, (9, 9, 1), method, where)


def test_bytes_and_floats_are_the_same_samples():
    one = localise.make_localiser(localise.pixel_maps, (16, 16, 1))
    samples = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 1), np.uint8)
    floats = as_unit(jnp.asarray(samples))
    np.testing.assert_array_equal(one.features(None, samples), one.features(None, floats))


def test_fitting_is_bounded(monkeypatch):
    """With more normals than may be held, some by equal strides through their order are used."""
    normals = jnp.asarray(drawn((10, 4, 4, 2)))
    one = localise.make_localiser(localise.pixel_maps, (4, 4, 2), "texture")
    every_second = one.fit(normals[::2], normals)
    monkeypatch.setattr(maps, "VALUES", 5 * 4 * 4 * 2)
    np.testing.assert_array_equal(one.fit(normals, normals).state.mean, every_second.state.mean)


@pytest.mark.parametrize("method", localise.METHODS)
def test_lowered_for_every_platform(method):
    shape = (16, 24, 1)
    where = tiles.plan(shape, 16)
    backbone = BACKBONES["encoder"]((16, 16, 1), 2, 8)
    one = localise.make_localiser(
        localise.network_maps(backbone, (16, 16, 1)), shape, method, where
    )

    def both(params, normals, held_out, samples):
        fitted = one.fit(one.features(params, normals), one.features(params, held_out))
        return one.look(params, fitted, samples)

    params = jax.eval_shape(backbone.init, jax.random.key(0))
    some = jax.ShapeDtypeStruct((6, *shape), jnp.uint8)
    lowered = jax.export.export(jax.jit(both), platforms=("cpu", "cuda", "tpu"))
    assert lowered(params, some, some, some).out_avals[0].shape == (6, 16, 24)


def test_what_cannot_be_localised():
    with pytest.raises(InputError, match="stages are rows"):
        localise.network_maps(BACKBONES["mlp"]((16, 16, 1), 2, 8), (16, 16, 1))
    with pytest.raises(InputError, match=r"stages=\[7\]"):
        localise.network_maps(BACKBONES["encoder"]((16, 16, 1), 2, 8), (16, 16, 1), [7])
    with pytest.raises(InputError, match="'nearest'; known: position"):
        localise.make_localiser(localise.pixel_maps, (16, 16, 1), "nearest")
    with pytest.raises(InputError, match="images"):
        localise.make_localiser(localise.pixel_maps, (16,))
