"""Tiles: cut and stitched against loops, and problems of tiles whose splits share no image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax.base.errors import DataWarning, InputError
from ad_jax.data import Problem
from ad_jax.detect import tiles


def images(n, shape, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (n, *shape), np.uint8)


@pytest.mark.parametrize("tile", [4, 7, 16, 30])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("side", [16, 23])
def test_tiles_cover_with_the_overlap_asked_for(side, tile, overlap):
    starts = tiles._starts(side, tile, overlap)
    covered = {p for s in starts for p in range(s, s + tile)}
    assert set(range(side)) <= covered and starts[0] == 0
    assert max(starts) + tile == max(side, tile)
    assert all(a + tile - b >= overlap * tile for a, b in zip(starts, starts[1:]))
    assert len(set(starts)) == len(starts)


@pytest.mark.parametrize("shape", [(20, 31, 3), (9, 31, 1), (5, 6, 1)])
def test_cut_twin(shape):
    where = tiles.plan(shape, 12, 0.3)
    x = images(3, shape)
    found = np.asarray(jax.jit(lambda a: tiles.cut(where, a))(x))
    assert found.dtype == np.uint8
    for n, image in enumerate(x):
        for t, (top, left) in enumerate(where.corners):
            for i in range(12):
                for j in range(12):
                    y, z = top + i, left + j  # mirrored, the border pixel twice
                    y = y % (2 * shape[0])
                    z = z % (2 * shape[1])
                    y = y if y < shape[0] else 2 * shape[0] - 1 - y
                    z = z if z < shape[1] else 2 * shape[1] - 1 - z
                    assert (found[n, t, i, j] == image[y, z]).all()


@pytest.mark.parametrize("join", tiles.JOINS)
@pytest.mark.parametrize("shape", [(20, 31, 1), (9, 31, 1)])
def test_stitch_twin(shape, join):
    region = np.zeros(shape[:2], bool)
    region[:, 14:] = True
    where = tiles.plan(shape, 12, 0.3, region)
    maps = np.float32(np.random.default_rng(0).uniform(size=(2, len(where.corners), 12, 12)))
    found = np.asarray(jax.jit(lambda m: tiles.stitch(where, m, join))(maps))
    for n in range(2):
        for y in range(shape[0]):
            for x in range(shape[1]):
                values, weights = [], []
                for t, (top, left) in enumerate(where.corners):
                    if 0 <= y - top < 12 and 0 <= x - left < 12:
                        values.append(maps[n, t, y - top, x - left])
                        along = [np.sin(np.pi * (p + 0.5) / 12) ** 2 for p in (y - top, x - left)]
                        weights.append((along[0] + 1e-3) * (along[1] + 1e-3))
                twin = 0.0
                if region[y, x]:
                    twin = max(values) if join == "max" else np.average(values, weights=weights)
                assert found[n, y, x] == pytest.approx(twin, rel=1e-4)


def test_what_was_cut_is_stitched_back():
    x = images(2, (40, 25, 1))
    where = tiles.plan(x.shape[1:], 16)
    for join in tiles.JOINS:
        back = tiles.stitch(where, jnp.float32(tiles.cut(where, x))[..., 0], join)
        np.testing.assert_allclose(back, x[..., 0], rtol=1e-5)


def test_the_region_drops_tiles_and_blackens_pixels():
    region = np.zeros((32, 32))
    region[2:6, 3:9] = 1
    where = tiles.plan((32, 32, 1), 16, 0.0, region)
    assert where.corners.tolist() == [[0, 0]]
    (tile,) = np.asarray(tiles.cut(where, images(1, (32, 32, 1))))[0]
    assert (tile[..., 0] > 0).tolist() == (region[:16, :16] > 0).tolist()


@pytest.mark.parametrize("grouped", [False, True])
def test_splits_never_share_an_image(grouped):
    x = images(16, (12, 12, 1))
    x[1] = x[0]  # a copy is nothing new
    groups = np.arange(16) // 2 if grouped else None
    with pytest.warns(DataWarning, match="1 of 16 train normals are copies"):
        problem = Problem(train=x, target=images(3, (12, 12, 1), 1), groups=groups)
    cuts = tiles.tiled(problem, tiles.plan(problem.shape, 8, 0.5))
    assert len(cuts.problem.train) == 15 * 4
    home = {}  # tile -> number of its image, or of the image's group
    for i, image in enumerate(x):
        for tile in np.asarray(tiles.cut(cuts.plan, image[None]))[0]:
            home[tile.tobytes()] = i // 2 if grouped else max(i, 1)
    for seed in range(4):
        split = cuts.problem.split(seed)
        kept, out = ({home[t.tobytes()] for t in part} for part in split)
        assert kept and out and not kept & out


def test_the_way_back_to_images():
    problem = Problem(
        train=images(8, (20, 12, 1)),
        target=images(5, (20, 12, 1), 1),
        held_out=images(2, (20, 12, 1), 2),
    )
    cuts = tiles.tiled(problem, tiles.plan(problem.shape, 8))
    assert cuts.problem.held_out.shape == (2 * len(cuts.plan.corners), 8, 8, 1)
    brightest = cuts.problem.target.max((1, 2, 3))
    np.testing.assert_array_equal(
        tiles.image_scores(cuts, brightest), problem.target.max((1, 2, 3))
    )
    maps = np.float32(cuts.problem.target[..., 0])
    np.testing.assert_allclose(
        tiles.image_maps(cuts, maps), problem.target[..., 0], rtol=1e-5, atol=1e-3
    )


def test_equal_tiles_of_the_target_lead_back():
    flat = np.full((3, 8, 8, 1), 7, np.uint8)
    problem = Problem(train=images(8, (8, 8, 1)), target=flat, held_out=images(2, (8, 8, 1), 1))
    cuts = tiles.tiled(problem, tiles.plan(problem.shape, 4, 0.0))
    assert sorted(cuts.rows.ravel()) == list(range(12))


def test_wrong_plans():
    for arguments, said in (
        (((8,), 4), "images"),
        (((8, 8, 1), 0), "tile=0"),
        (((8, 8, 1), 4, 1.0), "overlap=1"),
        (((8, 8, 1), 4, 0.0, np.ones((3, 3))), "region has shape"),
        (((8, 8, 1), 4, 0.0, np.zeros((8, 8))), "empty"),
    ):
        with pytest.raises(InputError, match=said):
            tiles.plan(*arguments)
    where = tiles.plan((8, 8, 1), 4)
    with pytest.raises(InputError, match="no join 'sum'"):
        tiles.stitch(where, jnp.zeros((1, len(where.corners), 4, 4)), "sum")
    problem = Problem(train=images(8, (6, 6, 1)), target=images(2, (6, 6, 1)))
    with pytest.raises(InputError, match="plan is for images"):
        tiles.tiled(problem, where)


def test_held_out_scores_are_of_whole_images():
    """By the brightest pixel: of the very images that a seed holds out."""
    x = images(13, (12, 12, 1))
    problem = Problem(train=x, target=images(2, (12, 12, 1), 1))
    cuts = tiles.tiled(problem, tiles.plan(problem.shape, 8, 0.5))
    counts = np.bincount(cuts.folds)
    assert sorted(counts) == [3, 3, 3, 4]
    for seed in range(4):
        brightest = cuts.problem.split(seed).held_out.max((1, 2, 3)).astype(float)
        found = tiles.held_out_scores(cuts, np.stack([brightest, -brightest]), seed)
        own = problem.train[cuts.folds == seed].max((1, 2, 3))
        assert found.shape == (2, 3)
        if counts[seed] == 3:
            np.testing.assert_array_equal(found[0], own)
        else:  # the larger fold lost tiles
            assert (found[0] <= own[:3]).all()
    named = Problem(train=x, target=images(2, (12, 12, 1), 1), groups=np.arange(13) % 6)
    groups = tiles.held_out_groups(tiles.tiled(named, cuts.plan), named, (0, 1))
    assert groups.shape[0] == 2 and not set(groups[0]) & set(groups[1])
    assert tiles.held_out_groups(cuts, problem, (0, 1)) is None
    apart = Problem(train=x, target=x[:1], held_out=images(3, (12, 12, 1), 2))
    cuts = tiles.tiled(apart, tiles.plan(apart.shape, 8, 0.5))
    brightest = cuts.problem.held_out.max((1, 2, 3))
    np.testing.assert_array_equal(
        tiles.held_out_scores(cuts, brightest, 0), apart.held_out.max((1, 2, 3))
    )
